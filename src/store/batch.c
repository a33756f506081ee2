/* SPDX-License-Identifier: ISC */
/*
 * batch.c: one write transaction: begun, filled with rows, committed with both of LMDB's flushes.  The first error in
 * a batch sticks, and then nothing of it is stored.  No user code runs and nothing blocks between begin and commit.
 */
#include <sys/statvfs.h>

#include <bsd/string.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/point.h"
#include "store/env.h"

#define ROOM_MIN (1u << 20) /* bytes free on a file system below which an EIO is taken for a lack of room */

int
store_batch_check(struct store_batch *batch)
{
	if (batch->store->pid != getpid())
		return stash__fail(STASH_E_FORKED, "%s: the batch belongs to process %ld, which forked this one",
		    batch->store->dir, (long)batch->store->pid);
	if (batch->error != 0)
		return stash__fail(batch->error, "%s", batch->message);
	return 0;
}

int
store_batch_fail(struct store_batch *batch, int code)
{
	batch->error = code;
	strlcpy(batch->message, stash_errmsg(), sizeof(batch->message));
	return code;
}

static int
check_usable(struct store *store)
{
	if (store->pid != getpid())
		return stash__fail(STASH_E_FORKED, "%s: the store belongs to process %ld, which forked this one",
		    store->dir, (long)store->pid);
	if (store->options.read_only)
		return stash__fail(STASH_E_INVAL, "%s: the store was opened for reading only", store->dir);
	return 0;
}

static int
begin_transaction(struct store_batch *batch)
{
	struct store *store = batch->store;
	MDB_envinfo info;
	int rc;

	if (store->env == NULL || store->failed)
		return stash__fail(
		    STASH_E_INVAL, "%s: a commit failed; the store has to be reopened first", store->dir);
	rc = mdb_env_info(store->env, &info);
	if (rc == 0)
		rc = mdb_txn_begin(store->env, NULL, 0, &batch->txn);
	if (rc != 0) {
		/* Broken for good, not just for this one: a lock or a page that can't be used any more. */
		store->failed = store->suspect = rc != ENOMEM;
		return store_fail(rc, "%s: can't begin a batch", store->dir);
	}
	batch->id = mdb_txn_id(batch->txn);
	batch->pages = info.me_last_pgno + 1;
	if (store->marked_clean) {
		rc = store_meta_put_boot(batch->txn, store->dbi[STORE_DB_META], store->boot, false);
		if (rc != 0)
			return store_fail(rc, "%s: can't take the clean mark away", store->dir);
	}
	return 0;
}

static void
finish(struct store_batch *batch)
{
	struct store *store = batch->store;

	free(batch);
	pthread_rwlock_unlock(&store->lock);
	atomic_store(&store->in_batch, false);
}

int
store_begin(struct store *store, struct store_batch **result)
{
	struct store_batch *batch;
	int rc = check_usable(store);

	if (rc != 0)
		return rc;
	batch = calloc(1, sizeof(*batch));
	if (batch == NULL) {
		stash__fail(STASH_E_NOMEM, "%s: no memory for a batch", store->dir);
		return STASH_E_NOMEM;
	}
	if (atomic_exchange(&store->in_batch, true)) {
		free(batch);
		stash__fail(STASH_E_BUSY, "%s: another batch is open", store->dir);
		return STASH_E_BUSY;
	}
	batch->store = store;
	pthread_rwlock_rdlock(&store->lock);
	rc = begin_transaction(batch);
	if (rc != 0) {
		mdb_txn_abort(batch->txn);
		finish(batch);
		return rc;
	}
	*result = batch;
	return 0;
}

void
store_abort(struct store_batch *batch)
{
	if (batch == NULL)
		return;
	/* An inherited transaction is never touched: that would be the parent's. */
	if (batch->store->pid != getpid()) {
		free(batch);
		return;
	}
	mdb_txn_abort(batch->txn);
	finish(batch);
}

/* LMDB gives EIO for a short write too, which is a full disk and not a broken one. */
static bool
is_lack_of_room(const struct store *store, int rc)
{
	struct statvfs vfs;

	if (rc == ENOSPC || rc == EDQUOT || rc == EFBIG || rc == MDB_MAP_FULL)
		return true;
	return rc == EIO && statvfs(store->dir, &vfs) == 0 && (uint64_t)vfs.f_bavail * vfs.f_frsize < ROOM_MIN;
}

static int
commit_failed(struct store *store, int rc)
{
	store->failed = true;
	store->suspect = !is_lack_of_room(store, rc);
	return stash__fail(rc == EIO ? STASH_E_FULL : store_code(rc),
	    "%s: the commit failed, it isn't known how far: %s; the store has to be reopened", store->dir,
	    mdb_strerror(rc));
}

int
store_commit(struct store_batch *batch)
{
	struct store *store = batch->store;
	int rc = store_batch_check(batch);

	if (rc == 0 && batch->event_loaded && batch->next_event != batch->stored_event) {
		rc = store_meta_put_events(batch->txn, store->dbi[STORE_DB_META], batch->next_event, store->event_ring);
		if (rc != 0)
			rc = store_fail(rc, "%s: the event ring can't be moved on", store->dir);
	}
	if (rc != 0) {
		store_abort(batch);
		return rc;
	}
	STASH_POINT("stash_in_commit");
	rc = mdb_txn_commit(batch->txn);
	if (rc != 0)
		rc = commit_failed(store, rc);
	else
		store->marked_clean = false;
	finish(batch);
	return rc;
}

int
store_mark_clean(struct store *store)
{
	struct store_batch *batch = NULL;
	int rc = store_begin(store, &batch);

	if (rc != 0)
		return rc;
	rc = store_meta_put_boot(batch->txn, store->dbi[STORE_DB_META], store->boot, true);
	if (rc != 0)
		store_batch_fail(batch, store_fail(rc, "%s: can't be marked clean", store->dir));
	rc = store_commit(batch);
	store->marked_clean = rc == 0;
	return rc;
}
