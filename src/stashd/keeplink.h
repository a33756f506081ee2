/* SPDX-License-Identifier: ISC */
/*
 * keeplink.h: the supervisor's side of its socket to the keeper.  Without a keeper everything here does nothing: the
 * supervisor goes on alone, and nobody will start the next one.
 */
#ifndef STASHD_KEEPLINK_H
#define STASHD_KEEPLINK_H

#include <bsd/sys/queue.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct keep_answer;
struct keeplink {
	int fd; /* -1: the keeper is dead */
	struct event readable;
	bool watching;
	STAILQ_HEAD(, keep_answer) early; /* read while a message waited for room */
	struct event answers;		  /* tells those */
	/* the answer to keep_status(): state 0 it runs, 1 dead, 2 no child of the keeper */
	void (*statused)(void *arg, uint64_t number, pid_t, int state, int wait_status);
	/* the answer to keep_reexec() */
	void (*reexeced)(
	    void *arg, uint64_t number, int error, const char *text, const char *version, uint64_t generation);
	void (*lost)(void *arg);
	void *arg;
};

void keep_open(struct keeplink *, int fd);
/* One thing that the keeper has kept; fds are taken over by setting them to -1 in the array, what is left is closed. */
typedef void keep_item_fn(void *arg, const char *key, pid_t pid, int *fds, int nfds);
/* Everything, at the beginning of a supervisor's life: waits for it.  *begun: whether one before it has begun a tree;
 * left as it is by an older keeper, which doesn't say. */
int keep_fetch(struct keeplink *, keep_item_fn *, void *arg, bool *begun);
int keep_watch(struct keeplink *, struct event_base *);
void keep_close(struct keeplink *);

void keep_store(struct keeplink *, const char *key, pid_t pid, const int *fds, int nfds);
void keep_drop(struct keeplink *, const char *key);
/* key: under which its pidfd is kept */
void keep_status(struct keeplink *, uint64_t number, const char *key, pid_t pid);
void keep_reap(struct keeplink *, const char *key, pid_t pid);
void keep_beat(struct keeplink *);
void keep_reexec(struct keeplink *, uint64_t number);
void keep_yield(struct keeplink *);
void keep_settled(struct keeplink *);
/* The tree has ended for good. */
void keep_over(struct keeplink *, int result, const char *text, const char *term);

#endif
