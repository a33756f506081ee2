/* SPDX-License-Identifier: ISC */
/*
 * server.h: the inside of the supervisor process: one struct server, shared by the files of this folder.
 *
 *   loop.c       the process: set up, ticks, signals, the end      turn.c     events to the tree machine, its actions
 *   takeover.c   what the last supervisor left; kept.c             records.c  rows; rows.c, layouts.c: which ones
 *   workers.c    names and what belongs to them                    plan.c     a spec's part that only stashd reads
 *   life.c       one incarnation: START, GO; word.c: what it says  reap.c     its death, retire, the last reap
 *   ahead.c      processes that are made before their turn         ending.c   the orderly end
 *   stuck.c      callbacks that take too long                      spawner.c  a small process that makes processes
 *   spawn.c      making the process; birth.c: its first steps      report.c   crash reports
 *   status.c     a state as text; showing.c: for a tool
 *   reload.c     a changed config; reread.c: reading it
 *   output.c     stdout and stderr of workers                      stashlink.c, stashrequest.c  the stash process
 *   program.c    states of programs without libstash; notify.c: how they say that they are ready
 *   clients.h    broker.c: who may connect; peer.c: one client; wait.c: what it waits for; query.c: what it asks
 *   access.h     what other users may do; modes.c, share.c: modes of files
 *   admin.c      OTP's requests about children                     describe.c a specification as it was given
 *   names.h      aliases, values, groups, monitors
 *   mailroom.c   channels                                          down.c     channels of a worker that is over
 *   leftover.c   names that somebody who died was letting go of
 *   release.c    names that are nobody's any more, and their slots
 *   files.c      how many descriptors are given out
 *   mailfound.c  channels that a predecessor has left
 *   ways.c       channels from worker to worker
 *   handover.c   one of another binary; reexec.c: when a client asks for that
 */
#ifndef STASHD_SERVER_H
#define STASHD_SERVER_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <stash/client.h>
#include <stash/store.h>

#include "base/error.h"
#include "shm/format.h"
#include "shm/rows.h"
#include "shm/slot.h"
#include "shm/wire.h"
#include "stashd/clients.h"
#include "stashd/files.h"
#include "stashd/job.h"
#include "stashd/keeplink.h"
#include "stashd/mail.h"
#include "stashd/names.h"
#include "stashd/output.h"
#include "stashd/plan.h"
#include "stashd/reexec.h"
#include "stashd/reload.h"
#include "stashd/report.h"
#include "stashd/spawn.h"
#include "stashd/spawner.h"
#include "stashd/stashlink.h"
#include "stashd/stuck.h"
#include "stashd/supervise.h"
#include "stashd/ways.h"
#include "supervisor/machine.h"

struct server;
struct worker;
struct life;
struct channel;
struct program;
struct put;
struct peer;
struct wait;

/* ---- one incarnation of a worker (life.c, reap.c) ---- */

enum life_phase {
	LIFE_LOADING = 1,  /* forked; it waits for its go */
	LIFE_STARTING = 2, /* let go; its init runs */
	LIFE_READY = 3,
	LIFE_DEAD = 4,	  /* its pidfd says so; how it died is being asked */
	LIFE_RETIRING = 5 /* the machine knows; the stash has been asked to retire it */
};

struct life {
	LIST_ENTRY(life) link; /* in its worker's list of dying ones, or in the server's of those made ahead */
	struct server *server;
	struct worker *worker;
	uint64_t node, start; /* which START of the machine this is; node or start 0: none */
	uint64_t incarnation;
	enum life_phase phase;
	pid_t pid;
	uint64_t start_time;
	int pidfd, control, log;
	int notify; /* a program's notifications; -1: none */
	struct spawn_bank bank;
	struct event dead, readable, notified;
	struct outbox outbox;
	struct output output;
	bool adopted;	    /* a child of the keeper, not ours */
	bool stranger;	    /* nobody's child: only its slot names it */
	bool asked;	    /* it was told to stop, or killed, by us */
	bool bereaved;	    /* it was to die with an earlier supervisor, and was let go by it */
	bool lost;	    /* it was forked by a supervisor that died before it let it go */
	bool past;	    /* an earlier supervisor knew its end, or that it never was let go */
	struct event again; /* the stash couldn't retire it yet */
	struct stuck_watch stuck;
	int answer; /* LIFE_NO_ANSWER, or what READY said */
	int unsent; /* a signal that couldn't be sent; 0: none */
	int wait_status;
	enum stash__cause cause;
	struct stash__crash crash; /* out of the black box, before it is cleared */
	char *why;		   /* READY's sentence */
};
#define LIFE_NO_ANSWER INT_MAX
#define LIFE_FDS 4 /* that the keeper has of it: control, pidfd, output, notifications or none */

