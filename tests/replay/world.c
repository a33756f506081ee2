/* SPDX-License-Identifier: ISC */
/*
 * The processes of the simulated world, and the traffic with the machine. What a
 * path is and what its specification looks like is in paths.c; the steps of a
 * scenario are in steps.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/inside.h"

void *
world_alloc(size_t size)
{
	void *p = calloc(1, size);

	if (p == NULL) {
		fprintf(stderr, "otp-replay: out of memory\n");
		abort();
	}
	return p;
}

/* ---- what will be told to the machine ---- */

static void
tell(struct world *w, struct path *p, enum event_kind kind, enum stash_reason reason)
{
	struct event *e = world_alloc(sizeof(*e));

	e->kind = kind;
	e->path = p;
	e->node = p->node;
	e->start = p->start;
	e->reason = reason;
	*w->events_end = e;
	w->events_end = &e->next;
}

void
process_end(struct world *w, struct path *p, enum stash_reason reason)
{
	p->life = LIFE_NONE;
	tell(w, p, EVENT_EXITED, reason);
}

/* A start has come to its end. */
void
process_outcome(struct world *w, struct path *p, const char *outcome)
{
	if (strcmp(outcome, "ok") == 0) {
		p->life = LIFE_RUNNING;
		p->was_up = true;
		tell(w, p, EVENT_READY, 0);
	} else {
		p->life = LIFE_NONE;
		tell(w, p, strcmp(outcome, "ignore") == 0 ? EVENT_IGNORED : EVENT_FAILED, 0);
	}
}

/* ---- what the machine wants ---- */

static void
process_start(struct world *w, const struct sup_action *a)
{
	struct path *p = world_path(w, a->path);
	const char *outcome = path_next_init(w, p);

	p->node = a->node;
	p->start = a->start;
	p->life = LIFE_STARTING;
	if (strcmp(outcome, "hold") == 0) {
		p->life = LIFE_HELD_START;
		lines_add(&w->seen, "starting %s", p->name);
	} else {
		process_outcome(w, p, outcome);
	}
}

static void
process_signal(struct world *w, const struct sup_action *a)
{
	struct path *p = world_path(w, a->path);
	const char *term = path_term(w, p);

	if (p->life != LIFE_RUNNING || p->start != a->start)
		return;
	if (strcmp(term, "hold") == 0) {
		p->life = LIFE_HELD_STOP;
		lines_add(&w->seen, "stopping %s", p->name);
	} else if (strcmp(term, "ignore") == 0) {
		p->life = LIFE_DEAF;
	} else if (strncmp(term, "slow:", 5) == 0) {
		p->life = LIFE_SLOW;
		p->due = w->now + strtoll(term + 5, NULL, 10) * 1000000;
	} else {
		process_end(w, p, strcmp(term, "crash") == 0 ? STASH_REASON_CRASH : STASH_REASON_SHUTDOWN);
	}
}

static void
process_kill(struct world *w, const struct sup_action *a)
{
	struct path *p = world_path(w, a->path);

	if (p->life != LIFE_NONE && p->start == a->start)
		process_end(w, p, STASH_REASON_KILLED);
}

static void
write_report(struct world *w, const struct sup_action *a)
{
	static const char *const reasons[] = { [STASH_REASON_NORMAL] = "normal",
		[STASH_REASON_SHUTDOWN] = "shutdown",
		[STASH_REASON_KILLED] = "killed",
		[STASH_REASON_CRASH] = "crash",
		[STASH_REASON_NOPROC] = "noproc" };

	switch (a->report) {
	case SUP_REP_STARTED:
		lines_add(&w->seen, "started %s", a->path);
		break;
	case SUP_REP_START_FAILED:
		lines_add(&w->seen, "start_failed %s", a->path);
		break;
	case SUP_REP_IGNORED:
		lines_add(&w->seen, "start_ignored %s", a->path);
		break;
	case SUP_REP_STOPPED:
		lines_add(&w->seen, "stopped %s %s", a->path, reasons[a->reason]);
		break;
	case SUP_REP_RESTARTING:
	case SUP_REP_ESCALATED:
	case SUP_REP_AUTO_SHUTDOWN:
	case SUP_REP_KILLED:
		break;
	}
}

