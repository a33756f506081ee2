/* SPDX-License-Identifier: ISC */
/*
 * The fixed scenario of the searches over system calls, and what must be true after it whoever died in it:
 *
 *	stashd starts with one worker, a sequence;
 *	two clients take ten numbers each; in the midst one of them sends a call that crashes the worker, and the other
 *	has the worker restarted; with a flavour, a process is killed there as well;
 *	when keeper and supervisor are dead while clients want something, stashd is started again;
 *	stashd is stopped in order (by SIGTERM; without a keeper, or with disk, by `stashctl shutdown`);
 *	the next stashd starts on the same store, hands out the next number and is stopped in order.
 *
 * Then: each answered number was handed out once, the sequence has no number that nobody got (but those that a dead
 * client, or an error that means "not known", may have taken along), each call was answered or failed as the manual
 * says, and nothing is left over: no process, socket, slot, run directory, channel, descriptor of the keeper.
 */
#ifndef TESTS_TESTLIB_SCENARIO_H
#define TESTS_TESTLIB_SCENARIO_H

#include "testlib_tracer.h"

enum scenario_flavour {
	SCENARIO_PLAIN,
	SCENARIO_SUPERVISOR, /* the supervisor is killed in the midst: its successor's takeover is searched, too */
	SCENARIO_STASH,	     /* the stash process likewise */
	SCENARIO_BOTH,	     /* both at once */
	SCENARIO_KEEPER,     /* the keeper, so that the rest goes on without one */
	SCENARIO_FLAVOURS
};

struct scenario {
	/* set by the caller */
	struct tracer_plan plan;
	enum scenario_flavour flavour;
	bool disk;    /* ack = "disk", and the stop is by stashctl shutdown */
	bool failing; /* calls fail, nobody is killed: a start may be refused, and calls may fail as is documented */
	/* after scenario_run() */
	char *problems; /* "": none; else a line for each, and what stashd wrote.  To be freed */
	struct tracer_report report;
	int ms; /* how long it took */
};

const char *scenario_flavour_name(enum scenario_flavour);

/* Runs it, in a directory of its own below t_run_dir(), which is removed. */
void scenario_run(struct scenario *);

#endif
