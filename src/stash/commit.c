/* SPDX-License-Identifier: ISC */
/*
 * commit.c: everybody's changes in one transaction of the store.  Copies are taken with the table lock, right
 * behind a round; the transaction runs without it.  An error means "unknown": the store is opened anew and
 * asked.  Nothing is ever given up: it is tried again until it goes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/point.h"
#include "stash/inside.h"

#define RETRY_MIN_NS (10 * STASH__NS_PER_MS)
#define RETRY_MAX_NS STASH__NS_PER_S
#define STAT_NS STASH__NS_PER_S /* how often the store's size is looked at */
#define MEMORY_KEPT ((size_t)16 << 20)
#define ALIGNED(n) (((n) + 15) & ~(size_t)15)

/* ---- when ---- */

static bool
is_waited_for(const struct slot *slot)
{
	const struct stash__out_page *page = slot->out.page;

	return atomic_load_explicit(&page->ack_disk, memory_order_relaxed) != 0 &&
	    atomic_load_explicit(&page->wanted, memory_order_relaxed) > slot->durable;
}

bool
stash__commit_urgent(const struct stash *s)
{
	const struct slot *slot;

	if (stash__rows_hurry(s))
		return true;
	TAILQ_FOREACH(slot, &s->unsaved, waiting) {
		if (is_waited_for(slot))
			return true;
	}
	return false;
}

int64_t
stash__commit_due(struct stash *s)
{
	int64_t due;

	if (!STAILQ_EMPTY(&s->waiters))
		return 0;
	if (TAILQ_EMPTY(&s->unsaved) && !stash__rows_wait(s))
		return INT64_MAX;
	due = s->urgent ? 0 : s->last_commit + s->commit_interval;
	return due > s->retry_at ? due : s->retry_at;
}

/* ---- what: copies ---- */

static size_t
bytes_of(const struct slot *slot)
{
	return ALIGNED(slot->base.nrows * sizeof *slot->rows) + ALIGNED(slot->base.image_len);
}

