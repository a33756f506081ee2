/* SPDX-License-Identifier: ISC */
/*
 * env.c: LMDB opened with the one right set of flags: NOTLS, never WRITEMAP, never less than the default syncs, one
 * map size; no LMDB that destroys shared mutexes; one environment for each file and process.  Maps errors to ours.
 */
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/error.h"
#include "store/env.h"

#define READERS 126	      /* LMDB's default; only threads of this one process ever read at once */
#define RETRY_NS 1000000000ll /* for how long an open that may yet succeed is tried again */

/* Flags that would weaken what a commit promises, or let stray writes reach the file. */
#define FORBIDDEN (MDB_WRITEMAP | MDB_NOSYNC | MDB_NOMETASYNC | MDB_MAPASYNC)

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(store_list, store) list = LIST_HEAD_INITIALIZER(list);

int
store_check_lmdb(int major, int minor, int patch)
{
	/* From .26 to .31 a process that closes and believes to be alone destroys the mutexes of all others. */
	if (major != 0 || minor != 9 || (patch >= 26 && patch <= 31))
		return stash__fail(STASH_E_FORMAT,
		    "LMDB %d.%d.%d: refused: it is known to lose updates or has another file format; "
		    "install LMDB 0.9.24, or 0.9.32 or later of 0.9",
		    major, minor, patch);
	return 0;
}

int
store_path(char path[STORE_PATH_ROOM], const char *dir, const char *file)
{
	int len = snprintf(path, STORE_PATH_ROOM, "%s/%s", dir, file);

	if (len < 0 || (unsigned)len >= STORE_PATH_ROOM)
		return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", dir);
	return 0;
}

int
store_fsync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0)
		return stash__fail_errno("%s: can't be opened", dir);
	if (fsync(fd) != 0)
		rc = stash__fail_errno("%s: can't be synced", dir);
	close(fd);
	return rc;
}

int
store_code(int rc)
{
	switch (rc) {
	case MDB_MAP_FULL:
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return STASH_E_FULL;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_NOTFOUND:
	case MDB_INCOMPATIBLE:
	case MDB_CURSOR_FULL: /* a tree deeper than any can be */
	case MDB_PAGE_FULL:
		return STASH_E_CORRUPT;
	case MDB_VERSION_MISMATCH:
		return STASH_E_FORMAT;
	case ENOMEM:
		return STASH_E_NOMEM;
	case EACCES:
	case EPERM:
	case EROFS:
		return STASH_E_ACCES;
	default:
		return STASH_E_SYSTEM;
	}
}

int
store_fail(int rc, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return stash__fail(store_code(rc), "%s: %s%s", text, mdb_strerror(rc),
	    rc == ENOMEM ? " (the map needs address space: no limit of ulimit -v below it)" : "");
}

/* Races of openers, an interrupted call: worth another try. */
static bool
may_pass(int rc)
{
	return rc == EINTR || rc == EAGAIN || rc == EBUSY || rc == EINVAL || rc == MDB_INVALID;
}

static int
open_once(const char *path, unsigned flags, uint64_t map_bytes, MDB_env **env)
{
	int rc = mdb_env_create(env);

	if (rc != 0)
		return rc;
	rc = mdb_env_set_mapsize(*env, map_bytes);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(*env, STORE_DB_COUNT);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(*env, READERS);
	if (rc == 0)
		rc = mdb_env_open(*env, path, flags, 0600);
	if (rc != 0) {
		mdb_env_close(*env);
		*env = NULL;
	}
	return rc;
}

int
store_env_open(const char *path, enum store_env_use use, uint64_t map_bytes, MDB_env **env)
{
	static const unsigned use_flags[] = {
		[STORE_ENV_WRITE] = 0,
		[STORE_ENV_READ] = MDB_RDONLY | MDB_NOLOCK,
		[STORE_ENV_CREATE] = MDB_NOSUBDIR | MDB_NOLOCK,
		[STORE_ENV_FILE] = MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK,
	};
	struct timespec pause = { .tv_nsec = 1000000 };
	int64_t until = stash__now_ns() + RETRY_NS;
	unsigned flags = 0;
	mdb_filehandle_t fd;
	int rc;

	*env = NULL;
	for (;;) {
		rc = open_once(path, MDB_NOTLS | use_flags[use], map_bytes, env);
		if (!may_pass(rc) || stash__now_ns() >= until)
			break;
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 100000000)
			pause.tv_nsec *= 2;
	}
	if (rc != 0)
		return rc;
	/* LMDB opens this one without it, and a forked child that execs must not take it along. */
	rc = mdb_env_get_fd(*env, &fd);
	STASH_ASSERT(rc == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0);
	STASH_ASSERT(mdb_env_get_flags(*env, &flags) == 0 && (flags & FORBIDDEN) == 0);
	return 0;
}

