/* SPDX-License-Identifier: ISC */
/*
 * A stashd with one fault: a fixed scenario that it has to live through, and what must be true afterwards.
 *
 *	stashd starts: a sequence, an agent, a program without libstash, two workers of which one casts to the other;
 *	two clients take numbers; sequence, stash and supervisor are killed one after the other, with calls in between;
 *	the config is read again, with one child more; a child is started and ended; the tables are looked at;
 *	stashd is stopped; the fault is taken away; it starts again, and what was acknowledged is there.
 */
#ifndef TESTS_TESTLIB_FAULTY_H
#define TESTS_TESTLIB_FAULTY_H

#include "testlib_failing.h"
#include "testlib_live.h"

struct faulty_fault {
	uint64_t what, at;
	int error;
	bool for_good, disk;
};

struct faulty {
	struct failing_page *page;
	const char *env[4];
	struct t_stashd d;
	struct faulty_fault fault;
	unsigned run;
	char dir[64], base[PATH_MAX];
	char problems[16384]; /* a line each, and the log; "": none */
	uint64_t fired;
	int ms;
	/* of the sequence */
	int64_t acked, unknown, highest;
	unsigned char seen[4096];
	int told; /* casts of one worker to another that were answered */
	unsigned looks;
	int late;   /* answers that didn't come in time */
	bool ended; /* it has stopped by itself */
};

void faulty_open(struct faulty *);
void faulty_close(struct faulty *);
/* Runs without a fault: the places. */
/* A stashd that nothing happens to, for others to fail with. */
void faulty_start(struct faulty *);
void faulty_stop(struct faulty *);
size_t faulty_count(struct faulty *, struct failing_place *, size_t max);
void faulty_run(struct faulty *, const struct faulty_fault *);
/* "supervisor openat stashd+0x1234 EMFILE 1 once"; until the next one. */
const char *faulty_name(const struct faulty_fault *);

#endif
