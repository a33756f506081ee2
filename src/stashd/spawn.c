/* SPDX-License-Identifier: ISC */
/*
 * spawn.c: children by clone3() with a shared table of descriptors, or by fork().
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/error.h"
#include "shm/format.h"
#include "stashd/spawn.h"

#define BANKS 16

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static struct {
	int fds[BANKS][2];
	bool full[BANKS];  /* a child's descriptors stand there */
	stash__half *used; /* shared with the children: a token, until the child has a table of its own */
	int null;
	uint32_t next_token;
	bool shared; /* clone3() with CLONE_FILES works here */
} banks = { .null = -1 };

int
spawn_setup(void)
{
	banks.used = mmap(NULL, STASH__PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (banks.used == MAP_FAILED)
		return stash__fail_errno("can't share a page with children");
	banks.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (banks.null < 0)
		return stash__fail_errno("/dev/null");
	for (int i = 0; i < 2 * BANKS; i++) {
		int fd = fcntl(banks.null, F_DUPFD_CLOEXEC, 3);

		if (fd < 0)
			return stash__fail_errno("can't reserve descriptors");
		banks.fds[i / 2][i % 2] = fd;
	}
	banks.shared = !SANITIZED;
	return 0;
}

void
spawn_teardown(void)
{
	if (banks.null < 0)
		return;
	for (int i = 0; i < 2 * BANKS; i++)
		close(banks.fds[i / 2][i % 2]);
	close(banks.null);
	banks.null = -1;
	(void)munmap(banks.used, STASH__PAGE);
}

bool
spawn_can_clone(void)
{
	return banks.shared;
}

static int
compare(const void *a, const void *b)
{
	const int *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

void
spawn_close_others(int *keep, int n)
{
	unsigned from = 3;

	qsort(keep, (size_t)n, sizeof(*keep), compare);
	for (int i = 0; i < n; i++) {
		if (keep[i] < (int)from)
			continue;
		if (keep[i] > (int)from)
			(void)close_range(from, (unsigned)keep[i] - 1, 0);
		from = (unsigned)keep[i] + 1;
	}
	(void)close_range(from, ~0u, 0);
}

/* ---- by a shared table ---- */

static int
take_bank(struct spawn_bank *bank, int first, int second)
{
	for (int i = 0; i < BANKS; i++) {
		if (atomic_load(&banks.used[i]) != 0)
			continue;
		if (dup3(first, banks.fds[i][0], O_CLOEXEC) < 0 || dup3(second, banks.fds[i][1], O_CLOEXEC) < 0)
			return -1;
		if (++banks.next_token == 0)
			banks.next_token = 1;
		bank->index = i;
		bank->token = banks.next_token;
		banks.full[i] = true;
		atomic_store(&banks.used[i], bank->token);
		return 0;
	}
	return -1;
}

static _Noreturn void
run_shared(void (*child)(void *, int, int), void *arg, const struct spawn_bank *bank)
{
	int *own = banks.fds[bank->index], keep[2] = { own[0], own[1] };
	unsigned top = (unsigned)(keep[0] > keep[1] ? keep[0] : keep[1]);

	/* Nothing may come before this: until then each close here is one in the supervisor. */
	if (close_range(top + 1, ~0u, CLOSE_RANGE_UNSHARE) != 0)
		_exit(EX_OSERR);
	atomic_store(&banks.used[bank->index], 0);
	(void)munmap(banks.used, STASH__PAGE);
	spawn_close_others(keep, 2);
	child(arg, own[0], own[1]);
	_exit(EX_SOFTWARE);
}

/* False: no child by this way. */
static bool
make_shared(
    void (*child)(void *, int, int), void *arg, int first, int second, struct spawn_bank *bank, pid_t *pid, int *pidfd)
{
	struct clone_args args = { .flags = CLONE_FILES | CLONE_PIDFD | CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD };
	long result;

	if (take_bank(bank, first, second) < 0)
		return false;
	args.pidfd = (uint64_t)(uintptr_t)pidfd;
	result = syscall(SYS_clone3, &args, sizeof(args));
	if (result == 0)
		run_shared(child, arg, bank);
	if (result < 0) {
		if (errno == ENOSYS || errno == EPERM || errno == EINVAL)
			banks.shared = false;
		spawn_release(bank);
		return false;
	}
	*pid = (pid_t)result;
	return true;
}

/* ---- by a copy ---- */

static void
default_signals(void)
{
	struct sigaction action, dflt = { .sa_handler = SIG_DFL };

	for (int signal = 1; signal < NSIG; signal++) {
		if (sigaction(signal, NULL, &action) == 0 && action.sa_handler != SIG_DFL &&
		    action.sa_handler != SIG_IGN)
			(void)sigaction(signal, &dflt, NULL);
	}
}

static int
make_copy(void (*child)(void *, int, int), void *arg, int first, int second, pid_t *pid, int *pidfd)
{
	int keep[2] = { first, second };

	*pid = fork();
	if (*pid == 0) {
		default_signals();
		spawn_close_others(keep, 2);
		child(arg, first, second);
		_exit(EX_SOFTWARE);
	}
	if (*pid < 0)
		return stash__fail_errno("can't fork");
	*pidfd = pidfd_open(*pid, 0);
	if (*pidfd < 0) {
		int result = stash__fail_errno("can't watch the child %d", (int)*pid);

		(void)kill(*pid, SIGKILL);
		(void)waitpid(*pid, NULL, 0);
		return result;
	}
	return 0;
}

int
spawn_make(void (*child)(void *arg, int first, int second), void *arg, int first, int second, bool copy,
    struct spawn_bank *bank, pid_t *pid, int *pidfd)
{
	int result = 0;

	bank->index = -1;
	*pid = 0;
	*pidfd = -1;
	if (copy || !banks.shared || !make_shared(child, arg, first, second, bank, pid, pidfd))
		result = make_copy(child, arg, first, second, pid, pidfd);
	close(first);
	close(second);
	return result;
}

void
spawn_release(struct spawn_bank *bank)
{
	uint32_t token = bank->token;

	if (bank->index >= 0)
		(void)atomic_compare_exchange_strong(&banks.used[bank->index], &token, 0);
	bank->index = -1;
}

void
spawn_sweep(void)
{
	for (int i = 0; i < BANKS; i++) {
		if (!banks.full[i] || atomic_load(&banks.used[i]) != 0)
			continue;
		(void)dup3(banks.null, banks.fds[i][0], O_CLOEXEC);
		(void)dup3(banks.null, banks.fds[i][1], O_CLOEXEC);
		banks.full[i] = false;
	}
}