/* START came out of the machine. */
void life_start(struct server *, uint64_t node, uint64_t start, const char *path, const char *name);
/* Makes the process of a worker's next incarnation, which waits for its go; NULL: why not is the thread's message. */
struct life *life_make(struct worker *, uint64_t node, uint64_t start);
/* Goes on with a worker whose slot is open now, or whose last predecessor is retired. */
void life_go_on(struct worker *);
void life_signal(struct server *, uint64_t node, uint64_t start, int signal);
void life_signal_again(struct life *); /* what couldn't be sent */
/* Reads all that it has said. */
void life_read(struct life *);
/* Says something; a worker that can't be told is killed. */
void life_say(struct life *, const struct stash_buf *, const int *fds, int nfds);
/* Takes over a process that another supervisor made. */
int life_adopt(struct worker *, uint64_t node, uint64_t start, uint64_t incarnation, pid_t, const int fds[LIFE_FDS]);
struct life *life_create(struct worker *, uint64_t node, uint64_t start, uint64_t incarnation); /* NULL: no memory */
int life_watch(struct life *); /* its pidfd, its socket, its output, as far as it has them */
enum { LIFE_KEY_MAX = STASH_NAME_MAX + 40 };
/* Under which the keeper has its descriptors. */
void life_key(const struct life *, char key[LIFE_KEY_MAX]);
uint64_t life_start_time(struct life *);
void life_free(struct life *);
bool life_runs(const struct life *); /* not dead */
/* Whether it was let go: it says so on its bell page, right after it has dropped its death signal. */
bool life_was_let_go(const struct life *);
bool life_was_ready(const struct life *); /* its init has returned well, whoever was told */

/* ahead.c: processes made before their START, while a supervisor starts its children. */
void ahead_make(struct server *, const struct sup_node *behind);
/* Its process is needed now: what was made of it; NULL: nothing. */
struct life *ahead_take(struct worker *, uint64_t start);
void ahead_dead(struct life *);	  /* if it was one of them, it is now among the dying */
void ahead_look(struct server *); /* ends those whose turn won't come */

/* reap.c */
void reap_dead(struct life *);
void reap_undone(struct life *); /* dead and reaped before anybody knew of it */
void reap_statused(struct server *, uint64_t number, pid_t, int state, int wait_status);
void reap_keeper_lost(struct server *); /* it won't say any more how children ended */
/* An incarnation of which there is only the slot's word: killed, waited for, retired; then life_go_on(). */
void reap_stranger(struct worker *, uint64_t incarnation, pid_t, uint64_t start_time);

/* ---- a worker: a name and what outlives its incarnations (workers.c) ---- */

