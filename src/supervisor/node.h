/* SPDX-License-Identifier: ISC */
/*
 * The inside of the tree machine: its nodes, their states, and what its files
 * call in each other. Nobody outside src/supervisor includes this, but tests.
 *
 * A node is a child as OTP's supervisor keeps it (spec and pid); of a supervisor
 * it is the process too: queue, operation, restart history. What the drawing
 * calls an end is the end of its process; a supervisor's process has ended when
 * its children's have.
 *
 *	                    ready               asked to stop               ended
 *	 DOWN ---> STARTING -------> RUNNING -----------------> STOPPING --------> DOWN
 *	            | |  |            |   |                        |
 *	    failed, | |  |            |   |                        | time is over
 *	    ignored | |  |            |   | brutal_kill,           v        ended
 *	 DOWN <-----+ |  |            |   +------------------> KILLING ----------> DOWN
 *	              |  |            |    branch killed        ^   ^
 *	              |  +------------|------- branch killed ---+   |
 *	 time is over |               |                             |
 *	              +--> ABORTING --|------- branch killed -------+
 *	                      |       |
 *	 DOWN <----ended------+       | ended by itself           restart
 *	                              +-----------------> EXITED --------> STARTING
 *	                                                     |
 *	                                                     +--> DOWN: no restart, or stopped
 *	      a restart has failed
 *	 DOWN --------------------> RESTARTING --next attempt--> STARTING
 *	                                |
 *	                                +--> DOWN: terminated, or its supervisor stops
 *
 * Which moves are legal is the table in tree.c; sup_set_state() asserts it.
 *
 * A supervisor does one operation at a time (struct sup_op) and takes the next
 * message when it has none. While it waits for a child to start or to stop, that
 * child is op.current; what became of it is op.outcome.
 */
#ifndef SUPERVISOR_NODE_H
#define SUPERVISOR_NODE_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "supervisor/machine.h"

#define SUP_STATES 8
/* So many restarts of a period are remembered each by itself; more are put together, a few each. */
#define SUP_HISTORY_MAX 128
/* Instances below SIMPLE_ONE_FOR_ONE that have ended and whose names are remembered, for terminate_child's answer. */
#define SUP_ENDED_MAX 1000
/* Messages handled in one go, before the layer is let in between. */
#define SUP_STEP_MAX 1000

/* A request that waits or is worked on; owns what it points to. */
struct sup_ask {
	TAILQ_ENTRY(sup_ask) link; /* of reloads */
	uint64_t id;
	enum sup_request_kind kind;
	char *child; /* NULL: the request has none */
	struct sup_spec *spec;
	char *name;
	void *args;
	size_t args_len;
	/* below SIMPLE_ONE_FOR_ONE a request means the process that the name had when it came in */
	bool known;	   /* child was the name of an instance that has started */
	uint64_t node, up; /* that process; 0: it has ended */
};

enum sup_msg_kind { SUP_MSG_EXIT = 1, SUP_MSG_STOP = 2, SUP_MSG_RETRY = 3, SUP_MSG_REQUEST = 4, SUP_MSG_CHANGE = 5 };

/* What waits in a supervisor's queue. */
struct sup_msg {
	TAILQ_ENTRY(sup_msg) link;
	enum sup_msg_kind kind;
	uint64_t seq;	      /* order over the whole machine, kept in rows */
	uint64_t node, start; /* EXIT: which process; RETRY: which instance */
	char *id;	      /* RETRY: OTP tries again by id */
	struct sup_ask *ask;  /* REQUEST */
};

