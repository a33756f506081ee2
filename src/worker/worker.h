/* SPDX-License-Identifier: ISC */
/*
 * worker.h: the inside of a worker process: one struct stash_worker, shared by the files of this folder.
 *
 *   behaviour.c what comes from a module or a program
 *   run.c       START, slot, GO, init, READY; then the loop; then the end
 *   loop.c      one batch after the other; looking, spinning, sleeping
 *   dispatch.c  one message: black box, callback, result
 *   state.c     the state: loaded, kept, encoded, taken back
 *   submit.c    the entry, room for it, and what is published when it is safe
 *   mailbox.c   channels: attach, take a request, reply, refuse, let go
 *   control.c   messages from and to the supervisor
 *   timer.c     timers of this incarnation; post.c messages of other threads
 *   record.c    what a transition leaves to be done: posts, continues, requests; kept until it is done
 *   way.c       channels of this worker to others; ask.c what goes by them
 *   names.c     names, groups, monitors
 *   task.c      functions in processes of their own; task_child.c what happens there
 *   crash.c     signals of the worker, and what a crash leaves in the black box
 *   api.c       what callbacks may call; main.c programs of their own (stash_worker_main)
 */
#ifndef STASH_WORKER_INSIDE_H
#define STASH_WORKER_INSIDE_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/behaviour.h>
#include <stash/message.h>

#include "base/buf.h"
#include "shm/channel.h"
#include "shm/slot.h"

/* A channel of this worker. */
struct mailbox {
	struct stash__channel channel;
	int bell;  /* the client's */
	bool line; /* it is this side's end of a line, at which the client of another user rings, too */
	uint32_t place;
	uint32_t uid, pid;
	bool gone;     /* the client is dead: replies are dropped, the row goes at the end */
	bool deleting; /* the row's end is in an entry */
	bool broken;   /* it broke the rules: refused when this batch is out */
	char *why;     /* how; NULL: no memory */
	bool touched;  /* in this batch */
	bool waits;    /* no room for the state to grow, and its next message is one that can't be refused any more */
	/* how far this incarnation has come; published only when it is safe */
	uint64_t req_head, req_count;
	uint64_t rep_tail, rep_count;
	uint64_t aside; /* request number that is answered by STASH_E_CRASHED, or 0 */
	/* replies before the message in hand, to be restored when its callback fails; valid if mark is that
	 * message's */
	uint64_t mark, mark_tail, mark_count;
	bool mark_touched;
};

/* A channel of this worker to another one.  The worker's name has it, so the next incarnation goes on with it. */
struct way {
	TAILQ_ENTRY(way) link;
	char name[STASH_NAME_MAX + 1]; /* of the worker at its other end */
	struct stash__channel channel;
	uint8_t id[STASH__ID];
	int bell; /* the other worker's */
	struct stash__bell_page *page;
	uint32_t place;
	bool touched;  /* in this batch */
	bool deleting; /* the row's end is in an entry, or about to be */
	int error;     /* not 0: it is broken */
	/* how far this incarnation has come; published only when it is safe */
	uint64_t req_tail, req_count;
	uint64_t rep_head, rep_count;
	/* the same before the message in hand, valid if mark is that message's */
	uint64_t mark, mark_req_tail, mark_req_count, mark_rep_head, mark_rep_count;
	bool mark_touched;
};
TAILQ_HEAD(ways, way);

/* Positions that wait for an entry to be durable (ack = "disk"). */
struct pending {
	uint64_t needs; /* the entry that must be durable */
	struct mailbox *mailbox;
	struct way *way;
	uint64_t tail, head; /* rep_tail and req_head of a mailbox, req_tail and rep_head of a way */
};

/* What is to be done, as stash__record has it. */
struct record {
	TAILQ_ENTRY(record) link;
	struct stash__record head;
	bool done; /* an entry is to say so */
	char tag[STASH_TAG_MAX + 1];
	_Alignas(16) unsigned char data[];
};
TAILQ_HEAD(record_list, record);

struct timer {
	RB_ENTRY(timer) link;
	int64_t due, interval; /* ns; interval 0: once */
	int64_t ref;
	bool cancelled; /* while its own message was in hand */
	char tag[STASH_TAG_MAX + 1];
	size_t len;
	_Alignas(16) unsigned char data[];
};
RB_HEAD(timers, timer);

