/* SPDX-License-Identifier: ISC */
/*
 * turn.c: the way into the tree machine and out of it.  One event at a time: told, then its rows in one entry, then its
 * acts in their order.  What happens during the acts waits its turn, so that no row is ever behind an act.
 */
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "stashd/server.h"

enum turn_kind {
	TURN_READY = 1,
	TURN_EXTEND,
	TURN_FAILED,
	TURN_IGNORED,
	TURN_EXITED,
	TURN_LOST,
	TURN_BEREAVED,
	TURN_REQUEST,
	TURN_RESUME,
	TURN_RELOAD,
	TURN_STOP,
	TURN_KILL,
	TURN_CLOCK
};

struct turn_event {
	STAILQ_ENTRY(turn_event) link;
	enum turn_kind kind;
	uint64_t node, start;
	int64_t until; /* of EXTEND */
	enum stash_reason reason;
	char term[128];
	struct sup_request request; /* what it points to is the event's */
	char *supervisor, *child, *name;
	void *args;
};

/* ---- out: what the machine wants ---- */

static struct worker *
worker_of(struct server *s, const struct sup_action *a)
{
	char name[STASH_NAME_MAX + 1];

	worker_slot_name(a->path, a->name, name);
	return worker_find(s, name);
}

/* What has changed for clients: its rows go into the entry of the tree's, and are told when that is submitted. */
struct turn_told {
	STAILQ_ENTRY(turn_told) link;
	struct worker *worker;
	enum stash_status status;
	bool gone;
};
STAILQ_HEAD(turn_tolds, turn_told);

static void
note_status(struct server *s, const struct sup_action *a, struct turn_tolds *tolds)
{
	struct worker *w = worker_of(s, a);
	struct turn_told *t = w != NULL ? calloc(1, sizeof(*t)) : NULL;

	if (w != NULL && t == NULL)
		server_give_up("no memory");
	if (t == NULL)
		return;
	t->worker = w;
	t->gone = a->kind == SUP_ACT_GONE;
	t->status = t->gone ? STASH_STOPPED : a->status;
	worker_record(w, t->status, t->gone);
	STAILQ_INSERT_TAIL(tolds, t, link);
}

static void
tell_statuses(struct turn_tolds *tolds)
{
	struct turn_told *t;

	while ((t = STAILQ_FIRST(tolds)) != NULL) {
		STAILQ_REMOVE_HEAD(tolds, link);
		worker_status(t->worker, t->status, t->gone);
		free(t);
	}
}

static void
act(struct server *s, const struct sup_action *a)
{
	switch (a->kind) {
	case SUP_ACT_FORGET:
	case SUP_ACT_SAVE:
	case SUP_ACT_STATUS:
	case SUP_ACT_GONE:
		break;
	case SUP_ACT_START:
		life_start(s, a->node, a->start, a->path, a->name);
		break;
	case SUP_ACT_SIGNAL:
		life_signal(s, a->node, a->start, SIGTERM);
		break;
	case SUP_ACT_KILL:
		life_signal(s, a->node, a->start, SIGKILL);
		break;
	case SUP_ACT_REPORT:
		records_report(s, a);
		break;
	case SUP_ACT_REPLY:
		query_reply(s, a);
		break;
	case SUP_ACT_UP:
		server_up(s);
		break;
	case SUP_ACT_DONE:
		server_ended(s, a->code < 0 ? a->code : 0, a->term);
		break;
	}
}

/* Rows come before all acts, and are safe in the slot before the first of them. */
static void
drain(struct server *s)
{
	struct turn_tolds tolds = STAILQ_HEAD_INITIALIZER(tolds);
	struct sup_action a;

	while (sup_next_action(s->machine, &a)) {
		if (a.kind == SUP_ACT_SAVE || a.kind == SUP_ACT_FORGET) {
			records_tree(s, a.key, a.kind == SUP_ACT_FORGET);
			continue;
		}
		if (a.kind == SUP_ACT_STATUS || a.kind == SUP_ACT_GONE) {
			note_status(s, &a, &tolds);
			continue;
		}
		records_submit(s);
		tell_statuses(&tolds);
		act(s, &a);
	}
	records_submit(s);
	tell_statuses(&tolds);
}

