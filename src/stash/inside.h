/* SPDX-License-Identifier: ISC */
/*
 * inside.h: the inside of the stash process: one struct stash, shared by the files of this folder.
 *
 *   main.c    start and end: store, status page, slots found, hello
 *   loop.c    two threads that take turns: one watches (bell, socket, timer) and folds, the other commits
 *   fold.c    rounds: which slots are looked at, and the base that comes of their entries
 *   entry.c   one entry: copied, validated, applied
 *   slots.c   the table of slots, their files and maps
 *   found.c   which slots there are at the start
 *   open.c    a slot made, found, grown, closed
 *   channel.c rows of channels in the base; record.c the records
 *   commit.c  what has changed, in one transaction; what is done when that fails
 *   cursor.c  the channels' part of it
 *   rows.c    the supervisor's own ring
 *   retire.c  the verdict on a dead worker's message in hand
 *   serve.c   messages of the supervisor
 *   answer.c  how they are answered
 *   wait.c    those that are answered after a commit
 *   scan.c    rows for the supervisor and for tools
 *   copy.c    a copy of the store, for a backup
 *
 * Two locks.  `watch': who has it polls and serves.  `table': everything in the structs below, unless said
 * otherwise; nobody has it while he waits for the disk or in poll.  Order: watch, table.
 */
#ifndef STASH_STASH_INSIDE_H
#define STASH_STASH_INSIDE_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/buf.h>
#include <stash/error.h>

#include "base/buf.h"
#include "shm/slot.h"
#include "shm/wire.h"
#include "stash/process.h"
#include "store/store.h"

/* What the store has of one channel; the committing thread's. */
struct stored {
	uint8_t id[STASH__ID];
	uint64_t req_bytes, req_count, rep_bytes, rep_count;
	bool used;
};

struct slot {
	RB_ENTRY(slot) by_name;
	TAILQ_ENTRY(slot) turn;	   /* in active or sleeping */
	TAILQ_ENTRY(slot) waiting; /* in unsaved */
	char name[STASH_NAME_MAX + 1];
	bool active, unsaved;
	bool broken;   /* nothing is folded until its worker is retired */
	bool retiring; /* its worker is dead, nobody need be told to kill it */
	bool closing;  /* a CLOSE waits for the commit */
	bool persist;
	uint32_t history;
	int64_t busy; /* when an entry was last found */

	struct stash__out out;
	struct stash__in in; /* neither half's descriptor is kept open */
	struct stash__bell_page *bell_page;
	int bell; /* the worker's; -1: not known */

	/* The fold so far.  Its image is in the selected base of `in' and nowhere else. */
	struct stash__base base;
	struct stash__row *rows;
	uint64_t *touched;	/* for each row the last look at an entry with it, to find one that is there twice */
	uint32_t room;		/* rows there is memory for */
	unsigned char *records; /* the open ones, base.records_bytes of them */
	size_t records_room;
	uint64_t writer;  /* incarnation of the last entry */
	uint64_t durable; /* entry number of the store's row */
	uint64_t refused; /* up to this entry number the store can't take it */

	struct stored *stored;
	uint32_t nstored;
	bool aligned; /* stored[i] is of place i; at first only the ids are known */
};
RB_HEAD(slots, slot);
TAILQ_HEAD(slot_list, slot);

#define STASH__WAIT_ALONE 0 /* a waiter's type: nobody is left to be answered, this is the last commit */

/* A request that is answered after a commit. */
struct waiter {
	STAILQ_ENTRY(waiter) link;
	int64_t type, number;	       /* STASH__S_* */
	char name[STASH_NAME_MAX + 1]; /* CLOSE */
	bool keep;
	struct store_scan scan; /* SCAN; `from' is an allocation */
	int fd;			/* COPY: -1 when it was given on */
};
STAILQ_HEAD(waiters, waiter);

