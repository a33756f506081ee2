/* SPDX-License-Identifier: ISC */
/*
 * keeper.c: the keeper's loop.  Whatever a supervisor has sent before it died is read before the next one is started;
 * one that is silent for too long is killed, and never just left behind.  This process never changes its own code: a
 * supervisor of another binary stands beside the old one until it has said that it can go on (candidate.c), and if it
 * then doesn't get to the end of its takeover, the code that worked before goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/point.h"
#include "shm/wire.h"
#include "stashd/keeper.h"
#include "stashd/keeping.h"
#include "stashd/mail.h"
#include "stashd/orphans.h"
#include "stashd/proc.h"
#include "stashd/vault.h"

#define SILENCE_NS (10 * STASH__NS_PER_S) /* without a beat: it hangs */
#define TICK_MS 1000
#define SCAN_LATE_NS (30 * STASH__NS_PER_S) /* and anyway */
#define SCAN_SHARE 100			    /* of the time at most goes into it */
#define HEALTHY_NS (100 * STASH__NS_PER_MS) /* one that lived that long is followed at once */
#define DELAY_FIRST_NS (10 * STASH__NS_PER_MS)
#define DELAY_MAX_NS STASH__NS_PER_S
#define FAREWELL_NS (5 * STASH__NS_PER_S) /* from OVER to its end */
#define STOPPING_DEATHS 10		  /* of supervisors that were to stop: then nobody will do it in order */
#define SECOND_SIGNAL_NS (500 * STASH__NS_PER_MS) /* one that comes sooner is the first one's echo */

