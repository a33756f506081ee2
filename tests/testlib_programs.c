/* SPDX-License-Identifier: ISC */
/*
 * Programs of a test and a whole stashd (testlib.h says what each call promises). A program is known
 * by its pidfd from start to end, so that no signal ever meets a stranger. Valgrind knows no pidfd:
 * there the number of the unreaped child serves.
 */
#include "testlib.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/client.h>

/* ---- programs ---- */

static void
change_environment(const char *const *env)
{
	for (; env != NULL && *env != NULL; env++) {
		if (strchr(*env, '=') == NULL)
			unsetenv(*env);
		else
			putenv((char *)(uintptr_t)*env); /* of a process about to exec */
	}
}

/* In the child: never returns to the test. The files were opened by the parent, which can fail aloud. */
static void
become(const char *const *argv, const char *const *env, int in, int out, int err)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(127);
	change_environment(env);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void
start(struct t_proc *p, const char *const *argv, const char *const *env, int in, int out, int err)
{
	p->status = -1;
	p->pid = fork();
	ck_assert_msg(p->pid >= 0, "fork: %s", strerror(errno));
	if (p->pid == 0)
		become(argv, env, in, out, err);
	p->pidfd = pidfd_open(p->pid, 0);
	ck_assert_msg(p->pidfd >= 0 || errno == ENOSYS, "pidfd_open: %s", strerror(errno));
}

static int
open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

static int
new_file(char *path, size_t size, const char *what)
{
	static int number;
	int len = snprintf(path, size, "%s/%s.%d", t_dir(), what, number++);

	ck_assert_int_lt(len, (int)size);
	return open_file(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND);
}

void
t_spawn(struct t_proc *p, const char *const *argv, const char *const *env)
{
	int in = open_file("/dev/null", O_RDONLY), out = new_file(p->log, sizeof p->log, "log");

	start(p, argv, env, in, out, out);
	close(in);
	close(out);
}

static bool
is_zombie(void *arg)
{
	struct t_proc *p = arg;
	siginfo_t info = { .si_pid = 0 };

	return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == p->pid;
}

bool
t_ended(struct t_proc *p, int ms)
{
	struct pollfd pfd = { .fd = p->pidfd, .events = POLLIN };

	if (p->pid == 0)
		return true;
	if (p->pidfd >= 0 ? poll(&pfd, 1, ms * t_patience()) <= 0 : !t_wait_for(is_zombie, p, ms))
		return false;
	ck_assert_int_eq(waitpid(p->pid, &p->status, 0), p->pid);
	if (p->pidfd >= 0)
		close(p->pidfd);
	p->pid = 0;
	p->pidfd = -1;
	return true;
}

int
t_wait(struct t_proc *p, int ms)
{
	if (!t_ended(p, ms)) {
		char *text = t_output(p);

		ck_abort_msg(
		    "process %d still runs after %d ms; its output:\n%s", (int)p->pid, ms * t_patience(), text);
	}
	return WIFSIGNALED(p->status) ? 256 + WTERMSIG(p->status) : WEXITSTATUS(p->status);
}

void
t_kill(struct t_proc *p, int sig)
{
	int rc;

	ck_assert_int_ne(p->pid, 0);
	rc = p->pidfd >= 0 ? pidfd_send_signal(p->pidfd, sig, NULL, 0) : kill(p->pid, sig);
	ck_assert_msg(rc == 0 || errno == ESRCH, "%s", strerror(errno));
}

char *
t_output(const struct t_proc *p)
{
	return t_read_file(p->log, NULL);
}

struct output_wait {
	struct t_proc *proc;
	const char *text;
	bool seen;
};

static bool
has_written(void *arg)
{
	struct output_wait *w = arg;
	bool ended = t_ended(w->proc, 0);
	char *text = t_output(w->proc);

	w->seen = strstr(text, w->text) != NULL;
	free(text);
	return w->seen || ended;
}

