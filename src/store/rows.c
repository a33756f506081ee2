/* SPDX-License-Identifier: ISC */
/*
 * rows.c: what a batch does with single rows: puts and deletes under checksum and quota, cursors, the event ring, the
 * rows of registry, tree and schema.
 */
#include <stdlib.h>
#include <string.h>

#include <stash/error.h>

#include "base/error.h"
#include "store/env.h"

int
store_batch_put(struct store_batch *batch, enum store_db db, const struct store_key *key, uint64_t seq,
    unsigned char *row, size_t plen)
{
	MDB_val k = { key->len, (void *)(uintptr_t)key->bytes }, v = { STORE_ROW_HEAD + plen, row };
	char text[400];
	int rc = store_quota_take(batch, db, key->len, v.mv_size);

	if (rc != 0)
		return store_batch_fail(batch, rc);
	store_value_seal(row, db, key->bytes, key->len, seq, plen);
	rc = mdb_put(batch->txn, batch->store->dbi[db], &k, &v, 0);
	if (rc == 0)
		return 0;
	rc = store_fail(rc, "%s: can't be stored", store_key_text(db, key->bytes, key->len, text, sizeof(text)));
	return store_batch_fail(batch, rc);
}

static bool
has_prefix(const MDB_val *k, const struct store_key *from, size_t prefix_len)
{
	return k->mv_size >= prefix_len && memcmp(k->mv_data, from->bytes, prefix_len) == 0;
}

int
store_batch_delete(
    struct store_batch *batch, enum store_db db, const struct store_key *from, size_t prefix_len, uint64_t *budget)
{
	MDB_val k = { from->len, (void *)(uintptr_t)from->bytes }, v;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(batch->txn, batch->store->dbi[db], &cursor);
	bool more = false;

	if (rc != 0)
		return store_batch_fail(batch, store_fail(rc, "%s: can't be read", store_db_name(db)));
	rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	while (rc == 0 && has_prefix(&k, from, prefix_len)) {
		if (*budget == 0) {
			more = true;
			break;
		}
		rc = mdb_cursor_del(cursor, 0);
		if (rc != 0)
			break;
		(*budget)--;
		/* Behind a deletion this is the row that came after it. */
		rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return store_batch_fail(batch, store_fail(rc, "%s: can't be deleted from", store_db_name(db)));
	return more ? 1 : 0;
}

static int
delete_one(struct store_batch *batch, enum store_db db, const struct store_key *key)
{
	MDB_val k = { key->len, (void *)(uintptr_t)key->bytes };
	char text[400];
	int rc = mdb_del(batch->txn, batch->store->dbi[db], &k, NULL);

	if (rc == 0 || rc == MDB_NOTFOUND)
		return 0;
	rc = store_fail(rc, "%s: can't be deleted", store_key_text(db, key->bytes, key->len, text, sizeof(text)));
	return store_batch_fail(batch, rc);
}

/* ---- cursors ---- */

static int
cursor_key(struct store_key *key, const char *name, const uint8_t channel[STORE_CHANNEL_LEN])
{
	int rc = store_key_name(key, name);

	if (rc == 0)
		store_key_add(key, channel, STORE_CHANNEL_LEN);
	return rc;
}

int
store_put_cursor(struct store_batch *batch, const char *name, const struct store_cursor *cursor)
{
	unsigned char row[STORE_ROW_HEAD + STORE_CURSOR_BYTES];
	struct store_key key = { .len = 0 };
	struct store_row old;
	size_t plen;
	int rc = store_batch_check(batch);

	if (rc == 0)
		rc = cursor_key(&key, name, cursor->channel);
	if (rc != 0)
		return rc;
	rc = store_txn_get(batch->txn, batch->store->dbi[STORE_DB_CURSOR], STORE_DB_CURSOR, &key, &old);
	if (rc == 0 && old.seq >= cursor->seq)
		return old.seq == cursor->seq ? STORE_PUT_SAME : STORE_PUT_OLD;
	/* A damaged one is told of, not replaced: who knows what its number was. */
	if (rc != 0 && rc != STASH_E_NOENT)
		return rc;
	plen = store_cursor_write(row + STORE_ROW_HEAD, cursor);
	return store_batch_put(batch, STORE_DB_CURSOR, &key, cursor->seq, row, plen);
}

int
store_del_cursor(struct store_batch *batch, const char *name, const uint8_t channel[STORE_CHANNEL_LEN])
{
	struct store_key key = { .len = 0 };
	int rc = store_batch_check(batch);

	if (rc == 0)
		rc = cursor_key(&key, name, channel);
	return rc == 0 ? delete_one(batch, STORE_DB_CURSOR, &key) : rc;
}

/* ---- registry, tree, schema ---- */

static int
row_key(struct store_key *key, enum store_db db, const void *bytes, size_t klen)
{
	if (db != STORE_DB_REGISTRY && db != STORE_DB_TREE && db != STORE_DB_SCHEMA)
		return stash__fail(STASH_E_INVAL, "database %d: it has no rows of the caller's own", (int)db);
	if (klen == 0 || klen > STORE_KEY_MAX)
		return stash__fail(
		    klen == 0 ? STASH_E_INVAL : STASH_E_TOOBIG, "%s: a key of %zu bytes", store_db_name(db), klen);
	key->len = 0;
	store_key_add(key, bytes, klen);
	return 0;
}

int
store_put_row(
    struct store_batch *batch, enum store_db db, const void *key_bytes, size_t klen, const void *value, size_t vlen)
{
	unsigned char row[STORE_ROW_MAX];
	struct store_key key = { .len = 0 };
	int rc = store_batch_check(batch);

