/* SPDX-License-Identifier: ISC */
/*
 * The machine's own limits, each measured with as little around it as can be:
 * what Stash is compared with. Each takes about the time that it is given, or
 * does a bounded number of rounds; results are in ns. Nothing of libstash is
 * between the clock readings.
 */
#ifndef STASH_BENCH_PRIM_H
#define STASH_BENCH_PRIM_H

#include "stash-bench/bench.h"

/* ---- waking up (prim_wake.c) ---- */

/* Two processes, an eventfd each; each waits by poll() on its own and on a silent socket. Round trip. */
int bench_prim_pingpong(enum bench_pin pin, int64_t run_ns, double *ns);
/* Two processes that spin on shared memory, a core each. Round trip. */
int bench_prim_spin(int64_t run_ns, double *ns);
/* From just before an eventfd's write to the end of poll() in a process that slept a millisecond on the other core. */
int bench_prim_wake(unsigned rounds, double *ns);

/* ---- rings and futexes (prim_ring.c) ---- */

struct bench_ring {
	double rate; /* calls in a second */
	double p50, p99, max;
};
/*
 * Client processes with one call each in flight against one worker process: a ring each, a futex each. No checksums,
 * no deadlines, no state, no submit ring, no recovery.
 */
int bench_prim_ring(unsigned clients, int64_t run_ns, struct bench_ring *ring);

/* ---- the disk (prim_disk.c) ---- */

/* Writes 4 KiB over what is there already, and fdatasync. */
int bench_prim_flush(const char *dir, unsigned rounds, double *ns);
/* A bare LMDB commit of 64 bytes with its default sync. */
int bench_prim_commit(const char *dir, unsigned rounds, double *ns);
/* Flushes that the device of a directory has done so far; -1: it doesn't count them. */
int64_t bench_flushes(const char *dir);

/* ---- processes (prim_process.c) ---- */

/* fork, _exit, wait. */
int bench_prim_fork(unsigned rounds, double *ns);
/*
 * SIGKILL of a child, noticed by its pidfd; reaped, forked again; dlopen of the module in the child, one hand-shake
 * over a socketpair.
 */
int bench_prim_restart(const char *module, unsigned rounds, double *ns);
/* A child's dlopen of the module, as part of such a start. */
int bench_prim_load(const char *module, unsigned rounds, double *ns);

#endif
