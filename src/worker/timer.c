/* SPDX-License-Identifier: ISC */
/*
 * timer.c: timers of this incarnation, in a tree by due time; their messages are handled in the loop like any other.
 */
#include <stdlib.h>
#include <string.h>

#include <stash/worker.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/name.h"
#include "worker/worker.h"

static int
compare(struct timer *a, struct timer *b)
{
	if (a->due != b->due)
		return a->due < b->due ? -1 : 1;
	return (a->ref > b->ref) - (a->ref < b->ref);
}

/* RB_GENERATE_STATIC wants a macro __unused, which glibc has no more. */
RB_GENERATE_INTERNAL(timers, timer, link, compare, __attribute__((__unused__)) static)

int64_t
stash__timer_next(struct stash_worker *w)
{
	struct timer *first = RB_MIN(timers, &w->timers);

	return first != NULL ? first->due : INT64_MAX;
}

/* The next tick: late ones come as one. */
static void
again(struct stash_worker *w, struct timer *t)
{
	int64_t late = w->now - t->due;

	t->due += (late / t->interval + 1) * t->interval;
	RB_INSERT(timers, &w->timers, t);
}

bool
stash__timer_run(struct stash_worker *w)
{
	struct timer *t = RB_MIN(timers, &w->timers);
	struct stash_msg msg = { .kind = STASH_MSG_TIMER, .attempt = 1 };

	if (t == NULL || t->due > w->now)
		return false;
	RB_REMOVE(timers, &w->timers, t);
	if (t->interval > 0)
		again(w, t);
	msg.tag = t->tag;
	msg.data = t->data;
	msg.len = t->len;
	msg.ref = t->ref;
	w->running = t;
	stash__mailbox_hand(w, NULL);
	stash__dispatch(w, &msg, STASH__HAND(w->start.incarnation, STASH__PLACE_NONE, (uint64_t)t->ref));
	w->running = NULL;
	if (t->interval == 0 || t->cancelled)
		free(t);
	return true;
}

static int
arm(struct stash_worker *w, uint64_t ms, uint64_t interval_ms, const char *tag, const void *data, size_t len,
    int64_t *ref)
{
	struct timer *t;
	int result = w == NULL ? stash__fail(STASH_E_INVAL, "no worker given") : stash__check_tag(tag);

	if (result < 0)
		return result;
	if (ms > (uint64_t)INT64_MAX / STASH__NS_PER_MS / 2 || (data == NULL && len > 0))
		return stash__fail(
		    STASH_E_INVAL, "a timer of %llu ms or its payload cannot be", (unsigned long long)ms);
	if (len > STASH_DATA_MAX)
		return stash__fail(
		    STASH_E_TOOBIG, "a timer's payload of %zu bytes is over the limit of %d", len, STASH_DATA_MAX);
	t = aligned_alloc(16, (sizeof *t + len + 1 + 15) & ~(size_t)15);
	if (t == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a timer");
	*t = (struct timer){ .due = stash__now_ns() + (int64_t)ms * STASH__NS_PER_MS,
		.interval = (int64_t)interval_ms * STASH__NS_PER_MS,
		.ref = w->next_ref++,
		.len = len };
	memcpy(t->tag, tag, strlen(tag) + 1);
	if (len > 0)
		memcpy(t->data, data, len);
	t->data[len] = '\0';
	RB_INSERT(timers, &w->timers, t);
	if (ref != NULL)
		*ref = t->ref;
	return STASH_OK;
}

int
stash_send_after(struct stash_worker *w, uint64_t ms, const char *tag, const void *data, size_t len, int64_t *ref)
{
	return arm(w, ms, 0, tag, data, len, ref);
}

int
stash_send_interval(struct stash_worker *w, uint64_t ms, const char *tag, const void *data, size_t len, int64_t *ref)
{
	if (ms == 0)
		return stash__fail(STASH_E_INVAL, "an interval of 0 ms would never let anything else run");
	return arm(w, ms, ms, tag, data, len, ref);
}

int
stash_cancel_timer(struct stash_worker *w, int64_t ref)
{
	struct timer *t;

	if (w == NULL)
		return stash__fail(STASH_E_INVAL, "no worker given");
	RB_FOREACH(t, timers, &w->timers) {
		if (t->ref != ref)
			continue;
		RB_REMOVE(timers, &w->timers, t);
		if (t == w->running)
			t->cancelled = true; /* an interval, from its own tick */
		else
			free(t);
		return STASH_OK;
	}
	return stash__fail(
	    STASH_E_NOENT, "timer %lld has fired, was cancelled, or was another incarnation's", (long long)ref);
}

void
stash__timer_free_all(struct stash_worker *w)
{
	struct timer *t;

	while ((t = RB_MIN(timers, &w->timers)) != NULL) {
		RB_REMOVE(timers, &w->timers, t);
		free(t);
	}
}
