/* SPDX-License-Identifier: ISC */
/*
 * client.h: the inside of struct stash_client, shared by the files of this folder.
 *
 *   client.c  open, close, the descriptor to poll
 *   link.c    the broker socket: hello, requests and their answers, the way to the next supervisor
 *   route.c   a name's channel: opened on first use, presented to each new supervisor, over when it is marked down
 *   call.c    open calls and their replies
 *   line.c    bells of a client of another user
 *   wait.c    looking, spinning, sleeping: the one place where a client waits
 *   send.c    casts; admin.c, reload.c: what the supervisor is asked; children.c: OTP's requests among that
 *   put.c     a state for a program that isn't linked
 *   names.c   the registry
 *
 * One thread at a time.  Whatever it waits for, it takes and sorts replies (else full rings would lock each other).
 */
#ifndef STASH_CLIENT_INSIDE_H
#define STASH_CLIENT_INSIDE_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/buf.h>
#include <stash/client.h>

#include "base/buf.h"
#include "base/error.h"
#include "shm/channel.h"

#define STASH__CLIENT_BUCKETS 1024
#define STASH__CLIENT_CALLS 65536 /* open at a time */

enum route_state {
	ROUTE_OPENING = 1, /* asked for; calls wait in unsent */
	ROUTE_UP = 2,
	ROUTE_OVER = 3 /* down, refused or unknown: error says why */
};

/* The way to one name. */
struct route {
	TAILQ_ENTRY(route) link;
	char name[STASH_NAME_MAX + 1];
	enum route_state state;
	int error;
	char why[256];
	uint64_t request; /* the OPEN or PRESENT that is under way; 0: none */
	struct stash__channel channel;
	int memfd; /* to be presented again */
	int bell;  /* the worker's, */
	bool line; /* or this side's end of a line, of a client of another user */
	const struct stash__bell_page *page;
	uint64_t req_tail, req_count, rep_head;
	uint64_t drained; /* bytes of replies taken since the worker was last looked at */
	unsigned open;	  /* calls that wait for a reply here */
	unsigned holders; /* a blocking cast that uses it: not to be freed */
	bool own;	  /* it is the worker's own name, which is never somebody else's */
	bool stale;	  /* its name isn't that worker's any more: no new messages */
	struct stash__calls *unsent;
};
TAILQ_HEAD(routes, route);

enum call_state { CALL_UNSENT = 1, CALL_SENT = 2, CALL_DONE = 3 };

struct call {
	LIST_ENTRY(call) by_ref, by_number;
	LIST_ENTRY(call) open;	 /* while it is not finished */
	TAILQ_ENTRY(call) queue; /* of its route's unsent, or of the client's finished ones */
	int64_t ref;
	struct route *route; /* NULL when it is over */
	uint64_t number;     /* in the channel, once sent */
	int64_t deadline;
	enum call_state state;
	bool awaited; /* by a stash_call_wait(): not for stash_call_next() */
	struct stash_reply reply;
	/* until it is sent */
	uint8_t kind;
	char tag[STASH_TAG_MAX + 1];
	void *data;
	size_t len;
};
LIST_HEAD(call_bucket, call);
TAILQ_HEAD(stash__calls, call);

enum link_state { LINK_DOWN = 0, LINK_HELLO = 1, LINK_UP = 2 };

/* A request to the supervisor that waits for its answer. */
struct asked {
	TAILQ_ENTRY(asked) link;
	uint64_t number;
	struct stash_buf message; /* sent again to the next supervisor */
	int fd;			  /* goes along; -1: none */
	bool sent, done;
	bool ever;     /* it was sent to some supervisor */
	bool question; /* it changes nothing */
	int result;
	int (*fn)(void *arg, int type, struct stash_view *, int *fds, int nfds);
	void *arg;
	/* fn's message: what is received behind the answer has messages of its own */
	char why[STASH__ERRMSG_MAX], term[STASH__ERRTERM_MAX];
};
TAILQ_HEAD(askeds, asked);