static int
make_room(struct job *job, size_t items, size_t bytes)
{
	if (items > job->room_items) {
		struct item *larger = reallocarray(job->items, items, sizeof *larger);

		if (larger == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory to commit %zu states", items);
		job->items = larger;
		job->room_items = items;
	}
	if (job->memory == NULL || bytes > job->room || (job->room > MEMORY_KEPT && bytes < job->room / 4)) {
		free(job->memory);
		job->room = 0;
		job->memory = malloc(bytes + 1);
		if (job->memory == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for %zu bytes of states to commit", bytes);
		job->room = bytes;
	}
	return STASH_OK;
}

static void
copy_slot(struct item *item, struct slot *slot, unsigned char *memory)
{
	const struct stash__base *base = &slot->base;
	unsigned char *image = memory + ALIGNED(base->nrows * sizeof *slot->rows);

	memset(item, 0, sizeof *item);
	item->slot = slot;
	item->history = slot->history;
	item->rows = (const struct stash__row *)memory;
	item->nrows = base->nrows;
	memcpy(memory, slot->rows, base->nrows * sizeof *slot->rows);
	memcpy(image, stash__slot_image(slot), base->image_len);
	item->state.name = slot->name;
	item->state.seq = base->entry;
	item->state.version = base->version;
	item->state.committed_ns = base->time;
	item->state.layout_version = base->layout_version;
	memcpy(item->state.layout, base->layout, sizeof item->state.layout);
	item->state.data = image;
	item->state.len = base->image_len;
}

int
stash__commit_take(struct stash *s)
{
	struct job *job = &s->job;
	struct slot *slot;
	size_t items = 0, bytes = 0;
	int result;

	s->last_commit = s->round;
	STAILQ_CONCAT(&job->waiters, &s->waiters);
	job->nitems = 0;
	TAILQ_FOREACH(slot, &s->unsaved, waiting) {
		items++;
		bytes += bytes_of(slot);
	}
	result = make_room(job, items, bytes);
	if (result < 0)
		return result;
	bytes = 0;
	TAILQ_FOREACH(slot, &s->unsaved, waiting) {
		copy_slot(&job->items[job->nitems++], slot, job->memory + bytes);
		bytes += bytes_of(slot);
	}
	return stash__rows_take(s, job);
}

/* ---- the transaction ---- */

/* One state that the store can't take is left out, so that it doesn't hold up all others. */
static int
write_item(struct store_batch *batch, struct item *item)
{
	int put = store_put_state(batch, &item->state, item->history);

	if (put == STASH_E_CORRUPT || put == STASH_E_INVAL || put == STASH_E_TOOBIG || put == STORE_PUT_OLD) {
		stash__log(LOG_CRIT, "the state of %s can't be stored: %s", item->state.name,
		    put == STORE_PUT_OLD ? "the store has a later one, which isn't this slot's" : stash_errmsg());
		item->refused = true;
		return STASH_OK;
	}
	return put < 0 ? put : stash__cursors_write(batch, item->slot, item->rows, item->nrows, item->state.seq);
}

static int
write_all(struct stash *s, struct job *job)
{
	struct store_batch *batch;
	int result = store_begin(s->store, &batch);

	if (result < 0)
		return result;
	for (size_t i = 0; i < job->nitems && result == STASH_OK; i++)
		result = write_item(batch, &job->items[i]);
	if (result == STASH_OK)
		result = stash__rows_write(batch, job);
	if (result < 0) {
		store_abort(batch);
		return result;
	}
	return store_commit(batch);
}

/* Whether a batch is in the store: all of it is, if one part is. */
static bool
is_there(struct stash *s, const struct job *job)
{
	struct store_state state;
	uint64_t number;
	bool there = false;

	if (job->rows.len > 0)
		return stash__rows_stored(s, &number) == STASH_OK && number >= job->rows_number;
	for (size_t i = 0; i < job->nitems; i++) {
		if (job->items[i].refused)
			continue;
		there = store_get_state_head(s->store, job->items[i].state.name, &state) == STASH_OK &&
		    state.seq >= job->items[i].state.seq;
		store_state_free(&state);
		break;
	}
	return there;
}

/* The commit failed: 0 if it is in the store nevertheless. */
static int
find_out(struct stash *s, struct job *job, int failed)
{
	bool there = store_reopen(s->store) == STASH_OK && is_there(s, job);

	stash__log(LOG_WARNING, "a commit failed (%s); the store was opened anew: what it was to store is %s",
	    stash_strerror(failed), there ? "there" : "not there");
	return there ? STASH_OK : failed;
}

static void
look_at_size(struct stash *s, int64_t now)
{
	struct store_stat stat;

	if (now < s->next_stat || store_stat(s->store, &stat) < 0)
		return;
	s->next_stat = now + STAT_NS;
	atomic_store(&s->status->bytes_used, stat.file_bytes - stat.free_bytes);
	atomic_store(&s->status->bytes_quota, stat.quota_bytes);
}

int
stash__commit_run(struct stash *s)
{
	struct job *job = &s->job;
	int64_t start = stash__now_ns();
	int result = STASH_OK;

	job->took_ns = 0;
	if (job->nitems == 0 && job->rows.len == 0)
		return STASH_OK;
	STASH_POINT("stash_before_commit");
	if (store_failed(s->store))
		result = store_reopen(s->store);
	if (result == STASH_OK)
		result = write_all(s, job);
	if (result < 0 && store_failed(s->store))
		result = find_out(s, job, result);
	if (result < 0)
		return result;
	job->took_ns = stash__now_ns() - start;
	STASH_POINT("stash_after_commit");
	for (size_t i = 0; i < job->nitems; i++)
		if (!job->items[i].refused)
			stash__cursors_done(job->items[i].slot, job->items[i].rows, job->items[i].nrows);
	look_at_size(s, start);
	return STASH_OK;
}

/* ---- afterwards ---- */

static void
report_failure(struct stash *s, int result)
{
	uint32_t was = atomic_exchange(&s->status->store_error, (uint32_t)-result);

	s->retry_delay = s->retry_delay == 0 ? RETRY_MIN_NS : s->retry_delay * 2;
	if (s->retry_delay > RETRY_MAX_NS)
		s->retry_delay = RETRY_MAX_NS;
	s->retry_at = stash__now_ns() + s->retry_delay;
	atomic_store(&s->status->store_full, result == STASH_E_FULL);
	if (was != (uint32_t)-result)
		stash__log(
		    LOG_CRIT, "the store takes nothing, nothing is lost and it is tried again: %s", stash_errmsg());
}

static void
report_success(struct stash *s, struct job *job)
{
	uint32_t was = atomic_exchange(&s->status->store_error, 0);

	s->retry_delay = s->retry_at = 0;
	atomic_store(&s->status->store_full, 0);
	if (was != 0)
		stash__log(LOG_NOTICE, "the store takes what it is given again");
	STASH_POINT("stash_before_report");
	for (size_t i = 0; i < job->nitems; i++) {
		struct item *item = &job->items[i];

		if (item->refused)
			item->slot->refused = item->state.seq;
		else
			stash__slot_set_durable(item->slot, item->state.seq);
		stash__slot_note(s, item->slot);
		stash__slot_wake(item->slot);
	}
	atomic_fetch_add(&s->status->commits, 1);
	atomic_fetch_add(&s->status->commit_ns, (uint64_t)job->took_ns);
}

void
stash__commit_report(struct stash *s, int result)
{
	if (result < 0)
		report_failure(s, result);
	else if (s->job.took_ns > 0)
		report_success(s, &s->job);
	if (result >= 0)
		stash__rows_done(s, &s->job);
	s->job.nitems = 0;
	stash__buf_reset(&s->job.rows);
	stash__wait_report(s, &s->job.waiters, result);
}

void
stash__commit_free(struct stash *s)
{
	free(s->job.items);
	free(s->job.memory);
	stash__buf_fini(&s->job.rows);
}
