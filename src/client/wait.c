/* SPDX-License-Identifier: ISC */
/*
 * wait.c: the one place where a client waits.
 * It looks for a bounded time only while the worker is awake on another core and nobody else waits for it; then it says
 * that it sleeps, looks once more (bell.h has the argument), and polls bell and broker socket.
 */
#include "base/clock.h"
#include "base/error.h"
#include "client/client.h"
#include "shm/bell.h"

#define LINK_EVERY 4096u /* waits */
#define NUDGE_NS STASH__NS_PER_S

void
stash__wait_asleep(struct stash_client *c, uint32_t asleep)
{
	struct route *r;

	TAILQ_FOREACH(r, &c->routes, link) {
		if (r->state != ROUTE_UP)
			continue;
		atomic_store_explicit(&r->channel.page->client_asleep, asleep, memory_order_relaxed);
	}
	if (asleep != 0)
		atomic_thread_fence(memory_order_seq_cst);
}

/* Room was made in reply rings: a worker that slept for it is rung.  Behind a full fence. */
static void
wake_workers(struct stash_client *c)
{
	struct route *r;

	TAILQ_FOREACH(r, &c->routes, link) {
		if (r->state != ROUTE_UP || r->drained == 0)
			continue;
		r->drained = 0;
		if (atomic_load_explicit(&r->page->asleep, memory_order_relaxed) != 0)
			stash__route_ring(r);
	}
}

static unsigned
drain_all(struct stash_client *c)
{
	struct route *r, *next;
	unsigned n = 0;

	TAILQ_FOREACH_SAFE(r, &c->routes, link, next) {
		if (r->state != ROUTE_UP)
			continue;
		n += stash__route_drain(c, r);
		if (r->state == ROUTE_UP && !TAILQ_EMPTY(r->unsent))
			stash__route_flush(c, r);
	}
	return n;
}

void
stash__wait_look(struct stash_client *c)
{
	(void)drain_all(c);
}

/* Whether some worker that owes a reply is awake on another core, with no other client to serve. */
static bool
may_spin(struct stash_client *c, uint32_t mine)
{
	struct route *r;

	if (c->spin_ns <= 0)
		return false;
	TAILQ_FOREACH(r, &c->routes, link) {
		uint32_t core;
		if (r->state != ROUTE_UP || r->open == 0 ||
		    atomic_load_explicit(&r->page->asleep, memory_order_relaxed) != 0)
			continue;
		core = atomic_load_explicit(&r->page->core, memory_order_relaxed);
		if (core != 0 && core != mine && atomic_load_explicit(&r->page->crowd, memory_order_relaxed) <= 1)
			return true;
	}
	return false;
}

static void
publish_core(struct stash_client *c, uint32_t core)
{
	struct route *r;

	if (core == c->core)
		return;
	c->core = core;
	TAILQ_FOREACH(r, &c->routes, link)
		if (r->state == ROUTE_UP)
			atomic_store_explicit(&r->channel.page->client_core, core, memory_order_relaxed);
}

static bool
replies_wait(struct stash_client *c)
{
	struct route *r;

	TAILQ_FOREACH(r, &c->routes, link)
		if (r->state == ROUTE_UP &&
		    (stash__reply_waits(&r->channel, r->rep_head) ||
			atomic_load_explicit(&r->channel.page->down, memory_order_acquire) != 0))
			return true;
	return false;
}

/* True: replies are there. */
static bool
spin(struct stash_client *c)
{
	uint32_t core = stash__core();
	int64_t until;

	publish_core(c, core);
	if (!may_spin(c, core))
		return false;
	until = stash__now_ns() + c->spin_ns;
	do {
		for (int i = 0; i < 32; i++) {
			if (replies_wait(c))
				return true;
			stash__pause();
		}
	} while (stash__now_ns() < until);
	return false;
}

/*
 * Nothing has come for long.  That may be so; or a stray write of the worker has hit a word that only this side writes,
 * or the one by which the worker says that it sleeps: then nobody would ever ring again.
 */
static void
nudge(struct stash_client *c)
{
	struct route *r;

	TAILQ_FOREACH(r, &c->routes, link) {
		if (r->state != ROUTE_UP || r->open == 0)
			continue;
		stash__reply_taken(&r->channel, r->rep_head);
		stash__request_publish(&r->channel, r->req_tail);
		stash__route_ring(r);
	}
}

/* Sleeps until something may have changed; true if, at the last look before it, all was done. */
static bool
sleep_once(struct stash_client *c, int64_t deadline, bool (*done)(struct stash_client *, void *arg), void *arg)
{
	const int others[] = { c->sock, c->lines, -1 };
	int64_t due = stash__link_due(c), expire = stash__call_expire(c), again = stash__now_ns() + NUDGE_NS;
	bool over;
	int mask = 0;

	if (due < deadline)
		deadline = due;
	if (expire < deadline)
		deadline = expire;
	if (again < deadline)
		deadline = again;
	stash__wait_asleep(c, 1);
	wake_workers(c);
	(void)drain_all(c);
	over = done(c, arg);
	if (!over)
		mask = stash__bell_poll_more(c->bell, others, deadline);
	if (mask & 4)
		stash__lines_clear(c);
	if (!c->polled)
		stash__wait_asleep(c, 0);
	if (mask == 0 && !over && stash__now_ns() >= again)
		nudge(c);
	if (mask & 2 || (!over && c->sock < 0 && stash__now_ns() >= due))
		stash__link_run(c);
	return over;
}

int
stash__wait(struct stash_client *c, int64_t deadline, bool (*done)(struct stash_client *, void *arg), void *arg)
{
	/* One that never sleeps would never learn that its supervisor is another one. */
	if (++c->waits % LINK_EVERY == 0)
		stash__link_run(c);
	for (;;) {
		(void)drain_all(c);
		if (done(c, arg))
			return STASH_OK;
		if (spin(c))
			continue;
		if (deadline == 0 || stash__now_ns() >= deadline) {
			(void)stash__call_expire(c);
			stash__link_run(c);
			(void)drain_all(c);
			return done(c, arg) ? STASH_OK : STASH_E_TIMEDOUT;
		}
		if (sleep_once(c, deadline, done, arg))
			return STASH_OK;
	}
}
