/* SPDX-License-Identifier: ISC */
/*
 * program.c: the state of a program that isn't linked with libstash.  In its place the supervisor writes the out half
 * of its slot: an entry with an image for each put, answered when it is safe.  Only the incarnation that runs has
 * its puts written, and none after its death has been told to the stash.  Never waits: what can't go on now goes on
 * when the stash rings the program's bell.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/point.h"
#include "shm/bell.h"
#include "stashd/server.h"

#define LAYOUT "program" /* what tools show as the layout of such a state: bytes */

struct put {
	TAILQ_ENTRY(put) link;
	struct wait *wait; /* NULL: nobody waits any more */
	unsigned char *data;
	size_t len;
	uint64_t entry; /* its number; 0: not written yet */
};
TAILQ_HEAD(puts, put);

struct program {
	struct worker *worker;
	int out_fd, in_fd, bell;
	struct stash__out out;
	struct stash__in in;
	struct stash__bell_page *bell_page;
	struct event rung;
	uint64_t incarnation;	 /* whose puts are written; 0: nobody's */
	bool known;		 /* the two below are */
	uint64_t entry, version; /* written last */
	bool asked_room, grown;
	struct puts puts;
};

static void work(struct program *);

/* ---- its slot ---- */

static void
on_rung(evutil_socket_t bell, short what, void *arg)
{
	(void)what;
	stash__bell_clear((int)bell);
	work(arg);
}

static int
map(struct program *p)
{
	struct worker *w = p->worker;
	const struct stash__origin *origin = &w->server->origin;
	int fd, result;

	p->out_fd = worker_file(w, "out", O_RDWR);
	p->in_fd = p->out_fd < 0 ? p->out_fd : worker_file(w, "in", O_RDONLY);
	if (p->in_fd < 0)
		return STASH_E_SYSTEM;
	result = stash__out_map(&p->out, p->out_fd, true, origin);
	if (result == 0)
		result = stash__in_map(&p->in, p->in_fd, false, origin);
	fd = result == 0 ? worker_file(w, "bell", O_RDWR) : -1;
	if (fd < 0)
		return STASH_E_SYSTEM;
	p->bell_page = stash__bell_page_map(fd, true);
	close(fd);
	if (p->bell_page == NULL)
		return STASH_E_SYSTEM;
	/* There is always somebody who sleeps on this bell. */
	atomic_store(&p->bell_page->asleep, 1);
	p->bell = worker_bell(w);
	if (p->bell < 0)
		return p->bell;
	event_assign(&p->rung, w->server->events, p->bell, EV_READ | EV_PERSIST, on_rung, p);
	return event_add(&p->rung, NULL) == 0 ? 0 : stash__fail(STASH_E_SYSTEM, "%s: can't watch its bell", w->name);
}

static void
destroy(struct program *p)
{
	if (event_initialized(&p->rung))
		event_del(&p->rung);
	if (p->out.page != NULL)
		stash__out_unmap(&p->out);
	if (p->in.page != NULL)
		stash__in_unmap(&p->in);
	if (p->bell_page != NULL)
		stash__bell_page_unmap(p->bell_page);
	if (p->out_fd >= 0)
		close(p->out_fd);
	if (p->in_fd >= 0)
		close(p->in_fd);
	if (p->bell >= 0)
		close(p->bell);
	free(p);
}

/* Finds it or makes it; NULL: why not is the thread's message. */
static struct program *
get(struct worker *w)
{
	struct program *p = w->program;

	if (p != NULL)
		return p;
	p = calloc(1, sizeof(*p));
	if (p == NULL) {
		(void)stash__fail(STASH_E_NOMEM, "no memory for the slot of %s", w->name);
		return NULL;
	}
	p->worker = w;
	p->out_fd = p->in_fd = p->bell = -1;
	TAILQ_INIT(&p->puts);
	if (map(p) < 0) {
		destroy(p);
		return NULL;
	}
	w->program = p;
	return p;
}