/* Values are in rows. */
enum sup_op_kind {
	SUP_OP_NONE = 0,
	SUP_OP_INIT = 1,	/* start the children in order */
	SUP_OP_ROLLBACK = 2,	/* one hasn't started: stop the others */
	SUP_OP_RESTART = 3,	/* one child */
	SUP_OP_GROUP_STOP = 4,	/* one_for_all, rest_for_one: first stop, from the last back to the pivot, */
	SUP_OP_GROUP_START = 5, /* then start */
	SUP_OP_ADD = 6,		/* start_child */
	SUP_OP_AGAIN = 7,	/* restart_child */
	SUP_OP_TERMINATE = 8,	/* terminate_child */
	SUP_OP_BOUNCE_STOP = 9,
	SUP_OP_BOUNCE_START = 10,
	SUP_OP_END = 11,	 /* stop all, then end */
	SUP_OP_KILLED = 12,	 /* wait until all are dead, then end */
	SUP_OP_CHANGE_STOP = 13, /* another specification: first stop what goes or changes, from the last back, */
	SUP_OP_CHANGE_START = 14 /* then start what is new */
};
#define SUP_OP_LAST SUP_OP_CHANGE_START

enum sup_outcome {
	SUP_OUT_NONE = 0, /* current isn't there yet */
	SUP_OUT_UP = 1,
	SUP_OUT_FAILED = 2,
	SUP_OUT_IGNORED = 3,
	SUP_OUT_ENDED = 4,
	SUP_OUT_BEGIN = 5 /* the operation's first step is due */
};

/* After a boot: a child that isn't started, one that is, and a supervisor that goes on with the children it had. */
enum sup_wanted { SUP_UNWANTED = 0, SUP_WANTED = 1, SUP_WANTED_AS_IT_WAS = 2 };

/*
 * What another specification wants of a child, until its supervisor has done it. A child that LEAVES or RENEWS has its
 * old specification as its own; the new one of a child that RENEWS is that of its supervisor's for the id.
 */
enum sup_change {
	SUP_KEEP = 0,
	SUP_LEAVES = 1, /* is stopped and removed */
	SUP_RENEWS = 2, /* is stopped, and started by the new one */
	SUP_ARRIVES = 3 /* is started */
};

/* Why a supervisor ends. */
enum sup_cause { SUP_CAUSE_ASKED = 0, SUP_CAUSE_ESCALATED = 1, SUP_CAUSE_AUTO = 2 };

struct sup_op {
	enum sup_op_kind kind;
	enum sup_outcome outcome;
	enum sup_cause cause;	  /* of END */
	bool counted;		  /* INIT: its starts are restarts */
	bool resumed;		  /* INIT: only the children that are wanted, after a boot */
	int code;		  /* FAILED, ROLLBACK: STASH_E_START or _EXIST */
	struct sup_node *current; /* the child under way */
	struct sup_node *pivot;	  /* GROUP_*: where it begins; NULL: with the first */
	struct sup_ask *ask;	  /* whose request it is; NULL: nobody's, or asked of a predecessor */
	char *term;		  /* of FAILED; of ROLLBACK: why the start fails */
};

/* Restarts in the last period, oldest first, in bounded room. at: of the last one in the run, in ns. */
struct sup_history {
	struct {
		int64_t at, count;
	} run[SUP_HISTORY_MAX];
	size_t runs;
	int64_t total;
};

TAILQ_HEAD(sup_msgs, sup_msg);
TAILQ_HEAD(sup_nodes, sup_node);

/* Names of ended instances, oldest first. */
struct sup_ended {
	TAILQ_ENTRY(sup_ended) link;
	char name[];
};
TAILQ_HEAD(sup_endeds, sup_ended);

/* What only a supervisor has. */
struct sup_super {
	struct sup_nodes children; /* in the order of starting */
	size_t nchildren, alive;   /* alive: with a process */
	size_t retrying;	   /* in state RESTARTING */
	uint64_t places;	   /* the last place given to a child */
	uint64_t last_start;	   /* highest start number of the children that are gone */
	size_t found;		   /* restore: behind the part of its spec that was found last */
	uint64_t checks;	   /* number of the check of its spec, see sup_node.seen */
	struct sup_op op;
	struct sup_msgs queue;
	uint64_t stop_seq; /* of the STOP in the queue; 0: none */
	bool change_due;   /* a CHANGE is in the queue */
	struct sup_history history;
	uint64_t instances; /* counts instances without a name of their own */
	bool ghost;	    /* a restarted instance has ignored its start: OTP keeps an entry without a process */
	struct sup_endeds ended;
	size_t nended;
};

