/* SPDX-License-Identifier: ISC */
/*
 * A module whose behaviour was not made with STASH_BEHAVIOUR(): its size is missing.
 */
#include <stash/behaviour.h>

static const struct stash_behaviour empty = { .name = "empty" };

STASH_MODULE(&empty);
