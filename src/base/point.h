/* SPDX-License-Identifier: ISC */
/*
 * Places at which a test may kill the process. Without STASH_POINTS they are
 * nothing: no code, no string. With it, the process dies by SIGKILL at the n-th
 * passing of the point that $STASH_CRASH names:
 *
 *	STASH_CRASH=NAME:N[:PROCESS]	PROCESS: worker, stash, supervisor, keeper,
 *					client, or a worker's name
 *	STASH_CRASH_DIR=DIR		once in all: the first to die makes the file
 *					DIR/fired, and who finds it lives
 */
#ifndef BASE_POINT_H
#define BASE_POINT_H

#ifdef STASH_POINTS

#define STASH_POINT(name) stash__point(name)

void stash__point(const char *point);

/* Which process this is, to be called right after fork; the passings count anew. name: a worker's, else NULL. Until
 * then it is a "client". kind: static; name: copied. */
void stash__point_process(const char *kind, const char *name);

#else

#define STASH_POINT(name) ((void)0)
#define stash__point_process(kind, name) ((void)0)

#endif

#endif
