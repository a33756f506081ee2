/* SPDX-License-Identifier: ISC */
/*
 * bell.c: the system calls behind bell.h: an eventfd, and poll.
 */
#include "shm/bell.h"

#include <errno.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

int
stash__bell_make(void)
{
	int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	return bell >= 0 ? bell : stash__fail_errno("cannot make a doorbell (eventfd)");
}

void
stash__bell_ring(int bell)
{
	/* The other side may have made it blocking; a counter of 2^64 - 2 would then hold us up, so it is never filled:
	 * one more than that needs 2^64 rings without a read. */
	eventfd_t one = 1;
	ssize_t n;

	do
		n = write(bell, &one, sizeof one);
	while (n < 0 && errno == EINTR);
}

void
stash__bell_clear(int bell)
{
	eventfd_t count;
	ssize_t n;

	do
		n = read(bell, &count, sizeof count);
	while (n < 0 && errno == EINTR);
}

/* What is left until the deadline; NULL for ever. */
static const struct timespec *
left(int64_t deadline, struct timespec *ts)
{
	int64_t ns;

	if (deadline == INT64_MAX)
		return NULL;
	ns = deadline - stash__now_ns();
	if (ns < 0)
		ns = 0;
	ts->tv_sec = ns / 1000000000;
	ts->tv_nsec = ns % 1000000000;
	return ts;
}

int
stash__bell_poll(int bell, int other, int second, int64_t deadline)
{
	struct pollfd fds[3] = { { bell, POLLIN, 0 }, { other, POLLIN, 0 }, { second, POLLIN, 0 } };
	struct timespec ts;
	int mask = 0;

	if (ppoll(fds, second >= 0 ? 3 : 2, left(deadline, &ts), NULL) <= 0)
		return 0;
	if (fds[0].revents != 0) {
		/* POLLERR only when the counter overflows by a foreign hand: reading mends it. */
		stash__bell_clear(bell);
		mask |= 1;
	}
	if (fds[1].revents != 0)
		mask |= 2;
	if (second >= 0 && fds[2].revents != 0)
		mask |= 4;
	return mask;
}

uint32_t
stash__core(void)
{
	int core = sched_getcpu();

	return core < 0 ? 0 : (uint32_t)core + 1;
}
