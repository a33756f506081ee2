/* SPDX-License-Identifier: ISC */
/*
 * What restore, keep-slots and discard-slots share: the store while no stashd
 * runs, under its locks, and the slots of this boot.
 */
#ifndef STASHCTL_RESTORE_H
#define STASHCTL_RESTORE_H

#include <limits.h>

#include "base/info.h"
#include "shm/slot.h"
#include "stashctl/ctl.h"
#include "store/backup.h"

struct pidfh;

struct restoring {
	const struct tool *t;
	char dir[PATH_MAX];
	struct pidfh *pid_lock;
	int store_lock;	 /* -1: not had */
	int source_lock; /* of the store whose own database is to be restored; -1: none such */
	bool has_info;	 /* false: there is no store here yet, or its stash.info is lost */
	struct stash__info info;
	struct stash__origin origin;
	bool has_data, damaged; /* of the database that is there */
	char why[600];		/* it is damaged */
	struct store_backup backup;
	unsigned slots;
};

/* ---- offline.c ---- */

/* Takes the locks and reads what is there. 0, or the exit status of a failure, which it has told. */
int ctl_offline_begin(struct restoring *r, const struct tool *t);
void ctl_offline_end(struct restoring *r);
/* Asks on a terminal, and wants --yes elsewhere: 0: yes; else the exit status. */
int ctl_offline_confirm(const struct restoring *r, const char *question);

/* ---- slots.c ---- */

/* The command that brings discarded slots back. */
void ctl_tell_slots_back(FILE *out, const char *aside, const char *run_dir);

/* ---- leftover.c ---- */

/* Tell which processes still own a slot, and end them, which the slots' discarding needs. 0 or STASH_E_*. */
int ctl_leftovers_show(struct restoring *r);
int ctl_leftovers_end(struct restoring *r);

/* ---- compare.c ---- */

/* Says which states become older, or are gone, when the backup takes the store's place; with_slots: over it comes what
 * the slots hold, else they are discarded. 0 or STASH_E_*. */
int ctl_compare(const struct restoring *r, bool with_slots);

#endif
