/* SPDX-License-Identifier: ISC */
/*
 * A worker for tests whose start is told by its arguments: "ignore", "fail", "die", "until=FILE" (waits for the
 * file), "failif=FILE"; "noted=FILE" adds a byte to the file at each start. It counts its calls, tells its arguments,
 * holds a call until a file is there, and dies on demand.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/stash.h>

struct child {
	int64_t calls;
};

static const struct stash_field fields[] = { STASH_FIELD(struct child, calls), STASH_FIELD_END };

static void
note(const char *file)
{
	int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, "x", 1) != 1)
		abort();
	close(fd);
}

static int
init(struct stash_worker *w, void *state, const struct stash_init *in)
{
	(void)state;
	for (int i = 1; i < in->argc; i++) {
		const char *word = in->argv[i];

		if (strcmp(word, "ignore") == 0)
			return STASH_IGNORE;
		if (strcmp(word, "fail") == 0)
			return stash_fail(w, "it was told to fail");
		if (strncmp(word, "failif=", 7) == 0 && access(word + 7, F_OK) == 0)
			return stash_fail(w, "the file is there");
		if (strcmp(word, "die") == 0)
			raise(SIGKILL);
		if (strncmp(word, "noted=", 6) == 0)
			note(word + 6);
		while (strncmp(word, "until=", 6) == 0 && access(word + 6, F_OK) != 0)
			(void)poll(NULL, 0, 2);
	}
	return STASH_OK;
}

static int
tell_args(struct stash_worker *w)
{
	const struct stash_init *in = stash_init_info(w);
	char text[1024] = "";

	for (int i = 0; i < in->argc; i++) {
		strncat(text, i > 0 ? " " : "", sizeof text - strlen(text) - 1);
		strncat(text, in->argv[i], sizeof text - strlen(text) - 1);
	}
	return stash_replyf(w, "%s", text);
}

static const char *
gate_of(const char *file)
{
	static char gate[512];

	snprintf(gate, sizeof gate, "%s.go", file);
	return gate;
}

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct child *c = state;

	if (stash_msg_is(msg, "count"))
		return stash_replyf(w, "%" PRId64, ++c->calls);
	if (stash_msg_is(msg, "args"))
		return tell_args(w);
	if (stash_msg_is(msg, "pid"))
		return stash_replyf(w, "%d", (int)getpid());
	if (stash_msg_is(msg, "hold")) {
		note(stash_msg_text(msg)); /* that it has begun; it goes on when the file beside it is there */
		while (access(gate_of(stash_msg_text(msg)), F_OK) != 0)
			(void)poll(NULL, 0, 2);
		return stash_replyf(w, "%u", msg->attempt);
	}
	if (stash_msg_is(msg, "stop"))
		return STASH_STOP;
	return STASH_E_UNKNOWN;
}

static const struct stash_behaviour child = STASH_BEHAVIOUR(.name = "child", .state_size = sizeof(struct child),
    .layout_version = 1, .fields = fields, .init = init, .handle_call = handle_call);

STASH_MODULE(&child);
