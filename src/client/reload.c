/* SPDX-License-Identifier: ISC */
/*
 * reload.c: stashd is asked to read its config file again.
 */
#include <stash/supervisor.h>

#include "base/error.h"
#include "client/client.h"
#include "shm/wire.h"

struct steps {
	stash__step_fn *fn; /* may be NULL */
	void *arg;
};

static int
garbled(void)
{
	return stash__fail(STASH_E_PROTO, "the supervisor's answer can't be understood");
}

static int
on_steps(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	const struct steps *s = arg;
	int error = (int)stash_view_int(v);
	const char *text = stash_view_text(v), *what, *path, *why;
	int64_t more, count;

	(void)fds;
	(void)nfds;
	if (type == STASH__B_DONE && error < 0)
		return stash__fail(error, "%s", text);
	(void)stash_view_text(v); /* the term is in the text */
	more = stash_view_int(v);
	count = stash_view_int(v);
	for (; count > 0 && v->error == 0; count--) {
		what = stash_view_text(v);
		path = stash_view_text(v);
		why = stash_view_text(v);
		if (v->error == 0 && s->fn != NULL)
			s->fn(s->arg, what, path, why);
	}
	if (type != STASH__B_STEPS || v->error != 0)
		return garbled();
	return error < 0 ? stash__fail(error, "%s", text) : more != 0;
}

int
stash__reload(struct stash_client *c, bool dry_run, stash__step_fn *fn, void *arg, int timeout_ms)
{
	struct steps s = { fn, arg };
	struct stash_buf items;
	int result = stash__client_check(c, "stash_reload");

	if (result < 0)
		return result;
	stash__buf_init(&items, STASH__WIRE_MAX);
	(void)stash_buf_add_int(&items, dry_run);
	result = stash__client_request(c, STASH__B_RELOAD, &items, timeout_ms, on_steps, &s);
	stash__buf_fini(&items);
	return result;
}

int
stash_reload(struct stash_client *c, int timeout_ms)
{
	return stash__reload(c, false, NULL, NULL, timeout_ms);
}
