/* SPDX-License-Identifier: ISC */
/*
 * Cores, processes and memory that they share. Processes are killed by a pidfd
 * and only if they descend from this one.
 */
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "stash-bench/bench.h"

#define REAP_ROUNDS 100
#define LAST_NS (STASH__NS_PER_S / 5) /* for what is about to end anyway */

/* ---- cores ---- */

/* The first two cores that this process might use when it began: it may have pinned itself since. */
static int cores[2] = { -1, -1 };
static cpu_set_t all_cores;

unsigned
bench_cores(void)
{
	unsigned n = 0;

	if (cores[0] >= 0)
		return cores[1] >= 0 ? 2 : 1;
	if (sched_getaffinity(0, sizeof all_cores, &all_cores) != 0)
		CPU_SET(0, &all_cores);
	for (int i = 0; i < CPU_SETSIZE && n < 2; i++) {
		if (CPU_ISSET(i, &all_cores))
			cores[n++] = i;
	}
	return n;
}

bool
bench_pin(pid_t pid, unsigned core)
{
	cpu_set_t set;

	if (core >= bench_cores())
		return false;
	CPU_ZERO(&set);
	CPU_SET(cores[core], &set);
	return sched_setaffinity(pid, sizeof set, &set) == 0;
}

void
bench_unpin(pid_t pid)
{
	(void)bench_cores();
	(void)sched_setaffinity(pid, sizeof all_cores, &all_cores);
}

/* ---- processes ---- */

int64_t
bench_cpu_ns(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &ts) != 0)
		return -1;
	return ts.tv_sec * STASH__NS_PER_S + ts.tv_nsec;
}

void
bench_sleep_ns(int64_t ns)
{
	struct timespec ts = { .tv_sec = ns / STASH__NS_PER_S, .tv_nsec = ns % STASH__NS_PER_S };

	clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

bool
bench_await_end(int pidfd, int64_t within_ns)
{
	struct pollfd poller = { .fd = pidfd, .events = POLLIN };
	int64_t deadline = stash__now_ns() + within_ns;
	int n;

	do
		n = poll(&poller, 1, stash__left_ms(deadline));
	while (n < 0 && errno == EINTR && stash__now_ns() < deadline);
	return n > 0;
}

/* It is a child that nobody else reaps, so the number is still its own. True: it had to be killed. */
static bool
end_child(pid_t pid)
{
	int pidfd = pidfd_open(pid, 0);
	bool killed;

	if (pidfd < 0)
		return false;
	killed = !bench_await_end(pidfd, LAST_NS);
	if (killed) {
		(void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
		(void)bench_await_end(pidfd, STASH__NS_PER_S);
	}
	close(pidfd);
	(void)waitpid(pid, NULL, WNOHANG);
	return killed;
}

unsigned
bench_reap_all(void)
{
	unsigned killed = 0;
	FILE *list;
	long pid;

	/* What they leave behind comes to this process, which is their reaper: so look again until nobody is there. */
	for (int i = 0; i < REAP_ROUNDS; i++) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		list = fopen("/proc/thread-self/children", "re");
		if (list == NULL)
			return killed;
		pid = 0;
		while (fscanf(list, "%ld", &pid) == 1)
			killed += end_child((pid_t)pid);
		fclose(list);
		if (pid == 0)
			break;
	}
	return killed;
}

/* ---- signals ---- */

static volatile sig_atomic_t interrupted;

static void
interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

void
bench_catch_signals(void)
{
	struct sigaction action = { .sa_handler = interrupt };

	sigemptyset(&action.sa_mask);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
}

bool
bench_interrupted(void)
{
	return interrupted != 0;
}

int
bench_stopped(void)
{
	return bench_interrupted() ? stash__fail(STASH_E_TIMEDOUT, "stopped by a signal") : 0;
}

/* ---- memory ---- */

void *
bench_share(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory != MAP_FAILED)
		return memory;
	(void)stash__fail_errno("cannot map %zu bytes to be shared", bytes);
	return NULL;
}

void
bench_unshare(void *memory, size_t bytes)
{
	if (memory != NULL)
		munmap(memory, bytes);
}
