/* SPDX-License-Identifier: ISC */
/*
 * peer.c: one client or tool: its requests, what it waits for, its end.  Nobody waits for a client: what it does not
 * read is kept for a while, up to a bound, and then the client is dropped.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/name.h"
#include "shm/bell.h"
#include "stashd/server.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

#define UNREAD_MAX (8u * 1024 * 1024)
#define UNREAD_NS (30 * STASH__NS_PER_S)
#define TURN_MAX 64 /* messages of one client in a row */

bool
peer_is_own(const struct peer *p)
{
	return (p->access & ACCESS_OWN) != 0;
}

/* ---- to the client ---- */

void
peer_doom(struct peer *p)
{
	if (!p->broken)
		event_active(&p->doomed, EV_TIMEOUT, 0);
	p->broken = true;
}

void
peer_send(struct peer *p, const struct stash_buf *buf, const int *fds, int nfds)
{
	if (p->broken)
		return;
	if (outbox_send(&p->outbox, buf, fds, nfds) < 0 ||
	    p->outbox.bytes > (peer_is_own(p) ? UNREAD_MAX : ACCESS_UNREAD_MAX))
		peer_doom(p);
}

void
peer_result(struct peer *p, int64_t type, uint64_t number, int error, const char *text)
{
	struct stash_buf *buf = mail_begin(type, number);

	stash_buf_add_int(buf, error);
	stash_buf_add_text(buf, text);
	peer_send(p, buf, NULL, 0);
}

void
peer_done(struct peer *p, uint64_t number, int error, const char *text, const char *term)
{
	struct stash_buf *buf = mail_begin(STASH__B_DONE, number);

	stash_buf_add_int(buf, error);
	stash_buf_add_text(buf, text);
	stash_buf_add_text(buf, term);
	peer_send(p, buf, NULL, 0);
}

void
peer_refuse(struct peer *p, int64_t type, uint64_t number, int error, const char *text)
{
	if (type == STASH__B_OPEN || type == STASH__B_PRESENT)
		peer_result(p, STASH__B_CHANNEL, number, error, text);
	else if (type == STASH__B_SCAN)
		peer_result(p, STASH__B_ROWS, number, error, text);
	else if (type == STASH__B_SHOW)
		peer_result(p, STASH__B_WORDS, number, error, text);
	else
		peer_done(p, number, error, text, "");
}

/* ---- requests ---- */

static void
on_hello(struct peer *p, struct mail *m)
{
	struct server *s = p->server;
	int64_t version = stash_view_int(&m->view);
	const char *label = stash_view_text(&m->view);
	struct stash_buf *buf;
	int error = 0;

	if (p->bell >= 0 || stash_view_end(&m->view) < 0)
		error = stash__fail(STASH_E_PROTO, "this is no hello");
	else if (version != STASH__WIRE_VERSION)
		error = stash__fail(STASH_E_FORMAT, "stashd speaks version %d of this protocol, you version %lld",
		    STASH__WIRE_VERSION, (long long)version);
	else if (p->access == 0)
		error = stash__fail(STASH_E_ACCES,
		    "user %u may not use this stashd, which runs as user %u: its config has to name that user in "
		    "allow_users or read_only_users, or a group in allow_groups",
		    p->uid, (unsigned)geteuid());
	else if (p->excess)
		error = stash__fail(
		    STASH_E_BUSY, "stashd has no descriptors left for one more client: try again later");
	strlcpy(p->label, label, sizeof(p->label));
	if (error == 0 && (p->bell = mail_take_fd(m, 0)) < 0)
		error = stash__fail(STASH_E_PROTO, "a hello without a bell");
	/* What is written to without looking must not be somebody's file, pipe or terminal. */
	if (error == 0 && !stash__bell_is_one(p->bell))
		error = stash__fail(STASH_E_PROTO, "the bell of a hello is no eventfd");
	buf = mail_begin(STASH__B_WELCOME, m->number);
	mail_add_result(buf, error);
	stash_buf_add_int(buf, STASH__WIRE_VERSION);
	stash_buf_add_bytes(buf, s->origin.store_id, STASH__ID);
	stash_buf_add_int(buf, getpid());
	stash_buf_add_int(buf, s->config->spin_ns);
	stash_buf_add_int(buf, !peer_is_own(p));
	peer_send(p, buf, &s->stash.status_fd, error == 0 && s->stash.status_fd >= 0 ? 1 : 0);
	if (error < 0)
		peer_doom(p);
}