struct sup_node {
	RB_ENTRY(sup_node) by_handle, by_path, by_name, by_deadline;
	TAILQ_ENTRY(sup_node) sibling; /* above->sub->children */
	TAILQ_ENTRY(sup_node) dirty_link, ready_link;
	struct sup_node *above;
	struct sup_super *sub; /* NULL: a worker */
	struct sup_spec *spec; /* of an instance the template */
	char *path;
	const char *id; /* the end of path */
	char *name;	/* "": none */
	void *args;
	size_t args_len;
	uint64_t handle, place;
	enum sup_state state;
	bool own_spec; /* not the one that its supervisor's spec has: a dynamic child's */
	bool instance;
	enum sup_change change;
	bool awaited;		/* before its siblings were put into another order */
	enum sup_wanted wanted; /* resumed INIT: whether it is to be started */
	bool holds_name;	/* is in by_name */
	bool dirty, ready;	/* in those lists */
	uint64_t seen;		/* check of the supervisor's spec that has it */
	uint64_t start;		/* number of the last start */
	uint64_t up;		/* of the last one that was ready; 0: never */
	uint64_t restarts;
	enum stash_reason last;
	uint64_t exit_seq;	/* EXITED: of its EXIT in the queue above */
	bool blameless;		/* EXITED: with the supervisor process; its restart isn't counted */
	bool failed;		/* no process: its last start has failed, and nobody has stopped it since */
	uint64_t retry_seq;	/* of the first RETRY there; */
	uint64_t retries;	/* how many there are */
	int64_t deadline;	/* of STARTING or STOPPING; SUP_NEVER */
	enum stash_status told; /* by STATUS; 0: never */
	bool told_failed;	/* the same of sup_node_failed() */
};

RB_HEAD(sup_handles, sup_node);
RB_HEAD(sup_paths, sup_node);
RB_HEAD(sup_names, sup_node);
RB_HEAD(sup_deadlines, sup_node);

/* An action that waits, with what it points to. */
struct sup_act {
	TAILQ_ENTRY(sup_act) link;
	struct sup_action action;
	char *path, *name, *key, *term;
	struct sup_child *children; /* ids in one block behind */
	struct sup_spec *spec;
};
TAILQ_HEAD(sup_acts, sup_act);

TAILQ_HEAD(sup_reloads, sup_ask);

struct sup {
	struct sup_ops ops;
	struct sup_node *root;
	struct sup_handles handles;
	struct sup_paths paths;
	struct sup_names names;
	struct sup_deadlines deadlines;
	struct sup_nodes dirty; /* rows to save */
	struct sup_nodes ready; /* supervisors that have something to do */
	struct sup_acts rows, status, acts;
	struct sup_act *given;	     /* the action last given out */
	uint64_t handle, start, seq; /* the last ones given */
	int64_t now;		     /* of the event in hand */
	bool restored;		     /* and not yet resumed */
	size_t changing;	     /* nodes with a change */
	bool blocked, freed;	     /* a start waits for a name; names have become free since */
	struct sup_reloads reloads;  /* who waits for that */
	char *reload_term;	     /* the first start of a reload that failed: path, and OTP's term */
};

/* ---- tree.c: nodes, states, history ---- */
void *sup_alloc(size_t size);	  /* zeroed; aborts if there is none */
char *sup_text(const char *text); /* a copy; of NULL it is NULL */
struct sup_node *sup_node_create(
    struct sup *sup, struct sup_node *above, struct sup_spec *spec, const char *id, const char *name);
