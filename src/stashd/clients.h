/* SPDX-License-Identifier: ISC */
/*
 * clients.h: clients and tools as the supervisor has them: who may connect (broker.c), one of them (peer.c), what it
 * waits for (wait.c), what it asks (query.c, admin.c). A part of server.h, which includes it.
 */
#ifndef STASHD_CLIENTS_H
#define STASHD_CLIENTS_H

#include <bsd/sys/queue.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

#include <stash/client.h>

#include "base/buf.h"
#include "stashd/mail.h"
#include "supervisor/machine.h"

struct server;
struct worker;
struct channel;
struct put;
struct admin;
struct status;

enum wait_kind {
	WAIT_OPEN = 1,
	WAIT_AWAIT,
	WAIT_REQUEST /* of the machine */,
	WAIT_SCAN,
	WAIT_PUT,
	WAIT_WORDS,
	WAIT_RELOAD,
	WAIT_REEXEC
};

/* A request whose answer comes later. */
struct wait {
	TAILQ_ENTRY(wait) of_peer, of_worker;
	struct peer *peer;
	struct worker *worker; /* OPEN, AWAIT; else NULL */
	enum wait_kind kind;
	int64_t type;	     /* of the request */
	uint64_t number, id; /* id: the machine's, or the stash's */
	uint64_t ring_bytes;
	int64_t deadline;
	struct put *put;
	struct admin *admin;   /* a request about children; else NULL */
	struct status *status; /* WORDS, while somebody looks for them */
};

struct peer {
	TAILQ_ENTRY(peer) link;
	struct server *server;
	int fd, pidfd, bell; /* bell: -1 before HELLO */
	unsigned access;     /* enum access: what it may do */
	uint32_t uid, pid;
	unsigned nwaits;
	char label[64];
	struct event readable, dead;
	struct event doomed; /* it is to be dropped, by nobody who still uses it */
	struct outbox outbox;
	bool broken;	/* that was said */
	bool excess;	/* there is no room for it: it is told so, and goes */
	uint64_t again; /* the request of that number was sent to a predecessor, too */
	LIST_HEAD(, channel) channels;
	TAILQ_HEAD(, wait) waits;
};
TAILQ_HEAD(peers, peer);

struct broker {
	int fd; /* -1: not listening yet */
	struct event readable;
	bool accepting;
	bool full; /* no descriptor is left: accepts again at the next tick */
	struct peers peers;
};

int broker_listen(struct server *, int fd /* the keeper's, or -1 */);
int broker_accept(struct server *); /* begins to serve */
void broker_close(struct server *);
void peer_create(struct server *, int fd, unsigned access, uint32_t uid, uint32_t pid);
bool peer_is_own(const struct peer *); /* of stashd's own user, or root */
/* Drops it now; its struct is gone. */
void peer_drop(struct peer *);
void peers_tick(struct server *, int64_t now_ns);
/* Sends; a peer that can't be told is dropped a little later. */
void peer_send(struct peer *, const struct stash_buf *, const int *fds, int nfds);
void peer_result(struct peer *, int64_t type, uint64_t number, int error, const char *text);
void peer_done(struct peer *, uint64_t number, int error, const char *text, const char *term);
/* An error as the answer that a request of this type waits for. */
void peer_refuse(struct peer *, int64_t type, uint64_t number, int error, const char *text);
/* Drops it a little later, when nobody uses it any more. */
void peer_doom(struct peer *);

/* ---- wait.c ---- */

struct wait *wait_create(struct peer *, enum wait_kind, int64_t type, uint64_t number, struct worker *);
void wait_free(struct wait *);
/* OPEN and AWAIT: answered now, or when the worker runs. */
void wait_for_worker(struct peer *, enum wait_kind, int64_t type, uint64_t number, const char *name,
    uint64_t ring_bytes, int64_t deadline);
/* Those of a peer whose time is over are answered. */
void waits_tick(struct peer *, int64_t now_ns);
/* The worker's status has changed: whoever waited for it is told. */
void peers_worker_status(struct worker *, bool gone);

/* ---- query.c ---- */

/* A child as it is known here; and with its version, which is read from its slot. */
void query_describe(struct server *, const struct sup_node *, struct stash_process *);
void query_fill(struct server *, const struct sup_node *, struct stash_process *);
/* A list of processes: some in each message. */
struct query_list {
	struct peer *peer;
	uint64_t number;
	struct stash_buf part;
	int64_t count;
};
void query_list_begin(struct query_list *, struct peer *, uint64_t number);
void query_list_add(struct query_list *, const struct stash_process *);
void query_list_end(struct query_list *);
void query_whereis(struct peer *, uint64_t number, const char *name);
void query_list(struct peer *, uint64_t number);
void query_which(struct peer *, uint64_t number, const char *path);
void query_bounce(struct peer *, uint64_t number, const char *name);
void query_kill(struct peer *, uint64_t number, const char *name, int signal);
void query_scan(struct peer *, uint64_t number, int64_t db, const void *from, size_t from_len, int64_t rows);
void query_copy(struct peer *, uint64_t number, int fd);
/* To the machine, with a new id; the answer may come before this returns.  admin passes over, may be NULL. */
void query_ask(struct peer *, int64_t type, uint64_t number, struct sup_request *, struct admin *);
/* REPLY came out of the machine. */
void query_reply(struct server *, const struct sup_action *);

/* ---- admin.c: OTP's requests about the children of a supervisor ---- */

void admin_on_start(struct peer *, struct mail *);
void admin_on_child(struct peer *, struct mail *);
void admin_on_count(struct peer *, struct mail *);
void admin_on_again(struct peer *, struct mail *);
/* The machine's answer to one of them; the wait is freed by the caller. */
void admin_reply(struct wait *, const struct sup_action *);
void admin_free(struct admin *); /* NULL is fine */

#endif
