/* SPDX-License-Identifier: ISC */
/*
 * keeper.c: the keeper's loop.  Whatever a supervisor has sent before it died is read before the next one is started;
 * one that is silent for too long is killed, and never just left behind.
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
#include "stashd/mail.h"
#include "stashd/orphans.h"
#include "stashd/proc.h"
#include "stashd/vault.h"

#define SILENCE_NS (10 * STASH__NS_PER_S) /* without a beat: it hangs */
#define TICK_MS 1000
#define SCAN_SOON_NS STASH__NS_PER_S	    /* orphans: after something has died */
#define SCAN_LATE_NS (30 * STASH__NS_PER_S) /* and anyway */
#define SCAN_SHARE 100			    /* of the time at most goes into it */
#define HEALTHY_NS (100 * STASH__NS_PER_MS) /* one that lived that long is followed at once */
#define DELAY_FIRST_NS (10 * STASH__NS_PER_MS)
#define DELAY_MAX_NS STASH__NS_PER_S
#define FAREWELL_NS (5 * STASH__NS_PER_S) /* from OVER to its end */
#define STOPPING_DEATHS 10		  /* of supervisors that were to stop: then nobody will do it in order */
#define SECOND_SIGNAL_NS (500 * STASH__NS_PER_MS) /* one that comes sooner is the first one's echo */

struct keeper {
	const struct keeper_job *job;
	struct vault vault;
	struct orphans orphans;
	int signals;
	sigset_t before, taken;
	/* the supervisor; pid 0: none at the moment */
	pid_t pid;
	int pidfd, socket;
	uint64_t starts;
	int64_t started, last_beat, next_start, delay;
	unsigned passed_on; /* signals for the next supervisor, a bit each */
	unsigned asked;	    /* those of them that ask for the end: each supervisor is told, until one has done it */
	int64_t asked_at;
	unsigned deaths; /* and failed starts, since then */
	bool hurry;	 /* asked again meanwhile */
	int64_t next_scan, scanned, rest, last_turn;
	bool over;
	int64_t over_since;
	int result;
	char text[STASH__ERRMSG_MAX], term[STASH__ERRTERM_MAX];
};

static const int forwarded[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
enum { FORWARDED = sizeof(forwarded) / sizeof(forwarded[0]), ENDING = 1 | 2 /* the bits of the first two */ };

/* ---- starting and ending a supervisor ---- */

static _Noreturn void
become_supervisor(struct keeper *k, int socket)
{
	int status;

	close(k->signals);
	vault_clear(&k->vault);
	/* A terminal's signals reach the keeper alone, which passes them on. */
	(void)setpgid(0, 0);
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

static void
pass_on(struct keeper *k)
{
	for (int i = 0; i < FORWARDED; i++) {
		/* One that is dead is followed; else it is tried again at the next turn. */
		if ((k->passed_on & 1u << i) != 0 &&
		    (pidfd_send_signal(k->pidfd, forwarded[i], NULL, 0) == 0 || errno == ESRCH))
			k->passed_on &= ~(1u << i);
	}
}

static int
fork_supervisor(struct keeper *k, int sockets[2])
{
	fflush(NULL);
	k->pid = fork();
	if (k->pid == 0) {
		close(sockets[0]);
		become_supervisor(k, sockets[1]);
	}
	if (k->pid < 0) {
		k->pid = 0;
		return stash__fail_errno("can't fork the supervisor");
	}
	k->pidfd = pidfd_open(k->pid, 0);
	if (k->pidfd < 0) {
		int result = stash__fail_errno("can't watch the supervisor");

		(void)kill(k->pid, SIGKILL);
		(void)waitpid(k->pid, NULL, 0);
		k->pid = 0;
		return result;
	}
	return 0;
}

static void
start(struct keeper *k)
{
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
		stash__log(LOG_ERR, "can't make the supervisor's socket: %s", strerror(errno));
		later(k);
		return;
	}
	if (fork_supervisor(k, sockets) < 0) {
		stash__log(LOG_ERR, "%s", stash_errmsg());
		close(sockets[0]);
		close(sockets[1]);
		later(k);
		return;
	}
	close(sockets[1]);
	k->socket = sockets[0];
	k->starts++;
	k->started = k->last_beat = stash__now_ns();
	k->passed_on |= k->asked;
	pass_on(k);
}

/* ---- what the supervisor asks for ---- */

static void
on_store(struct keeper *k, struct mail *m)
{
	const char *key = stash_view_text(&m->view);
	pid_t pid = (pid_t)stash__view_range(&m->view, 0, INT32_MAX);
	int fds[STASH__SOCK_FDS];
	int nfds = m->nfds;

	if (stash_view_end(&m->view) < 0 || nfds > VAULT_FDS)
		return;
	for (int i = 0; i < nfds; i++)
		fds[i] = mail_take_fd(m, i);
	if (vault_store(&k->vault, key, pid, fds, nfds) < 0)
		stash__log(LOG_ERR, "%s: %s", key, stash_errmsg());
}

static void
on_drop(struct keeper *k, struct mail *m)
{
	const char *key = stash_view_text(&m->view);

	if (stash_view_end(&m->view) < 0)
		return;
	vault_drop(&k->vault, key);
	/* A dead worker may have left something behind. */
	if (k->next_scan > stash__now_ns() + SCAN_SOON_NS)
		k->next_scan = stash__now_ns() + SCAN_SOON_NS;
}

static void
on_fetch(struct keeper *k)
{
	struct vault_item *item = NULL;
	struct stash_buf *buf;
	int result = 0;

	while (result == 0 && (item = vault_next(&k->vault, item)) != NULL) {
		buf = mail_begin(STASH__K_ITEM, 0);
		stash_buf_add_text(buf, item->key);
		stash_buf_add_int(buf, item->pid);
		result = mail_send_wait(k->socket, buf, item->fds, item->nfds, 5000);
	}
	buf = mail_begin(STASH__K_END, 0);
	stash_buf_add_int(buf, (int64_t)k->starts);
	if (result == 0)
		result = mail_send_wait(k->socket, buf, NULL, 0, 5000);
	if (result < 0)
		stash__log(LOG_ERR, "can't hand descriptors to the supervisor: %s", stash_errmsg());
}

static void
on_status(struct keeper *k, struct mail *m)
{
	pid_t pid = (pid_t)stash__view_range(&m->view, 1, INT32_MAX);
	siginfo_t info = { 0 };
	struct stash_buf *buf;
	int state, result;

	if (stash_view_end(&m->view) < 0)
		return;
	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) < 0)
		state = 2;
	else
		state = info.si_pid == pid ? 1 : 0;
	buf = mail_begin(STASH__K_STATUSED, m->number);
	stash_buf_add_int(buf, pid);
	stash_buf_add_int(buf, state);
	stash_buf_add_int(buf, state == 1 ? proc_wait_status(&info) : -1);
	result = mail_send_wait(k->socket, buf, NULL, 0, 5000);
	if (result == STASH_E_TIMEDOUT && k->pid != 0) {
		/* Without this answer it would wait for ever; the next one asks again. */
		stash__log(LOG_ERR, "the supervisor doesn't read what it has asked for: killed");
		(void)pidfd_send_signal(k->pidfd, SIGKILL, NULL, 0);
	}
}

