/* SPDX-License-Identifier: ISC */
/*
 * Another layout of which nothing is said.
 */
#include "layouts.h"

static const struct stash_behaviour layout = STASH_BEHAVIOUR(.name = "layout", .state_size = sizeof(struct layout_2),
    .layout_version = 2);

STASH_MODULE(&layout);
