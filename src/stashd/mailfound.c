/* SPDX-License-Identifier: ISC */
/*
 * mailfound.c: channels that a predecessor has left: what the keeper and the slots know of them is put together, and
 * those that nobody comes back for are let go.
 */
#include <stddef.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "shm/channel.h"
#include "stashd/server.h"
#include "stashd/ways.h"

int
mailroom_restore(
    struct server *s, struct worker *w, const uint8_t id[STASH__ID], uint32_t uid, uint32_t pid, int memfd, int bell)
{
	struct channel *c = mailroom_find(s, id) == NULL ? mailroom_create(w, id, uid, pid) : NULL;

	if (c == NULL)
		return STASH_E_NOMEM;
	c->memfd = memfd;
	c->bell = bell;
	return 0;
}

void
mailroom_row(struct worker *w, const uint8_t id[STASH__ID], uint32_t place, uint32_t uid)
{
	struct channel *c = mailroom_find(w->server, id);

	if (c == NULL)
		c = mailroom_create(w, id, uid, 0);
	if (c == NULL || c->worker != w)
		return;
	c->place = place;
	c->uid = uid;
	c->placed = true;
}

void
mailroom_close_marked(struct channel *c)
{
	c->gone = true;
	mailroom_close_ends(c);
	c->silent_since = stash__now_ns() - MAILROOM_GRACE_NS;
}

/*
 * A way that was found: its sender may have its row, and write to it.  So the receiver's is made, if a supervisor died
 * before it was; and one that is marked is never attached again, since its sender has taken the mark for an answer.
 */
static void
check_way(struct channel *c)
{
	struct stash__channel_page page;

	if (!c->way->ready || c->gone || c->memfd < 0 ||
	    stash__read_at(c->memfd, &page, sizeof(page), 0) != (ssize_t)sizeof(page))
		return;
	if (page.down == 0) {
		if (!c->placed)
			(void)mailroom_place(c);
	} else if (!c->placed) {
		mailroom_drop(c);
	} else {
		mailroom_close_marked(c);
	}
}

/* Its client was told, or will find in it, that what is in there isn't done: so nobody may do it. */
static bool
is_marked(const struct channel *c)
{
	uint32_t down;

	return !c->gone && c->memfd >= 0 &&
	    stash__read_at(c->memfd, &down, sizeof(down), offsetof(struct stash__channel_page, down)) ==
	    (ssize_t)sizeof(down) &&
	    down != 0;
}

void
mailroom_rows_known(struct worker *w)
{
	struct channel *c, *next;

	for (c = LIST_FIRST(&w->channels); c != NULL; c = next) {
		next = LIST_NEXT(c, of_worker);
		if (c->way != NULL)
			check_way(c);
		else if (c->placed && is_marked(c))
			mailroom_close_marked(c);
		/* Its row was deleted, and nobody had time to note it. */
		else if (!c->placed && c->peer == NULL && !c->wanted)
			mailroom_drop(c);
	}
}

/* A client that hasn't come to this supervisor, and is known not to. */
static bool
is_abandoned(const struct channel *c)
{
	struct stash__channel_page page;
	uint64_t start;

	if (c->memfd >= 0 && stash__read_at(c->memfd, &page, sizeof(page), 0) == (ssize_t)sizeof(page) &&
	    page.client_closed != 0)
		return true;
	return c->pid != 0 && stash__start_time((pid_t)c->pid, &start) == STASH_E_NOENT;
}

void
mailroom_tick(struct server *s, int64_t now)
{
	struct channel *c, *next;

	for (c = RB_MIN(channel_ids, &s->channels); c != NULL; c = next) {
		next = RB_NEXT(channel_ids, &s->channels, c);
		if (c->peer != NULL || !c->placed || (c->gone && c->memfd >= 0) || (c->way != NULL && !c->gone))
			continue;
		if (now - c->silent_since < MAILROOM_GRACE_NS && !c->gone && !is_abandoned(c))
			continue;
		/* Marked first: a client that comes back finds the mark, and opens another one. */
		if (!c->gone)
			mailroom_tell_down(c, STASH_E_PROTO, "its client was silent for too long");
		mailroom_let_go(c);
	}
}
