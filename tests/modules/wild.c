/* SPDX-License-Identifier: ISC */
/*
 * A worker for tests that writes where it shouldn't: into its slot, its bell page, its channels and its ways, as a seed
 * says; at once, or from a thread while it goes on working; then it replies, crashes, or hangs.
 *
 *	bump			counts, and replies the count		count	replies it
 *	wild SEED KINDS WRITES MS THEN	KINDS as in scribble.h; MS: over that time, from a thread; THEN: 0 replies,
 *					1 crashes, 2 is stopped by SIGSTOP
 *	over			waits until the thread has ended
 *	tell NAME, ask NAME	a cast "heard", a request "heard" by its way to another one
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <stash/stash.h>

#include "scribble.h"

struct wild {
	int64_t count, heard, answered;
};

static const struct stash_field fields[] = { STASH_FIELD(struct wild, count), STASH_FIELD(struct wild, heard),
	STASH_FIELD(struct wild, answered), STASH_FIELD_END };

static struct scribble scribble;
static unsigned writes, over_ms;
static pthread_t writer;
static bool writing;

/* Spread over the time that it has. */
static void *
write_later(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < writes; i++) {
		struct timespec pause = { .tv_nsec = (long)(over_ms * 1000000ull / writes) };

		scribble_once(&scribble);
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	return NULL;
}

static int
go_wild(struct stash_worker *w, const char *text)
{
	uint64_t seed;
	unsigned kinds, then;

	if (sscanf(text, "%" SCNu64 " %u %u %u %u", &seed, &kinds, &writes, &over_ms, &then) != 5)
		return stash_fail(w, "what is %s?", text);
	if (writing)
		(void)pthread_join(writer, NULL);
	writing = false;
	scribble_begin(&scribble, seed, kinds);
	if (over_ms > 0) {
		writing = pthread_create(&writer, NULL, write_later, NULL) == 0;
	} else {
		for (unsigned i = 0; i < writes; i++)
			scribble_once(&scribble);
	}
	if (then == 1)
		abort();
	if (then == 2)
		(void)raise(SIGSTOP);
	return STASH_OK;
}

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct wild *s = state;
	int64_t ref;
	int result = STASH_OK;

	if (stash_msg_is(msg, "bump"))
		s->count++;
	else if (stash_msg_is(msg, "heard"))
		s->heard++;
	else if (stash_msg_is(msg, "tell"))
		result = stash_cast(stash_worker_client(w), stash_msg_text(msg), "heard", NULL, 0);
	else if (stash_msg_is(msg, "ask"))
		result = stash_request(w, stash_msg_text(msg), "heard", NULL, 0, 10000, &ref);
	else if (stash_msg_is(msg, "wild"))
		result = go_wild(w, stash_msg_text(msg));
	else if (stash_msg_is(msg, "over") && writing) {
		(void)pthread_join(writer, NULL);
		writing = false;
	} else if (!stash_msg_is(msg, "count") && !stash_msg_is(msg, "over"))
		return STASH_E_UNKNOWN;
	if (result < 0)
		return stash_reply_error(w, -result, "%s", stash_errmsg());
	return stash_replyf(w, "%" PRId64, s->count);
}

static int
handle_cast(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct wild *s = state;

	(void)w;
	if (stash_msg_is(msg, "heard"))
		s->heard++;
	return STASH_OK;
}

static int
handle_info(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct wild *s = state;

	(void)w;
	(void)msg;
	s->answered++;
	return STASH_OK;
}

static const struct stash_behaviour wild = STASH_BEHAVIOUR(.name = "wild", .state_size = sizeof(struct wild),
    .layout_version = 1, .fields = fields, .handle_call = handle_call, .handle_cast = handle_cast,
    .handle_info = handle_info);

STASH_MODULE(&wild);
