/* SPDX-License-Identifier: ISC */
/*
 * spawner.c: see spawner.h.
 */
#include <linux/sched.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/title.h"
#include "stashd/birth.h"
#include "stashd/mail.h"
#include "stashd/spawn.h"
#include "stashd/server.h"
#include "stashd/spawner.h"

/* One that takes longer hangs. */
#define ANSWER_NS (5 * STASH__NS_PER_S)
#define RETRY_MS 10 /* without memory to read an order */

/* Between two copies of one program: no format that anybody else reads. */
enum { SPAWNER_ORDER = 1, SPAWNER_MADE = 2 };

/* ---- in the helper ---- */

struct helper {
	int fd;
	pid_t parent;
	const struct plan_table *plans;
	const sigset_t *mask;
	const char *dir;
};

/* In the child: reads what it is to be, and becomes it. */
static _Noreturn void
become(const struct helper *h, struct mail *m)
{
	struct birth birth = { .parent = h->parent, .mask = h->mask, .dir = h->dir };
	int control = mail_take_fd(m, 0), log = mail_take_fd(m, 1), keep[2] = { control, log };
	const void *payload, *instance;
	size_t payload_len, instance_len;
	static struct plan plan;

	spawn_close_others(keep, 2);
	birth.name = stash_view_text(&m->view);
	birth.notify = stash_view_text(&m->view);
	birth.incarnation = (uint64_t)stash_view_int(&m->view);
	birth.named = stash_view_int(&m->view) != 0;
	payload = stash_view_bytes(&m->view, &payload_len);
	instance = stash_view_bytes(&m->view, &instance_len);
	if (stash_view_end(&m->view) < 0 || plan_read(&plan, h->plans, payload, payload_len) < 0 ||
	    (instance_len > 0 && plan_read_instance(&plan, instance, instance_len) < 0))
		_exit(EX_SOFTWARE);
	birth.plan = &plan;
	birth_run(&birth, control, log);
	_exit(EX_SOFTWARE);
}

/* The pid; negative: no child. */
static pid_t
make(const struct helper *h, struct mail *m)
{
	struct clone_args args = { .flags = CLONE_PARENT | CLONE_CLEAR_SIGHAND };
	long pid = m->nfds == 2 ? syscall(SYS_clone3, &args, sizeof(args)) : -1;

	if (pid == 0)
		become(h, m);
	return (pid_t)pid;
}

static _Noreturn void
help(const struct helper *h)
{
	struct mail m;
	struct stash_buf *buf;
	int result = 0;

	/* With the supervisor it ends: what it made is the supervisor's. */
	while (result != STASH_E_DOWN) {
		result = mail_wait(h->fd, INT64_MAX);
		if (result == 0)
			result = mail_recv(h->fd, &m);
		if (result != 0) {
			if (result != STASH_E_PENDING && result != STASH_E_DOWN)
				stash__pause_ms(RETRY_MS);
			continue;
		}
		buf = mail_begin(SPAWNER_MADE, m.number);
		stash_buf_add_int(buf, make(h, &m));
		mail_done(&m);
		result = mail_send_wait(h->fd, buf, NULL, 0, 1000);
	}
	_exit(0);
}

static _Noreturn void
become_helper(struct helper *h)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != h->parent)
		_exit(EX_OSERR);
	(void)setpgid(0, 0);
	stash__title("stashd: spawner");
	spawn_close_others(&h->fd, 1);
	help(h);
}

/* ---- in the supervisor ---- */

void
spawner_begin(struct spawner *s, const struct plan_table *plans, const sigset_t *mask, const char *dir)
{
	struct helper helper = { .parent = getpid(), .plans = plans, .mask = mask, .dir = dir };
	int sockets[2];
	pid_t pid;

	s->fd = s->pidfd = -1;
	if (!spawn_can_clone() || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return;
	helper.fd = sockets[1];
	pid = fork();
	if (pid == 0)
		become_helper(&helper);
	close(sockets[1]);
	s->pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
	s->fd = sockets[0];
	if (s->pidfd < 0)
		spawner_end(s);
}

void
spawner_end(struct spawner *s)
{
	siginfo_t info;

	if (s->fd >= 0)
		close(s->fd); /* by which it ends, too */
	if (s->pidfd >= 0) {
		(void)pidfd_send_signal(s->pidfd, SIGKILL, NULL, 0);
		(void)waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED);
		close(s->pidfd);
	}
	s->fd = s->pidfd = -1;
}

static int
order(const struct spawner *s, const struct spawner_order *o, int control, int log)
{
	const int fds[] = { control, log };
	struct stash_buf *buf = mail_begin(SPAWNER_ORDER, o->incarnation);

	stash_buf_add_text(buf, o->name);
	stash_buf_add_text(buf, o->notify);
	stash_buf_add_int(buf, (int64_t)o->incarnation);
	stash_buf_add_int(buf, o->named);
	stash_buf_add_bytes(buf, o->payload, o->payload_len);
	stash_buf_add_bytes(buf, o->instance, o->instance_len);
	return mail_send(s->fd, buf, fds, 2);
}

/* The pid, or what stands in its way. */
static int
await(const struct spawner *s, pid_t *pid)
{
	int64_t deadline = stash__now_ns() + ANSWER_NS;
	struct mail m;
	int result;

	do {
		result = mail_wait(s->fd, deadline);
		if (result == 0)
			result = mail_recv(s->fd, &m);
	} while (result == STASH_E_PENDING);
	/* It may have made a child that nobody knows, with the socket that the next one would have: that one dies with
	 * this supervisor, and the next supervisor begins again. */
	if (result < 0)
		server_give_up("the helper that makes workers' processes has died while it made one");
	*pid = (pid_t)stash__view_range(&m.view, -1, INT32_MAX);
	result = stash_view_end(&m.view);
	mail_done(&m);
	return result < 0 || *pid <= 0 ? STASH_E_SYSTEM : 0;
}

bool
spawner_make(struct spawner *s, const struct spawner_order *o, int control, int log, pid_t *pid, int *pidfd)
{
	int result = s->fd < 0 ? STASH_E_DOWN : order(s, o, control, log);

	if (s->fd < 0 || result == STASH_E_TOOBIG)
		return false;
	if (result == 0)
		result = await(s, pid);
	if (result == 0) {
		*pidfd = pidfd_open(*pid, 0); /* our child, and not reaped: nobody else has its number */
		if (*pidfd >= 0)
			return true;
		result = stash__fail_errno("can't watch the child %d", (int)*pid);
		(void)kill(*pid, SIGKILL);
		(void)waitpid(*pid, NULL, 0);
	}
	stash__log(LOG_WARNING, "workers are made without a helper from now on, which takes longer: %s",
	    result == STASH_E_SYSTEM ? "it can't make one" : stash_errmsg());
	spawner_end(s);
	*pid = 0;
	*pidfd = -1;
	return false;
}
