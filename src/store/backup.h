/* SPDX-License-Identifier: ISC */
/*
 * backup.h: backups of a store: a copy of the database and, beside it, a small text file that says of which store and
 * when, how long it is and what its checksum is.  The text file gets its name last, so a backup that has one is whole.
 * Any number of them stand in one directory, named by their time; the store's directory has a list of those made of
 * it, so that whoever finds the store damaged can name the newest.
 */
#ifndef STASH_STORE_BACKUP_H
#define STASH_STORE_BACKUP_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/info.h"
#include "store/store.h"

#define STORE_BACKUP_TIME 32	    /* bytes of a time as text: 2026-11-30T02:34:00.123Z */
#define STORE_BACKUP_SUM 33	    /* of a checksum: XXH3-128 in hex, and a NUL */
#define STORE_BACKUP_LIST "backups" /* the list's name in the store's directory */
#define STORE_ADVICE_MAX 512

/* A backup, as its text file has it. */
struct store_backup {
	char path[PATH_MAX]; /* of the database, absolute */
	bool has_info;	     /* false: the file stands alone: what follows isn't known but for the size */
	uint32_t format;
	uint8_t id[STORE_ID_LEN];
	char id_text[STASH__STORE_ID_TEXT];
	int64_t made_ns; /* CLOCK_REALTIME */
	char made[STORE_BACKUP_TIME];
	char version[32]; /* of the program that made it */
	uint64_t bytes;
	char checksum[STORE_BACKUP_SUM];
	uint64_t txn, states; /* the last transaction; states, history included */
};

/* ---- making one (backup.c) ---- */

/* One that is being made. */
struct store_backup_file {
	char dir[PATH_MAX];
	char temporary[PATH_MAX + 40];
	int fd;
};

/*
 * Makes a file in to_dir, for a copy to be written to file->fd.  STASH_E_INVAL: to_dir is the store's own directory;
 * else ended by _finish() or _abort().
 */
int store_backup_begin(struct store_backup_file *file, const char *dir, const char *to_dir);
/*
 * Looks at all of it, in a child; then it is synced, gets its name, and its text file.  STASH_E_CORRUPT: the copy is
 * damaged, so the store is: nothing is kept.  options: as for store_validate(); may be NULL.
 */
int store_backup_finish(struct store_backup_file *file, const uint8_t id[STORE_ID_LEN], const struct store_options *,
    struct store_backup *backup);
void store_backup_abort(struct store_backup_file *file);
/* The database of a store that nobody has open, copied to fd: under the lock of store.lock, shared at least. */
int store_backup_copy_file(const char *dir, int fd);

/* ---- reading them (backup_info.c) ---- */

/* A path to what this process has open, for the child that looks at it and keeps no descriptor; path is returned. */
#define STORE_FD_PATH 48
const char *store_fd_path(int fd, char path[STORE_FD_PATH]);
/*
 * path: of a backup's database or of its text file, or of a directory: the newest one in there (id: of that store;
 * NULL: of any).  STASH_E_NOENT: there is none; STASH_E_FORMAT: the text file can't be parsed, or another format.
 */
int store_backup_read(const char *path, const uint8_t *id, struct store_backup *backup);
/* Whether a path is that of a store's own database, which changes while somebody uses it; dir: the store's directory,
 * resolved. */
bool store_backup_is_database(const char *path, char dir[PATH_MAX]);
/*
 * Whether it is as it was made: size, checksum; then all of it in a child, which tells the id of one without a text
 * file.  STASH_E_CORRUPT.  report may be NULL.
 */
int store_backup_verify(struct store_backup *backup, const struct store_options *, struct store_report *report);
/* Writes its text file, for good; with it the backup is there. */
int store_backup_write_info(const struct store_backup *backup);
/* The checksum of a file from its beginning; reads it, maps nothing. */
int store_backup_sum(int fd, const char *what, char text[STORE_BACKUP_SUM]);

/* ---- the list (backup_list.c) ---- */

/* Notes one in dir's list.  A list that can't be read isn't replaced. */
int store_backup_note(const char *dir, const struct store_backup *backup);
/*
 * Calls fn for those in the list whose files are there and of this store, the newest first, until it returns other
 * than 0, which is returned.  Nothing of them is verified.  An error: the list can't be read; without one there are no
 * backups, and 0 is returned.
 */
int store_backup_each(
    const char *dir, const uint8_t id[STORE_ID_LEN], int (*fn)(void *arg, const struct store_backup *), void *arg);
/* What to do about a damaged store in dir, in a sentence or two, the newest backup in it, or why none can be
 * named.  Returns text. */
const char *store_backup_advice(const char *dir, char text[STORE_ADVICE_MAX]);

/* ---- restoring (restore.c) ---- */

/* What is done with the slots of this boot that know of more than the backup. */
enum store_slots { STORE_SLOTS_NONE = 0 /* there are none */, STORE_SLOTS_KEEP = 1, STORE_SLOTS_DISCARD = 2 };

/*
 * Installs a backup in dir, whose locks the caller has; verified before.  What is there is kept as *aside, in the same
 * directory ("": there was nothing).  At no moment is there no database.  backup NULL: nothing is installed, the next
 * start makes an empty one.
 */
int store_restore(const char *dir, const struct store_backup *backup, bool damaged, char aside[64]);

#endif