static const uint8_t *
read_id(struct mail *m)
{
	size_t len;
	const uint8_t *id = stash_view_bytes(&m->view, &len);

	if (len != STASH__ID)
		m->view.error = STASH_E_FORMAT;
	return id;
}

static void
on_open(struct peer *p, struct mail *m)
{
	const char *name = stash_view_text(&m->view);
	uint64_t ring_bytes = (uint64_t)stash__view_range(&m->view, 0, STASH__RING_MAX);

	if (stash_view_end(&m->view) == 0)
		wait_for_worker(p, WAIT_OPEN, m->type, m->number, name, ring_bytes, INT64_MAX);
}

static void
on_present(struct peer *p, struct mail *m)
{
	const uint8_t *id = read_id(m);
	const char *name = stash_view_text(&m->view);

	if (stash_view_end(&m->view) == 0)
		mailroom_present(p, m->number, id, name, m->nfds > 0 ? m->fds[0] : -1);
}

static void
on_await(struct peer *p, struct mail *m)
{
	const char *name = stash_view_text(&m->view);
	int64_t timeout = stash__view_range(&m->view, -1, INT32_MAX);

	if (stash_view_end(&m->view) == 0)
		wait_for_worker(p, WAIT_AWAIT, m->type, m->number, name, 0, stash__deadline_ns((int)timeout));
}

static void
on_kill(struct peer *p, struct mail *m)
{
	const char *name = stash_view_text(&m->view);
	int signal = (int)stash__view_range(&m->view, 1, 64);

	if (stash_view_end(&m->view) == 0)
		query_kill(p, m->number, name, signal);
}

static void
on_scan(struct peer *p, struct mail *m)
{
	int64_t db = stash_view_int(&m->view), rows;
	size_t len;
	const void *from = stash_view_bytes(&m->view, &len);

	rows = stash_view_int(&m->view);
	if (stash_view_end(&m->view) == 0)
		query_scan(p, m->number, db, from, len, rows);
}

static void
on_put(struct peer *p, struct mail *m)
{
	const char *name = stash_view_text(&m->view);
	uint64_t incarnation = (uint64_t)stash__view_range(&m->view, 0, INT64_MAX);

	if (stash_view_end(&m->view) == 0)
		program_put(p, m->number, name, incarnation, m->nfds > 0 ? m->fds[0] : -1);
}

static void
on_copy(struct peer *p, struct mail *m)
{
	if (stash_view_end(&m->view) == 0)
		query_copy(p, m->number, m->nfds > 0 ? m->fds[0] : -1);
}

static void
on_reload(struct peer *p, struct mail *m)
{
	bool dry_run = stash__view_range(&m->view, 0, 1) != 0;

	if (stash_view_end(&m->view) == 0)
		reload_ask(p, m->number, dry_run);
}

static void
on_cancel(struct peer *p, struct mail *m)
{
	uint64_t number = (uint64_t)stash_view_int(&m->view);
	struct wait *wait;

	if (stash_view_end(&m->view) < 0)
		return;
	TAILQ_FOREACH(wait, &p->waits, of_peer) {
		if (wait->number == number) {
			wait_free(wait);
			return;
		}
	}
}

static void
on_close(struct peer *p, struct mail *m)
{
	const uint8_t *id = read_id(m);

	if (stash_view_end(&m->view) == 0)
		mailroom_close(p, id);
}

static bool
is_bare(int64_t type)
{
	return type == STASH__B_LIST || type == STASH__B_PING || type == STASH__B_STOP || type == STASH__B_REEXEC ||
	    type == STASH__B_ABOUT;
}

