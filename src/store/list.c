/* SPDX-License-Identifier: ISC */
/*
 * list.c: which states stand in a database file, by name and version: to compare two stores.  It maps the file, so it
 * is for those only that were just looked at and found good.
 */
#include <stdlib.h>
#include <string.h>

#include <stash/error.h>

#include "base/error.h"
#include "store/env.h"

/* One row: fn gets it if it is the head of a state. */
static int
give(const MDB_val *k, const MDB_val *v, int (*fn)(void *arg, const struct store_state *), void *arg)
{
	char name[STASH_NAME_MAX + 1];
	struct store_state state = { 0 };
	struct store_row row;
	uint32_t top;
	int rc;

	if (store_key_split(k->mv_data, k->mv_size, 4, name) == 0 || store_key_last32(k->mv_data, k->mv_size) != 0)
		return 0;
	rc = store_value_open(STORE_DB_STATE, k->mv_data, k->mv_size, v->mv_data, v->mv_size, &row);
	if (rc == 0)
		rc = store_head_read(STORE_DB_STATE, &row, &state, &top);
	state.name = name;
	state.seq = row.seq;
	return rc == 0 ? fn(arg, &state) : rc;
}

static int
walk(MDB_env *env, const char *path, int (*fn)(void *arg, const struct store_state *), void *arg)
{
	MDB_dbi dbi[STORE_DB_COUNT];
	MDB_cursor *cursor;
	MDB_txn *txn;
	MDB_val k, v;
	int rc = store_env_databases(env, false, dbi), bad = 0;

	if (rc == 0)
		rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
	if (rc != 0)
		return store_fail(rc, "%s", path);
	rc = mdb_cursor_open(txn, dbi[STORE_DB_STATE], &cursor);
	if (rc == 0) {
		while (bad == 0 && (rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0)
			bad = give(&k, &v, fn, arg);
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	if (bad != 0)
		return bad;
	return rc == MDB_NOTFOUND ? 0 : store_fail(rc, "%s", path);
}

int
store_list_states(
    const char *path, const struct store_options *options, int (*fn)(void *arg, const struct store_state *), void *arg)
{
	uint64_t map = options != NULL && options->map_bytes > 0 ? options->map_bytes : STORE_MAP_BYTES;
	MDB_env *env;
	int rc = store_env_open(path, STORE_ENV_FILE, map, &env);

	if (rc != 0)
		return store_fail(rc, "%s: can't be opened", path);
	rc = walk(env, path, fn, arg);
	mdb_env_close(env);
	return rc;
}
