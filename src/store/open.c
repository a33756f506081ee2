/* SPDX-License-Identifier: ISC */
/*
 * open.c: a store from its directory to a usable handle, and back.  The order is what makes it safe: lock, then a look
 * by a child, then LMDB; a new database gets its name only when it is whole; the boot is noted before anything else is
 * written.  A file that isn't understood is never changed.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/error.h"
#include "store/env.h"

#define LOCK_FILE_BYTES \
	16384 /* room for more reader slots than LMDB is asked for; allocated, so that none is a SIGBUS */
#define QUOTA_MIN (1ull << 20)
#define RESERVE_SHARE 16
#define RESERVE_MIN (256ull << 10)
#define RESERVE_MAX (16ull << 20)

/* Commits everything that a new database consists of. */
static int
fill_new(MDB_env *env, const struct store_meta *meta)
{
	MDB_dbi dbi[STORE_DB_COUNT];
	MDB_txn *txn;
	int rc = store_env_databases(env, true, dbi);

	if (rc == 0)
		rc = mdb_txn_begin(env, NULL, 0, &txn);
	if (rc != 0)
		return rc;
	rc = store_meta_create(txn, dbi[STORE_DB_META], meta);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

int
store_create(const char *dir, const struct store_options *options, const uint8_t id[STORE_ID_LEN],
    const uint8_t boot[STASH__BOOT_ID_LEN])
{
	struct store_meta meta = { .format = STORE_FORMAT, .clean = true, .next_event = 1 };
	char path[STORE_PATH_ROOM], temporary[STORE_PATH_ROOM];
	MDB_env *env;
	int rc = store_path(path, dir, STORE_DATA), bad;

	if (rc == 0)
		rc = store_path(temporary, dir, STORE_DATA ".new");
	if (rc != 0)
		return rc;
	meta.event_ring = options->event_ring > 0 ? options->event_ring : STORE_EVENT_RING;
	memcpy(meta.id, id, STORE_ID_LEN);
	memcpy(meta.boot, boot, STASH__BOOT_ID_LEN);
	/* Whoever began it before was killed. */
	if (unlink(temporary) != 0 && errno != ENOENT)
		return stash__fail_errno("%s: can't be removed", temporary);
	bad = store_env_open(temporary, STORE_ENV_CREATE, options->map_bytes, &env);
	if (bad == 0)
		bad = fill_new(env, &meta);
	mdb_env_close(env);
	if (bad != 0) {
		rc = store_fail(bad, "%s: can't be made", path);
		unlink(temporary);
		return rc;
	}
	if (rename(temporary, path) != 0)
		return stash__fail_errno("%s: can't be made", path);
	return store_fsync_dir(dir);
}

/*
 * LMDB writes to this file through a map, so all of it must be there.  Closing it would drop this process's locks on
 * it, of which there are none: nobody has the store open but the caller, who is only about to.
 */
static int
allocate_lock_file(const char *dir)
{
	char path[STORE_PATH_ROOM];
	int fd, bad, rc = store_path(path, dir, STORE_LOCK_FILE);

	if (rc != 0)
		return rc;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return stash__fail_errno("%s: can't be opened", path);
	bad = posix_fallocate(fd, 0, LOCK_FILE_BYTES);
	close(fd);
	return bad == 0 ? 0 : store_fail(bad, "%s: can't be allocated", path);
}

static int
set_aside(struct store *store)
{
	char path[STORE_PATH_ROOM], aside[STORE_PATH_ROOM], file[sizeof(store->found.set_aside)];
	time_t now = time(NULL);
	struct tm tm;
	int rc = store_path(path, store->dir, STORE_DATA);

	gmtime_r(&now, &tm);
	strftime(file, sizeof(file), STORE_DATA ".damaged-%Y%m%dT%H%M%SZ", &tm);
	if (rc == 0)
		rc = store_path(aside, store->dir, file);
	if (rc != 0)
		return rc;
	/* Two in one second: the second waits for the operator rather than replace the first. */
	if (link(path, aside) != 0 || unlink(path) != 0)
		return stash__fail_errno("%s: can't be set aside as %s", path, file);
	memcpy(store->found.set_aside, file, sizeof(file));
	return store_fsync_dir(store->dir);
}

static int
check_id(const struct store *store, const struct store_meta *meta)
{
	if (memcmp(meta->id, store->id, STORE_ID_LEN) == 0)
		return 0;
	return stash__fail(STASH_E_CORRUPT,
	    "%s: stash.info and data.mdb are of two stores. Nothing was changed. Put back the file that belongs here",
	    store->dir);
}

/* What the file says, from a child; makes a database if there is none, or none that can be used and it is wanted. */
static int
examine(struct store *store, struct store_meta *meta)
{
	const struct store_options *options = &store->options;
	struct store_child_result result;
	int rc = store_probe(store->dir, options, store->boot, options->validate, &result);

	if (rc == STASH_E_CORRUPT && result.damaged && options->set_aside && !options->read_only)
		rc = set_aside(store) == 0 ? STASH_E_NOENT : STASH_E_SYSTEM;
	if (rc == STASH_E_NOENT && !options->read_only) {
		store->found.created = true;
		rc = store_create(store->dir, options, store->id, store->boot);
		if (rc == 0)
			rc = store_probe(store->dir, options, store->boot, false, &result);
	}
	if (rc != 0)
		return rc;
	*meta = result.meta;
	store->found.validated = result.walked;
	store->found.clean = meta->clean;
	store->found.same_boot = memcmp(meta->boot, store->boot, STASH__BOOT_ID_LEN) == 0;
	return check_id(store, meta);
}

/* From here on a boot that isn't this one finds no clean mark. */
static int
note_boot(struct store *store)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(store->env, NULL, 0, &txn);

	if (rc == 0) {
		rc = store_meta_put_boot(txn, store->dbi[STORE_DB_META], store->boot, false);
		if (rc != 0)
			mdb_txn_abort(txn);
		else
			rc = mdb_txn_commit(txn);
	}
	return rc == 0 ? 0 : store_fail(rc, "%s: this boot can't be noted", store->dir);
}

