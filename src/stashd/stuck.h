/* SPDX-License-Identifier: ISC */
/*
 * stuck.h: callbacks that take longer than handler_timeout: found by the black box, noted, then killed.
 */
#ifndef STASHD_STUCK_H
#define STASHD_STUCK_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

#include <stash/error.h>

#include "shm/names.h"

struct life;
struct server;
struct worker;

/* What is known of one incarnation. */
struct stuck_watch {
	struct event look;	 /* the next look; of a guilty one, when its grace is over */
	int64_t looked;		 /* CLOCK_MONOTONIC of the last look; 0: there was none */
	struct stash__stuck now; /* what it has in hand, and for how long */
	uint32_t kind;		 /* of that message */
	char tag[STASH_TAG_MAX + 1];
	bool guilty; /* noted: it is dead, or is told to die */
};

/* Begins to look, if its specification has a limit; goes on with what a predecessor has noted of it. */
void stuck_watch(struct life *);
/* Looks no more. */
void stuck_unwatch(struct life *);
/* Of one that is dead: whether it died stuck, still with the message for which it was killed. */
bool stuck_was(struct life *);
/* In words, for its crash report. */
void stuck_describe(const struct life *, char *text, size_t size);
/* Its death is judged: the note goes. */
void stuck_judged(struct life *);
/* A note that a predecessor has left of an incarnation of that worker. */
void stuck_load(struct worker *, const struct stash__stuck *);
/* All that was left is adopted: notes of those that live no more go. */
void stuck_settle(struct server *);

#endif