/* A message that only this incarnation gets. */
struct post {
	STAILQ_ENTRY(post) link;
	char tag[STASH_TAG_MAX + 1];
	size_t len;
	_Alignas(16) unsigned char data[];
};
STAILQ_HEAD(posts, post);

TAILQ_HEAD(tasks, task);
#define STASH__TASKS_MAX 64u /* of one worker at once */

/* What it is told of the layout of the state that it has found. */
struct told {
	bool done;
	int error;
	uint64_t image_len; /* of the state: fields for another length tell nothing */
	struct stash_field *fields;
};

/* Questions about names, and what monitors tell (names.c). */
struct down;
struct names {
	uint64_t number; /* of the last question */
	bool answered;
	int error;
	int64_t ref;
	STAILQ_HEAD(, down) downs; /* ends that are to become records */
	uint64_t told, taken;	   /* numbers of the last end that was told, and of the last in an entry */
};

/* What the supervisor said in START. */
struct start {
	char name[STASH_NAME_MAX + 1];
	uint64_t incarnation;
	int64_t parent; /* pid of the supervisor that forked us */
	bool ack_disk, no_persist;
	bool dies_with_supervisor; /* GO has said so */
	int64_t spin_ns;
	char **argv; /* argv[0] is the name, NULL behind the last */
	int argc;
};

/* A row that an entry has deleted. */
struct deleted {
	uint8_t id[STASH__ID];
	uint64_t tail; /* behind that entry */
};

struct stash_worker {
	const struct stash_behaviour *behaviour;
	struct start start;
	struct stash_init init;
	int control;
	unsigned char *wire; /* STASH__WIRE_MAX bytes: the message read last */
	struct stash_buf message_out;
	int bell, stash_bell;
	int lines; /* an epoll descriptor with the lines of clients of other users; -1: there was none yet */

	/* shared memory */
	struct stash__out out;
	struct stash__in in;
	struct stash__bell_page *bell_page;
	struct stash__base *base; /* as it was at GO; its image is not kept */
	uint32_t layout_sum;

	/* the state: `state' is what callbacks change, `before' is as it was before the callback in hand; with
	 * encode there is no `before', but the image that was made last, and room for the next one */
	unsigned char *state, *before;
	void *local;
	struct stash_buf encoded[2];
	unsigned encoded_now;
	struct told *told;	     /* NULL: nobody asks */
	bool unencoded;		     /* callbacks have run since the last image was made */
	bool migrated;		     /* it came from another layout: committed when init has returned */
	bool spoiled;		     /* it couldn't be taken back: not to be shown to terminate */
	bool lost_batch;	     /* what was taken since the last entry doesn't count, nor what terminate does */
	bool dirty;		     /* the batch has changed it */
	uint64_t version, committed; /* messages that changed the state; of these, those in an entry with an image */
	uint64_t entry, changed;     /* numbers of the last entry, and of the last one that changed the state */
	bool careful;		     /* batches of one message */

	struct mailbox **mailboxes;
	size_t nmailboxes, room_mailboxes, turn;
	size_t leaving;		 /* of these, gone or broken */
	struct deleted *deleted; /* rows that are perhaps still in the base */
	size_t ndeleted;
	struct mailbox **touched; /* those with a position in the entry to come */
	size_t ntouched;
	struct mailbox *last;	    /* the mailbox served last */
	struct mailbox *last_taken; /* of the message in hand; NULL: a timer, a post */
	unsigned alone;		    /* batches in a row that served only that one */
	struct stash__position *positions;
	size_t room_positions;
	struct pending *pending;
	size_t npending, first_pending, room_pending;
	bool ask_disk; /* something new waits: the stash is to be rung */

	struct timers timers;
	struct timer *running; /* whose message is in hand */
	int64_t next_ref;
	/* records: open ones, in an entry; those that the next entry adds; those of the callback in hand */
	struct record_list open, fresh, asked;
	unsigned nrecords, ndone; /* of all three; open ones that are done */
	size_t records_bytes;
	uint64_t last_record, heard;
	struct stash_buf records;	      /* as they go into an entry */
	char continue_tag[STASH_TAG_MAX + 1]; /* asked for by the callback in hand; "": none */
	bool cut;			      /* the batch ends here: a continue comes before the next message */
	int64_t next_request_ref;

