/* SPDX-License-Identifier: ISC */
/*
 * state.c: the state between callback and entry: its memory, how it is loaded from what was stored (as it is, decoded,
 * or brought over from another layout), what of it is committed, and what it goes back to when a callback has failed.
 * A plain state is compared and copied around each callback.  One with encode and decode may hold pointers, so it is
 * never copied: its image is made once for each batch, and it goes back by way of decode.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "shm/bell.h"
#include "shm/fields.h"
#include "worker/migrate.h"
#include "worker/worker.h"

#define STORED_WAIT (5 * STASH__NS_PER_S)
#define STORED_LOOK (100 * STASH__NS_PER_MS)

static struct stash_buf *
last_image(struct stash_worker *w)
{
	return &w->encoded[w->encoded_now];
}

/* ---- memory ---- */

/* At least one byte, so that an empty state has an address; the rest is zero. */
static void *
aligned_zero(size_t len)
{
	size_t bytes = (len + 64) & ~(size_t)63;
	void *p = aligned_alloc(64, bytes);

	if (p != NULL)
		memset(p, 0, bytes);
	else
		(void)stash__fail(STASH_E_NOMEM, "no memory for a state of %zu bytes", len);
	return p;
}

int
stash__state_allocate(struct stash_worker *w)
{
	const struct stash_behaviour *b = w->behaviour;

	stash__buf_init(&w->encoded[0], STASH_STATE_MAX);
	stash__buf_init(&w->encoded[1], STASH_STATE_MAX);
	w->state = aligned_zero(b->state_size);
	w->before = b->encode == NULL ? aligned_zero(b->state_size) : NULL;
	w->local = aligned_zero(b->local_size);
	/* What terminate commits after an error is the state before it: there must be an image of that. */
	if (b->encode != NULL && b->commit == STASH_COMMIT_TERMINATE)
		w->batch_max = 1;
	return w->state == NULL || w->local == NULL || (w->before == NULL && b->encode == NULL) ? STASH_E_NOMEM :
												  STASH_OK;
}

void
stash__state_free(struct stash_worker *w)
{
	stash__buf_fini(&w->encoded[0]);
	stash__buf_fini(&w->encoded[1]);
	free(w->state);
	free(w->before);
	free(w->local);
}

/* ---- the behaviour's functions ---- */

/* What one of them returned. */
static int
judge(const struct stash_worker *w, const char *function, int result)
{
	if (result == STASH_OK)
		return STASH_OK;
	if (result > 0)
		return stash__fail(STASH_E_INVAL, "%s of behaviour %s returned %d, which is no result of it", function,
		    w->behaviour->name, result);
	return stash__fail(
	    result, "%s of behaviour %s failed: %s", function, w->behaviour->name, stash_strerror(result));
}

/* With a copy of the bytes, aligned as a state is: they may be a struct of an older layout. */
static int
with_copy(struct stash_worker *w, bool change, const void *data, size_t len, uint32_t layout)
{
	const struct stash_behaviour *b = w->behaviour;
	void *copy = aligned_zero(len);
	int result;

	if (copy == NULL)
		return STASH_E_NOMEM;
	if (len > 0)
		memcpy(copy, data, len);
	if (change)
		result = judge(w, "code_change", b->code_change(layout, copy, len, w->state));
	else
		result = judge(w, "decode", b->decode(copy, len, layout, w->state));
	free(copy);
	return result;
}

/* Makes the image of what the callbacks since the last one have left. */
static int
encode(struct stash_worker *w)
{
	struct stash_buf *last = last_image(w), *next = &w->encoded[1 - w->encoded_now];
	int result;

	stash__buf_reset(next);
	result = judge(w, "encode", w->behaviour->encode(w->state, next));
	if (result == STASH_OK && next->error == STASH_E_TOOBIG)
		result = stash__fail(STASH_E_TOOBIG, "encode of behaviour %s wrote more than %d bytes",
		    w->behaviour->name, STASH_STATE_MAX);
	else if (result == STASH_OK && next->error != STASH_OK)
		result = judge(w, "encode", next->error);
	if (result < 0)
		return result;
	w->unencoded = false;
	if (next->len == last->len && (next->len == 0 || memcmp(next->data, last->data, next->len) == 0))
		return STASH_OK;
	w->encoded_now = 1 - w->encoded_now;
	w->dirty = true;
	w->version++;
	return STASH_OK;
}

/* ---- at the start ---- */

static int
load_same(struct stash_worker *w)
{
	const struct stash__base *base = w->base;
	const struct stash_behaviour *b = w->behaviour;

	if (b->decode != NULL)
		return with_copy(w, false, stash__base_image(base), base->image_len, base->layout_version);
	if (base->image_len != b->state_size)
		return stash__fail(STASH_E_LAYOUT,
		    "the stored state of %s has %u bytes, its behaviour's has %zu under the same layout_version %u: "
		    "raise layout_version",
		    w->start.name, base->image_len, b->state_size, b->layout_version);
	memcpy(w->state, stash__base_image(base), base->image_len);
	return STASH_OK;
}

/* No way at all: why. */
static int
no_way(const struct stash_worker *w, const char *why)
{
	return stash__fail(STASH_E_LAYOUT,
	    "the stored state of %s has layout %s version %u, its behaviour has version %u, and there is no way from "
	    "one to the other: %s",
	    w->start.name, w->base->layout, w->base->layout_version, w->behaviour->layout_version, why);
}

