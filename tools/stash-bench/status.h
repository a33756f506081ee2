/* SPDX-License-Identifier: ISC */
/*
 * What the stash process of a running stashd says of itself. Functions return
 * 0 or a STASH_E_*.
 */
#ifndef STASH_BENCH_STATUS_H
#define STASH_BENCH_STATUS_H

#include "stash-bench/bench.h"

struct bench_status {
	pid_t pid; /* the stash process */
	uint64_t entries, commits, commit_ns;
};

int bench_status(const struct bench_daemon *daemon, struct bench_status *status);
/* Waits, for a bounded time, until nothing is folded or committed any more. */
int bench_settle(const struct bench_daemon *daemon);

#endif