static void
say_phase(struct program *p, uint32_t phase)
{
	atomic_store(&p->out.box->phase, phase);
	atomic_store(&p->out.box->since, (uint64_t)stash__now_ns());
}

int
program_begin(struct life *l)
{
	struct program *p = get(l->worker);
	struct stash__out_page *page;

	if (p == NULL)
		return STASH_E_SYSTEM;
	page = p->out.page;
	atomic_store(&p->out.box->in_hand, 0);
	atomic_store(&p->out.box->asked, 0);
	memset(&p->out.box->crash, 0, sizeof(p->out.box->crash));
	atomic_store(&page->wanted, 0);
	say_phase(p, STASH__PHASE_NONE);
	atomic_store(&page->owner_pid, (uint64_t)l->pid);
	atomic_store(&page->owner_start, life_start_time(l));
	atomic_store(&page->ack_disk, l->worker->plan.ack_disk);
	atomic_store(&page->owner, l->incarnation);
	atomic_store(&p->bell_page->incarnation, l->incarnation);
	p->incarnation = l->incarnation;
	p->known = false;
	return 0;
}

/* ---- answers ---- */

static void
put_free(struct program *p, struct put *put)
{
	TAILQ_REMOVE(&p->puts, put, link);
	free(put->data);
	free(put);
}

static void
answer(struct program *p, struct put *put, int error, const char *text)
{
	struct wait *wait = put->wait;

	put_free(p, put);
	if (wait == NULL)
		return;
	wait->put = NULL;
	peer_done(wait->peer, wait->number, error, text, "");
	wait_free(wait);
}

void
program_forget(struct wait *wait)
{
	struct put *put = wait->put;

	if (put != NULL)
		put->wait = NULL;
	wait->put = NULL;
}

/* Those that aren't in the slot. */
static void
refuse_all(struct program *p, int error, const char *text)
{
	struct put *put, *next;

	for (put = TAILQ_FIRST(&p->puts); put != NULL; put = next) {
		next = TAILQ_NEXT(put, link);
		if (put->entry == 0)
			answer(p, put, error, text);
	}
}

void
program_end(struct life *l, bool in_order)
{
	struct program *p = get(l->worker);

	if (p == NULL)
		return;
	if (in_order)
		atomic_store(&p->out.box->asked, 1);
	if (p->incarnation == l->incarnation)
		p->incarnation = 0;
	refuse_all(p, STASH_E_DOWN, "its process has ended");
}

void
program_free(struct worker *w)
{
	struct program *p = w->program;

	if (p == NULL)
		return;
	stashlink_forget(&w->server->stash, p);
	while (!TAILQ_EMPTY(&p->puts))
		answer(p, TAILQ_FIRST(&p->puts), STASH_E_DOWN, "it is over");
	destroy(p);
	w->program = NULL;
}

/* ---- room ---- */

static void
ring_stash(struct program *p)
{
	atomic_thread_fence(memory_order_seq_cst);
	stash__bell_ring(p->worker->server->stash.bell);
}

static bool
is_folded(struct program *p)
{
	return atomic_load(&p->in.page->out_head) == atomic_load(&p->out.page->out_tail);
}

/* The stash is to fold, and to ring when it has. */
static void
ask_fold(struct program *p)
{
	say_phase(p, STASH__PHASE_WAITING);
	ring_stash(p);
}

/* Where its predecessor, or this supervisor's, has left off. */
static bool
learn(struct program *p)
{
	struct stash__base *base = NULL;

	if (p->known)
		return true;
	if (!is_folded(p)) {
		ask_fold(p);
		/* It may have folded before it could see that somebody waits. */
		if (!is_folded(p))
			return false;
	}
	if (stash__in_follow(&p->in) < 0 || stash__base_copy(&p->in, &base) < 0) {
		refuse_all(p, STASH_E_SYSTEM, stash_errmsg());
		return false;
	}
	p->entry = base->entry;
	p->version = base->version;
	p->known = true;
	free(base);
	return true;
}

