/* SPDX-License-Identifier: ISC */
/*
 * orphans.h: the children of this process that nobody knows: what workers left behind when they died.  They are killed
 * and reaped; never a child that is known, and never one that this process had before it began to look.
 */
#ifndef STASHD_ORPHANS_H
#define STASHD_ORPHANS_H

#include <sys/types.h>

struct orphans {
	pid_t *before; /* children that were there at the beginning, sorted */
	int nbefore;
};

int orphans_begin(struct orphans *); /* STASH_E_NOMEM, _SYSTEM */
/* Kills and reaps the unknown ones.  known: sorted.  Returns how many are still there (a killed one goes at one of the
 * next calls), or an error. */
int orphans_end_unknown(struct orphans *, const pid_t *known, int nknown, pid_t also, pid_t and_also);
void orphans_free(struct orphans *);

#endif
