/* SPDX-License-Identifier: ISC */
/*
 * The inside of struct stash_store, and what the tools see besides store.h. The
 * reader never writes: slots are mapped read-only, LMDB is opened read-only and
 * only while no stash process has it. It decides anew in each call whether a
 * stashd runs, so that a handle outlives any number of them.
 */
#ifndef READER_READER_H
#define READER_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <stash/store.h>

#include "base/info.h"
#include "shm/format.h"
#include "shm/names.h"
#include "shm/record.h"
#include "store/store.h"

/* How long a request to the stash process may take. */
#define STASH__READER_WAIT_MS 5000

struct stash_store {
	pid_t pid; /* who opened it: no other process may use it */
	char *dir;
	struct stash__info info;
	uint8_t boot_id[STASH__ID];
	/* of the call that is under way, one of them at most; NULL between calls */
	struct stash_client *client; /* of the stashd that runs */
	struct store *offline;	     /* LMDB, read-only */
	unsigned depth;		     /* calls in calls, from a callback */
	int64_t silent_until;	     /* CLOCK_MONOTONIC: a stashd that didn't answer isn't asked before */
};

/* For tests that can't map 64 GiB; 0: the store's own size. */
extern uint64_t stash__reader_map_bytes;

/* ---- calls (open.c) ---- */

/* Begins a call on a handle: STASH_E_INVAL, _FORKED, _ACCES. Each good one is ended. */
int stash__reader_enter(struct stash_store *store);
void stash__reader_leave(struct stash_store *store);
/* Lets go of what a call has opened, for one that sleeps. */
void stash__reader_release(struct stash_store *store);

/* Whether that process is there, and no zombie (alive.c). */
bool stash__reader_alive(uint64_t pid, uint64_t start_time);

/* ---- rows (source.c, ask.c, offline.c); within a call ---- */

typedef int stash__row_fn(void *arg, const struct store_row *row); /* not 0: stop, and return it */

/*
 * All rows of a scan, slice by slice, from the stash process if a stashd runs, else from LMDB. No transaction is
 * open while fn runs; each slice is a moment of its own. scan->from, prefix, flags, db are used.
 */
int stash__reader_scan(struct stash_store *store, const struct store_scan *scan, stash__row_fn *fn, void *arg);
/* Whether a stashd runs: asks for a client. 1, 0, or an error. */
int stash__reader_online(struct stash_store *store);
/* A slice from a running stash process. STASH_E_DOWN: none runs any more. */
int stash__ask_slice(
    struct stash_store *store, const struct store_scan *scan, struct stash_buf *rows, struct store_slice *slice);
/* The processes of the tree, in order, each supervisor before its children; from the supervisor. */
int stash__ask_processes(struct stash_store *store, stash_process_fn *fn, void *arg);
/* A name's last state in its behaviour's own words, and its version; from the supervisor. "": it has none.
 * To be freed. */
int stash__ask_words(struct stash_store *store, const char *name, uint64_t *version, char **words);
/* One LMDB environment for all handles of this process. */
int stash__offline_get(const char *dir, const struct stash__info *info, struct store **store);
void stash__offline_put(struct store *store); /* NULL is fine */

/* ---- slots (slot.c) ---- */

/* Everything about a slot but its image. */
struct stash__look {
	uint64_t incarnation; /* that owns it; with pid and start time */
	uint64_t start_time;
	int32_t pid;
	bool alive; /* that process is there */
	bool ack_disk, no_persist;
	bool durable; /* the state that stash__slot_state() gives is on the disk */
	uint64_t version;
	int64_t time_ns;   /* of the state */
	uint64_t entries;  /* submitted, by all incarnations */
	uint64_t unfolded; /* bytes of entries that the stash hasn't folded yet */
	uint64_t ring_bytes;
	uint64_t retired;     /* deaths of all kinds */
	uint32_t crashes;     /* own faults with no message handled well in between */
	uint32_t last_reason; /* enum stash_reason; if retired > 0 */
	uint32_t channels;
	struct stash__box box; /* a copy; its parts may be of different moments */
};

/*
 * A name's slot as it is now. state and look may be NULL; state->data isn't filled in if head_only.
 * STASH_E_NOENT: it has no slot of this boot and store; STASH_E_CORRUPT.
 */
int stash__slot_read(
    struct stash_store *store, const char *name, bool head_only, struct stash_state *state, struct stash__look *look);
/* Calls fn for the name of each slot, in no order. */
int stash__slot_names(struct stash_store *store, int (*fn)(void *arg, const char *name), void *arg);
/* What the public header promises of a phase. */
uint32_t stash__box_phase(uint32_t phase);

/* ---- what tools ask for besides store.h; each is a call of its own ---- */

/* stash__slot_read() with a look only. */
int stash__store_look(struct stash_store *store, const char *name, struct stash__look *look);
/* 1: a stashd runs; 0: none does; or an error. */
int stash__store_online(struct stash_store *store);
/* When what is there was written last, since 1970: for "offline, as of". */
int stash__store_as_of(struct stash_store *store, int64_t *time_ns);
/* The tree: of the supervisor; offline what the registry says, in the order of paths. */
int stash__store_processes(struct stash_store *store, stash_process_fn *fn, void *arg);
/* All rows of one database, as they are stored. */
int stash__store_rows(struct stash_store *store, enum store_db db, stash__row_fn *fn, void *arg);
/* The registry's further rows: by kind, then by name; of a value its head. */
int stash__store_names(struct stash_store *store,
    int (*fn)(void *arg, const struct stash__name_key *key, const struct stash__name_row *row), void *arg);
/* The rows of the registry for children's own names, by name. */
int stash__store_registry(
    struct stash_store *store, int (*fn)(void *arg, const struct stash__registry_row *row), void *arg);
/* The fields stored for a layout; *fields is NULL if there are none for images of that length. */
int stash__store_fields(struct stash_store *store, const struct stash_state *state, struct stash_field **fields);
/* Who runs the tree; STASH_E_DOWN: nobody. */
struct stash__about;
int stash__store_about(struct stash_store *store, struct stash__about *about);
/* As its behaviour says it (format_status), while a stashd runs. *words, to be freed, is NULL if it says nothing. */
int stash__store_words(struct stash_store *store, const char *name, uint64_t *version, char **words);
/* A copy of the status page. STASH_E_NOENT: there is none; no stash process has run since the last clean stop. */
int stash__store_status(struct stash_store *store, struct stash__status_page *page);
/* The database's figures; offline only: STASH_E_BUSY while a stash process has it. */
int stash__store_stat(struct stash_store *store, struct store_stat *stat);
/*
 * A copy of the database to a regular file: from the stash process if a stashd runs (*online), else of the file itself.
 * It isn't verified.
 */
int stash__store_copy(struct stash_store *store, int fd, int timeout_ms, bool *online);
/* How many slots hold a state that isn't on the disk. */
int stash__store_unsaved(struct stash_store *store, unsigned *count);
const char *stash__store_dir(const struct stash_store *store);
const struct stash__info *stash__store_info(const struct stash_store *store);

#endif
