/* SPDX-License-Identifier: ISC */
/*
 * loop.c: the supervisor process itself: what it needs, its ticks and signals, and how it ends.  It ends by itself only
 * when the tree has ended; anything else that ends it is followed by the next supervisor.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <bsd/libutil.h>
#include <bsd/string.h>

#include "base/boot.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/point.h"
#include "base/title.h"
#include "stashd/ending.h"
#include "stashd/proc.h"
#include "stashd/rundir.h"
#include "stashd/server.h"

#define SECOND_SIGNAL_NS (500 * STASH__NS_PER_MS) /* one that comes sooner is the first one's echo */

/* ---- signals ---- */

void
server_stop(struct server *s, const char *who)
{
	int64_t now = stash__now_ns();

	if (s->phase == SERVER_OVER) {
		if (now - s->stop_asked_ns >= SECOND_SIGNAL_NS && now - s->over_ns >= SECOND_SIGNAL_NS)
			ending_hurry(s, who);
		return;
	}
	if (s->phase == SERVER_BOOT && s->stop_asked_ns == 0) {
		stash__log(LOG_NOTICE, "%s: stopping as soon as the start is over; once more: at once", who);
		s->stop_asked_ns = now;
		return;
	}
	if (s->stop_asked_ns != 0 && s->phase != SERVER_UP) {
		if (now - s->stop_asked_ns < SECOND_SIGNAL_NS)
			return;
		if (s->phase == SERVER_BOOT) {
			server_over(s, 0, "");
			return;
		}
		stash__log(LOG_NOTICE, "%s once more: everything is killed", who);
		turn_kill(s);
		return;
	}
	stash__log(LOG_NOTICE, "%s: stopping in order", who);
	s->phase = SERVER_STOPPING;
	s->stop_asked_ns = now;
	turn_stop(s);
}

static void
on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;
	struct signalfd_siginfo info;
	char name[32];

	(void)what;
	while (read((int)fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		proc_signal_name((int)info.ssi_signo, name, sizeof(name));
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			server_stop(s, name);
		else if (info.ssi_signo == SIGUSR1)
			logging_tree(s);
		else
			reload_signal(s);
	}
}

/* ---- ticks ---- */

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;
	int64_t now = stash__now_ns();

	(void)fd;
	(void)what;
	keep_beat(&s->keep);
	stashlink_tick(&s->stash, now);
	records_tick(s);
	mailroom_tick(s, now);
	peers_tick(s, now);
	release_tick(s);
	workers_tick(s);
	spawn_sweep();
}

static void
on_alone(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	reap_keeper_lost(arg);
}

static void
on_keeper_lost(void *arg)
{
	struct timeval now = { 0 };
	struct server *s = arg;

	reexec_keeper_lost(arg);
	stash__log(
	    LOG_ALERT, "the keeper is dead: this supervisor goes on, but nobody will replace it; restart stashd soon");
	/* What workers leave behind comes here from now on. */
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	/* Not from here: whoever has found it dead is in the midst of something. */
	(void)event_base_once(s->events, -1, EV_TIMEOUT, on_alone, s, &now);
}

static void
on_statused(void *arg, uint64_t number, pid_t pid, int state, int wait_status)
{
	reap_statused(arg, number, pid, state, wait_status);
}

static void
on_reexeced(void *arg, uint64_t number, int error, const char *text, const char *version, uint64_t generation)
{
	reexec_answered(arg, number, error, text, version, generation);
}

/* ---- the machine's news ---- */

