/* SPDX-License-Identifier: ISC */
/*
 * line.c: a client of another user than stashd's shares no bell with anybody: each channel has a line of its own, at
 * whose end both sides ring and are rung (shm/bell.h). All of them are watched by one descriptor.
 */
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "client/client.h"
#include "shm/bell.h"

#define AT_ONCE 16

int
stash__lines_begin(struct stash_client *c)
{
	struct epoll_event event = { .events = EPOLLIN };

	if (c->lines >= 0)
		return STASH_OK;
	c->lines = epoll_create1(EPOLL_CLOEXEC);
	if (c->lines < 0)
		return stash__fail_errno("cannot watch channels");
	if (c->epoll >= 0 && epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->lines, &event) < 0)
		return stash__fail_errno("cannot watch channels");
	return STASH_OK;
}

int
stash__line_watch(struct stash_client *c, struct route *r, int end)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = r };

	if (epoll_ctl(c->lines, EPOLL_CTL_ADD, end, &event) < 0)
		return stash__fail_errno("cannot watch the channel to %s", r->name);
	stash__line_drop(c, r);
	r->bell = end;
	r->line = true;
	return STASH_OK;
}

void
stash__line_drop(struct stash_client *c, struct route *r)
{
	if (r->bell < 0)
		return;
	if (r->line)
		(void)epoll_ctl(c->lines, EPOLL_CTL_DEL, r->bell, NULL);
	close(r->bell);
	r->bell = -1;
	r->line = false;
}

void
stash__lines_clear(struct stash_client *c)
{
	struct epoll_event rung[AT_ONCE];
	int n = c->lines < 0 ? 0 : epoll_wait(c->lines, rung, AT_ONCE, 0);

	for (int i = 0; i < n; i++) {
		struct route *r = rung[i].data.ptr;

		/* Everybody at the other end is dead; the link to stashd says how it goes on. */
		if (!stash__line_clear(r->bell))
			(void)epoll_ctl(c->lines, EPOLL_CTL_DEL, r->bell, NULL);
	}
}

void
stash__route_ring(const struct route *r)
{
	if (r->line)
		stash__line_ring(r->bell);
	else
		stash__bell_ring(r->bell);
}

void
stash__route_wake(const struct route *r)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&r->page->asleep, memory_order_relaxed) != 0)
		stash__route_ring(r);
}
