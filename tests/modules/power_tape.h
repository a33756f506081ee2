/* SPDX-License-Identifier: ISC */
/*
 * The tape of a power test: one log in shared memory, in which the processes of a stashd write what they do to the
 * store's directory (power_tape.c, loaded before all else), and clients what they were answered.  A place on it is
 * taken at once for the whole record, so its order is that of cause and effect.
 */
#ifndef TESTS_MODULES_POWER_TAPE_H
#define TESTS_MODULES_POWER_TAPE_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#define TAPE_ENV "STASH_TAPE"		  /* the file */
#define TAPE_DIR_ENV "STASH_TAPE_DIR"	  /* the directory that is recorded */
#define TAPE_BOOT_ENV "STASH_TAPE_BOOT"	  /* a file that stands for /proc/sys/kernel/random/boot_id */
#define TAPE_PLANT_ENV "STASH_TAPE_PLANT" /* set: LMDB is opened with MDB_NOSYNC, unseen */

enum tape_kind {
	TAPE_WRITE = 1,	 /* ino, at, data: begins */
	TAPE_WROTE,	 /* ref: an O_DSYNC write has returned */
	TAPE_SYNC,	 /* ino; at 1: of the directory, 2: of the one above it: begins */
	TAPE_SYNCED,	 /* ref: has returned */
	TAPE_SIZE,	 /* ino, at: the file's new size */
	TAPE_NAME,	 /* ino, data: a name of the directory is that file's */
	TAPE_RENAME,	 /* data: two names, a NUL between them */
	TAPE_GONE,	 /* data: a name */
	TAPE_MADE,	 /* the directory itself */
	TAPE_ANSWER = 64 /* ino: whose, at: a number, data: none: a client was answered */
};

struct tape_record {
	_Atomic uint32_t ready;
	uint32_t kind;
	uint64_t bytes; /* of all of it */
	uint64_t ino, at, ref;
	uint64_t len;
	unsigned char data[];
};

struct tape {
	_Atomic uint64_t tail;	  /* bytes behind this header */
	_Atomic uint64_t trouble; /* records that didn't fit, calls that did less than they were asked for */
	uint64_t room;
	uint64_t pad[5];
	unsigned char records[];
};

/* Its place, or UINT64_MAX. */
static inline uint64_t
tape_add(struct tape *tape, uint32_t kind, uint64_t ino, uint64_t at, uint64_t ref, const void *data, uint64_t len)
{
	uint64_t bytes = (sizeof(struct tape_record) + len + 7) & ~UINT64_C(7);
	uint64_t place = atomic_fetch_add(&tape->tail, bytes);
	struct tape_record *r;

	if (place + bytes > tape->room) {
		atomic_fetch_add(&tape->trouble, 1);
		return UINT64_MAX;
	}
	r = (struct tape_record *)(void *)(tape->records + place);
	r->kind = kind;
	r->bytes = bytes;
	r->ino = ino;
	r->at = at;
	r->ref = ref;
	r->len = len;
	if (len > 0)
		memcpy(r->data, data, len);
	atomic_store(&r->ready, 1);
	return place;
}

#endif
