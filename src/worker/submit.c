/* SPDX-License-Identifier: ISC */
/*
 * submit.c: how a batch becomes safe, and what is let out when it is.
 * Order: entry, then its tail, then (ack = "crash" at once, "disk" when durable) the reply tails, then one full fence,
 * then the bells.  Nothing is published beyond the positions of an entry.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/point.h"
#include "shm/bell.h"
#include "worker/worker.h"

#define LOOK (100 * STASH__NS_PER_MS)

static uint64_t
durable(const struct stash_worker *w)
{
	return atomic_load_explicit(&w->in.page->durable, memory_order_acquire);
}

/* ---- publishing ---- */

static int
queue(struct stash_worker *w, struct pending what)
{
	struct pending *p;

	if (w->npending == w->room_pending) {
		size_t room = w->room_pending == 0 ? 64 : w->room_pending * 2;
		p = reallocarray(w->pending, room, sizeof *p);
		if (p == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for %zu replies that wait for the disk", room);
		w->pending = p;
		w->room_pending = room;
	}
	w->pending[w->npending++] = what;
	/* The stash commits at once for who waits, and rings who says so before it sleeps. */
	atomic_store_explicit(&w->out.page->wanted, what.needs, memory_order_relaxed);
	w->ask_disk = true;
	return STASH_OK;
}

/* After the one fence that stands between the tails and these looks. */
static void
wake_client(struct mailbox *mb)
{
	if (!mb->gone && atomic_load_explicit(&mb->channel.page->client_asleep, memory_order_relaxed) != 0)
		stash__mailbox_ring(mb);
}

static bool
must_wait(const struct stash_worker *w, uint64_t needs)
{
	return w->start.ack_disk && (w->first_pending < w->npending || needs > durable(w));
}

int
stash__publish(struct stash_worker *w, struct mailbox *mb, uint64_t needs)
{
	if (must_wait(w, needs))
		return queue(w, (struct pending){ needs, mb, NULL, mb->rep_tail, mb->req_head });
	stash__reply_publish(&mb->channel, mb->rep_tail, mb->req_head);
	return STASH_OK;
}

static void
publish_way(struct way *way, uint64_t req_tail, uint64_t rep_head)
{
	if (way->error != 0)
		return;
	atomic_store_explicit(&way->channel.page->rep_head, rep_head, memory_order_release);
	stash__request_publish(&way->channel, req_tail);
}

int
stash__publish_way(struct stash_worker *w, struct way *way, uint64_t needs)
{
	if (must_wait(w, needs))
		return queue(w, (struct pending){ needs, NULL, way, way->req_tail, way->rep_head });
	publish_way(way, way->req_tail, way->rep_head);
	return STASH_OK;
}

static void
wake_way(struct way *way)
{
	if (way->error == 0 && atomic_load_explicit(&way->page->asleep, memory_order_relaxed) != 0)
		stash__bell_ring(way->bell);
}

void
stash__publish_pending(struct stash_worker *w)
{
	uint64_t now = durable(w);
	size_t first = w->first_pending, last = first;

	if (first == w->npending)
		return;
	while (last < w->npending && w->pending[last].needs <= now) {
		struct pending *p = &w->pending[last++];
		if (p->mailbox != NULL)
			stash__reply_publish(&p->mailbox->channel, p->tail, p->head);
		if (p->way != NULL)
			publish_way(p->way, p->tail, p->head);
	}
	if (last == first)
		return;
	atomic_thread_fence(memory_order_seq_cst);
	for (size_t i = first; i < last; i++) {
		if (w->pending[i].mailbox != NULL)
			wake_client(w->pending[i].mailbox);
		if (w->pending[i].way != NULL)
			wake_way(w->pending[i].way);
	}
	w->first_pending = last;
	if (last == w->npending)
		w->first_pending = w->npending = 0;
}

static bool
front_durable(struct stash_worker *w)
{
	return w->first_pending == w->npending || w->pending[w->first_pending].needs <= durable(w);
}

int
stash__submit_flush(struct stash_worker *w)
{
	int result = STASH_OK;

	stash__publish_pending(w);
	/* With nobody left to commit it, it is for the next incarnation to publish: it is in the slot. */
	while (result >= 0 && w->first_pending < w->npending && !w->abandoned) {
		stash__bell_ring(w->stash_bell);
		result = stash__worker_sleep(w, STASH__PHASE_WAITING, stash__now_ns() + LOOK, front_durable);
		stash__publish_pending(w);
	}
	return result;
}

/* ---- the entry ---- */

static int
position_room(struct stash_worker *w)
{
	size_t need = w->ntouched + w->touched_ways;
	void *larger;

	if (need <= w->room_positions)
		return STASH_OK;
	larger = reallocarray(w->positions, 2 * need, sizeof(struct stash__position));
	if (larger == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the positions of %zu channels", need);
	w->positions = larger;
	w->room_positions = 2 * need;
	return STASH_OK;
}

static uint32_t
collect(struct stash_worker *w)
{
	uint32_t n = (uint32_t)w->ntouched;
	const struct way *way;

	for (size_t i = 0; i < w->ntouched; i++) {
		const struct mailbox *mb = w->touched[i];
		w->positions[i] = (struct stash__position){
			.place = mb->place,
			.flags = mb->deleting ? STASH__POSITION_GONE : 0,
			.req_bytes = mb->req_head,
			.req_count = mb->req_count,
			.rep_bytes = mb->rep_tail,
			.rep_count = mb->rep_count,
		};
	}
	if (w->touched_ways == 0)
		return n;
	TAILQ_FOREACH(way, &w->ways, link) {
		if (way->touched)
			w->positions[n++] = (struct stash__position){
				.place = way->place,
				.flags = way->deleting ? STASH__POSITION_GONE : 0,
				.req_bytes = way->req_tail,
				.req_count = way->req_count,
				.rep_bytes = way->rep_head,
				.rep_count = way->rep_count,
			};
	}
	return n;
}

static int
publish_touched(struct stash_worker *w)
{
	struct way *way;
	int result = STASH_OK;

	for (size_t i = 0; i < w->ntouched; i++)
		if (stash__publish(w, w->touched[i], w->changed) < 0)
			result = STASH_E_NOMEM;
	if (w->touched_ways == 0)
		return result;
	TAILQ_FOREACH(way, &w->ways, link)
		if (way->touched && stash__publish_way(w, way, w->changed) < 0)
			result = STASH_E_NOMEM;
	return result;
}

/* One fence for the entry's tail and all channels' tails; then whoever sleeps is rung. */
static void
ring_all(struct stash_worker *w)
{
	struct way *way;

	atomic_thread_fence(memory_order_seq_cst);
	if (w->ask_disk || atomic_load_explicit(&w->in.page->stash_asleep, memory_order_relaxed) != 0)
		stash__bell_ring(w->stash_bell);
	w->ask_disk = false;
	for (size_t i = 0; i < w->ntouched; i++)
		wake_client(w->touched[i]);
	if (w->touched_ways == 0)
		return;
	TAILQ_FOREACH(way, &w->ways, link)
		if (way->touched)
			wake_way(way);
}

/* The entry lies beyond what its predecessor died on: batches may be larger again. */
static void
mind_careful(struct stash_worker *w)
{
	const struct stash__base *b = w->base;

	if (!w->careful || w->batch == 0)
		return;
	if (b->again_number == 0 || b->again_place == STASH__PLACE_NONE)
		w->careful = false;
	if (b->again_place == STASH__PLACE_RECORD && !stash__record_is_open(w, b->again_number))
		w->careful = false;
	for (size_t i = 0; i < w->ntouched; i++)
		if (w->touched[i]->place == b->again_place &&
		    (w->touched[i]->deleting || w->touched[i]->req_count >= b->again_number))
			w->careful = false;
}

/* A message whose callback has failed is not in this entry: it stays in hand, for those who judge the death. */
static void
count(struct stash_worker *w)
{
	struct stash__box *box = w->out.box;
	unsigned failed = w->ending < 0 ? 1 : 0;
	uint64_t handled = atomic_load_explicit(&box->handled, memory_order_relaxed) + w->batch - failed;

	if (!failed) {
		atomic_store_explicit(&box->in_hand, 0, memory_order_release);
		atomic_store_explicit(&box->batch, 0, memory_order_relaxed);
	}
	atomic_store_explicit(&box->handled, handled, memory_order_relaxed);
	atomic_store_explicit(
	    &box->commits, atomic_load_explicit(&box->commits, memory_order_relaxed) + 1, memory_order_relaxed);
	atomic_store_explicit(&box->phase, STASH__PHASE_BETWEEN, memory_order_relaxed);
}

static void
clear_touched(struct stash_worker *w)
{
	for (size_t i = 0; i < w->ntouched; i++)
		w->touched[i]->touched = false;
	if (w->touched_ways > 0) {
		struct way *way;
		TAILQ_FOREACH(way, &w->ways, link)
			way->touched = false;
	}
	w->ntouched = w->touched_ways = 0;
	w->batch = 0;
}

int
stash__submit(struct stash_worker *w, uint32_t flags)
{
	const void *image;
	size_t image_len;
	struct stash__entry head = { .incarnation = w->start.incarnation };
	const void *records = NULL;
	size_t records_bytes = 0;
	bool ways = w->touched_ways > 0;
	int result;

	atomic_store_explicit(&w->out.box->phase, STASH__PHASE_SUBMIT, memory_order_relaxed);
	result = stash__state_image(w, flags, &image, &image_len);
	if (result == STASH_OK)
		result = position_room(w);
	if (result == STASH_OK)
		result = stash__records_pack(w, &records, &records_bytes);
	if (result < 0)
		return result;
	head.npositions = (uint16_t)collect(w);
	head.image_len = (uint32_t)image_len;
	head.flags = flags | (image != NULL ? STASH__ENTRY_IMAGE : 0);
	if (image != NULL)
		w->committed = w->version;
	head.version = w->committed;
	head.records_bytes = (uint32_t)records_bytes;
	head.layout_sum = w->layout_sum;
	result = stash__room_wait(
	    w, stash__entry_bytes(head.npositions, (uint64_t)head.records_bytes + head.image_len));
	if (result < 0)
		return result;
	head.number = w->entry + 1;
	head.stamp = w->now = stash__now_ns();
	stash__entry_submit(&w->out, &head, w->positions, records, image);
	STASH_POINT("worker_after_tail");
	w->entry++;
	stash__records_entered(w);
	if (image != NULL) {
		w->changed = w->entry;
		w->dirty = false;
	}
	count(w);
	STASH_POINT("worker_before_publish");
	result = publish_touched(w);
	STASH_POINT("worker_after_publish");
	ring_all(w);
	mind_careful(w);
	clear_touched(w);
	stash__names_safe(w);
	stash__mailbox_sweep(w);
	if (ways)
		stash__ways_sweep(w);
	return result < 0 ? result : stash__room_mind(w);
}
