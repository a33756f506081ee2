/* SPDX-License-Identifier: ISC */
/*
 * A changed struct whose layout_version was forgotten.
 */
#include "layouts.h"

static const struct stash_field fields[] = { STASH_FIELD(struct layout_2, note), STASH_FIELD(struct layout_2, next),
	STASH_FIELD_END };

static const struct stash_behaviour layout = STASH_BEHAVIOUR(.name = "layout", .state_size = sizeof(struct layout_2),
    .layout_version = 1, .fields = fields);

STASH_MODULE(&layout);
