/* SPDX-License-Identifier: ISC */
/*
 * Layout 3: from the others by code_change, which won't have a note that begins with "no".
 */
#include "layouts.h"

static const struct stash_field fields[] = { STASH_FIELD(struct layout_3, note), STASH_FIELD(struct layout_3, changed),
	STASH_FIELD(struct layout_3, next), STASH_FIELD_END };

static int
code_change(uint32_t from_layout, const void *old, size_t len, void *state)
{
	const struct layout_1 *one = old;
	const struct layout_2 *two = old;
	struct layout_3 *s = state;

	if (from_layout == 1 && len == sizeof *one) {
		s->next = one->next;
		memcpy(s->note, one->note, sizeof one->note);
	} else if (from_layout == 2 && len == sizeof *two) {
		s->next = (int64_t)two->next;
		memcpy(s->note, two->note, sizeof s->note - 1);
	} else
		return STASH_E_LAYOUT;
	s->changed = 1;
	return strncmp(s->note, "no", 2) == 0 ? STASH_E_APP : STASH_OK;
}

static int
init(struct stash_worker *w, void *state, const struct stash_init *in)
{
	struct layout_3 *s = state;

	if (in->version > 0 && in->from_layout != 3 && s->changed == 0)
		return stash_fail(w, "layout %" PRIu32 " wasn't changed", in->from_layout);
	return strcmp(s->note, "stay") == 0 ? STASH_IGNORE : STASH_OK;
}

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct layout_3 *s = state;

	return layouts_call(w, msg, 3, &s->next, s->note, sizeof s->note);
}

static const struct stash_behaviour layout = STASH_BEHAVIOUR(.name = "layout", .state_size = sizeof(struct layout_3),
    .layout_version = 3, .fields = fields, .init = init, .handle_call = handle_call, .code_change = code_change);

STASH_MODULE(&layout);
