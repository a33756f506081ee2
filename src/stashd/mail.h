/* SPDX-License-Identifier: ISC */
/*
 * mail.h: the messages of shm/wire.h as the processes of stashd send and receive them: type and number first, then
 * items, and descriptors beside them.  Nothing here knows what a message means.
 */
#ifndef STASHD_MAIL_H
#define STASHD_MAIL_H

#include <bsd/sys/queue.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/sock.h"

/* The one buffer in which this process makes its messages, begun anew: good until the next mail_begin(). */
struct stash_buf *mail_begin(int64_t type, uint64_t number);
/* Adds "error, text": the text is the thread's message, or "" for 0 and above. */
void mail_add_result(struct stash_buf *, int error);

/* Sends what was begun last.  Never waits: STASH_E_BUSY; also _DOWN, and the buffer's own errors. */
int mail_send(int fd, const struct stash_buf *, const int *fds, int nfds);
/* The same, but waits for room: STASH_E_TIMEDOUT. */
int mail_send_wait(int fd, const struct stash_buf *, const int *fds, int nfds, int timeout_ms);

/* A message that came in.  Its bytes lie in a buffer of this process until mail_done(), the last one's first. */
struct mail {
	int64_t type;
	uint64_t number;
	struct stash_view view;	  /* what follows */
	int fds[STASH__SOCK_FDS]; /* what isn't taken by mail_take_fd() is closed by mail_done() */
	int nfds;
};

/* 0: to be ended by mail_done(); STASH_E_PENDING: nothing there; _DOWN: the other side is gone;
 * else a bad message, dropped. */
int mail_recv(int fd, struct mail *);
/* Descriptor i is the caller's from now on; -1 if the message has none there. */
int mail_take_fd(struct mail *, int i);
void mail_done(struct mail *);
/* Waits until a message may be there.  0; STASH_E_TIMEDOUT. */
int mail_wait(int fd, int64_t deadline_ns);

/* ---- messages that wait because the other side does not read ---- */

struct outbox_item;
struct outbox {
	int fd; /* borrowed; -1: closed */
	struct event writable;
	bool waiting; /* the event is set */
	STAILQ_HEAD(, outbox_item) items;
	size_t bytes;			      /* that wait */
	int64_t since;			      /* when the first of them began to wait */
	void (*broken)(void *arg, int error); /* the other side is gone: from the event, never from outbox_send() */
	void *arg;
};

void outbox_init(struct outbox *, struct event_base *, int fd, void (*broken)(void *, int), void *arg);
/* Sends it now or later, in order; descriptors are copied if it has to wait.  STASH_E_DOWN, _NOMEM, ... */
int outbox_send(struct outbox *, const struct stash_buf *, const int *fds, int nfds);
/* Drops what waits, and the event.  Twice is fine. */
void outbox_close(struct outbox *);

#endif
