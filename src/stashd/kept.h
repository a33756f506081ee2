/* SPDX-License-Identifier: ISC */
/*
 * kept.h: the children and channels that the keeper has of the last supervisor, and what they are to this one's tree.
 * None of them may be lost: who can't be adopted for want of memory ends this supervisor, and the next one tries.
 */
#ifndef STASHD_KEPT_H
#define STASHD_KEPT_H

#include "stashd/server.h"

/* What it is is known when the tree is there. */
struct kept {
	STAILQ_ENTRY(kept) link;
	pid_t pid;
	int fds[LIFE_FDS], nfds;
	char key[];
};
STAILQ_HEAD(kept_list, kept);

/* The descriptors that it takes are -1 afterwards. */
void kept_add(struct kept_list *, const char *key, pid_t, int *fds, int nfds);
void kept_free(struct kept_list *);
void kept_adopt(struct server *, struct kept_list *);
/* The rows make no tree: nothing that runs can be trusted to belong to one. */
void kept_kill(struct server *, struct kept_list *);
/* What a worker's adopted processes are to the machine. */
void kept_place(struct worker *);
/* A child that should have a process, and has none; or one that is further than is known. */
void kept_tell_missing(struct server *, const struct sup_node *, const struct worker *);

#endif
