/* SPDX-License-Identifier: ISC */
/*
 * bench: the worker that stash-bench measures: a counter in a state of 64
 * bytes. It does as little as a worker can, so that what is measured is Stash.
 * stash-bench makes states of other sizes by running this behaviour with
 * another state_size: whatever stands behind the struct stays as it is.
 *
 *	call add	adds 1, and replies the counter
 *	call nop	replies the counter
 *	call pid	replies the worker's pid
 *	cast add	adds 1
 *	cast nop	nothing
 * Numbers are of 8 bytes, in the machine's own order.
 */
#include <unistd.h>

#include <stash/stash.h>

struct bench {
	uint64_t count;
	uint64_t made; /* 1 from the first start on: every worker has a state to come back to */
	uint8_t filler[48];
};

static const struct stash_field fields[] = { STASH_FIELD(struct bench, count), STASH_FIELD(struct bench, made),
	STASH_FIELD_END };

static int
init(struct stash_worker *worker, void *state, const struct stash_init *start)
{
	struct bench *bench = state;

	if (start->version > 0 && bench->made != 1)
		return stash_fail(worker, "the state of version %llu is not the one that was stored",
		    (unsigned long long)start->version);
	bench->made = 1;
	return STASH_OK;
}

static int
reply_number(struct stash_worker *worker, uint64_t number)
{
	return stash_reply(worker, &number, sizeof number);
}

static int
handle_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	struct bench *bench = state;

	if (stash_msg_is(msg, "add"))
		return reply_number(worker, ++bench->count);
	if (stash_msg_is(msg, "nop"))
		return reply_number(worker, bench->count);
	if (stash_msg_is(msg, "pid"))
		return reply_number(worker, (uint64_t)getpid());
	return STASH_E_UNKNOWN;
}

static int
handle_cast(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	struct bench *bench = state;

	(void)worker;
	if (stash_msg_is(msg, "add"))
		bench->count++;
	else if (!stash_msg_is(msg, "nop"))
		return STASH_E_UNKNOWN;
	return STASH_OK;
}

static const struct stash_behaviour bench = STASH_BEHAVIOUR(.name = "bench", .state_size = sizeof(struct bench),
    .layout_version = 1, .fields = fields, .init = init, .handle_call = handle_call, .handle_cast = handle_cast);

STASH_MODULE(&bench);