	if (rc == 0)
		rc = row_key(&key, db, key_bytes, klen);
	if (rc != 0)
		return rc;
	if (vlen > STORE_VALUE_MAX)
		return stash__fail(STASH_E_TOOBIG, "%s: a value of %zu bytes, %u are allowed", store_db_name(db), vlen,
		    STORE_VALUE_MAX);
	if (vlen > 0)
		memcpy(row + STORE_ROW_HEAD, value, vlen);
	return store_batch_put(batch, db, &key, batch->id, row, vlen);
}

int
store_del_row(struct store_batch *batch, enum store_db db, const void *key_bytes, size_t klen)
{
	struct store_key key = { .len = 0 };
	int rc = store_batch_check(batch);

	if (rc == 0)
		rc = row_key(&key, db, key_bytes, klen);
	return rc == 0 ? delete_one(batch, db, &key) : rc;
}

int
store_get_row(struct store *store, enum store_db db, const void *key_bytes, size_t klen, void **value, size_t *vlen)
{
	struct store_key key = { .len = 0 };
	struct store_row row = { .value = "" };
	char text[400], *copy = NULL;
	MDB_txn *txn;
	int rc = row_key(&key, db, key_bytes, klen);

	if (rc == 0)
		rc = store_read_begin(store, &txn);
	if (rc != 0)
		return rc;
	rc = store_txn_get(txn, store->dbi[db], db, &key, &row);
	if (rc == STASH_E_NOENT)
		stash__fail(rc, "%s: there is none", store_key_text(db, key.bytes, key.len, text, sizeof(text)));
	if (rc == 0 && (copy = malloc(row.vlen + 1)) == NULL)
		rc = stash__fail(STASH_E_NOMEM, "no memory for a row");
	if (copy != NULL) {
		memcpy(copy, row.value, row.vlen);
		copy[row.vlen] = '\0';
		*value = copy;
		*vlen = row.vlen;
	}
	store_read_end(store, txn);
	return rc;
}

/* ---- events ---- */

int
store_put_event(struct store_batch *batch, const void *value, size_t vlen, uint64_t *seq)
{
	struct store *store = batch->store;
	unsigned char row[STORE_ROW_MAX];
	struct store_key key = { .len = 0 };
	uint32_t ring;
	int rc = store_batch_check(batch);

	if (rc != 0)
		return rc;
	if (vlen > STORE_VALUE_MAX)
		return stash__fail(STASH_E_TOOBIG, "event: %zu bytes, %u are allowed", vlen, STORE_VALUE_MAX);
	if (!batch->event_loaded) {
		rc = store_meta_events(batch->txn, store->dbi[STORE_DB_META], &batch->next_event, &ring);
		if (rc != 0)
			return store_batch_fail(batch, rc);
		batch->stored_event = batch->next_event;
		batch->event_loaded = true;
	}
	store_key_add64(&key, batch->next_event % store->event_ring);
	if (vlen > 0)
		memcpy(row + STORE_ROW_HEAD, value, vlen);
	rc = store_batch_put(batch, STORE_DB_EVENT, &key, batch->next_event, row, vlen);
	if (rc != 0)
		return rc;
	if (seq != NULL)
		*seq = batch->next_event;
	batch->next_event++;
	return 0;
}
