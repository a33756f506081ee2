/* SPDX-License-Identifier: ISC */
/*
 * The inside of stash_buf, so that it can be embedded and used again: it packs
 * all internal messages and rows. And two readers more for stash_view, which
 * check what they read. Format and rules are those of <stash/buf.h>.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include <stash/buf.h>

/* What an internal buffer may hold at most: some state images in one message. */
#define STASH__BUF_MAX ((size_t)64 << 20)

struct stash_buf {
	unsigned char *data; /* room bytes; a NUL at data[len] */
	size_t len, room;
	size_t limit; /* STASH_E_TOOBIG above it */
	int error;    /* sticks */
};

/* An empty buffer, without memory yet; to be freed by stash__buf_fini(). limit: bytes, <= STASH__BUF_MAX. */
void stash__buf_init(struct stash_buf *buf, size_t limit);

/* Empty again, error forgotten, memory kept. */
void stash__buf_reset(struct stash_buf *buf);

/* Frees the memory; the struct may be initialised again. */
void stash__buf_fini(struct stash_buf *buf);

/* Room for len bytes at the end, which the caller fills; good until the next add.  NULL: the error sticks. */
void *stash__buf_extend(struct stash_buf *buf, size_t len);

/* The next len bytes, bare, as stash_buf_add() wrote them; NULL after an error. */
const void *stash__view_take(struct stash_view *view, size_t len);

/* The next number; one that isn't within min..max is an error, which sticks, and gives min. */
int64_t stash__view_range(struct stash_view *view, int64_t min, int64_t max);

#endif
