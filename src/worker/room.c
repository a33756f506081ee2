/* SPDX-License-Identifier: ISC */
/*
 * room.c: room in a worker's slot.  What doesn't fit is waited for; what soon may not fit is asked for ahead, while
 * there is room for what is there.  When that can't be had (the run directory is full) clients are told by a mark in
 * their channels, and send no more until it can; a call that was on its way is refused: before it is run, and not after
 * a callback has made a state that can't be committed.
 */
#include <stdlib.h>
#include <syslog.h>

#include "base/clock.h"
#include "base/error.h"
#include "shm/bell.h"
#include "worker/worker.h"

#define LOOK (100 * STASH__NS_PER_MS)
#define AHEAD (100 * STASH__NS_PER_MS)
#define HALF_FULL 3 /* times in a row; then the ring is too small for the traffic */

static uint64_t
out_head(const struct stash_worker *w)
{
	return atomic_load_explicit(&w->in.page->out_head, memory_order_acquire);
}

/* ---- for a state ---- */

/* The ring takes two entries with the image. */
static uint64_t
ring_for(const struct stash_worker *w, uint64_t image)
{
	uint64_t ring = 2 * stash__entry_bytes(64, image);

	return ring <= w->out.ring_bytes ? 0 : ring;
}

/* Both bases and the ring do. */
static bool
holds(const struct stash_worker *w, uint64_t image)
{
	uint64_t now = STASH__RING_BYTES(w->in.page->bases[0]), other = STASH__RING_BYTES(w->in.page->bases[1]);
	uint32_t rows = w->base->nrows < STASH__ROWS_MIN ? STASH__ROWS_MIN : w->base->nrows;

	return stash__base_bytes(rows, image) <= (now < other ? now : other) && ring_for(w, image) == 0;
}

static int
grow(struct stash_worker *w, uint64_t image)
{
	return holds(w, image) ? STASH_OK : stash__control_grow(w, image, ring_for(w, image));
}

static uint64_t
plus(uint64_t image, uint64_t more)
{
	return image + more < STASH_STATE_MAX ? image + more : STASH_STATE_MAX;
}

/* What the next one may need: a quarter more, or twice as much as it ever grew at once. */
static uint64_t
next_image(const struct stash_worker *w)
{
	return plus(w->image_len, w->image_len / 4 > 2 * w->step ? w->image_len / 4 : 2 * w->step);
}

/* What is asked for: by half more at least, since what a slot outgrows stays in its file. */
static uint64_t
wanted(const struct stash_worker *w)
{
	uint64_t next = next_image(w), half = plus(w->image_len, w->image_len / 2);

	return half > next ? half : next;
}

static bool
may_outgrow(const struct stash_worker *w)
{
	return w->behaviour->encode != NULL && !holds(w, next_image(w));
}

static void
set_no_room(struct stash_worker *w, bool none)
{
	if (none == w->no_room)
		return;
	w->no_room = none;
	for (size_t i = 0; i < w->nmailboxes; i++)
		stash__room_mark(w, w->mailboxes[i]);
	if (none)
		stash__control_log(w, LOG_WARNING,
		    "the run directory has no room for the state to grow: calls are refused until it has");
	else
		stash__control_log(w, LOG_NOTICE, "there is room again for the state to grow");
}

void
stash__room_mark(const struct stash_worker *w, struct mailbox *mb)
{
	atomic_store_explicit(&mb->channel.page->full, w->no_room ? STASH__FULL : 0, memory_order_relaxed);
	mb->waits = false;
}

/* Waits for what is wanted, or makes do with what there is. */
static int
grow_ahead(struct stash_worker *w)
{
	int result = grow(w, wanted(w));

	if (result != STASH_E_FULL)
		return result;
	result = grow(w, w->image_len);
	if (result < 0)
		return result;
	w->asked_room = w->now;
	set_no_room(w, true);
	return STASH_OK;
}

int
stash__room_begin(struct stash_worker *w)
{
	w->image_len = w->behaviour->encode != NULL ? w->base->image_len : w->behaviour->state_size;
	return may_outgrow(w) ? grow_ahead(w) : grow(w, w->image_len);
}

/* ---- ahead ---- */

static int
take_answer(struct stash_worker *w)
{
	int result = stash__control_move(w);

	if (result < 0 && w->abandoned)
		return STASH_OK; /* it was asked for ahead: the worker may still end in order */
	if (result < 0 && result != STASH_E_FULL)
		return result;
	if (result == STASH_E_FULL && !may_outgrow(w)) /* a larger ring would have been better, and isn't needed */
		w->ring_refused = w->now;
	else if (result == STASH_E_FULL)
		w->asked_room = w->now;
	set_no_room(w, may_outgrow(w) && (w->no_room || result == STASH_E_FULL));
	return STASH_OK;
}

