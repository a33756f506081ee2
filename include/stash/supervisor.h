/* SPDX-License-Identifier: ISC */
/*
 * What a tree of workers is, with OTP's words and rules; running one, and
 * stopping it. Specs are data: they are copied by each call and may be freed
 * or changed after it.
 *
 * All zero is the default, even where OTP has a meaning for 0: the constants
 * below say that. Members marked "reserved" keep their place for a later
 * version and must be zero in this one, else STASH_E_SPEC. Elements of an array
 * of specs lie array[0].size apart.
 */
#ifndef STASH_SUPERVISOR_H
#define STASH_SUPERVISOR_H

#include <stddef.h>
#include <stdint.h>

#include <stash/behaviour.h>
#include <stash/client.h>
#include <stash/error.h>
#include <stash/version.h>

/* Who is restarted when a child ends. Since 0.1.0. */
enum stash_strategy {
	STASH_ONE_FOR_ONE = 0,
	STASH_ONE_FOR_ALL = 1,
	STASH_REST_FOR_ONE = 2,
	STASH_SIMPLE_ONE_FOR_ONE = 3 /* one template, children by start argument */
};

/* When a child is restarted: always, after a crash only, never. Since 0.1.0. */
enum stash_restart { STASH_PERMANENT = 0, STASH_TRANSIENT = 1, STASH_TEMPORARY = 2 };

/* Whether a supervisor ends when its significant children do. Since 0.1.0. */
enum stash_auto_shutdown { STASH_AUTO_NEVER = 0, STASH_AUTO_ANY_SIGNIFICANT = 1, STASH_AUTO_ALL_SIGNIFICANT = 2 };

/* When a transition counts as safe, so that its reply is sent. Since 0.1.0. */
enum stash_ack {
	STASH_ACK_DEFAULT = 0, /* as the store's */
	STASH_ACK_CRASH = 1,   /* no crash of any process loses it; the store's default */
	STASH_ACK_DISK = 2     /* a power failure doesn't either */
};

/* How a program says that it is ready. Since 0.1.0. */
enum stash_notify {
	STASH_NOTIFY_STASH = 0, /* by libstash */
	STASH_NOTIFY_NONE = 1,	/* not at all */
	STASH_NOTIFY_SD = 2	/* by sd_notify's protocol */
};

/*
 * What becomes of a worker whose supervisor process dies. KILL: the kernel kills
 * it at the same moment, as a linked process would die in OTP, and the next
 * supervisor starts it again unless it is temporary; no restart and no attempt at
 * the message in its hand is counted for that. Since 0.1.0.
 */
enum stash_on_supervisor_loss {
	STASH_LOSS_KEEP = 0, /* it goes on, and the next supervisor takes it over */
	STASH_LOSS_KILL = 1
};

/*
 * What is done about a state that keeps crashing its worker; for a later
 * version.
 */
enum stash_on_poison {
	STASH_POISON_HOLD = 0,
	STASH_POISON_ROLLBACK = 1,
	STASH_POISON_RESET = 2,
	STASH_POISON_ESCALATE = 3
};

/* Values of fields with a meaning of their own. Since 0.1.0. */
enum {
	STASH_INFINITY = -1,	/* each field that ends in _ms: no limit */
	STASH_BRUTAL_KILL = -2, /* shutdown_ms: SIGKILL at once */
	STASH_NO_RESTARTS = -1	/* intensity: OTP's 0 */
};

struct stash_supervisor_spec;

/*
 * A child. Exactly one of behaviour, behaviour_name, module, exec and
 * supervisor is set. Since 0.1.0.
 */
