/* SPDX-License-Identifier: ISC */
/*
 * ways.h: channels from worker to worker (ways.c): of a worker's name, over all its incarnations.
 */
#ifndef STASHD_WAYS_H
#define STASHD_WAYS_H

#include <bsd/sys/queue.h>
#include <stdbool.h>

#include "shm/format.h"

struct channel;
struct life;
struct server;
struct worker;

struct worker_way {
	LIST_ENTRY(worker_way) of_worker;
	struct worker *from;
	struct channel *channel; /* at the other end; NULL: it is over there */
	uint8_t id[STASH__ID];
	bool ready;			/* both rows are made */
	char asked[STASH_NAME_MAX + 1]; /* as it was asked for; "": nobody waits */
};

/* A worker asks for one: answered by WAY_TO, now or later. */
void ways_ask(struct life *, const char *name);
/* To an incarnation that was just let go: all that the name has. */
void ways_tell_all(struct life *);
void ways_over(struct life *, const uint8_t id[STASH__ID]);
void ways_placed(struct channel *, int error, const char *text);
void ways_channel_gone(struct channel *);
/* No incarnation of it will ever come. */
void ways_owner_gone(struct worker *);
/* Those that an earlier supervisor has made; of names that nobody has, they are deleted. */
int ways_find(struct server *);
void ways_free(struct worker *);

#endif