void
server_up(struct server *s)
{
	char bytes[8], quota[8];
	const struct stash__status_page *page = s->stash.status;
	uint64_t used = page != NULL ? atomic_load(&page->bytes_used) : 0;

	s->up = true;
	if (s->config->ready > 0) /* whoever waits may be gone */
		(void)send(s->config->ready, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	humanize_number(bytes, 7, (int64_t)used, "B", HN_AUTOSCALE, HN_NOSPACE | HN_DECIMAL);
	humanize_number(quota, 7, (int64_t)s->config->store_bytes, "B", HN_AUTOSCALE, HN_NOSPACE | HN_DECIMAL);
	stash__log(LOG_NOTICE, "up: %s, run directory %s, %u workers, store of %s (limit %s); %s", s->dir, s->run_dir,
	    s->nworkers, bytes, quota, s->found[0] != '\0' ? s->found : "nothing to recover");
}

void
server_ended(struct server *s, int result, const char *term)
{
	char text[SUP_TERM_MAX + 100] = "";

	if (result == STASH_E_ESCALATED)
		snprintf(text, sizeof(text), "the top supervisor gave up: more restarts than its intensity allows");
	else if (result < 0)
		snprintf(text, sizeof(text), "the tree couldn't be started: %s",
		    term[0] != '\0' ? term : stash_strerror(result));
	strlcpy(s->term, term, sizeof(s->term));
	server_over(s, result, text);
}

void
server_over(struct server *s, int result, const char *text)
{
	if (s->phase == SERVER_OVER)
		return;
	if (s->trial && result < 0) {
		/* Nothing has been touched yet: whoever worked before goes on. */
		stash__log(LOG_ERR, "stashd %s can't take over: %s", stash_version(), text);
		_exit(EX_SOFTWARE);
	}
	STASH_POINT("sup_tree_ended");
	s->over_ns = stash__now_ns();
	s->phase = SERVER_OVER;
	s->result = result;
	strlcpy(s->text, text, sizeof(s->text));
	server_arm(s);
	ending_begin(s);
}

void
server_give_up(const char *why)
{
	stash__log(LOG_CRIT, "%s: this supervisor ends, for the next one to take over", why);
	_exit(EX_OSERR);
}

void
server_await(struct event *event, const struct timeval *after)
{
	if (event_add(event, after) != 0)
		server_give_up("no memory or no room to wait for an event");
}

/* ---- set up ---- */

static int
take_signals(struct server *s)
{
	static const int taken[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		sigaddset(&set, taken[i]);
	(void)sigaction(SIGPIPE, &ignore, NULL);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 ||
	    (s->signals_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		return stash__fail_errno("can't take signals");
	return 0;
}

static int
open_dirs(struct server *s)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), result;

	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		return stash__fail_errno("/dev/null");
	close(null);
	/* The stash has removed it already, if the last supervisor died when all was stored. */
	result = rundir_make(s->run_dir);
	if (result < 0)
		return result;
	s->run_fd = open(s->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->run_fd < 0)
		return stash__fail_errno("%s: can't be opened", s->run_dir);
	s->slot_fd = openat(s->run_fd, STASH__SLOT_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->slot_fd < 0)
		return stash__fail_errno("%s/" STASH__SLOT_DIR ": can't be opened", s->run_dir);
	s->way_fd = openat(s->run_fd, STASH__WAY_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->way_fd < 0)
		return stash__fail_errno("%s/" STASH__WAY_DIR ": can't be opened", s->run_dir);
	return stash__boot_id(s->origin.boot_id);
}

static int
watch(struct server *s)
{
	struct timeval second = { .tv_sec = 1 };

	event_assign(&s->signals, s->events, s->signals_fd, EV_READ | EV_PERSIST, on_signal, s);
	event_assign(&s->tick, s->events, -1, EV_PERSIST, on_tick, s);
	if (event_add(&s->signals, NULL) != 0 || event_add(&s->tick, &second) != 0)
		return stash__fail(STASH_E_SYSTEM, "can't watch signals and time");
	s->keep.statused = on_statused;
	s->keep.reexeced = on_reexeced;
	s->keep.lost = on_keeper_lost;
	s->keep.arg = s;
	return keep_watch(&s->keep, s->events);
}

static void
fill(struct server *s, const struct server_job *job, uint64_t starts)
{
	s->config = job->config;
	s->plans = job->plans;
	s->tree = job->tree;
	s->dir = job->dir;
	s->run_dir = job->run_dir;
	s->lock_fd = job->lock_fd;
	s->child_mask = job->child_mask;
	s->generation = job->generation;
	s->keeper_version = job->keeper_version != NULL ? job->keeper_version : stash_version();
	s->keeper_pid = getppid();
	s->trial = job->trial;
	s->starts = starts;
	s->phase = SERVER_BOOT;
	s->began_ns = stash__now_ns();
	s->run_fd = s->slot_fd = s->way_fd = s->signals_fd = s->broker.fd = -1;
	s->keep.fd = s->spawner.fd = s->spawner.pidfd = -1;
	memcpy(s->origin.store_id, job->store_id, STASH__ID);
	TAILQ_INIT(&s->broker.peers);
	STAILQ_INIT(&s->turns);
	STAILQ_INIT(&s->reloads);
	STAILQ_INIT(&s->records.backlog);
	LIST_INIT(&s->records.longs);
	LIST_INIT(&s->records.layouts);
	LIST_INIT(&s->reports);
	LIST_INIT(&s->ahead);
	RB_INIT(&s->names);
	RB_INIT(&s->nodes);
	RB_INIT(&s->channels);
	stash__buf_init(&s->records.scratch, STASH__BUF_MAX);
}

static int
set_up(struct server *s, int keeper)
{
	int result;

	files_begin(s);
	/* First, so that they get low numbers. */
	result = spawn_setup();
	/* Before there is a tree in memory, and before anything is open that is nobody else's. */
	if (result == 0)
		spawner_begin(&s->spawner, s->plans, &s->child_mask, s->dir);
	keep_open(&s->keep, keeper);
	if (result == 0)
		result = take_signals(s);
	if (result == 0)
		result = open_dirs(s);
	s->events = event_base_new();
	s->machine = sup_create(s->config->ops);
	if (result == 0 && (s->events == NULL || s->machine == NULL))
		result = stash__fail(STASH_E_NOMEM, "no memory for a supervisor");
	if (result == 0)
		result = watch(s);
	if (result == 0)
		result = stashlink_init(&s->stash, s, (s->starts + 1) << 40);
	if (result == 0)
		result = takeover_begin(s);
	return result;
}

static void
tear_down(struct server *s)
{
	reload_free(s);
	reports_free(s);
	takeover_free(s);
	broker_close(s);
	mailroom_free(s);
	workers_free(s);
	turn_free(s);
	sup_destroy(s->machine);
	records_close(s);
	if (s->events != NULL && s->stash.server != NULL)
		stashlink_close(&s->stash);
	keep_close(&s->keep);
	spawner_end(&s->spawner);
	spawn_teardown();
	if (s->events != NULL)
		event_base_free(s->events);
	for (int fd = 0; fd < 4; fd++) {
		const int fds[] = { s->run_fd, s->slot_fd, s->way_fd, s->signals_fd };

		if (fds[fd] >= 0)
			close(fds[fd]);
	}
	free(s);
}

int
server_run(const struct server_job *job, int keeper, uint64_t starts)
{
	struct server *s = calloc(1, sizeof(*s));
	int result;

	if (s == NULL)
		return EX_OSERR;
	stash__title("stashd: supervisor");
	stash__log_hasty(true);
	fill(s, job, starts);
	result = set_up(s, keeper);
	if (result < 0 && s->phase != SERVER_OVER) {
		stash__log(LOG_ERR, "the supervisor can't begin: %s", stash_errmsg());
		/* What the first one can't do, the next one couldn't either. */
		if (starts == 0)
			keep_over(&s->keep, result, stash_errmsg(), stash_errterm());
	} else {
		keep_beat(&s->keep);
		if (!ending_done(s))
			(void)event_base_dispatch(s->events);
	}
	tear_down(s);
	return result < 0 ? EX_OSERR : 0;
}
