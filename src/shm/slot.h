/* SPDX-License-Identifier: ISC */
/*
 * slot.h: a worker's slot, both halves: how they are made, mapped, written and read.
 * Out (written by the worker): entry ring and black box.  In (written by the stash): two bases, of which base_now
 * selects one.  Files grow in place and never shrink.
 */
#ifndef STASH_SHM_SLOT_H
#define STASH_SHM_SLOT_H

#include <stdbool.h>
#include <stddef.h>

#include "shm/format.h"

/* Who made a slot: in the header of both halves. */
struct stash__origin {
	uint8_t boot_id[STASH__ID];
	uint8_t store_id[STASH__ID];
};

struct stash__out {
	int fd;
	bool writable;
	struct stash__out_page *page;
	struct stash__box *box;
	unsigned char *ring; /* mapped twice in a row */
	uint64_t ring_word, ring_bytes;
};

struct stash__in {
	int fd;
	bool writable;
	struct stash__in_page *page; /* the whole file */
	uint64_t bytes;
};

/* Make, by the stash: files allocated in full and filled before they get their names.  *fd is open for writing. */
int stash__out_make(int dirfd, const char *file, const struct stash__origin *, uint64_t ring_bytes, int *fd);
int stash__in_make(
    int dirfd, const char *file, const struct stash__origin *, uint32_t rows, uint64_t image_bytes, int *fd);
int stash__bell_page_make(int dirfd, const char *file, int *fd);
int stash__status_page_make(int dirfd, const char *file, const struct stash__origin *, int *fd);

/* Map: checks magic, format, origin (NULL: any) and every offset against the file's size.  STASH_E_FORMAT,
 * STASH_E_CORRUPT.  fd is borrowed and must stay open as long as the map is to follow a growing file (the
 * worker's own: until unmap). */
int stash__out_map(struct stash__out *, int fd, bool writable, const struct stash__origin *);
int stash__in_map(struct stash__in *, int fd, bool writable, const struct stash__origin *);
/* The same in two steps, for whoever has to do with a half that may be damaged: page and black box, whatever stands
 * there; then the ring.  A worker does the second when the stash has retired its predecessor, and mended that. */
int stash__out_map_page(struct stash__out *, int fd, bool writable);
int stash__out_map_ring(struct stash__out *);
void stash__out_unmap(struct stash__out *);
void stash__in_unmap(struct stash__in *);
/* Whatever stands in its header.  NULL: an error. */
struct stash__bell_page *stash__bell_page_map(int fd, bool writable);
void stash__bell_page_unmap(struct stash__bell_page *);
struct stash__status_page *stash__status_page_map(int fd, bool writable);
void stash__status_page_unmap(struct stash__status_page *);
/* Follows the other side's growth: maps anew if the ring has moved, or if the in half has grown. */
int stash__out_follow(struct stash__out *);
int stash__in_follow(struct stash__in *);

/* Grow, by the stash: only the file of the out half (its worker moves the ring by stash__out_move); of the in half the
 * idle base's place.  Capacities never fall. */
int stash__out_grow(int fd, uint64_t ring_bytes, const char *what);
int stash__in_grow(struct stash__in *, uint32_t rows, uint64_t image_bytes);
/* By the worker, while its ring is empty: takes the largest ring that the grown file has behind the old one. */
int stash__out_move(struct stash__out *);

/* ---- entries ---- */
/* Of one with so many positions and bytes behind them: records and image. */
uint64_t stash__entry_bytes(uint32_t npositions, uint64_t payload);
/* Worker: writes an entry at the tail, its checksum last, then moves the tail.  head->bytes, checksum are
 * filled in here.  The caller has seen to the room. */
void stash__entry_submit(struct stash__out *, struct stash__entry *head, const struct stash__position *,
    const void *records, const void *image);
uint64_t stash__entry_room(const struct stash__out *, uint64_t out_head); /* bytes */

/* An entry as the stash sees it: head and positions copied, the image where it stands (its checksum was right a
 * moment ago). */
struct stash__entry_view {
	struct stash__entry head;
	const struct stash__position *positions; /* in place: copy before use */
	const unsigned char *records;
	const unsigned char *image;
};
/* Stash: the entry at `head', which is before `tail'.  0, or STASH_E_CORRUPT when length, place, or checksum are wrong.
 * number, incarnation, stamp and positions are the caller's to judge. */
int stash__entry_view(const struct stash__out *, uint64_t head, uint64_t tail, struct stash__entry_view *);

/* ---- bases ---- */
static inline const struct stash__row *
stash__base_rows(const struct stash__base *b)
{
	return (const struct stash__row *)(b + 1);
}

static inline const unsigned char *
stash__base_records(const struct stash__base *b)
{
	return (const unsigned char *)(stash__base_rows(b) + b->nrows);
}

static inline const unsigned char *
stash__base_image(const struct stash__base *b)
{
	return stash__base_records(b) + b->records_bytes;
}

/* Of one with so many rows and bytes behind them: records and image. */
uint64_t stash__base_bytes(uint32_t nrows, uint64_t payload);
/* Stash: writes head, rows, records and image into the base that base_now doesn't select; turn and checksum are
 * filled in here. STASH_E_TOOBIG if it doesn't fit: grow first.  stash__base_turn() selects it. */
int stash__base_write(
    struct stash__in *, struct stash__base *head, const struct stash__row *, const void *records, const void *image);
void stash__base_turn(struct stash__in *);
/* Anyone: a copy of the current base in one allocation, to be freed by free(); never torn.  STASH_E_CORRUPT,
 * STASH_E_NOMEM. */
int stash__base_copy(struct stash__in *, struct stash__base **);
/* The same of the one that the last turn has left behind.  STASH_E_NOENT: it isn't whole, or there was none. */
int stash__base_copy_former(struct stash__in *, struct stash__base **);

/* ---- records (record_list.c): one behind the other ---- */
/* The record at *at, copied out and checked against the end: 1, with tag and data in place and *at moved; 0: the end;
 * STASH_E_CORRUPT. */
int stash__record_next(const unsigned char **at, const unsigned char *end, struct stash__record *, const char **tag,
    const unsigned char **data);
uint64_t stash__record_bytes(size_t tag_len, size_t len);
/* Writes one; there is room for stash__record_bytes().  bytes, tag_len and len are filled in. */
void stash__record_put(unsigned char *at, struct stash__record *, const char *tag, const void *data, size_t len);

/* ---- file names in the slot directory ---- */
enum { STASH__SLOT_FILE_MAX = STASH_NAME_MAX + 8 };
void stash__slot_file(char file[STASH__SLOT_FILE_MAX], const char *name, const char *half /* "out", "in", "bell" */);
/* The other way; false: the file is no such half, or what is before its end is no name. */
bool stash__slot_name(char name[STASH_NAME_MAX + 1], const char *file, const char *half);
/* Whether that descriptor was opened by this name; false also where that can't be told. */
bool stash__slot_file_is(int fd, const char *name, const char *half);

#endif
