/* SPDX-License-Identifier: ISC */
/*
 * process.h: the stash process: the only writer of the store.  It folds the entries of all slots into their bases,
 * commits what has changed in one transaction, gives the verdict on a dead worker's last message, and answers the
 * supervisor (STASH__S_* of shm/wire.h).  No user code runs in it.
 */
#ifndef STASH_STASH_PROCESS_H
#define STASH_STASH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#define STASH__FOLD_INTERVAL_NS INT64_C(2000000)   /* how often slots with traffic are looked at */
#define STASH__COMMIT_INTERVAL_NS INT64_C(5000000) /* the shortest distance of two commits that nobody waits for */

struct stash__stash_options {
	const char *dir;	    /* the store's; it has a stash.info */
	const char *run_dir;	    /* of slots and status page; it is there */
	uint64_t quota_bytes;	    /* of the store; 0: its default */
	uint64_t map_bytes;	    /* 0: the default; else for tests */
	int64_t fold_interval_ns;   /* 0: the default above */
	int64_t commit_interval_ns; /* 0: the default above; negative: no distance */
	uint64_t deaths;	    /* of stash processes so far, for the status page */
	int control;		    /* SEQPACKET to the supervisor */
	int bell; /* > 0: what HELLO of an earlier stash process gave: workers go on ringing it; else one is made */
	bool validate; /* look at all of the store first, whatever it says of its last user */
	int lock_fd; /* > 0: the exclusive lock of the store is the caller's; else it is taken, and held until death */
};

/* How it ended: the exit status. */
enum stash__stash_exit {
	STASH__STASH_DONE = 0,	  /* told to, all is stored */
	STASH__STASH_REFUSED = 1, /* couldn't start: HELLO has said why */
	STASH__STASH_ALONE = 2 /* nobody is left at the control socket's other end: all is stored as far as that went */
};

/*
 * The whole life of the process, in a child that was forked for it and has one thread; returns its exit status.
 * SIGTERM, SIGINT and SIGHUP don't end it.
 */
int stash__stash_main(const struct stash__stash_options *);

#endif
