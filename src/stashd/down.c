/* SPDX-License-Identifier: ISC */
/*
 * down.c: the channels of a worker that won't come back by itself.  In its place the supervisor publishes what is safe
 * by the base, answers a call that was set aside, marks the channel and rings.  Only ever after all incarnations have
 * been retired: nobody else writes there.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "shm/channel.h"
#include "stashd/server.h"

static const char stopped[] = "the worker is stopped, and won't come back by itself";
static const char crashed[] = "this message crashed its worker and was set aside; it is not in the state";
static const char unknown[] = "what became of the calls under way isn't known";

static struct stash__base *
copy_of(const struct worker *w, int (*copy)(struct stash__in *, struct stash__base **))
{
	struct stash__in in;
	struct stash__base *base = NULL;
	int fd = worker_file(w, "in", O_RDONLY);

	if (fd < 0)
		return NULL;
	if (stash__in_map(&in, fd, false, &w->server->origin) == 0) {
		if (copy(&in, &base) < 0)
			base = NULL;
		stash__in_unmap(&in);
	}
	close(fd);
	return base;
}

struct stash__base *
down_base(const struct worker *w)
{
	return copy_of(w, stash__base_copy);
}

struct stash__base *
down_former_base(const struct worker *w)
{
	return copy_of(w, stash__base_copy_former);
}

static const struct stash__row *
find_row(const struct stash__base *base, const struct channel *c)
{
	const struct stash__row *row;

	if (base == NULL || c->place >= base->nrows)
		return NULL;
	row = &stash__base_rows(base)[c->place];
	return row->used == STASH__USE_IN && memcmp(row->id, c->id, STASH__ID) == 0 ? row : NULL;
}

int
down_row(const struct worker *w, const struct channel *c, struct stash__row *row)
{
	struct stash__base *base = down_base(w);
	const struct stash__row *found = find_row(base, c);

	if (found != NULL)
		*row = *found;
	free(base);
	return found != NULL ? 0 : stash__fail(STASH_E_NOENT, "the channel has no row");
}

/* What the base says is published, and nothing else.  0, or STASH_E_PROTO: the page says more than the base knows. */
static int
publish(struct channel *c, const struct stash__row *row)
{
	struct stash__channel map;
	uint64_t tail = row->rep_bytes;
	int result = c->way != NULL && !c->stand_in ? stash__channel_map_file(&map, c->memfd) :
						      stash__channel_map(&map, c->memfd);

	if (result < 0)
		return result;
	if (atomic_load(&map.page->rep_tail) > row->rep_bytes || atomic_load(&map.page->req_head) > row->req_bytes) {
		stash__channel_unmap(&map);
		return stash__fail(STASH_E_PROTO, "the channel has answers that the store doesn't know of");
	}
	if (row->aside != 0)
		(void)stash__reply_write(&map, &tail, row->aside, STASH_E_CRASHED, 0, crashed, sizeof(crashed) - 1);
	stash__reply_publish(&map, tail, row->req_bytes);
	stash__channel_unmap(&map);
	return 0;
}

static void
down_all(struct worker *w, bool safe)
{
	struct stash__base *base = down_base(w);
	struct channel *c, *next;

	for (c = LIST_FIRST(&w->channels); c != NULL; c = next) {
		const struct stash__row *row = find_row(base, c);

		next = LIST_NEXT(c, of_worker);
		if (!c->placed)
			continue; /* when its row is made, it is seen that nobody is there */
		if (c->gone)
			; /* nor is there anybody to be told */
		else if (safe && row != NULL && c->memfd >= 0 && publish(c, row) == 0)
			mailroom_tell_down(c, STASH_E_DOWN, stopped);
		else
			mailroom_tell_down(c, STASH_E_PROTO, unknown);
		mailroom_delete_row(c);
	}
	free(base);
}

static void
on_synced(void *arg, int error, const char *text, struct mail *m)
{
	struct worker *w = arg;

	(void)m;
	if (error < 0)
		stash__log(LOG_ERR, "%s: its last answers aren't on the disk, and are not given: %s", w->name, text);
	if (w->now == NULL && w->start == 0 && LIST_EMPTY(&w->dying) && w->status == STASH_STOPPED)
		down_all(w, error == 0);
}

void
down_worker(struct worker *w)
{
	struct stashlink *k = &w->server->stash;

	w->down_due = false;
	if (LIST_EMPTY(&w->channels))
		return;
	if (!w->plan.ack_disk || stashlink_send(k, stashlink_begin(k, STASH__S_SYNC), -1, on_synced, w) == 0)
		down_all(w, true);
}
