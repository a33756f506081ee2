/* SPDX-License-Identifier: ISC */
/*
 * release.c: what is let go of a name that is nobody's any more: its slot, after the last of its state is stored, then
 * what is known of it here.  Trees whose children come and go would fill the run directory and the memory else.
 * Nothing is released that a channel, a process or a waiting client may still need, and a child that takes the name
 * meanwhile waits until this is over.
 */
#include "base/log.h"
#include "stashd/server.h"

#define TURN_MAX 256 /* names at a tick */

static bool
is_free(const struct worker *w)
{
	return w->gone && w->start == 0 && w->now == NULL && w->ahead == NULL && LIST_EMPTY(&w->dying) &&
	    LIST_EMPTY(&w->channels) && LIST_EMPTY(&w->ways) && TAILQ_EMPTY(&w->waits);
}

/* What was registered, by it or for it, went with its end; a report of how it died may still be written. */
static bool
is_unused(const struct worker *w)
{
	return is_free(w) && LIST_EMPTY(&w->has.aliases) && LIST_EMPTY(&w->has.values) && LIST_EMPTY(&w->has.members) &&
	    LIST_EMPTY(&w->has.monitors) && !report_is_about(w);
}

/* It has no slot any more, or never had one.  w may be freed. */
static void
let_go(struct worker *w)
{
	worker_disclaim(w);
	if (is_unused(w))
		worker_forget(w);
}

static void
on_closed(void *arg, int error, const char *text, struct mail *m)
{
	struct worker *w = arg;

	(void)m;
	/* Not there: it was closed by a stash process that didn't come to say it. */
	if (error < 0 && error != STASH_E_NOENT) {
		stash__log(LOG_WARNING, "%s: its slot can't be released, and is kept: %s", w->name, text);
		w->slot = SLOT_OPEN;
		w->gone = false;
		life_go_on(w);
		return;
	}
	w->slot = SLOT_UNKNOWN;
	if (w->start != 0)
		worker_open(w);
	else
		let_go(w);
}

static void
release(struct worker *w)
{
	struct stashlink *k = &w->server->stash;
	struct stash_buf *buf;

	program_free(w);
	buf = stashlink_begin(k, STASH__S_CLOSE);
	stash_buf_add_text(buf, w->name);
	stash_buf_add_int(buf, 0);
	if (stashlink_send(k, buf, -1, on_closed, w) != 0)
		w->slot = SLOT_CLOSING;
}

void
release_tick(struct server *s)
{
	struct worker *w, *next;
	int n = 0;

	if (s->phase == SERVER_BOOT || s->phase == SERVER_OVER)
		return;
	RB_FOREACH_SAFE(w, worker_names, &s->names, next) {
		if (!w->gone || !is_free(w))
			continue;
		if (w->slot == SLOT_OPEN && n++ < TURN_MAX)
			release(w);
		else if (w->slot == SLOT_UNKNOWN)
			let_go(w);
	}
}