struct stash_child_spec {
	size_t size;	/* sizeof(struct stash_child_spec) */
	const char *id; /* in its supervisor, unique there; 1 to STASH_NAME_MAX bytes */
	/*
	 * NULL: the id; "": none: can't be called, keeps no state. Unique in a
	 * directory: a start with a taken one is STASH_E_EXIST. Of a child of
	 * STASH_SIMPLE_ONE_FOR_ONE NULL and "": the template's id, "-" and a count
	 */
	const char *name;
	const struct stash_behaviour *behaviour;	/* not through a client: there behaviour_name */
	const char *behaviour_name;			/* one of the options' behaviours */
	const char *module;				/* path of a .so */
	const char *const *exec;			/* a program and its arguments, ends with NULL */
	const char *const *args;			/* the worker's argv[1] and on, ends with NULL; NULL: none */
	const struct stash_supervisor_spec *supervisor; /* a nested one; its id is not used */
	uint32_t restart;				/* enum stash_restart */
	uint32_t significant;				/* 1: its end counts for auto_shutdown */
	uint32_t notify;				/* enum stash_notify, of exec */
	uint32_t ack;					/* enum stash_ack */
	/* 0: by what it is; 1 worker, 2 supervisor: only what is reported, counted, and the default of shutdown */
	uint32_t type;
	/* time to stop in, then SIGKILL; 0: 5,000, for a supervisor infinity; STASH_INFINITY; STASH_BRUTAL_KILL */
	int32_t shutdown_ms;
	int32_t start_timeout_ms;    /* for init; 0: 60,000; STASH_INFINITY */
	uint32_t on_supervisor_loss; /* enum stash_on_supervisor_loss */
	uint32_t no_persist;	     /* 1: plain OTP, every start from zero */
	uint32_t max_attempts;	     /* incarnations killed on one message before it is set aside; 0: 3 */
	int32_t handler_timeout_ms;  /* for a callback, then it is killed; 0, STASH_INFINITY: no limit */
	uint32_t history;	     /* reserved for the count of stored states: 0, which is 16 */
	uint32_t poison_after;	     /* reserved: 0 */
	uint32_t on_poison;	     /* reserved: 0 */
};

/* A supervisor: its children, in their order of starting. Since 0.1.0. */
struct stash_supervisor_spec {
	size_t size;				 /* sizeof(struct stash_supervisor_spec) */
	const char *id;				 /* NULL at the top: "root" */
	uint32_t strategy;			 /* enum stash_strategy */
	uint32_t auto_shutdown;			 /* enum stash_auto_shutdown */
	int32_t intensity;			 /* restarts allowed in period_s; 0: 1; STASH_NO_RESTARTS */
	uint32_t period_s;			 /* in seconds; 0: 5 */
	const struct stash_child_spec *children; /* nchildren of them; NULL if that is 0 */
	size_t nchildren;
};

/* For stash_supervise(). Since 0.1.0. */
struct stash_supervise_options {
	size_t size;	      /* sizeof(struct stash_supervise_options) */
	const char *run_dir;  /* of slots and socket, on tmpfs; NULL: chosen by dir */
	uint64_t store_bytes; /* quota of the store; 0: 1 GiB */
	uint32_t ack;	      /* enum stash_ack, for all children; 0: STASH_ACK_CRASH */
	/* what specs name by behaviour_name; ends with NULL; or NULL */
	const struct stash_behaviour *const *behaviours;
	/* gets each line of the log (LOG_* of syslog.h, no newline); NULL: standard error */
	void (*log)(void *arg, int priority, const char *line);
	void *log_arg; /* log's first argument */
};

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Runs a tree on a directory until it has ended.
 * spec: the top supervisor. dir: the store's directory, made if it isn't there;
 * NULL: $STASH_DIR, else /var/lib/stash. options: NULL for the default. All are
 * borrowed until it returns.
 *
 * Returns 0 after an orderly stop; STASH_E_START: a child didn't start;
 * _ESCALATED: too many restarts; _SPEC: the specification is wrong; _BUSY: the
 * directory is in use by another stashd; _FORMAT, _CORRUPT: of the store.
 *
 * Blocks, and owns this process until then; to be called before any thread is
 * started. Takes SIGTERM, SIGINT, SIGHUP and SIGCHLD and gives them back.
 * Since 0.1.0.
 */
