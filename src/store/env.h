/* SPDX-License-Identifier: ISC */
/*
 * env.h: the inside of the store, for the files of this folder alone: what an open store is, and how LMDB is called.
 * mdb_env_open() is called in one place (env.c), so that flags and map are the same for everybody.
 */
#ifndef STASH_STORE_ENV_H
#define STASH_STORE_ENV_H

#include <sys/types.h>

#include <bsd/sys/queue.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/boot.h"
#include "base/info.h"
#include "store/row.h"
#include "store/store.h"

#define STORE_DATA "data.mdb"
#define STORE_LOCK_FILE "lock.mdb"
#define STORE_PATH_ROOM 4200u

/* What the file itself says about the store. */
struct store_meta {
	uint32_t format;
	uint8_t id[STORE_ID_LEN];
	uint8_t boot[STASH__BOOT_ID_LEN]; /* of the last user */
	bool clean;			  /* it stopped in order */
	uint32_t event_ring;
	uint64_t next_event;
};

_Static_assert(STORE_FORMAT == STASH__INFO_FORMAT && STORE_ID_LEN == STASH__STORE_ID_LEN, "stash.info");

struct store {
	LIST_ENTRY(store) entry; /* in the list of this process's open stores */
	dev_t dev;		 /* of data.mdb */
	ino_t ino;
	pid_t pid;
	char *dir;
	int lock_fd;
	bool own_lock;
	struct store_options options; /* with the defaults filled in */
	uint8_t boot[STASH__BOOT_ID_LEN];
	uint8_t id[STORE_ID_LEN]; /* of stash.info */
	struct store_found found;
	pthread_rwlock_t lock; /* readers and the batch: shared; reopen, close: exclusive */
	MDB_env *env;	       /* NULL: a reopen failed */
	MDB_dbi dbi[STORE_DB_COUNT];
	uint32_t event_ring;
	uint64_t page; /* bytes */
	uint64_t quota_pages;
	uint64_t reserve_pages; /* of these, only for deletes and, half of it, for the supervisor's rows */
	atomic_bool in_batch;
	atomic_bool failed; /* a commit failed; store_reopen() first */
	bool suspect;	    /* and it was more than a lack of room */
	bool marked_clean;
	pthread_mutex_t copy_lock;
	int copy_fd; /* that a copy is being written to; -1: none is */
};

/* One transaction's work; see batch.c. */
struct store_batch {
	struct store *store;
	MDB_txn *txn;
	uint64_t id;	   /* the transaction's */
	int error;	   /* the first one, which sticks */
	char message[400]; /* its sentence */
	bool event_loaded;
	uint64_t next_event, stored_event;
	/* for the quota */
	uint64_t pages;	   /* that the file has */
	uint64_t overflow; /* pages of its own that the batch needs at most */
	uint64_t puts[STORE_DB_COUNT], bytes[STORE_DB_COUNT];
	bool free_known;
	uint64_t free; /* pages in the file that it may use again */
};

/* ---- env.c ---- */

enum store_env_use {
	STORE_ENV_WRITE = 0,  /* the committing process */
	STORE_ENV_READ = 1,   /* without LMDB's lock file: under the lock of the directory */
	STORE_ENV_CREATE = 2, /* path is a file that nobody knows yet */
	STORE_ENV_FILE = 3    /* path is a file, read as with STORE_ENV_READ */
};

/* The shared open routine.  Tries again for up to 1 s what may pass.  MDB_* or errno; *env NULL after a failure. */
int store_env_open(const char *path, enum store_env_use, uint64_t map_bytes, MDB_env **env);
/* Handles of all databases.  MDB_NOTFOUND: one is missing. */
int store_env_databases(MDB_env *env, bool create, MDB_dbi dbi[STORE_DB_COUNT]);
/* STASH_E_* for an error of LMDB or errno. */
int store_code(int rc);
/* An error of LMDB or errno as ours, with the sentence; LMDB's words go to its end. */
int store_fail(int rc, const char *fmt, ...) STASH_PRINTF(2, 3);
/* dir/file; STASH_E_TOOBIG. */
int store_path(char path[STORE_PATH_ROOM], const char *dir, const char *file);
int store_fsync_dir(const char *dir);
/* Replaces a text file by what fn writes; path has a directory in it.  What can't be written leaves the former one. */
typedef void store_text_fn(FILE *out, const void *arg);
int store_text_replace(const char *path, store_text_fn *, const void *arg);
/* A value of a transaction, verified; STASH_E_NOENT (without a sentence), STASH_E_CORRUPT. */
int store_txn_get(MDB_txn *, MDB_dbi, enum store_db, const struct store_key *, struct store_row *);

/* The list of open stores: one for each file and process. */
int store_list_check(const char *dir);
int store_list_add(struct store *);
void store_list_remove(struct store *);

