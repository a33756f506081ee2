/* SPDX-License-Identifier: ISC */
/*
 * read.c: states, history and cursors, read by copy in short transactions.  Whatever is given to a caller's function
 * is given after the transaction has ended: none stays open while someone else's code runs.
 */
#include <stdlib.h>
#include <string.h>

#include <stash/error.h>

#include "base/error.h"
#include "store/env.h"

/* Feeds the rows from `key' on until a state is whole.  STASH_E_NOENT, without a sentence: no head there. */
static int
gather_one(struct store_gather *gather, MDB_txn *txn, MDB_dbi dbi, const struct store_key *key)
{
	MDB_val k = { key->len, (void *)(uintptr_t)key->bytes }, v;
	struct store_row row;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, dbi, &cursor), fed = 0;

	if (rc != 0)
		return store_fail(rc, "%s: can't be read", store_db_name(gather->db));
	rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_KEY);
	while (rc == 0) {
		fed = store_value_open(gather->db, k.mv_data, k.mv_size, v.mv_data, v.mv_size, &row);
		if (fed == 0)
			fed = store_gather_feed(gather, &row);
		if (fed != 0)
			break;
		rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (fed != 0)
		return fed > 0 ? 0 : fed;
	if (rc != MDB_NOTFOUND)
		return store_fail(rc, "%s: can't be read", store_db_name(gather->db));
	return gather->open ? store_gather_end(gather) : STASH_E_NOENT;
}

/* prefix: all of the key but the chunk. */
static int
read_state(struct store *store, enum store_db db, const struct store_key *prefix, bool heads, struct store_state *state)
{
	struct store_key key = *prefix;
	struct store_gather gather = { .db = db, .heads = heads };
	MDB_txn *txn;
	int rc = store_read_begin(store, &txn);

	if (rc != 0)
		return rc;
	store_key_add32(&key, 0);
	rc = gather_one(&gather, txn, store->dbi[db], &key);
	store_read_end(store, txn);
	if (rc == 0)
		*state = gather.state;
	else
		store_state_free(&gather.state);
	return rc;
}

static int
get_state(struct store *store, const char *name, bool heads, struct store_state *state)
{
	struct store_key key;
	int rc = store_key_name(&key, name);

	memset(state, 0, sizeof(*state));
	if (rc == 0)
		rc = read_state(store, STORE_DB_STATE, &key, heads, state);
	if (rc == STASH_E_NOENT)
		stash__fail(rc, "%s: no state is stored under this name", name);
	return rc;
}

int
store_get_state(struct store *store, const char *name, struct store_state *state)
{
	return get_state(store, name, false, state);
}

int
store_get_state_head(struct store *store, const char *name, struct store_state *state)
{
	return get_state(store, name, true, state);
}

/* ---- history ---- */

struct place {
	uint64_t stored;
	uint32_t number;
};

struct places {
	struct place *list;
	size_t count, room;
};

