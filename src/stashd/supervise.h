/* SPDX-License-Identifier: ISC */
/*
 * supervise.h: the processes round a tree, and the one call that runs them all.
 *
 *   stash_supervise() --- keeper: holds descriptors, is sub-reaper, starts the next supervisor (keeper.c, vault.c)
 *        |  ^
 *        |  | K_ store, fetch, status, reap, beat, over (keeplink.c)
 *        v  |
 *      supervisor: one libevent loop (loop.c) round the pure machine of src/supervisor (turn.c)
 *        |  |  \
 *        |  |   `-- stash.sock: B_ clients and tools (broker.c, peer.c, query.c, mailroom.c)
 *        |  |
 *        |  `------ S_ the stash process: open, retire, channel, scan (stashlink.c)
 *        |
 *        `--------- W_ workers: START, GO, ATTACH, READY (spawn.c, birth.c, workers.c, reap.c)
 *                   their stdout and stderr through a pipe each (output.c)
 *
 * All of these are children of the supervisor, or, when it has died and the next one has taken them over
 * (takeover.c), of the keeper.  The supervisor runs no user code, never waits for the disk or for a client, and
 * can be killed at any instruction: what it knows is in its rows (records.c), in the slots, and with the keeper.
 */
#ifndef STASHD_SUPERVISE_H
#define STASHD_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>

#include <stash/supervisor.h>

#include "base/log.h"
#include "stashd/access.h"

struct sup_ops;

struct stash__supervise_config;

/* What a config file says when it is read again. */
struct stash__reread {
	const struct stash_supervisor_spec *tree;
	const struct stash__supervise_config *config; /* its store's settings */
	char *mistakes;				      /* of STASH_E_SPEC: lines; NULL: the thread's message */
};

/* How supervisors are made of a binary on the disk, when stashctl reexec asks for that. */
struct stash__binary {
	const char *path;	  /* absolute; opened anew each time that it is asked for */
	const char *const *words; /* its arguments, ending with NULL; "--handover=..." is put behind them */
};

/* What stashd's config sets beyond the public options. */
struct stash__supervise_config {
	const char *run_dir;	    /* NULL: chosen by the store's directory */
	uint64_t store_bytes;	    /* quota of the store; 0: 1 GiB */
	struct access_rules access; /* who may use it besides its own user and root */
	uint32_t ack;		    /* enum stash_ack of children that don't say; 0: STASH_ACK_CRASH */
	uint32_t history;	    /* stored states of each worker that doesn't say; 0: none */
	int64_t spin_ns;	    /* how long a side looks before it sleeps; 0: not at all */
	int64_t fold_interval_ns;   /* 0: the stash's default */
	int64_t commit_interval_ns; /* 0: as soon as something has changed and the last commit is over */
	const struct stash_behaviour *const *behaviours; /* what specs name; ends with NULL; or NULL */
	stash__log_fn *log; /* NULL: standard error.  Called in the keeper and in the processes below it */
	void *log_arg;
	/*
	 * Reads the config file again, in a process of its own that ends after it, so that nothing needs to be freed.
	 * 0, STASH_E_SPEC, or why it can't be read.  NULL: there is no file
	 */
	int (*reread)(void *arg, struct stash__reread *);
	void *reread_arg;
	const struct stash__binary *binary; /* NULL: supervisors are forked only */
	int ready;			    /* a socket that is told when the tree is up; 0: none */
	const char *source;		    /* where the tree comes from, for the log; NULL: nothing is said */
	bool last;		   /* the process ends behind it: signals stay blocked, lest a late one ends it first */
	const struct sup_ops *ops; /* what supervisors' inits are; NULL: the specifications as they are */
};

struct pidfh;
/* The lock by which a directory has one stashd: STASH_E_BUSY names who has it.  Given back by pidfile_remove(). */
int supervise_lock(const char *dir, struct pidfh **lock);

/* The public options as settings. */
int supervise_take_options(const struct stash_supervise_options *, struct stash__supervise_config *);

/* All defaults, spin_ns and history too. */
void stash__supervise_defaults(struct stash__supervise_config *);

/* stash_supervise() with these settings; both structs and what they point to are borrowed. */
int stash__supervise(const struct stash_supervisor_spec *, const char *dir, const struct stash__supervise_config *);

/*
 * In a process that a keeper has made by exec (handover.c): the supervisor's whole life; returns its exit status.
 * where: what stood behind "--handover=".  The settings and the tree come from there; of these only log, reread,
 * binary and source count.
 */
int stash__supervise_handed_over(const char *where, const struct stash__supervise_config *);

#endif