static void
save_row(struct world *w, const struct sup_action *a)
{
	struct stash_buf *buf;
	const void *data;
	size_t len;

	if (w->row == NULL)
		return;
	if (a->kind == SUP_ACT_FORGET) {
		w->row(w->row_arg, a->key, NULL, 0);
		return;
	}
	buf = stash_buf_create();
	if (buf == NULL || sup_pack(w->sup, a->key, buf) < 0 || stash_buf_data(buf, &data, &len) < 0) {
		fprintf(stderr, "otp-replay: row %s can't be packed: %s\n", a->key, stash_errmsg());
		abort();
	}
	w->row(w->row_arg, a->key, data, len);
	stash_buf_destroy(buf);
}

static void
carry_out(struct world *w, const struct sup_action *a)
{
	switch (a->kind) {
	case SUP_ACT_FORGET:
	case SUP_ACT_SAVE:
		save_row(w, a);
		break;
	case SUP_ACT_START:
		process_start(w, a);
		break;
	case SUP_ACT_SIGNAL:
		process_signal(w, a);
		break;
	case SUP_ACT_KILL:
		process_kill(w, a);
		break;
	case SUP_ACT_REPORT:
		write_report(w, a);
		break;
	case SUP_ACT_REPLY:
		answer_request(w, a);
		break;
	case SUP_ACT_UP:
		answer_start(w, "ok");
		break;
	case SUP_ACT_DONE:
		answer_done(w, a);
		break;
	case SUP_ACT_STATUS:
	case SUP_ACT_GONE:
		break;
	}
}

/* After each event: all actions. */
void
world_drain(struct world *w)
{
	struct sup_action a;

	w->told++;
	while (sup_next_action(w->sup, &a)) {
		if (w->watch != NULL)
			w->watch->action(w->watch->arg, &a);
		carry_out(w, &a);
	}
	if (w->after != NULL)
		w->after(w, w->after_arg);
}

/* ---- until nothing moves any more ---- */

static void
tell_next(struct world *w)
{
	struct event *e = w->events;

	w->events = e->next;
	if (w->events == NULL)
		w->events_end = &w->events;
	if (w->watch != NULL)
		w->watch->event(w->watch->arg, e);
	switch (e->kind) {
	case EVENT_READY:
		sup_ready(w->sup, e->node, e->start, w->now);
		break;
	case EVENT_FAILED:
		sup_failed(w->sup, e->node, e->start, "init_error", w->now);
		break;
	case EVENT_IGNORED:
		sup_ignored(w->sup, e->node, e->start, w->now);
		break;
	case EVENT_EXITED:
		sup_exited(w->sup, e->node, e->start, e->reason, w->now);
		break;
	}
	free(e);
	world_drain(w);
}

/* When a process does something by itself. */
static int64_t
next_due(const struct world *w, bool *deaf)
{
	const struct path *p;
	int64_t due = SUP_NEVER;

	for (p = w->paths; p != NULL; p = p->next) {
		if (p->life == LIFE_SLOW && p->due < due)
			due = p->due;
		if (p->life == LIFE_DEAF)
			*deaf = true;
	}
	return due;
}

static void
end_slow(struct world *w)
{
	struct path *p;

	for (p = w->paths; p != NULL; p = p->next) {
		if (p->life == LIFE_SLOW && p->due <= w->now)
			process_end(w, p, STASH_REASON_SHUTDOWN);
	}
}

/* What is held goes on as long as the scenario likes: no time is over because of it. */
static bool
let_time_pass(struct world *w)
{
	bool deaf = false;
	int64_t due = next_due(w, &deaf), deadline = sup_deadline(w->sup);

	if (deadline != SUP_NEVER && (deadline <= w->now || ((deaf || due != SUP_NEVER) && deadline <= due))) {
		if (deadline > w->now)
			w->now = deadline;
		sup_clock(w->sup, w->now);
		world_drain(w);
		return true;
	}
	if (due == SUP_NEVER)
		return false;
	w->now = due;
	end_slow(w);
	return true;
}

void
world_settle(struct world *w)
{
	int64_t began = w->now;

	do {
		while (w->events != NULL)
			tell_next(w);
		w->endless = w->step_max > 0 && w->now - began > w->step_max;
	} while (!w->endless && let_time_pass(w));
}

void
world_sleep(struct world *w, int64_t ms)
{
	w->now += ms * 1000000;
	sup_clock(w->sup, w->now);
	world_drain(w);
}

/* ---- another machine ---- */

void
world_rebind(struct world *w)
{
	const struct sup_node *n;
	struct path *p;
	struct event *e;

	for (p = w->paths; p != NULL; p = p->next) {
		n = sup_find_path(w->sup, p->name);
		p->node = n == NULL ? 0 : sup_node_handle(n);
	}
	for (e = w->events; e != NULL; e = e->next)
		e->node = e->path->node;
}
