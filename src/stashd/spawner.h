/* SPDX-License-Identifier: ISC */
/*
 * spawner.h: a small process that makes the workers' processes for the supervisor, so that one more worker costs the
 * same beside four thousand as beside ten.
 *
 * A fork copies the page tables of whoever forks, and each page that the parent writes afterwards is copied: with
 * thousands of workers in its tables that is most of what a restart takes.  So the supervisor forks a helper before it
 * knows of any worker, and has it make them, by clone3() with CLONE_PARENT: they are the supervisor's own children, as
 * if it had forked them itself.  What the child needs goes over a socket.  Without a helper (it was killed, the
 * kernel or a sanitizer doesn't allow it, the order is too long) the supervisor makes the child itself (spawn.h).
 */
#ifndef STASHD_SPAWNER_H
#define STASHD_SPAWNER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "stashd/plan.h"

struct spawner {
	int fd, pidfd; /* -1: there is none */
};

struct spawner_order {
	const char *name, *notify;
	uint64_t incarnation;
	bool named;
	/* the plan, as the specification has it, and an instance's part of it */
	const void *payload, *instance;
	size_t payload_len, instance_len;
};

/* Forks it.  Without one everything goes on, slower. */
void spawner_begin(struct spawner *, const struct plan_table *, const sigset_t *mask, const char *dir);
void spawner_end(struct spawner *);
/* Makes a child that runs birth_run() with these two descriptors, which stay the caller's.  False: not this way. */
bool spawner_make(struct spawner *, const struct spawner_order *, int control, int log, pid_t *, int *pidfd);

#endif