struct worker {
	RB_ENTRY(worker) by_name;
	RB_ENTRY(worker) by_node;
	struct server *server;
	char *name;    /* of the slot */
	char *path;    /* of the child; "" before the first START */
	bool callable; /* false: a program without libstash, or a child without a name */
	struct sup_spec *spec;
	struct plan plan;
	char *why;		   /* its last start failed; NULL: nothing is known of that */
	char *death;		   /* how its last process ended; NULL: there was none */
	uint64_t node, start;	   /* of the machine's START that waits for a process; start 0: none */
	uint64_t listed;	   /* the node under which it is found; 0: none */
	uint64_t incarnation;	   /* the last number given */
	struct stash__stuck stuck; /* as the row has it */
	enum stash_status status;  /* as the machine said last; 0: nothing yet */
	int64_t since_ns;	   /* CLOCK_REALTIME of that */
	enum { SLOT_UNKNOWN, SLOT_ASKED, SLOT_OPEN, SLOT_CLOSING } slot;
	bool showing;	      /* a new stash process is told of it, and hasn't answered */
	bool slot_no_persist; /* what the stash was told about it last */
	uint32_t slot_history;
	struct life *now;	 /* the newest; NULL: none */
	struct program *program; /* of one without libstash; NULL: none yet */
	struct life *ahead;	 /* made before its START; NULL: none */
	LIST_HEAD(, life) dying;
	LIST_HEAD(, channel) channels;
	LIST_HEAD(, worker_way) ways; /* from it to others */
	TAILQ_HEAD(, wait) waits;     /* clients that wait until it runs */
	struct belongings has;	      /* names.h */
	bool down_due;		      /* no next one comes: its channels go, as soon as the last one is retired */
	bool gone;		      /* no child has this name: what belongs to it is let go */
	unsigned claims;	      /* descriptors that it may need */
};
RB_HEAD(worker_names, worker);
RB_HEAD(worker_nodes, worker);
int worker_compare_names(const struct worker *, const struct worker *);
int worker_compare_nodes(const struct worker *, const struct worker *);
RB_PROTOTYPE(worker_names, worker, by_name, worker_compare_names)
RB_PROTOTYPE(worker_nodes, worker, by_node, worker_compare_nodes)

struct worker *worker_find(struct server *, const char *name);
struct worker *worker_find_node(struct server *, uint64_t node);
/* One of the config whose turn to start hasn't come yet: its name is known all the same. */
struct worker *worker_expected(struct server *, const char *name);
/* Finds it or makes it; NULL: no memory. */
struct worker *worker_get(struct server *, const char *name);
/* The name of the slot of a child: its own, or one made of its path. */
void worker_slot_name(const char *path, const char *name, char slot_name[STASH_NAME_MAX + 1]);
/* Takes path and plan of the machine's node. */
int worker_plan(struct worker *, const struct sup_node *);
/* A child that will be started: has its slot opened ahead. */
int worker_expect(struct server *, const struct sup_spec *, const char *path);
/* A child of the stored tree that the config may not have any more: its last incarnation has to be retired all the
 * same. 1: its slot is being opened; 0, or an error. */
int worker_remember(struct server *, const struct sup_node *);
/* Opens its bell, for somebody who is to have it; made if need be. */
int worker_bell(const struct worker *);
/* Has the stash open its slot, unless it has been asked. */
void worker_open(struct worker *);
/* To a new stash process: it finds the slots by itself, but not the workers that wait for it. */
void workers_show(struct server *);
/* When nobody of its name is left that is known: what its slot says of others, be it only a stray write, is over. */
void worker_look_again(struct worker *, uint64_t fence);
/* Opens a file of its slot. */
int worker_file(const struct worker *, const char *half, int flags);
/* STATUS or GONE came out of the machine: its rows; then, when they are submitted, whoever is to know. */
void worker_record(struct worker *, enum stash_status, bool gone);
void worker_status(struct worker *, enum stash_status, bool gone);
/* Nobody's any more, it needs no descriptors. */
void worker_disclaim(struct worker *);
/* Nobody's any more, and nothing points to it: it is freed.  The stash may still be carrying out what it was asked. */
void worker_forget(struct worker *);
void workers_tick(struct server *);
void workers_free(struct server *);
/* release.c: names that are nobody's any more, and their slots. */
void release_tick(struct server *);

/* ---- programs without libstash (program.c, notify.c) ---- */

/* Before its GO: the slot is its own from here on. */
int program_begin(struct life *);
/* It is dead, and will be retired; in_order: it meant to end. */
void program_end(struct life *, bool in_order);
void program_free(struct worker *);
/* A client hands in its state; answered by DONE when it is safe. */
void program_put(struct peer *, uint64_t number, const char *name, uint64_t incarnation, int fd);
/* Nobody waits for that answer any more. */
void program_forget(struct wait *);

