/* SPDX-License-Identifier: ISC */
/*
 * rundir.h: the run directory of a store: where slots and socket are, on tmpfs if there is one.
 */
#ifndef STASHD_RUNDIR_H
#define STASHD_RUNDIR_H

#include <limits.h>
#include <stdbool.h>

#include "base/info.h"

/*
 * Chooses and makes the run directory of the store in dir, and writes it into its stash.info, which is made if there is
 * none.  asked: NULL, or where it is to be.  While the one that is noted there has slots, it stays: they hold what was
 * acknowledged.  On return info->run_dir is there, with its slot directory, and is this user's alone.
 */
int rundir_prepare(const char *dir, const char *asked, struct stash__info *info);
/* Makes what isn't there of it. */
int rundir_make(const char *run_dir);
/* Removes it, unless something stands in its slot directory. */
void rundir_clean(const char *run_dir);

/* The bases to try, in order: the first on tmpfs that can be had, else the first that can be had at all. */
int rundir_base(char base[PATH_MAX]);
/* Whether something stands in its slot directory. */
bool rundir_has_slots(const char *run_dir);

#endif
