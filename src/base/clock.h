/* SPDX-License-Identifier: ISC */
/*
 * The two clocks, in nanoseconds. They can't fail on Linux; a machine on which
 * they do is none that anything here could run on.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define STASH__NS_PER_US INT64_C(1000)
#define STASH__NS_PER_MS INT64_C(1000000)
#define STASH__NS_PER_S INT64_C(1000000000)

/* CLOCK_MONOTONIC: the same for all processes until reboot; for deadlines. */
int64_t stash__now_ns(void);

/* CLOCK_REALTIME: since 1970; for people. */
int64_t stash__time_ns(void);

/* When timeout_ms from now will have passed: -1 (any negative): never, INT64_MAX. */
int64_t stash__deadline_ns(int timeout_ms);

/* What poll(2) should wait until then: rounded up, 0 if it has passed, -1 for never. */
int stash__left_ms(int64_t deadline_ns);

/* Waits, for the next attempt at what has just failed; a signal may end it. */
void stash__pause_ms(int ms);

#endif
