/* SPDX-License-Identifier: ISC */
/*
 * What processes take of the machine: memory and descriptors, as /proc has them.
 */
#ifndef STASH_BENCH_SCALE_H
#define STASH_BENCH_SCALE_H

#include "stash-bench/bench.h"

/* Descriptors that a worker may cost a process of stashd. */
#define BENCH_SCALE_FDS 3.0

struct bench_usage {
	double pss; /* bytes: its own, and its share of what it has with others */
	double fds;
};

/* Zero: it can't be read. */
struct bench_usage bench_uses(pid_t pid);
/* All workers together; or an error. */
int bench_workers_use(struct stash_client *client, struct bench_usage *usage);
/* The supervisor of a stashd; 0: none at the moment. */
pid_t bench_supervisor(const struct bench_daemon *daemon);

#endif
