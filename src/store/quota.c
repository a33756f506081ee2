/* SPDX-License-Identifier: ISC */
/*
 * quota.c: how large the file may become.  LMDB's map is huge and constant, so this is what bounds the store; it
 * refuses a put before the transaction is spoilt, and leaves a reserve in which things can still be deleted.  What it
 * reckons is the most that the batch can need: a store that copies on write needs room for what it replaces.
 */
#include <string.h>

#include <stash/error.h>

#include "base/error.h"
#include "store/env.h"

#define SLACK 32	/* pages: the free list, the main database, branches */
#define INLINE_MAX 2000 /* bytes: larger values get pages of their own (at 4 KiB a page) */
#define ROW_OVERHEAD 16 /* bytes in a leaf besides key and value */

int
store_free_pages(MDB_env *env, bool all, uint64_t *pages)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	MDB_txn *txn;
	size_t count, id;
	int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);

	*pages = 0;
	if (rc != 0)
		return rc;
	/* Database 0 is LMDB's free list: by transaction, a count and the pages that it gave up. */
	rc = mdb_cursor_open(txn, 0, &cursor);
	if (rc == 0) {
		while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
			memcpy(&id, k.mv_data, sizeof(id));
			memcpy(&count, v.mv_data, sizeof(count));
			/* What the last transaction gave up is still its predecessor's snapshot. */
			if (all || id < mdb_txn_id(txn))
				*pages += count;
		}
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* State images and what belongs to them leave the whole reserve free, the supervisor's rows half of it. */
static uint64_t
limit_for(const struct store *store, enum store_db db)
{
	bool small = db == STORE_DB_REGISTRY || db == STORE_DB_TREE || db == STORE_DB_EVENT || db == STORE_DB_META;

	return store->quota_pages - store->reserve_pages / (small ? 2 : 1);
}

/* Pages at most, by what was put alone. */
static uint64_t
rough_need(const struct store_batch *batch)
{
	uint64_t need = SLACK + batch->overflow;

	for (int db = 0; db < STORE_DB_COUNT; db++)
		need += batch->puts[db] + 2 * batch->bytes[db] / batch->store->page;
	return need;
}

/* The same, when the pages that the databases have bound what can be touched. */
static int
exact_need(const struct store_batch *batch, uint64_t *need)
{
	uint64_t touched;
	MDB_stat stat;
	int rc;

	*need = SLACK + batch->overflow;
	for (int db = 0; db < STORE_DB_COUNT; db++) {
		rc = mdb_stat(batch->txn, batch->store->dbi[db], &stat);
		if (rc != 0)
			return rc;
		touched = stat.ms_leaf_pages + stat.ms_branch_pages;
		if (touched > batch->puts[db])
			touched = batch->puts[db];
		*need += touched + 2 * batch->bytes[db] / batch->store->page;
	}
	return 0;
}

int
store_quota_take(struct store_batch *batch, enum store_db db, size_t klen, size_t vlen)
{
	struct store *store = batch->store;
	uint64_t limit = limit_for(store, db), need;
	int rc = 0;

	batch->puts[db]++;
	if (vlen > INLINE_MAX)
		batch->overflow++;
	else
		batch->bytes[db] += klen + vlen + ROW_OVERHEAD;
	if (batch->pages + rough_need(batch) <= limit)
		return 0;
	if (!batch->free_known) {
		rc = store_free_pages(store->env, false, &batch->free);
		batch->free_known = rc == 0;
	}
	if (rc == 0)
		rc = exact_need(batch, &need);
	if (rc != 0)
		return store_fail(rc, "%s: the free pages can't be counted", store->dir);
	if (batch->pages + need <= limit + batch->free)
		return 0;
	return stash__fail(STASH_E_FULL,
	    "%s: the store is full: %llu of %llu pages of %llu bytes, %llu of them free for reuse. "
	    "Raise the quota (size, in the store section of stashd's config), and start stashd again",
	    store->dir, (unsigned long long)batch->pages, (unsigned long long)store->quota_pages,
	    (unsigned long long)store->page, (unsigned long long)batch->free);
}
