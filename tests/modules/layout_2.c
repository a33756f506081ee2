/* SPDX-License-Identifier: ISC */
/*
 * Layout 2: from and to the others by its fields.
 */
#include "layouts.h"

static const struct stash_field fields[] = { STASH_FIELD(struct layout_2, calls), STASH_FIELD(struct layout_2, note),
	STASH_FIELD(struct layout_2, next), STASH_FIELD_END };

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct layout_2 *s = state;
	int64_t next = (int64_t)s->next;
	int result = layouts_call(w, msg, 2, &next, s->note, sizeof s->note);

	s->next = (uint64_t)next;
	s->calls++;
	return result;
}

static const struct stash_behaviour layout = STASH_BEHAVIOUR(.name = "layout", .state_size = sizeof(struct layout_2),
    .layout_version = 2, .fields = fields, .handle_call = handle_call);

STASH_MODULE(&layout);
