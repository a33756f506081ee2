/* SPDX-License-Identifier: ISC */
/*
 * stashlink.c: the stash process: making it, its hello, its beat, its death and the next one.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/point.h"
#include "base/title.h"
#include "shm/bell.h"
#include "stash/process.h"
#include "stashd/proc.h"
#include "stashd/ending.h"
#include "stashd/server.h"

#define SILENCE_NS (10 * STASH__NS_PER_S)
#define STOOD_STILL_NS (3 * STASH__NS_PER_S) /* without a tick, which comes each second */
#define HEALTHY_NS (30 * STASH__NS_PER_MS)   /* one that worked so long is followed at once */
#define DELAY_FIRST_NS (10 * STASH__NS_PER_MS)
#define DELAY_MAX_NS STASH__NS_PER_S
#define COMPLAIN_NS (60 * STASH__NS_PER_S)
#define KEY "stash"

static void retry_later(struct stashlink *);

/* ---- the process ---- */

static _Noreturn void
become_stash(struct stashlink *k, int control)
{
	const struct stash__supervise_config *c = k->server->config;
	struct stash__stash_options options = {
		.dir = k->server->dir,
		.run_dir = k->server->run_dir,
		.quota_bytes = c->store_bytes,
		.fold_interval_ns = c->fold_interval_ns,
		.commit_interval_ns = c->commit_interval_ns == 0 ? -1 :
								   c->commit_interval_ns, /* its 0 is its default */
		.deaths = k->deaths,
		.validate = k->suspect,
		.control = control,
		.bell = k->bell,
	};
	int keep[] = { control, k->bell, k->server->lock_fd };

	spawn_close_others(keep, 3);
	(void)setpgid(0, 0);
	(void)sigprocmask(SIG_SETMASK, &k->server->child_mask, NULL);
	stash__title("stashd: stash");
	stash__point_process("stash", NULL);
	_exit(stash__stash_main(&options));
}

static int
make_process(struct stashlink *k)
{
	int sockets[2], result;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return stash__fail_errno("can't make the stash's socket");
	k->pid = fork();
	if (k->pid == 0)
		become_stash(k, sockets[1]);
	result = k->pid < 0 ? stash__fail_errno("can't fork the stash") : 0;
	if (result == 0 && (k->pidfd = pidfd_open(k->pid, 0)) < 0) {
		result = stash__fail_errno("can't watch the stash");
		(void)kill(k->pid, SIGKILL);
		(void)waitpid(k->pid, NULL, 0);
	}
	close(sockets[1]);
	if (result < 0) {
		close(sockets[0]);
		k->pid = 0;
		return result;
	}
	k->control = sockets[0];
	return 0;
}

static void
forget_status(struct stashlink *k)
{
	stash__status_page_unmap((struct stash__status_page *)(uintptr_t)k->status);
	if (k->status_fd >= 0)
		close(k->status_fd);
	k->status = NULL;
	k->status_fd = -1;
}

/* ---- death ---- */

static void
close_process(struct stashlink *k)
{
	event_del(&k->readable);
	event_del(&k->dead);
	outbox_close(&k->outbox);
	close(k->control);
	close(k->pidfd);
	k->control = k->pidfd = -1;
	k->pid = 0;
	k->running = false;
}

/* What a damaged store does to who maps it: the next one doesn't before it was looked at. */
static bool
died_of_the_store(int status)
{
	int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	return signal == SIGBUS || signal == SIGSEGV || signal == SIGABRT || signal == SIGFPE || signal == SIGILL;
}