STASH_API int stash_supervise(
    const struct stash_supervisor_spec *spec, const char *dir, const struct stash_supervise_options *options);

/*
 * The same in a child process, so that this one is free to be a client of the
 * tree. pidfd: becomes a descriptor of that process, to be closed by the caller,
 * -1 after a failure; may be NULL. By pidfd_send_signal(2) with SIGTERM the tree
 * is stopped in order, by waitid(2) with P_PIDFD its end is waited for: exit
 * status 0 after an orderly stop. It doesn't end with the caller.
 *
 * Returns 0 when all children have started, else what stash_supervise()
 * returns; nothing is left of it then. Blocks until then. To be called before
 * any thread is started. Since 0.1.0.
 */
STASH_API int stash_supervise_start(const struct stash_supervisor_spec *spec, const char *dir,
    const struct stash_supervise_options *options, int *pidfd);

/*
 * Calls fn for each child of a supervisor, in OTP's order (the last started
 * first). supervisor: its path, "root/web". fn not 0: stop, and return it.
 * Returns 0; STASH_E_NOENT; _TIMEDOUT. Blocks up to timeout_ms. Since 0.1.0.
 */
STASH_API int stash_which_children(
    struct stash_client *client, const char *supervisor, stash_process_fn *fn, void *arg, int timeout_ms);

/*
 * Starts a child and adds it to a supervisor. supervisor: its path. spec: copied;
 * what runs is given as module, exec or behaviour_name, which has to be one of
 * the options' behaviours of that tree; paths should be absolute, since relative
 * ones start from the directory of the process that runs the tree. Below
 * STASH_SIMPLE_ONE_FOR_ONE only name and args of it count: args are put behind
 * the template's. process: filled in with the child, also with STASH_E_STARTED;
 * may be NULL.
 *
 * Returns 0 when it runs; STASH_IGNORE: its init had nothing to run; else
 * nothing was added, and stash_errterm() has OTP's term: STASH_E_STARTED: it is
 * there and runs; _PRESENT: it is there and doesn't; _EXIST: the name is
 * someone else's; _SPEC, _START; _NOENT: no such supervisor; _DOWN: the
 * supervisor doesn't run; _TOOBIG: more than 128 KiB; _TIMEDOUT: the start goes
 * on. Blocks up to timeout_ms, as long as init takes; over the death of a
 * supervisor too: then the next one is asked again, which may find the child
 * started already. Since 0.1.0.
 */
STASH_API int stash_start_child(struct stash_client *client, const char *supervisor,
    const struct stash_child_spec *spec, struct stash_process *process, int timeout_ms);

/*
 * Stops a child in order; its specification stays, unless it is temporary. id:
 * the child's; below STASH_SIMPLE_ONE_FOR_ONE its name. A child that doesn't run
 * is fine. Returns 0 when it is down; STASH_E_NOENT, _DOWN, _TEMPLATE,
 * _TIMEDOUT. Blocks up to timeout_ms. Since 0.1.0.
 */
STASH_API int stash_terminate_child(
    struct stash_client *client, const char *supervisor, const char *id, int timeout_ms);

/*
 * Starts a child that was terminated, or has ended and wasn't restarted.
 * process: as of stash_start_child(). Returns 0 when it runs; STASH_IGNORE;
 * STASH_E_RUNNING, _RESTARTING, _START, _EXIST, _NOENT, _DOWN, _TEMPLATE,
 * _TIMEDOUT. Blocks up to timeout_ms. Since 0.1.0.
 */
STASH_API int stash_restart_child(struct stash_client *client, const char *supervisor, const char *id,
    struct stash_process *process, int timeout_ms);

/*
 * Removes a child that doesn't run; its stored state stays. Returns 0;
 * STASH_E_RUNNING, _RESTARTING, _NOENT, _DOWN, _TEMPLATE, _TIMEDOUT. Blocks up
 * to timeout_ms. Since 0.1.0.
 */
