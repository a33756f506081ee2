/* SPDX-License-Identifier: ISC */
/*
 * child.c: a disposable child for what may kill whoever does it: looking at a file that may be damaged, through a map.
 * It inherits no descriptor but its pipe, so it holds no lock; it dies with its parent, or after a time; it leaves no
 * core; its handlers are the system's.  It never touches an environment of its parent's.
 */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <bsd/string.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/clock.h"
#include "base/error.h"
#include "store/backup.h"
#include "store/env.h"

#define PIPE_FD 3
#define GRACE_S 5 /* past its alarm: then it is killed */

_Static_assert(sizeof(struct store_child_result) <= 4096, "a result is written to a pipe at once");

/* Only calls that are safe in the child of a process with threads, up to fn; that one uses malloc, which glibc
 * mends. */
static void
become_disposable(int pipe_fd, pid_t parent, uint32_t seconds)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM, SIGTERM, SIGINT, SIGPIPE };
	const struct rlimit no_core = { 0, 0 };
	sigset_t none;
	int null_fd;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	alarm(seconds);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent || setrlimit(RLIMIT_CORE, &no_core) != 0)
		_exit(1);
	/* LMDB's assertions speak on standard error; what they mean is told by the parent. */
	null_fd = open("/dev/null", O_RDWR);
	if (null_fd < 0 || dup2(null_fd, STDERR_FILENO) < 0)
		_exit(1);
	if (pipe_fd != PIPE_FD && dup2(pipe_fd, PIPE_FD) < 0)
		_exit(1);
	if (close_range(PIPE_FD + 1, ~0u, 0) != 0)
		_exit(1);
}

static _Noreturn void
child(int pipe_fd, pid_t parent, void (*fn)(void *, struct store_child_result *), void *arg, uint32_t seconds)
{
	/* Static: the bytes that are written to the pipe are all defined. */
	static struct store_child_result result;

	become_disposable(pipe_fd, parent, seconds);
	fn(arg, &result);
	if (result.code != 0)
		strlcpy(result.text, stash_errmsg(), sizeof(result.text));
	_exit(write(PIPE_FD, &result, sizeof(result)) == (ssize_t)sizeof(result) ? 0 : 1);
}

/* Reads the result; false: the child ended without, or it is overdue, and is ended then. */
static bool
receive(int fd, pid_t pid, int64_t deadline, struct store_child_result *result)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	ssize_t n;
	int ready;

	for (;;) {
		ready = poll(&poller, 1, stash__left_ms(deadline));
		if (ready == 0) {
			kill(pid, SIGKILL);
			return false;
		}
		if (ready < 0 && errno == EINTR)
			continue;
		n = read(fd, result, sizeof(*result));
		if (n < 0 && errno == EINTR)
			continue;
		return n == (ssize_t)sizeof(*result);
	}
}

static int
reap(pid_t pid)
{
	int status = 0;
	pid_t got;

	do {
		got = waitpid(pid, &status, 0);
	} while (got < 0 && errno == EINTR);
	/* A SIGCHLD that is ignored by this process takes the status away. */
	return got == pid ? status : -1;
}

static void
judge(int status, uint32_t seconds, struct store_child_result *result)
{
	memset(result, 0, sizeof(*result));
	if (status != -1 && WIFSIGNALED(status) && (WTERMSIG(status) == SIGALRM || WTERMSIG(status) == SIGKILL)) {
		/* Not shown to be damaged: it may only be large, or the machine out of memory. */
		result->code = STASH_E_TIMEDOUT;
		stash__fail(result->code,
		    "the process that looked at it was ended by signal %d (%s), %u s being allowed", WTERMSIG(status),
		    strsignal(WTERMSIG(status)), seconds);
	} else if (status != -1 && WIFSIGNALED(status)) {
		result->code = STASH_E_CORRUPT;
		result->damaged = true;
		stash__fail(result->code, "damaged: the process that looked at it was ended by signal %d (%s)",
		    WTERMSIG(status), strsignal(WTERMSIG(status)));
	} else {
		result->code = STASH_E_SYSTEM;
		stash__fail(result->code, "the process that was to look at it could not");
	}
	strlcpy(result->text, stash_errmsg(), sizeof(result->text));
}

const char *
store_fd_path(int fd, char path[STORE_FD_PATH])
{
	snprintf(path, STORE_FD_PATH, "/proc/%d/fd/%d", (int)getpid(), fd);
	return path;
}

int
store_child_run(
    void (*fn)(void *arg, struct store_child_result *), void *arg, uint32_t seconds, struct store_child_result *result)
{
	int64_t deadline = stash__now_ns() + (int64_t)(seconds + GRACE_S) * STASH__NS_PER_S;
	pid_t pid, parent = getpid();
	int fds[2], status;
	bool received;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return stash__fail_errno("no pipe for the process that looks at the store");
	pid = fork();
	if (pid == 0)
		child(fds[1], parent, fn, arg, seconds);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return stash__fail_errno("no process to look at the store");
	}
	received = receive(fds[0], pid, deadline, result);
	close(fds[0]);
	status = reap(pid);
	/* A result is written right before the end: who got that far died of nothing in the file. */
	if (!received)
		judge(status, seconds, result);
	return 0;
}
