/* SPDX-License-Identifier: ISC */
/*
 * candidate.h: a supervisor of another binary that stands beside the one that works, until it has said that it can take
 * over.  The keeper's; nobody else sees it.
 */
#ifndef STASHD_CANDIDATE_H
#define STASHD_CANDIDATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "stashd/keeper.h"

enum { CANDIDATE_VERSION = 64 };

struct candidate {
	pid_t pid; /* 0: there is none */
	int pidfd, socket, file;
	uint64_t number; /* of the request that it answers */
	int64_t deadline;
	bool ready;
	char version[CANDIDATE_VERSION];
};

/* Opens the binary and makes its process; other: file and socket are filled in here.  0, or why not. */
int candidate_begin(struct candidate *, const struct keeper_job *, struct keeper_other *, uint64_t number);
/* What has come of it: 1: it is ready, since now; 0: nothing new; an error: why it isn't and won't be, it is gone. */
int candidate_look(struct candidate *);
/* Killed and reaped, if there is one. */
void candidate_end(struct candidate *);

/* A process that becomes a supervisor: child, which never returns, has its end of the socket.  0, or an error. */
int candidate_fork(void (*child)(void *arg, int socket), void *arg, pid_t *pid, int *pidfd, int *socket);

#endif
