/* SPDX-License-Identifier: ISC */
/*
 * channel.c: rows of channels in a base: made at opening, so that no row is a refusal; deleted by the worker's
 * entry, or by request while no worker lives.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "stash/inside.h"

void
stash__row_free(struct slot *slot, uint32_t place)
{
	memset(&slot->rows[place], 0, sizeof slot->rows[place]);
	while (slot->base.nrows > 0 && slot->rows[slot->base.nrows - 1].used == 0)
		slot->base.nrows--;
}

static bool
find(const struct slot *slot, const uint8_t id[STASH__ID], uint32_t *place)
{
	for (uint32_t i = 0; i < slot->base.nrows; i++) {
		if (slot->rows[i].used != 0 && memcmp(slot->rows[i].id, id, STASH__ID) == 0) {
			*place = i;
			return true;
		}
	}
	return false;
}

/*
 * A free place.  Its last row's deletion is folded, so its worker takes nothing more from there; but the message
 * in hand may still name it, from before: then a death now would be laid on the new channel.  A word that names
 * another place never comes back to this one before the new channel is attached.
 */
static uint32_t
free_place(const struct slot *slot)
{
	uint64_t hand = atomic_load_explicit(&slot->out.box->in_hand, memory_order_acquire);
	uint32_t place = 0;

	while (place < slot->base.nrows &&
	    (slot->rows[place].used != 0 || (hand != 0 && STASH__HAND_PLACE(hand) == place)))
		place++;
	if (place == slot->base.nrows && hand != 0 && STASH__HAND_PLACE(hand) == place)
		place++;
	return place;
}

int
stash__channel_add(
    struct stash *s, struct slot *slot, const uint8_t id[STASH__ID], uint32_t uid, uint32_t use, uint32_t *place)
{
	struct stash__row *row;
	uint32_t nrows;
	int result;

	if (find(slot, id, place))
		return STASH_OK;
	*place = free_place(slot);
	if (*place >= STASH__PLACES)
		return stash__fail(STASH_E_BUSY, "%s has %u channels: it can't have more", slot->name, STASH__PLACES);
	nrows = *place < slot->base.nrows ? slot->base.nrows : *place + 1;
	result = stash__slot_rows(slot, nrows);
	if (result == STASH_OK)
		result = stash__slot_reserve(s, slot, nrows, stash__slot_payload(slot, slot->base.image_len));
	if (result < 0)
		return result;
	row = &slot->rows[*place];
	memset(row, 0, sizeof *row);
	memcpy(row->id, id, STASH__ID);
	row->uid = uid;
	row->used = use;
	slot->base.nrows = nrows;
	stash__slot_publish(s, slot, NULL);
	return STASH_OK;
}

int
stash__channel_drop(struct stash *s, struct slot *slot, const uint8_t id[STASH__ID])
{
	uint32_t place;
	int result;

	if (!find(slot, id, &place))
		return STASH_OK;
	if (stash__slot_alive(slot))
		return stash__fail(
		    STASH_E_BUSY, "%s: an incarnation that isn't retired deletes its channels itself", slot->name);
	result = stash__slot_reserve(s, slot, slot->base.nrows, stash__slot_payload(slot, slot->base.image_len));
	if (result < 0)
		return result;
	stash__row_free(slot, place);
	stash__slot_publish(s, slot, NULL);
	return STASH_OK;
}
