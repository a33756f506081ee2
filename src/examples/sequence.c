/* SPDX-License-Identifier: ISC */
/*
 * sequence: hands out numbers, one after the other. No crash takes one back or
 * gives one twice, since the state outlives the worker. It must stay so simple
 * that it fits on a page: it is where a reader begins. naive.conf runs it
 * without a stash; book.c saves its state only at the end.
 *
 *	args			the first number; 0 if there is none
 *	call next_number	replies the number, and goes on by one
 *	cast increment_number DELTA
 *				goes on by DELTA; one that is no number crashes
 *				the worker, on purpose: let it crash
 */
#include <inttypes.h>
#include <stdio.h>

#include <stash/stash.h>

#ifndef SEQUENCE_COMMIT
#define SEQUENCE_COMMIT STASH_COMMIT_EACH /* after each message that has changed it */
#endif

struct sequence {
	int64_t next;
};

static const struct stash_field fields[] = { STASH_FIELD(struct sequence, next), STASH_FIELD_END };

/* A state that was committed before is simply there; only the very first start begins with the argument. */
static int
init(struct stash_worker *worker, void *state, const struct stash_init *start)
{
	struct sequence *sequence = state;

	(void)worker;
	if (start->version > 0 || start->argc < 2)
		return STASH_OK;
	return stash_parse_int(start->argv[1], INT64_MIN, INT64_MAX, &sequence->next);
}

static int
handle_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	struct sequence *sequence = state;

	if (stash_msg_is(msg, "next_number"))
		return stash_replyf(worker, "%" PRId64, sequence->next++);
	return STASH_E_UNKNOWN; /* crashes, as an unknown call does in OTP */
}

static int
handle_cast(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	struct sequence *sequence = state;
	int64_t delta;

	if (!stash_msg_is(msg, "increment_number"))
		return STASH_E_UNKNOWN;
	if (stash_msg_int(msg, -1000000, 1000000, &delta) != 0)
		return stash_fail(worker, "increment_number wants a number"); /* "cat": let it crash */
	sequence->next += delta;
	return STASH_OK;
}

static int
format_status(const void *state, FILE *out)
{
	const struct sequence *sequence = state;

	fprintf(out, "the next number is %" PRId64, sequence->next);
	return STASH_OK;
}

static const struct stash_behaviour sequence = STASH_BEHAVIOUR(.name = "sequence",
    .state_size = sizeof(struct sequence), .layout_version = 1, .commit = SEQUENCE_COMMIT, .fields = fields,
    .init = init, .handle_call = handle_call, .handle_cast = handle_cast, .format_status = format_status);

STASH_MODULE(&sequence);