STASH_API int stash_delete_child(struct stash_client *client, const char *supervisor, const char *id, int timeout_ms);

/* What stash_count_children() counts. Since 0.1.0. */
struct stash_child_counts {
	uint64_t specs;	      /* children, running or not; 1 below STASH_SIMPLE_ONE_FOR_ONE */
	uint64_t active;      /* those that run */
	uint64_t supervisors; /* by type, running or not */
	uint64_t workers;
	uint64_t reserved[4];
};

/*
 * Counts the children of a supervisor. counts: filled in, may be NULL. Returns
 * 0; STASH_E_NOENT, _DOWN, _TIMEDOUT. Blocks up to timeout_ms. Since 0.1.0.
 */
STASH_API int stash_count_children(
    struct stash_client *client, const char *supervisor, struct stash_child_counts *counts, int timeout_ms);

/*
 * Calls fn once with the specification of a child; it is good until fn returns.
 * What was left to a default stands there as a value; a behaviour stands there
 * as its behaviour_name; a nested supervisor has its children. id: below
 * STASH_SIMPLE_ONE_FOR_ONE a name or the template's id: the template. Returns
 * what fn returned; STASH_E_NOENT, _DOWN, _TIMEDOUT. Blocks up to timeout_ms.
 * Since 0.1.0.
 */
STASH_API int stash_get_childspec(struct stash_client *client, const char *supervisor, const char *id,
    int (*fn)(void *arg, const struct stash_child_spec *spec), void *arg, int timeout_ms);

/*
 * Stops the whole tree, in reverse order, and stashd with it. Returns 0 when it
 * has ended; STASH_E_ACCES; _TIMEDOUT: it is still stopping. Blocks up to
 * timeout_ms. Since 0.1.0.
 */
STASH_API int stash_stop(struct stash_client *client, int timeout_ms);

/*
 * Stops the worker of that name in order and starts it again; counts as no
 * restart. Returns 0 when it runs; STASH_E_NOENT, _ACCES, _START, _TIMEDOUT.
 * Blocks up to timeout_ms. Since 0.1.0.
 */
STASH_API int stash_bounce(struct stash_client *client, const char *name, int timeout_ms);

/*
 * Has stashd read its config file again, and apply it: children that are gone
 * from it are stopped and removed, those that differ are stopped and started,
 * new ones are started; all others, and those that were added while the tree
 * ran, go on untouched. stashd.conf(5) says it exactly; stashd's log has each
 * step.
 *
 * Returns 0 when all is done. STASH_E_SPEC: the file has mistakes, which
 * stash_errmsg() tells, and nothing was changed; likewise _ACCES, _SYSTEM: it
 * can't be read; _NOENT: there is no file, or the tree is none of stashd's.
 * STASH_E_START: a child couldn't be started and is stopped, the rest is done.
 * STASH_E_DOWN; _TIMEDOUT: it goes on. Blocks up to timeout_ms. Since 0.1.0.
 */
STASH_API int stash_reload(struct stash_client *client, int timeout_ms);

/*
 * Makes these len bytes, at most STASH_STATE_MAX, the state of a program that
 * isn't linked with this library (notify is STASH_NOTIFY_NONE or _SD), as a
 * version of its own; stash_store_read() reads it. For the program itself, what
 * it has started, its user and root. Returns 0 when it is as safe as the
 * child's ack says; STASH_E_NOENT; _INVAL: that one is linked and keeps its
 * state itself; _DOWN: it doesn't run, or the caller belongs to an incarnation
 * that is over; _TOOBIG, _FULL, _ACCES; _TIMEDOUT: unknown whether. Blocks up
 * to timeout_ms. Since 0.1.0.
 */
STASH_API int stash_state_put(
    struct stash_client *client, const char *name, const void *data, size_t len, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
