/* SPDX-License-Identifier: ISC */
/*
 * open.c: a slot made from what the store has of a name, or found; grown on request.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/error.h"
#include "shm/map.h"
#include "stash/inside.h"

#define RING_MAX (4 * (uint64_t)STASH_STATE_MAX)

bool
stash__slot_alive(const struct slot *slot)
{
	return atomic_load(&slot->out.page->owner) > slot->base.fence;
}

/* ---- what the store has ---- */

static int
add_stored(void *arg, const struct store_cursor *c)
{
	struct slot *slot = arg;
	struct stored *more;

	if (slot->nstored % 64 == 0) {
		more = reallocarray(slot->stored, slot->nstored + 64, sizeof *more);
		if (more == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for the channels of %s", slot->name);
		slot->stored = more;
	}
	more = &slot->stored[slot->nstored++];
	memset(more, 0, sizeof *more);
	memcpy(more->id, c->channel, STASH__ID);
	more->req_bytes = c->req_bytes;
	more->req_count = c->req_count;
	more->rep_bytes = c->rep_bytes;
	more->rep_count = c->rep_count;
	more->used = true;
	return 0;
}

/* Places of a new slot: as many rows as there are cursors, unless their channels went with an earlier boot. */
static int
make_row(void *arg, const struct store_cursor *c)
{
	struct slot *slot = arg;
	struct stash__row *row;
	int result = stash__slot_rows(slot, slot->base.nrows + 1);

	if (result < 0 || slot->base.nrows >= STASH__PLACES)
		return result;
	row = &slot->rows[slot->base.nrows++];
	memcpy(row->id, c->channel, STASH__ID);
	row->req_bytes = c->req_bytes;
	row->req_count = c->req_count;
	row->rep_bytes = c->rep_bytes;
	row->rep_count = c->rep_count;
	row->uid = c->uid;
	row->used = STASH__USE_IN;
	return add_stored(slot, c);
}

/* The entry number of the stored state; 0: there is none. */
static int
stored_number(struct stash *s, const char *name, uint64_t *number)
{
	struct store_state state;
	int result = store_get_state_head(s->store, name, &state);

	*number = result == STASH_OK ? state.seq : 0;
	store_state_free(&state);
	return result == STASH_E_NOENT ? STASH_OK : result;
}

int
stash__slot_load_stored(struct stash *s, struct slot *slot)
{
	uint64_t number;
	int result;

	if (!slot->persist)
		return STASH_OK;
	result = stored_number(s, slot->name, &number);
	if (result < 0)
		return result;
	if (slot->durable > number)
		return 1;
	if (number > slot->base.entry)
		return 2;
	stash__slot_set_durable(slot, number);
	stash__slot_note(s, slot);
	return store_get_cursors(s->store, slot->name, add_stored, slot);
}

/* An empty base; numbers go on behind the stored one's, or the store would refuse them later. */
static int
load_nothing(struct stash *s, struct slot *slot)
{
	return stored_number(s, slot->name, &slot->base.entry);
}

int
stash__slot_load(struct stash *s, struct slot *slot, struct store_state *state)
{
	int result = store_get_state(s->store, slot->name, state);

	if (result == STASH_E_NOENT)
		return STASH_OK;
	if (result < 0)
		return result;
	slot->base.entry = slot->base.changed = slot->durable = state->seq;
	slot->base.version = state->version;
	slot->base.time = state->committed_ns;
	slot->base.image_len = (uint32_t)state->len;
	slot->base.layout_version = state->layout_version;
	memcpy(slot->base.layout, state->layout, sizeof slot->base.layout);
	return store_get_cursors(s->store, slot->name, s->same_boot ? make_row : add_stored, slot);
}

/* ---- make, find ---- */

/* What never went to the store is behind it; what is to go there from now on isn't. */
static int
set_options(struct stash *s, struct slot *slot, bool persist, uint32_t history)
{
	bool begins = persist && !slot->persist;

	slot->persist = persist;
	slot->history = history;
	atomic_store(&slot->in.page->no_persist, !persist);
	atomic_store(&slot->in.page->history, history);
	if (begins) {
		slot->durable = 0;
		slot->nstored = 0;
		slot->aligned = false;
		return stash__slot_load_stored(s, slot);
	}
	stash__slot_note(s, slot);
	return STASH_OK;
}

static int
make(struct stash *s, struct slot *slot, bool persist, uint32_t history, uint64_t image_bytes, uint64_t ring_bytes)
{
	struct store_state state = { 0 };
	int result = persist ? stash__slot_load(s, slot, &state) : load_nothing(s, slot);

	if (result == STASH_OK)
		result = stash__slot_rows(slot, 1);
	if (result == STASH_OK)
		result = stash__slot_make(s, slot, ring_bytes, image_bytes > state.len ? image_bytes : state.len);
	if (result == STASH_OK) {
		slot->persist = persist;
		(void)set_options(s, slot, persist, history);
		stash__slot_set_durable(slot, persist ? slot->durable : slot->base.entry);
		stash__slot_publish(s, slot, state.len > 0 ? state.data : "");
	}
	store_state_free(&state);
	return result;
}

/* Both bases have to hold the image, and the file of the ring a larger one behind it. */
static int
grow(struct stash *s, struct slot *slot, uint64_t image_bytes, uint64_t ring_bytes)
{
	uint32_t rows = slot->base.nrows < STASH__ROWS_MIN ? STASH__ROWS_MIN : slot->base.nrows;
	uint64_t bytes, end = STASH__RING_OFFSET(slot->out.ring_word) + slot->out.ring_bytes;
	int fd, result = STASH_OK;

	if (image_bytes < slot->base.image_len)
		image_bytes = slot->base.image_len;
	image_bytes = stash__slot_payload(slot, image_bytes);
	for (int i = 0; i < 2 && result == STASH_OK; i++) {
		uint64_t other = STASH__RING_BYTES(slot->in.page->bases[atomic_load(&slot->in.page->base_now) & 1]);

		result = stash__slot_reserve(s, slot, rows, image_bytes);
		if (result == STASH_OK && other < stash__base_bytes(rows, image_bytes))
			stash__slot_publish(s, slot, NULL);
	}
	if (result < 0 || ring_bytes <= slot->out.ring_bytes)
		return result;
	fd = stash__slot_file_open(s, slot->name, "out", O_RDWR);
	if (fd < 0)
		return fd;
	result = stash__file_bytes(fd, &bytes, slot->name);
	if (result == STASH_OK && bytes - end < ring_bytes)
		result = stash__out_grow(fd, ring_bytes, slot->name);
	close(fd);
	return result;
}

int
stash__open(struct stash *s, const char *name, bool persist, uint32_t history, uint64_t image_bytes,
    uint64_t ring_bytes, struct slot **result_slot)
{
	struct slot *slot = stash__slot_find(s, name);
	int result;

	if (image_bytes > STASH_STATE_MAX || ring_bytes > RING_MAX)
		return stash__fail(STASH_E_TOOBIG, "%s: a state of %llu bytes, or a ring of %llu, is too large", name,
		    (unsigned long long)image_bytes, (unsigned long long)ring_bytes);
	if (slot != NULL && slot->closing)
		return stash__fail(STASH_E_BUSY, "the slot of %s is being closed", name);
	*result_slot = slot;
	if (slot != NULL) {
		result = set_options(s, slot, persist, history);
		return result < 0 ? result : grow(s, slot, image_bytes, ring_bytes);
	}
	slot = stash__slot_add(s, name);
	if (slot == NULL)
		return STASH_E_NOMEM;
	result = make(s, slot, persist, history, image_bytes, ring_bytes);
	if (result < 0) {
		stash__slot_unlink(s, name);
		stash__slot_remove(s, slot);
		return result;
	}
	*result_slot = slot;
	return STASH_OK;
}