/* A read transaction, the shared lock held meanwhile. */
int store_read_begin(struct store *, MDB_txn **);
void store_read_end(struct store *, MDB_txn *);

/* ---- meta.c ---- */

/* Reads what is in meta, the format first: STASH_E_FORMAT if it is another, with nothing else read. */
int store_meta_read(MDB_txn *, MDB_dbi, struct store_meta *);
/* A new store's rows: format, id, events. */
int store_meta_create(MDB_txn *, MDB_dbi, const struct store_meta *);
/* MDB_*: 0 or an error of LMDB. */
int store_meta_put_boot(MDB_txn *, MDB_dbi, const uint8_t boot[STASH__BOOT_ID_LEN], bool clean);
int store_meta_put_events(MDB_txn *, MDB_dbi, uint64_t next, uint32_t ring);
int store_meta_events(MDB_txn *, MDB_dbi, uint64_t *next, uint32_t *ring);

/* ---- open.c ---- */

/* Makes data.mdb, whole or not at all. */
int store_create(const char *dir, const struct store_options *, const uint8_t id[STORE_ID_LEN],
    const uint8_t boot[STASH__BOOT_ID_LEN]);

/* ---- child.c ---- */

struct store_child_result {
	int code;	 /* 0 or STASH_E_* */
	bool damaged;	 /* the file is bad, as against: could not be looked at */
	bool walked;	 /* everything was looked at */
	bool other_lmdb; /* the file says that it is of another version of LMDB */
	char text[600];
	struct store_meta meta;
	struct store_report report;
};

/*
 * Runs fn in a child that nothing outlives: no core, no descriptor but the pipe, dead after `seconds`, dead with its
 * parent.  A child that died counts as damaged.  Returns 0 (see result) or the error that kept it from running.
 */
int store_child_run(
    void (*fn)(void *arg, struct store_child_result *), void *arg, uint32_t seconds, struct store_child_result *);

/* ---- validate.c ---- */

/* Looks at data.mdb in a child: reads meta, and if need be or `all', everything. */
int store_probe(const char *dir, const struct store_options *, const uint8_t boot[STASH__BOOT_ID_LEN], bool all,
    struct store_child_result *);
/* Looks at all of a file in a child.  findings: memory shared with it, or NULL: the first one ends it. */
int store_probe_file(
    const char *path, const struct store_options *, struct store_findings *, struct store_child_result *);

/* ---- copy.c ---- */

void store_copy_init(struct store *);
void store_copy_done(struct store *);

/* ---- walk.c ---- */

/* Everything: for the child alone, since it may be killed by what is in the file. */
int store_walk(MDB_env *, const struct store_meta *, const MDB_dbi dbi[STORE_DB_COUNT], struct store_report *,
    struct store_findings *);

/* ---- backup.c ---- */

/* All of a file to another. */
int store_copy_bytes(const char *path, int fd);

/* ---- pages.c ---- */

/* Each page, by reading: STASH_E_CORRUPT says which one is wrong, and how.  Nobody may write meanwhile. */
int store_walk_pages(MDB_env *);

/* ---- quota.c ---- */

/* Pages in the file that the next transaction may use again; all: those that a later one may, too. */
int store_free_pages(MDB_env *, bool all, uint64_t *pages);
/* Before a put of vlen bytes: 0, or STASH_E_FULL. */
int store_quota_take(struct store_batch *, enum store_db, size_t klen, size_t vlen);

/* ---- batch.c, rows.c ---- */

/* 0, or the error that sticks, its sentence set again. */
int store_batch_check(struct store_batch *);
/* Makes the thread's message and code stick; returns code. */
int store_batch_fail(struct store_batch *, int code);
/* Seals row (plen bytes of payload at row + STORE_ROW_HEAD) and puts it. */
int store_batch_put(
    struct store_batch *, enum store_db, const struct store_key *, uint64_t seq, unsigned char *row, size_t plen);
/*
 * Deletes the rows from `from' on whose keys begin with its first prefix_len bytes, *budget at most, which is counted
 * down.  1: there are more.
 */
int store_batch_delete(
    struct store_batch *, enum store_db, const struct store_key *from, size_t prefix_len, uint64_t *budget);

/* ---- gather.c ---- */

struct store_gather {
	enum store_db db;
	bool heads;
	int (*fn)(void *arg, const struct store_state *);
	void *arg;
	bool open;		  /* a head was seen, more rows are to come */
	struct store_state state; /* owns its memory */
	struct store_key prefix;  /* of the state's keys, all but the chunk */
	uint32_t history_top;
	uint32_t next, chunks;
	uint64_t states, orphans;
};

/* As store_gather_row(), but 1: state is whole, and the caller's to take (owned := NULL) or to leave. */
int store_gather_feed(struct store_gather *, const struct store_row *);

#endif
