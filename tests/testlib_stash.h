/* SPDX-License-Identifier: ISC */
/*
 * A stash process without supervisor and workers: the test plays both.  The process is
 * tests/helpers/stash_process of this build (or of that with crash points), started on a store in the test's
 * directory; workers are played through the calls of src/shm.  Every function fails the running test by itself
 * and waits with a bound.
 */
#ifndef TESTS_TESTLIB_STASH_H
#define TESTS_TESTLIB_STASH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "shm/rows.h"
#include "shm/slot.h"
#include "shm/wire.h"
#include "testlib.h"

struct th_stash {
	/* set by the caller before th_start(), or left */
	bool points;
	const char *env[6]; /* more variables, NULL behind the last */
	bool sturdy; /* when it dies while an answer is awaited, start the next and ask again, as a supervisor does */

	const char *dir;
	char run_dir[300], slot_dir[320];
	struct t_proc proc;
	int control, peer; /* our end of the socket, and the stash's as the keeper keeps it; -1 before */
	int bell;
	int64_t number;		     /* of the last request */
	unsigned char request[2000]; /* the last one, and its descriptor */
	size_t request_len;
	int request_fd, deaths;
	int64_t skipped;		 /* BROKEN messages that came while something else was awaited */
	char broken[STASH_NAME_MAX + 1]; /* the last one's name */
	struct stash__origin origin;
	/* as its HELLO said */
	int error;
	char text[1024];
	int64_t incarnation, slots, clean, new_boot;
	struct stash__status_page *status;
};

/* An answer, or another message. */
struct th_mail {
	unsigned char data[STASH__WIRE_MAX];
	struct stash_view view; /* behind type, number, error and text */
	int64_t type, number, error;
	const char *text;
	int fds[4], nfds;
};

/* Begins a test: directory, run directory, bell.  Zero the struct first. */
void th_begin(struct th_stash *);
/* The stash must be over. */
void th_end(struct th_stash *);
/* Starts a process and waits for its HELLO; fails unless that is good. */
void th_start(struct th_stash *);
/* The same, for one that is expected to refuse: its error; and waits for its end. */
int th_start_refused(struct th_stash *);
/* Starts it, and doesn't wait for anything. */
void th_launch(struct th_stash *);
void th_hello(struct th_stash *);
/* SIGKILL, and waits for the end. */
void th_kill(struct th_stash *);
/* SHUTDOWN, and waits for the end with status 0. */
void th_shutdown(struct th_stash *);
/* Kills it and starts the next. */
void th_restart(struct th_stash *);

/* Requests: a buffer with type and number; send takes it and one descriptor (or -1). */
void th_request(struct th_stash *, struct stash_buf *, int64_t type);
void th_send(struct th_stash *, struct stash_buf *, int fd);
/* Adds a channel's id: a text of up to 16 characters. */
void th_add_id(struct stash_buf *, const char *text);
/* The next message, at most 10 s; of BROKEN ones only a note is taken. */
void th_receive(struct th_stash *, struct th_mail *);
void th_mail_done(struct th_mail *);
/* Waits for the answer DONE to the last request: its error. */
int th_done(struct th_stash *);
/* A request without items. */
int th_simple(struct th_stash *, int64_t type);
int th_close(struct th_stash *, const char *name, bool keep);
int th_unchannel(struct th_stash *, const char *name, const char *id);
/* Waits for a BROKEN of that name. */
void th_expect_broken(struct th_stash *, const char *name);
/* Descriptors that the stash process has open. */
int th_fds(const struct th_stash *);

/* A worker as the test plays it. */
struct th_worker {
	struct th_stash *stash;
	const char *name;
	struct stash__out out;
	struct stash__in in;
	struct stash__bell_page *bell_page;
	int fds[3], bell;
	uint64_t incarnation, entry, version, changed;
	/* as OPENED said */
	uint64_t fence, retired, open_version;
	int64_t channels;
	char first_id[STASH__ID];
};

struct th_verdict {
	int64_t fence, verdict, place, number, attempts, fault, kind, len, phase, version, crashes;
	char tag[STASH_TAG_MAX + 1];
};

/* OPEN, and maps what comes; again: for a worker that is open, growing or after a restart of the stash. */
void th_open(struct th_stash *, struct th_worker *, const char *name);
int th_open_as(struct th_stash *, struct th_worker *, const char *name, bool no_persist, int history, uint64_t image,
    uint64_t ring);
void th_worker_close(struct th_worker *);
/* The next incarnation: takes what the base has, writes its number into the slot. */
void th_live(struct th_worker *);
/* A copy of the base, to be freed. */
struct stash__base *th_base(struct th_worker *);
/* Makes a row: its place.  id: up to 16 characters. */
uint32_t th_channel(struct th_worker *, const char *id);
int th_try_channel(struct th_worker *, const char *id, uint32_t *place);
/* A position with that many requests and replies, each of 64 bytes. */
struct stash__position th_position(uint32_t place, uint64_t requests, uint64_t replies);
/* Submits an entry as a worker does: with room, and with a ring if the stash sleeps.  image NULL: none; a text
 * else. */
void th_entry(struct th_worker *, const char *image, const struct stash__position *, unsigned n);
/* The same with a head and an image that may be anything; bytes, checksum are filled in. */
void th_submit(struct th_worker *, struct stash__entry *, const struct stash__position *, const void *image);
/* The head that th_entry() would write. */
struct stash__entry th_head(struct th_worker *, uint32_t image_len, unsigned npositions);
/* One with an image of one byte, and nobody is rung. */
void th_submit_silently(struct th_worker *, const char *image);
void th_folded(struct th_worker *); /* waits until all is folded */
/* Waits for the disk as ack = "disk" does. */
void th_durable(struct th_worker *, uint64_t entry);
/* Fails unless the base has this image. */
void th_is(struct th_worker *, const char *image);
/* RETIRE.  max_attempts 3. */
int th_retire(struct th_worker *, int status, int cause, struct th_verdict *);
/* A message in hand in the black box. */
void th_hand(struct th_worker *, uint32_t place, uint64_t number, uint32_t phase, uint32_t batch);
/* The box as its next incarnation clears it. */
void th_clear_box(struct th_worker *);

/* The stored state of a name as text, without a stash running; "" if there is none.  cursors may be NULL. */
const char *th_stored(const struct th_stash *, const char *name, uint64_t *seq, uint64_t *version, int *cursors);

#endif
