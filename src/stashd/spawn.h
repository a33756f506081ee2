/* SPDX-License-Identifier: ISC */
/*
 * spawn.h: making a child process that keeps exactly two descriptors besides standard input, output and error, at a
 * cost that does not grow with the number of descriptors open here.
 *
 * A fork copies the table of descriptors, which takes long when it has thousands.  So the child is made by clone3()
 * with CLONE_FILES: it shares the table, and its first act is close_range(CLOSE_RANGE_UNSHARE), by which it gets a
 * table of its own with what stands below only.  Its two descriptors stand in a bank, a pair of low numbers
 * reserved here, until then: the child says in a page shared by both that it has its own table.
 */
#ifndef STASHD_SPAWN_H
#define STASHD_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct spawn_bank {
	int index; /* -1: none */
	uint32_t token;
};

/* Reserves the banks; once, in the process that is to have children. */
int spawn_setup(void);
void spawn_teardown(void);

/*
 * Makes a child that runs child(arg, first, second), which must not return; both descriptors are taken in any case.
 * copy: by a plain fork, so that this process keeps no copy of them in a bank.  The child has all signals at their
 * default and blocked as here.  0, or an error: there is no child.
 */
int spawn_make(void (*child)(void *arg, int first, int second), void *arg, int first, int second, bool copy,
    struct spawn_bank *, pid_t *, int *pidfd);
/* The child is dead: whatever it did or didn't, its bank is free. */
void spawn_release(struct spawn_bank *);
/* Closes what children have taken out of their banks. */
void spawn_sweep(void);
/* Whether children can be made by clone3(), as far as is known. */
bool spawn_can_clone(void);
/* Closes all descriptors from 3 on but these; sorts them. */
void spawn_close_others(int *keep, int n);

#endif
