/* SPDX-License-Identifier: ISC */
/*
 * loop.c: one batch after the other; between them a bounded look for more, then sleep.
 * A batch is what is already there, up to batch_max messages: nothing is ever waited for to fill it.
 */
#include <event2/event.h>

#include "base/clock.h"
#include "base/error.h"
#include "shm/bell.h"
#include "worker/worker.h"

#define CONTROL_EVERY STASH__NS_PER_MS /* how often a worker that never sleeps looks at its control socket */
#define CHANNELS_LOOK (100 * STASH__NS_PER_MS)
#define ALONE 4u    /* batches in a row for one client alone, before it counts as the only one */
#define GAP_SPINS 4 /* spins only if the next message lately came within so many spin times */

static unsigned
limit(const struct stash_worker *w)
{
	return w->careful ? 1 : w->batch_max;
}

/* Nothing ends the batch yet. */
static bool
goes_on(const struct stash_worker *w)
{
	return w->ending == 0 && !w->cut;
}

/* One message from each that has one, beginning where the last pass ended. */
static unsigned
pass(struct stash_worker *w)
{
	unsigned took = 0, max = limit(w);

	if (w->batch < max && stash__timer_run(w))
		took++;
	if (goes_on(w) && w->batch < max && stash__post_run(w))
		took++;
	if (goes_on(w) && w->batch < max && stash__task_run(w))
		took++;
	if (goes_on(w) && w->batch < max && stash__record_run(w))
		took++;
	if (goes_on(w) && w->batch < max && stash__way_run(w))
		took++;
	for (size_t i = 0; i < w->nmailboxes && w->batch < max && goes_on(w); i++) {
		struct mailbox *mb = w->mailboxes[w->turn < w->nmailboxes ? w->turn : 0];
		w->turn = w->turn + 1 < w->nmailboxes ? w->turn + 1 : 0;
		if (stash__mailbox_take(w, mb) == 0)
			continue;
		stash__dispatch_request(w, mb);
		w->alone = mb == w->last ? w->alone : 0;
		w->last = mb;
		took++;
	}
	return took;
}

/* Counts how long the callbacks of this batch took, each its share. */
static void
measure(struct stash_worker *w, unsigned batch)
{
	uint64_t each = (uint64_t)(w->now - w->busy_since) / batch;
	unsigned bin = each == 0 ? 0 : 63u - (unsigned)__builtin_clzll(each);
	stash__word *count = &w->out.box->bins[bin < STASH__BOX_BINS ? bin : STASH__BOX_BINS - 1];

	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + batch, memory_order_relaxed);
}

/* Takes, handles, submits: how many messages, or an error. */
static int
serve(struct stash_worker *w)
{
	unsigned batch;
	bool leaves;
	int result;

	w->busy_since = w->now;
	result = stash__names_record(w);
	if (result < 0)
		return result;
	/* What is due behind a transition comes before the next message, in a batch of its own. */
	w->cut = stash__continue_run(w);
	while (w->batch < limit(w) && goes_on(w) && pass(w) > 0)
		;
	w->cut = false;
	batch = w->batch;
	if (w->ending < 0)
		return (int)batch; /* dispatch has submitted what came before the failure */
	/* Also of a worker that is never idle. */
	leaves = stash__mailbox_reap(w);
	if (batch == 0 && !leaves && !stash__records_due(w) && w->touched_ways == 0)
		return 0;
	if (batch > 0 && w->alone < ALONE)
		w->alone++;
	atomic_store_explicit(&w->bell_page->crowd, w->alone < ALONE ? 2 : 1, memory_order_relaxed);
	result = stash__submit(w, 0);
	if (result < 0)
		return result;
	if (batch > 0)
		measure(w, batch);
	w->idle_since = w->now;
	return batch > 0 ? (int)batch : 1; /* rows were deleted, perhaps not all */
}

/* Whether there is anything to do; control messages are poll's business. */
static bool
ready(struct stash_worker *w)
{
	if (stash__crash_told_to_stop() || stash__post_waits(w) || stash__task_waits(w) || stash__record_waits(w) ||
	    stash__names_wait(w) || stash__way_ready(w) || w->touched_ways > 0)
		return true;
	if (w->first_pending < w->npending &&
	    w->pending[w->first_pending].needs <= atomic_load_explicit(&w->in.page->durable, memory_order_acquire))
		return true;
	for (size_t i = 0; i < w->nmailboxes; i++)
		if (stash__mailbox_ready(w->mailboxes[i]))
			return true;
	return false;
}

/* Whether a client that runs on another core is likely to be back within the time that may be spent looking. */
static bool
may_spin(const struct stash_worker *w)
{
	uint32_t core, mine = atomic_load_explicit(&w->bell_page->core, memory_order_relaxed);

	if (w->start.spin_ns <= 0 || w->alone < ALONE || w->last == NULL || w->last_gap > GAP_SPINS * w->start.spin_ns)
		return false;
	core = atomic_load_explicit(&w->last->channel.page->client_core, memory_order_relaxed);
	return core != 0 && core != mine;
}

