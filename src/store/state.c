/* SPDX-License-Identifier: ISC */
/*
 * state.c: storing a worker's state, its history, and forgetting it.  An image that is too large for one row is cut
 * into rows of one page each, since LMDB has to search its free list for every longer run of pages.  A stored state is
 * replaced only by one with a higher entry number.
 */
#include <string.h>

#include <stash/error.h>

#include "base/error.h"
#include "store/env.h"

#define STEP_ROWS 1000 /* deleted in one transaction, at most; more would leave a free list that slows all later ones */

/* What is stored under a key that lacks only the chunk. */
struct stored {
	bool known; /* there is a head; else there may be rows without one */
	uint64_t seq, count;
	uint32_t chunks, history_top;
};

static int
read_stored(struct store_batch *batch, enum store_db db, const struct store_key *prefix, struct stored *stored)
{
	struct store_key key = *prefix;
	struct store_state state;
	struct store_row row;
	int rc;

	memset(stored, 0, sizeof(*stored));
	store_key_add32(&key, 0);
	rc = store_txn_get(batch->txn, batch->store->dbi[db], db, &key, &row);
	if (rc == STASH_E_NOENT)
		return 0;
	if (rc == 0)
		rc = store_head_read(db, &row, &state, &stored->history_top);
	if (rc != 0)
		return rc;
	stored->known = true;
	stored->seq = state.seq;
	stored->count = state.stored;
	stored->chunks = store_state_chunks(&state);
	return 0;
}

/* Rows behind the first `chunks' ones of what is stored there. */
static int
delete_surplus(struct store_batch *batch, enum store_db db, const struct store_key *prefix, uint32_t chunks)
{
	struct store_key from = *prefix;
	uint64_t all = UINT64_MAX;

	store_key_add32(&from, chunks + 1);
	return store_batch_delete(batch, db, &from, prefix->len, &all);
}

static int
put_image(struct store_batch *batch, enum store_db db, const struct store_key *prefix, const struct store_state *state,
    uint32_t history_top, const struct stored *old)
{
	uint32_t chunks = store_state_chunks(state);
	unsigned char row[STORE_ROW_MAX];
	struct store_key key = *prefix;
	size_t at = 0, len = store_head_write(row + STORE_ROW_HEAD, state, history_top);
	int rc;

	store_key_add32(&key, 0);
	rc = store_batch_put(batch, db, &key, state->seq, row, len);
	for (uint32_t chunk = 1; rc == 0 && chunk <= chunks; chunk++, at += len) {
		len = state->len - at < STORE_VALUE_MAX ? state->len - at : STORE_VALUE_MAX;
		memcpy(row + STORE_ROW_HEAD, (const unsigned char *)state->data + at, len);
		key.len = prefix->len;
		store_key_add32(&key, chunk);
		rc = store_batch_put(batch, db, &key, state->seq, row, len);
	}
	if (rc == 0 && (!old->known || old->chunks > chunks))
		rc = delete_surplus(batch, db, prefix, chunks);
	return rc;
}

/*
 * After history_n was made smaller: the places from it on are emptied, each when what stands there is no longer among
 * the newest history_n, whole ones, until enough was deleted for this transaction.  *top: places that may be in use.
 */
static int
trim_history(
    struct store_batch *batch, const struct store_key *name, uint64_t stored, uint32_t history_n, uint32_t *top)
{
	struct store_key place;
	struct stored old;
	uint64_t left, deleted = 0;
	int rc = 0;

	while (rc == 0 && *top > history_n && deleted < STEP_ROWS) {
		place = *name;
		store_key_add32(&place, *top - 1);
		if (read_stored(batch, STORE_DB_HISTORY, &place, &old) == 0 && old.known &&
		    old.count + history_n > stored)
			break;
		left = UINT64_MAX;
		rc = store_batch_delete(batch, STORE_DB_HISTORY, &place, place.len, &left);
		deleted += UINT64_MAX - left;
		(*top)--;
	}
	return rc;
}

static int
put_history(
    struct store_batch *batch, const struct store_key *name, const struct store_state *state, uint32_t history_n)
{
	struct store_key place = *name;
	struct stored old;

	store_key_add32(&place, (uint32_t)(state->stored % history_n));
	/* What can't be read is as good as gone here: it is about to be replaced anyway. */
	if (read_stored(batch, STORE_DB_HISTORY, &place, &old) != 0)
		memset(&old, 0, sizeof(old));
	return put_image(batch, STORE_DB_HISTORY, &place, state, 0, &old);
}

static int
check_state(const struct store_state *state, uint32_t history_n)
{
	if (state->len > STASH_STATE_MAX)
		return stash__fail(
		    STASH_E_TOOBIG, "state of %s: %zu bytes, %d are allowed", state->name, state->len, STASH_STATE_MAX);
	if (state->extra_len > STORE_EXTRA_MAX)
		return stash__fail(STASH_E_TOOBIG, "state of %s: %zu bytes of extra, %u are allowed", state->name,
		    state->extra_len, STORE_EXTRA_MAX);
	if (history_n > STORE_HISTORY_MAX)
		return stash__fail(STASH_E_INVAL, "state of %s: a history of %u, %u are allowed", state->name,
		    history_n, STORE_HISTORY_MAX);
	if (memchr(state->layout, '\0', sizeof(state->layout)) == NULL || (state->data == NULL && state->len > 0) ||
	    (state->extra == NULL && state->extra_len > 0))
		return stash__fail(
		    STASH_E_INVAL, "state of %s: its layout's name has no end, or data is NULL", state->name);
	return 0;
}

int
store_put_state(struct store_batch *batch, const struct store_state *given, uint32_t history_n)
{
	struct store_state state = *given;
	struct store_key name;
	struct stored old;
	uint32_t top;
	int rc = store_batch_check(batch);

	if (rc == 0)
		rc = store_key_name(&name, state.name);
	if (rc == 0)
		rc = check_state(&state, history_n);
	if (rc == 0)
		rc = read_stored(batch, STORE_DB_STATE, &name, &old);
	if (rc != 0)
		return rc;
	if (old.known && old.seq >= state.seq)
		return old.seq == state.seq ? STORE_PUT_SAME : STORE_PUT_OLD;
	state.stored = old.count + 1;
	top = old.history_top;
	rc = trim_history(batch, &name, state.stored, history_n, &top);
	if (top < history_n)
		top = history_n;
	if (rc == 0)
		rc = put_image(batch, STORE_DB_STATE, &name, &state, top, &old);
	if (rc == 0 && history_n > 0)
		rc = put_history(batch, &name, &state, history_n);
	return rc;
}

int
store_del_state(struct store_batch *batch, const char *name)
{
	/* The state goes last: as long as it is there, what is left of the rest can be found. */
	static const enum store_db order[] = { STORE_DB_HISTORY, STORE_DB_CURSOR, STORE_DB_STATE };
	uint64_t budget = STEP_ROWS;
	struct store_key prefix;
	int rc = store_batch_check(batch);

	if (rc == 0)
		rc = store_key_name(&prefix, name);
	for (size_t i = 0; rc == 0 && i < sizeof(order) / sizeof(order[0]); i++)
		rc = store_batch_delete(batch, order[i], &prefix, prefix.len, &budget);
	return rc;
}