/* Requests of one text, or of nothing. */
static void
on_text(struct peer *p, struct mail *m)
{
	const char *text = is_bare(m->type) ? "" : stash_view_text(&m->view);

	if (stash_view_end(&m->view) < 0)
		return;
	switch (m->type) {
	case STASH__B_WHEREIS:
		query_whereis(p, m->number, text);
		break;
	case STASH__B_WHICH:
		query_which(p, m->number, text);
		break;
	case STASH__B_LIST:
		query_list(p, m->number);
		break;
	case STASH__B_SHOW:
		showing_ask(p, m->number, text);
		break;
	case STASH__B_BOUNCE:
		query_bounce(p, m->number, text);
		break;
	case STASH__B_NAMES:
		query_names(p, m->number, text);
		break;
	case STASH__B_VALUE:
		query_value(p, m->number, text);
		break;
	case STASH__B_GROUP:
		query_group(p, m->number, text);
		break;
	case STASH__B_REEXEC:
		reexec_ask(p, m->number);
		break;
	case STASH__B_ABOUT:
		reexec_about(p, m->number);
		break;
	case STASH__B_STOP:
		peer_done(p, m->number, 0, "", "");
		server_stop(p->server, p->label);
		break;
	default:
		peer_done(p, m->number, 0, "", "");
		break;
	}
}

/* What it asks for is for others. A hello is answered by itself. */
static void
refuse_access(struct peer *p, const struct mail *m)
{
	const char *may = (p->access & ACCESS_LOOK) == 0 ? "may call, and change nothing else" :
	    (p->access & ACCESS_CALL) == 0		 ? "may only look, and not call or change anything" :
							   "may look and call, and change nothing else";
	char text[160];

	/* Nobody waits for an answer to this one. */
	if (m->type == STASH__B_CLOSE)
		return;
	snprintf(text, sizeof(text), "user %u %s here: that is for user %u, as which stashd runs, and root", p->uid,
	    may, (unsigned)geteuid());
	peer_refuse(p, m->type, m->number, STASH_E_ACCES, text);
}

static void
handle(struct peer *p, struct mail *m)
{
	static void (*const with_items[])(struct peer *, struct mail *) = {
		[STASH__B_HELLO] = on_hello,
		[STASH__B_OPEN] = on_open,
		[STASH__B_PRESENT] = on_present,
		[STASH__B_CLOSE] = on_close,
		[STASH__B_WHEREIS] = on_text,
		[STASH__B_WHICH] = on_text,
		[STASH__B_STOP] = on_text,
		[STASH__B_BOUNCE] = on_text,
		[STASH__B_KILL] = on_kill,
		[STASH__B_SCAN] = on_scan,
		[STASH__B_LIST] = on_text,
		[STASH__B_PING] = on_text,
		[STASH__B_AWAIT] = on_await,
		[STASH__B_CANCEL] = on_cancel,
		[STASH__B_RELOAD] = on_reload,
		[STASH__B_PUT] = on_put,
		[STASH__B_COPY] = on_copy,
		[STASH__B_SHOW] = on_text,
		[STASH__B_REEXEC] = on_text,
		[STASH__B_ABOUT] = on_text,
		[STASH__B_START_CHILD] = admin_on_start,
		[STASH__B_TERMINATE_CHILD] = admin_on_child,
		[STASH__B_RESTART_CHILD] = admin_on_child,
		[STASH__B_DELETE_CHILD] = admin_on_child,
		[STASH__B_COUNT_CHILDREN] = admin_on_count,
		[STASH__B_GET_CHILDSPEC] = admin_on_child,
		[STASH__B_AGAIN] = admin_on_again,
		[STASH__B_NAMES] = on_text,
		[STASH__B_VALUE] = on_text,
		[STASH__B_GROUP] = on_text,
	};
	bool known = m->type >= 0 && m->type < (int64_t)(sizeof(with_items) / sizeof(with_items[0])) &&
	    with_items[m->type] != NULL;

	if (!known || (p->bell < 0 && m->type != STASH__B_HELLO)) {
		peer_done(p, m->number, STASH_E_PROTO, "a request of an unknown kind, or before the hello", "");
		return;
	}
	if (m->type != STASH__B_HELLO && !access_may(p->access, m->type)) {
		refuse_access(p, m);
		return;
	}
	with_items[m->type](p, m);
	if (stash_view_end(&m->view) < 0)
		peer_done(p, m->number, STASH_E_PROTO, "a request that can't be understood", "");
}

