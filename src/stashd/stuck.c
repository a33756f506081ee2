/* SPDX-License-Identifier: ISC */
/*
 * stuck.c: handler_timeout.  The black box tells which message a worker has in hand; whoever is found with the same one
 * for too long is noted in a row, aborted for its backtrace, and killed if it doesn't die of that.  Only time between
 * two looks counts, and no more of it than they should lie apart: when the supervisor itself, or the machine, stood
 * still, nobody is blamed for that.  A worker that is stopped in a callback is stuck as well.
 *
 * The note comes before the signal, and the verdict only when the dead one still has that very message in hand: then
 * the death is laid on it, whoever judges, this supervisor or the next one.
 */
#include "stashd/stuck.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/point.h"
#include "base/text.h"
#include "stashd/proc.h"
#include "stashd/server.h"

#define LOOKS 8 /* within the limit */
#define LOOK_MIN_NS STASH__NS_PER_MS
#define LOOK_MAX_NS STASH__NS_PER_S
#define GRACE_NS (2 * STASH__NS_PER_S) /* from SIGABRT to SIGKILL: for the backtrace, and a core file */

static int64_t
limit(const struct life *l)
{
	return (int64_t)l->worker->plan.handler_timeout_ms * STASH__NS_PER_MS;
}

static int64_t
interval(const struct life *l)
{
	int64_t ns = limit(l) / LOOKS;

	return ns < LOOK_MIN_NS ? LOOK_MIN_NS : ns > LOOK_MAX_NS ? LOOK_MAX_NS : ns;
}

static void
arm(struct life *l, int64_t ns)
{
	struct timeval tv = { .tv_sec = ns / STASH__NS_PER_S, .tv_usec = ns % STASH__NS_PER_S / 1000 };

	(void)event_add(&l->stuck.look, &tv);
}

/* ---- the black box ---- */

enum doing { ELSE, WAITS, BUSY };

/* What may be the behaviour's own code: a callback; encode and check_state before an entry; terminate, unless the
 * supervisor has asked for the end, which has a limit of its own. */
static enum doing
doing(const struct life *l, const struct stash__box *box, bool ours)
{
	switch (atomic_load(&box->phase)) {
	case STASH__PHASE_CALLBACK:
	case STASH__PHASE_SUBMIT:
		return ours ? BUSY : ELSE;
	case STASH__PHASE_WAITING:
		return ours ? WAITS : ELSE;
	case STASH__PHASE_TERMINATE:
		return l->phase == LIFE_READY && !l->asked ? BUSY : ELSE;
	default:
		return ELSE;
	}
}

static enum doing
read_box(const struct life *l, struct stash__stuck *now, struct stash__box *box)
{
	int fd = worker_file(l->worker, "out", O_RDONLY);
	bool whole = fd >= 0 && stash__read_at(fd, box, sizeof(*box), STASH__OUT_BOX) == (ssize_t)sizeof(*box);

	if (fd >= 0)
		close(fd);
	if (!whole)
		return ELSE;
	*now = (struct stash__stuck){ .incarnation = l->incarnation,
		.hand = atomic_load(&box->in_hand),
		.since = atomic_load(&box->since),
		.commits = atomic_load(&box->commits),
		.batch = atomic_load(&box->batch) };
	box->tag[STASH_TAG_MAX] = '\0';
	return doing(l, box, now->hand != 0 && STASH__HAND_INCARNATION(now->hand) == (l->incarnation & 0xffff));
}

static bool
same(const struct stash__stuck *a, const struct stash__stuck *b)
{
	return a->incarnation == b->incarnation && a->hand == b->hand && a->since == b->since &&
	    a->commits == b->commits && a->batch == b->batch;
}

/* ---- guilty ---- */

static void
note(struct life *l, const struct stash__stuck *stuck)
{
	struct stash__name_row row = { .stuck = stuck != NULL ? *stuck : (struct stash__stuck){ 0 } };

	registry_row(l->server, STASH__NAME_STUCK, l->worker->name, NULL, stuck != NULL ? &row : NULL);
	l->worker->stuck = row.stuck;
}

static void
abort_it(struct life *l)
{
	char text[STASH_TAG_MAX * 4 + 200];

	l->stuck.guilty = true;
	stuck_describe(l, text, sizeof(text));
	stash__log(LOG_ERR, "%s: process %d, incarnation %llu, is %s: aborted", l->worker->name, (int)l->pid,
	    (unsigned long long)l->incarnation, text);
	if (pidfd_send_signal(l->pidfd, SIGABRT, NULL, 0) == 0)
		arm(l, GRACE_NS);
}

static void
kill_it(struct life *l)
{
	stash__log(LOG_ERR, "%s: process %d, incarnation %llu, was aborted and lives: killed", l->worker->name,
	    (int)l->pid, (unsigned long long)l->incarnation);
	(void)pidfd_send_signal(l->pidfd, SIGKILL, NULL, 0);
}

