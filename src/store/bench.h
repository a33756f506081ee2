/* SPDX-License-Identifier: ISC */
/*
 * bench.h: what a commit costs with LMDB alone, for stash-bench to compare with: LMDB is included in this folder only.
 * Must not be used on a directory that holds a store.
 */
#ifndef STORE_BENCH_H
#define STORE_BENCH_H

#include <stdint.h>

/* Makes an LMDB file in dir and commits 64 bytes n times, default sync: the time of each in ns[]. 0 or STASH_E_*. */
int store_bench_commit(const char *dir, unsigned n, int64_t *ns);

#endif