enum { NOTIFY_NAME_MAX = 64 };
int notify_open(struct life *);
/* As NOTIFY_SOCKET has it; "": there is none. */
int notify_name(const struct life *, char name[NOTIFY_NAME_MAX]);
int notify_watch(struct life *);
void notify_read(struct life *); /* all that is there */
void notify_close(struct life *);

/* ---- channels (mailroom.c, down.c) ---- */

struct channel {
	RB_ENTRY(channel) by_id;
	LIST_ENTRY(channel) of_worker, of_peer;
	struct worker *worker;
	struct peer *peer; /* NULL: its client is dead, or hasn't presented it yet */
	uint8_t id[STASH__ID];
	int memfd, bell; /* the client's; with a line the worker's end of it */
	int line;	 /* the client's end, until it is handed out; else -1 */
	uint32_t place, uid, pid;
	bool placed;		/* the row is made */
	bool gone;		/* the client is dead: the worker is to delete the row */
	bool wanted;		/* peer waits for CHANNEL with this number */
	bool presented;		/* that was a PRESENT */
	struct worker_way *way; /* its client is another worker; NULL: a process of its own */
	bool stand_in;		/* memfd is an empty one */
	uint64_t number, ring_bytes;
	int64_t silent_since; /* nobody has presented it since */
};
RB_HEAD(channel_ids, channel);
int channel_compare(const struct channel *, const struct channel *);
RB_PROTOTYPE(channel_ids, channel, by_id, channel_compare)

/* A client wants one: answered by CHANNEL, now or later. */
void mailroom_open(struct peer *, uint64_t number, struct worker *, uint64_t ring_bytes);
void mailroom_present(struct peer *, uint64_t number, const uint8_t id[STASH__ID], const char *name, int memfd);
void mailroom_close(struct peer *, const uint8_t id[STASH__ID]);
void mailroom_peer_gone(struct peer *);
/* Attaches all channels of a worker to its incarnation that was just let go. */
void mailroom_attach_all(struct life *);
void mailroom_detached(struct life *, const uint8_t id[STASH__ID]);
/* Its row is deleted a little later, by way of a stand-in. */
void mailroom_close_marked(struct channel *);
/* deleted: an entry of the worker's has taken its row away; else it was never attached, or is an older library's. */
void mailroom_refused(struct life *, const uint8_t id[STASH__ID], int error, const char *text, bool deleted);
/* What the keeper had; a row that only the slot has. */
int mailroom_restore(
    struct server *, struct worker *, const uint8_t id[STASH__ID], uint32_t uid, uint32_t pid, int memfd, int bell);
void mailroom_row(struct worker *, const uint8_t id[STASH__ID], uint32_t place, uint32_t uid);
void mailroom_rows_known(struct worker *);
/* Channels whose client hasn't come back in time are let go. */
void mailroom_tick(struct server *, int64_t now_ns);
#define MAILROOM_GRACE_NS (30 * STASH__NS_PER_S) /* for a client to come back */
/* Its client is another user's: it has a line in place of bells. */
bool mailroom_has_line(const struct channel *);
struct channel *mailroom_create(struct worker *, const uint8_t id[STASH__ID], uint32_t uid, uint32_t pid);
void mailroom_close_ends(struct channel *);
struct channel *mailroom_find(struct server *, const uint8_t id[STASH__ID]);
void mailroom_drop(struct channel *);	    /* the row is gone: frees it, here and with the keeper */
void mailroom_delete_row(struct channel *); /* no worker runs: by the stash, then drop */
void mailroom_tell_down(struct channel *, int error, const char *text);
void mailroom_free(struct server *);

/* The channel of a way, to the worker at its other end; the descriptors are its own from now on.  NULL: no memory. */
struct channel *mailroom_way(
    struct worker *, const uint8_t id[STASH__ID], uint32_t pid, int file, int bell, struct worker_way *);