	struct ways ways;
	unsigned nways, touched_ways;
	bool ways_known;       /* WAYS has come */
	struct way *next_way;  /* the one whose turn it is */
	struct way *asked_way; /* WAY_TO has come: this one, */
	int asked_error;       /* or why not; STASH_E_PENDING: it hasn't */
	char asked_name[STASH_NAME_MAX + 1];
	struct stash_client *client;
	char *dir;  /* the store's */
	int unsent; /* an error: what a handler of events has sent couldn't be written */

	struct posts posts;
	pthread_mutex_t posts_lock;
	_Atomic bool have_posts;
	struct tasks asked_tasks; /* of the transition in hand */
	struct tasks tasks;	  /* that are to run, or run */
	struct tasks over_tasks;  /* whose messages wait */
	unsigned ntasks;	  /* in all three */
	int task_epoll;		  /* readable when a task has ended; -1: there was none yet */

	struct names names;

	/* the batch and the message in hand */
	unsigned batch, batch_max;
	uint64_t messages;  /* of this incarnation: the mark of the one in hand */
	uint64_t hand_head; /* its mailbox's req_head before it was taken */
	struct stash__copy copy;
	struct stash__message message;
	struct mailbox *from;  /* of the call in hand; NULL: none */
	struct record *record; /* the one in hand; NULL: none */
	bool replied, in_callback;
	bool failed_in_words; /* stash_fail() has set the message */
	struct event_base *events;
	struct event *alarm; /* of that base: the deadline of a sleep */

	int64_t now;	    /* CLOCK_MONOTONIC as of the last look */
	int64_t busy_since; /* when this batch began */
	int64_t idle_since; /* when the last batch was published */
	int64_t last_gap;   /* from publishing to the next message, lately */
	int64_t last_control;
	uint64_t half_rung;  /* out_tail when the stash was last rung for a ring half full */
	uint64_t grow_head;  /* out_head when the ring was last found half full */
	unsigned half_full;  /* how often it was, since it grew last */
	uint64_t image_len;  /* of the last one */
	uint64_t step;	     /* the most by which it grew */
	bool no_room;	     /* for it to grow: calls are refused, and other messages left where they are */
	unsigned unanswered; /* GROW that were sent, without GROWN that came */
	unsigned older;	     /* of these, sent before the one for which it waits */
	bool grown;	     /* GROWN has come */
	int grow_error;
	char grow_why[200];
	int64_t asked_room;   /* when; 0: never */
	int64_t ring_refused; /* when there was no room for a larger ring; 0: never */
	bool closing;	      /* told to stop */
	bool abandoned;	      /* nobody is there any more who could answer */
	int ending;	      /* 0, or the result that ends it: STASH_STOP, STASH_STOP_SHUTDOWN, an error */
	pthread_t thread;
};

/* ---- behaviour.c ---- */
/* A behaviour as this version of the library knows it: a copy in *to.  STASH_E_INVAL. */
int stash__behaviour_take(struct stash_behaviour *to, const struct stash_behaviour *from);

/* ---- run.c: the worker's whole life; returns its exit status (stashd's forked child, stash_worker_main) ---- */
int stash__worker_run(const struct stash_behaviour *behaviour, int control);
void stash__worker_phase(struct stash_worker *, uint32_t phase);

/* ---- loop.c ---- */
/* Serves until the end; then ending and closing say why. 0, or an error that ends it as a crash (system, not
 * the callback's). */
int stash__worker_loop(struct stash_worker *);
/* Sleeps until the bell, the control socket or the deadline; counts and shows it in the black box.
 * ready: looked at once more between saying that it sleeps and sleeping; true: don't. */
int stash__worker_sleep(struct stash_worker *, uint32_t phase, int64_t deadline, bool (*ready)(struct stash_worker *));