/* An answer that the socket didn't take. */
struct answer {
	STAILQ_ENTRY(answer) link;
	int fds[3], nfds;
	size_t len;
	unsigned char data[];
};
STAILQ_HEAD(answers, answer);

/* The supervisor's ring. */
struct rows {
	struct stash__out out;
	struct stash__in in;
	uint64_t head;	 /* bytes of the ring that are on the disk */
	uint64_t number; /* last batch on the disk */
	bool active;
	int64_t busy;
};

/* One state to commit, in the job's memory. */
struct item {
	struct slot *slot; /* its stored channels are this job's; all else of it is under the table lock */
	struct store_state state;
	uint32_t history;
	const struct stash__row *rows;
	uint32_t nrows;
	bool refused; /* the store can't take it */
};

struct job {
	struct item *items;
	size_t nitems, room_items;
	unsigned char *memory;
	size_t room;
	struct stash_buf rows; /* the supervisor's, packed */
	uint64_t rows_head, rows_number;
	struct waiters waiters;
	int64_t took_ns; /* 0: there was nothing to store */
};

/* A copy of an entry out of a ring. */
struct copy {
	unsigned char *at;
	size_t room;
};

/* A copy of the store that is being made, or was the last one. */
struct copying {
	pthread_t thread;
	bool started; /* there is a thread to be joined */
	bool running;
	int fd;
	int64_t number; /* of the request */
};

struct stash {
	const struct stash__stash_options *options;
	int64_t fold_interval, commit_interval;
	int run_dir, slot_dir, lock_fd, bell, status_fd;
	int control; /* -1: its other end is gone */
	struct stash__origin origin;
	struct stash__status_page *status;
	struct store *store;
	bool same_boot;

	pthread_mutex_t watch, table;
	bool greeted; /* HELLO is sent */
	bool ending;
	int status_code;
	bool committing; /* somebody is, and looks by himself for what to do next when he is ready */
	struct slots slots;
	uint32_t nslots;
	struct slot_list active, sleeping, unsaved;
	struct rows rows;
	struct waiters waiters;
	struct answers answers;
	struct copying copying;
	struct stash_buf message; /* being built */
	unsigned char *packet;	  /* received; STASH__WIRE_MAX bytes */
	int64_t round;		  /* T of the last round */
	bool round_whole;	  /* it was over all slots */
	bool urgent;		  /* as of it */
	int64_t next_fold, next_beat, wake_at;
	int64_t last_commit, retry_at, retry_delay, next_stat;
	int64_t complained;	   /* when a slot that can't be folded was last logged */
	uint64_t looks;		   /* entries validated */
	struct copy entry, newest; /* the entry in hand; the newest one with an image */

	struct job job; /* the committing thread's, except between stash__commit_take() and the unlock */
};

RB_PROTOTYPE(slots, slot, by_name, slot_cmp)

/* ---- loop.c ---- */
/* Runs until the end. */
int stash__loop(struct stash *);

/* ---- fold.c ---- */
/* One round over all slots that are awake: what is stamped before now is folded.  Whole, or if somebody rang:
 * over all slots. */
void stash__round(struct stash *, bool whole);
/* Folds one slot's entries stamped before t; INT64_MAX: all.  How many; or an error: those before it are folded. */
int stash__fold(struct stash *, struct slot *, int64_t t);
void stash__slot_activate(struct stash *, struct slot *);
/* For the handler of signals: notes the entry that this thread was looking at. */
void stash__blame(void);
void stash__slot_break(struct stash *, struct slot *, const char *why);

/* ---- entry.c ---- */
/* The entry at the slot's out_head.  1: folded into slot->base and rows, and its image, if it has one, is in
 * s->newest; 0: stamped at t or later; STASH_E_CORRUPT: broken; STASH_E_FULL, _NOMEM, ...: can't be folded now. */
int stash__entry_take(struct stash *, struct slot *, uint64_t tail, int64_t t);

