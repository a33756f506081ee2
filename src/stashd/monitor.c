/* SPDX-License-Identifier: ISC */
/*
 * monitor.c: who wants to know of whose end.  A monitor is of a worker's name and stays over restarts of both sides.
 * Each end of an incarnation that was let go is noted once in its row, by the incarnation's number; it stays there
 * until the watcher says that it has it, and is told again to each new incarnation of the watcher until then.
 *
 *	target:   let go --> ends: noted, row submitted --> told, by a number
 *	watcher:                                             has it in its slot: the row is shortened
 *
 * Numbers grow for each watcher, over all that it watches: its slot keeps the highest one, and takes none twice.
 */
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "stashd/server.h"

int
monitor_compare(const struct monitor *a, const struct monitor *b)
{
	int order = strcmp(a->target, b->target);

	return order != 0 ? order : strcmp(a->watcher->name, b->watcher->name);
}

RB_GENERATE(monitors, monitor, by_target, monitor_compare)

static struct monitor *
find(struct worker *watcher, const char *target)
{
	struct monitor key = { .watcher = watcher };

	strlcpy(key.target, target, sizeof(key.target));
	return RB_FIND(monitors, &watcher->server->registry.monitors, &key);
}

/* Those of one target; NULL begins, NULL ends. */
static struct monitor *
next_of(struct server *s, const char *target, struct monitor *m)
{
	struct worker first = { .name = (char *)(uintptr_t) "" };
	struct monitor key = { .watcher = &first };

	strlcpy(key.target, target, sizeof(key.target));
	m = m == NULL ? RB_NFIND(monitors, &s->registry.monitors, &key) : RB_NEXT(monitors, &s->registry.monitors, m);
	return m != NULL && strcmp(m->target, target) == 0 ? m : NULL;
}

static void
put_row(const struct monitor *m)
{
	struct stash__name_row row = { .ref = m->ref, .seen = m->seen };
	unsigned char ends[STASH__DOWNS_MAX * STASH__DOWN_BYTES];
	const struct ending *e;

	TAILQ_FOREACH(e, &m->watcher->has.ends, link) {
		if (e->monitor == m && row.len < sizeof(ends))
			row.len += stash__down_put(ends + row.len, e->number, e->reason);
	}
	row.data = ends;
	row.last = m->watcher->has.last_end;
	registry_row(m->watcher->server, STASH__NAME_MONITOR, m->watcher->name, m->target, &row);
}

static struct monitor *
add(struct worker *watcher, const char *target)
{
	struct monitor *m = calloc(1, sizeof(*m));

	if (m == NULL) {
		(void)stash__fail(STASH_E_NOMEM, "the supervisor has no memory for a monitor");
		return NULL;
	}
	strlcpy(m->target, target, sizeof(m->target));
	m->watcher = watcher;
	RB_INSERT(monitors, &watcher->server->registry.monitors, m);
	LIST_INSERT_HEAD(&watcher->has.monitors, m, of_watcher);
	return m;
}

static void
drop_end(struct ending *e)
{
	e->monitor->nends--;
	TAILQ_REMOVE(&e->monitor->watcher->has.ends, e, link);
	free(e);
}

static void
discard(struct monitor *m)
{
	struct ending *e, *next;

	for (e = TAILQ_FIRST(&m->watcher->has.ends); m->nends > 0 && e != NULL; e = next) {
		next = TAILQ_NEXT(e, link);
		if (e->monitor == m)
			drop_end(e);
	}
	RB_REMOVE(monitors, &m->watcher->server->registry.monitors, m);
	LIST_REMOVE(m, of_watcher);
	free(m);
}

