/* SPDX-License-Identifier: ISC */
/*
 * mailroom.c: channels, from the request for one to the last word about it.  The row in the base comes first, then the
 * keeper has the descriptors, then the worker, and only then the client; so whoever dies between leaves nothing that
 * somebody uses and nobody knows.
 *
 *	asked for -> row asked of the stash -> placed -> attached -> its client goes -> the row is deleted -> dropped
 *	                                          |                                        ^
 *	                                          +--- nobody presents it for 30 s --------+
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/boot.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/point.h"
#include "base/random.h"
#include "shm/bell.h"
#include "shm/channel.h"
#include "shm/map.h"
#include "stashd/server.h"

enum { KEY_MAX = STASH_NAME_MAX + 80 };

int
channel_compare(const struct channel *a, const struct channel *b)
{
	return memcmp(a->id, b->id, STASH__ID);
}

RB_GENERATE(channel_ids, channel, by_id, channel_compare)

/* ---- the table ---- */

static void
make_key(const struct channel *c, char key[KEY_MAX])
{
	int n = snprintf(key, KEY_MAX, "c/");

	for (int i = 0; i < STASH__ID; i++)
		n += snprintf(key + n, KEY_MAX - (size_t)n, "%02x", c->id[i]);
	snprintf(key + n, KEY_MAX - (size_t)n, "/%u/%u/%s", c->uid, c->pid, c->worker->name);
}

static void
note_with_keeper(const struct channel *c)
{
	const int fds[] = { c->memfd, c->bell };
	char key[KEY_MAX];

	if (c->way != NULL)
		return; /* a file, which is found */
	make_key(c, key);
	keep_store(&c->worker->server->keep, key, 0, fds, 2);
}

struct channel *
mailroom_find(struct server *s, const uint8_t id[STASH__ID])
{
	struct channel key;

	memcpy(key.id, id, STASH__ID);
	return RB_FIND(channel_ids, &s->channels, &key);
}

bool
mailroom_has_line(const struct channel *c)
{
	return c->way == NULL && c->uid != 0 && c->uid != geteuid();
}

struct channel *
mailroom_create(struct worker *w, const uint8_t id[STASH__ID], uint32_t uid, uint32_t pid)
{
	struct channel *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		(void)stash__fail(STASH_E_NOMEM, "no memory for a channel to %s", w->name);
		return NULL;
	}
	memcpy(c->id, id, STASH__ID);
	c->worker = w;
	c->memfd = c->bell = c->line = -1;
	c->uid = uid;
	c->pid = pid;
	c->silent_since = stash__now_ns();
	LIST_INSERT_HEAD(&w->channels, c, of_worker);
	RB_INSERT(channel_ids, &w->server->channels, c);
	w->server->files.channels++;
	return c;
}

static void
leave_peer(struct channel *c)
{
	if (c->peer != NULL)
		LIST_REMOVE(c, of_peer);
	c->peer = NULL;
	c->wanted = false;
}

void
mailroom_close_ends(struct channel *c)
{
	if (c->memfd >= 0)
		close(c->memfd);
	if (c->bell >= 0)
		close(c->bell);
	if (c->line >= 0)
		close(c->line);
	c->memfd = c->bell = c->line = -1;
}

static void
destroy(struct channel *c)
{
	leave_peer(c);
	if (c->way != NULL)
		ways_channel_gone(c);
	LIST_REMOVE(c, of_worker);
	RB_REMOVE(channel_ids, &c->worker->server->channels, c);
	c->worker->server->files.channels--;
	mailroom_close_ends(c);
	free(c);
}

void
mailroom_drop(struct channel *c)
{
	struct server *s = c->worker->server;
	char key[KEY_MAX];

	make_key(c, key);
	if (c->way == NULL)
		keep_drop(&s->keep, key);
	stashlink_forget(&s->stash, c);
	destroy(c);
}

/* ---- to the worker ---- */

static struct life *
serving(const struct worker *w)
{
	struct life *l = w->now;

	return l != NULL && (l->phase == LIFE_STARTING || l->phase == LIFE_READY) ? l : NULL;
}

static void
attach(struct life *l, const struct channel *c)
{
	const int fds[] = { c->memfd, c->bell };
	struct stash_buf *buf;

	if (!c->placed || c->memfd < 0)
		return;
	buf = mail_begin(STASH__W_ATTACH, 0);
	stash_buf_add_bytes(buf, c->id, STASH__ID);
	stash_buf_add_int(buf, c->place);
	stash_buf_add_int(buf, c->gone);
	stash_buf_add_int(buf, c->uid);
	stash_buf_add_int(buf, c->pid);
	stash_buf_add_int(buf,
	    c->way != NULL && !c->stand_in ? STASH__ATTACH_WAY :
		mailroom_has_line(c)	   ? STASH__ATTACH_LINE :
					     STASH__ATTACH_CLIENT);
	life_say(l, buf, fds, c->bell >= 0 ? 2 : 1);
}