/* ---- its life ---- */

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct peer *p = arg;
	struct mail m;
	int result;

	(void)what;
	for (int i = 0; i < TURN_MAX && !p->broken; i++) {
		result = mail_recv((int)fd, &m);
		if (result == STASH_E_PENDING)
			return;
		if (result < 0) {
			peer_drop(p);
			return;
		}
		handle(p, &m);
		mail_done(&m);
	}
}

static void
on_end(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	peer_drop(arg);
}

static void
on_broken(void *arg, int error)
{
	(void)error;
	peer_doom(arg);
}

static int
open_pidfd(int fd, uint32_t pid)
{
	int pidfd = -1;
	socklen_t len = sizeof(pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0)
		return pidfd;
	if (errno == ESRCH)
		return -2;
	pidfd = pid > 0 ? pidfd_open((pid_t)pid, 0) : -1;
	return pidfd < 0 && pid > 0 && errno == ESRCH ? -2 : pidfd;
}

void
peer_create(struct server *s, int fd, unsigned access, uint32_t uid, uint32_t pid)
{
	struct peer *p = calloc(1, sizeof(*p));
	int pidfd = p != NULL ? open_pidfd(fd, pid) : -2;

	/* One that is dead already has nothing to say. */
	if (pidfd == -2) {
		free(p);
		close(fd);
		return;
	}
	p->server = s;
	p->fd = fd;
	p->pidfd = pidfd;
	p->bell = -1;
	p->access = access;
	p->excess = !files_for_client(s);
	s->files.clients++;
	p->uid = uid;
	p->pid = pid;
	LIST_INIT(&p->channels);
	TAILQ_INIT(&p->waits);
	TAILQ_INSERT_TAIL(&s->broker.peers, p, link);
	evtimer_assign(&p->doomed, s->events, on_end, p);
	outbox_init(&p->outbox, s->events, fd, on_broken, p);
	event_assign(&p->readable, s->events, fd, EV_READ | EV_PERSIST, on_readable, p);
	event_assign(&p->dead, s->events, pidfd, EV_READ, on_end, p);
	if (event_add(&p->readable, NULL) != 0 || (pidfd >= 0 && event_add(&p->dead, NULL) != 0))
		peer_drop(p);
}

void
peer_drop(struct peer *p)
{
	event_del(&p->readable);
	event_del(&p->doomed);
	if (p->pidfd >= 0)
		event_del(&p->dead);
	outbox_close(&p->outbox);
	while (!TAILQ_EMPTY(&p->waits))
		wait_free(TAILQ_FIRST(&p->waits));
	mailroom_peer_gone(p);
	TAILQ_REMOVE(&p->server->broker.peers, p, link);
	p->server->files.clients--;
	if (p->bell >= 0)
		close(p->bell);
	if (p->pidfd >= 0)
		close(p->pidfd);
	close(p->fd);
	free(p);
}

void
peers_tick(struct server *s, int64_t now)
{
	struct peer *p;

	if (s->broker.full)
		(void)broker_accept(s);
	TAILQ_FOREACH(p, &s->broker.peers, link) {
		if (p->outbox.waiting && now - p->outbox.since > UNREAD_NS) {
			stash__log(LOG_WARNING, "client %s (process %u) doesn't read what it has asked for: dropped",
			    p->label, p->pid);
			peer_doom(p);
		}
		waits_tick(p, now);
	}
}
