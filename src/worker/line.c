/* SPDX-License-Identifier: ISC */
/*
 * line.c: clients of other users, which share no bell with anybody (shm/bell.h): their lines are watched together by
 * one descriptor, beside the worker's own bell. Most workers never have one.
 */
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "shm/bell.h"
#include "worker/worker.h"

#define AT_ONCE 16

int
stash__mailbox_lines(struct stash_worker *w)
{
	if (w->lines < 0)
		w->lines = epoll_create1(EPOLL_CLOEXEC);
	return w->lines >= 0 ? w->lines : stash__fail_errno("cannot watch clients of other users");
}

int
stash__mailbox_watch(struct stash_worker *w, struct mailbox *mb)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = mb };

	if (stash__mailbox_lines(w) < 0)
		return STASH_E_SYSTEM;
	if (epoll_ctl(w->lines, EPOLL_CTL_ADD, mb->bell, &event) < 0)
		return stash__fail_errno("cannot watch a client of another user");
	return STASH_OK;
}

/* Not left to close(): supervisor and keeper have this end, too, so it would stay. */
void
stash__mailbox_unwatch(struct stash_worker *w, struct mailbox *mb)
{
	if (mb->line && mb->bell >= 0 && w->lines >= 0)
		(void)epoll_ctl(w->lines, EPOLL_CTL_DEL, mb->bell, NULL);
}

void
stash__mailbox_heard(struct stash_worker *w)
{
	struct epoll_event rung[AT_ONCE];
	int n = w->lines < 0 ? 0 : epoll_wait(w->lines, rung, AT_ONCE, 0);

	for (int i = 0; i < n; i++) {
		struct mailbox *mb = rung[i].data.ptr;

		/* A client that is gone doesn't ring again; the supervisor says when its channel is over. */
		if (!stash__line_clear(mb->bell))
			stash__mailbox_unwatch(w, mb);
	}
}

void
stash__mailbox_ring(const struct mailbox *mb)
{
	if (mb->line)
		stash__line_ring(mb->bell);
	else
		stash__bell_ring(mb->bell);
}
