/* SPDX-License-Identifier: ISC */
/*
 * Requests to the supervisor that have no function in the library yet. Their
 * answer begins with an error and its sentence.
 */
#include "base/error.h"
#include "client/client.h"
#include "stashctl/ctl.h"

struct waiting {
	ctl_answer_fn *fn;
	void *arg;
};

static int
take(void *arg, int type, struct stash_view *view, int *fds, int nfds)
{
	const struct waiting *w = arg;
	int64_t code = stash_view_int(view);
	const char *text = stash_view_text(view);

	(void)type;
	(void)fds;
	(void)nfds;
	if (view->error != 0 || code > 0 || code < STASH_E_TEMPLATE)
		return stash__fail(STASH_E_PROTO, "stashd's answer can't be read: it is of another version");
	if (code < 0)
		return stash__fail((int)code, "%s", *text != '\0' ? text : stash_strerror((int)code));
	return w->fn != NULL ? w->fn(w->arg, view) : STASH_OK;
}

int
ctl_request(
    struct stash_client *client, int type, const struct stash_buf *items, int timeout_ms, ctl_answer_fn *fn, void *arg)
{
	struct waiting w = { fn, arg };

	return stash__client_request(client, type, items, timeout_ms, take, &w);
}
