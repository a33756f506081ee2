/* SPDX-License-Identifier: ISC */
/*
 * embed: a visitors' book. A program with a tree of its own, without stashd and
 * without a config file: two behaviours in C, started below it, and itself their
 * client. Whoever is killed, the numbers go on and the book remembers.
 *
 *	embed DIRECTORY		each line of standard input is a visitor
 */
#include <err.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

/* ---- tickets: hands out numbers ---- */

struct tickets {
	int64_t last;
};

static int
tickets_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	struct tickets *tickets = state;

	if (!stash_msg_is(msg, "next"))
		return STASH_E_UNKNOWN;
	return stash_replyf(worker, "%" PRId64, ++tickets->last);
}

static const struct stash_field tickets_fields[] = { STASH_FIELD(struct tickets, last), STASH_FIELD_END };
static const struct stash_behaviour tickets = STASH_BEHAVIOUR(.name = "tickets", .state_size = sizeof(struct tickets),
    .layout_version = 1, .fields = tickets_fields, .handle_call = tickets_call);

/* ---- guests: remembers who was here last ---- */

struct guests {
	char last[80];
};

static int
guests_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	struct guests *guests = state;
	char before[sizeof(guests->last)];

	if (!stash_msg_is(msg, "sign") || stash_msg_text(msg) == NULL)
		return STASH_E_UNKNOWN;
	memcpy(before, guests->last, sizeof(before));
	memset(guests->last, 0, sizeof(guests->last));
	snprintf(guests->last, sizeof(guests->last), "%s", stash_msg_text(msg));
	return stash_replyf(worker, "%s", before[0] != '\0' ? before : "nobody");
}

static const struct stash_field guests_fields[] = { STASH_FIELD(struct guests, last), STASH_FIELD_END };
static const struct stash_behaviour guests = STASH_BEHAVIOUR(.name = "guests", .state_size = sizeof(struct guests),
    .layout_version = 1, .fields = guests_fields, .handle_call = guests_call);

/* ---- the tree ---- */

static const struct stash_child_spec children[] = {
	{ .size = sizeof(children[0]), .id = "tickets", .behaviour = &tickets },
	{ .size = sizeof(children[0]), .id = "guests", .behaviour = &guests },
};
static const struct stash_supervisor_spec tree = { .size = sizeof(tree),
	.strategy = STASH_ONE_FOR_ONE,
	.intensity = 10,
	.children = children,
	.nchildren = sizeof(children) / sizeof(children[0]) };

/* ---- the client ---- */

static void
welcome(struct stash_client *client, const char *visitor)
{
	struct stash_reply number, before;

	if (stash_call(client, "tickets", "next", NULL, 0, &number, 30000) < 0 ||
	    stash_call(client, "guests", "sign", visitor, strlen(visitor), &before, 30000) < 0)
		errx(EXIT_FAILURE, "%s: %s", visitor, stash_errmsg());
	printf("%s: visitor %s, after %s\n", visitor, (const char *)number.data, (const char *)before.data);
	fflush(stdout);
	stash_reply_free(&number);
	stash_reply_free(&before);
}

/* There is no next line then, whether it is waited for already or not. */
static void
on_term(int signal)
{
	(void)signal;
	(void)close(STDIN_FILENO);
}

static void
serve(const char *directory)
{
	struct stash_client *client;
	char *line = NULL;
	size_t room = 0;

	if (stash_client_open(&client, directory, NULL) < 0)
		errx(EXIT_FAILURE, "%s", stash_errmsg());
	while (getline(&line, &room, stdin) > 0) {
		line[strcspn(line, "\n")] = '\0';
		welcome(client, line);
	}
	free(line);
	stash_client_close(client);
}

int
main(int argc, char **argv)
{
	struct sigaction term = { .sa_handler = on_term };
	siginfo_t end;
	int running;

	if (argc != 2)
		errx(EXIT_FAILURE, "usage: embed DIRECTORY");
	if (stash_supervise_start(&tree, argv[1], NULL, &running) < 0)
		errx(EXIT_FAILURE, "%s", stash_errmsg());
	(void)sigaction(SIGTERM, &term, NULL);
	serve(argv[1]);
	if (pidfd_send_signal(running, SIGTERM, NULL, 0) < 0 || waitid(P_PIDFD, (id_t)running, &end, WEXITED) < 0)
		err(EXIT_FAILURE, "the tree");
	return end.si_code == CLD_EXITED ? end.si_status : EXIT_FAILURE;
}
