/* SPDX-License-Identifier: ISC */
/*
 * Talking to workers by name: calls, casts, sends, and who is where.
 *
 * A handle belongs to one thread at a time; a process may have several. After
 * fork the child may only close it; any other call is STASH_E_FORKED. No wait
 * ends early for a signal, no function raises SIGPIPE or changes handlers or
 * masks. data, len is copied before a call returns; NULL with 0 is an empty
 * payload. timeout_ms is in milliseconds: -1 for ever, 0 don't wait.
 */
#ifndef STASH_CLIENT_H
#define STASH_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include <stash/error.h>
#include <stash/version.h>

/* A connection to the stashd of one directory. Opaque. Since 0.1.0. */
struct stash_client;

/*
 * For stash_client_open(): { .size = sizeof(struct stash_client_options) }, the
 * rest as needed. Since 0.1.0.
 */
struct stash_client_options {
	size_t size;
	const char *label; /* for tools: who this is; copied; NULL: the program's name */
	/* of both rings of a channel together; 0: 4 MiB. A request larger than half a ring is STASH_E_TOOBIG */
	uint32_t ring_bytes;
	int32_t wait_ms; /* for a supervisor that is being replaced; 0: 5,000 */
};

/*
 * What came back. Written whole by each function that takes one, also on
 * failure; needs no preparation; to be freed by stash_reply_free(), also after
 * a failure. Since 0.1.0.
 */
struct stash_reply {
	/* the reply, aligned to 16, a NUL past len; with _APP, _CRASHED, _HELD a sentence */
	void *data;
	size_t len;    /* its length in bytes */
	int32_t code;  /* the worker's own, with STASH_E_APP */
	int32_t error; /* what stash_call() returns */
	int64_t ref;   /* of stash_call_start() */
	uint64_t reserved[2];
};

/* OTP's timeout of a call, in milliseconds. Since 0.1.0. */
#define STASH_TIMEOUT 5000

/* What a child is doing. Since 0.1.0. */
enum stash_status {
	STASH_STARTING = 1,
	STASH_RUNNING = 2,
	STASH_RESTARTING = 3,
	STASH_STOPPING = 4,
	STASH_STOPPED = 5,
	STASH_HELD = 6 /* for a later version */
};

/* A child, or a name. Written whole by the library. Since 0.1.0. */
struct stash_process {
	int32_t pid;		/* 0: none now. With start_time it is unique */
	uint32_t status;	/* enum stash_status */
	uint32_t is_supervisor; /* 1: a node of the tree, with children instead of a pid */
	uint32_t failed;	/* 1: stopped since its start failed */
	uint64_t start_time;	/* in clock ticks since boot */
	uint64_t incarnation;	/* counts the starts of this name, from 1 */
	uint64_t version;	/* transitions committed; 0: none ever */
	uint64_t restarts;	/* since the child was first started */
	uint64_t reserved[8];
	char id[STASH_NAME_MAX + 1];	/* in its supervisor */
	char name[STASH_NAME_MAX + 1];	/* "": none */
	char child[STASH_PATH_MAX + 1]; /* its path, "root/web/endpoint" */
};

/*
 * Called for each child of a list. The process is valid until it returns. Not
 * 0: stop the list, which returns it. It must not call the handle that lists.
 * Since 0.1.0.
 */
typedef int stash_process_fn(void *arg, const struct stash_process *process);

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Opens a handle, to be closed by stash_client_close().
 * dir: the store's directory; NULL: $STASH_DIR, else /var/lib/stash.
 * options: NULL for the default.
 * Returns 0; STASH_E_DOWN if there is no stashd, _ACCES, _TIMEDOUT. On failure
 * *client is NULL. Blocks, up to wait_ms, only while a supervisor is being
 * replaced; where there is none: STASH_E_DOWN at once. Since 0.1.0.
 */
STASH_API int stash_client_open(
    struct stash_client **client, const char *dir, const struct stash_client_options *options);

/*
 * Closes and frees a handle. What a cast returned 0 for is still handled; open
 * calls are dropped. NULL is fine. In a forked child it frees memory, no more.
 * Since 0.1.0.
 */
STASH_API void stash_client_close(struct stash_client *client);

/*
 * Calls a worker and waits for its answer, also over its restart. Exactly one
 * effect, and exactly one answer.
 * name: of a worker; tag: 1 to STASH_TAG_MAX bytes; len: up to STASH_DATA_MAX.
 * reply: gets the answer; NULL: not wanted. timeout_ms: STASH_TIMEOUT for OTP's.
 * Returns 0; STASH_E_APP (the worker's own error, in reply); _TIMEDOUT and
 * _PROTO: not known whether it was handled; _CRASHED: this message crashed the
 * worker and isn't in the state; _NOENT, _DOWN, _FULL, _BUSY, _TOOBIG, _ACCES,
 * _DEADLOCK: it had no effect. Blocks up to timeout_ms. Since 0.1.0.
 */
