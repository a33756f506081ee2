/* SPDX-License-Identifier: ISC */
/*
 * The supervision tree as a pure machine: OTP's supervisor (stdlib 4.2), where
 * nested supervisors are nodes with a queue each instead of processes. Events
 * go in with the time at which they happened, actions come out; in here there is
 * no clock, no system call, no descriptor. It allocates memory, and aborts if
 * there is none: the next supervisor goes on from the rows.
 *
 * The layer round it does, for each event, always the same three steps:
 *
 *	1. tell the event;
 *	2. sup_next_action() until there is none. First come all rows that have
 *	   changed (SAVE, FORGET): they belong into ONE entry of the supervisor's
 *	   slot, which is written before anything else is done. Then comes what
 *	   has changed for clients (GONE, STATUS), then the acts, to be carried
 *	   out in their order;
 *	3. arm the timer to sup_deadline().
 *
 * A worker is known by its node and its start number. An event with a number that
 * isn't the current one is dropped, so late events do no harm. Of each START the
 * layer tells in the end exactly one of failed, ignored, exited; ready may come
 * before exited.
 */
#ifndef SUPERVISOR_MACHINE_H
#define SUPERVISOR_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/behaviour.h>
#include <stash/buf.h>
#include <stash/client.h>
#include <stash/error.h>

#include "supervisor/spec.h"

/* Bytes of a row's key, without the NUL: a path, or "PATH//NUMBER" for a part of that supervisor's specification. */
#define SUP_KEY_MAX (STASH_PATH_MAX + 10)
/* Bytes of an OTP error term in words, with the NUL; a longer one is cut at a word. */
#define SUP_TERM_MAX 1024
/* sup_deadline(): nothing to wait for. */
#define SUP_NEVER INT64_MAX

struct sup;
struct sup_node;

/* ---- life ---- */

/* What a supervisor's init says in place of its specification. */
enum sup_init { SUP_INIT_OK = 0, SUP_INIT_ERROR = 1, SUP_INIT_IGNORE = 2 };

/*
 * What OTP's Module:init is: asked each time that a supervisor starts. It may put another specification into *spec (its
 * own reference stays its own). stashd has none: NULL, and each start uses the spec as it is.
 */
struct sup_ops {
	enum sup_init (*init)(void *arg, const char *path, struct sup_spec **spec);
	void *arg;
};

struct sup *sup_create(const struct sup_ops *ops); /* ops is copied, may be NULL. NULL: no memory */
void sup_destroy(struct sup *sup);		   /* NULL is fine; open requests get no reply */

/* ---- events; each is followed by draining the actions ---- */

/*
 * Starts the tree. The reference of spec passes over. Told by UP when all children are started, else by DONE. 0, or
 * STASH_E_RUNNING if there is a tree already; after DONE another one may be started.
 */
int sup_start(struct sup *sup, struct sup_spec *spec, int64_t now_ns);
/*
 * Orderly stop in reverse order, when the top supervisor has time for it: as in OTP not before its start, or the
 * restart that it is at, is over. 0, or STASH_E_DOWN if nothing runs.
 */
int sup_stop(struct sup *sup, int64_t now_ns);
/* At once: SIGKILL to every worker. DONE comes when they are dead. */
void sup_kill(struct sup *sup, int64_t now_ns);

/* The worker's init has returned. */
void sup_ready(struct sup *sup, uint64_t node, uint64_t start, int64_t now_ns);
/*
 * The start came to nothing: fork or exec failed, or init did. Only when the process is dead (or never was). term:
 * OTP's reason in words, "init_error" in general.
 */
void sup_failed(struct sup *sup, uint64_t node, uint64_t start, const char *term, int64_t now_ns);
/* init said that there is nothing to run, and the process has ended. */
void sup_ignored(struct sup *sup, uint64_t node, uint64_t start, int64_t now_ns);
/*
 * The process has ended. Before ready it counts as a failed start (KILLED: "killed", else "init_error"). reason: of an
 * end that the machine has asked for, status 0 and death by SIGTERM are SHUTDOWN; of one that it hasn't, status 0 is
 * NORMAL and status STASH_EXIT_SHUTDOWN is SHUTDOWN; SIGKILL is always KILLED; all else is CRASH.
 */
void sup_exited(struct sup *sup, uint64_t node, uint64_t start, enum stash_reason reason, int64_t now_ns);
/*
 * After sup_restore(): this worker, in state SUP_STARTING, has no process, since the predecessor died before it was let
 * go. It is started again and nothing is counted. In another state it is as sup_exited(KILLED).
 */