void
mailroom_attach_all(struct life *l)
{
	struct channel *c;

	LIST_FOREACH(c, &l->worker->channels, of_worker)
		attach(l, c);
}

/* A channel of which only the row is left: an empty one stands for it, for the worker to let go of. */
static int
stand_in(struct channel *c)
{
	struct worker *w = c->worker;
	struct stash__row row;
	struct stash__channel_page *page;
	int result = down_row(w, c, &row);

	if (result == 0)
		result = stash__channel_make(c->id, 0, &c->memfd);
	if (result < 0)
		return result;
	c->stand_in = true;
	page = stash__map(c->memfd, 0, STASH__PAGE, true, "a channel");
	if (page == NULL) {
		mailroom_close_ends(c);
		return STASH_E_SYSTEM;
	}
	atomic_store(&page->req_tail, row.req_bytes);
	atomic_store(&page->req_head, row.req_bytes);
	atomic_store(&page->rep_tail, row.rep_bytes);
	atomic_store(&page->rep_head, row.rep_bytes);
	stash__unmap(page, STASH__PAGE);
	return 0;
}

static void
attach_stand_in(struct life *l, struct channel *c)
{
	int result = stand_in(c);

	if (result == 0)
		attach(l, c);
	else if (result == STASH_E_NOENT)
		mailroom_drop(c);
	else
		stash__log(LOG_ERR, "%s: a channel can't be let go yet: %s", c->worker->name, stash_errmsg());
}

void
mailroom_let_go(struct channel *c)
{
	struct life *l = serving(c->worker);
	bool attached = c->memfd >= 0;
	struct stash_buf *buf;

	c->gone = true;
	c->silent_since = stash__now_ns();
	if (!c->placed)
		return; /* when its row is there */
	if (l == NULL) {
		if (c->worker->now == NULL && LIST_EMPTY(&c->worker->dying) && c->worker->start == 0)
			mailroom_delete_row(c);
		return; /* the next incarnation gets it as gone */
	}
	if (!attached) {
		attach_stand_in(l, c);
		return;
	}
	buf = mail_begin(STASH__W_GONE, 0);
	stash_buf_add_bytes(buf, c->id, STASH__ID);
	life_say(l, buf, NULL, 0);
}

static void
on_row_deleted(void *arg, int error, const char *text, struct mail *m)
{
	struct channel *c = arg;

	(void)m;
	if (error == 0 || error == STASH_E_NOENT) {
		mailroom_drop(c);
		return;
	}
	/* A worker has been started in between: it will do it. */
	stash__log(LOG_INFO, "%s: the row of a channel stays for the moment: %s", c->worker->name, text);
}

void
mailroom_delete_row(struct channel *c)
{
	struct stashlink *k = &c->worker->server->stash;
	struct stash_buf *buf = stashlink_begin(k, STASH__S_UNCHANNEL);

	/* Nobody is to find its requests again. */
	c->gone = true;
	c->silent_since = stash__now_ns();
	leave_peer(c);
	mailroom_close_ends(c);
	stash_buf_add_text(buf, c->worker->name);
	stash_buf_add_bytes(buf, c->id, STASH__ID);
	(void)stashlink_send(k, buf, -1, on_row_deleted, c);
}

void
mailroom_detached(struct life *l, const uint8_t id[STASH__ID])
{
	struct channel *c = mailroom_find(l->server, id);

	if (c != NULL && c->worker == l->worker)
		mailroom_drop(c);
}

void
mailroom_refused(struct life *l, const uint8_t id[STASH__ID], int error, const char *text, bool deleted)
{
	struct channel *c = mailroom_find(l->server, id);

	if (c == NULL || c->worker != l->worker)
		return;
	stash__log(LOG_WARNING, "%s: a channel of process %u is closed: %s", l->worker->name, c->pid, text);
	mailroom_tell_down(c, error, text);
	leave_peer(c);
	if (deleted)
		mailroom_drop(c);
	else
		mailroom_close_marked(c);
}

/* ---- to the client ---- */

