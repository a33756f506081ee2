/* SPDX-License-Identifier: ISC */
/*
 * A worker for tests: gives back what it gets, dies on demand, keeps somebody waiting.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <stash/stash.h>

struct echo {
	int64_t messages;
	int64_t casts;
	struct stash_from waiting;
	int64_t waits;
};

static const struct stash_field fields[] = { STASH_FIELD(struct echo, messages), STASH_FIELD(struct echo, casts),
	STASH_FIELD_END };

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct echo *e = state;

	e->messages++;
	if (stash_msg_is(msg, "echo"))
		return stash_reply(w, msg->data, msg->len);
	if (stash_msg_is(msg, "pid"))
		return stash_replyf(w, "%d", (int)getpid());
	if (stash_msg_is(msg, "count"))
		return stash_replyf(w, "%" PRId64 " %" PRId64, e->messages, e->casts);
	if (stash_msg_is(msg, "error"))
		return stash_reply_error(w, 7, "no, since %s", stash_msg_text(msg));
	if (stash_msg_is(msg, "abort"))
		abort();
	if (stash_msg_is(msg, "exit"))
		exit(0);
	if (stash_msg_is(msg, "overflow")) {
		volatile char page[1 << 20];
		memset((char *)page, 1, sizeof page);
		return handle_call(w, state, msg) + page[0];
	}
	if (stash_msg_is(msg, "wild"))
		return *(volatile char *)mmap(
		    NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); /* not NULL: UBSan would see it */
	if (stash_msg_is(msg, "fail"))
		return stash_fail(w, "asked to fail: %s", stash_msg_text(msg));
	if (stash_msg_is(msg, "print")) {
		printf("a line on standard output: %s\n", stash_msg_text(msg));
		fprintf(stderr, "a line on standard error\n");
		return STASH_OK;
	}
	if (stash_msg_is(msg, "killed_once")) {
		if (msg->attempt == 1)
			raise(SIGKILL);
		return stash_replyf(w, "%u", msg->attempt);
	}
	if (stash_msg_is(msg, "killed_always"))
		raise(SIGKILL);
	if (stash_msg_is(msg, "wait")) {
		e->waiting = msg->from;
		e->waits = 1;
		return STASH_NOREPLY;
	}
	if (stash_msg_is(msg, "let_go"))
		return stash_reply_to(w, &e->waiting, msg->data, msg->len);
	if (stash_msg_is(msg, "stop"))
		return STASH_STOP;
	return STASH_E_UNKNOWN;
}

static int
handle_cast(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct echo *e = state;

	(void)w;
	if (stash_msg_is(msg, "abort"))
		abort();
	e->casts++;
	return STASH_OK;
}

static int
handle_info(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	return handle_cast(w, state, msg);
}

static const struct stash_behaviour echo = STASH_BEHAVIOUR(.name = "echo", .state_size = sizeof(struct echo),
    .layout_version = 1, .fields = fields, .handle_call = handle_call, .handle_cast = handle_cast,
    .handle_info = handle_info);

STASH_MODULE(&echo);
