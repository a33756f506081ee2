/* SPDX-License-Identifier: ISC */
/*
 * behaviour.c: a behaviour as it comes from a module, from a program, or from an older header: taken over field
 * by field, and refused when it cannot be run here.
 */
#include <stash/behaviour.h>

#include "base/error.h"
#include "base/name.h"
#include "base/take.h"
#include "worker/worker.h"

int
stash__behaviour_take(struct stash_behaviour *to, const struct stash_behaviour *from)
{
	int result = stash__take(to, sizeof(*to), from, "struct stash_behaviour");

	if (result < 0)
		return result;
	if (to->name == NULL || stash__check_name(to->name) < 0)
		return stash__fail(STASH_E_INVAL, "the behaviour has no name, or one that can't be");
	if (to->state_size > STASH_STATE_MAX)
		return stash__fail(STASH_E_INVAL, "behaviour %s: a state of %zu bytes is too large; %d is the limit",
		    to->name, to->state_size, STASH_STATE_MAX);
	if (to->commit > STASH_COMMIT_TERMINATE || to->snapshot_every != 0 || to->check_state != NULL ||
	    to->apply != NULL)
		return stash__fail(STASH_E_INVAL, "behaviour %s: uses what is reserved for a later version", to->name);
	if ((to->encode == NULL) != (to->decode == NULL))
		return stash__fail(STASH_E_INVAL, "behaviour %s: has %s, but not %s: both or none", to->name,
		    to->encode != NULL ? "encode" : "decode", to->encode != NULL ? "decode" : "encode");
	return 0;
}
