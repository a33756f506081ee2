/* SPDX-License-Identifier: ISC */
/*
 * way.c: channels of this worker to others.  A way belongs to the worker's name: a file beside the slots, with a row
 * in the sender's base that says how far requests are written and answers taken.  What a callback writes stands
 * behind the tail; the tail moves when the entry is safe, and the next incarnation moves it to the entry's position
 * again.  So what is sent is sent once, whoever dies.
 */
#include <bsd/string.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/client.h>

#include "base/clock.h"
#include "base/error.h"
#include "shm/bell.h"
#include "shm/slot.h"
#include "worker/worker.h"

#define ASK_AGAIN STASH__NS_PER_S /* a supervisor that died forgot what it was asked */
#define ROOM_LOOK (10 * STASH__NS_PER_MS)

/* ---- the table ---- */

static struct way *
find_id(const struct stash_worker *w, const uint8_t *id)
{
	struct way *way;

	TAILQ_FOREACH(way, &w->ways, link)
		if (memcmp(way->id, id, STASH__ID) == 0)
			return way;
	return NULL;
}

static struct way *
find_name(const struct stash_worker *w, const char *name)
{
	struct way *way;

	TAILQ_FOREACH(way, &w->ways, link)
		if (strcmp(way->name, name) == 0 && way->error == 0 && !way->deleting &&
		    atomic_load(&way->channel.page->down) == 0)
			return way;
	return NULL;
}

static void
forget_ends(struct way *way)
{
	stash__channel_unmap(&way->channel);
	stash__bell_page_unmap(way->page);
	if (way->bell >= 0)
		close(way->bell);
	way->page = NULL;
	way->bell = -1;
}

static void
destroy(struct way *way)
{
	forget_ends(way);
	free(way);
}

void
stash__ways_free_all(struct stash_worker *w)
{
	struct way *way;

	while ((way = TAILQ_FIRST(&w->ways)) != NULL) {
		TAILQ_REMOVE(&w->ways, way, link);
		destroy(way);
	}
}

/* ---- told by the supervisor ---- */

/* The row of a way in this worker's base: as it was at GO, else (one made since) as it is now. */
static int
find_row(struct stash_worker *w, const uint8_t *id, struct stash__row *row, uint32_t *place)
{
	struct stash__base *now = NULL;
	const struct stash__base *base = w->base;
	int result = STASH_E_NOENT;

	for (int i = 0; i < 2 && result == STASH_E_NOENT; i++) {
		for (*place = 0; *place < base->nrows; (*place)++) {
			*row = stash__base_rows(base)[*place];
			if (row->used == STASH__USE_OUT && memcmp(row->id, id, STASH__ID) == 0)
				break;
		}
		if (*place < base->nrows)
			result = STASH_OK;
		else if (i == 0 && stash__base_copy(&w->in, &now) == STASH_OK)
			base = now;
	}
	free(now);
	return result;
}

/* Positions are those of the base; what was published must not lie beyond. */
static int
take_row(struct stash_worker *w, struct way *way)
{
	const struct stash__channel_page *page = way->channel.page;
	uint8_t id[STASH__ID];
	struct stash__row row;

	stash__way_row_id(way->id, id);
	if (find_row(w, id, &row, &way->place) < 0)
		return stash__fail(STASH_E_NOENT, "%s has no row for its channel to %s", w->start.name, way->name);
	if (atomic_load(&page->req_tail) > row.req_bytes || atomic_load(&page->rep_head) > row.rep_bytes ||
	    atomic_load(&page->rep_tail) < row.rep_bytes)
		return stash__fail(
		    STASH_E_PROTO, "the channel to %s is ahead of what %s knows of it", way->name, w->start.name);
	way->req_tail = row.req_bytes;
	way->req_count = row.req_count;
	way->rep_head = row.rep_bytes;
	way->rep_count = row.rep_count;
	return STASH_OK;
}

