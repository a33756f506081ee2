/* SPDX-License-Identifier: ISC */
/*
 * room.c: room in a worker's slot.  What doesn't fit is waited for; what soon may not fit is asked for ahead, while
 * there is room for what is there.  When that can't be had (the run directory is full) clients are told by a mark in
 * their channels, and send no more until it can: so a call is refused before it is run, and not after a callback has
 * made a state that can't be committed.
 */
#include <stdlib.h>

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

/* With as much again by half, since what a slot outgrows stays in its file. */
static uint64_t
and_half(uint64_t image)
{
	return image + image / 2 < STASH_STATE_MAX ? image + image / 2 : STASH_STATE_MAX;
}

static int
grow(struct stash_worker *w, uint64_t image)
{
	return holds(w, image) ? STASH_OK : stash__control_grow(w, image, ring_for(w, image));
}

/* By how much the next one may be larger: by a quarter, or by twice as much as it ever was at once. */
static uint64_t
margin(const struct stash_worker *w, uint64_t image)
{
	uint64_t more = image / 4 > 2 * w->step ? image / 4 : 2 * w->step;

	return image + more < STASH_STATE_MAX ? more : STASH_STATE_MAX - image;
}

static void
tell_clients(struct stash_worker *w, bool none)
{
	w->no_room = none;
	w->tight = none && !holds(w, w->image_len + margin(w, w->image_len));
	for (size_t i = 0; i < w->nmailboxes; i++)
		stash__room_mark(w, w->mailboxes[i]);
}

void
stash__room_mark(const struct stash_worker *w, struct mailbox *mb)
{
	atomic_store_explicit(&mb->channel.page->full, w->no_room ? STASH__FULL : 0, memory_order_relaxed);
}

/* As much as there is, which is enough for now. */
static int
make_do(struct stash_worker *w, uint64_t image)
{
	int result = grow(w, image);

	if (result < 0)
		return result;
	w->ahead = and_half(image);
	w->asked_room = w->now;
	tell_clients(w, true);
	return STASH_OK;
}

int
stash__room_begin(struct stash_worker *w)
{
	bool grows = w->behaviour->encode != NULL;
	uint64_t image = grows ? w->base->image_len : w->behaviour->state_size;
	int result;

	w->image_len = image;
	if (!grows || holds(w, image + margin(w, image)))
		return grow(w, image);
	result = grow(w, and_half(image));
	return result == STASH_E_FULL ? make_do(w, image) : result;
}

/* ---- ahead ---- */

static int
take_answer(struct stash_worker *w)
{
	int result = stash__control_move(w);

	if (result == STASH_E_FULL) {
		/* A larger ring would have been better, and isn't needed. */
		if (w->ahead == 0)
			w->ring_refused = w->now;
		else
			w->asked_room = w->now;
		if (w->ahead != 0 && !w->no_room)
			tell_clients(w, true);
		return STASH_OK;
	}
	if (result < 0)
		return result;
	w->ahead = 0;
	if (w->no_room)
		tell_clients(w, false);
	return STASH_OK;
}

int
stash__room_tend(struct stash_worker *w)
{
	if (w->grown)
		return take_answer(w);
	return w->no_room ? stash__control_ask_room(w, w->ahead, ring_for(w, w->ahead)) : STASH_OK;
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
ask_ahead(struct stash_worker *w, uint64_t image)
{
	int64_t until = stash__now_ns() + AHEAD;
	bool asks = w->asked_room == 0;
	int result;

	w->ahead = image;
	result = stash__control_ask_room(w, image, ring_for(w, image));
	while (result >= 0 && asks && !w->grown && !w->closing && stash__now_ns() < until)
		result = stash__worker_sleep(w, STASH__PHASE_WAITING, until, has_answer);
	return result < 0 || !w->grown ? result : take_answer(w);
}

int
stash__room_for(struct stash_worker *w, uint64_t image)
{
	uint64_t more, want;
	int result;

	/* The first one is no step. */
	if (w->image_len > 0 && image > w->image_len && image - w->image_len > w->step)
		w->step = image - w->image_len;
	w->image_len = image;
	if (image <= w->looked)
		return STASH_OK;
	more = margin(w, image);
	want = and_half(image) > image + more ? and_half(image) : image + more;
	if (!holds(w, image)) {
		result = grow(w, want);
		return result == STASH_E_FULL ? make_do(w, image) : result;
	}
	w->tight = w->no_room && !holds(w, image + more);
	if (w->no_room)
		return STASH_OK;
	w->looked = holds(w, image + more) ? image + more / 4 : 0;
	if (w->looked != 0)
		return STASH_OK;
	return ask_ahead(w, want);
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

	if (bytes > w->out.ring_bytes / 2)
		result = stash__control_grow(w, 0, bytes * (bytes < STASH_STATE_MAX ? 4 : 2));
	while (result >= 0 && stash__entry_room(&w->out, out_head(w)) < bytes) {
		w->grow_head = out_head(w);
		if (stash__entry_room(&w->out, w->grow_head) >= bytes)
			break;
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
