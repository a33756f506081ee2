/* SPDX-License-Identifier: ISC */
/*
 * A module with a callback that this version doesn't call yet.
 */
#include <stash/behaviour.h>

static int
check_state(const void *state)
{
	(void)state;
	return STASH_OK;
}

static const struct stash_behaviour later = STASH_BEHAVIOUR(.name = "later", .check_state = check_state);

STASH_MODULE(&later);
