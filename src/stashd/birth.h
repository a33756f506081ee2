/* SPDX-License-Identifier: ISC */
/*
 * birth.h: what a worker's process does before it is a worker.
 */
#ifndef STASHD_BIRTH_H
#define STASHD_BIRTH_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "stashd/plan.h"

struct birth {
	const char *name; /* of the worker */
	const struct plan *plan;
	pid_t parent; /* the supervisor */
	const sigset_t *mask;
	const char *dir;    /* the store's */
	const char *notify; /* a program's NOTIFY_SOCKET; "": none */
	uint64_t incarnation;
	bool named; /* the name is one by which others know it */
};

/* For spawn_make(); arg: struct birth.  Never returns. */
void birth_run(void *arg, int control, int log);

/* Loads a module: its behaviour, or NULL with the thread's message. */
const struct stash_behaviour *birth_load(const char *path);

#endif