/* By number, and those that were read come in the order of their rows. */
static int
add_end(struct monitor *m, uint64_t number, enum stash_reason reason)
{
	struct belongings *has = &m->watcher->has;
	struct ending *e = calloc(1, sizeof(*e)), *before = TAILQ_LAST(&has->ends, endings);

	if (e == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the end of %s", m->target);
	e->monitor = m;
	e->number = number;
	e->reason = reason;
	while (before != NULL && before->number > number)
		before = TAILQ_PREV(before, endings, link);
	if (before != NULL)
		TAILQ_INSERT_AFTER(&has->ends, before, e, link);
	else
		TAILQ_INSERT_HEAD(&has->ends, e, link);
	m->nends++;
	if (number > has->last_end)
		has->last_end = number;
	return 0;
}

/* One end more; of too many the oldest goes. */
static void
note(struct monitor *m, enum stash_reason reason)
{
	struct belongings *has = &m->watcher->has;
	uint64_t now = (uint64_t)stash__time_ns();
	struct ending *e;

	if (m->nends == STASH__DOWNS_MAX) {
		stash__log(LOG_WARNING, "%s takes no word of the ends of %s: the oldest is dropped", m->watcher->name,
		    m->target);
		TAILQ_FOREACH(e, &has->ends, link) {
			if (e->monitor == m)
				break;
		}
		drop_end(e);
	}
	/* By the time: a monitor that is gone takes along what it knew of numbers. */
	if (add_end(m, now > has->last_end ? now : has->last_end + 1, reason) < 0)
		stash__log(LOG_CRIT, "%s", stash_errmsg());
}

/* ---- telling ---- */

static void
tell(struct worker *watcher)
{
	const struct life *l = watcher->now;
	const struct ending *e;
	struct stash_buf *buf;

	if (l == NULL || (l->phase != LIFE_STARTING && l->phase != LIFE_READY) || !plan_linked(&watcher->plan))
		return;
	TAILQ_FOREACH(e, &watcher->has.ends, link) {
		if (e->number <= watcher->has.told)
			continue;
		watcher->has.told = e->number;
		buf = mail_begin(STASH__W_DOWN, 0);
		stash_buf_add_int(buf, e->monitor->ref);
		stash_buf_add_int(buf, (int64_t)e->number);
		stash_buf_add_text(buf, e->monitor->target);
		stash_buf_add_int(buf, e->reason);
		life_say(watcher->now, buf, NULL, 0);
	}
}

void
monitor_tell(struct worker *target)
{
	struct monitor *m = NULL;

	while ((m = next_of(target->server, target->name, m)) != NULL)
		tell(m->watcher);
}

void
monitor_tell_news(struct worker *watcher)
{
	tell(watcher);
}

void
monitor_catch_up(struct worker *watcher)
{
	watcher->has.told = 0;
	tell(watcher);
}

void
monitor_taken(struct worker *watcher, uint64_t number)
{
	struct ending *e;
	struct monitor *m;
	bool taken = false;

	while ((e = TAILQ_FIRST(&watcher->has.ends)) != NULL && e->number <= number) {
		m = e->monitor;
		drop_end(e);
		put_row(m);
		taken = true;
	}
	if (taken)
		records_submit(watcher->server);
}

/* ---- the target ---- */

void
monitor_died(struct worker *w, uint64_t incarnation, enum stash_reason reason)
{
	struct monitor *m = NULL;

	if (w->has.ran <= incarnation)
		w->has.ran = 0;
	while ((m = next_of(w->server, w->name, m)) != NULL) {
		if (m->seen >= incarnation)
			continue;
		m->seen = incarnation;
		note(m, reason);
		put_row(m);
	}
}

void
monitor_lost(struct worker *w)
{
	if (w->has.ran == 0)
		return;
	monitor_died(w, w->has.ran, STASH_REASON_KILLED);
	records_submit(w->server);
	monitor_tell(w);
}

void
monitor_went(struct life *l)
{
	struct worker *w = l->worker;
	struct monitor *m = NULL;

	if (w->has.ran != 0 && w->has.ran < l->incarnation)
		monitor_lost(w);
	w->has.ran = l->incarnation;
	/* Numbers that were given out before it was let go, or that have begun anew. */
	while ((m = next_of(w->server, w->name, m)) != NULL) {
		if (m->seen < l->incarnation)
			continue;
		m->seen = l->incarnation - 1;
		put_row(m);
	}
	records_submit(w->server);
}

/* ---- the watcher ---- */

/* Everything before the incarnation that runs now is none of its business. */
static uint64_t
ended_so_far(const struct worker *target)
{
	const struct life *l = target->now;

	return l != NULL && (l->phase == LIFE_STARTING || l->phase == LIFE_READY) ? l->incarnation - 1 :
										    target->incarnation;
}

int
monitor_begin(struct worker *watcher, const char *name, int64_t *ref)
{
	struct server *s = watcher->server;
	struct worker *target = registry_worker(s, name);
	const struct sup_node *node = registry_node(s, name);
	struct monitor *m = find(watcher, target != NULL ? target->name : name);

	if (m == NULL) {
		m = add(watcher, target != NULL ? target->name : name);
		if (m == NULL)
			return STASH_E_NOMEM;
		/* None twice, also not after the end of this supervisor. */
		m->ref = stash__time_ns() > s->registry.last_ref ? stash__time_ns() : s->registry.last_ref + 1;
		s->registry.last_ref = m->ref;
		m->seen = target != NULL ? ended_so_far(target) : 0;
		if (target == NULL || (node != NULL && sup_node_status(node) == STASH_STOPPED))
			note(m, STASH_REASON_NOPROC);
		put_row(m);
	}
	*ref = m->ref;
	return 0;
}

void
monitor_end(struct worker *watcher, int64_t ref)
{
	struct monitor *m;

	LIST_FOREACH(m, &watcher->has.monitors, of_watcher) {
		if (m->ref == ref)
			break;
	}
	if (m == NULL)
		return;
	registry_row(watcher->server, STASH__NAME_MONITOR, watcher->name, m->target, NULL);
	discard(m);
}

void
monitor_over(struct worker *watcher)
{
	while (!LIST_EMPTY(&watcher->has.monitors))
		monitor_end(watcher, LIST_FIRST(&watcher->has.monitors)->ref);
}

/* ---- what an earlier supervisor has left ---- */

int
monitor_load(struct worker *watcher, const char *target, const struct stash__name_row *row)
{
	struct monitor *m = find(watcher, target) == NULL ? add(watcher, target) : NULL;
	const unsigned char *at = row->data;
	enum stash_reason reason;
	uint64_t number;
	int result = m != NULL ? 0 : STASH_E_NOMEM;

	if (m == NULL)
		return result;
	m->ref = row->ref;
	m->seen = row->seen;
	for (size_t i = 0; i < row->len / STASH__DOWN_BYTES && result == 0; i++) {
		stash__down_get(at + i * STASH__DOWN_BYTES, &number, &reason);
		result = add_end(m, number, reason);
	}
	if (row->last > watcher->has.last_end)
		watcher->has.last_end = row->last;
	if (row->ref > watcher->server->registry.last_ref)
		watcher->server->registry.last_ref = row->ref;
	return result;
}

void
monitor_free(struct server *s)
{
	while (!RB_EMPTY(&s->registry.monitors))
		discard(RB_ROOT(&s->registry.monitors));
}