/* Has its row made; then ways_placed() is told. */
int mailroom_place(struct channel *);
/* Its client is dead, or was silent for too long: the worker handles what is there and deletes the row. */
void mailroom_let_go(struct channel *);

/* All channels of a worker that won't come back: what is safe is published, the rest is told that it is down. */
void down_worker(struct worker *);
/* A copy of its base as it is now, to be freed; NULL: none. */
struct stash__base *down_base(const struct worker *);
/* The one before: what a worker that isn't persistent knew when it died. */
struct stash__base *down_former_base(const struct worker *);
/* Its row in the base as it is now.  STASH_E_NOENT. */
int down_row(const struct worker *, const struct channel *, struct stash__row *);

/* ---- the tree machine (turn.c) ---- */

struct turn_event;
STAILQ_HEAD(turn_events, turn_event);

void turn_ready(struct server *, uint64_t node, uint64_t start);
void turn_extend(struct server *, uint64_t node, uint64_t start, int64_t until); /* its start may last longer */
void turn_failed(struct server *, uint64_t node, uint64_t start, const char *term);
void turn_ignored(struct server *, uint64_t node, uint64_t start);
void turn_exited(struct server *, uint64_t node, uint64_t start, enum stash_reason);
void turn_lost(struct server *, uint64_t node, uint64_t start);
void turn_bereaved(struct server *, uint64_t node, uint64_t start);
void turn_request(struct server *, const struct sup_request *);
/* The tree begins, goes on after a takeover, ends in order, ends at once. */
int turn_begin(struct server *, struct sup_spec *);
void turn_resume(struct server *);
/* No worker lives: what was stored is started again, as spec says now; the reference passes over. */
int turn_begin_anew(struct server *, struct sup_spec *, bool new_boot);
/* Another specification; the reference passes over. */
void turn_reload(struct server *, struct sup_spec *, uint64_t request);
void turn_stop(struct server *);
void turn_kill(struct server *);
/* Between two of these, events wait. */
void turn_hold(struct server *);
void turn_release(struct server *);
void turn_free(struct server *);

/* ---- rows of the store (records.c: how they get there; rows.c, layouts.c: what stands in them) ---- */

struct records_row;
struct records_long;
struct records_layout;
struct records {
	struct stash__rows rows;
	bool open;
	STAILQ_HEAD(, records_row) backlog; /* no room in the ring at the moment */
	size_t waiting;
	struct event flush;
	struct stash_buf scratch;
	LIST_HEAD(, records_long) longs;
	LIST_HEAD(, records_layout) layouts; /* all that are stored */
};
int records_open(struct server *);
void records_close(struct server *);
void records_put(struct server *, uint32_t db, const void *key, size_t key_len, const void *value, size_t value_len);
void records_del(struct server *, uint32_t db, const void *key, size_t key_len);
/* All that was put becomes one entry: from here on nothing loses it. */
void records_submit(struct server *);
void records_tick(struct server *);
void records_tree(struct server *, const char *key, bool gone);
void records_tree_forget(
    struct server *, const char *key, unsigned parts);		      /* parts: 0 if that isn't known from outside */
void records_parts(struct server *, const char *key, unsigned parts); /* a row that was read had so many */
size_t records_part_key(char out[SUP_KEY_MAX + 4], const char *key, unsigned part);
bool records_is_part(const char *key);
void records_registry(struct worker *, bool gone);
void records_longs_free(struct server *);
/* A layout's packed fields, which may be none; NULL: it was never told. */
const void *records_fields(struct server *, const char *layout, uint32_t version, uint64_t *image_len, size_t *len);
void records_layouts_free(struct server *);
void records_layout(
    struct server *, const char *layout, uint32_t version, uint64_t image_len, const void *fields, size_t len);
/* As it was read from the store: all of its chunks. */
void records_layout_stored(struct server *, const char *layout, uint32_t version, const void *value, size_t len);
/* Answers a worker that has found a state of that layout. */
void records_layout_asked(struct life *, const char *layout, uint32_t version);
/* A line of the event log. */
void records_event(struct server *, enum stash_event_type, enum stash_reason, const char *child, const char *name,
    const char *fmt, ...) STASH_PRINTF(6, 7);