int
store_env_databases(MDB_env *env, bool create, MDB_dbi dbi[STORE_DB_COUNT])
{
	MDB_txn *txn = NULL;
	int rc = mdb_txn_begin(env, NULL, create ? 0 : MDB_RDONLY, &txn);

	for (int db = 0; rc == 0 && db < STORE_DB_COUNT; db++)
		rc = mdb_dbi_open(txn, store_db_name((enum store_db)db), create ? MDB_CREATE : 0, &dbi[db]);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	/* Handles live on only if the transaction that made them is committed. */
	return mdb_txn_commit(txn);
}

int
store_txn_get(MDB_txn *txn, MDB_dbi dbi, enum store_db db, const struct store_key *key, struct store_row *row)
{
	MDB_val k = { key->len, (void *)(uintptr_t)key->bytes }, v;
	char text[400];
	int rc = mdb_get(txn, dbi, &k, &v);

	if (rc == MDB_NOTFOUND)
		return STASH_E_NOENT;
	if (rc != 0)
		return store_fail(
		    rc, "%s: can't be read", store_key_text(db, key->bytes, key->len, text, sizeof(text)));
	return store_value_open(db, key->bytes, key->len, v.mv_data, v.mv_size, row);
}

static struct store *
find(dev_t dev, ino_t ino)
{
	struct store *store;

	LIST_FOREACH(store, &list, entry) {
		/* What a child inherits is no store of its own. */
		if (store->dev == dev && store->ino == ino && store->pid == getpid())
			return store;
	}
	return NULL;
}

static int
busy(const char *dir)
{
	return stash__fail(STASH_E_BUSY, "%s: this process has the store open already", dir);
}

int
store_list_check(const char *dir)
{
	char path[STORE_PATH_ROOM];
	struct stat st;
	bool found;
	int rc = store_path(path, dir, STORE_DATA);

	if (rc != 0 || stat(path, &st) != 0)
		return rc;
	pthread_mutex_lock(&list_lock);
	found = find(st.st_dev, st.st_ino) != NULL;
	pthread_mutex_unlock(&list_lock);
	return found ? busy(dir) : 0;
}

int
store_list_add(struct store *store)
{
	char path[STORE_PATH_ROOM];
	struct stat st;
	bool found;
	int rc = store_path(path, store->dir, STORE_DATA);

	if (rc != 0)
		return rc;
	if (stat(path, &st) != 0)
		return stash__fail_errno("%s", path);
	pthread_mutex_lock(&list_lock);
	found = find(st.st_dev, st.st_ino) != NULL;
	if (!found) {
		store->dev = st.st_dev;
		store->ino = st.st_ino;
		LIST_INSERT_HEAD(&list, store, entry);
	}
	pthread_mutex_unlock(&list_lock);
	return found ? busy(store->dir) : 0;
}

void
store_list_remove(struct store *store)
{
	if (store->ino == 0)
		return;
	/* In a forked child another thread's hold on the mutex was copied, the thread was not. */
	if (store->pid == getpid())
		pthread_mutex_lock(&list_lock);
	LIST_REMOVE(store, entry);
	if (store->pid == getpid())
		pthread_mutex_unlock(&list_lock);
	store->ino = 0;
}

int
store_read_begin(struct store *store, MDB_txn **txn)
{
	int rc;

	if (store->pid != getpid())
		return stash__fail(STASH_E_FORKED, "%s: the store belongs to process %ld, which forked this one",
		    store->dir, (long)store->pid);
	pthread_rwlock_rdlock(&store->lock);
	if (store->env == NULL || store->failed) {
		pthread_rwlock_unlock(&store->lock);
		return stash__fail(
		    STASH_E_INVAL, "%s: a commit failed; the store has to be reopened first", store->dir);
	}
	rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, txn);
	if (rc != 0) {
		pthread_rwlock_unlock(&store->lock);
		return store_fail(rc, "%s: can't begin a read", store->dir);
	}
	return 0;
}

void
store_read_end(struct store *store, MDB_txn *txn)
{
	mdb_txn_abort(txn);
	pthread_rwlock_unlock(&store->lock);
}
