/* SPDX-License-Identifier: ISC */
/*
 * store.h: the store, an LMDB environment in one directory, for its one committing process and for read-only tools
 * while none runs.  Batches of changes, reads by copy, scans in slices, and the directory's lock.
 * No type and no number of LMDB comes out of it, and no pointer into its map.  It never writes with fewer flushes
 * than LMDB's default, and never changes a file that it does not understand.
 *
 * Results: 0, or positive where said; else a STASH_E_* code with the thread's message set.  Threads: any number may
 * read; one batch at a time; store_reopen() and store_close() wait for the reads.  After fork() the child may only
 * close (that frees memory and descriptors, no more); any other call is STASH_E_FORKED.
 */
#ifndef STASH_STORE_STORE_H
#define STASH_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/buf.h>
#include <stash/version.h>

#define STORE_FORMAT 1u /* of the databases, the same as stash.info's; another one is refused, never guessed at */
#define STORE_MAP_BYTES (64ull << 30)	      /* the map: one constant for all programs, never resized */
#define STORE_QUOTA_BYTES (1ull << 30)	      /* default of what the file may grow to */
#define STORE_EVENT_RING 16384u		      /* default of the events kept */
#define STORE_ROW_MAX 4080u		      /* bytes of a value: with a page's header exactly one page */
#define STORE_VALUE_MAX (STORE_ROW_MAX - 16u) /* of a caller's row: checksum and sequence number go before it */
#define STORE_KEY_MAX 504u		      /* of a caller's key; LMDB's limit is 511 */
#define STORE_EXTRA_MAX 1536u		      /* of struct store_state's extra */
#define STORE_SCAN_ROWS 1000u		      /* rows in one slice, at most */
#define STORE_SCAN_BYTES (1u << 20)	      /* default of the bytes in one slice */
#define STORE_ID_LEN 16u
#define STORE_CHANNEL_LEN 16u

/* The databases.  The numbers are part of the format and of a scan request. */
enum store_db {
	STORE_DB_META = 0,
	STORE_DB_STATE = 1,
	STORE_DB_HISTORY = 2,
	STORE_DB_CURSOR = 3,
	STORE_DB_REGISTRY = 4,
	STORE_DB_TREE = 5,
	STORE_DB_EVENT = 6,
	STORE_DB_SCHEMA = 7,
	STORE_DB_COUNT = 8
};

/* "state", "history", ...; NULL for a number that is none. */
const char *store_db_name(enum store_db);

/* ---- the directory's lock (lock.c); its stash.info is base/info.h's ---- */

/*
 * Locks the store's lock file (made if missing, 0600): exclusive for a stash process, shared for offline readers.
 * Waits up to timeout_ms (-1: for ever, 0: not at all), then STASH_E_BUSY with the holders' names.  The lock goes with
 * *fd (close-on-exec) and with every descriptor that fork() has made of it: it ends when the last one is closed, so at
 * the latest with the death of those that have it.  An exclusive holder's pid is written into the file.
 */
int store_lock(const char *dir, bool exclusive, int timeout_ms, int *fd);

/* ---- open and close (env.c, open.c) ---- */

struct store;

/* Whether this LMDB may be used: 0, or STASH_E_FORMAT for those known to lose updates, and for other file formats. */
int store_check_lmdb(int major, int minor, int patch);

struct store_options {
	uint64_t map_bytes;   /* 0: STORE_MAP_BYTES.  Another one is for tests under valgrind */
	uint64_t quota_bytes; /* of data.mdb; 0: STORE_QUOTA_BYTES; at least 1 MiB */
	uint32_t event_ring;  /* events kept; counts when the store is made, later the stored number does; 0: default */
	bool read_only;	      /* no lock of LMDB's, nothing written: only under the shared lock of store.lock */
	bool validate;	      /* look at everything first, also after a clean stop */
	bool set_aside;	      /* a store found damaged is renamed to data.mdb.damaged-TIME, and an empty one made */
	int lock_fd;	     /* > 0: the caller's lock from store_lock(), which stays the caller's; else one is taken */
	int lock_timeout_ms; /* for the one taken */
	uint32_t validate_s; /* how long a validation may take; 0: 60 s and 1 s for each 10 MB */
	const uint8_t *boot_id; /* of 16 bytes; NULL: the system's.  Another one is for tests */
};

/* What store_open() found and did. */
struct store_found {
	bool created;	    /* there was no database yet */
	bool clean;	    /* the last user had marked it clean */
	bool same_boot;	    /* the last user was of this boot */
	bool validated;	    /* everything was looked at, and good */
	char set_aside[64]; /* file name of the damaged database that was renamed; "" */
};