static const int forwarded[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
enum { FORWARDED = sizeof(forwarded) / sizeof(forwarded[0]), ENDING = 1 | 2 /* the bits of the first two */ };

/* ---- starting and ending a supervisor ---- */

static void
become_supervisor(void *arg, int socket)
{
	struct keeper *k = arg;
	struct keeper_other other = {
		.file = k->code.file, .socket = socket, .starts = k->starts, .generation = k->code.generation
	};
	int status;

	/* A terminal's signals reach the keeper alone, which passes them on. */
	(void)setpgid(0, 0);
	if (k->code.file >= 0)
		k->job->other(k->job->arg, &other);
	close(k->signals);
	vault_clear(&k->vault);
	stash__point_process("supervisor", NULL);
	status = k->job->supervisor(k->job->arg, socket, k->starts);
	fflush(NULL);
	_exit(status);
}

static void
later(struct keeper *k)
{
	k->deaths += k->asked != 0;
	k->next_start = stash__now_ns() + k->delay;
	k->delay = k->delay == 0 ? DELAY_FIRST_NS : 2 * k->delay;
	if (k->delay > DELAY_MAX_NS)
		k->delay = DELAY_MAX_NS;
}

void
keeper_pass_on(struct keeper *k)
{
	for (int i = 0; i < FORWARDED; i++) {
		/* One that is dead is followed; else it is tried again at the next turn. */
		if ((k->passed_on & 1u << i) != 0 &&
		    (pidfd_send_signal(k->pidfd, forwarded[i], NULL, 0) == 0 || errno == ESRCH))
			k->passed_on &= ~(1u << i);
	}
}

static void
start(struct keeper *k)
{
	if (candidate_fork(become_supervisor, k, &k->pid, &k->pidfd, &k->socket) < 0) {
		stash__log(LOG_ERR, "%s", stash_errmsg());
		later(k);
		return;
	}
	k->starts++;
	k->unsettled++;
	k->started = k->last_beat = stash__now_ns();
	k->passed_on |= k->asked;
	keeper_pass_on(k);
}

/* ---- what the supervisor says ---- */

static void
on_over(struct keeper *k, struct mail *m)
{
	int result = (int)stash__view_range(&m->view, INT32_MIN, 0);
	const char *text = stash_view_text(&m->view), *term = stash_view_text(&m->view);

	if (stash_view_end(&m->view) < 0)
		return;
	if (k->trial_until != 0 && result < 0)
		return; /* that it can't is no end of the tree */
	k->over = true;
	k->over_since = stash__now_ns();
	k->result = result;
	strlcpy(k->text, text, sizeof(k->text));
	strlcpy(k->term, term, sizeof(k->term));
}

/* Of one that follows another one of its binary, which was asked before. */
static void
on_hello(struct mail *m)
{
	int error = (int)stash__view_range(&m->view, INT32_MIN, 0);
	const char *text = stash_view_text(&m->view);

	if (error < 0)
		stash__log(LOG_ERR, "the supervisor can't begin: %s", text);
}

static void
handle(struct keeper *k, struct mail *m)
{
	switch (m->type) {
	case STASH__K_STORE:
		keeping_store(k, m);
		break;
	case STASH__K_DROP:
		keeping_drop(k, m);
		break;
	case STASH__K_FETCH:
		keeping_fetch(k);
		break;
	case STASH__K_STATUS:
		keeping_status(k, m);
		break;
	case STASH__K_REAP:
		keeping_reap(k, m);
		break;
	case STASH__K_BEAT:
		k->last_beat = stash__now_ns();
		break;
	case STASH__K_OVER:
		on_over(k, m);
		break;
	case STASH__K_REEXEC:
		succession_ask(k, m);
		break;
	case STASH__K_YIELD:
		succession_yield(k);
		break;
	case STASH__K_SETTLED:
		succession_settled(k);
		break;
	case STASH__K_HELLO:
		on_hello(m);
		break;
	default:
		stash__log(LOG_ERR, "the supervisor has sent a message of an unknown kind, %lld", (long long)m->type);
		break;
	}
}

/* All that is there. */
static void
read_socket(struct keeper *k)
{
	struct mail m;
	int result;

	while ((result = mail_recv(k->socket, &m)) != STASH_E_PENDING && result != STASH_E_DOWN) {
		if (result < 0) {
			stash__log(LOG_ERR, "from the supervisor: %s", stash_errmsg());
			if (result == STASH_E_PROTO)
				continue;
			/* For want of memory, perhaps: the message stays, and is looked for again a little later. */
			stash__pause_ms(TICK_MS / 10);
			break;
		}
		handle(k, &m);
		mail_done(&m);
	}
}

/* ---- death, silence, orphans ---- */

static void
on_death(struct keeper *k)
{
	siginfo_t info = { 0 };
	int64_t lived = stash__now_ns() - k->started;
	char text[64];

	read_socket(k);
	(void)waitid(P_PIDFD, (id_t)k->pidfd, &info, WEXITED);
	close(k->socket);
	close(k->pidfd);
	k->pid = 0;
	if (k->over)
		return;
	if (k->next.ready) {
		succession_install(k);
		return;
	}
	candidate_end(&k->next);
	proc_describe(proc_wait_status(&info), text, sizeof(text));
	stash__log(LOG_ERR, "the supervisor has died (%s); the next one takes over", text);
	if (lived >= HEALTHY_NS)
		k->delay = 0;
	succession_fall_back(k);
	later(k);
	k->next_scan = stash__now_ns() + SCAN_SOON_NS;
}

/* Who was told to stop may have died before it began, or in the midst of it; but not time after time. */
static void
give_up(struct keeper *k)
{
	if (k->over || k->pid != 0 || (k->deaths < STOPPING_DEATHS && !k->hurry))
		return;
	k->over = true;
	k->result = STASH_E_SYSTEM;
	snprintf(k->text, sizeof(k->text),
	    "%u supervisors died while they were to stop: everything is killed; what isn't "
	    "stored is kept in the run directory until the next start",
	    k->deaths);
	stash__log(LOG_ERR, "%s", k->text);
}

/* A keeper that was stopped itself knows nothing about how long the supervisor was silent. */
static void
watch(struct keeper *k, int64_t now)
{
	if (now - k->last_turn > 3 * TICK_MS * STASH__NS_PER_MS)
		k->last_beat = now;
	k->last_turn = now;
	if (k->pid == 0)
		return;
	succession_watch(k, now);
	if (k->over && now - k->over_since > FAREWELL_NS) {
		(void)pidfd_send_signal(k->pidfd, SIGKILL, NULL, 0);
	} else if (now - k->last_beat > SILENCE_NS && !proc_traced(k->pid)) {
		stash__log(LOG_ERR, "the supervisor hangs: killed");
		(void)pidfd_send_signal(k->pidfd, SIGKILL, NULL, 0);
		k->last_beat = now;
	}
}

static int
scan(struct keeper *k)
{
	int64_t began = stash__now_ns();
	int n, left;
	pid_t *pids = vault_pids(&k->vault, &n);

	left = n < 0 ? 0 : orphans_end_unknown(&k->orphans, pids, n, k->pid, k->next.pid);
	free(pids);
	/* Where all of /proc has to be read, that takes long when there are thousands of processes. */
	k->scanned = stash__now_ns();
	k->rest = (k->scanned - began) * SCAN_SHARE;
	k->next_scan = k->scanned + (left > 0 ? SCAN_SOON_NS : SCAN_LATE_NS);
	return left;
}

/* When all is over nobody is left who could be known. */
static void
end_everybody(struct keeper *k)
{
	int64_t deadline = stash__now_ns() + FAREWELL_NS;

	vault_clear(&k->vault);
	while (scan(k) > 0 && stash__now_ns() < deadline)
		stash__pause_ms(5);
}

/* ---- the loop ---- */

/* A second request for the end, when supervisors have failed since the first: it isn't waited for another ten. */
static void
note_stop(struct keeper *k)
{
	unsigned stop = k->passed_on & ENDING;
	int64_t now = stash__now_ns();

	if (stop == 0)
		return;
	if (k->asked == 0)
		k->asked_at = now;
	else if (k->deaths > 0 && now - k->asked_at >= SECOND_SIGNAL_NS)
		k->hurry = true;
	k->asked |= stop;
}

static void
on_signal(struct keeper *k)
{
	struct signalfd_siginfo info;

	while (read(k->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		for (int i = 0; i < FORWARDED; i++) {
			if ((int)info.ssi_signo == forwarded[i])
				k->passed_on |= 1u << i;
		}
		note_stop(k);
		if (info.ssi_signo == SIGCHLD && (pid_t)info.ssi_pid != k->pid &&
		    k->next_scan > stash__now_ns() + SCAN_SOON_NS)
			k->next_scan = stash__now_ns() + SCAN_SOON_NS;
	}
	if (k->pid != 0)
		keeper_pass_on(k);
}

static int
timeout_ms(const struct keeper *k)
{
	int ms = TICK_MS;

	if (k->pid == 0 && stash__left_ms(k->next_start) < ms)
		ms = stash__left_ms(k->next_start);
	return stash__left_ms(k->next_scan) < ms ? stash__left_ms(k->next_scan) : ms;
}

static bool
is_dead(const struct keeper *k)
{
	siginfo_t info = { 0 };

	return waitid(P_PIDFD, (id_t)k->pidfd, &info, WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_pid == k->pid;
}

static void
turn(struct keeper *k)
{
	struct pollfd p[] = {
		{ .fd = k->signals, .events = POLLIN },
		{ .fd = k->pid != 0 ? k->socket : -1, .events = POLLIN },
		{ .fd = k->pid != 0 ? k->pidfd : -1, .events = POLLIN },
		{ .fd = k->next.pid != 0 && !k->next.ready ? k->next.socket : -1, .events = POLLIN },
	};

	if (poll(p, 4, timeout_ms(k)) < 0 && errno != EINTR) {
		stash__log(LOG_ERR, "poll: %s; looking by itself from time to time", strerror(errno));
		stash__pause_ms(TICK_MS / 2);
		p[0].revents = POLLIN;
		p[1].revents = k->pid != 0 ? POLLIN : 0;
		p[2].revents = k->pid != 0 && is_dead(k) ? POLLIN : 0;
	}
	if (k->pid != 0 && k->passed_on != 0)
		keeper_pass_on(k);
	if (p[0].revents != 0)
		on_signal(k);
	if (p[1].revents != 0)
		read_socket(k);
	if (p[2].revents != 0)
		on_death(k);
	else if (p[1].revents & POLLHUP)
		(void)poll(&p[2], 1, 100); /* it has closed its end, and is about to die */
	succession_look(k);
	watch(k, stash__now_ns());
	give_up(k);
}

static int
take_signals(struct keeper *k)
{
	sigemptyset(&k->taken);
	sigaddset(&k->taken, SIGCHLD);
	for (int i = 0; i < FORWARDED; i++)
		sigaddset(&k->taken, forwarded[i]);
	if (sigprocmask(SIG_BLOCK, &k->taken, &k->before) < 0)
		return stash__fail_errno("can't take signals");
	k->signals = signalfd(-1, &k->taken, SFD_CLOEXEC | SFD_NONBLOCK);
	if (k->signals >= 0)
		return 0;
	(void)sigprocmask(SIG_SETMASK, &k->before, NULL);
	return stash__fail_errno("can't take signals");
}

static void
give_signals_back(struct keeper *k)
{
	struct signalfd_siginfo info;

	while (read(k->signals, &info, sizeof(info)) > 0)
		continue;
	close(k->signals);
	if (!k->job->last)
		(void)sigprocmask(SIG_SETMASK, &k->before, NULL);
}

static void
loop(struct keeper *k)
{
	k->last_turn = stash__now_ns();
	k->next_scan = k->last_turn + SCAN_LATE_NS;
	succession_begin(k);
	while (!k->over || k->pid != 0) {
		if (k->pid == 0 && stash__now_ns() >= k->next_start)
			start(k);
		turn(k);
		if (stash__now_ns() >= k->next_scan)
			(void)scan(k);
	}
	succession_end(k);
	end_everybody(k);
}

int
keeper_run(const struct keeper_job *job)
{
	struct keeper k = { .job = job };
	int was_reaper = 0, result;

	vault_init(&k.vault);
	(void)prctl(PR_GET_CHILD_SUBREAPER, &was_reaper);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return stash__fail_errno("can't become the reaper of all workers");
	result = orphans_begin(&k.orphans);
	if (result == 0)
		result = take_signals(&k);
	if (result == 0) {
		stash__point_process("keeper", NULL);
		loop(&k);
		give_signals_back(&k);
	}
	orphans_free(&k.orphans);
	(void)prctl(PR_SET_CHILD_SUBREAPER, was_reaper);
	if (result < 0)
		return result;
	return k.result < 0 ? stash__fail_term(k.result, k.term, "%s", k.text) : 0;
}
