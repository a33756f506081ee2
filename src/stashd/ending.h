/* SPDX-License-Identifier: ISC */
/*
 * ending.h: how a supervisor ends when its tree has: last answers, the stash's last commit, then nothing is left.
 */
#ifndef STASHD_ENDING_H
#define STASHD_ENDING_H

#include <stdbool.h>

struct server;

/* Begins it; the loop is broken when it is through. */
void ending_begin(struct server *);
/* The stash process has died in it: whether another one has to go on with what this one was asked. */
bool ending_needs_stash(void);
/* Doesn't wait for the stash any longer. */
void ending_hurry(struct server *, const char *who);
bool ending_done(const struct server *);

#endif