/*
 * Opens the store in dir, which has a stash.info.  Refuses LMDB libraries with known faults; makes the databases if
 * there are none; has a child process look at them first, wholly if the machine went down without a clean stop (or on
 * request); notes this boot and clears the clean mark.  options may be NULL.  Blocks: for the lock, the validation, a
 * few flushes.
 *	STASH_E_NOENT	no store there (read_only: or no database yet)
 *	STASH_E_BUSY	another process has it, named in the message; or this one has it open already
 *	STASH_E_FORMAT	another format version, or a refused LMDB; nothing was changed
 *	STASH_E_CORRUPT	damaged, or not the database of this stash.info; the message says what to do; nothing was
 *			changed
 *	STASH_E_FULL	no room on the file system for a new store
 *	STASH_E_TIMEDOUT the validation took longer than validate_s, or was killed: not known to be damaged
 */
int store_open(struct store **, const char *dir, const struct store_options *);
/* NULL is fine.  No batch may be open.  In a forked child: frees memory and descriptors; the parent's stay good. */
void store_close(struct store *);
const struct store_found *store_found(const struct store *);
/* Whether the last user before this one stopped cleanly (or there was none). */
bool store_was_clean(const struct store *);
/* The last commit of an orderly stop.  A batch that is begun after it takes the mark away again. */
int store_mark_clean(struct store *);
/*
 * After a commit that failed: closes and opens anew, keeps the lock, validates if more than room was missing.  No
 * batch may be open.  What is then read is what counts: the failed batch is either wholly in the store or not at all.
 * A failure leaves the store unusable but for another store_reopen() or store_close().
 */
int store_reopen(struct store *);

/* What a validation saw. */
struct store_report {
	uint64_t rows[STORE_DB_COUNT];
	uint64_t bytes;	   /* of data.mdb */
	uint64_t states;   /* whole ones, history included */
	uint64_t txn;	   /* the last one */
	int64_t newest_ns; /* of the last state's commit; 0: there is none */
	int64_t took_ns;
};

/*
 * Looks at everything in a child process: each database in strict key order, counts, every value's checksum, states
 * whole, ring in order, and a compact copy to nowhere.  0, or STASH_E_CORRUPT with what is wrong; also _FORMAT, _NOENT,
 * _BUSY, _TIMEDOUT.  Takes the shared lock unless options->lock_fd says that the caller has one; nobody may have it
 * open for writing.  options and report may be NULL.
 */
int store_validate(const char *dir, const struct store_options *, struct store_report *);

/*
 * What is wrong with a file, one thing in each line: damage of a row doesn't end the search, and if the damage kills
 * the child that reads, another one reads the databases that are left.
 */
#define STORE_FINDINGS_MAX 64u
struct store_findings {
	uint32_t count; /* of all; no more than STORE_FINDINGS_MAX have a text */
	char text[STORE_FINDINGS_MAX][400];
	/* the inside: what is being read, for when that kills the reader */
	uint32_t db, skip; /* skip: a bit for each database that isn't to be read */
	uint32_t key_len;
	unsigned char key[512];
};
/*
 * Looks at all of a database file, as store_validate() does, for all that is wrong.  Nobody may write to it meanwhile.
 * 0: it is good; 1: it is damaged, *findings says how; or an error: it can't be looked at (STASH_E_NOENT, _FORMAT,
 * _TIMEDOUT, ...).  id is the store's.
 */
int store_check_file(const char *path, const struct store_options *, struct store_findings *, struct store_report *,
    uint8_t id[STORE_ID_LEN]);

/*
 * Calls fn for each state in a database file that was just found good: its head, name, seq, version, time; until fn
 * returns other than 0, which is returned.
 */
struct store_state;
int store_list_states(
    const char *path, const struct store_options *, int (*fn)(void *arg, const struct store_state *), void *arg);

/* ---- copies (copy.c) ---- */

/*
 * Writes a copy of the database, as of one moment, to a regular file, from its beginning.  Batches and reads go on
 * meanwhile; pages that are freed are used again only after it.  May be called in any thread, one at a time
 * (STASH_E_BUSY).  store_close() and store_reopen() interrupt it (STASH_E_BUSY).  STASH_E_FULL: no room for the copy.
 * Nothing is synced, and nothing is said about whether what is copied is good.
 */
int store_copy(struct store *, int fd);
/* Has the one that is under way fail, so that nobody waits for it. */
void store_copy_stop(struct store *);

