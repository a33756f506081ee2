/* SPDX-License-Identifier: ISC */
/*
 * modes.h: what directories and files must be like before stashd trusts them, and what is opened for users whom the
 * config lets in.  Nothing that isn't ours is followed, changed or removed.
 */
#ifndef STASHD_MODES_H
#define STASHD_MODES_H

#include "stashd/access.h"

/* path itself is a directory, no link to one; ours or root's; nobody else may write there.  STASH_E_ACCES. */
int modes_check_dir(const char *path);
/* The same of a store's directory, which must be there, and of the files in it that stashd opens by name. */
int modes_check_store(const char *dir);
/* The same of a run directory with all that is in it. */
int modes_check_run(const char *run_dir);

/*
 * Gives both directories the modes that the rules need, and takes back what they need no more: others may get through,
 * find stash.info and connect; readers may read slots, those too that are made later (shm/map.c).  The checks come
 * first.  Says in the log if a directory above keeps them out.
 */
int modes_share(const char *dir, const char *run_dir, const struct access_rules *);

#endif
