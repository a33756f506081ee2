/* SPDX-License-Identifier: ISC */
/*
 * exchange.h: the slots of this boot when their store was exchanged, or restored from a backup: a stash process
 * refuses to start over the two, and the operator says which of them is right.  For whoever has the locks of the
 * store, while no stashd runs.
 */
#ifndef STASH_STASH_EXCHANGE_H
#define STASH_STASH_EXCHANGE_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/slot.h"

/*
 * Calls fn for each slot in the run directory that is of this boot and store (base: a copy of its fold; NULL: it can't
 * be read), until it returns other than 0, which is returned.  No run directory: 0.
 */
int stash__exchange_each(const char *run_dir, const struct stash__origin *,
    int (*fn)(void *arg, const char *name, const struct stash__base *base), void *arg);
/* The process that a slot's owner has noted: by its start time, in clock ticks since boot, it is known from another one
 * of that pid; uid: whose the slot is, and so could write it. */
struct stash__slot_owner {
	pid_t pid;
	uid_t uid;
	uint64_t start_time;
};

/* Calls fn for each of these slots that had an owner, until it returns other than 0. */
int stash__exchange_owners(const char *run_dir, const struct stash__origin *,
    int (*fn)(void *arg, const char *name, const struct stash__slot_owner *), void *arg);
/*
 * The slots are right: what they hold counts as not stored, so the next stash process stores it, over what the store
 * has.  To be called before the store is exchanged, too: it never does harm.
 */
int stash__exchange_keep(const char *run_dir, const struct stash__origin *);
/* The store is right: slots, and what goes with them, are moved to *aside, a directory beside the run directory; ""
 * if there was nothing.  Nothing is deleted before the next reboot. */
int stash__exchange_discard(const char *run_dir, char aside[PATH_MAX]);

#endif
