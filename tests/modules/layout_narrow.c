/* SPDX-License-Identifier: ISC */
/*
 * A layout that hasn't room for a large number, nor for a long note.
 */
#include "layouts.h"

struct narrow {
	uint8_t next;
	char note[4];
};

static const struct stash_field fields[] = { STASH_FIELD(struct narrow, next), STASH_FIELD(struct narrow, note),
	STASH_FIELD_END };

static const struct stash_behaviour layout = STASH_BEHAVIOUR(.name = "layout", .state_size = sizeof(struct narrow),
    .layout_version = 5, .fields = fields);

STASH_MODULE(&layout);