static int
open_way(struct stash_worker *w, struct way *way, int *fds, int nfds)
{
	int result;

	if (nfds != 3)
		return stash__fail(STASH_E_PROTO, "the supervisor's channel to %s lacks descriptors", way->name);
	result = stash__channel_map_file(&way->channel, fds[0]);
	if (result < 0)
		return result;
	way->page = stash__bell_page_map(fds[2], false);
	if (way->page == NULL)
		return STASH_E_SYSTEM;
	way->bell = fds[1];
	fds[1] = -1;
	return take_row(w, way);
}

/* The predecessor may have died before it published what is safe. */
static int
announce(struct stash_worker *w, struct way *way)
{
	int result = stash__publish_way(w, way, w->base->changed);

	if (w->ask_disk)
		stash__bell_ring(w->stash_bell);
	w->ask_disk = false;
	stash__bell_ring(way->bell);
	return result;
}

static int
add(struct stash_worker *w, const uint8_t *id, const char *name, int *fds, int nfds, struct way **result)
{
	struct way *way = calloc(1, sizeof *way);
	int error;

	if (way == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a channel to %s", name);
	way->bell = -1;
	memcpy(way->id, id, STASH__ID);
	strlcpy(way->name, name, sizeof way->name);
	error = open_way(w, way, fds, nfds);
	if (error < 0) {
		/* Its row went with an entry of a predecessor, who died before it could say so. */
		if (error == STASH_E_NOENT)
			stash__control_way_over(w, id);
		destroy(way);
		return error == STASH_E_NOENT ? STASH_E_PENDING : error;
	}
	TAILQ_INSERT_TAIL(&w->ways, way, link);
	w->nways++;
	*result = way;
	return announce(w, way);
}

/* One that is known already.  It may have been taken for lost, since its predecessor died while it was being made. */
static int
check_usable(struct stash_worker *w, struct way *way, const char *name, int *fds, int nfds)
{
	int result;

	if (way->error == 0 && !way->deleting)
		return STASH_OK;
	if (way->channel.page != NULL || way->deleting || stash__record_request(w, way->place, 0) != NULL)
		return stash__fail(STASH_E_BUSY, "the channel to %s is broken, and being let go of", name);
	result = open_way(w, way, fds, nfds);
	if (result < 0) {
		forget_ends(way);
		return result;
	}
	way->error = 0;
	strlcpy(way->name, name, sizeof way->name);
	return announce(w, way);
}

void
stash__way_told(struct stash_worker *w, struct stash_view *v, int *fds, int nfds)
{
	int error = (int)stash_view_int(v);
	const char *text = stash_view_text(v), *asked = stash_view_text(v), *name = "";
	const void *id = NULL;
	struct way *way = NULL;
	size_t id_len = 0;

	if (error == 0) {
		id = stash_view_bytes(v, &id_len);
		name = stash_view_text(v);
	}
	if (stash_view_end(v) < 0 || (error == 0 && (id == NULL || id_len != STASH__ID)))
		return;
	if (error < 0 || id == NULL) {
		(void)stash__fail(error, "%s", text);
	} else {
		way = find_id(w, id);
		error = way == NULL ? add(w, id, name, fds, nfds, &way) : check_usable(w, way, name, fds, nfds);
	}
	if (error == STASH_E_PENDING)
		return; /* asked again soon, it gets another one */
	if (w->asked_error != STASH_E_PENDING || strcmp(asked, w->asked_name) != 0)
		return;
	w->asked_error = error;
	w->asked_way = way;
}

/* A row of which nobody has told: its channel is lost, and with it what went by it.  A broken way stands for it. */
static void
stand_in(struct stash_worker *w, const uint8_t *id, const struct stash__row *row, uint32_t place)
{
	struct way *way = calloc(1, sizeof *way);

	if (way == NULL)
		return; /* the next incarnation will find it */
	memcpy(way->id, id, STASH__ID);
	strlcpy(way->name, "the worker", sizeof way->name);
	way->bell = -1;
	way->error = STASH_E_PROTO;
	way->place = place;
	way->req_tail = row->req_bytes;
	way->req_count = row->req_count;
	way->rep_head = row->rep_bytes;
	way->rep_count = row->rep_count;
	TAILQ_INSERT_TAIL(&w->ways, way, link);
	w->nways++;
}

void
stash__ways_told(struct stash_worker *w)
{
	/* Each supervisor says it once: what the base had at GO is looked at for the first. */
	if (w->ways_known)
		return;
	w->ways_known = true;
	for (uint32_t i = 0; i < w->base->nrows; i++) {
		const struct stash__row *row = &stash__base_rows(w->base)[i];
		uint8_t id[STASH__ID];

		stash__way_row_id(row->id, id); /* and back */
		if (row->used == STASH__USE_OUT && find_id(w, id) == NULL)
			stand_in(w, id, row, i);
	}
}

bool
stash__ways_are_known(struct stash_worker *w)
{
	return w->ways_known;
}

/* ---- asking for one ---- */

static bool
is_told(struct stash_worker *w)
{
	return w->asked_error != STASH_E_PENDING;
}

/* Waits within a callback, which goes on afterwards. */
static int
pause_for(struct stash_worker *w, int64_t deadline, bool (*look)(struct stash_worker *))
{
	int result = stash__worker_sleep(w, STASH__PHASE_WAITING, deadline, look);

	/* Room comes only after what is safe was let out. */
	stash__publish_pending(w);
	if (result >= 0 && w->abandoned)
		return stash__fail(STASH_E_DOWN, "supervisor and keeper are both dead: nobody will answer");
	return result;
}

int
stash__way_get(struct stash_worker *w, const char *name, int64_t deadline, struct way **way)
{
	int result = STASH_OK;

	*way = find_name(w, name);
	if (*way != NULL)
		return STASH_OK;
	w->asked_error = STASH_E_PENDING;
	w->asked_way = NULL;
	strlcpy(w->asked_name, name, sizeof w->asked_name);
	while (result >= 0 && !is_told(w)) {
		int64_t now = stash__now_ns(), again = now + ASK_AGAIN;

		if (now >= deadline)
			break;
		stash__control_way(w, name);
		while (result >= 0 && !is_told(w) && stash__now_ns() < (again < deadline ? again : deadline))
			result = pause_for(w, again < deadline ? again : deadline, is_told);
	}
	w->asked_name[0] = '\0';
	if (result < 0)
		return result;
	if (!is_told(w))
		return stash__fail(
		    STASH_E_BUSY, "the supervisor gave %s no channel to %s in time", w->start.name, name);
	*way = w->asked_way;
	return w->asked_error;
}

/* ---- writing ---- */

static void
touch(struct stash_worker *w, struct way *way)
{
	w->touched_ways += !way->touched;
	way->touched = true;
}

static void
mark(struct stash_worker *w, struct way *way)
{
	if (way->mark == w->messages)
		return;
	way->mark = w->messages;
	way->mark_req_tail = way->req_tail;
	way->mark_req_count = way->req_count;
	way->mark_rep_head = way->rep_head;
	way->mark_rep_count = way->rep_count;
	way->mark_touched = way->touched;
}

void
stash__ways_rollback(struct stash_worker *w)
{
	struct way *way;

	TAILQ_FOREACH(way, &w->ways, link) {
		if (way->mark != w->messages)
			continue;
		way->req_tail = way->mark_req_tail;
		way->req_count = way->mark_req_count;
		way->rep_head = way->mark_rep_head;
		way->rep_count = way->mark_rep_count;
		w->touched_ways -= way->touched && !way->mark_touched;
		way->touched = way->mark_touched;
	}
}

static bool
never(struct stash_worker *w)
{
	(void)w;
	return false;
}

int
stash__way_write(struct stash_worker *w, struct way *way, uint32_t kind, const char *tag, const void *data, size_t len,
    int64_t deadline)
{
	int64_t until = stash__now_ns() + STASH_TIMEOUT * STASH__NS_PER_MS;
	int result;

	if (w->in_callback)
		mark(w, way);
	while ((result = stash__request_write(&way->channel, &way->req_tail, way->req_count + 1, kind, tag, data, len,
		    deadline)) == STASH_E_BUSY &&
	    w->in_callback && stash__now_ns() < until && atomic_load(&way->channel.page->down) == 0) {
		result = pause_for(w, stash__now_ns() + ROOM_LOOK, never);
		if (result < 0)
			return result;
	}
	if (result == STASH_E_PROTO)
		way->error = result;
	if (result == STASH_E_BUSY)
		return stash__fail(
		    result, "the mailbox of %s has no room: it doesn't run, or doesn't keep up", way->name);
	if (result < 0)
		return result;
	way->req_count++;
	touch(w, way);
	/* What stands behind the tail makes no room: the batch ends before it fills the ring. */
	if (way->req_tail - atomic_load_explicit(&way->channel.page->req_tail, memory_order_relaxed) >
	    way->channel.ring_bytes / 4)
		w->cut = true;
	return STASH_OK;
}

void
stash__way_unwrite(struct way *way, uint64_t tail)
{
	way->req_tail = tail;
	way->req_count--;
}

/* ---- answers ---- */

/* One answer that is there: 1; 0: none; STASH_E_PROTO. */
static int
take_answer(struct stash_worker *w, struct way *way)
{
	uint64_t head = way->rep_head;
	struct stash__message m;
	struct record *r;
	int result = stash__reply_take(&way->channel, &head, &w->copy, &m);

	if (result <= 0)
		return result;
	r = stash__record_request(w, way->place, m.head.number);
	stash__mailbox_hand(w, NULL);
	mark(w, way);
	way->rep_head = head;
	way->rep_count++;
	touch(w, way);
	if (r != NULL) /* else its time was over, or it was set aside */
		stash__record_answer(w, r, m.head.code, m.head.app_code, m.data, m.head.len);
	return 1;
}

/* Its requests get the reason, one by one; then it goes. */
static bool
end_one(struct stash_worker *w, struct way *way, int error)
{
	struct record *r = stash__record_request(w, way->place, 0);
	char why[STASH_NAME_MAX + 80];

	if (r == NULL && (stash__records_due(w) || way->deleting))
		return false; /* one that isn't in an entry yet may be its */
	if (r == NULL) {
		way->deleting = true;
		touch(w, way);
		return true;
	}
	if (error == STASH_E_DOWN)
		snprintf(why, sizeof why, "%s is stopped and won't come back by itself", way->name);
	else
		snprintf(why, sizeof why, "the channel to %s is lost: whether it was done isn't known", way->name);
	stash__mailbox_hand(w, NULL);
	stash__record_answer(w, r, error, 0, why, strlen(why));
	return true;
}

static int
down_error(const struct way *way)
{
	return way->error != 0 ? way->error : stash__channel_down(&way->channel);
}

static bool
run_one(struct stash_worker *w, struct way *way)
{
	int error = down_error(way), result = way->error == 0 && !way->deleting ? take_answer(w, way) : 0;

	if (result == STASH_E_PROTO)
		way->error = error = result;
	if (result > 0)
		return true;
	return error != 0 && end_one(w, way, error);
}

bool
stash__way_run(struct stash_worker *w)
{
	struct way *way = w->next_way;

	for (unsigned i = 0; i < w->nways; i++) {
		if (way == NULL)
			way = TAILQ_FIRST(&w->ways);
		w->next_way = TAILQ_NEXT(way, link);
		if (run_one(w, way))
			return true;
		way = w->next_way;
	}
	return false;
}

bool
stash__way_ready(const struct stash_worker *w)
{
	const struct way *way;

	TAILQ_FOREACH(way, &w->ways, link)
		if (!way->deleting && (down_error(way) != 0 || stash__reply_waits(&way->channel, way->rep_head)))
			return true;
	return false;
}

void
stash__ways_sweep(struct stash_worker *w)
{
	struct way *way, *next;

	for (way = TAILQ_FIRST(&w->ways); way != NULL; way = next) {
		next = TAILQ_NEXT(way, link);
		if (!way->deleting || way->touched)
			continue;
		stash__control_way_over(w, way->id);
		for (size_t i = w->first_pending; i < w->npending; i++)
			if (w->pending[i].way == way)
				w->pending[i].way = NULL;
		if (w->next_way == way)
			w->next_way = next;
		TAILQ_REMOVE(&w->ways, way, link);
		w->nways--;
		destroy(way);
	}
}
