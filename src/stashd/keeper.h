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

/* One that is made by exec. */
struct keeper_other {
	int file; /* the binary, open */
	int socket;
	uint64_t starts, generation; /* of the binary: counted from 1, 0 is this process's own */
	bool trial;		     /* the first one of it: whatever goes wrong, it just ends */
};

struct keeper_job {
	/* In a process of its own, with its end of the socket; returns its exit status.  starts: how many there were
	 * before it. */
	int (*supervisor)(void *arg, int keeper, uint64_t starts);
	/* The same by another binary, never returns: packs what that needs to know, and execs; in a process of its own,
	 * too.  What goes wrong is told by HELLO. */
	void (*other)(void *arg, const struct keeper_other *);
	const char *binary; /* its path; NULL: there is none */
	void *arg;
	bool last; /* signals aren't given back */
};

/* Runs supervisors until one of them says that it is over: its result, with its text as the thread's message.
 * Takes SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGCHLD, and gives them back; those that came before its end were for
 * it. */
int keeper_run(const struct keeper_job *);

#endif