static void
answer(struct channel *c, int error, const char *text)
{
	struct worker *w = c->worker;
	struct peer *p = c->peer;
	struct stash_buf *buf;
	int fds[3] = { -1, -1, -1 }, own = -1, first = c->presented;

	if (c->way != NULL)
		ways_placed(c, error, text);
	if (p == NULL || !c->wanted)
		return;
	c->wanted = false;
	if (error == 0) {
		fds[1] = mailroom_has_line(c) ? c->line : (own = worker_bell(w));
		fds[2] = own < 0 && !mailroom_has_line(c) ? -1 : worker_file(w, "bell", O_RDONLY);
	}
	if (error == 0 && fds[2] < 0) {
		error = STASH_E_SYSTEM;
		text = stash_errmsg();
	}
	if (error < 0) {
		peer_result(p, STASH__B_CHANNEL, c->number, error, text);
		if (own >= 0)
			close(own);
		return;
	}
	buf = mail_begin(STASH__B_CHANNEL, c->number);
	stash_buf_add_int(buf, 0);
	stash_buf_add_text(buf, "");
	stash_buf_add_bytes(buf, c->id, STASH__ID);
	if (!c->presented)
		stash_buf_add_int(buf, (int64_t)c->ring_bytes);
	fds[0] = c->memfd;
	if (mailroom_has_line(c) && c->line < 0)
		first = 2; /* it has its end */
	peer_send(p, buf, fds + first, 3 - first);
	if (own >= 0)
		close(own);
	close(fds[2]);
	if (c->line >= 0)
		close(c->line);
	c->line = -1;
}

void
mailroom_tell_down(struct channel *c, int error, const char *text)
{
	const uint32_t down = (uint32_t)-error;
	struct stash_buf *buf;

	/* A mark that needs no memory. */
	if (c->memfd >= 0 &&
	    pwrite(c->memfd, &down, sizeof(down), offsetof(struct stash__channel_page, down)) != (ssize_t)sizeof(down))
		stash__log(LOG_ERR, "%s: a channel can't be marked: %s", c->worker->name, strerror(errno));
	if (c->bell >= 0 && mailroom_has_line(c))
		stash__line_ring(c->bell);
	else if (c->bell >= 0)
		stash__bell_ring(c->bell);
	if (c->peer == NULL)
		return;
	if (c->wanted) {
		c->wanted = false;
		peer_result(c->peer, STASH__B_CHANNEL, c->number, error, text);
		return;
	}
	buf = mail_begin(STASH__B_DOWN, 0);
	stash_buf_add_bytes(buf, c->id, STASH__ID);
	stash_buf_add_int(buf, error);
	stash_buf_add_text(buf, text);
	peer_send(c->peer, buf, NULL, 0);
}

/* ---- made, presented, closed ---- */

static void
on_row(void *arg, int error, const char *text, struct mail *m)
{
	struct channel *c = arg;
	struct life *l = serving(c->worker);

	if (error == 0) {
		c->place = (uint32_t)stash__view_range(&m->view, 0, STASH__PLACES - 1);
		if (stash_view_end(&m->view) < 0) {
			error = STASH_E_PROTO;
			text = "the stash's answer can't be understood";
		}
	}
	if (error < 0) {
		answer(c, error, text);
		destroy(c);
		return;
	}
	c->placed = true;
	note_with_keeper(c);
	STASH_POINT("sup_channel_made");
	if (c->gone) {
		/* Its client died meanwhile; a worker that has never heard of it gets it as gone. */
		if (l != NULL)
			attach(l, c);
		else
			mailroom_let_go(c);
		return;
	}
	if (l == NULL && c->worker->status == STASH_STOPPED) {
		answer(c, STASH_E_DOWN, "the worker is stopped, and won't come back by itself");
		mailroom_let_go(c);
		return;
	}
	if (l != NULL)
		attach(l, c);
	answer(c, 0, "");
}

/* The client's own bell; or, of another user, a line. */
static int
take_bell(struct channel *c, const struct peer *p)
{
	int ends[2], result;

	if (mailroom_has_line(c)) {
		result = stash__line_make(ends);
		if (result == 0) {
			c->bell = ends[0];
			c->line = ends[1];
		}
		return result;
	}
	c->bell = fcntl(p->bell, F_DUPFD_CLOEXEC, 3);
	return c->bell >= 0 ? 0 : stash__fail_errno("can't keep the bell of a client");
}

/* What a client of another user may not use up. */
static int
check_limits(const struct peer *p, uint64_t ring_bytes)
{
	struct channel *c;
	unsigned n = 0;

	if (peer_is_own(p))
		return 0;
	if (ring_bytes > ACCESS_RING_MAX)
		return stash__fail(STASH_E_TOOBIG,
		    "a client of another user has rings of at most %d bytes: open it with smaller ring_bytes",
		    ACCESS_RING_MAX);
	RB_FOREACH(c, channel_ids, &p->server->channels)
		n += c->way == NULL && c->uid == p->uid;
	if (n < ACCESS_CHANNELS_MAX)
		return 0;
	return stash__fail(STASH_E_BUSY, "user %u has %u channels, which is all that another user may have", p->uid, n);
}

