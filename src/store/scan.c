/* SPDX-License-Identifier: ISC */
/*
 * scan.c: slices of a database for tools, packed so that they can be sent as they are; and the store's figures.  One
 * short read transaction for a slice: a long one would keep every page that is given up meanwhile from being
 * used again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <stash/error.h>

#include "base/error.h"
#include "store/env.h"

struct slicing {
	const struct store_scan *scan;
	struct stash_buf *out;
	struct store_slice *slice;
	uint32_t max_rows, max_bytes;
	size_t bytes;
};

/* Packs a row.  1: the slice is full, and this row was left out. */
static int
pack(struct slicing *slicing, const struct store_row *row)
{
	size_t bytes = row->klen + row->vlen + 16;
	int rc;

	if (slicing->slice->rows == slicing->max_rows ||
	    (slicing->slice->rows > 0 && slicing->bytes + bytes > slicing->max_bytes)) {
		slicing->slice->more = true;
		return 1;
	}
	rc = stash_buf_add_bytes(slicing->out, row->key, row->klen);
	if (rc == 0)
		rc = stash_buf_add_int(slicing->out, (int64_t)row->seq);
	if (rc == 0)
		rc = stash_buf_add_bytes(slicing->out, row->value, row->vlen);
	slicing->slice->rows++;
	slicing->bytes += bytes;
	return rc;
}

int
store_row_next(struct stash_view *view, struct store_row *row)
{
	if (view->error == 0 && view->left == 0)
		return 0;
	row->key = stash_view_bytes(view, &row->klen);
	row->seq = (uint64_t)stash_view_int(view);
	row->value = stash_view_bytes(view, &row->vlen);
	if (view->error != 0)
		return stash__fail(STASH_E_FORMAT, "a slice of rows can't be parsed");
	return 1;
}

/* The next key to look at; skips what the flags leave out. */
static int
next_row(struct slicing *slicing, MDB_cursor *cursor, MDB_val *k, MDB_val *v)
{
	const struct store_scan *scan = slicing->scan;
	bool chunked = scan->db == STORE_DB_STATE || scan->db == STORE_DB_HISTORY;
	struct store_key key = { .len = 0 };

	if (!(scan->flags & STORE_SCAN_HEADS) || !chunked || k->mv_size < 4)
		return mdb_cursor_get(cursor, k, v, MDB_NEXT);
	/* No row has the last number that a chunk can have. */
	store_key_add(&key, k->mv_data, k->mv_size - 4);
	store_key_add32(&key, UINT32_MAX);
	*k = (MDB_val){ key.len, key.bytes };
	return mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
}

static bool
in_scan(const struct store_scan *scan, const MDB_val *k)
{
	return k->mv_size >= scan->prefix_len &&
	    (scan->prefix_len == 0 || memcmp(k->mv_data, scan->prefix, scan->prefix_len) == 0);
}

static bool
is_left_out(const struct store_scan *scan, const MDB_val *k)
{
	if ((scan->flags & STORE_SCAN_HEADS) && (scan->db == STORE_DB_STATE || scan->db == STORE_DB_HISTORY))
		return store_key_last32(k->mv_data, k->mv_size) != 0;
	return false;
}

static int
first_row(const struct store_scan *scan, MDB_cursor *cursor, MDB_val *k, MDB_val *v)
{
	size_t common = scan->from_len < scan->prefix_len ? scan->from_len : scan->prefix_len;
	int order = common > 0 ? memcmp(scan->from, scan->prefix, common) : 0, rc;
	bool from_later = order > 0 || (order == 0 && scan->from_len >= scan->prefix_len);

	if (from_later && scan->from_len > 0)
		*k = (MDB_val){ scan->from_len, (void *)(uintptr_t)scan->from };
	else
		*k = (MDB_val){ scan->prefix_len, (void *)(uintptr_t)scan->prefix };
	if (k->mv_size == 0)
		return mdb_cursor_get(cursor, k, v, MDB_FIRST);
	rc = mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
	if (rc == 0 && (scan->flags & STORE_SCAN_AFTER) && k->mv_size == scan->from_len &&
	    memcmp(k->mv_data, scan->from, scan->from_len) == 0)
		rc = mdb_cursor_get(cursor, k, v, MDB_NEXT);
	return rc;
}

static int
scan_rows(struct slicing *slicing, MDB_txn *txn, MDB_dbi dbi)
{
	const struct store_scan *scan = slicing->scan;
	struct store_row row;
	MDB_cursor *cursor;
	MDB_val k, v;
	int rc = mdb_cursor_open(txn, dbi, &cursor), bad = 0;

	if (rc != 0)
		return store_fail(rc, "%s: can't be read", store_db_name(scan->db));
	rc = first_row(scan, cursor, &k, &v);
	while (rc == 0 && bad == 0 && in_scan(scan, &k)) {
		if (!is_left_out(scan, &k)) {
			bad = store_value_open(scan->db, k.mv_data, k.mv_size, v.mv_data, v.mv_size, &row);
			if (bad == 0)
				bad = pack(slicing, &row);
		}
		if (bad == 0)
			rc = next_row(slicing, cursor, &k, &v);
	}
	mdb_cursor_close(cursor);
	if (bad != 0)
		return bad > 0 ? 0 : bad;
	return rc == 0 || rc == MDB_NOTFOUND ? 0 : store_fail(rc, "%s: can't be read", store_db_name(scan->db));
}