/* ---- dispatch.c ---- */
/* Runs the callback for a message; sets ending when it was the last. */
void stash__dispatch(struct stash_worker *, const struct stash_msg *, uint64_t hand);
/* Runs the callback of a request taken from a mailbox, or refuses it. */
void stash__dispatch_request(struct stash_worker *, struct mailbox *);
/* Runs init; 0, STASH_IGNORE or an error. */
int stash__dispatch_init(struct stash_worker *);
void stash__dispatch_terminate(struct stash_worker *, enum stash_reason);

/* ---- state.c ---- */
/* Memory for it. */
int stash__state_allocate(struct stash_worker *);
/* Takes over what the base has.  STASH_E_LAYOUT: there is no way from its layout; or the behaviour's error. */
int stash__state_load(struct stash_worker *);
/* init has returned: dirty says whether there is something to commit. */
int stash__state_begun(struct stash_worker *);
/* The callback's change, if any, becomes part of the batch. */
void stash__state_keep(struct stash_worker *);
/* Whether a callback that fails takes the batch along: what came before it can't be told apart any more. */
bool stash__state_whole(const struct stash_worker *);
/* As it was before the callback that failed; of a whole batch, before that. */
void stash__state_restore(struct stash_worker *);
/* The image to commit with an entry of these flags, good until the next callback; NULL: none.  An error of encode ends
 * the worker as a callback's does. */
int stash__state_image(struct stash_worker *, uint32_t flags, const void **image, size_t *len);
void stash__state_free(struct stash_worker *);

/* ---- submit.c ---- */
/* One entry for all that was done since the last; publishes it, now or when it is durable. flags: STASH__ENTRY_*. */
int stash__submit(struct stash_worker *, uint32_t flags);
/* Publishes what has become durable. */
void stash__publish_pending(struct stash_worker *);
/* Waits until everything is published, or nobody is left to wait for. */
int stash__submit_flush(struct stash_worker *);
/* Puts positions in the queue behind what waits for `needs', or publishes at once. */
int stash__publish(struct stash_worker *, struct mailbox *, uint64_t needs);
int stash__publish_way(struct stash_worker *, struct way *, uint64_t needs);

/* ---- room.c ---- */
/* In the slot: for what is stored or, without encode, for what it will be. */
int stash__room_begin(struct stash_worker *);
/* Waits until the slot holds an image of that length, and asks for more where the next one may not fit. */
int stash__room_for(struct stash_worker *, uint64_t image);
/* Waits until the ring takes an entry of so many bytes. */
int stash__room_wait(struct stash_worker *, uint64_t bytes);
/* After an entry: whether the ring is large enough for the traffic. */
int stash__room_mind(struct stash_worker *);
/* Between batches, if something has come or lacks: what the stash has answered; asks again. */
int stash__room_tend(struct stash_worker *);
int64_t stash__room_due(const struct stash_worker *); /* when to ask again */
void stash__room_mark(const struct stash_worker *, struct mailbox *);

/* ---- mailbox.c ---- */
/* A channel as the supervisor hands it over; memfd is borrowed, bell is taken. */
struct offer {
	uint8_t id[STASH__ID];
	uint32_t place, uid, pid;
	bool gone; /* its client is dead */
	bool file; /* it is another worker's way */
	bool line; /* bell is an end of a line */
	int memfd, bell;
};
int stash__mailbox_attach(struct stash_worker *, const struct offer *);
void stash__mailbox_gone(struct stash_worker *, const uint8_t id[STASH__ID]);
/* Takes the next request if there is one that may be taken: 1 and worker->message; 0: none. A channel that
 * breaks the rules is refused here. */
int stash__mailbox_take(struct stash_worker *, struct mailbox *);
bool stash__mailbox_ready(const struct mailbox *);
int stash__mailbox_reply(struct stash_worker *, struct mailbox *, uint64_t number, int32_t code, int32_t app_code,
    const void *data, size_t len);
struct mailbox *stash__mailbox_find(const struct stash_worker *, const uint8_t id[STASH__ID]);
/* Marks the mailboxes of dead clients that have nothing left to handle: true if an entry is due for it. */
bool stash__mailbox_reap(struct stash_worker *);
/* After an entry: lets go of those, and of the broken ones, and tells the supervisor. */
void stash__mailbox_sweep(struct stash_worker *);
/* Counts a message as taken from mb (NULL: a timer, a post), so that what it writes can be taken back. */
void stash__mailbox_hand(struct stash_worker *, struct mailbox *mb);
/* Takes back what the message in hand has written. */
void stash__mailbox_rollback(struct stash_worker *);
void stash__mailbox_free_all(struct stash_worker *);