void sup_lost(struct sup *sup, uint64_t node, uint64_t start, int64_t now_ns);
/*
 * After sup_restore(): this worker has died with the predecessor, because it is one of those that do. As sup_lost(),
 * but of one in state SUP_RUNNING the restart isn't counted. One that isn't restarted is gone, as after any end.
 */
void sup_bereaved(struct sup *sup, uint64_t node, uint64_t start, int64_t now_ns);
/* A worker that is starting has asked for longer: it has until then, if that is later than what it had. */
void sup_extend(struct sup *sup, uint64_t node, uint64_t start, int64_t until_ns);
/* Time has passed: to be called when sup_deadline() is reached; harmless at any other time. */
void sup_clock(struct sup *sup, int64_t now_ns);
/* When sup_clock() is due, in ns of the same clock: <= now means at once (the machine takes a rest in long work). */
int64_t sup_deadline(const struct sup *sup);

enum sup_request_kind {
	SUP_START_CHILD = 1,
	SUP_TERMINATE_CHILD = 2,
	SUP_RESTART_CHILD = 3,
	SUP_DELETE_CHILD = 4,
	SUP_WHICH_CHILDREN = 5,
	SUP_COUNT_CHILDREN = 6,
	SUP_GET_CHILDSPEC = 7,
	SUP_BOUNCE = 8 /* stop in order, start again; counts as no restart. No OTP request */
};

/*
 * A request waits in the queue of its supervisor behind what came before. Everything is copied; a reference of spec is
 * taken. It gets exactly one REPLY, except when the machine is destroyed.
 */
struct sup_request {
	uint64_t id; /* the caller's, comes back with the reply */
	enum sup_request_kind kind;
	const char *supervisor; /* path */
	const char *child;	/* id, of 2, 3, 4, 7, 8; below SIMPLE_ONE_FOR_ONE the instance's name */
	struct sup_spec *spec;	/* of START_CHILD; NULL if the supervisor is SIMPLE_ONE_FOR_ONE */
	const char *name;	/* of a new instance; NULL: template's id-count */
	const void *args;	/* likewise: what is put behind the template's arguments, the layer's bytes */
	size_t args_len;
};
void sup_request(struct sup *sup, const struct sup_request *request, int64_t now_ns);

/*
 * Another specification for the tree that runs: it takes the place of the present one at once, in one batch of rows,
 * and each supervisor does its part as soon as it has time for it.  Children that aren't in it any more are stopped and
 * removed, those that differ are stopped and started by the new one, from the last back to the first; then new ones are
 * started, in their order.  All others go on untouched, and so do children that were added by START_CHILD; those that
 * are down stay down unless their own specification differs.  A temporary child that has ended is no new one.  Of a
 * supervisor itself strategy (but for SIMPLE_ONE_FOR_ONE), intensity, period, auto_shutdown, restart, shutdown and
 * significant are taken over without a restart; of SIMPLE_ONE_FOR_ONE the template, for whatever is started from then
 * on.  A start that fails leaves its child stopped, and the rest goes on.  If the machine ends in the midst, the one
 * that is restored from the rows goes on with it.
 *
 * The reference of spec passes over, also on failure. 0: request gets a REPLY when all is done: 0, STASH_E_START with
 * the path of the first child that couldn't be started and its term, STASH_E_DOWN if the tree has ended. Else nothing
 * has changed: STASH_E_DOWN no tree runs, or it ends; STASH_E_SPEC with what is wrong.
 */
int sup_reload(struct sup *sup, struct sup_spec *spec, uint64_t request, int64_t now_ns);

enum sup_step_kind {
	SUP_STEP_FLAGS = 1, /* of a supervisor: taken over */
	SUP_STEP_REMOVE = 2,
	SUP_STEP_CHANGE = 3,
	SUP_STEP_ADD = 4
};

/* A step of a reload. */
struct sup_step {
	enum sup_step_kind kind;
	const char *path;
	unsigned fields;	     /* CHANGE, FLAGS: what differs, SUP_FIELD_* of spec.h */
	const struct sup_spec *from; /* NULL with ADD */
	const struct sup_spec *to;   /* NULL with REMOVE */
};
typedef void sup_step_fn(void *arg, const struct sup_step *step);
/* What sup_reload() would do, each supervisor before its children; changes nothing. Errors as there. */
int sup_reload_steps(const struct sup *sup, const struct sup_spec *spec, sup_step_fn *fn, void *arg);

