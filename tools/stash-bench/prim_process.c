/* SPDX-License-Identifier: ISC */
/*
 * What a new process costs: the fork alone, with the module loaded, and a whole
 * restart in the fewest steps that do it. This process forks, and it is small;
 * no supervisor could be faster for being otherwise.
 */
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "stash-bench/prim.h"

#define WAIT_MS 5000

/* Runs fn so many times: the median of the times that it gives, or its error. */
static int
rounds_of(unsigned rounds, int (*fn)(const void *arg, int64_t *ns), const void *arg, double *ns)
{
	int64_t *times = calloc(rounds, sizeof *times);
	int error = 0;

	if (times == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for %u times", rounds);
	for (unsigned i = 0; i < rounds && error == 0; i++)
		error = fn(arg, &times[i]);
	if (error == 0)
		*ns = (double)bench_median_ns(times, rounds);
	free(times);
	return error;
}

/* ---- fork ---- */

static int
wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return stash__fail_errno("cannot wait for a child");
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : stash__fail(STASH_E_SYSTEM, "a child failed");
}

static int
fork_once(const void *arg, int64_t *ns)
{
	int64_t start = stash__now_ns();
	pid_t pid = fork();
	int error;

	(void)arg;
	if (pid == 0)
		_exit(0);
	error = pid < 0 ? stash__fail_errno("cannot fork") : wait_for(pid);
	*ns = stash__now_ns() - start;
	return error;
}

int
bench_prim_fork(unsigned rounds, double *ns)
{
	return rounds_of(rounds, fork_once, NULL, ns);
}

/* ---- a module ---- */

static bool
load(const char *module)
{
	void *handle = dlopen(module, RTLD_NOW | RTLD_LOCAL);

	return handle != NULL && dlsym(handle, "stash_module") != NULL;
}

/* The child measures, and tells by a pipe. */
static int
load_once(const void *module, int64_t *ns)
{
	int64_t start;
	int ends[2], error = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return stash__fail_errno("cannot make a pair of sockets");
	pid = fork();
	if (pid == 0) {
		start = stash__now_ns();
		if (!load(module))
			_exit(1);
		start = stash__now_ns() - start;
		_exit(write(ends[1], &start, sizeof start) == sizeof start ? 0 : 1);
	}
	close(ends[1]);
	if (pid < 0)
		error = stash__fail_errno("cannot fork");
	else if (read(ends[0], ns, sizeof *ns) != sizeof *ns)
		error = stash__fail(STASH_E_SYSTEM, "%s: can't be loaded", (const char *)module);
	close(ends[0]);
	if (pid > 0 && wait_for(pid) != 0 && error == 0)
		error = STASH_E_SYSTEM;
	return error;
}

int
bench_prim_load(const char *module, unsigned rounds, double *ns)
{
	return rounds_of(rounds, load_once, module, ns);
}

/* ---- a restart ---- */

struct worker {
	pid_t pid;
	int pidfd, sock;
};

static void
be_worker(const char *module, int sock)
{
	char byte;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!load(module))
		_exit(1);
	while (read(sock, &byte, 1) == 1 && write(sock, &byte, 1) == 1)
		;
	_exit(0);
}

/* Sends a byte to the worker and has it back. */
static int
shake_hands(const struct worker *worker)
{
	struct pollfd poller = { .fd = worker->sock, .events = POLLIN };
	char byte = 1;

	if (write(worker->sock, &byte, 1) != 1 || poll(&poller, 1, WAIT_MS) <= 0 || read(worker->sock, &byte, 1) != 1)
		return stash__fail(STASH_E_SYSTEM, "a forked process does not answer");
	return 0;
}

static int
worker_start(const char *module, struct worker *worker)
{
	int ends[2];

	*worker = (struct worker){ .pidfd = -1, .sock = -1 };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return stash__fail_errno("cannot make a pair of sockets");
	worker->pid = fork();
	if (worker->pid == 0)
		be_worker(module, ends[1]);
	close(ends[1]);
	worker->sock = ends[0];
	if (worker->pid < 0)
		return stash__fail_errno("cannot fork");
	worker->pidfd = pidfd_open(worker->pid, 0);
	return worker->pidfd >= 0 ? shake_hands(worker) : stash__fail_errno("cannot open a pidfd");
}

/* Kills it, sees by the pidfd that it is dead, reaps it. */
static void
worker_end(struct worker *worker)
{
	struct pollfd poller = { .fd = worker->pidfd, .events = POLLIN };

	if (worker->pidfd >= 0 && pidfd_send_signal(worker->pidfd, SIGKILL, NULL, 0) == 0)
		(void)poll(&poller, 1, WAIT_MS);
	else if (worker->pid > 0)
		(void)kill(worker->pid, SIGKILL);
	if (worker->pid > 0)
		(void)waitpid(worker->pid, NULL, 0);
	if (worker->pidfd >= 0)
		close(worker->pidfd);
	if (worker->sock >= 0)
		close(worker->sock);
}

struct restart {
	const char *module;
	struct worker *worker;
};

static int
restart_once(const void *arg, int64_t *ns)
{
	const struct restart *restart = arg;
	int64_t start;
	int error;

	/* Asleep, as a worker is that is killed in production. */
	bench_sleep_ns(2 * STASH__NS_PER_MS);
	start = stash__now_ns();
	worker_end(restart->worker);
	error = worker_start(restart->module, restart->worker);
	*ns = stash__now_ns() - start;
	return error;
}

int
bench_prim_restart(const char *module, unsigned rounds, double *ns)
{
	struct worker worker;
	struct restart restart = { module, &worker };
	int error = worker_start(module, &worker);

	if (error == 0)
		error = rounds_of(rounds, restart_once, &restart, ns);
	worker_end(&worker);
	return error;
}