/* ---- in ---- */

static void
tell(struct server *s, const struct turn_event *e)
{
	struct sup *m = s->machine;
	int64_t now = stash__now_ns();
	int result;

	switch (e->kind) {
	case TURN_READY:
		sup_ready(m, e->node, e->start, now);
		break;
	case TURN_EXTEND:
		sup_extend(m, e->node, e->start, e->until);
		break;
	case TURN_FAILED:
		sup_failed(m, e->node, e->start, e->term, now);
		break;
	case TURN_IGNORED:
		sup_ignored(m, e->node, e->start, now);
		break;
	case TURN_EXITED:
		sup_exited(m, e->node, e->start, e->reason, now);
		break;
	case TURN_LOST:
		sup_lost(m, e->node, e->start, now);
		break;
	case TURN_BEREAVED:
		sup_bereaved(m, e->node, e->start, now);
		break;
	case TURN_REQUEST:
		sup_request(m, &e->request, now);
		break;
	case TURN_RESUME:
		sup_resume(m, false, now);
		break;
	case TURN_RELOAD:
		result = sup_reload(m, sup_spec_ref(e->request.spec), e->request.id, now);
		if (result < 0)
			reload_refused(s, e->request.id, result, stash_errmsg());
		break;
	case TURN_STOP:
		if (sup_stop(m, now) < 0 && s->phase != SERVER_OVER)
			server_over(s, 0, "");
		break;
	case TURN_KILL:
		sup_kill(m, now);
		break;
	case TURN_CLOCK:
		sup_clock(m, now);
		break;
	}
}

static void
discard(struct turn_event *e)
{
	free(e->supervisor);
	free(e->child);
	free(e->name);
	free(e->args);
	sup_spec_unref(e->request.spec);
	free(e);
}

static void
run(struct server *s)
{
	struct turn_event *e;

	if (s->turning || s->held > 0)
		return;
	s->turning = true;
	while ((e = STAILQ_FIRST(&s->turns)) != NULL) {
		STAILQ_REMOVE_HEAD(&s->turns, link);
		tell(s, e);
		drain(s);
		discard(e);
	}
	ahead_look(s);
	s->turning = false;
	server_arm(s);
}

static struct turn_event *
create(enum turn_kind kind, uint64_t node, uint64_t start)
{
	struct turn_event *e = calloc(1, sizeof(*e));

	if (e == NULL)
		server_give_up("no memory");
	e->kind = kind;
	e->node = node;
	e->start = start;
	return e;
}

static void
add(struct server *s, struct turn_event *e)
{
	STAILQ_INSERT_TAIL(&s->turns, e, link);
	run(s);
}

void
turn_ready(struct server *s, uint64_t node, uint64_t start)
{
	add(s, create(TURN_READY, node, start));
}

void
turn_extend(struct server *s, uint64_t node, uint64_t start, int64_t until)
{
	struct turn_event *e = create(TURN_EXTEND, node, start);

	e->until = until;
	add(s, e);
}

void
turn_failed(struct server *s, uint64_t node, uint64_t start, const char *term)
{
	struct turn_event *e = create(TURN_FAILED, node, start);

	strlcpy(e->term, term, sizeof(e->term));
	add(s, e);
}

void
turn_ignored(struct server *s, uint64_t node, uint64_t start)
{
	add(s, create(TURN_IGNORED, node, start));
}

void
turn_exited(struct server *s, uint64_t node, uint64_t start, enum stash_reason reason)
{
	struct turn_event *e = create(TURN_EXITED, node, start);

	e->reason = reason;
	add(s, e);
}

void
turn_lost(struct server *s, uint64_t node, uint64_t start)
{
	add(s, create(TURN_LOST, node, start));
}

