/* SPDX-License-Identifier: ISC */
/*
 * row.h: how keys and values of the store look, byte for byte; pure functions, nothing here knows of LMDB or of files.
 *
 * A key of state, history and cursor begins with its name and a NUL (a name has none), so that rows of one name stand
 * together; fixed-width big-endian parts follow, so that the order of bytes is that of the numbers:
 *	state	 name NUL, chunk (4)
 *	history	 name NUL, place (4), chunk (4)
 *	cursor	 name NUL, channel id (16)
 *	event	 place (8)
 *	registry, tree, schema, meta: the caller's
 * A value, in little-endian numbers, STORE_ROW_MAX bytes at most, so that it takes one page at most:
 *	0	checksum (8): XXH3-64 over the rest, seeded with XXH3-64 over the key, seeded with key length
 *		and database
 *	8	sequence number (8): entry, event, else transaction
 *	16	payload
 * Payload of chunk 0 of a state (its head); chunks 1, 2, ... hold the image if it doesn't fit in behind:
 *	0	version (8)
 *	8	stored (8): count of stored states of this name
 *	16	committed_ns (8)
 *	24	length of the image (8)
 *	32	layout version (4)
 *	36	flags (4)
 *	40	history_top (4): places of the history from here on are empty
 *	44	length of extra (2)
 *	46	length of the layout's name (1)
 *	47	0
 *	48	the layout's name, extra, the image if it fits
 * Payload of a cursor: req_bytes, req_count, rep_bytes, rep_count (8 each), flags, uid (4 each).
 */
#ifndef STASH_STORE_ROW_H
#define STASH_STORE_ROW_H

#include "store/store.h"

#define STORE_ROW_HEAD 16u   /* bytes before the payload */
#define STORE_STATE_HEAD 48u /* bytes of a state's head before the layout's name */
#define STORE_CURSOR_BYTES 40u
#define STORE_HISTORY_MAX 65535u

struct store_key {
	unsigned char bytes[512];
	size_t len;
};

/* A name and its NUL.  STASH_E_INVAL, _TOOBIG: no name. */
int store_key_name(struct store_key *, const char *name);
void store_key_add32(struct store_key *, uint32_t);
void store_key_add64(struct store_key *, uint64_t);
void store_key_add(struct store_key *, const void *, size_t);
/* The big-endian number at the key's end. */
uint32_t store_key_last32(const void *key, size_t klen);
uint64_t store_key_last64(const void *key, size_t klen);
/* Copies the name and gives the length of the prefix, its NUL included; 0: it has none, or what follows is not
 * `rest'. */
size_t store_key_split(const void *key, size_t klen, size_t rest, char name[STASH_NAME_MAX + 1]);
/* A key in words, for messages: "state of sequence, chunk 3".  Returns text. */
const char *store_key_text(enum store_db, const void *key, size_t klen, char *text, size_t size);

/* Fills in checksum and sequence number before the plen bytes of payload at row + STORE_ROW_HEAD. */
void store_value_seal(unsigned char *row, enum store_db, const void *key, size_t klen, uint64_t seq, size_t plen);
/* Verifies a value and takes it apart, in place.  STASH_E_CORRUPT. */
int store_value_open(enum store_db, const void *key, size_t klen, const void *value, size_t vlen, struct store_row *);

/* Rows of image that a state takes besides its head; 0: it is in the head. */
uint32_t store_state_chunks(const struct store_state *);
/* Writes the head's payload, the image too if it fits; returns its length. */
size_t store_head_write(unsigned char *payload, const struct store_state *, uint32_t history_top);
/* Takes a head apart: extra and, if it is in there, data point into the row; name is not set.  STASH_E_CORRUPT. */
int store_head_read(enum store_db, const struct store_row *, struct store_state *, uint32_t *history_top);

size_t store_cursor_write(unsigned char *payload, const struct store_cursor *);

#endif