static void
keep_in_mind(struct stuck_watch *k, const struct stash__stuck *now, const struct stash__box *box)
{
	k->now = *now;
	k->kind = atomic_load(&box->kind);
	memcpy(k->tag, box->tag, sizeof(k->tag));
}

/* Counts the time since the last look, if it is the same message still. */
static void
look(struct life *l)
{
	struct stuck_watch *k = &l->stuck;
	int64_t now = stash__now_ns(), passed = now - k->looked, most = 2 * interval(l);
	struct stash__stuck found;
	struct stash__box box;
	enum doing does = l->phase == LIFE_STARTING || l->phase == LIFE_READY ? read_box(l, &found, &box) : ELSE;

	k->looked = now;
	if (does == ELSE)
		k->now.incarnation = 0;
	else if (!same(&found, &k->now))
		keep_in_mind(k, &found, &box);
	else if (does == BUSY)
		k->now.held_ns += passed < most ? passed : most;
	if (does == BUSY && k->now.held_ns >= limit(l) && !proc_traced(l->pid)) {
		note(l, &k->now);
		records_submit(l->server);
		STASH_POINT("sup_stuck_noted");
		abort_it(l);
		STASH_POINT("sup_stuck_aborted");
		return;
	}
	arm(l, interval(l));
}

static void
on_time(evutil_socket_t fd, short what, void *arg)
{
	struct life *l = arg;

	(void)fd;
	(void)what;
	if (l->stuck.guilty)
		kill_it(l);
	else
		look(l);
}

/* ---- from outside ---- */

/* Noted by a predecessor: killed if that message is in hand still, else forgotten. */
static void
go_on(struct life *l)
{
	const struct stash__stuck *noted = &l->worker->stuck;
	struct stash__stuck found;
	struct stash__box box;

	if (noted->incarnation != l->incarnation)
		return;
	if (l->stranger || read_box(l, &found, &box) != BUSY || !same(&found, noted)) {
		note(l, NULL);
		return;
	}
	keep_in_mind(&l->stuck, noted, &box);
	abort_it(l);
}

void
stuck_watch(struct life *l)
{
	if (!plan_linked(&l->worker->plan) || l->pidfd < 0)
		return;
	evtimer_assign(&l->stuck.look, l->server->events, on_time, l);
	go_on(l);
	if (!l->stuck.guilty && !l->stranger && l->worker->plan.handler_timeout_ms > 0) {
		l->stuck.looked = stash__now_ns();
		arm(l, interval(l));
	}
}

void
stuck_unwatch(struct life *l)
{
	if (event_initialized(&l->stuck.look))
		event_del(&l->stuck.look);
}

bool
stuck_was(struct life *l)
{
	struct stash__stuck found;
	struct stash__box box;

	stuck_unwatch(l);
	return l->stuck.guilty && read_box(l, &found, &box) != ELSE && same(&found, &l->stuck.now);
}

void
stuck_describe(const struct life *l, char *text, size_t size)
{
	static const char *const callbacks[] = { [STASH_MSG_CALL] = "handle_call", [STASH_MSG_CAST] = "handle_cast" };
	const struct stuck_watch *k = &l->stuck;
	long long ms = (long long)(k->now.held_ns / STASH__NS_PER_MS);
	char tag[4 * STASH_TAG_MAX + 1];
	const char *callback = "handle_info";

	if (k->now.hand == 0) {
		snprintf(text, size, "stuck for %lld ms in terminate", ms);
		return;
	}
	if (k->kind < sizeof(callbacks) / sizeof(callbacks[0]) && callbacks[k->kind] != NULL)
		callback = callbacks[k->kind];
	else if (k->kind == STASH__KIND_CONTINUE)
		callback = "handle_continue";
	stash__escape(tag, sizeof(tag), k->tag, strnlen(k->tag, STASH_TAG_MAX));
	snprintf(text, size, "stuck for %lld ms in %s(%s)", ms, callback, tag);
}

void
stuck_judged(struct life *l)
{
	if (l->worker->stuck.incarnation == l->incarnation)
		note(l, NULL);
}

void
stuck_load(struct worker *w, const struct stash__stuck *stuck)
{
	w->stuck = *stuck;
}

void
stuck_settle(struct server *s)
{
	struct worker *w;
	struct life *l;

	RB_FOREACH(w, worker_names, &s->names) {
		bool lives = w->now != NULL && w->now->incarnation == w->stuck.incarnation;

		if (w->stuck.incarnation == 0)
			continue;
		LIST_FOREACH(l, &w->dying, link)
			lives = lives || l->incarnation == w->stuck.incarnation;
		if (lives)
			continue;
		registry_row(s, STASH__NAME_STUCK, w->name, NULL, NULL);
		w->stuck.incarnation = 0;
	}
}
