/* SPDX-License-Identifier: ISC */
/*
 * tree: a part of a larger application: a connection pool, say, or an endpoint.
 * All that matters here is where it stands in the tree of tree.conf, what it
 * knows, and that it can crash.
 *
 *	call use		counts the use, and replies how many there were
 *	cast crash		crashes the worker
 */
#include <inttypes.h>

#include <stash/stash.h>

struct part {
	int64_t uses;
};

static const struct stash_field fields[] = { STASH_FIELD(struct part, uses), STASH_FIELD_END };

static int
handle_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	struct part *part = state;

	if (stash_msg_is(msg, "use"))
		return stash_replyf(worker, "%" PRId64, ++part->uses);
	return STASH_E_UNKNOWN;
}

static int
handle_cast(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	(void)state;
	return stash_fail(worker, "was told to %s", msg->tag);
}

static const struct stash_behaviour part = STASH_BEHAVIOUR(.name = "part", .state_size = sizeof(struct part),
    .layout_version = 1, .fields = fields, .handle_call = handle_call, .handle_cast = handle_cast);

STASH_MODULE(&part);