const void *stash__entry_image(const struct copy *);
/* Bytes that the next base has behind its rows, with this image. */
static inline uint64_t
stash__slot_payload(const struct slot *slot, uint64_t image_len)
{
	return (uint64_t)slot->base.records_bytes + image_len;
}

/* ---- slots.c ---- */
struct slot *stash__slot_find(struct stash *, const char *name);
/* A slot in the table without files; NULL: no memory. */
struct slot *stash__slot_add(struct stash *, const char *name);
void stash__slot_remove(struct stash *, struct slot *);
/* Opens one of its files. */
int stash__slot_file_open(const struct stash *, const char *name, const char *half, int flags);
/* Maps the files that are there, takes the base. */
int stash__slot_map(struct stash *, struct slot *);
int stash__slot_make(struct stash *, struct slot *, uint64_t ring_bytes, uint64_t image_bytes);
void stash__slot_unlink(const struct stash *, const char *name);
/* Sees to it that the next base has room. */
int stash__slot_reserve(struct stash *, struct slot *, uint32_t rows, uint64_t payload);
int stash__slot_rows(struct slot *, uint32_t rows); /* memory for so many rows */
/* Writes the base, turns it, gives room in the ring back.  image NULL: as it was.  Room has been reserved. */
void stash__slot_publish(struct stash *, struct slot *, const void *image);
const unsigned char *stash__slot_image(const struct slot *);
/* Rings the worker if it sleeps and waits for what the stash does. */
void stash__slot_wake(const struct slot *);
/* Puts it among the unsaved, or not. */
void stash__slot_note(struct stash *, struct slot *);
void stash__slot_set_durable(struct slot *, uint64_t number);
/* Of a dead worker's slot that is folded whole: whether what its worker owned is not as it should be. */
bool stash__slot_is_damaged(const struct stash *, const struct slot *);
/* Writes again what its worker owned and has damaged: nothing in the ring any more. */
int stash__slot_mend(struct stash *, struct slot *);

/* ---- found.c ---- */
/* Finds the slots in the run directory; refuses those that aren't this store's. */
int stash__slots_scan(struct stash *);

/* ---- open.c ---- */
int stash__open(struct stash *, const char *name, bool persist, uint32_t history, uint64_t image_bytes,
    uint64_t ring_bytes, struct slot **);
bool stash__slot_alive(const struct slot *); /* an incarnation isn't retired */
/* What the store has of it: base, rows and stored places of a slot that is new, or only stored places. */
int stash__slot_load(struct stash *, struct slot *, struct store_state *);
/* 0; 1: the store is behind what the slot says that it has; 2: it is ahead of all that the slot knows. */
int stash__slot_load_stored(struct stash *, struct slot *);

/* ---- channel.c ---- */
/* use: STASH__USE_IN, STASH__USE_OUT. */
int stash__channel_add(
    struct stash *, struct slot *, const uint8_t id[STASH__ID], uint32_t uid, uint32_t use, uint32_t *place);
int stash__channel_drop(struct stash *, struct slot *, const uint8_t id[STASH__ID]);
void stash__row_free(struct slot *, uint32_t place);

/* ---- record.c ---- */
/* Whether the records of an entry may be applied: STASH_E_CORRUPT if not. */
int stash__records_check(const struct slot *, const unsigned char *records, uint32_t bytes);
/* Memory for so many more bytes of them. */
int stash__records_room(struct slot *, size_t more);
/* Adds and takes away, as an entry says that was checked; returns how many messages were handled well. */
uint64_t stash__records_apply(struct slot *, const unsigned char *records, uint32_t bytes);
/* The open record whose id ends in these 32 bits: its kind, *id is all of it; -1: none. */
int stash__record_find(const struct slot *, uint32_t low, uint64_t *id);
void stash__record_drop(struct slot *, uint64_t id);
/* Takes them over from a base. */
int stash__records_take(struct slot *, const struct stash__base *);