static void
on_grown(void *arg, int error, const char *text, struct mail *m)
{
	struct program *p = arg;

	(void)m;
	p->asked_room = false;
	p->grown = error == 0;
	if (error < 0)
		refuse_all(p, error, text);
	work(p);
}

static void
ask_room(struct program *p, uint64_t image, uint64_t ring)
{
	struct worker *w = p->worker;
	struct stashlink *k = &w->server->stash;
	struct stash_buf *buf = stashlink_begin(k, STASH__S_OPEN);

	stash_buf_add_text(buf, w->name);
	stash_buf_add_int(buf, w->plan.no_persist);
	stash_buf_add_int(buf, w->plan.history);
	stash_buf_add_int(buf, (int64_t)image);
	stash_buf_add_int(buf, (int64_t)ring);
	p->asked_room = stashlink_send(k, buf, -1, on_grown, p) != 0;
	if (!p->asked_room)
		refuse_all(p, STASH_E_NOMEM, "the supervisor has no memory");
}

/* Whether the ring holds this entry twice, and has room for it now; else what has to be done for that is under way. */
static bool
fits(struct program *p, const struct put *put)
{
	uint64_t bytes = stash__entry_bytes(0, put->len);

	if (p->asked_room)
		return false;
	if (p->grown || stash__entry_room(&p->out, atomic_load(&p->in.page->out_head)) < bytes) {
		if (!is_folded(p))
			ask_fold(p);
		if (!is_folded(p))
			return false;
	}
	if (p->grown && stash__out_move(&p->out) < 0) {
		refuse_all(p, STASH_E_SYSTEM, stash_errmsg());
		return false;
	}
	p->grown = false;
	if (2 * bytes <= p->out.ring_bytes)
		return true;
	ask_room(p, put->len, 2 * bytes);
	return false;
}

/* ---- writing ---- */

static void
write_put(struct program *p, struct put *put)
{
	struct stash__out_page *page = p->out.page;
	struct stash__entry head = { .incarnation = p->incarnation,
		.number = p->entry + 1,
		.version = p->version + 1,
		.stamp = stash__now_ns(),
		.image_len = (uint32_t)put->len,
		.flags = STASH__ENTRY_IMAGE };

	memset(page->layout, 0, sizeof(page->layout));
	memcpy(page->layout, LAYOUT, sizeof(LAYOUT));
	atomic_store(&page->layout_version, 1);
	stash__entry_submit(&p->out, &head, NULL, NULL, put->data);
	STASH_POINT("sup_put_written");
	p->entry++;
	p->version++;
	put->entry = p->entry;
	atomic_fetch_add(&p->out.box->commits, 1);
	free(put->data);
	put->data = NULL;
}

/* Answers those that are safe; whether some still wait for the disk. */
static bool
answer_safe(struct program *p)
{
	bool disk = p->worker->plan.ack_disk;
	uint64_t durable = atomic_load(&p->in.page->durable);
	struct put *put;

	while ((put = TAILQ_FIRST(&p->puts)) != NULL && put->entry != 0 && (!disk || put->entry <= durable))
		answer(p, put, 0, "");
	return put != NULL && put->entry != 0;
}

static struct put *
first_unwritten(struct program *p)
{
	struct put *put;

	TAILQ_FOREACH(put, &p->puts, link) {
		if (put->entry == 0)
			return put;
	}
	return NULL;
}

static void
work(struct program *p)
{
	struct put *put;
	uint64_t before = p->entry;

	say_phase(p, STASH__PHASE_NONE);
	while ((put = first_unwritten(p)) != NULL && p->incarnation != 0 && learn(p) && fits(p, put)) {
		if (put->wait == NULL)
			put_free(p, put); /* whoever asked doesn't wait for it any more */
		else
			write_put(p, put);
	}
	atomic_store(&p->out.page->wanted, p->worker->plan.ack_disk ? p->entry : 0);
	if (!answer_safe(p))
		atomic_store(&p->out.page->wanted, 0);
	else
		ring_stash(p);
	if (p->entry != before && p->known && atomic_load(&p->in.page->stash_asleep) != 0)
		ring_stash(p);
}

