/* SPDX-License-Identifier: ISC */
/*
 * rows.h: the supervisor's own slot: how it hands rows of the store to the stash without waiting for the disk.
 * STASH__ROWS_NAME is a file like a slot's out half: each entry of its ring is one batch of rows, stored
 * together or not at all, in order.  STASH__ROWS_IN is like an in half without a base: out_head is how far the
 * rows are on the disk, `durable' the number of the last batch that is.  The stash makes both; the ring outlives
 * the supervisor, and what it left there is committed as if it lived.
 */
#ifndef STASH_SHM_ROWS_H
#define STASH_SHM_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/buf.h>

#include "base/buf.h"
#include "shm/slot.h"

#define STASH__ROWS_IN "supervisor.in"		  /* in the run directory, beside STASH__ROWS_NAME */
#define STASH__ROWS_BYTES (1024u * 1024)	  /* of the ring */
#define STASH__ROWS_BATCH (STASH__ROWS_BYTES / 4) /* what one batch may have, packed */

/* One row.  Databases as in wire.h: STASH__SCAN_REGISTRY, _TREE, _SCHEMA; _EVENT has no key, the store numbers
 * events. */
struct stash__rows_row {
	uint32_t db;
	bool gone; /* deletes the key; the value is empty */
	const void *key, *value;
	size_t key_len, value_len;
};

/* ---- the supervisor's side ---- */

struct stash__rows {
	struct stash__out out;
	struct stash__in in;
	int bell;		/* the stash's; borrowed */
	uint64_t number;	/* of the last batch submitted */
	struct stash_buf batch; /* what was added since */
	size_t good;		/* bytes of the batch up to the last whole row */
};

/* Maps the ring, after HELLO.  Goes on behind what the last supervisor submitted.  STASH_E_NOENT, _FORMAT,
 * _CORRUPT. */
int stash__rows_open(struct stash__rows *, int run_dirfd, const struct stash__origin *, int stash_bell);
/* What wasn't submitted is forgotten. */
void stash__rows_close(struct stash__rows *);
/* Adds a row to the batch: nothing is visible before the submit.  STASH_E_TOOBIG: the batch is full: submit
 * first; a row that is too long for the store: STASH_E_INVAL.  The batch is then as it was before. */
int stash__rows_put(
    struct stash__rows *, uint32_t db, const void *key, size_t key_len, const void *value, size_t value_len);
int stash__rows_del(struct stash__rows *, uint32_t db, const void *key, size_t key_len);
/* Submits the batch: from here on no death of any process loses it.  Never waits.  STASH_E_BUSY: no room in the
 * ring: the stash was rung, the batch stays as it is, try again later.  An empty batch is 0. */
int stash__rows_submit(struct stash__rows *);
/* Bytes of batches that the ring has room for. */
uint64_t stash__rows_room(const struct stash__rows *);
/* Whether all that was submitted is on the disk. */
bool stash__rows_settled(const struct stash__rows *);

/* ---- rows, packed: in a batch, and in the answer to STASH__S_DUMP ---- */

int stash__rows_pack(struct stash_buf *, const struct stash__rows_row *);
/* The next row, in place.  1; 0: the end; STASH_E_FORMAT. */
int stash__rows_next(struct stash_view *, struct stash__rows_row *);

#endif
