/* SPDX-License-Identifier: ISC */
/*
 * entry.c: one entry of a worker: copied out of its ring, validated, applied to the fold in private memory.
 * Nothing is believed before it was copied and its checksum verified over the copy; nothing is applied before
 * all of it was validated.
 */
#include <stdlib.h>
#include <string.h>

#include <stash/version.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/name.h"
#include "shm/checksum.h"
#include "stash/inside.h"

static int
broken(const char *why)
{
	return stash__fail(STASH_E_CORRUPT, "an entry %s", why);
}

/* ---- copy ---- */

static int
make_room(struct copy *copy, size_t bytes)
{
	unsigned char *larger;

	if (bytes <= copy->room)
		return STASH_OK;
	larger = realloc(copy->at, bytes);
	if (larger == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for an entry of %zu bytes", bytes);
	copy->at = larger;
	copy->room = bytes;
	return STASH_OK;
}

/* The worker may write while it is copied: whatever comes of that, the checksum is that of the copy. */
static int
copy_entry(const struct stash__out *out, uint64_t head, uint64_t tail, struct copy *copy)
{
	const unsigned char *from = out->ring + head % out->ring_bytes;
	uint64_t there = tail - head;
	struct stash__entry e;
	int result;

	if (there > out->ring_bytes || there < sizeof e || head % 8 != 0 || tail % 8 != 0)
		return broken("cannot be there: the ring's end is somewhere else");
	memcpy(&e, from, sizeof e);
	if (e.bytes > there || e.bytes < sizeof e)
		return broken("has a length that cannot be");
	result = make_room(copy, e.bytes);
	if (result < 0)
		return result;
	memcpy(copy->at, from, e.bytes);
	memcpy(&e, copy->at, sizeof e);
	if (e.image_len > STASH_STATE_MAX || e.records_bytes % 8 != 0 ||
	    e.bytes != stash__entry_bytes(e.npositions, (uint64_t)e.records_bytes + e.image_len) ||
	    e.bytes > copy->room || ((e.flags & STASH__ENTRY_IMAGE) == 0 && e.image_len != 0))
		return broken("has lengths that do not agree");
	if (e.checksum != stash__checksum(copy->at, e.bytes, head))
		return broken("has a wrong checksum");
	return STASH_OK;
}

static const struct stash__position *
positions_of(const struct copy *copy)
{
	return (const struct stash__position *)(copy->at + sizeof(struct stash__entry));
}

static const unsigned char *
records_of(const struct copy *copy, const struct stash__entry *e)
{
	return (const unsigned char *)(positions_of(copy) + e->npositions);
}

const void *
stash__entry_image(const struct copy *copy)
{
	struct stash__entry e;

	memcpy(&e, copy->at, sizeof e);
	return records_of(copy, &e) + e.records_bytes;
}

/* ---- validate ---- */

/* Whether bytes and frames went on together: no frame without its head's bytes. */
static bool
grown(uint64_t bytes, uint64_t count, uint64_t was_bytes, uint64_t was_count)
{
	uint64_t more = bytes - was_bytes, frames = count - was_count;

	if (bytes < was_bytes || count < was_count || bytes % 8 != 0)
		return false;
	return frames == 0 ? more == 0 : more / sizeof(struct stash__frame) >= frames;
}

/* look: a number that no earlier check had. */
static int
check_positions(struct slot *slot, const struct copy *copy, const struct stash__entry *e, uint64_t look)
{
	const struct stash__position *p = positions_of(copy);

	for (uint32_t i = 0; i < e->npositions; i++, p++) {
		const struct stash__row *row;

		if (p->place >= slot->base.nrows || slot->rows[p->place].used == 0)
			return broken("names a channel that is not there");
		row = &slot->rows[p->place];
		if (slot->touched[p->place] == look)
			return broken("names a channel twice");
		slot->touched[p->place] = look;
		if (!grown(p->req_bytes, p->req_count, row->req_bytes, row->req_count) ||
		    !grown(p->rep_bytes, p->rep_count, row->rep_bytes, row->rep_count))
			return broken("moves a channel's positions as they cannot move");
	}
	return STASH_OK;
}

/* What the image is: copied out of the page, where a stray write may have hit it. */
struct layout {
	char name[STASH_NAME_MAX + 1];
	uint32_t version;
};

static int
take_layout(const struct slot *slot, const struct stash__entry *e, struct layout *layout)
{
	const struct stash__out_page *page = slot->out.page;
	uint64_t version = atomic_load_explicit(&page->layout_version, memory_order_relaxed);

	memcpy(layout->name, page->layout, sizeof layout->name);
	layout->name[STASH_NAME_MAX] = '\0';
	layout->version = (uint32_t)version;
	if ((e->flags & STASH__ENTRY_IMAGE) != 0 && e->layout_sum != 0 &&
	    e->layout_sum != stash__layout_sum(layout->name, sizeof layout->name, version))
		return broken("has an image whose layout was written over");
	if (stash__check_name(layout->name) < 0)
		layout->name[0] = '\0';
	return STASH_OK;
}

static int
check_entry(const struct slot *slot, const struct stash__entry *e)
{
	if (e->number != slot->base.entry + 1)
		return broken("has a number out of turn");
	if (e->incarnation <= slot->base.fence || e->incarnation < slot->writer ||
	    e->incarnation > atomic_load_explicit(&slot->out.page->owner, memory_order_relaxed))
		return broken("is of an incarnation that may not write");
	if (e->version < slot->base.version)
		return broken("goes back to an earlier version");
	if (e->stamp > stash__now_ns())
		return broken("is stamped in the future");
	return STASH_OK;
}

/* ---- apply ---- */

static void
apply_layout(struct slot *slot, const struct layout *layout)
{
	memset(slot->base.layout, 0, sizeof slot->base.layout);
	memcpy(slot->base.layout, layout->name, strlen(layout->name));
	slot->base.layout_version = layout->version;
}

/* Returns how many messages were handled well: one that was set aside is only refused, one's own are counted by who
 * takes them. */
static uint64_t
apply_position(struct slot *slot, const struct stash__position *p)
{
	struct stash__row *row = &slot->rows[p->place];
	uint64_t handled = row->used == STASH__USE_IN ? p->req_count - row->req_count : 0;

	if (row->aside != 0 && row->aside <= p->req_count) {
		row->aside = 0;
		handled--;
	}
	row->req_bytes = p->req_bytes;
	row->req_count = p->req_count;
	row->rep_bytes = p->rep_bytes;
	row->rep_count = p->rep_count;
	if ((p->flags & STASH__POSITION_GONE) != 0)
		stash__row_free(slot, p->place);
	return handled;
}

/* Whether the message that met a predecessor's death is done with. */
static bool
is_past(const struct slot *slot, const struct stash__entry *e)
{
	uint32_t place = slot->base.again_place;

	if (place == STASH__PLACE_NONE)
		return (e->flags & STASH__ENTRY_INIT) == 0;
	if (place == STASH__PLACE_RECORD) {
		uint64_t id;
		return stash__record_find(slot, (uint32_t)slot->base.again_number, &id) < 0;
	}
	return place >= slot->base.nrows || slot->rows[place].used == 0 ||
	    slot->rows[place].req_count >= slot->base.again_number;
}

static void
apply(struct slot *slot, const struct copy *copy, const struct stash__entry *e, const struct layout *layout)
{
	struct stash__base *base = &slot->base;
	const struct stash__position *p = positions_of(copy);
	uint64_t handled = 0;

	base->entry = e->number;
	base->out_head += e->bytes;
	slot->writer = e->incarnation;
	if ((e->flags & STASH__ENTRY_IMAGE) != 0) {
		base->changed = e->number;
		base->version = e->version;
		base->time = stash__time_ns();
		base->image_len = e->image_len;
		apply_layout(slot, layout);
	}
	for (uint32_t i = 0; i < e->npositions; i++)
		handled += apply_position(slot, p++);
	handled += stash__records_apply(slot, records_of(copy, e), e->records_bytes);
	if (handled > 0 && (e->flags & STASH__ENTRY_INIT) == 0)
		base->crashes = 0;
	if ((base->careful != 0 || base->again_attempts != 0) && is_past(slot, e)) {
		base->careful = base->again_attempts = base->again_place = 0;
		base->again_number = 0;
	}
}

int
stash__entry_take(struct stash *s, struct slot *slot, uint64_t tail, int64_t t)
{
	struct stash__entry e;
	struct layout layout;
	int result = copy_entry(&slot->out, slot->base.out_head, tail, &s->entry);

	if (result < 0)
		return result;
	memcpy(&e, s->entry.at, sizeof e);
	result = check_entry(slot, &e);
	if (result == STASH_OK)
		result = take_layout(slot, &e, &layout);
	if (result == STASH_OK)
		result = check_positions(slot, &s->entry, &e, ++s->looks);
	if (result == STASH_OK)
		result = stash__records_check(slot, records_of(&s->entry, &e), e.records_bytes);
	if (result < 0)
		return result;
	if (e.stamp >= t)
		return 0;
	result = stash__records_room(slot, e.records_bytes);
	if (result == STASH_OK)
		result = stash__slot_reserve(s, slot, slot->base.nrows,
		    stash__slot_payload(
			slot, (e.flags & STASH__ENTRY_IMAGE) != 0 ? e.image_len : slot->base.image_len) +
			e.records_bytes);
	if (result < 0)
		return result;
	apply(slot, &s->entry, &e, &layout);
	if ((e.flags & STASH__ENTRY_IMAGE) != 0) {
		struct copy older = s->newest;

		s->newest = s->entry;
		s->entry = older;
	}
	return 1;
}