/* ---- actions ---- */

enum sup_action_kind {
	/* rows: before all else, in one entry */
	SUP_ACT_FORGET = 1, /* key: the row is gone */
	SUP_ACT_SAVE = 2,   /* key: the row has changed; sup_pack() makes its value, before the next sup call */
	/* what changed for clients: behind all rows, before the acts */
	SUP_ACT_GONE = 3,   /* node, start, path, name: a worker is no child any more; its name is free. Others
					 * may have both at once */
	SUP_ACT_STATUS = 4, /* node, start, path, name, status: of a worker. STASH_STOPPED: no next one will
					 * come by itself; once more: sup_node_failed() says something else now */
	/* acts */
	SUP_ACT_START = 5,  /* node, start, path, name: make a process for it */
	SUP_ACT_SIGNAL = 6, /* node, start: ask it to stop (SIGTERM) */
	SUP_ACT_KILL = 7,   /* node, start: SIGKILL */
	SUP_ACT_REPORT = 8, /* report, path, reason, term: for log and events */
	SUP_ACT_REPLY = 9,  /* request, code, term, and what the kind asked for */
	SUP_ACT_UP = 10,    /* the top supervisor has started with all children */
	SUP_ACT_DONE = 11   /* the tree has ended; all processes are dead. code: 0 asked to, or auto_shutdown;
					 * STASH_E_ESCALATED; STASH_E_START with term; STASH_IGNORE. reason
					 * KILLED: sup_kill() */
};

enum sup_report {
	SUP_REP_STARTED = 1,	  /* of a supervisor: after all its children */
	SUP_REP_START_FAILED = 2, /* term; of a supervisor: after its children were stopped again */
	SUP_REP_IGNORED = 3,
	SUP_REP_STOPPED = 4,	/* reason; of a supervisor: after its children */
	SUP_REP_RESTARTING = 5, /* the child's supervisor restarts it now (strategy and siblings: each has its own) */
	SUP_REP_ESCALATED = 6,	/* path of the supervisor: more restarts than intensity allows, it ends */
	SUP_REP_AUTO_SHUTDOWN = 7, /* path of the supervisor: its significant children have ended, it ends */
	SUP_REP_KILLED = 8	   /* its time to stop (or to start: term "timeout") was over, it gets SIGKILL */
};

/* As OTP says it. */
enum sup_child_state { SUP_CHILD_UNDEFINED = 0, SUP_CHILD_RUNNING = 1, SUP_CHILD_RESTARTING = 2 };

/* A line of which_children. */
struct sup_child {
	uint64_t node;	/* 0: below SIMPLE_ONE_FOR_ONE, a child without a process */
	const char *id; /* of an instance its name; "" with node 0 */
	int32_t type;	/* enum sup_kind */
	enum sup_child_state state;
};

/* What kind doesn't name is zero. Pointers are the machine's, good until the next call with it. */
struct sup_action {
	enum sup_action_kind kind;
	enum sup_report report;
	uint64_t node, start;
	const char *path, *name; /* "" if there is none */
	const char *key;
	enum stash_reason reason;
	enum stash_status status;
	uint64_t request;
	int code;			  /* 0, STASH_IGNORE, STASH_E_* */
	const char *term;		  /* OTP's error in words, for stash_errterm(); "" if there is none */
	const struct sup_child *children; /* WHICH_CHILDREN, in OTP's order */
	size_t nchildren;
	bool unordered;				      /* of SIMPLE_ONE_FOR_ONE: the order means nothing */
	uint64_t specs, active, supervisors, workers; /* COUNT_CHILDREN */
	const struct sup_spec *spec;		      /* GET_CHILDSPEC */
};
/*
 * The next thing to do; false: none. A REPLY's node, path and name are the child's for START_CHILD, RESTART_CHILD,
 * BOUNCE, as far as there is one; after a failed start the node may be gone. Codes of replies: STASH_E_STARTED,
 * _PRESENT, _NOENT (not_found), _RUNNING, _RESTARTING, _TEMPLATE (simple_one_for_one), _SPEC, _START, _EXIST (the
 * name is taken), _TOOBIG (the path would be too long); noproc: _DOWN if the supervisor is known, else _NOENT.
 */
bool sup_next_action(struct sup *sup, struct sup_action *action);

/* ---- looking: pointers and strings are good until the next event ---- */

