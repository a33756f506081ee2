/* SPDX-License-Identifier: ISC */
/*
 * Clocks and deadlines in nanoseconds; see clock.h. Sums that would overflow
 * stay at the end of the range: a deadline may be late, never in the past.
 */
#include <limits.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"

static int64_t
read_clock(clockid_t clock)
{
	struct timespec ts;

	STASH_ASSERT(clock_gettime(clock, &ts) == 0);
	return (int64_t)ts.tv_sec * STASH__NS_PER_S + ts.tv_nsec;
}

int64_t
stash__now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t
stash__time_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t
stash__deadline_ns(int timeout_ms)
{
	if (timeout_ms < 0)
		return INT64_MAX;
	return stash__now_ns() + timeout_ms * STASH__NS_PER_MS;
}

int
stash__left_ms(int64_t deadline_ns)
{
	int64_t left;

	if (deadline_ns == INT64_MAX)
		return -1;
	left = deadline_ns - stash__now_ns();
	if (left <= 0)
		return 0;
	left = (left - 1) / STASH__NS_PER_MS + 1;
	return left > INT_MAX ? INT_MAX : (int)left;
}

void
stash__pause_ms(int ms)
{
	struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * STASH__NS_PER_MS };

	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}
