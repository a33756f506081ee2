/* SPDX-License-Identifier: ISC */
/*
 * ending.c: the end.  The stash is asked last, when it has answered everything else: it then stores all, deletes the
 * slots and marks the store clean.  One that dies meanwhile is followed by another, which is asked again.  If it can't,
 * the slots stay, and the next start finds in them what isn't stored.
 */
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "stashd/ending.h"
#include "stashd/rundir.h"
#include "stashd/server.h"

#define LOOK_US 2000
#define ANSWERS_NS (5 * STASH__NS_PER_S)   /* for what is under way */
#define REPORTS_NS (2 * STASH__NS_PER_S)   /* for crash reports that are being written */
#define SHUTDOWN_NS (60 * STASH__NS_PER_S) /* for the last commit */
#define STASHES 5			   /* that may die of the last commit */

enum ending_step { ENDING_NONE = 0, ENDING_ANSWERS, ENDING_SHUTDOWN, ENDING_AGAIN, ENDING_EXIT, ENDING_DONE };

static struct {
	enum ending_step step;
	struct event look;
	int64_t since; /* this step */
	bool stored;
	unsigned deaths; /* of stash processes, since the end has begun */
} ending;

static void
step(enum ending_step next)
{
	ending.step = next;
	ending.since = stash__now_ns();
}

static void
finish(struct server *s)
{
	stash__log(s->result < 0 ? LOG_ERR : LOG_NOTICE, "down after %lld s%s%s",
	    (long long)((stash__now_ns() - s->began_ns) / STASH__NS_PER_S), s->text[0] != '\0' ? ": " : "", s->text);
	/* So that nobody follows, who would find no place.  The keeper cleans up; without it nobody else does. */
	keep_over(&s->keep, s->result, s->text, s->term);
	if (ending.stored && s->keep.fd < 0)
		rundir_clean(s->run_dir);
	step(ENDING_DONE);
	event_base_loopbreak(s->events);
}

static void
on_shut_down(void *arg, int error, const char *text, struct mail *m)
{
	struct server *s = arg;

	(void)m;
	if (error == 0) {
		ending.stored = true;
		step(ENDING_EXIT);
		return;
	}
	/* Some incarnation may still be on its way to being retired. */
	if (error == STASH_E_BUSY && stash__now_ns() - s->stash.started > 0 && ending.step == ENDING_SHUTDOWN) {
		ending.step = ENDING_AGAIN;
		return;
	}
	stash__log(
	    LOG_ERR, "not everything could be stored: %s; it is kept in %s until the next start", text, s->run_dir);
	step(ENDING_EXIT);
	(void)pidfd_send_signal(s->stash.pidfd, SIGKILL, NULL, 0);
}

static void
not_stored(struct server *s)
{
	struct stashlink *k = &s->stash;

	stash__log(
	    LOG_ERR, "the stash process has not stored everything; it is kept in %s until the next start", s->run_dir);
	step(ENDING_EXIT);
	if (k->pid != 0)
		(void)pidfd_send_signal(k->pidfd, SIGKILL, NULL, 0);
}

static bool
is_there(const struct stashlink *k)
{
	return k->pid != 0 || k->retrying;
}

static void
shut_down(struct server *s)
{
	struct stashlink *k = &s->stash;

	s->stash.closing = true;
	if (!is_there(k) || stashlink_send(k, stashlink_begin(k, STASH__S_SHUTDOWN), -1, on_shut_down, s) == 0)
		not_stored(s);
}

static void
look(struct server *s)
{
	int64_t waited = stash__now_ns() - ending.since;
	struct stashlink *k = &s->stash;

	switch (ending.step) {
	case ENDING_ANSWERS:
		if (!TAILQ_EMPTY(&k->requests) && waited < ANSWERS_NS && is_there(k))
			return;
		records_tick(s);
		step(ENDING_SHUTDOWN);
		shut_down(s);
		return;
	case ENDING_AGAIN:
		ending.step = ENDING_SHUTDOWN;
		shut_down(s);
		return;
	case ENDING_SHUTDOWN:
		if (waited >= SHUTDOWN_NS || !is_there(k))
			not_stored(s);
		return;
	case ENDING_EXIT:
		if (k->pid != 0 && waited < ANSWERS_NS)
			return;
		if (!LIST_EMPTY(&s->reports) && waited < REPORTS_NS)
			return;
		if (k->pid != 0)
			(void)pidfd_send_signal(k->pidfd, SIGKILL, NULL, 0);
		finish(s);
		return;
	case ENDING_NONE:
	case ENDING_DONE:
		return;
	}
}

static void
on_look(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	look(arg);
}

void
ending_begin(struct server *s)
{
	struct timeval tv = { .tv_usec = LOOK_US };

	/* Without a stash that ever ran there is nothing to store. */
	step(s->stash.was_up ? ENDING_ANSWERS : ENDING_EXIT);
	if (!s->stash.was_up && s->stash.pid != 0)
		(void)pidfd_send_signal(s->stash.pidfd, SIGKILL, NULL, 0);
	event_assign(&ending.look, s->events, -1, EV_PERSIST, on_look, s);
	server_await(&ending.look, &tv);
}

void
ending_hurry(struct server *s, const char *who)
{
	if (ending.step == ENDING_NONE || ending.step >= ENDING_EXIT)
		return;
	stash__log(LOG_WARNING, "%s once more: what isn't stored is kept in %s until the next start", who, s->run_dir);
	if (s->stash.pid != 0)
		(void)pidfd_send_signal(s->stash.pidfd, SIGKILL, NULL, 0);
	s->stash.closing = true;
	step(ENDING_EXIT);
}

bool
ending_needs_stash(void)
{
	return !ending.stored && ending.step >= ENDING_ANSWERS && ending.step < ENDING_EXIT &&
	    ++ending.deaths < STASHES;
}

bool
ending_done(const struct server *s)
{
	(void)s;
	return ending.step == ENDING_DONE;
}