void sup_node_remove(struct sup *sup, struct sup_node *n); /* with all below it, tells FORGET and GONE */
void sup_node_free(struct sup *sup, struct sup_node *n);   /* the same in silence */
void sup_node_set_spec(struct sup *sup, struct sup_node *n, struct sup_spec *spec, bool own);
void sup_node_set_name(struct sup *sup, struct sup_node *n, const char *name);
bool sup_claim_name(struct sup *sup, struct sup_node *n);
void sup_set_state(struct sup *sup, struct sup_node *n, enum sup_state state);
void sup_set_deadline(struct sup *sup, struct sup_node *n, int64_t deadline);
void sup_set_failed(struct sup *sup, struct sup_node *n, bool failed);
void sup_touch(struct sup *sup, struct sup_node *n);	  /* its row changes */
void sup_touch_down(struct sup *sup, struct sup_node *n); /* those of all children below it that are down, too */
struct sup_node *sup_child_find(const struct sup *sup, const struct sup_node *n, const char *id);
bool sup_is_alive(enum sup_state state);
bool sup_is_simple(const struct sup_node *n);
bool sup_history_add(struct sup_node *n, int64_t now); /* false: more than intensity allows */
const char *sup_state_name(enum sup_state state);
bool sup_legal_move(enum sup_state from, enum sup_state to);

/* ---- step.c: queues, operations, scheduling ---- */
void sup_post(struct sup *sup, struct sup_node *n, enum sup_msg_kind kind, struct sup_node *child, struct sup_ask *ask);
void sup_msg_free(struct sup_msg *msg);
void sup_op_begin(struct sup *sup, struct sup_node *n, enum sup_op_kind kind, struct sup_node *current);
void sup_op_end(struct sup *sup, struct sup_node *n);
void sup_outcome(struct sup *sup, struct sup_node *n, enum sup_outcome outcome, int code, const char *term);
void sup_run(struct sup *sup);

/* ---- action.c: what comes out ---- */
void sup_act_node(struct sup *sup, enum sup_action_kind kind, struct sup_node *n);
void sup_act_gone(struct sup *sup, const struct sup_node *n);
void sup_act_forget(struct sup *sup, const char *key);
void sup_act_save_spec(struct sup *sup, const char *key, struct sup_spec *spec);
void sup_act_up(struct sup *sup);
void sup_act_report(struct sup *sup, enum sup_report report, const struct sup_node *n, const char *term);
void sup_act_done(struct sup *sup, int code, const char *term, enum stash_reason reason);
struct sup_act *sup_act_reply(struct sup *sup, const struct sup_ask *ask, int code, const char *term);
void sup_acts_free(struct sup_acts *acts);
void sup_act_free(struct sup_act *act);

/* ---- start.c: a child's start, a supervisor's init ---- */
void sup_child_start(struct sup *sup, struct sup_node *c, bool counted);
void sup_child_launch(struct sup *sup, struct sup_node *c);
void sup_child_up(struct sup *sup, struct sup_node *c);
void sup_child_failed(struct sup *sup, struct sup_node *c, int code, const char *term);
void sup_child_ignored(struct sup *sup, struct sup_node *c);
void sup_init_step(struct sup *sup, struct sup_node *n);
void sup_rollback_step(struct sup *sup, struct sup_node *n);

/* ---- restart.c: exits and what follows ---- */
void sup_handle_exit(struct sup *sup, struct sup_node *n, const struct sup_msg *msg);
void sup_handle_retry(struct sup *sup, struct sup_node *n, const struct sup_msg *msg);
void sup_retry_later(struct sup *sup, struct sup_node *n, struct sup_node *c);
void sup_restart_step(struct sup *sup, struct sup_node *n);
void sup_group_step(struct sup *sup, struct sup_node *n);
void sup_child_drop(struct sup *sup, struct sup_node *c);

/* ---- stop.c: a child's stop, a supervisor's end ---- */
bool sup_child_stop(struct sup *sup, struct sup_node *c);			/* true: it takes time */
bool sup_stop_back(struct sup *sup, struct sup_node *n, bool forget_temporary); /* true: all are down */
void sup_child_kill(struct sup *sup, struct sup_node *c);
void sup_child_ended(struct sup *sup, struct sup_node *c, enum stash_reason reason);
void sup_end_begin(struct sup *sup, struct sup_node *n, enum sup_cause cause);
void sup_end_step(struct sup *sup, struct sup_node *n);
void sup_killed_step(struct sup *sup, struct sup_node *n);
void sup_wipe(struct sup *sup, struct sup_node *n);
void sup_deadline_over(struct sup *sup, struct sup_node *n);