static uint64_t
reserve_of(uint64_t quota)
{
	uint64_t reserve = quota / RESERVE_SHARE;

	if (reserve < RESERVE_MIN)
		return RESERVE_MIN;
	return reserve < RESERVE_MAX ? reserve : RESERVE_MAX;
}

static int
open_env(struct store *store, const struct store_meta *meta)
{
	const struct store_options *options = &store->options;
	MDB_stat stat;
	int rc;

	if (!options->read_only && (rc = allocate_lock_file(store->dir)) != 0)
		return rc;
	rc = store_env_open(
	    store->dir, options->read_only ? STORE_ENV_READ : STORE_ENV_WRITE, options->map_bytes, &store->env);
	if (rc == 0)
		rc = store_env_databases(store->env, false, store->dbi);
	if (rc == 0)
		rc = mdb_env_stat(store->env, &stat);
	if (rc != 0)
		return store_fail(rc, "%s: the store can't be opened", store->dir);
	store->page = stat.ms_psize;
	store->quota_pages = options->quota_bytes / store->page;
	store->reserve_pages = reserve_of(options->quota_bytes) / store->page;
	store->event_ring = meta->event_ring;
	store->marked_clean = false;
	if (options->read_only)
		return 0;
	rc = store_fsync_dir(store->dir);
	if (rc == 0 && (meta->clean || memcmp(meta->boot, store->boot, STASH__BOOT_ID_LEN) != 0))
		rc = note_boot(store);
	return rc;
}

static int
take_options(struct store *store, const char *dir, const struct store_options *given)
{
	struct store_options *options = &store->options;

	if (given != NULL)
		*options = *given;
	if (options->map_bytes == 0)
		options->map_bytes = STORE_MAP_BYTES;
	if (options->quota_bytes == 0)
		options->quota_bytes = STORE_QUOTA_BYTES;
	if (options->quota_bytes < QUOTA_MIN || options->quota_bytes > options->map_bytes)
		return stash__fail(STASH_E_INVAL,
		    "%s: a quota of %llu bytes: it must be from 1 MiB to the map's %llu bytes", dir,
		    (unsigned long long)options->quota_bytes, (unsigned long long)options->map_bytes);
	if (options->boot_id != NULL)
		memcpy(store->boot, options->boot_id, STASH__BOOT_ID_LEN);
	else if (stash__boot_id(store->boot) != 0)
		return STASH_E_SYSTEM;
	options->boot_id = NULL;
	store->dir = strdup(dir);
	return store->dir != NULL ? 0 : stash__fail(STASH_E_NOMEM, "%s: no memory for a store", dir);
}

