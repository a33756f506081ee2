/* SPDX-License-Identifier: ISC */
/*
 * keeper.h: the process that outlives supervisors: it starts the next one when one dies, keeps its descriptors, is
 * the sub-reaper of all that it starts, and does nothing else, so that nothing can go wrong in it.
 */
#ifndef STASHD_KEEPER_H
#define STASHD_KEEPER_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct keeper_job {
	/* In a process of its own, with its end of the socket; returns its exit status.  starts: how many there were
	 * before it. */
	int (*supervisor)(void *arg, int keeper, uint64_t starts);
	void *arg;
	bool last; /* signals aren't given back */
};

/* Runs supervisors until one of them says that it is over: its result, with its text as the thread's message.
 * Takes SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGCHLD, and gives them back; those that came before its end were for
 * it. */
int keeper_run(const struct keeper_job *);

#endif
