/* SPDX-License-Identifier: ISC */
/*
 * bench.c: bare commits, one put each, through the same open routine as the store's, so with the same flags.  No rows,
 * no checksums, no quota: what is above this is the store's own.
 */
#include <string.h>

#include "base/clock.h"
#include "store/bench.h"
#include "store/env.h"

#define BENCH_MAP (64u << 20)
#define BENCH_VALUE 64

static int
begin(MDB_env *env, MDB_txn **txn, MDB_dbi *dbi)
{
	int rc = mdb_txn_begin(env, NULL, 0, txn);

	if (rc != 0)
		return rc;
	rc = mdb_dbi_open(*txn, NULL, 0, dbi);
	if (rc != 0)
		mdb_txn_abort(*txn);
	return rc;
}

static int
commit_one(MDB_env *env, unsigned i)
{
	char key[] = "bench", value[BENCH_VALUE];
	MDB_val k = { sizeof(key), key }, v = { sizeof(value), value };
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc = begin(env, &txn, &dbi);

	if (rc != 0)
		return rc;
	memset(value, (int)(i & 0xff), sizeof(value));
	rc = mdb_put(txn, dbi, &k, &v, 0);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

int
store_bench_commit(const char *dir, unsigned n, int64_t *ns)
{
	MDB_env *env;
	int64_t start;
	int rc = store_env_open(dir, STORE_ENV_WRITE, BENCH_MAP, &env);

	if (rc != 0)
		return store_fail(rc, "%s: LMDB can't be opened", dir);
	/* The first ones make the file larger, which costs more. */
	for (unsigned i = 0; i < 8 && rc == 0; i++)
		rc = commit_one(env, i);
	for (unsigned i = 0; i < n && rc == 0; i++) {
		start = stash__now_ns();
		rc = commit_one(env, i);
		ns[i] = stash__now_ns() - start;
	}
	mdb_env_close(env);
	return rc != 0 ? store_fail(rc, "%s: a commit failed", dir) : 0;
}
