/* SPDX-License-Identifier: ISC */
/*
 * validate.c: whether data.mdb may be trusted, asked of a disposable child, before this process maps the file.  Always:
 * size, format, store id.  After a boot without a clean stop, or on request: everything.  And for people: all that is
 * wrong, not only what was met first.
 */
#include <sys/mman.h>
#include <sys/stat.h>

#include <bsd/string.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/clock.h"
#include "base/error.h"
#include "store/backup.h"
#include "store/env.h"

#define SECONDS_MIN 60
#define BYTES_A_SECOND 10000000
#define BYTES_MIN 8192 /* LMDB's two meta pages */

struct look {
	const char *path; /* of the directory, or of the file */
	enum store_env_use use;
	const struct store_options *options;
	const uint8_t *boot; /* NULL: all is looked at anyway */
	bool all;
	struct store_findings *findings;
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
	return store_walk(env, &result->meta, dbi, &result->report, look->findings);
}

static int
look_at(const struct look *look, struct store_child_result *result)
{
	MDB_env *env;
	int rc = store_env_open(look->path, look->use, look->options->map_bytes, &env);

	result->other_lmdb = rc == MDB_VERSION_MISMATCH;
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

/* What the file says by its size, then what a child says. */
static int
run_child(const struct look *look, const char *file, struct store_child_result *result)
{
	int64_t began = stash__now_ns();
	struct stat st;
	int rc;

	memset(result, 0, sizeof(*result));
	if (stat(file, &st) != 0)
		return errno == ENOENT ?
		    stash__fail(STASH_E_NOENT, "%s: there is none: no database was made yet", file) :
		    stash__fail_errno("%s", file);
	if (!S_ISREG(st.st_mode))
		return stash__fail(STASH_E_FORMAT, "%s: isn't a file", file);
	if (st.st_size < BYTES_MIN) {
		result->code = STASH_E_CORRUPT;
		result->damaged = true;
		strlcpy(result->text, "damaged: the file is cut short", sizeof(result->text));
	} else {
		rc = store_child_run(
		    look_in_child, (void *)(uintptr_t)look, seconds_for(look->options, (uint64_t)st.st_size), result);
		if (rc != 0)
			return rc;
	}
	result->report.bytes = (uint64_t)st.st_size;
	result->report.took_ns = stash__now_ns() - began;
	return 0;
}

int
store_probe(const char *dir, const struct store_options *options, const uint8_t boot[STASH__BOOT_ID_LEN], bool all,
    struct store_child_result *result)
{
	struct look look = { .path = dir, .use = STORE_ENV_READ, .options = options, .boot = boot, .all = all };
	char path[STORE_PATH_ROOM], advice[STORE_ADVICE_MAX];
	int rc = store_path(path, dir, STORE_DATA);

	if (rc == 0)
		rc = run_child(&look, path, result);
	if (rc != 0)
		return rc;
	if (result->damaged)
		return stash__fail(STASH_E_CORRUPT, "%s: %s. Nothing was changed. %s", path, result->text,
		    store_backup_advice(dir, advice));
	if (result->other_lmdb)
		return stash__fail(STASH_E_FORMAT,
		    "%s: it is of another LMDB, or its first pages are damaged. Nothing was changed. "
		    "If it is damaged: %s",
		    path, store_backup_advice(dir, advice));
	return result->code == 0 ? 0 : stash__fail(result->code, "%s: %s", path, result->text);
}

int
store_probe_file(const char *path, const struct store_options *options, struct store_findings *findings,
    struct store_child_result *result)
{
	struct look look = {
		.path = path, .use = STORE_ENV_FILE, .options = options, .all = true, .findings = findings
	};
	int rc = run_child(&look, path, result);

	if (rc == 0 && result->code != 0)
		rc = stash__fail(result->code, "%s: %s", path, result->text);
	return rc;
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

/* ---- all that is wrong ---- */

/* The child was killed by what it read: that is a finding, and the next one leaves that database out. */
static void
note_death(struct store_findings *f, const struct store_child_result *result)
{
	char where[400] = "its pages";

	if (f->db < STORE_DB_COUNT)
		snprintf(where, sizeof(where), "%s", store_db_name((enum store_db)f->db));
	if (f->db < STORE_DB_COUNT && f->key_len > 0 && f->key_len <= sizeof(f->key)) {
		char key[300];

		snprintf(where, sizeof(where), "%s, behind %s", store_db_name((enum store_db)f->db),
		    store_key_text((enum store_db)f->db, f->key, f->key_len, key, sizeof(key)));
	}
	if (f->count < STORE_FINDINGS_MAX)
		snprintf(f->text[f->count], sizeof(f->text[0]), "%.250s: %.140s", where, result->text);
	f->count++;
}

/* Reads on until a child has come to its end: 0, or why the file can't be looked at. */
static int
look_until_done(
    const char *path, const struct store_options *options, struct store_findings *f, struct store_child_result *result)
{
	for (;;) {
		int rc;

		f->db = STORE_DB_META;
		f->key_len = 0;
		rc = store_probe_file(path, options, f, result);
		if (rc != STASH_E_CORRUPT || !result->damaged)
			return rc;
		/* It was the file's beginning once more, or what belongs to no database: nothing is left to be read. */
		if (f->db < STORE_DB_COUNT && (f->skip & 1u << f->db) != 0)
			return 0;
		note_death(f, result);
		if (f->db >= STORE_DB_COUNT)
			return 0;
		f->skip |= 1u << f->db;
	}
}

int
store_check_file(const char *path, const struct store_options *given, struct store_findings *findings,
    struct store_report *report, uint8_t id[STORE_ID_LEN])
{
	struct store_options options = given != NULL ? *given : (struct store_options){ 0 };
	struct store_child_result result = { 0 };
	struct store_findings *shared = mmap(
	    NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int rc;

	memset(findings, 0, sizeof(*findings));
	if (shared == MAP_FAILED)
		return stash__fail_errno("no memory to look at %s", path);
	if (options.map_bytes == 0)
		options.map_bytes = STORE_MAP_BYTES;
	rc = look_until_done(path, &options, shared, &result);
	memcpy(findings, shared, sizeof(*findings));
	munmap(shared, sizeof(*shared));
	if (report != NULL)
		*report = result.report;
	memcpy(id, result.meta.id, STORE_ID_LEN);
	return rc == 0 && findings->count > 0 ? 1 : rc;
}