int
stash__room_tend(struct stash_worker *w)
{
	if (w->grown)
		return take_answer(w);
	return w->no_room ? stash__control_ask_room(w, wanted(w), ring_for(w, wanted(w))) : STASH_OK;
}

int64_t
stash__room_due(const struct stash_worker *w)
{
	return w->no_room ? w->asked_room + STASH__ASK_AGAIN : INT64_MAX;
}

static bool
has_answer(struct stash_worker *w)
{
	return w->grown;
}

/* Clients are to know before they have the answers to this batch, so the stash's is waited for a little; but not for a
 * stash that doesn't answer: there is room yet. */
static int
ask_ahead(struct stash_worker *w)
{
	int64_t until = stash__now_ns() + AHEAD;
	bool asks = w->asked_room == 0;
	int result = stash__control_ask_room(w, wanted(w), ring_for(w, wanted(w)));

	while (result >= 0 && asks && !w->grown && !w->closing && stash__now_ns() < until)
		result = stash__worker_sleep(w, STASH__PHASE_WAITING, until, has_answer);
	return result < 0 || !w->grown ? result : take_answer(w);
}

/* One more like that wouldn't fit, and its client has to know before it sends it: until the answer comes, or the
 * worker is to end. */
static int
ask_in_time(struct stash_worker *w)
{
	int result = STASH_OK;

	while (result >= 0 && !w->no_room && !holds(w, plus(w->image_len, w->step)) && !w->closing &&
	    !stash__crash_told_to_stop()) {
		w->now = stash__now_ns();
		result = stash__control_ask_room(w, wanted(w), ring_for(w, wanted(w)));
		if (result >= 0 && !w->grown)
			result = stash__worker_sleep(
			    w, STASH__PHASE_WAITING, w->asked_room + STASH__ASK_AGAIN, has_answer);
		if (result >= 0 && w->grown)
			result = take_answer(w);
	}
	return result;
}

int
stash__room_for(struct stash_worker *w, uint64_t image)
{
	/* The first one is no step. */
	if (w->image_len > 0 && image > w->image_len && image - w->image_len > w->step)
		w->step = image - w->image_len;
	w->image_len = image;
	if (!holds(w, image))
		return grow_ahead(w);
	if (!may_outgrow(w)) {
		set_no_room(w, false);
		return STASH_OK;
	}
	if (w->no_room)
		return STASH_OK;
	return holds(w, plus(image, w->step)) ? ask_ahead(w) : ask_in_time(w);
}

/* ---- in the ring ---- */

static bool
ring_moved(struct stash_worker *w)
{
	return out_head(w) != w->grow_head;
}

int
stash__room_wait(struct stash_worker *w, uint64_t bytes)
{
	int64_t began = w->now;
	stash__word *waited = &w->out.box->waited_ns;
	int result = STASH_OK;

	while (result >= 0 && bytes > w->out.ring_bytes / 2)
		result = stash__control_grow(w, 0, bytes * (bytes < STASH_STATE_MAX ? 4 : 2));
	while (result >= 0 && stash__entry_room(&w->out, out_head(w)) < bytes) {
		w->grow_head = out_head(w);
		if (stash__entry_room(&w->out, w->grow_head) >= bytes)
			break;
		if (w->abandoned)
			return stash__fail(
			    STASH_E_DOWN, "nobody is left who could make room in the slot of %s", w->start.name);
		/* A full ring is no time to wait for its timer. */
		stash__bell_ring(w->stash_bell);
		result = stash__worker_sleep(w, STASH__PHASE_WAITING, stash__now_ns() + LOOK, ring_moved);
	}
	if (w->now != began)
		atomic_store_explicit(waited,
		    atomic_load_explicit(waited, memory_order_relaxed) + (uint64_t)(w->now - began),
		    memory_order_relaxed);
	return result;
}

/* Wakes the stash if the ring is half full; asks for a larger one if that goes on, without waiting for it. */
int
stash__room_mind(struct stash_worker *w)
{
	uint64_t tail = atomic_load_explicit(&w->out.page->out_tail, memory_order_relaxed), head = out_head(w);
	uint64_t half = w->out.ring_bytes / 2;

	if (w->grown)
		return take_answer(w);
	if (tail - head < half || tail - w->half_rung < half)
		return STASH_OK;
	w->half_rung = tail;
	stash__bell_ring(w->stash_bell);
	if (w->grow_head != head)
		w->half_full++;
	w->grow_head = head;
	if (w->half_full < HALF_FULL || w->out.ring_bytes >= STASH__ENTRIES_MAX || w->no_room ||
	    (w->ring_refused != 0 && w->now - w->ring_refused < STASH__ASK_AGAIN))
		return STASH_OK;
	w->half_full = 0;
	return stash__control_ask_room(
	    w, 0, w->out.ring_bytes * 4 < STASH__ENTRIES_MAX ? w->out.ring_bytes * 4 : STASH__ENTRIES_MAX);
}
