/* SPDX-License-Identifier: ISC */
/*
 * loop.c: two threads, two duties: to watch (bell, socket, timer: fold and serve), and to commit.  Neither duty
 * is bound to a thread.  Whoever watches and finds that a commit is due takes his copies right behind his round,
 * lets go of the watch, which the other one is waiting for, and commits: so nobody is woken between a worker's
 * ring and the flush. When he is ready he looks by himself for what came meanwhile, and goes on while that is
 * due.
 *
 * Nobody waits for the disk with the table lock, and somebody always has the watch or is about to take it.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "shm/bell.h"
#include "stash/inside.h"

#define BEAT_NS STASH__NS_PER_S
#define RESEND_NS STASH__NS_PER_MS /* how often an answer is offered to a full socket */

enum { RANG = 1, CALLED = 2 };

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Sleeps without the table lock until something is there or time is up. */
static int
sleep_until(struct stash *s, int64_t deadline)
{
	bool full = !STAILQ_EMPTY(&s->answers);
	struct pollfd fds[2] = { { s->bell, POLLIN, 0 }, { full ? -1 : s->control, POLLIN, 0 } };
	int64_t now = stash__now_ns(), ns;
	struct timespec ts;
	int n;

	if (full)
		deadline = earlier(deadline, now + RESEND_NS);
	s->wake_at = deadline;
	pthread_mutex_unlock(&s->table);
	ns = deadline > now ? deadline - now : 0;
	ts.tv_sec = ns / STASH__NS_PER_S;
	ts.tv_nsec = ns % STASH__NS_PER_S;
	n = ppoll(fds, 2, &ts, NULL);
	if (n < 0 && errno != EINTR) {
		stash__log(LOG_ERR, "the stash cannot poll: %s; looking by itself from time to time", strerror(errno));
		stash__pause_ms(100);
		n = 2;
		fds[0].revents = fds[1].revents = POLLIN;
	}
	pthread_mutex_lock(&s->table);
	return n <= 0 ? (full ? CALLED : 0) :
			(fds[0].revents != 0 ? RANG : 0) | (fds[1].revents != 0 || full ? CALLED : 0);
}

static void
beat(struct stash *s, int64_t now)
{
	if (now < s->next_beat)
		return;
	s->next_beat = now + BEAT_NS;
	atomic_store(&s->status->heartbeat, (uint64_t)now);
}

/* A round, and a whole one if a commit is due behind it: then true. */
static bool
fold(struct stash *s)
{
	stash__round(s, stash__commit_due(s) <= stash__now_ns());
	if (stash__commit_due(s) > s->round)
		return false;
	if (!s->round_whole)
		stash__round(s, true);
	return true;
}

/* One look, at all that there is.  True: fold() was the last thing done, and said so. */
static bool
watch(struct stash *s)
{
	int64_t due = s->committing ? INT64_MAX : stash__commit_due(s), now;
	int what = sleep_until(s, earlier(earlier(s->next_fold, s->next_beat), due));

	now = stash__now_ns();
	beat(s, now);
	if ((what & CALLED) != 0)
		stash__serve(s);
	due = s->committing ? INT64_MAX : stash__commit_due(s);
	if (s->ending || ((what & RANG) == 0 && now < s->next_fold && now < due))
		return false;
	if (s->committing) {
		stash__round(s, false);
		return false;
	}
	return fold(s);
}

/* The watcher sleeps, and didn't count with what this thread has found since. */
static void
nudge(struct stash *s)
{
	int64_t due = s->committing ? INT64_MAX : stash__commit_due(s);

	if (s->ending || s->next_fold < s->wake_at || due < s->wake_at)
		stash__bell_ring(s->bell);
}

/* Commits what is due until nothing is; the table lock is let go meanwhile, the watch was let go before. */
static void
commit(struct stash *s)
{
	bool more = true;

	while (more) {
		int result = stash__commit_take(s);

		pthread_mutex_unlock(&s->table);
		if (result == STASH_OK)
			result = stash__commit_run(s);
		pthread_mutex_lock(&s->table);
		stash__commit_report(s, result);
		more = !s->ending && stash__commit_due(s) <= stash__now_ns() && fold(s);
		nudge(s);
	}
}

static void *
duty(void *arg)
{
	struct stash *s = arg;

	pthread_mutex_lock(&s->watch);
	pthread_mutex_lock(&s->table);
	while (!s->ending) {
		if (!watch(s))
			continue;
		s->committing = true;
		pthread_mutex_unlock(&s->watch);
		commit(s);
		s->committing = false;
		nudge(s);
		pthread_mutex_unlock(&s->table);
		pthread_mutex_lock(&s->watch);
		pthread_mutex_lock(&s->table);
	}
	pthread_mutex_unlock(&s->table);
	pthread_mutex_unlock(&s->watch);
	return NULL;
}

int
stash__loop(struct stash *s)
{
	pthread_t other;
	int error;

	s->next_beat = 0;
	error = pthread_create(&other, NULL, duty, s);
	if (error != 0) {
		errno = error;
		return stash__fail_errno("cannot start the stash's second thread");
	}
	(void)duty(s);
	pthread_join(other, NULL);
	return STASH_OK;
}
