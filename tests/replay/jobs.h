/* SPDX-License-Identifier: ISC */
/* Several scenarios at once, each in a process and a directory of its own. */
#ifndef REPLAY_JOBS_H
#define REPLAY_JOBS_H

#include <limits.h>

/* What was built beside this program. */
extern char jobs_stashd[PATH_MAX + 40], jobs_module[PATH_MAX + 40];

/*
 * Carries out the scenarios of n files with real processes, jobs of them at once (0: by the number of processors), and
 * prints what was seen in the order of the files. How many differ, or -1: a file can't be read.
 */
int jobs_run(char *const *files, int n, int jobs);

#endif