/* ---- asking ---- */

/* Only memory has seals: nothing else is read here, where nobody may wait, and this can't change meanwhile. */
static int
read_data(int fd, struct put *put)
{
	int seals = fd >= 0 ? fcntl(fd, F_GET_SEALS) : -1, needed = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
	struct stat st;

	if (seals < 0 || (seals & needed) != needed || fstat(fd, &st) < 0)
		return stash__fail(STASH_E_PROTO, "a put without a state in sealed memory");
	if (st.st_size > STASH_STATE_MAX)
		return stash__fail(STASH_E_TOOBIG, "the state is larger than %d bytes", STASH_STATE_MAX);
	put->len = (size_t)st.st_size;
	put->data = malloc(put->len + 1);
	if (put->data == NULL)
		return stash__fail(STASH_E_NOMEM, "the supervisor has no memory");
	if (stash__read_at(fd, put->data, put->len, 0) != (ssize_t)put->len)
		return stash__fail(STASH_E_PROTO, "the state can't be read");
	return 0;
}

/* NULL: why not is the thread's message, its code in *error. */
static struct put *
put_create(int fd, int *error)
{
	struct put *put = calloc(1, sizeof(*put));

	*error = put == NULL ? stash__fail(STASH_E_NOMEM, "the supervisor has no memory") : read_data(fd, put);
	if (*error == 0)
		return put;
	free(put != NULL ? put->data : NULL);
	free(put);
	return NULL;
}

/* The worker whose state may be put by that peer now; NULL: why not is the thread's message, its code in *error. */
static struct worker *
find(struct peer *peer, const char *name, uint64_t incarnation, int *error)
{
	struct server *s = peer->server;
	const struct sup_node *node = sup_find_name(s->machine, name);
	struct worker *w = node != NULL ? worker_find(s, name) : NULL;

	if (node == NULL)
		*error = stash__fail(STASH_E_NOENT, "there is no such name");
	else if (peer->uid != 0 && peer->uid != geteuid())
		*error = stash__fail(STASH_E_ACCES, "only its own user may put its state");
	else if (w == NULL || w->spec == NULL || plan_linked(&w->plan))
		*error = stash__fail(STASH_E_INVAL,
		    "it keeps its state itself: only programs with another notify than "
		    "\"stash\" have theirs put");
	else if (w->now == NULL || !life_runs(w->now) || w->now->phase < LIFE_STARTING || w->slot != SLOT_OPEN)
		*error = stash__fail(STASH_E_DOWN, "it isn't running");
	else if (incarnation != 0 && incarnation != w->now->incarnation)
		*error = stash__fail(
		    STASH_E_DOWN, "incarnation %llu, which wants to put it, is over", (unsigned long long)incarnation);
	else if (s->stash.status != NULL && atomic_load(&s->stash.status->store_full) != 0)
		*error = stash__fail(STASH_E_FULL, "the store has no room");
	else
		return w;
	return NULL;
}

void
program_put(struct peer *peer, uint64_t number, const char *name, uint64_t incarnation, int fd)
{
	int error = 0;
	struct worker *w = find(peer, name, incarnation, &error);
	struct program *p = w != NULL ? get(w) : NULL;
	struct put *put = p != NULL ? put_create(fd, &error) : NULL;
	struct wait *wait;

	if (put == NULL) {
		peer_done(peer, number, error < 0 ? error : STASH_E_SYSTEM, stash_errmsg(), "");
		return;
	}
	wait = wait_create(peer, WAIT_PUT, STASH__B_PUT, number, NULL);
	if (wait == NULL) {
		free(put->data);
		free(put);
		return;
	}
	/* One that was taken over goes on where the last supervisor has left it. */
	if (p->incarnation != w->now->incarnation) {
		p->incarnation = w->now->incarnation;
		p->known = false;
	}
	wait->put = put;
	put->wait = wait;
	TAILQ_INSERT_TAIL(&p->puts, put, link);
	work(p);
}
