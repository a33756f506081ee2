/* SPDX-License-Identifier: ISC */
/*
 * Layout 1: as it was at first.
 */
#include "layouts.h"

static const struct stash_field fields[] = { STASH_FIELD(struct layout_1, next), STASH_FIELD(struct layout_1, note),
	STASH_FIELD_END };

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct layout_1 *s = state;

	return layouts_call(w, msg, 1, &s->next, s->note, sizeof s->note);
}

static const struct stash_behaviour layout = STASH_BEHAVIOUR(.name = "layout", .state_size = sizeof(struct layout_1),
    .layout_version = 1, .fields = fields, .handle_call = handle_call);

STASH_MODULE(&layout);