/* ---- commit.c ---- */
/* Whether somebody waits for the disk, or for room that only a commit makes. */
bool stash__commit_urgent(const struct stash *);
/* When the next commit is to begin; 0: at once; INT64_MAX: nothing to do. */
int64_t stash__commit_due(struct stash *);
/* Copies what has changed; right behind a whole round. */
int stash__commit_take(struct stash *);
/* Commits it, without the table lock.  0, or why nothing is stored. */
int stash__commit_run(struct stash *);
/* Tells who waits; with the table lock, which it may let go for a while. */
void stash__commit_report(struct stash *, int result);
void stash__commit_free(struct stash *);

/* ---- cursor.c: of a slot in the job, without the table lock ---- */
/* Puts those that moved since they were last stored, deletes those whose rows are gone. */
int stash__cursors_write(
    struct store_batch *, struct slot *, const struct stash__row *, uint32_t nrows, uint64_t number);
/* It is on the disk. */
void stash__cursors_done(struct slot *, const struct stash__row *, uint32_t nrows);

/* ---- rows.c ---- */
int stash__rows_begin(struct stash *);
void stash__rows_end(struct stash *);
bool stash__rows_wait(const struct stash *);  /* there are some */
bool stash__rows_hurry(const struct stash *); /* the ring is half full */
void stash__rows_look(struct stash *);
int stash__rows_take(struct stash *, struct job *);
int stash__rows_write(struct store_batch *, struct job *);
void stash__rows_done(struct stash *, const struct job *);
/* Number of the last batch that the store has. */
int stash__rows_stored(struct stash *, uint64_t *number);
/* Appends all that is in the ring. */
int stash__rows_pending(struct stash *, struct stash_buf *);

/* ---- retire.c ---- */
struct verdict {
	uint32_t verdict, place, attempts;
	uint64_t number;
	bool fault;
};
int stash__retire(struct stash *, struct slot *, uint64_t incarnation, int status, uint32_t cause,
    uint32_t max_attempts, struct verdict *);

/* ---- serve.c ---- */
/* Takes what the supervisor has sent; never blocks. */
void stash__serve(struct stash *);

/* ---- answer.c ---- */
/* A request or an answer is lost, for which somebody would wait for ever: what was submitted is in the slots, and
 * the supervisor asks the next stash process again. */
_Noreturn void stash__give_up(const char *why);
/* Begins a message in s->message: type, number, error and its sentence; more may be added, then it is sent. */
void stash__answer(struct stash *, int64_t type, int64_t number, int error);
/* Sends s->message; what the socket doesn't take is kept.  The descriptors stay the caller's. */
void stash__answer_send(struct stash *, const int *fds, int nfds);
/* Sends what the socket didn't take before. */
void stash__answer_flush(struct stash *);
void stash__answer_free(struct stash *);
/* Unasked. */
void stash__answer_hello(struct stash *, int error);
void stash__answer_broken(struct stash *, const char *name, const char *text);

/* ---- wait.c ---- */
/* A request that is answered after a commit; NULL: no memory. */
struct waiter *stash__wait_add(struct stash *, int64_t type, int64_t number);
/* Answers those of the job, whose commit has this result; with the table lock, which it may let go for a while. */
void stash__wait_report(struct stash *, struct waiters *, int result);
void stash__wait_free(struct waiters *);

/* ---- scan.c: rows in a memfd ---- */
int stash__scan(struct stash *, const struct store_scan *, int *memfd, struct store_slice *);
int stash__dump(struct stash *, int *memfd, uint32_t *count);

/* ---- copy.c ---- */
/* Begins one; the file, which it closes, is its from here on, if this gives 0. */
int stash__copy_begin(struct stash *, int64_t number, int fd);
/* Ends it, and waits until it has ended; without the table lock. */
void stash__copy_end(struct stash *);

#endif