/* ---- line.c ---- */
/* Has the worker woken by that mailbox's line. */
int stash__mailbox_watch(struct stash_worker *, struct mailbox *);
void stash__mailbox_unwatch(struct stash_worker *, struct mailbox *);
/* Takes what has rung. */
void stash__mailbox_heard(struct stash_worker *);
/* The descriptor of them all, made if need be. */
int stash__mailbox_lines(struct stash_worker *);
void stash__mailbox_ring(const struct mailbox *);

/* ---- control.c ---- */
#define STASH__ASK_AGAIN STASH__NS_PER_S	 /* a supervisor that died forgot what it was asked */
int stash__control_start(struct stash_worker *); /* reads START */
int stash__control_go(
    struct stash_worker *); /* waits for GO; STASH_E_DOWN: told to stop before, or the supervisor is dead */
int stash__control_layout(struct stash_worker *);
int stash__control_ready(struct stash_worker *, int error, const char *text);
void stash__control_way(struct stash_worker *, const char *name);
void stash__control_way_over(struct stash_worker *, const uint8_t id[STASH__ID]);
/* Asks for room in the slot; the answer is awaited by stash__control_grow(), or found later in w->grown. */
int stash__control_ask_room(struct stash_worker *, uint64_t image_bytes, uint64_t ring_bytes);
int stash__control_grow(struct stash_worker *, uint64_t image_bytes, uint64_t ring_bytes);
/* Asks for the fields of a layout whose images have that length, and waits for them: to be freed by
 * stash__fields_free(); NULL: it has none. */
int stash__control_fields(
    struct stash_worker *, const char *layout, uint32_t version, uint64_t image_len, struct stash_field **fields);
/* Takes over what has grown, once the stash has folded all that is in the old ring. */
int stash__control_move(struct stash_worker *);
int stash__control_read(struct stash_worker *); /* all that is there; never blocks */
void stash__control_detached(struct stash_worker *, const uint8_t id[STASH__ID]);
/* deleted: an entry has taken its row away. */
void stash__control_refused(
    struct stash_worker *, const uint8_t id[STASH__ID], int error, const char *text, bool deleted);
void stash__control_log(struct stash_worker *, int priority, const char *line);

/* ---- names.c ---- */
/* What the supervisor says: NAMED, DOWN. */
void stash__names_answer(struct stash_worker *, struct stash_view *);
void stash__names_down(struct stash_worker *, struct stash_view *);
/* Behind what was found in the slot. */
void stash__names_begin(struct stash_worker *);
bool stash__names_wait(const struct stash_worker *);
/* What was told becomes records: between two batches. */
int stash__names_record(struct stash_worker *);
/* An entry has been written: the supervisor needn't tell again what is in it. */
void stash__names_safe(struct stash_worker *);
void stash__names_free_all(struct stash_worker *);

/* ---- timer.c, post.c ---- */
int64_t stash__timer_next(struct stash_worker *); /* INT64_MAX: none */
/* Runs one timer that is due: true if there was one. */
bool stash__timer_run(struct stash_worker *);
void stash__timer_free_all(struct stash_worker *);
bool stash__post_run(struct stash_worker *);
bool stash__post_waits(struct stash_worker *);
void stash__post_free_all(struct stash_worker *);

/* ---- task.c ---- */
void stash__task_release(struct stash_worker *); /* the callback is over: its tasks run when its entry is safe */
void stash__task_drop(struct stash_worker *);	 /* the callback failed */
/* Between two batches: begins those that are due, kills those that run too long. */
void stash__task_tend(struct stash_worker *);
void stash__task_collect(struct stash_worker *); /* those that have ended; never blocks */
/* Handles the message of one that has ended: true if there was one. */
bool stash__task_run(struct stash_worker *);
bool stash__task_waits(const struct stash_worker *);   /* for the loop: a message, or one that may begin */
int64_t stash__task_next(const struct stash_worker *); /* when a time limit passes; INT64_MAX: none */
int stash__task_watch(struct stash_worker *);	       /* in the worker's event loop, if there are both */
void stash__task_free_all(struct stash_worker *);      /* kills them */