void
mailroom_open(struct peer *p, uint64_t number, struct worker *w, uint64_t ring_bytes)
{
	int result = check_limits(p, ring_bytes);
	struct channel *c = NULL;
	uint8_t id[STASH__ID];

	if (result == 0)
		result = stash__random(id, sizeof(id));
	if (result == 0)
		c = mailroom_create(w, id, p->uid, p->pid);
	if (c == NULL || stash__channel_make(id, ring_bytes, &c->memfd) < 0 || take_bell(c, p) < 0) {
		peer_result(p, STASH__B_CHANNEL, number, result < 0 ? result : STASH_E_SYSTEM, stash_errmsg());
		if (c != NULL)
			destroy(c);
		return;
	}
	c->ring_bytes = ring_bytes;
	c->peer = p;
	c->number = number;
	c->wanted = true;
	LIST_INSERT_HEAD(&p->channels, c, of_peer);
	(void)mailroom_place(c);
}

int
mailroom_place(struct channel *c)
{
	struct stashlink *k = &c->worker->server->stash;
	struct stash_buf *buf = stashlink_begin(k, STASH__S_CHANNEL);

	stash_buf_add_text(buf, c->worker->name);
	stash_buf_add_bytes(buf, c->id, STASH__ID);
	stash_buf_add_int(buf, c->uid);
	stash_buf_add_int(buf, STASH__USE_IN);
	if (stashlink_send(k, buf, -1, on_row, c) != 0)
		return 0;
	answer(c, STASH_E_NOMEM, "no memory");
	destroy(c);
	return STASH_E_NOMEM;
}

struct channel *
mailroom_way(struct worker *w, const uint8_t id[STASH__ID], uint32_t pid, int file, int bell, struct worker_way *way)
{
	struct channel *c = mailroom_create(w, id, getuid(), pid);

	if (c == NULL)
		return NULL;
	c->memfd = file;
	c->bell = bell;
	c->way = way;
	return c;
}

/* The client's own memfd, for a channel that the keeper doesn't have any more. */
static int
take_memfd(struct channel *c, struct peer *p, int memfd)
{
	struct stash__channel map;
	bool same;

	if (memfd < 0 || stash__channel_map(&map, memfd) < 0)
		return stash__fail(STASH_E_PROTO, "what was presented is no channel");
	same = memcmp(map.id, c->id, STASH__ID) == 0;
	stash__channel_unmap(&map);
	if (!same)
		return stash__fail(STASH_E_PROTO, "a channel was presented under another one's id");
	c->memfd = fcntl(memfd, F_DUPFD_CLOEXEC, 3);
	if (c->memfd < 0)
		return stash__fail_errno("can't keep a channel");
	if (take_bell(c, p) < 0) {
		mailroom_close_ends(c);
		return STASH_E_SYSTEM;
	}
	c->pid = p->pid;
	note_with_keeper(c);
	return 0;
}

void
mailroom_present(struct peer *p, uint64_t number, const uint8_t id[STASH__ID], const char *name, int memfd)
{
	struct channel *c = mailroom_find(p->server, id);
	struct worker *w = c != NULL ? c->worker : NULL;
	bool fresh;

	/* A row that isn't there, or isn't this user's, is a channel that nobody knows. */
	if (c == NULL || c->gone || c->way != NULL || !c->placed || (c->uid != p->uid && p->uid != 0) ||
	    mailroom_has_line(c) == peer_is_own(p)) {
		peer_result(p, STASH__B_CHANNEL, number, STASH_E_PROTO,
		    "the channel isn't known here any more: what became of its calls isn't known");
		return;
	}
	fresh = c->memfd < 0;
	if (fresh && take_memfd(c, p, memfd) < 0) {
		peer_result(p, STASH__B_CHANNEL, number, STASH_E_PROTO, stash_errmsg());
		return;
	}
	leave_peer(c);
	c->peer = p;
	LIST_INSERT_HEAD(&p->channels, c, of_peer);
	c->number = number;
	c->wanted = c->presented = true;
	if (fresh && serving(w) != NULL)
		attach(serving(w), c);
	answer(c, 0, "");
	/* An alias may have changed hands meanwhile: what is open under it ends where it began. */
	if (strcmp(name, w->name) != 0 && registry_worker(p->server, name) != w)
		query_freed(w, name);
}

void
mailroom_close(struct peer *p, const uint8_t id[STASH__ID])
{
	struct channel *c = mailroom_find(p->server, id);

	if (c == NULL || c->peer != p)
		return;
	leave_peer(c);
	mailroom_let_go(c);
}

void
mailroom_peer_gone(struct peer *p)
{
	struct channel *c;

	while ((c = LIST_FIRST(&p->channels)) != NULL) {
		leave_peer(c);
		mailroom_let_go(c);
	}
}

void
mailroom_free(struct server *s)
{
	while (!RB_EMPTY(&s->channels))
		destroy(RB_ROOT(&s->channels));
}