/* ---- answer.c; the ask passes over ---- */
void sup_which_children(struct sup *sup, struct sup_node *n, struct sup_ask *ask);
void sup_count_children(struct sup *sup, struct sup_node *n, struct sup_ask *ask);
void sup_get_childspec(struct sup *sup, struct sup_node *n, struct sup_ask *ask);
void sup_answer(struct sup *sup, struct sup_ask *ask, int code, const char *term, const struct sup_node *child);

/* ---- request.c ---- */
void sup_ask_free(struct sup_ask *ask);
void sup_handle_request(struct sup *sup, struct sup_node *n, struct sup_ask *ask);
void sup_request_step(struct sup *sup, struct sup_node *n);
void sup_ended_add(struct sup_node *n, const char *name);
void sup_ended_clear(struct sup_node *n);

/* ---- change.c: what becomes of children whose specification is another one now ---- */
void sup_set_change(struct sup *sup, struct sup_node *c, enum sup_change change);
void sup_post_change(struct sup *sup, struct sup_node *n); /* unless it has nothing to do, or has it in its queue */
void sup_handle_change(struct sup *sup, struct sup_node *n);
void sup_change_step(struct sup *sup, struct sup_node *n);
/* c is down, in n: what stands in its place then; NULL: nothing. */
struct sup_node *sup_change_take(struct sup *sup, struct sup_node *n, struct sup_node *c);
/* The child's start is over; term: why it failed, NULL: it hasn't. */
void sup_change_started(struct sup *sup, struct sup_node *c, const char *term);
bool sup_change_goes(const struct sup_node *c); /* a temporary child that is of no use any more */
void sup_change_wake(struct sup *sup);		/* starts that wait for a name that is free now */
void sup_change_answer(struct sup *sup);	/* to those who wait for a reload that is over */
bool sup_is_compatible(const struct sup_node *c, const struct sup_spec *spec); /* it can take that one over */
struct sup_spec *sup_spec_of(const struct sup_spec *spec, const char *id);     /* a child's; NULL */

/* ---- reload.c ---- */
void sup_apply(struct sup *sup, struct sup_node *n, struct sup_spec *spec);

/* ---- diff.c ---- */
int sup_reload_check(const struct sup *sup, const struct sup_spec *spec);
bool sup_has_ended(const struct sup_spec *old, const struct sup_spec *child); /* it was temporary, and is gone */

/* ---- save.c, restore.c: rows ---- */
void sup_save_specs(struct sup *sup, const struct sup_node *n);
void sup_forget_specs(struct sup *sup, const struct sup_node *n);
void sup_update_specs(struct sup *sup, struct sup_node *n, struct sup_spec *spec); /* n gets spec; only what differs */
bool sup_spec_key(const char *key, size_t *path_len, size_t *number);		   /* "PATH//NUMBER"? */

/* ---- what the others need of each other ---- */
bool sup_waits_for_all(const struct sup_node *n);
bool sup_is_awaited(const struct sup_node *n, const struct sup_node *c);
bool sup_is_ending(const struct sup_node *n);
bool sup_wants_restart(const struct sup_node *c);
void sup_make_ready(struct sup *sup, struct sup_node *n);
void sup_act_status(struct sup *sup, struct sup_node *n);

RB_PROTOTYPE(sup_handles, sup_node, by_handle, sup_cmp_handle)
RB_PROTOTYPE(sup_paths, sup_node, by_path, sup_cmp_path)
RB_PROTOTYPE(sup_names, sup_node, by_name, sup_cmp_name)
RB_PROTOTYPE(sup_deadlines, sup_node, by_deadline, sup_cmp_deadline)
int sup_cmp_handle(struct sup_node *a, struct sup_node *b);
int sup_cmp_path(struct sup_node *a, struct sup_node *b);
int sup_cmp_name(struct sup_node *a, struct sup_node *b);
int sup_cmp_deadline(struct sup_node *a, struct sup_node *b);

#endif
