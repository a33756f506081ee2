/* SPDX-License-Identifier: ISC */
/*
 * cursor.c: positions of channels, stored with the state that they go with: only those that moved since they
 * were last stored.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "stash/inside.h"

static int
by_id(const void *a, const void *b)
{
	return memcmp(((const struct stored *)a)->id, ((const struct stored *)b)->id, STASH__ID);
}

/* A worker's own channels to others are files of this boot. */
static bool
is_stored(const struct stash__row *row)
{
	return row->used == STASH__USE_IN;
}

static int
make_room(struct slot *slot, uint32_t n)
{
	struct stored *larger;

	if (n <= slot->nstored)
		return STASH_OK;
	larger = reallocarray(slot->stored, n, sizeof *larger);
	if (larger == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the channels of %s", slot->name);
	memset(larger + slot->nstored, 0, (n - slot->nstored) * sizeof *larger);
	slot->stored = larger;
	slot->nstored = n;
	return STASH_OK;
}

/* What was loaded is in the order of ids: to the places that the channels have here; those without one go behind. */
static int
align(struct slot *slot, const struct stash__row *rows, uint32_t nrows)
{
	uint32_t loaded = slot->nstored, behind = nrows;
	struct stored *found, *all, key;

	if (slot->aligned)
		return STASH_OK;
	all = calloc((size_t)nrows + loaded + 1, sizeof *all);
	if (all == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the channels of %s", slot->name);
	if (loaded > 0)
		qsort(slot->stored, loaded, sizeof *slot->stored, by_id);
	for (uint32_t i = 0; i < nrows && loaded > 0; i++) {
		memcpy(key.id, rows[i].id, STASH__ID);
		found = is_stored(&rows[i]) ? bsearch(&key, slot->stored, loaded, sizeof *slot->stored, by_id) : NULL;
		if (found != NULL) {
			all[i] = *found;
			found->used = false;
		}
	}
	for (uint32_t i = 0; i < loaded; i++)
		if (slot->stored[i].used)
			all[behind++] = slot->stored[i];
	free(slot->stored);
	slot->stored = all;
	slot->nstored = behind;
	slot->aligned = true;
	return STASH_OK;
}

static bool
same(const struct stored *a, const struct stash__row *row)
{
	return a->used && memcmp(a->id, row->id, STASH__ID) == 0;
}

static bool
moved(const struct stored *a, const struct stash__row *row)
{
	return a->req_bytes != row->req_bytes || a->req_count != row->req_count || a->rep_bytes != row->rep_bytes ||
	    a->rep_count != row->rep_count;
}

static int
write_place(struct store_batch *batch, const struct slot *slot, const struct stored *was, const struct stash__row *row,
    uint64_t number)
{
	struct store_cursor c = { .seq = number };
	int result = STASH_OK;

	if (was->used && (row == NULL || !same(was, row)))
		result = store_del_cursor(batch, slot->name, was->id);
	if (result < 0 || row == NULL || (same(was, row) && !moved(was, row)))
		return result;
	memcpy(c.channel, row->id, STASH__ID);
	c.req_bytes = row->req_bytes;
	c.req_count = row->req_count;
	c.rep_bytes = row->rep_bytes;
	c.rep_count = row->rep_count;
	c.uid = row->uid;
	return store_put_cursor(batch, slot->name, &c);
}

int
stash__cursors_write(
    struct store_batch *batch, struct slot *slot, const struct stash__row *rows, uint32_t nrows, uint64_t number)
{
	int result = align(slot, rows, nrows);

	if (result == STASH_OK)
		result = make_room(slot, nrows);
	for (uint32_t i = 0; i < slot->nstored && result >= 0; i++)
		result = write_place(
		    batch, slot, &slot->stored[i], i < nrows && is_stored(&rows[i]) ? &rows[i] : NULL, number);
	return result < 0 ? result : STASH_OK;
}

void
stash__cursors_done(struct slot *slot, const struct stash__row *rows, uint32_t nrows)
{
	for (uint32_t i = 0; i < slot->nstored; i++) {
		struct stored *to = &slot->stored[i];

		memset(to, 0, sizeof *to);
		if (i >= nrows || !is_stored(&rows[i]))
			continue;
		memcpy(to->id, rows[i].id, STASH__ID);
		to->req_bytes = rows[i].req_bytes;
		to->req_count = rows[i].req_count;
		to->rep_bytes = rows[i].rep_bytes;
		to->rep_count = rows[i].rep_count;
		to->used = true;
	}
}