static int
add_place(struct places *places, uint64_t stored, uint32_t number)
{
	size_t room = places->room == 0 ? 32 : places->room * 2;
	struct place *list = places->list;

	if (places->count == places->room) {
		list = reallocarray(places->list, room, sizeof(*list));
		if (list == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for a history");
		places->list = list;
		places->room = room;
	}
	list[places->count++] = (struct place){ .stored = stored, .number = number };
	return 0;
}

/* The place of each whole state in a name's history: head by head, without a look at the rows between them. */
static int
find_places(struct store *store, const struct store_key *name, struct places *places)
{
	struct store_key key = *name;
	struct store_state state;
	struct store_row row;
	MDB_cursor *cursor;
	MDB_val k, v;
	MDB_txn *txn;
	uint32_t top;
	int rc = store_read_begin(store, &txn), bad = 0;

	if (rc != 0)
		return rc;
	rc = mdb_cursor_open(txn, store->dbi[STORE_DB_HISTORY], &cursor);
	if (rc != 0) {
		store_read_end(store, txn);
		return store_fail(rc, "history: can't be read");
	}
	while (bad == 0) {
		k = (MDB_val){ key.len, key.bytes };
		rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
		if (rc != 0 || k.mv_size != name->len + 8 || memcmp(k.mv_data, name->bytes, name->len) != 0)
			break;
		key.len = 0;
		store_key_add(&key, k.mv_data, k.mv_size - 4);
		if (store_key_last32(k.mv_data, k.mv_size) == 0) {
			bad = store_value_open(STORE_DB_HISTORY, k.mv_data, k.mv_size, v.mv_data, v.mv_size, &row);
			if (bad == 0)
				bad = store_head_read(STORE_DB_HISTORY, &row, &state, &top);
			if (bad == 0)
				bad = add_place(places, state.stored, store_key_last32(key.bytes, key.len));
		}
		store_key_add32(&key, UINT32_MAX);
	}
	mdb_cursor_close(cursor);
	store_read_end(store, txn);
	if (bad == 0 && rc != 0 && rc != MDB_NOTFOUND)
		bad = store_fail(rc, "history: can't be read");
	return bad;
}

static int
newest_first(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->stored < y->stored ? 1 : x->stored > y->stored ? -1 : 0;
}

int
store_get_history(
    struct store *store, const char *name, bool heads, int (*fn)(void *arg, const struct store_state *), void *arg)
{
	struct places places = { .list = NULL };
	struct store_state state;
	struct store_key prefix, key;
	int rc = store_key_name(&prefix, name);

	if (rc == 0)
		rc = find_places(store, &prefix, &places);
	if (rc == 0 && places.count > 0)
		qsort(places.list, places.count, sizeof(places.list[0]), newest_first);
	for (size_t i = 0; rc == 0 && i < places.count; i++) {
		key = prefix;
		store_key_add32(&key, places.list[i].number);
		rc = read_state(store, STORE_DB_HISTORY, &key, heads, &state);
		/* Another one may have taken its place since; that one is newer than all that was found. */
		if (rc == STASH_E_NOENT) {
			rc = 0;
			continue;
		}
		if (rc != 0)
			break;
		if (state.stored == places.list[i].stored)
			rc = fn(arg, &state);
		store_state_free(&state);
	}
	free(places.list);
	return rc;
}

/* ---- cursors ---- */

#define CURSORS_AT_ONCE 256

/* A slice of a name's cursors, from the key on; *count of them. */
static int
read_cursors(struct store *store, const struct store_key *prefix, const struct store_key *from,
    struct store_cursor *list, size_t *count)
{
	MDB_val k = { from->len, (void *)(uintptr_t)from->bytes }, v;
	char name[STASH_NAME_MAX + 1];
	struct store_row row;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int rc = store_read_begin(store, &txn), bad = 0;

	*count = 0;
	if (rc != 0)
		return rc;
	rc = mdb_cursor_open(txn, store->dbi[STORE_DB_CURSOR], &cursor);
	if (rc != 0) {
		store_read_end(store, txn);
		return store_fail(rc, "cursor: can't be read");
	}
	rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	while (rc == 0 && *count < CURSORS_AT_ONCE) {
		if (k.mv_size < prefix->len || memcmp(k.mv_data, prefix->bytes, prefix->len) != 0)
			break;
		bad = store_value_open(STORE_DB_CURSOR, k.mv_data, k.mv_size, v.mv_data, v.mv_size, &row);
		if (bad == 0)
			bad = store_row_cursor(&row, name, &list[*count]);
		if (bad != 0)
			break;
		(*count)++;
		rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	store_read_end(store, txn);
	if (bad == 0 && rc != 0 && rc != MDB_NOTFOUND)
		bad = store_fail(rc, "cursor: can't be read");
	return bad;
}

int
store_get_cursors(struct store *store, const char *name, int (*fn)(void *arg, const struct store_cursor *), void *arg)
{
	struct store_cursor list[CURSORS_AT_ONCE];
	struct store_key prefix, from;
	size_t count = CURSORS_AT_ONCE;
	int rc = store_key_name(&prefix, name);

	from = prefix;
	while (rc == 0 && count == CURSORS_AT_ONCE) {
		rc = read_cursors(store, &prefix, &from, list, &count);
		for (size_t i = 0; rc == 0 && i < count; i++)
			rc = fn(arg, &list[i]);
		if (rc != 0 || count == 0)
			break;
		/* The shortest key behind the last one: the same with a byte more. */
		from.len = prefix.len;
		store_key_add(&from, list[count - 1].channel, STORE_CHANNEL_LEN);
		store_key_add(&from, "", 1);
	}
	return rc;
}
