/* SPDX-License-Identifier: ISC */
/*
 * Processes that measure, all begun at one moment: each stands before a gate
 * until all do. They die with this process, and none outlives its time: what
 * doesn't end by itself is killed.
 */
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "stash-bench/bench.h"

#define LOOK_NS (200 * STASH__NS_PER_US)

static void
end_with_parent(void)
{
	static const int own[] = { SIGINT, SIGTERM };
	struct sigaction action = { .sa_handler = SIG_DFL };

	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
		(void)sigaction(own[i], &action, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void
bench_gate_pass(struct bench_gate *gate)
{
	atomic_fetch_add(&gate->ready, 1);
	while (atomic_load(&gate->open) == 0)
		(void)syscall(SYS_futex, &gate->open, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void
crew_free(struct bench_crew *crew)
{
	for (unsigned i = 0; i < crew->n; i++) {
		if (crew->pidfds[i] >= 0)
			close(crew->pidfds[i]);
	}
	free(crew->pids);
	free(crew->pidfds);
	bench_unshare(crew->gate, sizeof *crew->gate);
	*crew = (struct bench_crew){ 0 };
}

static int
start_one(struct bench_crew *crew, bench_job *job, void *arg)
{
	unsigned i = crew->n;
	pid_t parent = getpid();

	crew->pids[i] = fork();
	if (crew->pids[i] < 0)
		return stash__fail_errno("cannot fork");
	if (crew->pids[i] == 0) {
		end_with_parent();
		_exit(getppid() == parent ? job(arg, i, crew->gate) : 1);
	}
	crew->pidfds[i] = pidfd_open(crew->pids[i], 0);
	crew->n++;
	return crew->pidfds[i] >= 0 ? 0 : stash__fail_errno("cannot open a pidfd");
}

int
bench_crew_start(struct bench_crew *crew, unsigned n, bench_job *job, void *arg)
{
	int error = 0;

	*crew = (struct bench_crew){ .gate = bench_share(sizeof *crew->gate),
		.pids = calloc(n, sizeof *crew->pids),
		.pidfds = calloc(n, sizeof *crew->pidfds) };
	if (crew->gate == NULL || crew->pids == NULL || crew->pidfds == NULL) {
		crew_free(crew);
		return stash__fail(STASH_E_NOMEM, "no memory for %u processes", n);
	}
	for (unsigned i = 0; i < n && error == 0; i++)
		error = start_one(crew, job, arg);
	if (error != 0)
		(void)bench_crew_end(crew, 0);
	return error;
}

int
bench_crew_go(struct bench_crew *crew, int64_t within_ns)
{
	int64_t deadline = stash__now_ns() + within_ns;

	while (atomic_load(&crew->gate->ready) < crew->n) {
		if (stash__now_ns() > deadline || bench_interrupted())
			return stash__fail(STASH_E_TIMEDOUT,
			    "of %u processes %u are ready to measure, the others aren't", crew->n,
			    atomic_load(&crew->gate->ready));
		bench_sleep_ns(LOOK_NS);
	}
	atomic_store(&crew->gate->open, 1);
	(void)syscall(SYS_futex, &crew->gate->open, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	return 0;
}

/* Waits for one of them, kills it if it is late: whether it ended well. */
static bool
end_one(pid_t pid, int pidfd, int64_t deadline)
{
	int64_t left = deadline - stash__now_ns();
	int status;

	if (pidfd < 0 || !bench_await_end(pidfd, left > 0 ? left : 0))
		(void)kill(pid, SIGKILL); /* a child that isn't reaped yet: the number is its own */
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return false;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int
bench_crew_end(struct bench_crew *crew, int64_t within_ns)
{
	int64_t deadline = stash__now_ns() + within_ns;
	unsigned failed = 0, n = crew->n;

	for (unsigned i = 0; i < n; i++)
		failed += !end_one(crew->pids[i], crew->pidfds[i], deadline);
	crew_free(crew);
	if (failed > 0)
		return stash__fail(STASH_E_SYSTEM, "of %u measuring processes %u failed or did not end", n, failed);
	return 0;
}

int
bench_crew_run(unsigned n, bench_job *job, void *arg, int64_t run_ns)
{
	struct bench_crew crew;
	int error = bench_crew_start(&crew, n, job, arg), ended;

	if (error != 0)
		return error;
	error = bench_crew_go(&crew, 10 * STASH__NS_PER_S);
	ended = bench_crew_end(&crew, error != 0 ? 0 : run_ns + 10 * STASH__NS_PER_S);
	return error != 0 ? error : ended;
}
