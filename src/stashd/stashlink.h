/* SPDX-License-Identifier: ISC */
/*
 * stashlink.h: the stash process as the supervisor sees it: started before any worker, started again whenever it dies,
 * and asked without waiting.  A request stays here until it is answered, and goes to the next stash process if the
 * one that had it is dead: all of them may be made twice.
 */
#ifndef STASHD_STASHLINK_H
#define STASHD_STASHLINK_H

#include <bsd/sys/queue.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/format.h"
#include "stashd/mail.h"

struct server;
struct stashlink_request;

/* The answer: m->view stands behind error and text.  Descriptors are taken by mail_take_fd(). */
typedef void stashlink_fn(void *arg, int error, const char *text, struct mail *m);

struct stashlink {
	struct server *server;
	pid_t pid;				 /* 0: none at the moment */
	int pidfd, control, bell, status_fd;	 /* bell: one for all stash processes */
	const struct stash__status_page *status; /* NULL: not known yet */
	bool adopted;				 /* a child of the keeper */
	bool running;				 /* it has said hello, or was found running */
	bool was_up;				 /* some stash process has run since this supervisor began */
	bool closing;				 /* told to end */
	bool suspect;				 /* the next one looks at all of the store before it touches it */
	int64_t complained;			 /* when it was last logged that none can start */
	bool replacing;				 /* killed, since it is of another binary than this supervisor */
	struct event readable, dead, retry;
	struct outbox outbox;
	TAILQ_HEAD(, stashlink_request) requests; /* unanswered, in order */
	uint64_t next_number;
	uint64_t deaths;
	int64_t started, delay;	 /* started: when it was made, then when it said hello */
	int64_t ticked, patient; /* the last look at its beat; silence before this time doesn't count */
	bool retrying;
};

/* Numbers from first_number on; none that an earlier supervisor has used. */
int stashlink_init(struct stashlink *, struct server *, uint64_t first_number);
/* Takes over one that runs: control, pidfd, bell. */
int stashlink_adopt(struct stashlink *, pid_t, const int fds[3]);
/* The one that was taken over is of another binary: its end is no death, and the next one is of this one. */
void stashlink_replace(struct stashlink *);
void stashlink_start(struct stashlink *);
void stashlink_close(struct stashlink *);
/* Looks at its beat. */
void stashlink_tick(struct stashlink *, int64_t now_ns);

/* ---- requests (stashrequest.c) ---- */

/* Begins a request in the message buffer; the next stashlink_send() sends it. */
struct stash_buf *stashlink_begin(struct stashlink *, int type);
/* fd: goes along, is copied; -1: none.  fn is called once, never from here; NULL: the answer isn't wanted.  Returns the
 * request's number; 0: no memory, and fn is never called. */
uint64_t stashlink_send(struct stashlink *, const struct stash_buf *, int fd, stashlink_fn *fn, void *arg);
/* Whatever is under way with this arg is answered to nobody. */
void stashlink_forget(struct stashlink *, const void *arg);
/* An answer has come. */
void stashlink_answer(struct stashlink *, struct mail *);
/* To a new stash process: all that is unanswered. */
void stashlink_send_again(struct stashlink *);
void stashlink_drop_requests(struct stashlink *);

#endif
