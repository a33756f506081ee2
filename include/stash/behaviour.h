/* SPDX-License-Identifier: ISC */
/*
 * What a worker is made of: a table of callbacks, its state, and the two ways
 * to run it, as a module that stashd loads (STASH_MODULE) or as a program of
 * its own (stash_worker_main()).
 *
 * Callbacks run one at a time on the main thread; they may block: callers wait.
 * An error result, or any number that isn't named here, is a crash with that
 * reason: the transition is dropped, terminate runs, the process exits. What a
 * callback does through worker.h belongs to its transition: it leaves once,
 * when the transition is safe, and not at all when the callback fails. Never
 * keep a pointer that a callback was given.
 */
#ifndef STASH_BEHAVIOUR_H
#define STASH_BEHAVIOUR_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <stash/buf.h>
#include <stash/error.h>
#include <stash/field.h>
#include <stash/message.h>
#include <stash/version.h>

/* A running worker, as its callbacks get it. Opaque. Since 0.1.0. */
struct stash_worker;

/* What a callback returns, besides STASH_OK and an error. Since 0.1.0. */
enum stash_result {
	/* handle_call: stash_reply_to() comes later; STASH_OK without a reply answers an empty one */
	STASH_NOREPLY = 1,
	STASH_STOP = 2,		 /* commit, answer, terminate, exit with reason normal */
	STASH_STOP_SHUTDOWN = 3, /* the same with reason shutdown */
	STASH_IGNORE = 4,	 /* init: nothing to run, and no failure */
	STASH_CONTINUE = 5	 /* what stash_continue() returns; otherwise as STASH_OK */
};

/* Why a worker ended. Since 0.1.0. */
enum stash_reason {
	STASH_REASON_NORMAL = 0,
	STASH_REASON_SHUTDOWN = 1,
	STASH_REASON_KILLED = 2, /* from outside */
	STASH_REASON_CRASH = 3,	 /* by its own fault */
	STASH_REASON_NOPROC = 4	 /* none there: of a monitor, in a later version */
};

/*
 * The exit status of a program that ends unasked with reason shutdown; 0 is
 * normal, any other a crash. Since 0.1.0.
 */
#define STASH_EXIT_SHUTDOWN 80

/* When a state is committed. Since 0.1.0. */
enum stash_commit_policy {
	STASH_COMMIT_EACH = 0,	   /* after each callback that changed it */
	STASH_COMMIT_TERMINATE = 1 /* by terminate only: a signal loses what came since the last time */
};

/*
 * What init is told. Lent by the library, with all that it points to, as long
 * as the worker lives; grows at the end: never copy it. Since 0.1.0.
 */
struct stash_init {
	/* transitions behind the loaded state; 0: none ever, or no_persist: the state is all zero */
	uint64_t version;
	uint64_t restarts; /* of this child since it was first started */
	int argc;
	/* the spec's args; argv[0] is the worker's name, argv[argc] is NULL; for programs too */
	const char *const *argv;
	uint32_t last_reason; /* the predecessor's enum stash_reason, if restarts > 0 */
	uint32_t from_layout; /* the layout version that was stored, before code_change */
};

/*
 * A behaviour: static data, made with STASH_BEHAVIOUR() or with .size set by
 * hand. All zero is the default. Since 0.1.0; the members marked "reserved" keep
 * their place for a later version and must be zero in this one, else
 * STASH_E_INVAL.
 *
 * state, in every callback: state_size bytes, private, aligned to 64, committed
 * if they differ afterwards. Plain data, no pointers, unless encode and decode
 * are set.
 */
struct stash_behaviour {
	size_t size; /* sizeof(struct stash_behaviour) */
	/* with layout_version, identifies the state's layout; 1 to STASH_NAME_MAX bytes */
	const char *name;
	/*
	 * bytes, up to STASH_STATE_MAX; 0: no state. Another stored length under
	 * the same layout_version is STASH_E_LAYOUT
	 */
	size_t state_size;
	/* bytes of stash_local(): descriptors, pointers, caches; zeroed at start, never committed */
	size_t local_size;
	uint32_t layout_version; /* from 1; raised whenever the state's struct changes */
	uint32_t commit;	 /* enum stash_commit_policy */
	uint32_t batch_max;	 /* messages between two commits; 0: 64; 1 for callbacks with outside effects */
	uint32_t snapshot_every; /* reserved for event journals: 0 */
	const struct stash_field *fields; /* of the state: to print it, and for the way to another layout; or NULL */