static int
open_locked(struct store *store)
{
	struct store_meta meta;
	int rc = examine(store, &meta);

	if (rc == 0)
		rc = store_list_add(store);
	return rc == 0 ? open_env(store, &meta) : rc;
}

static int
read_info(struct store *store)
{
	struct stash__info info;
	int rc = stash__info_read(store->dir, &info);

	if (rc == 0)
		memcpy(store->id, info.id, STORE_ID_LEN);
	return rc;
}

int
store_open(struct store **result, const char *dir, const struct store_options *given)
{
	struct store *store;
	int major, minor, patch, rc;

	mdb_version(&major, &minor, &patch);
	rc = store_check_lmdb(major, minor, patch);
	if (rc != 0)
		return rc;
	store = calloc(1, sizeof(*store));
	if (store == NULL)
		return stash__fail(STASH_E_NOMEM, "%s: no memory for a store", dir);
	store->pid = getpid();
	store->lock_fd = -1;
	pthread_rwlock_init(&store->lock, NULL);
	store_copy_init(store);
	rc = take_options(store, dir, given);
	if (rc == 0)
		rc = read_info(store);
	if (rc == 0)
		rc = store_list_check(dir);
	if (rc == 0 && store->options.lock_fd <= 0) {
		rc = store_lock(dir, !store->options.read_only, store->options.lock_timeout_ms, &store->lock_fd);
		store->own_lock = rc == 0;
	}
	if (rc == 0)
		rc = open_locked(store);
	if (rc != 0) {
		store_close(store);
		return rc;
	}
	*result = store;
	return 0;
}

void
store_close(struct store *store)
{
	bool own;

	if (store == NULL)
		return;
	own = store->pid == getpid();
	store_list_remove(store);
	/* Waits for reads in other threads, which a forked child doesn't have, though it may have their hold on
	 * the lock. */
	if (own) {
		store_copy_stop(store);
		pthread_rwlock_wrlock(&store->lock);
	}
	/* The one thing that LMDB allows with an inherited environment: slots and locks of the parent stay as
	 * they are. */
	mdb_env_close(store->env);
	if (own) {
		pthread_rwlock_unlock(&store->lock);
		pthread_rwlock_destroy(&store->lock);
		store_copy_done(store);
	}
	if (store->own_lock)
		close(store->lock_fd);
	free(store->dir);
	free(store);
}

int
store_reopen(struct store *store)
{
	struct store_child_result result;
	int rc;

	if (store->pid != getpid())
		return stash__fail(STASH_E_FORKED, "%s: the store belongs to process %ld, which forked this one",
		    store->dir, (long)store->pid);
	if (store->in_batch)
		return stash__fail(
		    STASH_E_INVAL, "%s: a batch is open; end it before the store is reopened", store->dir);
	store_copy_stop(store);
	pthread_rwlock_wrlock(&store->lock);
	mdb_env_close(store->env);
	store->env = NULL;
	rc = store_probe(store->dir, &store->options, store->boot, store->suspect, &result);
	if (rc == 0)
		rc = check_id(store, &result.meta);
	if (rc == 0)
		rc = open_env(store, &result.meta);
	if (rc == 0) {
		store->failed = false;
		store->suspect = false;
	} else {
		mdb_env_close(store->env);
		store->env = NULL;
	}
	pthread_rwlock_unlock(&store->lock);
	return rc;
}

const struct store_found *
store_found(const struct store *store)
{
	return &store->found;
}

bool
store_was_clean(const struct store *store)
{
	return store->found.clean;
}

bool
store_failed(const struct store *store)
{
	return store->failed || store->env == NULL;
}