/* By the names of the fields of both layouts. */
static int
load_by_fields(struct stash_worker *w)
{
	const struct stash__base *base = w->base;
	const struct stash_behaviour *b = w->behaviour;
	char why[STASH__ERRMSG_MAX];
	struct stash_field *from;
	int result;

	if (b->fields == NULL)
		return no_way(w, "it has no code_change and no fields");
	result = stash__control_fields(w, base->layout, base->layout_version, base->image_len, &from);
	if (result < 0 && result != STASH_E_FORMAT)
		return result;
	if (from == NULL)
		return no_way(w, "it has no code_change, and no fields are known of what is stored");
	result = stash__migrate(from, stash__base_image(base), base->image_len, b->fields, w->state, b->state_size);
	stash__fields_free(from);
	if (result == STASH_OK)
		return STASH_OK;
	strncpy(why, stash_errmsg(), sizeof why - 1);
	why[sizeof why - 1] = '\0';
	return no_way(w, why);
}

static int
load_other(struct stash_worker *w)
{
	const struct stash__base *base = w->base;
	const struct stash_behaviour *b = w->behaviour;

	w->migrated = true;
	if (b->code_change == NULL && b->decode == NULL)
		return load_by_fields(w);
	return with_copy(w, b->code_change != NULL, stash__base_image(base), base->image_len, base->layout_version);
}

int
stash__state_load(struct stash_worker *w)
{
	const struct stash__base *base = w->base;
	const struct stash_behaviour *b = w->behaviour;
	int result;

	if (base->version == 0)
		return STASH_OK;
	if (strcmp(base->layout, b->name) != 0)
		return stash__fail(STASH_E_LAYOUT,
		    "the stored state of %s has layout %s version %u, its behaviour has %s version %u: "
		    "there is no way from one to the other",
		    w->start.name, base->layout, base->layout_version, b->name, b->layout_version);
	result = base->layout_version == b->layout_version ? load_same(w) : load_other(w);
	if (result < 0)
		return result;
	if (b->encode != NULL)
		return stash_buf_add(last_image(w), stash__base_image(base), base->image_len);
	memcpy(w->before, w->state, b->state_size);
	return STASH_OK;
}

static bool
is_stored(struct stash_worker *w)
{
	return atomic_load_explicit(&w->in.page->durable, memory_order_acquire) >= w->base->changed;
}

/* The older state goes into the history only from the disk: it is waited for, but a full disk keeps nobody from
 * starting. */
static int
wait_stored(struct stash_worker *w)
{
	int64_t until = stash__now_ns() + STORED_WAIT;
	int result = STASH_OK;

	while (result >= 0 && !is_stored(w) && !w->closing && stash__now_ns() < until) {
		atomic_store_explicit(&w->out.page->wanted, w->base->changed, memory_order_relaxed);
		stash__bell_ring(w->stash_bell);
		result = stash__worker_sleep(w, STASH__PHASE_WAITING, stash__now_ns() + STORED_LOOK, is_stored);
	}
	if (!w->start.ack_disk)
		atomic_store_explicit(&w->out.page->wanted, 0, memory_order_relaxed);
	return result;
}

int
stash__state_begun(struct stash_worker *w)
{
	int result = w->behaviour->encode != NULL ? encode(w) : STASH_OK;

	if (result < 0 || !w->migrated)
		return result;
	if (!w->dirty) {
		w->dirty = true;
		w->version++;
	}
	return wait_stored(w);
}

/* ---- around a callback ---- */

void
stash__state_keep(struct stash_worker *w)
{
	size_t n = w->behaviour->state_size;

	if (w->behaviour->encode != NULL) {
		w->unencoded = true;
	} else if (n > 0 && memcmp(w->state, w->before, n) != 0) {
		memcpy(w->before, w->state, n);
		w->dirty = true;
		w->version++;
	}
}

bool
stash__state_whole(const struct stash_worker *w)
{
	return w->behaviour->encode != NULL && w->batch > 1;
}

void
stash__state_restore(struct stash_worker *w)
{
	const struct stash_buf *image = last_image(w);

	if (w->behaviour->encode == NULL) {
		memcpy(w->state, w->before, w->behaviour->state_size);
		return;
	}
	w->unencoded = false;
	memset(w->state, 0, w->behaviour->state_size);
	w->spoiled = with_copy(w, false, image->data, image->len, w->behaviour->layout_version) < 0;
}

/* ---- to be committed ---- */

/* As a callback that failed, but nobody knows by which message: nothing of the batch counts. */
static void
fail(struct stash_worker *w, int result)
{
	char text[STASH__BOX_TEXT];

	strncpy(text, stash_errmsg(), sizeof text - 1);
	text[sizeof text - 1] = '\0';
	stash__crash_note(w, result, text);
	w->ending = result;
	stash__state_restore(w);
	/* Positions are those of the batch, the state isn't: they may not meet in an entry of terminate. */
	w->lost_batch = true;
}

int
stash__state_image(struct stash_worker *w, uint32_t flags, const void **image, size_t *len)
{
	const struct stash_behaviour *b = w->behaviour;
	const struct stash_buf *last = last_image(w);
	int result;

	*image = NULL;
	*len = 0;
	if (w->unencoded) {
		result = encode(w);
		if (result < 0) {
			fail(w, result);
			return result;
		}
		last = last_image(w);
	}
	if (!w->dirty || (b->commit != STASH_COMMIT_EACH && (flags & STASH__ENTRY_LAST) == 0))
		return STASH_OK;
	*image = b->encode == NULL ? w->state : last->len > 0 ? last->data : (const unsigned char *)"";
	*len = b->encode == NULL ? b->state_size : last->len;
	return b->encode == NULL ? STASH_OK : stash__room_for(w, *len);
}