/* What a worker's own client does in another way: its casts go by the worker's ways, and not every place may call. */
struct stash__client_hooks {
	int (*cast)(void *arg, const char *function, const char *name, uint32_t kind, const char *tag, const void *data,
	    size_t len);
	int (*may_call)(void *arg, const char *function, const char *name /* or NULL */);
};

struct stash_client {
	const struct stash__client_hooks *hooks; /* NULL: an ordinary client */
	void *hooks_arg;
	const unsigned char *alive; /* a page that is wiped by fork: 0 in a child */
	char *dir, *run_dir;
	char label[64];
	uint32_t ring_bytes;
	int64_t wait_ns;

	int sock, bell, epoll, timer;
	bool has_lines; /* as this stashd says: it is another user's */
	int lines;	/* an epoll descriptor with the routes' lines; -1: there never was one */
	enum link_state link;
	int hello_error; /* the supervisor's refusal, and its sentence */
	char hello_why[STASH__ERRMSG_MAX];
	int32_t supervisor; /* its pid */
	int64_t retry_at, lost_at;
	bool nobody; /* at the last try nobody listened: there is no stashd */
	uint64_t next_request, hello;
	uint8_t store_id[STASH__ID];
	const struct stash__status_page *status;
	int64_t spin_ns;
	unsigned char *wire;
	struct askeds askeds;

	struct routes routes;
	struct call_bucket by_ref[STASH__CLIENT_BUCKETS], by_number[STASH__CLIENT_BUCKETS];
	struct stash__calls finished, spare;
	struct call_bucket open; /* calls not finished */
	unsigned nopen;
	int64_t next_ref;
	unsigned waits; /* counted */
	uint32_t core;	/* as it was published last */
	struct stash__copy copy;
	bool polled; /* stash_client_fd() was asked for: stays rung between calls */
};

/* ---- client.c ---- */
/* The client of a worker; it connects when it is first used. */
struct stash_client *stash__client_of_worker(
    const char *dir, const char *label, const struct stash__client_hooks *, void *arg);
/* Whether the handle may be used here: STASH_E_INVAL, STASH_E_FORKED. */
int stash__client_check(const struct stash_client *, const char *function);
/* The descriptor to poll becomes readable at that time. */
void stash__client_arm(struct stash_client *, int64_t deadline);
/* The broker's socket is another one. */
int stash__client_watch(struct stash_client *);

/* ---- link.c ---- */
/* Connects and says hello, waiting up to the deadline: STASH_E_DOWN if nobody is there. */
int stash__link_open(struct stash_client *, int64_t deadline);
void stash__link_close(struct stash_client *);
/* Reads what is there, tries to connect again if it is time; never blocks. */
void stash__link_run(struct stash_client *);
/* Whether the store has no room, as the stash says. */
bool stash__link_full(struct stash_client *);
/* When stash__link_run() is due without anything to read; INT64_MAX: never. */
int64_t stash__link_due(const struct stash_client *);
/* A message of that type with a new request number (returned), to be filled and sent. */
uint64_t stash__link_compose(struct stash_client *, struct stash_buf *, int type);
int stash__link_send(struct stash_client *, const struct stash_buf *, const int *fds, int nfds);
/* Asks the supervisor and waits for the whole answer.  items: what follows type and number (NULL: nothing).  fn
 * is called for each message of the answer; it returns 1 if more follow, 0 if that was all, or an error.
 * Descriptors that it leaves in fds are closed.  Besides fn's errors: STASH_E_TIMEDOUT: no answer came in time, or
 * stashd is gone and whether it was done isn't known; _DOWN: there is no stashd, and nothing was done. */
int stash__client_request(struct stash_client *, int type, const struct stash_buf *items, int timeout_ms,
    int (*fn)(void *arg, int type, struct stash_view *, int *fds, int nfds), void *arg);
/* The same with a descriptor that goes along; it stays the caller's. */
int stash__client_request_with(struct stash_client *, int type, const struct stash_buf *items, int fd, int timeout_ms,
    int (*fn)(void *arg, int type, struct stash_view *, int *fds, int nfds), void *arg);

