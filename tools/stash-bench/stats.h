/* SPDX-License-Identifier: ISC */
/*
 * What is made of many measurements: times in bins, medians, and the ledger of
 * numbers that were given out. Plain data, that processes share in memory; each
 * has one writer. Nothing here measures, and nothing here prints.
 */
#ifndef STASH_BENCH_STATS_H
#define STASH_BENCH_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- times ---- */

/* Each power of two is cut into 2^6 bins, so a time is known to 1.6 %; the longest one exactly. */
#define BENCH_BIN_BITS 6
#define BENCH_BINS ((41u - BENCH_BIN_BITS) << BENCH_BIN_BITS) /* up to 2^40 ns; more counts as the last */

struct bench_times {
	uint64_t count;
	int64_t max; /* ns */
	uint32_t bins[BENCH_BINS];
};

unsigned bench_bin(int64_t ns);
/* The middle of a bin. */
int64_t bench_bin_ns(unsigned bin);

static inline void
bench_times_add(struct bench_times *times, int64_t ns)
{
	times->count++;
	if (ns > times->max)
		times->max = ns;
	times->bins[bench_bin(ns)]++;
}

void bench_times_merge(struct bench_times *into, const struct bench_times *from);
/* The time that a share of all (0.5, 0.99) didn't take longer than; 0 if there are none. */
int64_t bench_times_at(const struct bench_times *times, double share);

/* Sorts values; the middle one, or the mean of the two; 0 if there are none. */
double bench_median(double *values, size_t n);
/* The same of times, as they are measured. */
int64_t bench_median_ns(int64_t *values, size_t n);

/* ---- the ledger: which numbers a client was given; each client has one ---- */

struct bench_ledger {
	uint64_t *bits; /* zero at first; number i is bit i */
	uint64_t room;	/* in numbers, a multiple of 64 */
	uint64_t taken; /* numbers noted for the first time */
	uint64_t wrong; /* noted before, 0, or too large */
	uint64_t last;	/* the largest one */
};

static inline void
bench_ledger_note(struct bench_ledger *ledger, uint64_t number)
{
	uint64_t bit = UINT64_C(1) << (number & 63);

	if (number == 0 || number >= ledger->room || (ledger->bits[number >> 6] & bit) != 0) {
		ledger->wrong++;
		return;
	}
	ledger->bits[number >> 6] |= bit;
	ledger->taken++;
	if (number > ledger->last)
		ledger->last = number;
}

struct bench_audit {
	uint64_t taken;	  /* numbers given out, over all clients */
	uint64_t wrong;	  /* within a client */
	uint64_t doubled; /* given to two clients */
	uint64_t missing; /* in 1 to the counter's last value, and given to nobody */
	uint64_t beyond;  /* above it */
};
/* Compares the clients' ledgers with the counter's last value. True: each of 1 to last was given out, once. */
bool bench_audit(const struct bench_ledger *ledgers, size_t n, uint64_t last, struct bench_audit *audit);

#endif