/* ---- record.c ---- */
int stash__records_load(struct stash_worker *); /* takes over those of the base */
/* Adds one: of the callback in hand, if there is one, else of the next entry.  head: kind, number, ref, deadline,
 * place, code.  STASH_E_BUSY: too many are open. */
int stash__record_add(
    struct stash_worker *, const struct stash__record *head, const char *tag, const void *data, size_t len);
/* What the supervisor tells, in the order of seq: a DOWN message that outlives this incarnation.  One that was heard
 * already is ignored.  It is kept when the next entry is; then names.c tells the supervisor. */
int stash__record_down(struct stash_worker *, int64_t ref, uint64_t seq, const char *name, uint32_t reason);
/* Those that tell of that monitor's ends are not handled any more. */
void stash__records_forget_down(struct stash_worker *, int64_t ref);
void stash__records_keep(struct stash_worker *);      /* the callback in hand has succeeded */
void stash__records_drop(struct stash_worker *);      /* it has failed */
bool stash__records_due(const struct stash_worker *); /* an entry has something to say of them */
/* Packs what the next entry says into w->records. */
int stash__records_pack(struct stash_worker *, const void **records, size_t *bytes);
void stash__records_entered(struct stash_worker *); /* that entry is in the ring */
/* Handles one message to oneself, or a request whose time is over: true if there was one. */
bool stash__record_run(struct stash_worker *);
/* Runs the continue that is due: true if there was one. */
bool stash__continue_run(struct stash_worker *);
bool stash__continue_is_due(const struct stash_worker *, const char *tag);
bool stash__record_waits(const struct stash_worker *); /* stash__record_run() or _continue_run() would */
/* The open request with that number in a way; NULL: none. */
struct record *stash__record_request(const struct stash_worker *, uint32_t place, uint64_t number);
/* Handles its answer. */
void stash__record_answer(
    struct stash_worker *, struct record *, int32_t code, int32_t app_code, const void *data, size_t len);
bool stash__record_is_open(const struct stash_worker *, uint64_t id);
int64_t stash__record_deadline(const struct stash_worker *); /* INT64_MAX: none */
void stash__records_free_all(struct stash_worker *);

/* ---- way.c ---- */
/* The way to a name, asked for if there is none; waits for the supervisor until the deadline. */
int stash__way_get(struct stash_worker *, const char *name, int64_t deadline, struct way **);
/* WAY_TO has come; takes the descriptors that it uses out of fds. */
void stash__way_told(struct stash_worker *, struct stash_view *, int *fds, int nfds);
/* Writes a message behind its tail: of the callback in hand.  Waits for room. */
int stash__way_write(struct stash_worker *, struct way *, uint32_t kind, const char *tag, const void *data, size_t len,
    int64_t deadline);
/* Takes the last one back: tail is its beginning. */
void stash__way_unwrite(struct way *, uint64_t tail);
/* Handles one answer, or the end of a way: true if there was something. */
bool stash__way_run(struct stash_worker *);
bool stash__way_ready(const struct stash_worker *);
void stash__ways_told(struct stash_worker *); /* WAYS has come: there are no more, nor more channels of before */
bool stash__ways_are_known(struct stash_worker *);
void stash__ways_rollback(struct stash_worker *);
void stash__ways_sweep(struct stash_worker *); /* after an entry: lets go of those that are over */
void stash__ways_free_all(struct stash_worker *);

/* ---- ask.c ---- */
void stash__ask_free(struct stash_worker *);

/* ---- crash.c ---- */
/* Loads what a backtrace needs (libgcc_s): now, not in a handler; and once for all workers, in the process that
 * forks them. */
void stash__crash_preload(void);
/* Signal handlers, on a stack of their own; SIGTERM rings the bell. */
int stash__crash_arm(struct stash_worker *);
bool stash__crash_told_to_stop(void);
/* Notes an error result in the black box. */
void stash__crash_note(struct stash_worker *, int code, const char *text);

/* Reference check of functions that only a callback may call. */
int stash__worker_in_callback(const struct stash_worker *, const char *function);

#endif