/* Events in the order of their numbers, under these as keys. */
static int
scan_events(struct slicing *slicing, MDB_txn *txn, const struct store *store)
{
	const struct store_scan *scan = slicing->scan;
	struct store_key place, number;
	struct store_row row;
	uint64_t seq = 0, next;
	uint32_t ring;
	int rc = store_meta_events(txn, store->dbi[STORE_DB_META], &next, &ring);

	if (rc != 0)
		return rc;
	if (scan->prefix_len > 0 || (scan->from_len != 0 && scan->from_len != 8))
		return stash__fail(STASH_E_INVAL, "event: a scan begins at a number of 8 bytes, and takes no prefix");
	if (scan->from_len == 8)
		seq = store_key_last64(scan->from, 8);
	if (scan->from_len == 8 && (scan->flags & STORE_SCAN_AFTER) && seq < UINT64_MAX)
		seq++;
	if (next > ring && seq < next - ring)
		seq = next - ring;
	if (seq == 0)
		seq = 1;
	for (; rc == 0 && seq < next; seq++) {
		place.len = number.len = 0;
		store_key_add64(&place, seq % ring);
		store_key_add64(&number, seq);
		rc = store_txn_get(txn, store->dbi[STORE_DB_EVENT], STORE_DB_EVENT, &place, &row);
		if (rc == STASH_E_NOENT || (rc == 0 && row.seq != seq))
			return stash__fail(
			    STASH_E_CORRUPT, "event %llu: damaged: it isn't at its place", (unsigned long long)seq);
		row.key = number.bytes;
		row.klen = number.len;
		if (rc == 0)
			rc = pack(slicing, &row);
	}
	return rc > 0 ? 0 : rc;
}

int
store_scan(struct store *store, const struct store_scan *scan, struct stash_buf *out, struct store_slice *slice)
{
	struct slicing slicing = { .scan = scan, .out = out, .slice = slice };
	MDB_txn *txn;
	int rc;

	*slice = (struct store_slice){ 0 };
	if ((unsigned)scan->db >= STORE_DB_COUNT || scan->from_len > sizeof((struct store_key){ 0 }.bytes) ||
	    scan->prefix_len > sizeof((struct store_key){ 0 }.bytes))
		return stash__fail(
		    STASH_E_INVAL, "scan: no such database (%d), or a key that is too long", (int)scan->db);
	slicing.max_rows = scan->max_rows > 0 && scan->max_rows < STORE_SCAN_ROWS ? scan->max_rows : STORE_SCAN_ROWS;
	slicing.max_bytes = scan->max_bytes > 0 ? scan->max_bytes : STORE_SCAN_BYTES;
	rc = store_read_begin(store, &txn);
	if (rc != 0)
		return rc;
	slice->txn = mdb_txn_id(txn);
	if (scan->db == STORE_DB_EVENT)
		rc = scan_events(&slicing, txn, store);
	else
		rc = scan_rows(&slicing, txn, store->dbi[scan->db]);
	store_read_end(store, txn);
	return rc;
}

/* ---- figures ---- */

static int
count_readers(const char *line, void *arg)
{
	long pid;

	/* A heading comes first; a slot that is in use has a pid. */
	if (sscanf(line, " %ld", &pid) == 1)
		(*(uint32_t *)arg)++;
	return 0;
}

static int
stat_in(struct store *store, MDB_txn *txn, struct store_stat *stat)
{
	MDB_envinfo info;
	MDB_stat db_stat;
	int rc = mdb_env_info(store->env, &info);

	for (int db = 0; rc == 0 && db < STORE_DB_COUNT; db++) {
		rc = mdb_stat(txn, store->dbi[db], &db_stat);
		stat->rows[db] = rc == 0 ? db_stat.ms_entries : 0;
	}
	if (rc == 0)
		rc = store_free_pages(store->env, true, &stat->free_bytes);
	if (rc == 0 && !store->options.read_only && mdb_reader_list(store->env, count_readers, &stat->readers) < 0)
		rc = EINVAL;
	if (rc != 0)
		return store_fail(rc, "%s: no figures", store->dir);
	stat->free_bytes *= store->page;
	stat->file_bytes = (info.me_last_pgno + 1) * store->page;
	stat->map_bytes = info.me_mapsize;
	stat->txn = mdb_txn_id(txn);
	return store_meta_events(txn, store->dbi[STORE_DB_META], &stat->next_event, &stat->event_ring);
}

int
store_stat(struct store *store, struct store_stat *stat)
{
	MDB_txn *txn;
	int rc = store_read_begin(store, &txn);

	memset(stat, 0, sizeof(*stat));
	if (rc != 0)
		return rc;
	memcpy(stat->id, store->id, STORE_ID_LEN);
	stat->quota_bytes = store->options.quota_bytes;
	rc = stat_in(store, txn, stat);
	store_read_end(store, txn);
	return rc;
}

uint64_t
store_last_event(struct store *store)
{
	uint64_t next = 1;
	uint32_t ring;
	MDB_txn *txn;

	if (store_read_begin(store, &txn) != 0)
		return 0;
	if (store_meta_events(txn, store->dbi[STORE_DB_META], &next, &ring) != 0)
		next = 1;
	store_read_end(store, txn);
	return next - 1;
}