/* ---- states ---- */

/*
 * A worker's state.  data and extra are the caller's when put; what store_get_state() gives lies in `owned': data
 * aligned to 16 bytes with a NUL past its end, free it by store_state_free().
 */
struct store_state {
	const char *name;
	uint64_t seq; /* entry number: a stored state is replaced only by a higher one */
	uint64_t version;
	uint64_t stored;      /* out: how many states of this name were stored, up to this one */
	int64_t committed_ns; /* CLOCK_REALTIME */
	uint32_t layout_version;
	uint32_t flags; /* the caller's */
	char layout[STASH_NAME_MAX + 1];
	const void *data;
	size_t len;	   /* up to STASH_STATE_MAX */
	const void *extra; /* the caller's, kept with the state */
	size_t extra_len;  /* up to STORE_EXTRA_MAX */
	void *owned;
};

/* How far a channel is, as of a state. */
struct store_cursor {
	uint8_t channel[STORE_CHANNEL_LEN];
	uint64_t seq;		       /* entry number of the state that it goes with */
	uint64_t req_bytes, req_count; /* requests consumed */
	uint64_t rep_bytes, rep_count; /* replies written */
	uint32_t flags;		       /* the caller's */
	uint32_t uid;
};

/* ---- batches: everything in one is stored, or nothing ---- */

struct store_batch;

/* Results of a put by entry number, where nothing was written and the batch is as good as before. */
enum store_put {
	STORE_PUT_DONE = 0,
	STORE_PUT_SAME = 1, /* the stored one has the same number */
	STORE_PUT_OLD = 2   /* the stored one has a higher number */
};

/*
 * Begins a batch.  STASH_E_BUSY: another one is open; STASH_E_INVAL: read-only, or a commit failed and store_reopen()
 * was not called.  It is this thread's until it is committed or aborted.  The first error in a batch sticks, unless it
 * is said otherwise: later calls return it, and store_commit() then stores nothing.  A put that would make the file
 * larger than its quota is STASH_E_FULL; deleting may use a reserve.
 */
int store_begin(struct store *, struct store_batch **);
/*
 * Stores a state if its entry number is higher than the stored one's (enum store_put says so), and, with history_n >
 * 0, also as history: the place is the count of stored states modulo history_n; 0 removes what history there is, up to
 * 65,535 are kept.  Until history_n more were stored after it was changed, some of the newest may be missing, and some
 * older ones be there.  STASH_E_CORRUPT: the stored head is damaged, so its number isn't known; nothing was written and
 * the batch is as good as before (store_del_state() makes room for it).  Likewise _INVAL and _TOOBIG.
 */
int store_put_state(struct store_batch *, const struct store_state *, uint32_t history_n);
/* enum store_put, by seq.  STASH_E_CORRUPT as above. */
int store_put_cursor(struct store_batch *, const char *name, const struct store_cursor *);
/* Nothing there: 0 too. */
int store_del_cursor(struct store_batch *, const char *name, const uint8_t channel[STORE_CHANNEL_LEN]);
/* For registry, tree, schema: key 1 to STORE_KEY_MAX bytes, value up to STORE_VALUE_MAX. */
int store_put_row(struct store_batch *, enum store_db, const void *key, size_t klen, const void *value, size_t vlen);
/* Nothing there: 0 too. */
int store_del_row(struct store_batch *, enum store_db, const void *key, size_t klen);
/* Stores an event in the ring and gives it the next sequence number, from 1; seq may be NULL. */
int store_put_event(struct store_batch *, const void *value, size_t vlen, uint64_t *seq);
/*
 * Forgets a name: one step removes up to 1,000 rows of its history, cursors and state, in that order.  1: more is
 * left, to be done in further batches (a big free list in one transaction would slow down all later ones); 0: all gone.
 */
int store_del_state(struct store_batch *, const char *name);
/*
 * Commits, and frees the batch in any case.  0: on the disk.  After an error of the batch before the commit nothing
 * was stored, and the store goes on.  An error of the commit itself (STASH_E_FULL for a full disk or a failed write or
 * flush, else _SYSTEM or _CORRUPT) means "unknown": store_failed() is then true, and the caller has to store_reopen()
 * and to read back what is there.
 */
int store_commit(struct store_batch *);
/* NULL is fine. */
void store_abort(struct store_batch *);
bool store_failed(const struct store *);

/* ---- reads: short transactions, everything copied and its checksum verified (STASH_E_CORRUPT names the key) ---- */