/* Looks for a bounded time: true if there is something. */
static bool
spin(struct stash_worker *w)
{
	int64_t until = w->now + w->start.spin_ns;

	do {
		for (int i = 0; i < 16; i++) {
			if (ready(w))
				return true;
			stash__pause();
		}
		w->now = stash__now_ns();
	} while (w->now < until);
	return false;
}

/* libevent's way of sleeping, for a worker that has sockets of its own. */
static int
events_sleep(struct stash_worker *w, int64_t deadline)
{
	int64_t ns = deadline == INT64_MAX ? INT64_MAX : deadline - stash__now_ns();
	struct timeval tv = { 0, 0 };

	if (ns > 0 && ns != INT64_MAX) {
		tv.tv_sec = ns / STASH__NS_PER_S;
		tv.tv_usec = (ns % STASH__NS_PER_S + 999) / 1000;
	}
	/* One for all sleeps: most end before the deadline, and it moves. */
	if (ns != INT64_MAX)
		(void)event_add(w->alarm, &tv);
	(void)event_base_loop(w->events, EVLOOP_ONCE);
	(void)event_del(w->alarm);
	stash__bell_clear(w->bell);
	return 15;
}

int
stash__worker_sleep(struct stash_worker *w, uint32_t phase, int64_t deadline, bool (*look)(struct stash_worker *))
{
	const int others[] = { w->control, phase == STASH__PHASE_IDLE ? w->task_epoll : -1, w->lines };
	struct stash__box *box = w->out.box;
	uint32_t before = atomic_load_explicit(&box->phase, memory_order_relaxed);
	int mask = 0;

	/* A callback that waits is the same callback still, begun when it began. */
	if (w->in_callback)
		atomic_store_explicit(&box->phase, phase, memory_order_relaxed);
	else
		stash__worker_phase(w, phase);
	stash__bell_doze(&w->bell_page->asleep);
	if (!look(w))
		mask = w->events != NULL && phase == STASH__PHASE_IDLE ?
		    events_sleep(w, deadline) :
		    stash__bell_poll_more(w->bell, others, deadline);
	stash__bell_rise(&w->bell_page->asleep);
	atomic_store_explicit(&w->bell_page->core, stash__core(), memory_order_relaxed);
	atomic_store_explicit(
	    &box->waits, atomic_load_explicit(&box->waits, memory_order_relaxed) + 1, memory_order_relaxed);
	w->now = stash__now_ns();
	if (w->in_callback)
		atomic_store_explicit(&box->phase, before, memory_order_relaxed);
	else
		stash__worker_phase(w, STASH__PHASE_BETWEEN);
	w->last_control = w->now;
	if (mask & 4)
		stash__task_collect(w);
	if (mask & 8)
		stash__mailbox_heard(w);
	return mask & 2 ? stash__control_read(w) : STASH_OK;
}

static int64_t
next_due(struct stash_worker *w)
{
	int64_t timer = stash__timer_next(w), task = stash__task_next(w), request = stash__record_deadline(w);
	int64_t first = timer < task ? timer : task, room = stash__room_due(w);

	first = first < request ? first : request;
	return first < room ? first : room;
}

/* With nothing to do: a look, a sleep. */
static int
idle(struct stash_worker *w)
{
	int result = STASH_OK;

	if (!may_spin(w) || !spin(w))
		result = stash__worker_sleep(w, STASH__PHASE_IDLE, next_due(w), ready);
	w->last_gap = w->now - w->idle_since;
	return result;
}

/* What a sleep would have found, for a worker that has no time to sleep. */
static int
look_around(struct stash_worker *w)
{
	w->last_control = w->now;
	atomic_store_explicit(&w->bell_page->core, stash__core(), memory_order_relaxed);
	stash__task_collect(w);
	if (w->events != NULL) {
		(void)event_base_loop(w->events, EVLOOP_NONBLOCK);
		stash__bell_clear(w->bell);
	}
	stash__mailbox_heard(w);
	return stash__control_read(w);
}

/* What its predecessor left to be done may answer a client: that one's channel comes first. */
static int
await_channels(struct stash_worker *w)
{
	int result = stash__control_read(w);

	while (result >= 0 && w->base->nrecords > 0 && !w->ways_known && !w->closing && !stash__crash_told_to_stop())
		result = stash__worker_sleep(
		    w, STASH__PHASE_WAITING, stash__now_ns() + CHANNELS_LOOK, stash__ways_are_known);
	return result;
}

int
stash__worker_loop(struct stash_worker *w)
{
	int result = await_channels(w), again;

	while (result >= 0 && w->ending == 0) {
		result = serve(w);
		if (result < 0 || w->ending != 0)
			break;
		stash__publish_pending(w);
		stash__task_tend(w);
		if ((w->grown || w->no_room) && (again = stash__room_tend(w)) < 0)
			result = again;
		else if (result == 0)
			result = idle(w);
		else if (w->now - w->last_control > CONTROL_EVERY)
			result = look_around(w);
		if (result >= 0 && w->unsent < 0)
			result = stash__fail(w->unsent, "what an event's handler has sent can't be put into the slot");
		if (stash__crash_told_to_stop())
			w->closing = true;
		if (w->closing && w->ending == 0) {
			atomic_store(&w->out.box->asked, 3);
			w->ending = STASH_STOP;
		}
	}
	return result < 0 && w->ending >= 0 ? result : STASH_OK;
}
