/* SPDX-License-Identifier: ISC */
/*
 * files.h: how many descriptors are given out, and to whom no more is given, so that there are always some left for
 * what must not fail: restarts, a takeover, and somebody who comes to put things right.
 *
 * What is there already has a claim to what it may need, whether it runs at the moment or not: a worker that is being
 * restarted, or was terminated, finds its descriptors when it comes back.  So a new child or channel is refused before
 * the limit, with a sentence, instead of something old that fails at it.
 *
 *	0 ............................. limit - FILES_SPARE - FILES_VISITS ....... limit - FILES_SPARE ....... limit
 *	  workers, channels, clients                                     clients only             being made, taken over
 */
#ifndef STASHD_FILES_H
#define STASHD_FILES_H

#include <stdbool.h>

struct server;
struct sup_spec;

/* What one of them keeps open here; the keeper has no more of any. */
enum {
	FILES_WORKER = 3, /* control socket, pidfd, output */
	FILES_PROGRAM =
	    4, /* besides, if it knows nothing of libstash: its slot's two halves, its bell, notifications */
	FILES_CHANNEL = 2, /* memfd, bell */
	FILES_CLIENT = 3   /* socket, pidfd, bell */
};
/* The supervisor's own; for what is just being made; for clients beyond all workers and channels. */
enum { FILES_OWN = 96, FILES_SPARE = 64, FILES_VISITS = 48 };

struct files {
	unsigned limit;	  /* of descriptors */
	unsigned workers; /* names that have a claim, */
	unsigned claimed; /* and to how many */
	unsigned lives;	  /* processes, dying ones too */
	unsigned channels, clients;
	bool told; /* that they are used up, since they last weren't */
};

void files_begin(struct server *);
/* Whether there is room for one more, or for so many; STASH_E_BUSY and a sentence. */
int files_for_workers(struct server *, unsigned more);
int files_for_channel(struct server *);
bool files_for_client(const struct server *);
/* Whether a process may be made beside its predecessor that isn't retired yet. */
bool files_for_both(const struct server *);
/* Workers in a specification. */
unsigned files_workers_of(const struct sup_spec *);

#endif
