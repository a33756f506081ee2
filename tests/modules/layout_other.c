/* SPDX-License-Identifier: ISC */
/*
 * Another behaviour's state.
 */
#include "layouts.h"

static const struct stash_field fields[] = { STASH_FIELD(struct layout_1, next), STASH_FIELD(struct layout_1, note),
	STASH_FIELD_END };

static const struct stash_behaviour layout = STASH_BEHAVIOUR(.name = "another", .state_size = sizeof(struct layout_1),
    .layout_version = 1, .fields = fields);

STASH_MODULE(&layout);
