/* SPDX-License-Identifier: ISC */
/*
 * stash.info, the text file in a store's directory by which everything else is
 * found: the store's format, its id, the run directory. It is there before
 * anything else is, and always whole: temporary file, fsync, then link or
 * rename. It never opens a store and never looks into one.
 */
#ifndef BASE_INFO_H
#define BASE_INFO_H

#include <limits.h>
#include <stdint.h>

#define STASH__INFO_FORMAT 1u /* the format of a store that this version makes, and the only one that it knows */
#define STASH__STORE_ID_LEN 16
#define STASH__STORE_ID_TEXT 33 /* in hex, with the NUL */

struct stash__info {
	uint32_t format;
	uint8_t id[STASH__STORE_ID_LEN];    /* random, made with the store */
	char id_text[STASH__STORE_ID_TEXT]; /* the same in hex */
	char run_dir[PATH_MAX];		    /* absolute */
};

/* Fills in what belongs to a new store: format and a random id. run_dir is left empty. 0 or STASH_E_SYSTEM. */
int stash__info_new(struct stash__info *info);

/*
 * Makes the file; never overwrites one: STASH_E_EXIST. The directory has to be there. 0, STASH_E_INVAL: run_dir isn't
 * an absolute path of printable UTF-8; STASH_E_FULL: no room on the file system.
 */
int stash__info_create(const char *dir, const struct stash__info *info);
/* Replaces it as a whole. */
int stash__info_replace(const char *dir, const struct stash__info *info);
/* STASH_E_NOENT: there is none; STASH_E_FORMAT: it can't be parsed, or another format (info->format is set then). */
int stash__info_read(const char *dir, struct stash__info *info);

#endif