	/*
	 * First of all, within start_timeout; state is what was committed last,
	 * or all zero. STASH_OK, STASH_IGNORE or an error, which is a failed
	 * start. Its change of the state is a transition, but no proof that the
	 * state is sound. NULL: STASH_OK.
	 */
	int (*init)(struct stash_worker *worker, void *state, const struct stash_init *init);
	/*
	 * A call: stash_reply() and STASH_OK, STASH_NOREPLY, STASH_STOP,
	 * STASH_STOP_SHUTDOWN, or an error. NULL: STASH_E_UNKNOWN.
	 */
	int (*handle_call)(struct stash_worker *worker, void *state, const struct stash_msg *msg);
	/* A cast: STASH_OK, STASH_STOP, STASH_STOP_SHUTDOWN, or an error. NULL: STASH_E_UNKNOWN. */
	int (*handle_cast)(struct stash_worker *worker, void *state, const struct stash_msg *msg);
	/* Every other kind of message; results as for a cast. NULL: logged and dropped. */
	int (*handle_info)(struct stash_worker *worker, void *state, const struct stash_msg *msg);
	/*
	 * What stash_continue() has asked for: comes before the next message, as a
	 * transition of its own; after a crash it runs again, behind init. Results as
	 * for a cast, STASH_NOREPLY is STASH_OK. NULL: there is none.
	 */
	int (*handle_continue)(struct stash_worker *worker, void *state, const char *tag);
	/*
	 * At the end: after STASH_STOP, when asked to stop (within shutdown_ms),
	 * after an error result (on the state before it); not after a signal. Its
	 * changes are committed with NORMAL and SHUTDOWN; by
	 * STASH_COMMIT_TERMINATE after an error too. NULL: nothing.
	 */
	void (*terminate)(struct stash_worker *worker, void *state, enum stash_reason reason);
	/*
	 * Writes the state as text, for tools and crash reports. Runs in a process
	 * of its own, for 1 s at most, on a committed state: no local, no globals.
	 * 0, or an error. NULL, and for programs that were exec'ed: by fields, else
	 * in hex. A crash in it is no crash of the worker.
	 */
	int (*format_status)(const void *state, FILE *out);
	/*
	 * The way from a state that was stored under this name with another
	 * layout_version, older or newer. Called at the start instead of decode,
	 * before init; state is all zero, old is lent for the call, aligned as a
	 * state is. Pure: its result is committed, as one more version, only when
	 * init has returned STASH_OK; until then, and in the history, the old one
	 * stays. 0; an error is a failed start. NULL: decode, or by the fields of
	 * both layouts (stash_field(3)); if there is no way, the start fails with
	 * STASH_E_LAYOUT and what is stored stays as it was.
	 */
	int (*code_change)(uint32_t from_layout, const void *old, size_t len, void *state);
	/*
	 * For states with pointers: both or none. encode writes the image that is
	 * committed, up to STASH_STATE_MAX bytes, of any length; the same state
	 * gives the same bytes. It runs once for each batch, which counts as one
	 * version if the image differs; with STASH_COMMIT_TERMINATE, behind each
	 * message. decode makes the state of it again; layout is the version that
	 * it was written under, and any that may be stored must be known to it, if
	 * there is no code_change. state is all zero, data is lent for the call,
	 * aligned and with a NUL past len. It may allocate; nothing ever frees it.
	 * Both: 0, or an error, which crashes the worker, or fails its start.
	 *
	 * A callback that fails in the midst of a batch takes the batch along:
	 * nothing of it was answered yet, and all of it but the failed message is
	 * done again by the next incarnation, as after a signal. terminate then
	 * gets the state of the last image, made by decode. If encode fails or
	 * crashes, the batch is done again one by one, and the message behind
	 * which it does so again is set aside.
	 */
	int (*encode)(const void *state, struct stash_buf *out);
	int (*decode)(const void *data, size_t len, uint32_t layout, void *state);
	/* Reserved for a check before each commit: NULL. */
	int (*check_state)(const void *state);
	/* Reserved for event journals: NULL. */
	int (*apply)(void *state, const char *tag, const void *data, size_t len);
};

/*
 * An initialiser of a struct stash_behaviour, in the order of its members: C11,
 * C++20. Since 0.1.0.
 */
#define STASH_BEHAVIOUR(...) \
	{ \
		.size = sizeof(struct stash_behaviour), __VA_ARGS__ \
	}

/* What stashd looks for in a module, under the name stash_module. Since 0.1.0. */
struct stash_module {
	uint32_t api_version; /* STASH_API_VERSION */
	uint32_t reserved;    /* 0 */
	const struct stash_behaviour *behaviour;
};

/*
 * Makes a shared object a module. Once in a .so, outside functions; b: pointer
 * to a static behaviour. Since 0.1.0.
 */
#define STASH_MODULE(b) \
	extern STASH_API const struct stash_module stash_module; \
	const struct stash_module stash_module = { STASH_API_VERSION, 0, b }

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Runs the worker of a program to its end. behaviour is borrowed for that long.
 * argc, argv: main's; unused for the worker's own args, which come with
 * struct stash_init.
 *
 * Returns main's exit status: 0 for normal, STASH_EXIT_SHUTDOWN for shutdown,
 * another after a failure, of which stash_errmsg() tells; EX_USAGE if the
 * program was started by no supervisor.
 *
 * Blocks. Owns the process: it must be single-threaded until init; takes
 * SIGTERM, SIGPIPE and the crash signals (on a stack of its own) and makes
 * stdout line-buffered. Since 0.1.0.
 */
STASH_API int stash_worker_main(const struct stash_behaviour *behaviour, int argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif
