/* SPDX-License-Identifier: ISC */
/*
 * counter: counts. As many as one likes run under names of their own; nothing
 * in here knows of the others.
 *
 *	call get		replies the count
 *	call increment		counts one more, and replies the count
 */
#include <inttypes.h>

#include <stash/stash.h>

struct counter {
	int64_t count;
};

static const struct stash_field fields[] = { STASH_FIELD(struct counter, count), STASH_FIELD_END };

static int
handle_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	struct counter *counter = state;

	if (stash_msg_is(msg, "get"))
		return stash_replyf(worker, "%" PRId64, counter->count);
	if (stash_msg_is(msg, "increment"))
		return stash_replyf(worker, "%" PRId64, ++counter->count);
	return STASH_E_UNKNOWN;
}

/* No init: a state is all zero at first, which is where a counter begins. */
static const struct stash_behaviour counter = STASH_BEHAVIOUR(.name = "counter", .state_size = sizeof(struct counter),
    .layout_version = 1, .fields = fields, .handle_call = handle_call);

STASH_MODULE(&counter);
