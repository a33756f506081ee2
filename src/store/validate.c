/* SPDX-License-Identifier: ISC */
/*
 * validate.c: whether data.mdb may be trusted, asked of a disposable child, before this process maps the file.  Always:
 * size, format, store id.  After a boot without a clean stop, or on request: everything.
 */
#include <sys/stat.h>

#include <bsd/string.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/clock.h"
#include "base/error.h"
#include "store/env.h"

#define SECONDS_MIN 60
#define BYTES_A_SECOND 10000000
#define BYTES_MIN 8192 /* LMDB's two meta pages */

struct look {
	const char *dir;
	const struct store_options *options;
	const uint8_t *boot;
	bool all;
};

static int
read_meta(MDB_env *env, struct store_meta *meta)
{
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), bad;

	if (rc != 0)
		return store_fail(rc, "can't begin a read");
	rc = mdb_dbi_open(txn, store_db_name(STORE_DB_META), 0, &dbi);
	if (rc == 0)
		bad = store_meta_read(txn, dbi, meta);
	else
		bad = store_fail(rc, "meta: can't be opened");
	if (bad != 0) {
		mdb_txn_abort(txn);
		return bad;
	}
	rc = mdb_txn_commit(txn);
	return rc == 0 ? 0 : store_fail(rc, "can't end a read");
}

/* In the child. */
static int
look_inside(const struct look *look, MDB_env *env, struct store_child_result *result)
{
	MDB_dbi dbi[STORE_DB_COUNT];
	int rc = read_meta(env, &result->meta);

	if (rc != 0)
		return rc;
	if (!look->all && (result->meta.clean || memcmp(result->meta.boot, look->boot, STASH__BOOT_ID_LEN) == 0))
		return 0;
	result->walked = true;
	rc = store_env_databases(env, false, dbi);
	if (rc != 0)
		return store_fail(rc, "a database can't be opened");
	return store_walk(env, &result->meta, dbi, &result->report);
}

static int
look_at(const struct look *look, struct store_child_result *result)
{
	MDB_env *env;
	int rc = store_env_open(look->dir, STORE_ENV_READ, look->options->map_bytes, &env);

	if (rc != 0)
		return store_fail(rc, "can't be opened");
	rc = look_inside(look, env, result);
	mdb_env_close(env);
	return rc;
}

static void
look_in_child(void *arg, struct store_child_result *result)
{
	result->code = look_at(arg, result);
	result->damaged = result->code == STASH_E_CORRUPT;
}

static uint32_t
seconds_for(const struct store_options *options, uint64_t bytes)
{
	if (options->validate_s > 0)
		return options->validate_s;
	return SECONDS_MIN + (uint32_t)(bytes / BYTES_A_SECOND);
}

int
store_probe(const char *dir, const struct store_options *options, const uint8_t boot[STASH__BOOT_ID_LEN], bool all,
    struct store_child_result *result)
{
	struct look look = { .dir = dir, .options = options, .boot = boot, .all = all };
	int64_t began = stash__now_ns();
	char path[STORE_PATH_ROOM];
	struct stat st;
	int rc = store_path(path, dir, STORE_DATA);

	memset(result, 0, sizeof(*result));
	if (rc != 0)
		return rc;
	if (stat(path, &st) != 0)
		return errno == ENOENT ?
		    stash__fail(STASH_E_NOENT, "%s: there is none: no database was made yet", path) :
		    stash__fail_errno("%s", path);
	if (st.st_size < BYTES_MIN) {
		result->code = STASH_E_CORRUPT;
		result->damaged = true;
		strlcpy(result->text, "damaged: the file is cut short", sizeof(result->text));
	} else {
		rc = store_child_run(look_in_child, &look, seconds_for(options, (uint64_t)st.st_size), result);
		if (rc != 0)
			return rc;
	}
	result->report.bytes = (uint64_t)st.st_size;
	result->report.took_ns = stash__now_ns() - began;
	if (result->damaged)
		return stash__fail(STASH_E_CORRUPT,
		    "%s: %s. Nothing was changed. Restore the newest backup, or let it be set aside and begin with "
		    "an empty store",
		    path, result->text);
	return result->code == 0 ? 0 : stash__fail(result->code, "%s: %s", path, result->text);
}

int
store_validate(const char *dir, const struct store_options *given, struct store_report *report)
{
	struct store_options options = given != NULL ? *given : (struct store_options){ 0 };
	uint8_t boot[STASH__BOOT_ID_LEN] = { 0 };
	struct store_child_result result = { 0 };
	struct stash__info info;
	int lock_fd = options.lock_fd;
	int rc = stash__info_read(dir, &info);

	if (options.map_bytes == 0)
		options.map_bytes = STORE_MAP_BYTES;
	if (rc == 0 && lock_fd <= 0)
		rc = store_lock(dir, false, options.lock_timeout_ms, &lock_fd);
	if (rc != 0)
		return rc;
	rc = store_probe(dir, &options, boot, true, &result);
	if (options.lock_fd <= 0)
		close(lock_fd);
	if (rc == 0 && memcmp(result.meta.id, info.id, STORE_ID_LEN) != 0)
		rc = stash__fail(STASH_E_CORRUPT, "%s: stash.info and data.mdb are of two stores", dir);
	if (report != NULL)
		*report = result.report;
	return rc;
}