void
t_wait_output(struct t_proc *p, const char *text, int ms)
{
	struct output_wait w = { p, text, false };

	if (!t_wait_for(has_written, &w, ms) || !w.seen)
		ck_abort_msg("'%s' did not appear (%s); its output:\n%s", text,
		    p->pid == 0 ? "the program has ended" : "time is up", t_output(p));
}

void
t_run(struct t_result *r, const char *input, const char *const *argv)
{
	char in_path[PATH_MAX], out_path[PATH_MAX], err_path[PATH_MAX];
	int in = new_file(in_path, sizeof in_path, "in");
	int out = new_file(out_path, sizeof out_path, "out");
	int err = new_file(err_path, sizeof err_path, "err");
	size_t len = input != NULL ? strlen(input) : 0;
	struct t_proc p = { 0 };

	ck_assert_int_eq(write(in, input != NULL ? input : "", len), (ssize_t)len);
	ck_assert_int_eq(lseek(in, 0, SEEK_SET), 0);
	start(&p, argv, NULL, in, out, err);
	memcpy(p.log, err_path, sizeof p.log);
	close(in);
	close(out);
	close(err);
	r->status = t_wait(&p, 30000);
	r->out = t_read_file(out_path, NULL);
	r->err = t_read_file(err_path, NULL);
}

void
t_result_free(struct t_result *r)
{
	free(r->out);
	free(r->err);
	r->out = r->err = NULL;
}

/* ---- a whole stashd ---- */

/* True when its supervisor answers, or it has ended. */
static bool
stashd_answers(void *arg)
{
	struct t_stashd *d = arg;
	struct stash_client_options options = { .size = sizeof options, .wait_ms = 200 };
	struct stash_client *client = NULL;
	bool yes;

	if (t_ended(&d->proc, 0))
		return true;
	yes = stash_client_open(&client, d->dir, &options) == STASH_OK;
	stash_client_close(client);
	return yes;
}

void
t_stashd_start(struct t_stashd *d, const char *config)
{
	if (d->dir == NULL)
		d->dir = t_path("store");
	if (d->conf == NULL)
		d->conf = t_path("stashd.conf");
	if (config != NULL)
		t_write_file(d->conf, config);
	t_spawn(&d->proc,
	    (const char *const[]){ d->binary != NULL ? d->binary :
		    d->points			     ? t_points("stashd") :
						       t_build("stashd"),
		"-d", d->dir, "-f", d->conf, NULL },
	    d->env);
	if (!t_wait_for(stashd_answers, d, 10000) || d->proc.pid == 0)
		ck_abort_msg("stashd %s; its output:\n%s", d->proc.pid == 0 ? "has ended" : "does not answer",
		    t_output(&d->proc));
}

/* The test's own programs; whatever else turns up among its children is an orphan of stashd. */
struct known {
	pid_t pids[2048];
	int n;
};

static bool
is_known(const struct known *k, pid_t pid)
{
	for (int i = 0; i < k->n; i++)
		if (k->pids[i] == pid)
			return true;
	return false;
}

static bool
no_orphan(void *arg)
{
	const struct known *k = arg;
	pid_t pids[2048];
	int n = t_children(0, pids, 2048), living = 0;

	for (int i = 0; i < n; i++)
		if (!is_known(k, pids[i]) && waitpid(pids[i], NULL, WNOHANG) == 0)
			living++;
	return living == 0;
}

void
t_stashd_stop(struct t_stashd *d, int ms)
{
	struct known known;
	int status;

	known.n = t_children(0, known.pids, 2048);
	t_kill(&d->proc, SIGTERM);
	status = t_wait(&d->proc, ms);
	ck_assert_msg(status == 0, "stashd ended with %d; its output:\n%s", status, t_output(&d->proc));
	if (!t_wait_for(no_orphan, &known, 1000))
		t_no_children(0);
}
