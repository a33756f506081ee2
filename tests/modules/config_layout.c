/* SPDX-License-Identifier: ISC */
/*
 * A module with a state that has no layout version.
 */
#include <stash/behaviour.h>

static const struct stash_behaviour layout = STASH_BEHAVIOUR(.name = "layout", .state_size = 8);

STASH_MODULE(&layout);
