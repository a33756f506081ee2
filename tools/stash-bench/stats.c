/* SPDX-License-Identifier: ISC */
/*
 * Bins, medians, ledgers: see stats.h. All of it is exact but the bins, and
 * these by a known share.
 */
#include "stash-bench/stats.h"

#include <stdlib.h>

#define SUB (1u << BENCH_BIN_BITS)

unsigned
bench_bin(int64_t ns)
{
	uint64_t value = ns > 0 ? (uint64_t)ns : 0;
	unsigned shift, bin;

	if (value < SUB)
		return (unsigned)value;
	shift = 63u - (unsigned)__builtin_clzll(value) - BENCH_BIN_BITS;
	bin = ((shift + 1) << BENCH_BIN_BITS) + (unsigned)((value >> shift) - SUB);
	return bin < BENCH_BINS ? bin : BENCH_BINS - 1;
}

int64_t
bench_bin_ns(unsigned bin)
{
	unsigned shift;

	if (bin < 2 * SUB)
		return bin;
	shift = (bin >> BENCH_BIN_BITS) - 1;
	return (int64_t)(((uint64_t)(SUB + (bin & (SUB - 1))) << shift) + (UINT64_C(1) << shift) / 2);
}

void
bench_times_merge(struct bench_times *into, const struct bench_times *from)
{
	into->count += from->count;
	if (from->max > into->max)
		into->max = from->max;
	for (size_t i = 0; i < BENCH_BINS; i++)
		into->bins[i] += from->bins[i];
}

int64_t
bench_times_at(const struct bench_times *times, double share)
{
	uint64_t rank = (uint64_t)(share * (double)times->count), seen = 0;
	int64_t ns;

	if (times->count == 0)
		return 0;
	for (unsigned i = 0; i < BENCH_BINS; i++) {
		seen += times->bins[i];
		if (seen > rank) {
			ns = bench_bin_ns(i);
			return ns < times->max ? ns : times->max;
		}
	}
	return times->max;
}

/* ---- medians ---- */

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
bench_median(double *values, size_t n)
{
	if (n == 0)
		return 0;
	qsort(values, n, sizeof *values, compare);
	return n % 2 != 0 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static int
compare_ns(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

int64_t
bench_median_ns(int64_t *values, size_t n)
{
	if (n == 0)
		return 0;
	qsort(values, n, sizeof *values, compare_ns);
	return n % 2 != 0 ? values[n / 2] : values[n / 2 - 1] + (values[n / 2] - values[n / 2 - 1]) / 2;
}

/* ---- ledgers ---- */

/* A word of all ledgers: bits that somebody has, and how many were given more than once. */
static uint64_t
word_of_all(const struct bench_ledger *ledgers, size_t n, uint64_t word, uint64_t *doubled)
{
	uint64_t all = 0, mine;

	for (size_t i = 0; i < n; i++) {
		mine = word * 64 <= ledgers[i].last && word * 64 < ledgers[i].room ? ledgers[i].bits[word] : 0;
		*doubled += (uint64_t)__builtin_popcountll(all & mine);
		all |= mine;
	}
	return all;
}

/* Of a word's 64 numbers those from 1 to last. */
static uint64_t
expected(uint64_t word, uint64_t last)
{
	uint64_t bits = ~UINT64_C(0);

	if (word * 64 > last)
		return 0;
	if (last - word * 64 < 63)
		bits = (UINT64_C(1) << (last - word * 64 + 1)) - 1;
	return word == 0 ? bits & ~UINT64_C(1) : bits;
}

bool
bench_audit(const struct bench_ledger *ledgers, size_t n, uint64_t last, struct bench_audit *audit)
{
	uint64_t top = last, room = 64, all, due;

	*audit = (struct bench_audit){ 0 };
	for (size_t i = 0; i < n; i++) {
		audit->taken += ledgers[i].taken;
		audit->wrong += ledgers[i].wrong;
		if (ledgers[i].last > top)
			top = ledgers[i].last;
		if (ledgers[i].room > room)
			room = ledgers[i].room;
	}
	/* A counter that no ledger has room for: nobody has been given what stands above. */
	if (top >= room) {
		audit->missing += top - room + 1;
		top = room - 1;
	}
	for (uint64_t word = 0; word <= top / 64; word++) {
		all = word_of_all(ledgers, n, word, &audit->doubled);
		due = expected(word, last);
		audit->missing += (uint64_t)__builtin_popcountll(due & ~all);
		audit->beyond += (uint64_t)__builtin_popcountll(all & ~due);
	}
	return audit->wrong == 0 && audit->doubled == 0 && audit->missing == 0 && audit->beyond == 0;
}
