/* SPDX-License-Identifier: ISC */
/*
 * Layout 4: a state with a pointer, from the others by decode, and no way back.
 */
#include "layouts.h"

struct layout_4 {
	int64_t next;
	char *note;
};

static int
encode(const void *state, struct stash_buf *out)
{
	const struct layout_4 *s = state;

	(void)stash_buf_add_int(out, s->next);
	return stash_buf_add_text(out, s->note != NULL ? s->note : "");
}

static int
decode(const void *data, size_t len, uint32_t layout, void *state)
{
	const struct layout_1 *one = data;
	struct layout_4 *s = state;
	struct stash_view v;

	s->note = calloc(1, 200);
	if (s->note == NULL)
		return STASH_E_NOMEM;
	if (layout == 1 && len == sizeof *one) {
		s->next = one->next;
		memcpy(s->note, one->note, sizeof one->note);
		return STASH_OK;
	}
	if (layout != 4)
		return STASH_E_LAYOUT;
	stash_view_init(&v, data, len);
	s->next = stash_view_int(&v);
	(void)snprintf(s->note, 200, "%s", stash_view_text(&v));
	return stash_view_end(&v);
}

static int
init(struct stash_worker *w, void *state, const struct stash_init *in)
{
	struct layout_4 *s = state;

	(void)w;
	(void)in;
	if (s->note == NULL)
		s->note = calloc(1, 200);
	return s->note != NULL ? STASH_OK : STASH_E_NOMEM;
}

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct layout_4 *s = state;

	if (stash_msg_is(msg, "post"))
		return stash_post(w, "posted", NULL, 0);
	return layouts_call(w, msg, 4, &s->next, s->note, 200);
}

static int
handle_info(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	(void)w;
	(void)msg;
	((struct layout_4 *)state)->next++;
	return STASH_OK;
}

static int
format_status(const void *state, FILE *out)
{
	const struct layout_4 *s = state;

	fprintf(out, "next %" PRId64 ", note \"%s\"\n", s->next, s->note);
	return STASH_OK;
}

static const struct stash_behaviour layout = STASH_BEHAVIOUR(.name = "layout", .state_size = sizeof(struct layout_4),
    .layout_version = 4, .init = init, .handle_call = handle_call, .handle_info = handle_info,
    .format_status = format_status, .encode = encode, .decode = decode);

STASH_MODULE(&layout);