/* ---- about.c ---- */
struct stash__about {
	char version[64];	    /* of the supervisor */
	int64_t supervisor, keeper; /* pids; no keeper: 0 */
	uint64_t starts;	    /* supervisors so far */
	uint64_t generation;	    /* of its binary: 0: the one by which stashd was started */
	char keeper_version[64];
};
int stash__about(struct stash_client *, struct stash__about *, int timeout_ms);
/* Answered when the next supervisor stands by: its version and generation.  Besides what the keeper says: _BUSY, _DOWN,
 * STASH_E_NOENT: it is no stashd that runs there. */
int stash__reexec(struct stash_client *, struct stash__about *next, int timeout_ms);

/* ---- reload.c ---- */
/* What stash_reload() does, or would do: a step each.  fn may be NULL. */
typedef void stash__step_fn(void *arg, const char *what, const char *path, const char *why);
int stash__reload(struct stash_client *, bool dry_run, stash__step_fn *, void *arg, int timeout_ms);

/* ---- route.c ---- */
/* The route to a name, asked for if there is none; an over one is replaced.  Never blocks. */
int stash__route_get(struct stash_client *, const char *name, struct route **);
/* The supervisor's word on a route: CHANNEL, or that it is down. */
void stash__route_answer(struct stash_client *, uint64_t request, struct stash_view *, int *fds, int nfds);
void stash__route_down(struct stash_client *, const void *id, int error, const char *why);
/* That name isn't its worker's any more: calls that are open there end there. */
void stash__route_freed(struct stash_client *, const char *alias);
/* The link is up again: asks for, or presents, every channel. */
void stash__route_relink(struct stash_client *);
/* Takes all replies that are there: how many. */
unsigned stash__route_drain(struct stash_client *, struct route *);
/* Writes a message and publishes it: 0, STASH_E_BUSY (no room), STASH_E_TOOBIG. */
int stash__route_write(struct stash_client *, struct route *, uint32_t kind, const char *tag, const void *data,
    size_t len, int64_t deadline);
/* Ends a route and all its calls with an error. */
void stash__route_over(struct stash_client *, struct route *, int error, const char *why);
void stash__route_free_all(struct stash_client *);
/* Sends calls that waited for the channel or for room in it. */
void stash__route_flush(struct stash_client *, struct route *);

/* ---- line.c ---- */
/* The supervisor has said that each channel has a line in place of bells. */
int stash__lines_begin(struct stash_client *);
/* Takes the end of a new line, or lets go of it. */
int stash__line_watch(struct stash_client *, struct route *, int end);
void stash__line_drop(struct stash_client *, struct route *);
void stash__lines_clear(struct stash_client *);
/* Rings the worker; only if it sleeps, behind a full fence. */
void stash__route_ring(const struct route *);
void stash__route_wake(const struct route *);

/* ---- call.c ---- */
struct call *stash__call_by_number(struct stash_client *, const struct route *, uint64_t number);
void stash__call_finish(struct stash_client *, struct call *, int error, int32_t code, const void *data, size_t len);
/* Finishes calls whose deadline has passed; the next deadline. */
int64_t stash__call_expire(struct stash_client *);
void stash__call_free_all(struct stash_client *);

/* ---- admin.c ---- */
/* What every answer begins with: its error is failed with.  The answer's error, 0 or more; term: a term follows. */
int stash__answer_error(struct stash_view *, bool term);
int stash__answer_garbled(void);						      /* fails */
int stash__answer_done(void *arg, int type, struct stash_view *, int *fds, int nfds); /* of DONE, and nothing else */

/* ---- wait.c ---- */
/* Goes on until done(arg) or the deadline: 0, or STASH_E_TIMEDOUT. */
int stash__wait(struct stash_client *, int64_t deadline, bool (*done)(struct stash_client *, void *arg), void *arg);
/* One round of all that can be done without waiting. */
void stash__wait_look(struct stash_client *);
/* Says on each channel whether this client sleeps. */
void stash__wait_asleep(struct stash_client *, uint32_t asleep);

#endif