static void
on_reap(struct mail *m)
{
	pid_t pid = (pid_t)stash__view_range(&m->view, 1, INT32_MAX);
	siginfo_t info;

	if (stash_view_end(&m->view) == 0)
		(void)waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG);
}

static void
on_over(struct keeper *k, struct mail *m)
{
	int result = (int)stash__view_range(&m->view, INT32_MIN, 0);
	const char *text = stash_view_text(&m->view), *term = stash_view_text(&m->view);

	if (stash_view_end(&m->view) < 0)
		return;
	k->over = true;
	k->over_since = stash__now_ns();
	k->result = result;
	strlcpy(k->text, text, sizeof(k->text));
	strlcpy(k->term, term, sizeof(k->term));
}

static void
handle(struct keeper *k, struct mail *m)
{
	switch (m->type) {
	case STASH__K_STORE:
		on_store(k, m);
		break;
	case STASH__K_DROP:
		on_drop(k, m);
		break;
	case STASH__K_FETCH:
		on_fetch(k);
		break;
	case STASH__K_STATUS:
		on_status(k, m);
		break;
	case STASH__K_REAP:
		on_reap(m);
		break;
	case STASH__K_BEAT:
		k->last_beat = stash__now_ns();
		break;
	case STASH__K_OVER:
		on_over(k, m);
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
			if (result == STASH_E_SYSTEM)
				break;
			continue;
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
	proc_describe(proc_wait_status(&info), text, sizeof(text));
	stash__log(LOG_ERR, "the supervisor has died (%s); the next one takes over", text);
	if (lived >= HEALTHY_NS)
		k->delay = 0;
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

	left = n < 0 ? 0 : orphans_end_unknown(&k->orphans, pids, n, k->pid);
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
		pass_on(k);
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
	};

	if (poll(p, 3, timeout_ms(k)) < 0 && errno != EINTR) {
		stash__log(LOG_ERR, "poll: %s; looking by itself from time to time", strerror(errno));
		stash__pause_ms(TICK_MS / 2);
		p[0].revents = POLLIN;
		p[1].revents = k->pid != 0 ? POLLIN : 0;
		p[2].revents = k->pid != 0 && is_dead(k) ? POLLIN : 0;
	}
	if (k->pid != 0 && k->passed_on != 0)
		pass_on(k);
	if (p[0].revents != 0)
		on_signal(k);
	if (p[1].revents != 0)
		read_socket(k);
	if (p[2].revents != 0)
		on_death(k);
	else if (p[1].revents & POLLHUP)
		(void)poll(&p[2], 1, 100); /* it has closed its end, and is about to die */
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
	while (!k->over || k->pid != 0) {
		if (k->pid == 0 && stash__now_ns() >= k->next_start)
			start(k);
		turn(k);
		if (stash__now_ns() >= k->next_scan)
			(void)scan(k);
	}
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