enum sup_state {	  /* of a node; node.h has the drawing */
	SUP_DOWN = 0,	  /* no process; OTP's undefined */
	SUP_STARTING = 1, /* START is out, not ready yet; a supervisor: starts its children */
	SUP_ABORTING = 2, /* start_timeout was over, killed, not dead yet */
	SUP_RUNNING = 3,
	SUP_STOPPING = 4,  /* asked to stop */
	SUP_KILLING = 5,   /* killed, not dead yet */
	SUP_EXITED = 6,	   /* dead, and its supervisor hasn't come to it yet */
	SUP_RESTARTING = 7 /* a restart has failed, the next attempt waits in the queue */
};

const struct sup_node *sup_root(const struct sup *sup); /* NULL: no tree was ever started */
const struct sup_node *sup_find(const struct sup *sup, uint64_t node);
const struct sup_node *sup_find_path(const struct sup *sup, const char *path);
const struct sup_node *sup_find_name(const struct sup *sup, const char *name); /* the worker that holds it */
/* All nodes, each supervisor before its children, those in order; NULL begins, NULL ends. */
const struct sup_node *sup_next(const struct sup *sup, const struct sup_node *node);

uint64_t sup_node_handle(const struct sup_node *node); /* never 0; another one in each process */
uint64_t sup_node_start(const struct sup_node *node);  /* number of its last START; grows over the whole tree */
const char *sup_node_path(const struct sup_node *node);
const char *sup_node_id(const struct sup_node *node);
const char *sup_node_name(const struct sup_node *node);		     /* "": none */
const struct sup_node *sup_node_above(const struct sup_node *node);  /* NULL: the top */
const struct sup_spec *sup_node_spec(const struct sup_node *node);   /* of an instance: the template */
const void *sup_node_args(const struct sup_node *node, size_t *len); /* of an instance; else NULL, 0 */
enum sup_state sup_node_state(const struct sup_node *node);
/* What clients are told. RESTARTING also for a child that its supervisor's restart will bring back. */
enum stash_status sup_node_status(const struct sup_node *node);
/* STOPPED since its last start has failed, or that of a supervisor above, which nobody repeats. */
bool sup_node_failed(const struct sup_node *node);
uint64_t sup_node_restarts(const struct sup_node *node);	     /* since its first start */
enum stash_reason sup_node_last_reason(const struct sup_node *node); /* of its last end; NOPROC: none yet */
/* How a tree has ended whose top is down, as DONE had it: 0, STASH_E_ESCALATED, STASH_E_START. */
int sup_verdict(const struct sup *sup);

/* ---- rows ---- */

struct sup_row {
	const char *key;
	const void *value;
	size_t len;
};
/* The value of the row at key. 0, STASH_E_NOENT, _NOMEM, _TOOBIG. */
int sup_pack(const struct sup *sup, const char *key, struct stash_buf *buf);
/* Makes SAVE actions for all rows: for a new slot or a new store. */
void sup_save_all(struct sup *sup);
/*
 * Builds the tree from all rows, in any order, in a machine just created. 0, or STASH_E_CORRUPT with what is wrong with
 * which row; the machine is as new then. The rows are borrowed for the call. No rows: 0, and no tree.
 */
int sup_restore(struct sup *sup, const struct sup_row *rows, size_t count);
/*
 * Goes on with what was interrupted; then the layer looks at each worker: dead ones in state STOPPING, KILLING,
 * ABORTING or RUNNING: sup_exited(); in state STARTING: sup_lost(), or it lives and will report by itself. SIGNAL and
 * KILL come out again for those under way, and a STATUS for every worker. new_boot: no worker lives and times mean
 * nothing any more: what ran is started again, restart counts begin anew. A tree that had ended, or was about to, is
 * down then. Until it is called, nothing but looking and sup_pack() is allowed.
 */
void sup_resume(struct sup *sup, bool new_boot, int64_t now_ns);

/*
 * In place of sup_resume(), when no worker lives: on another boot as said there, on the same one with the restart
 * counts as they were. spec: NULL, or what the tree is to be by, as after sup_reload(); its reference passes over. With
 * an error of that (STASH_E_SPEC) the machine is as it was. What has no tree that runs is down then, and stays so.
 */
int sup_begin_anew(struct sup *sup, struct sup_spec *spec, bool new_boot, int64_t now_ns);

/* NULL, or what is inconsistent in the tree: for tests, and for rows that were read. */
const char *sup_check(const struct sup *sup);

#endif