/* STASH_E_NOENT: no such state.  *state is written whole, also on failure. */
int store_get_state(struct store *, const char *name, struct store_state *state);
void store_state_free(struct store_state *);
/* Everything of a state but data: neither is read, data is NULL (len is right). */
int store_get_state_head(struct store *, const char *name, struct store_state *state);
/*
 * Calls fn for each stored state of a name, newest first, the current one included; data is only good in fn.  heads:
 * without data.  fn returning other than 0 ends it and is the result.  Not in a transaction while fn runs.
 */
int store_get_history(
    struct store *, const char *name, bool heads, int (*fn)(void *arg, const struct store_state *), void *arg);
/* Calls fn for each cursor of a name, in the order of channel ids; otherwise as above. */
int store_get_cursors(struct store *, const char *name, int (*fn)(void *arg, const struct store_cursor *), void *arg);
/* A row of registry, tree, schema: *value is malloc'ed (a NUL past its end).  STASH_E_NOENT. */
int store_get_row(struct store *, enum store_db, const void *key, size_t klen, void **value, size_t *vlen);

/* ---- scans ---- */

#define STORE_SCAN_AFTER 1u /* begin behind `from', not at it */
#define STORE_SCAN_HEADS 2u /* of state and history only the first row of each state, not the rows with more data */

/*
 * A slice of a database, in key order.  Keys are as store_key_*() make them.  Events are in the order of their numbers
 * with 8-byte big-endian keys, wherever they stand in the ring.
 */
struct store_scan {
	enum store_db db;
	uint32_t flags;
	uint32_t max_rows;  /* 0, or over the limit: STORE_SCAN_ROWS */
	uint32_t max_bytes; /* 0: STORE_SCAN_BYTES; one row is always given */
	const void *from;   /* NULL: the beginning */
	size_t from_len;
	const void *prefix; /* only keys that begin so; NULL: all */
	size_t prefix_len;
};

struct store_slice {
	uint64_t txn; /* the transaction that the slice shows: each slice is a moment of its own */
	uint32_t rows;
	bool more; /* there were more: go on AFTER the last key */
};

/* One row: a key, the sequence number that it was stored under (entry, event, else transaction), the payload. */
struct store_row {
	const void *key;
	size_t klen;
	uint64_t seq;
	const void *value;
	size_t vlen;
};

/* Appends the slice's rows to out, packed; one short read transaction.  A damaged row ends it with STASH_E_CORRUPT. */
int store_scan(struct store *, const struct store_scan *, struct stash_buf *out, struct store_slice *slice);
/* The next row of a packed slice, in place.  1; 0 at the end; STASH_E_FORMAT. */
int store_row_next(struct stash_view *, struct store_row *);

/* Keys of a name's rows in state, history and cursor: their common prefix.  Returns its length, or STASH_E_INVAL. */
#define STORE_PREFIX_MAX (STASH_NAME_MAX + 1u)
int store_key_prefix(const char *name, unsigned char key[STORE_PREFIX_MAX]);

/*
 * Puts rows of state or history (in order, nothing left out but with STORE_SCAN_HEADS) together to states again.
 * fn gets each one when it is whole; what fn returns other than 0 is returned.  Good for slices that came from a
 * running stash as for those read offline.  data is only good in fn.
 */
struct store_gather;
struct store_gather *store_gather_create(
    enum store_db, bool heads, int (*fn)(void *arg, const struct store_state *), void *arg);
void store_gather_destroy(struct store_gather *);
int store_gather_row(struct store_gather *, const struct store_row *);
/* 0 if nothing is left half done, else STASH_E_CORRUPT. */
int store_gather_end(struct store_gather *);
/* A row of cursor.  name has STASH_NAME_MAX + 1 bytes.  STASH_E_FORMAT. */
int store_row_cursor(const struct store_row *, char *name, struct store_cursor *);

/* ---- figures ---- */

struct store_stat {
	uint8_t id[STORE_ID_LEN];
	uint64_t file_bytes; /* that data.mdb has come to; it never shrinks */
	uint64_t free_bytes; /* of these, free for reuse */
	uint64_t quota_bytes;
	uint64_t map_bytes;
	uint64_t rows[STORE_DB_COUNT];
	uint64_t txn; /* of the last commit */
	uint64_t next_event;
	uint32_t event_ring;
	uint32_t readers; /* reader slots in use now; 0 when read-only */
};

int store_stat(struct store *, struct store_stat *);
uint64_t store_last_event(struct store *); /* number of the newest event; 0: none */

#endif