static void
reap(struct stashlink *k, char *text, size_t size)
{
	siginfo_t info = { 0 };

	proc_describe(-1, text, size);
	if (k->adopted)
		keep_reap(&k->server->keep, KEY, k->pid);
	else if (waitid(P_PIDFD, (id_t)k->pidfd, &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0) {
		proc_describe(proc_wait_status(&info), text, size);
		k->suspect = k->suspect || died_of_the_store(proc_wait_status(&info));
	}
}

static void read_all(struct stashlink *);

static void
on_dead(evutil_socket_t fd, short what, void *arg)
{
	struct stashlink *k = arg;
	struct server *s = k->server;
	bool worked;
	char text[64];

	(void)fd;
	(void)what;
	read_all(k);
	reap(k, text, sizeof(text));
	worked = k->running;
	close_process(k);
	if (s->phase == SERVER_OVER && !ending_needs_stash())
		return;
	if (k->replacing) {
		k->replacing = false;
		stashlink_start(k);
		return;
	}
	k->deaths++;
	stash__log(LOG_ERR, "the stash process has died (%s): the next one is started", text);
	/* Not of those that couldn't start: nobody reads the rows meanwhile, and they would be ever more. */
	if (worked)
		records_event(s, STASH_EV_STORE, STASH_REASON_CRASH, "", "", "the stash process has died (%s)", text);
	/* One that never worked may have taken any time to find that out. */
	if (worked && stash__now_ns() - k->started >= HEALTHY_NS)
		k->delay = 0;
	if (k->delay == 0)
		stashlink_start(k);
	else
		retry_later(k);
	k->delay = k->delay == 0 ? DELAY_FIRST_NS : 2 * k->delay > DELAY_MAX_NS ? DELAY_MAX_NS : 2 * k->delay;
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct stashlink *k = arg;

	(void)fd;
	(void)what;
	k->retrying = false;
	stashlink_start(k);
}

static void
retry_later(struct stashlink *k)
{
	struct timeval tv = { .tv_sec = k->delay / STASH__NS_PER_S, .tv_usec = k->delay % STASH__NS_PER_S / 1000 };

	server_await(&k->retry, &tv);
	k->retrying = true;
}

/* ---- what it says ---- */

static int
take_status(struct stashlink *k, int fd)
{
	forget_status(k);
	if (fd < 0)
		return stash__fail(STASH_E_PROTO, "the stash has no status page");
	k->status_fd = fd;
	k->status = stash__status_page_map(fd, false);
	return k->status == NULL ? STASH_E_FORMAT : 0;
}

/* Its first word: what it has found. */
static void
on_hello(struct stashlink *k, struct mail *m)
{
	struct server *s = k->server;
	int error = (int)stash__view_range(&m->view, INT32_MIN, 0);
	const char *text = stash_view_text(&m->view);
	size_t id_len = 0;

	if (error == 0) {
		(void)stash_view_int(&m->view); /* incarnation */
		(void)stash_view_bytes(&m->view, &id_len);
		(void)stash_view_int(&m->view); /* slots */
		s->was_clean = stash_view_int(&m->view) != 0;
		if (stash_view_int(&m->view) != 0)
			takeover_new_boot(s);
	}
	if (stash_view_end(&m->view) < 0)
		error = stash__fail(STASH_E_PROTO, "the stash's hello can't be understood");
	else if (error == 0)
		error = take_status(k, mail_take_fd(m, 0));
	else
		error = stash__fail(error, "%s", text);
	if (error < 0) {
		if (k->complained == 0 || stash__now_ns() - k->complained > COMPLAIN_NS) {
			stash__log(LOG_ERR, "the stash can't start: %s", stash_errmsg());
			k->complained = stash__now_ns();
		}
		/* At the first start this is the answer; later the store is there, and is tried until it is usable. */
		if (!k->was_up && takeover_ends(s, error))
			server_over(s, error, stash_errmsg());
		return;
	}
	snprintf(s->found, sizeof(s->found), "%s", text);
	k->running = k->was_up = true;
	k->started = stash__now_ns();
	k->suspect = false;
	k->complained = 0;
	takeover_stash_up(s);
}

static void
on_broken(struct stashlink *k, struct mail *m)
{
	struct server *s = k->server;
	const char *name = stash_view_text(&m->view), *text = stash_view_text(&m->view);
	struct worker *w;

	if (stash_view_end(&m->view) < 0)
		return;
	stash__log(LOG_ERR, "%s%s%s", name, name[0] != '\0' ? ": " : "", text);
	records_event(s, STASH_EV_STORE, STASH_REASON_CRASH, "", name, "%s", text);
	w = worker_find(s, name);
	if (w != NULL && w->now != NULL && life_runs(w->now))
		(void)pidfd_send_signal(w->now->pidfd, SIGKILL, NULL, 0);
}

static void
read_all(struct stashlink *k)
{
	struct mail m;
	int result;

	while (k->control >= 0 && (result = mail_recv(k->control, &m)) != STASH_E_PENDING) {
		if (result == STASH_E_DOWN) {
			event_del(&k->readable); /* its pidfd tells the rest */
			return;
		}
		if (result < 0) {
			/* An answer is lost; the next stash process is asked again. */
			stash__log(
			    LOG_ERR, "from the stash: %s: it is killed, and the next one asked again", stash_errmsg());
			event_del(&k->readable);
			(void)pidfd_send_signal(k->pidfd, SIGKILL, NULL, 0);
			return;
		}
		if (m.type == STASH__S_HELLO)
			on_hello(k, &m);
		else if (m.type == STASH__S_BROKEN)
			on_broken(k, &m);
		else
			stashlink_answer(k, &m);
		mail_done(&m);
	}
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	read_all(arg);
}

static void
on_broken_pipe(void *arg, int error)
{
	(void)arg; /* its pidfd tells; what was lost is sent again to the next one */
	(void)error;
}

/* ---- life ---- */

int
stashlink_init(struct stashlink *k, struct server *s, uint64_t first_number)
{
	memset(k, 0, sizeof(*k));
	k->server = s;
	k->pidfd = k->control = k->bell = k->status_fd = -1;
	k->outbox.fd = -1;
	k->next_number = first_number;
	k->suspect = true; /* whoever ran before this stashd: nobody here has looked at the store yet */
	TAILQ_INIT(&k->requests);
	evtimer_assign(&k->retry, s->events, on_retry, k);
	return 0;
}

static void
watch(struct stashlink *k)
{
	struct event_base *events = k->server->events;

	event_assign(&k->readable, events, k->control, EV_READ | EV_PERSIST, on_readable, k);
	event_assign(&k->dead, events, k->pidfd, EV_READ, on_dead, k);
	outbox_init(&k->outbox, events, k->control, on_broken_pipe, k);
	server_await(&k->readable, NULL);
	server_await(&k->dead, NULL);
	k->started = stash__now_ns();
}

/* Its hello may have been read by the last supervisor: then all is there that it makes before. Else it comes. */
static void
find_status(struct stashlink *k)
{
	int fd = -1;

	if (faccessat(k->server->run_fd, STASH__ROWS_IN, F_OK, 0) == 0)
		fd = openat(k->server->run_fd, STASH__STATUS_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno != ENOENT)
		(void)stash__fail_errno("the stash's status page can't be opened");
	else if (fd >= 0 && take_status(k, fd) == 0)
		k->running = k->was_up = true;
	if (!k->running && (fd >= 0 || errno != ENOENT))
		server_give_up(stash_errmsg());
}

int
stashlink_adopt(struct stashlink *k, pid_t pid, const int fds[3])
{
	k->pid = pid;
	k->control = fds[0];
	k->pidfd = fds[1];
	k->bell = fds[2];
	k->adopted = true;
	watch(k);
	k->suspect = false;
	find_status(k);
	return 0;
}

void
stashlink_replace(struct stashlink *k)
{
	stash__log(LOG_NOTICE, "the stash process %d is of the old binary: the next one is started", (int)k->pid);
	k->replacing = true;
	k->running = false; /* what is asked from now on waits for the next one */
	(void)pidfd_send_signal(k->pidfd, SIGKILL, NULL, 0);
}

void
stashlink_start(struct stashlink *k)
{
	int fds[3];

	if (k->bell < 0)
		k->bell = stash__bell_make();
	if (k->bell < 0 || make_process(k) < 0) {
		stash__log(LOG_ERR, "%s; trying again", stash_errmsg());
		k->delay = DELAY_MAX_NS;
		retry_later(k);
		return;
	}
	k->adopted = false;
	watch(k);
	fds[0] = k->control;
	fds[1] = k->pidfd;
	fds[2] = k->bell;
	keep_store(&k->server->keep, KEY, k->pid, fds, 3);
	/* It reads them when it is ready. */
	stashlink_send_again(k);
	workers_show(k->server);
}

void
stashlink_close(struct stashlink *k)
{
	if (k->retrying)
		event_del(&k->retry);
	k->retrying = false;
	if (k->pid != 0)
		close_process(k);
	stashlink_drop_requests(k);
	forget_status(k);
	if (k->bell >= 0)
		close(k->bell);
	k->bell = -1;
}

void
stashlink_tick(struct stashlink *k, int64_t now)
{
	int64_t beat;

	if (k->pid != 0 && k->adopted && !k->running) {
		find_status(k);
		if (k->running)
			takeover_stash_up(k->server);
	}
	/* A supervisor that was stopped itself, with the machine perhaps, knows nothing about how long the stash was
	 * silent. */
	if (now - k->ticked > STOOD_STILL_NS)
		k->patient = now;
	k->ticked = now;
	if (k->pid == 0 || !k->running || k->closing)
		return;
	beat = (int64_t)atomic_load(&k->status->heartbeat);
	if (beat < k->started)
		beat = k->started;
	if (beat < k->patient)
		beat = k->patient;
	if (now - beat <= SILENCE_NS || proc_traced(k->pid))
		return;
	stash__log(LOG_ERR, "the stash process hangs: killed");
	(void)pidfd_send_signal(k->pidfd, SIGKILL, NULL, 0);
}
