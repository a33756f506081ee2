/* SPDX-License-Identifier: ISC */
/*
 * bell.h: going to sleep and being woken without a lost wake-up, and without a system call for who is awake.
 *
 * Sleeper: asleep := 1; full fence; look at all it waits for; poll; asleep := 0.
 * Waker:   move the tail; full fence; if asleep, write the eventfd (or the fifo).
 * Either the waker's fence comes before the sleeper's in the one order of all fences, then the sleeper's look finds
 * the tail; or after it, then the waker finds asleep = 1 and writes the eventfd, which poll finds readable whenever it
 * begins.  Only the sleeper clears asleep: a waker that cleared it and was killed before it rang would silence
 * all others.
 */
#ifndef STASH_SHM_BELL_H
#define STASH_SHM_BELL_H

#include <poll.h>
#include <stdbool.h>

#include "shm/format.h"

/*
 * A process that is found by a name has a fifo in a directory, made if it isn't there: whoever is to ring it opens it
 * by that name, and nobody has to keep it for others.  Anybody else has an eventfd.
 */
int stash__bell_open(int dirfd, const char *file);
int stash__bell_make(void);	 /* an eventfd, non-blocking, close-on-exec; or an error */
bool stash__bell_is_one(int fd); /* whether it is such an eventfd */
/* Never blocks, whatever the other side did to the descriptor.  One that takes no more rings already; what fails for
 * another reason is tried again. */
void stash__bell_ring(int bell);
/* Whether somebody has rung since, or that can't be told: then a moment later. */
bool stash__bell_clear(int bell);

/*
 * Between users. An eventfd is one open description for all who have it: any of them can take rings that are meant for
 * another, or fill it and make it block. So a client of another user has a line of its own: two ends of a socket, each
 * side rings and is rung at its own. No write blocks, whatever the other side did to its end.
 */
int stash__line_make(int ends[2]);
void stash__line_ring(int end);
bool stash__line_clear(int end); /* false: the other end is closed; it would count as rung for ever */

/* The waker's half, after the tail was moved. */
static inline void
stash__bell_wake(const stash__half *asleep, int bell)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(asleep, memory_order_relaxed) != 0)
		stash__bell_ring(bell);
}

/* The sleeper's half, in two parts: say it, look once more, then poll (or wake without having slept). */
static inline void
stash__bell_doze(stash__half *asleep)
{
	atomic_store_explicit(asleep, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

static inline void
stash__bell_rise(stash__half *asleep)
{
	atomic_store_explicit(asleep, 0, memory_order_relaxed);
}

/* poll() on the bell and up to two more descriptors until something is there or the deadline (CLOCK_MONOTONIC
 * in ns, INT64_MAX: none) has passed; a signal ends it too.  Clears the bell when it rang.  Returns a mask: 1
 * bell, 2 first, 4 second other; 0: time or signal. */
int stash__bell_poll(int bell, int other, int second, int64_t deadline);
/* The same with three others, of which each may be -1: 8 is the third. */
int stash__bell_poll_more(int bell, const int others[3], int64_t deadline);

/* The core that this thread runs on, from 1 up. */
uint32_t stash__core(void);
/* For a short wait on another core. */
static inline void
stash__pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
