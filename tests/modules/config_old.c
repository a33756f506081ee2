/* SPDX-License-Identifier: ISC */
/*
 * A module of another version of the headers.
 */
#include <stash/behaviour.h>

static const struct stash_behaviour old = STASH_BEHAVIOUR(.name = "old");

extern STASH_API const struct stash_module stash_module;
const struct stash_module stash_module = { STASH_API_VERSION + 1, 0, &old };
