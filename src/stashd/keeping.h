/* SPDX-License-Identifier: ISC */
/*
 * keeping.h: the inside of the keeper, shared by its files.
 *
 *	keeper.c      its loop: supervisors' lives, signals, orphans      vault.c       what it keeps
 *	keeping.c     what it does for them                               orphans.c     what nobody knows
 *	succession.c  another binary; candidate.c: before it may
 */
#ifndef STASHD_KEEPING_H
#define STASHD_KEEPING_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "stashd/candidate.h"
#include "stashd/keeper.h"
#include "stashd/mail.h"
#include "stashd/orphans.h"
#include "stashd/vault.h"

#define SCAN_SOON_NS STASH__NS_PER_S /* orphans: after something has died */

/* Of what supervisors are made. */
struct code {
	int file; /* -1: this process's own */
	uint64_t generation;
	char version[CANDIDATE_VERSION];
};

struct keeper {
	const struct keeper_job *job;
	struct vault vault;
	struct orphans orphans;
	int signals;
	sigset_t before, taken;
	/* the supervisor; pid 0: none at the moment */
	pid_t pid;
	int pidfd, socket;
	struct code code, before_code; /* of it; and of those before it, as long as it is on trial */
	struct candidate next;
	int64_t yield_at;     /* when the next one goes on, whatever the old one says; 0: it isn't ready */
	int64_t trial_until;  /* 0: none is on trial */
	unsigned unsettled;   /* supervisors in a row that haven't taken over */
	uint64_t generations; /* tried so far */
	uint64_t starts;
	bool begun; /* one of them has: what is stored of a tree is this stashd's */
	int64_t started, last_beat, next_start, delay;
	unsigned passed_on; /* signals for the next supervisor, a bit each */
	unsigned asked;	    /* those of them that ask for the end: each supervisor is told, until one has done it */
	int64_t asked_at;
	unsigned deaths; /* and failed starts, since then */
	bool hurry;	 /* asked again meanwhile */
	int64_t next_scan, scanned, rest, last_turn;
	bool over;
	int64_t over_since;
	int result;
	char text[STASH__ERRMSG_MAX], term[STASH__ERRTERM_MAX];
};

void keeper_pass_on(struct keeper *); /* signals that came for the supervisor */

/* keeping.c: the supervisor's requests */
void keeping_store(struct keeper *, struct mail *);
void keeping_drop(struct keeper *, struct mail *);
void keeping_fetch(struct keeper *);
void keeping_status(struct keeper *, struct mail *);
void keeping_reap(struct keeper *, struct mail *);

/* succession.c */
void succession_begin(struct keeper *);
void succession_end(struct keeper *);
void succession_ask(struct keeper *, struct mail *);
void succession_yield(struct keeper *);
void succession_settled(struct keeper *);
void succession_look(struct keeper *);	    /* at the one that stands by */
void succession_install(struct keeper *);   /* the old supervisor is reaped, and the next one ready */
void succession_fall_back(struct keeper *); /* a supervisor has died; the code of the next one is chosen */
void succession_watch(struct keeper *, int64_t now);

#endif