/* REPORT came out of the machine: log and event. */
void records_report(struct server *, const struct sup_action *);

/* ---- the whole ---- */

enum server_phase {
	SERVER_BOOT = 1, /* until the tree is there and children are adopted */
	SERVER_UP = 2,
	SERVER_STOPPING = 3, /* the tree ends in order */
	SERVER_OVER = 4	     /* the tree has ended; the stash stores the rest */
};

struct takeover;

struct server {
	const struct stash__supervise_config *config;
	const struct plan_table *plans;
	struct sup_spec *tree; /* the config's */
	const char *dir, *run_dir;
	struct stash__origin origin;
	int run_fd, slot_fd, way_fd, lock_fd;
	sigset_t child_mask; /* of workers */
	uint64_t starts;     /* supervisors there were before this one */
	bool follows;	     /* one of them had begun the tree: its rows are those of this stashd */
	enum server_phase phase;
	int64_t began_ns, stop_asked_ns, over_ns;
	int result; /* what stash_supervise() is to say */
	char text[STASH__ERRMSG_MAX], term[SUP_TERM_MAX];

	struct event_base *events;
	struct event tick, due, signals;
	int signals_fd;
	bool due_set;

	struct spawner spawner;
	struct keeplink keep;
	struct stashlink stash;
	struct broker broker;
	struct records records;
	struct sup *machine;
	struct turn_events turns;
	bool turning;
	unsigned held;
	uint64_t next_request; /* of the machine */
	struct reloads reloads;
	bool reload_due; /* SIGHUP came before there was a tree */

	struct files files;
	struct worker_names names;
	struct worker_nodes nodes;
	LIST_HEAD(, life) ahead;
	struct channel_ids channels;
	struct registry registry;
	LIST_HEAD(, report) reports;
	struct wait *reexec; /* a client's; NULL: none, or it is gone */
	bool reexecing;
	uint64_t generation; /* of its binary; 0: the keeper's */
	const char *keeper_version;
	pid_t keeper_pid;
	bool trial; /* the first one of its binary, not through with its takeover: can't it go on, it changes nothing */
	struct takeover *takeover; /* during SERVER_BOOT */
	unsigned nworkers, recovered;
	bool up;	 /* the tree has started as a whole; after a takeover it counts as that */
	bool was_clean;	 /* the last stashd here had ended in order */
	bool new_boot;	 /* the machine was started again since; noted with the keeper */
	char found[256]; /* what the stash has found, in words */
};

/* supervise.c: the specification of a tree, with the plans of its workers. */
int supervise_make_tree(const struct stash_supervisor_spec *, struct plan_table *, struct sup_spec **);

/* Ends the process with a result: nothing of the tree runs any more. */
void server_over(struct server *, int result, const char *text);
_Noreturn void server_give_up(const char *why);			/* the next supervisor finds everything as it is */
void server_await(struct event *, const struct timeval *after); /* event_add(), or gives up */
/* Arms the timer for the machine. */
void server_arm(struct server *);
void server_up(struct server *);				  /* the machine's UP */
void server_ended(struct server *, int result, const char *term); /* as the machine's DONE says */
void server_stop(struct server *, const char *who);

/* logging.c: the whole tree into the log, a line for each child. */
void logging_tree(struct server *);

/* takeover.c */
int takeover_begin(struct server *);	  /* fetches from the keeper */
void takeover_stash_up(struct server *);  /* the stash answers */
void takeover_new_boot(struct server *);  /* it has found another boot's store */
void takeover_expect(struct worker *);	  /* has its slot opened; the takeover is over when all of them are */
void takeover_slot_open(struct worker *); /* a slot's OPENED */
/* leftover.c: what is there of names that are in no tree is let go of. */
int leftover_find(struct server *);
/* A start that fails ends stashd; where a tree runs or may be had, the next supervisor tries again, for ever. */
bool takeover_ends(const struct server *, int error);
void takeover_failed(struct server *, int error, const char *why);
void takeover_free(struct server *);

#endif