STASH_API int stash_call(struct stash_client *client, const char *name, const char *tag, const void *data, size_t len,
    struct stash_reply *reply, int timeout_ms);

/*
 * Sends a message that has no answer, to handle_cast. 0: it is in the mailbox
 * and outlives sender and worker. Unknown name: STASH_E_NOENT (OTP: ok). Blocks
 * for room up to STASH_TIMEOUT, then STASH_E_BUSY; also _DOWN, _FULL, _TOOBIG,
 * _ACCES. Since 0.1.0.
 */
STASH_API int stash_cast(struct stash_client *client, const char *name, const char *tag, const void *data, size_t len);

/* The same, to handle_info. Since 0.1.0. */
STASH_API int stash_send(struct stash_client *client, const char *name, const char *tag, const void *data, size_t len);

/*
 * Begins a call, whose answer is fetched by stash_call_wait() or
 * stash_call_next(). Arguments like stash_call(); timeout_ms is the deadline of
 * the call, from now on.
 * Returns a reference > 0 (from 1 up, none twice in a handle), or an error;
 * STASH_E_BUSY: no room now. Never blocks. Since 0.1.0.
 */
STASH_API int64_t stash_call_start(
    struct stash_client *client, const char *name, const char *tag, const void *data, size_t len, int timeout_ms);

/*
 * Waits for the answer to one begun call. STASH_E_PENDING: not yet, and ref
 * stays good; STASH_E_NOENT: no such reference, or it is over; else the result
 * is stash_call()'s, and ref is over. reply may be NULL. Blocks up to
 * timeout_ms. Since 0.1.0.
 */
STASH_API int stash_call_wait(struct stash_client *client, int64_t ref, struct stash_reply *reply, int timeout_ms);

/*
 * Waits for any begun call to end. Returns its reference, which is over, and
 * the answer in *reply, whose error tells how it ended; 0: none ended, or none
 * is open; or an error. Blocks up to timeout_ms. Since 0.1.0.
 */
STASH_API int64_t stash_call_next(struct stash_client *client, struct stash_reply *reply, int timeout_ms);

/*
 * Gives a begun call up: its reply will be dropped; it may have been handled.
 * STASH_E_NOENT: no such reference. Never blocks. Since 0.1.0.
 */
STASH_API int stash_call_cancel(struct stash_client *client, int64_t ref);

/*
 * A descriptor to poll for reading, deadlines included; it stays the handle's
 * and isn't to be read. Before each poll, stash_call_next(..., 0) has to be
 * called until it returns 0. Never blocks. Since 0.1.0.
 */
STASH_API int stash_client_fd(struct stash_client *client);

/*
 * Frees what a reply holds, not the struct, and makes it empty. Empty or NULL
 * is fine. Since 0.1.0.
 */
STASH_API void stash_reply_free(struct stash_reply *reply);

/*
 * Who has that name or alias, as far as this handle's supervisor knows. process
 * may be NULL. Returns 0; STASH_E_NOENT; STASH_E_DOWN. Never blocks. Since
 * 0.1.0.
 */
STASH_API int stash_whereis(struct stash_client *client, const char *name, struct stash_process *process);

/*
 * Calls fn for each name and alias that begins with prefix (NULL: all), in
 * order; process->name is the one that is listed, process->child whose it is.
 * Returns 0; what fn returned to stop; STASH_E_DOWN, _TIMEDOUT. Blocks for the
 * supervisor's answer, up to wait_ms. Since 0.1.0.
 */
STASH_API int stash_registry_list(struct stash_client *client, const char *prefix, stash_process_fn *fn, void *arg);

/*
 * Fetches the value that its owner has put with a name, into *reply, which may
 * be NULL. Returns 0; STASH_E_NOENT: there is no such name, or it has no value;
 * STASH_E_DOWN, _TIMEDOUT. Blocks for the supervisor's answer, up to wait_ms.
 * Since 0.1.0.
 */
STASH_API int stash_registry_get(struct stash_client *client, const char *name, struct stash_reply *reply);

/*
 * Calls fn for each member of a group, in order of their names; for a group
 * without members not at all. Results and blocking as stash_registry_list().
 * Since 0.1.0.
 */
STASH_API int stash_group_list(struct stash_client *client, const char *group, stash_process_fn *fn, void *arg);

/*
 * A cast to each member of a group. Returns how many it has reached: in whose
 * mailbox it is; a member that is stopped, or doesn't come back within
 * STASH_TIMEOUT, is no error. STASH_E_INVAL, _TOOBIG, _FULL; _DOWN, _TIMEDOUT:
 * the members aren't known. Blocks for each member as stash_cast() does. Since
 * 0.1.0.
 */
STASH_API int stash_group_cast(
    struct stash_client *client, const char *group, const char *tag, const void *data, size_t len);

#ifdef __cplusplus
}
#endif

#endif
