/* SPDX-License-Identifier: ISC */
/*
 * terminating: a server that ends when it is asked to, in order: it answers, it
 * stops, and its exit is normal. Whether that is the end is for its supervisor
 * to say: a permanent child comes back, a transient one has done its work.
 *
 *	call terminate		replies ok, and that was it
 *	call alive		replies ok
 */
#include <stash/stash.h>

static int
handle_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	int result;

	(void)state;
	if (stash_msg_is(msg, "alive"))
		return stash_reply(worker, "ok", 2);
	if (!stash_msg_is(msg, "terminate"))
		return STASH_E_UNKNOWN;
	result = stash_reply(worker, "ok", 2);
	return result < 0 ? result : STASH_STOP;
}

static const struct stash_behaviour terminating = STASH_BEHAVIOUR(.name = "terminating", .layout_version = 1,
    .handle_call = handle_call);

STASH_MODULE(&terminating);
