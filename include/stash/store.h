/* SPDX-License-Identifier: ISC */
/*
 * Looking at a store: last states, history, events, live figures. It only
 * reads, and it needs no stashd: last states and black boxes are read straight
 * from shared memory, by nobody's leave; history and events are asked of the
 * stash process while one runs, else read from the store's file.
 *
 * A handle belongs to one thread at a time; handles of a process share one map.
 * After fork the child may only close it; any other call is STASH_E_FORKED. In a
 * worker every function is STASH_E_ACCES.
 */
#ifndef STASH_STORE_H
#define STASH_STORE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <stash/client.h>
#include <stash/error.h>
#include <stash/version.h>

/* A store, open for reading. Opaque. Since 0.1.0. */
struct stash_store;

/* For stash_store_open(): there are none yet. */
struct stash_store_options;

/*
 * A stored state. Written whole by the library, also on failure; needs no
 * preparation; to be freed by stash_state_free(), also after a failure. Since
 * 0.1.0.
 */
struct stash_state {
	void *data;		 /* a copy, aligned to 16, a NUL past len */
	size_t len;		 /* in bytes */
	uint64_t version;	 /* transitions up to it; 0: none ever */
	int64_t committed_ns;	 /* when, in nanoseconds since 1970 */
	uint32_t layout_version; /* the behaviour's */
	uint32_t flags;		 /* none yet: 0 */
	uint64_t reserved[4];
	char layout[STASH_NAME_MAX + 1]; /* the behaviour's name */
};

/* What happened. Since 0.1.0; those marked "later" don't come in this version. */
enum stash_event_type {
	STASH_EV_STARTED = 1,
	STASH_EV_START_FAILED = 2,
	STASH_EV_IGNORED = 3,	/* init: STASH_IGNORE */
	STASH_EV_EXITED = 4,	/* reason tells how */
	STASH_EV_ESCALATED = 5, /* a supervisor gave up */
	STASH_EV_TAKEOVER = 6,	/* a new supervisor took the tree over */
	STASH_EV_CONFIG = 7,
	STASH_EV_STORE = 8,	   /* the store itself: full, recovered, exchanged */
	STASH_EV_HELD = 9,	   /* later */
	STASH_EV_RELEASED = 10,	   /* later */
	STASH_EV_RECOVERED = 11,   /* later */
	STASH_EV_DEAD_LETTER = 12, /* later */
	STASH_EV_MESSAGE = 13	   /* what a worker that has died had in hand, and what becomes of it */
};

/*
 * Which log to read. Since 0.1.0; those marked "later" are empty in this
 * version.
 */
enum stash_log_kind {
	STASH_LOG_EVENTS = 1,
	STASH_LOG_CRASHES = 2, /* text: a JSON object; later */
	STASH_LOG_LETTERS = 3  /* dead letters, likewise; later */
};

/*
 * One line of a log. Lent: valid, with its texts, until the callback returns;
 * grows at the end: never copy it. Since 0.1.0.
 */
struct stash_event {
	uint64_t seq;	   /* from 1 */
	int64_t time_ns;   /* since 1970 */
	uint32_t type;	   /* enum stash_event_type */
	uint32_t reason;   /* enum stash_reason, of STASH_EV_EXITED */
	const char *child; /* its path, never NULL */
	const char *name;  /* its name, or "" */
	const char *text;  /* in words, or "" */
};

/*
 * What a worker is doing right now: its live black box. Written whole by the
 * library. Since 0.1.0.
 */
struct stash_box {
	uint32_t phase;	  /* 0: no worker; 1: init; 2: idle; 3: in a callback; 4: submit; 5: waiting */
	uint32_t kind;	  /* enum stash_msg_kind of the message in hand; 0: none */
	uint32_t attempt; /* of the message in hand, from 1 */
	uint32_t reserved32;
	int64_t since_ns; /* when the phase began; CLOCK_MONOTONIC */
	uint64_t handled; /* messages */
	uint64_t commits; /* batches submitted */
	uint64_t reserved[8];
	char tag[STASH_TAG_MAX + 1]; /* of the message in hand, or "" */
};

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Opens a store for reading; to be closed by stash_store_close().
 * dir: the store's directory; NULL: $STASH_DIR, else /var/lib/stash. options:
 * NULL. Returns 0; STASH_E_NOENT: no store there; _ACCES, _FORMAT, _CORRUPT. On
 * failure *store is NULL. Doesn't block on a running stashd. Since 0.1.0.
 */
STASH_API int stash_store_open(struct stash_store **store, const char *dir, const struct stash_store_options *options);

/*
 * Closes and frees a handle; states read by it stay good. NULL is fine. Since
 * 0.1.0.
 */
STASH_API void stash_store_close(struct stash_store *store);

/*
 * The last committed state of a name, a copy, never torn: the newest of slot
 * and store. Returns 0; STASH_E_NOENT: that name never had one; _CORRUPT.
 * Doesn't wait for the worker, whatever it does. Since 0.1.0.
 */
STASH_API int stash_store_read(struct stash_store *store, const char *name, struct stash_state *state);

/*
 * Calls fn for each stored state of a name, the newest first, with data NULL;
 * the state is valid until fn returns. fn not 0: stop, and return it. Returns 0;
 * STASH_E_NOENT. Blocks for the stash process while one runs. Since 0.1.0.
 */
STASH_API int stash_store_history(
    struct stash_store *store, const char *name, int (*fn)(void *arg, const struct stash_state *state), void *arg);

/*
 * Waits until a name has a state newer than after_version (0: any). Returns 0;
 * STASH_E_TIMEDOUT. Blocks up to timeout_ms (-1: for ever, 0: not at all).
 * Since 0.1.0.
 */
STASH_API int stash_store_wait(struct stash_store *store, const char *name, uint64_t after_version, int timeout_ms);

/*
 * Writes a state as text: by the fields stored for its layout, else in hex;
 * control characters are escaped. Returns 0; STASH_E_SYSTEM if out can't be
 * written. Since 0.1.0.
 */
STASH_API int stash_store_print(struct stash_store *store, const struct stash_state *state, FILE *out);

/*
 * Calls fn for every name with a state or an owner that begins with prefix
 * (NULL: all), in order. fn not 0: stop, and return it. Since 0.1.0.
 */
STASH_API int stash_store_list(struct stash_store *store, const char *prefix, stash_process_fn *fn, void *arg);

/*
 * What the worker of that name is doing; after its death, what it did last
 * until its successor starts. Returns 0; STASH_E_NOENT. Doesn't wait for the
 * worker. Since 0.1.0.
 */
STASH_API int stash_store_box(struct stash_store *store, const char *name, struct stash_box *box);

/*
 * Calls fn for each line of a log whose seq is above after_seq, in order. fn not
 * 0: stop, and return it. Old lines are overwritten after a while, so that seq
 * may begin later than asked. Blocks for the stash process while one runs.
 * Since 0.1.0.
 */
STASH_API int stash_store_log(struct stash_store *store, enum stash_log_kind kind, uint64_t after_seq,
    int (*fn)(void *arg, const struct stash_event *event), void *arg);

/*
 * Frees what a state holds, not the struct, and makes it empty. Empty or NULL
 * is fine. Since 0.1.0.
 */
STASH_API void stash_state_free(struct stash_state *state);

#ifdef __cplusplus
}
#endif

#endif
