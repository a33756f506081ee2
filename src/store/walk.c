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
	struct store_findings *findings; /* NULL: the first one ends it */
	unsigned char last[512];	 /* key before this one */
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

/* The thread's message is a finding: 0 if it is noted and the walk goes on. */
static int
found(struct walk *walk, int code)
{
	struct store_findings *f = walk->findings;

	if (code == 0 || f == NULL || code != STASH_E_CORRUPT)
		return code;
	if (f->count < STORE_FINDINGS_MAX)
		strlcpy(f->text[f->count], stash_errmsg(), sizeof(f->text[0]));
	f->count++;
	return 0;
}

/* What is read next, for the one who learns that it has killed this process. */
static void
note_key(const struct walk *walk, const MDB_val *key)
{
	struct store_findings *f = walk->findings;

	if (f == NULL)
		return;
	f->db = (uint32_t)walk->db;
	f->key_len = key == NULL || key->mv_size > sizeof(f->key) ? 0 : (uint32_t)key->mv_size;
	if (f->key_len > 0)
		memcpy(f->key, key->mv_data, f->key_len);
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
take_state(void *arg, const struct store_state *state)
{
	struct store_report *report = arg;

	report->states++;
	if (state->committed_ns > report->newest_ns)
		report->newest_ns = state->committed_ns;
	return 0;
}

/* What is said of states is gathered over several rows: after a broken one it begins anew. */
static int
begin_gather(struct walk *walk)
{
	store_gather_destroy(walk->gather);
	walk->gather = store_gather_create(walk->db, false, take_state, walk->report);
	return walk->gather != NULL ? 0 : STASH_E_NOMEM;
}

static int
walk_row(struct walk *walk, const MDB_val *k, const MDB_val *v)
{
	struct store_row row;
	int bad = store_value_open(walk->db, k->mv_data, k->mv_size, v->mv_data, v->mv_size, &row), rc;

	if (bad == 0)
		bad = check_row(walk, &row);
	if (bad == 0)
		return 0;
	rc = found(walk, bad);
	return rc == 0 ? begin_gather(walk) : rc;
}

static int
walk_rows(struct walk *walk, MDB_dbi dbi)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	int rc = mdb_cursor_open(walk->txn, dbi, &cursor), bad = 0;

	if (rc != 0)
		return store_fail(rc, "%s: can't be read", store_db_name(walk->db));
	note_key(walk, NULL);
	while (bad == 0 && (rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
		bad = check_order(walk, &k);
		if (bad == 0) {
			note_key(walk, &k);
			bad = walk_row(walk, &k, &v);
		}
	}
	mdb_cursor_close(cursor);
	if (bad == 0 && rc != MDB_NOTFOUND)
		bad = store_fail(rc == 0 ? MDB_CORRUPTED : rc, "%s: can't be read", store_db_name(walk->db));
	return bad;
}

static int
walk_database(struct walk *walk, MDB_dbi dbi)
{
	MDB_stat stat;
	int rc;

	walk->rows = 0;
	walk->last_len = 0;
	rc = begin_gather(walk);
	if (rc == 0)
		rc = walk_rows(walk, dbi);
	if (rc == 0)
		rc = store_gather_end(walk->gather);
	store_gather_destroy(walk->gather);
	walk->gather = NULL;
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

/* A transaction of its own: one in which LMDB has met damage takes nothing more.  Nobody writes meanwhile. */
static int
walk_in_txn(struct walk *walk, MDB_env *env, MDB_dbi dbi)
{
	int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &walk->txn);

	if (rc != 0)
		return store_fail(rc, "can't begin a read");
	walk->report->txn = mdb_txn_id(walk->txn);
	rc = walk_database(walk, dbi);
	mdb_txn_abort(walk->txn);
	return rc;
}

static int
walk_all(struct walk *walk, MDB_env *env, const MDB_dbi dbi[STORE_DB_COUNT])
{
	uint32_t skip = walk->findings != NULL ? walk->findings->skip : 0;
	int rc = 0;

	for (int db = 0; rc == 0 && db < STORE_DB_COUNT; db++) {
		walk->db = (enum store_db)db;
		if ((skip & 1u << db) == 0)
			rc = found(walk, walk_in_txn(walk, env, dbi[db]));
	}
	if (rc == 0 && (skip & 1u << STORE_DB_EVENT) == 0)
		rc = found(walk, check_ring(walk->meta, walk->report->rows[STORE_DB_EVENT]));
	return rc;
}

int
store_walk(MDB_env *env, const struct store_meta *meta, const MDB_dbi dbi[STORE_DB_COUNT], struct store_report *report,
    struct store_findings *findings)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	int rc;

	if (walk == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory to look at the store");
	walk->meta = meta;
	walk->report = report;
	walk->findings = findings;
	rc = found(walk, store_walk_pages(env));
	if (rc == 0)
		rc = walk_all(walk, env, dbi);
	if (findings != NULL)
		findings->db = STORE_DB_COUNT; /* pages that belong to none */
	/* It repeats, and less clearly, what was found already. */
	if (rc == 0 && (findings == NULL || findings->count == 0))
		rc = found(walk, copy_to_nowhere(env));
	free(walk);
	return rc;
}
