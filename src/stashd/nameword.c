/* SPDX-License-Identifier: ISC */
/*
 * nameword.c: what a worker asks about names, and the answer.  A question may come twice: from a worker that was told
 * nothing because a supervisor died.  The answer says that the rows are in the ring: as long as they aren't, it is
 * "busy", and the worker asks again.
 */
#include <string.h>

#include "base/error.h"
#include "base/name.h"
#include "base/point.h"
#include "stashd/server.h"

struct ask {
	int what;
	const char *name;
	int64_t ref;
	const void *data;
	size_t len;
};

static int
read_ask(struct mail *m, struct ask *a)
{
	a->what = (int)stash__view_range(&m->view, STASH__ASK_REGISTER, STASH__ASK_LAST);
	a->name = stash_view_text(&m->view);
	a->ref = stash_view_int(&m->view);
	a->data = stash_view_bytes(&m->view, &a->len);
	if (stash_view_end(&m->view) < 0)
		return stash__fail(STASH_E_PROTO, "a question about names that can't be understood");
	return a->what == STASH__ASK_DEMONITOR ? 0 : stash__check_name(a->name);
}

static int
carry_out(struct worker *w, struct ask *a)
{
	bool monitor = a->what == STASH__ASK_MONITOR || a->what == STASH__ASK_DEMONITOR;

	if (w->listed == 0 || sup_find(w->server->machine, w->listed) == NULL)
		return stash__fail(STASH_E_DOWN, "%s is no child any more", w->name);
	if (!monitor && (w->spec == NULL || w->spec->name[0] == '\0'))
		return stash__fail(STASH_E_INVAL, "a child without a name can have no further ones, and join no group");
	switch (a->what) {
	case STASH__ASK_REGISTER:
		return registry_register(w, a->name);
	case STASH__ASK_UNREGISTER:
		return registry_unregister(w, a->name);
	case STASH__ASK_PUT:
		return registry_put(w, a->name, a->data, a->len);
	case STASH__ASK_JOIN:
		return group_join(w, a->name);
	case STASH__ASK_LEAVE:
		return group_leave(w, a->name);
	case STASH__ASK_MONITOR:
		return monitor_begin(w, a->name, &a->ref);
	default:
		monitor_end(w, a->ref);
		return 0;
	}
}

void
names_asked(struct life *l, struct mail *m)
{
	struct server *s = l->server;
	struct worker *w = l->worker;
	struct ask a = { .what = 0 };
	struct stash_buf *buf;
	int result = read_ask(m, &a);

	if (result == 0)
		result = carry_out(w, &a);
	records_submit(s);
	if (result == 0 && s->records.waiting > 0)
		result = stash__fail(STASH_E_BUSY, "the supervisor's rows are not safe yet");
	buf = mail_begin(STASH__W_NAMED, m->number);
	stash_buf_add_int(buf, (int64_t)m->number);
	mail_add_result(buf, result);
	stash_buf_add_int(buf, result == 0 ? a.ref : 0);
	life_say(l, buf, NULL, 0);
	STASH_POINT("sup_named");
	if (a.what == STASH__ASK_MONITOR)
		monitor_tell_news(w);
}

void
names_taken(struct life *l, struct mail *m)
{
	uint64_t number = (uint64_t)stash_view_int(&m->view);

	if (stash_view_end(&m->view) == 0)
		monitor_taken(l->worker, number);
}