void
turn_bereaved(struct server *s, uint64_t node, uint64_t start)
{
	add(s, create(TURN_BEREAVED, node, start));
}

/* Without memory nothing can be told any more: the next supervisor finds everything as it is. */
static void *
copy(const void *data, size_t len)
{
	void *memory = data == NULL ? NULL : malloc(len + 1);

	if (data != NULL && memory == NULL)
		server_give_up("no memory");
	if (memory != NULL)
		memcpy(memory, data, len);
	return memory;
}

static char *
copy_text(const char *text)
{
	return copy(text, text == NULL ? 0 : strlen(text) + 1);
}

void
turn_request(struct server *s, const struct sup_request *request)
{
	struct turn_event *e = create(TURN_REQUEST, 0, 0);

	e->request = *request;
	e->request.supervisor = e->supervisor = copy_text(request->supervisor);
	e->request.child = e->child = copy_text(request->child);
	e->request.name = e->name = copy_text(request->name);
	e->request.args = e->args = copy(request->args, request->args_len);
	if (request->spec != NULL)
		e->request.spec = sup_spec_ref(request->spec);
	add(s, e);
}

void
turn_resume(struct server *s)
{
	add(s, create(TURN_RESUME, 0, 0));
}

void
turn_reload(struct server *s, struct sup_spec *spec, uint64_t request)
{
	struct turn_event *e = create(TURN_RELOAD, 0, 0);

	e->request.spec = spec;
	e->request.id = request;
	add(s, e);
}

int
turn_begin_anew(struct server *s, struct sup_spec *spec, bool new_boot)
{
	int result = sup_begin_anew(s->machine, spec, new_boot, stash__now_ns());

	if (result == 0 && sup_node_state(sup_root(s->machine)) == SUP_DOWN)
		result = stash__fail(STASH_E_DOWN, "the stored tree had ended");
	if (result == 0)
		add(s, create(TURN_CLOCK, 0, 0));
	return result;
}

int
turn_begin(struct server *s, struct sup_spec *spec)
{
	int result = sup_start(s->machine, spec, stash__now_ns());

	if (result < 0)
		return stash__fail(result, "a tree is running already");
	add(s, create(TURN_CLOCK, 0, 0));
	return 0;
}

void
turn_stop(struct server *s)
{
	add(s, create(TURN_STOP, 0, 0));
}

void
turn_kill(struct server *s)
{
	add(s, create(TURN_KILL, 0, 0));
}

static void
on_due(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;

	(void)fd;
	(void)what;
	s->due_set = false;
	add(s, create(TURN_CLOCK, 0, 0));
}

void
server_arm(struct server *s)
{
	int64_t due = s->machine != NULL ? sup_deadline(s->machine) : SUP_NEVER, now, left;
	struct timeval tv;

	if (s->due_set)
		event_del(&s->due);
	s->due_set = false;
	if (due == SUP_NEVER || s->phase == SERVER_OVER)
		return;
	/* Compared first: what is due at once may be the smallest number that there is. */
	now = stash__now_ns();
	left = due <= now ? 0 : due - now;
	/* Rounded up: a machine that is asked too early would ask for another timer at once. */
	tv.tv_sec = left / STASH__NS_PER_S;
	tv.tv_usec = (left % STASH__NS_PER_S + 999) / 1000;
	if (tv.tv_usec == 1000000) {
		tv.tv_sec++;
		tv.tv_usec = 0;
	}
	evtimer_assign(&s->due, s->events, on_due, s);
	server_await(&s->due, &tv);
	s->due_set = true;
}

void
turn_hold(struct server *s)
{
	s->held++;
}

void
turn_release(struct server *s)
{
	s->held--;
	run(s);
}

void
turn_free(struct server *s)
{
	struct turn_event *e;

	while ((e = STAILQ_FIRST(&s->turns)) != NULL) {
		STAILQ_REMOVE_HEAD(&s->turns, link);
		discard(e);
	}
}
