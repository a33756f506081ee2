/* SPDX-License-Identifier: ISC */
/*
 * walk.c: looks at everything in the store: keys in strict order, counts, checksums, states whole, the event ring in
 * order, and LMDB's own audit by a compact copy to nowhere.  A damaged file may kill whoever runs this, or keep it
 * running for ever: for a disposable child only.
 */
#include <bsd/string.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/error.h"
#include "base/name.h"
#include "store/env.h"

struct walk {
	MDB_txn *txn;
	const struct store_meta *meta;
	enum store_db db;
	struct store_gather *gather; /* state and history */
	struct store_report *report;
	unsigned char last[512]; /* key before this one */
	size_t last_len;
	uint64_t rows;
};

static int
damaged(const struct walk *walk, const struct store_row *row, const char *why)
{
	char text[400];

	return stash__fail(
	    STASH_E_CORRUPT, "%s: damaged: %s", store_key_text(walk->db, row->key, row->klen, text, sizeof(text)), why);
}

static int
check_event(const struct walk *walk, const struct store_row *row)
{
	const struct store_meta *meta = walk->meta;

	if (row->klen != 8 || row->seq % meta->event_ring != store_key_last64(row->key, row->klen))
		return damaged(walk, row, "it stands at a wrong place");
	if (row->seq == 0 || row->seq >= meta->next_event || meta->next_event - row->seq > meta->event_ring)
		return damaged(walk, row, "its number is out of the ring");
	return 0;
}

static int
check_row(struct walk *walk, const struct store_row *row)
{
	char name[STASH_NAME_MAX + 1];
	struct store_cursor cursor;
	int rc;

	switch (walk->db) {
	case STORE_DB_STATE:
	case STORE_DB_HISTORY:
		return store_gather_row(walk->gather, row);
	case STORE_DB_CURSOR:
		rc = store_row_cursor(row, name, &cursor);
		return rc == 0 && stash__check_name(name) == 0 ? 0 : damaged(walk, row, "it is no cursor of a name");
	case STORE_DB_EVENT:
		return check_event(walk, row);
	case STORE_DB_META:
	case STORE_DB_REGISTRY:
	case STORE_DB_TREE:
	case STORE_DB_SCHEMA:
	case STORE_DB_COUNT:
		break;
	}
	return 0;
}

static int
check_order(struct walk *walk, const MDB_val *key)
{
	size_t common = key->mv_size < walk->last_len ? key->mv_size : walk->last_len;
	int order = memcmp(walk->last, key->mv_data, common);

	if (key->mv_size == 0 || key->mv_size > sizeof(walk->last))
		return stash__fail(
		    STASH_E_CORRUPT, "%s: damaged: a key of %zu bytes", store_db_name(walk->db), key->mv_size);
	if (walk->rows > 0 && (order > 0 || (order == 0 && walk->last_len >= key->mv_size)))
		return stash__fail(STASH_E_CORRUPT, "%s: damaged: keys are out of order", store_db_name(walk->db));
	memcpy(walk->last, key->mv_data, key->mv_size);
	walk->last_len = key->mv_size;
	walk->rows++;
	return 0;
}

static int
walk_rows(struct walk *walk, MDB_dbi dbi)
{
	MDB_cursor *cursor;
	struct store_row row;
	MDB_val k, v;
	int rc = mdb_cursor_open(walk->txn, dbi, &cursor), bad = 0;

	if (rc != 0)
		return store_fail(rc, "%s: can't be read", store_db_name(walk->db));
	while (bad == 0 && (rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
		bad = check_order(walk, &k);
		if (bad == 0)
			bad = store_value_open(walk->db, k.mv_data, k.mv_size, v.mv_data, v.mv_size, &row);
		if (bad == 0)
			bad = check_row(walk, &row);
	}
	mdb_cursor_close(cursor);
	if (bad == 0 && rc != MDB_NOTFOUND)
		bad = store_fail(rc == 0 ? MDB_CORRUPTED : rc, "%s: can't be read", store_db_name(walk->db));
	return bad;
}

static int
no_state(void *arg, const struct store_state *state)
{
	(void)state;
	(*(uint64_t *)arg)++;
	return 0;
}

static int
walk_database(struct walk *walk, MDB_dbi dbi)
{
	MDB_stat stat;
	int rc;

	walk->rows = 0;
	walk->last_len = 0;
	walk->gather = store_gather_create(walk->db, false, no_state, &walk->report->states);
	if (walk->gather == NULL)
		return STASH_E_NOMEM;
	rc = walk_rows(walk, dbi);
	if (rc == 0)
		rc = store_gather_end(walk->gather);
	store_gather_destroy(walk->gather);
	if (rc == 0 && (rc = mdb_stat(walk->txn, dbi, &stat)) != 0)
		rc = store_fail(rc, "%s", store_db_name(walk->db));
	if (rc == 0 && stat.ms_entries != walk->rows)
		rc = stash__fail(STASH_E_CORRUPT, "%s: damaged: %llu rows, %zu are noted", store_db_name(walk->db),
		    (unsigned long long)walk->rows, stat.ms_entries);
	walk->report->rows[walk->db] = walk->rows;
	return rc;
}

/* The ring has no gaps: all events since it was made, or since it was full. */
static int
check_ring(const struct store_meta *meta, uint64_t rows)
{
	uint64_t all = meta->next_event - 1;

	if (rows != (all < meta->event_ring ? all : meta->event_ring))
		return stash__fail(STASH_E_CORRUPT,
		    "event: damaged: %llu rows in a ring of %u, the next number is %llu", (unsigned long long)rows,
		    meta->event_ring, (unsigned long long)meta->next_event);
	return 0;
}

/* LMDB counts pages when it copies compactly: more or fewer than are noted is a leak or damage. */
static int
copy_to_nowhere(MDB_env *env)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return stash__fail_errno("/dev/null");
	rc = mdb_env_copyfd2(env, fd, MDB_CP_COMPACT);
	close(fd);
	return rc == 0 ? 0 : store_fail(rc, "damaged: a compact copy fails");
}

int
store_walk(MDB_env *env, const struct store_meta *meta, const MDB_dbi dbi[STORE_DB_COUNT], struct store_report *report)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	int rc;

	if (walk == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory to look at the store");
	walk->meta = meta;
	walk->report = report;
	rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &walk->txn);
	if (rc != 0) {
		free(walk);
		return store_fail(rc, "can't begin a read");
	}
	for (int db = 0; rc == 0 && db < STORE_DB_COUNT; db++) {
		walk->db = (enum store_db)db;
		rc = walk_database(walk, dbi[db]);
	}
	if (rc == 0)
		rc = check_ring(meta, report->rows[STORE_DB_EVENT]);
	mdb_txn_abort(walk->txn);
	free(walk);
	return rc == 0 ? copy_to_nowhere(env) : rc;
}
