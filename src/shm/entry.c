/* SPDX-License-Identifier: ISC */
/*
 * entry.c: entries into a slot's ring (worker) and out of it (stash).
 */
#include <string.h>

#include "base/error.h"
#include "base/point.h"
#include "shm/checksum.h"
#include "shm/slot.h"

uint64_t
stash__entry_bytes(uint32_t npositions, uint64_t payload)
{
	return sizeof(struct stash__entry) + (uint64_t)npositions * sizeof(struct stash__position) +
	    STASH__PAD8(payload);
}

uint64_t
stash__entry_room(const struct stash__out *out, uint64_t out_head)
{
	uint64_t used = atomic_load_explicit(&out->page->out_tail, memory_order_relaxed) - out_head;

	return used <= out->ring_bytes ? out->ring_bytes - used : 0;
}

void
stash__entry_submit(struct stash__out *out, struct stash__entry *head, const struct stash__position *positions,
    const void *records, const void *image)
{
	uint64_t tail = atomic_load_explicit(&out->page->out_tail, memory_order_relaxed);
	uint64_t bytes = stash__entry_bytes(head->npositions, (uint64_t)head->records_bytes + head->image_len);
	unsigned char *at = out->ring + tail % out->ring_bytes, *p = at + sizeof *head;

	head->bytes = (uint32_t)bytes;
	head->checksum = 0;
	memset(at + bytes - 8, 0, 8); /* the padding is under the checksum */
	memcpy(at, head, sizeof *head);
	if (head->npositions > 0)
		memcpy(p, positions, head->npositions * sizeof *positions);
	p += head->npositions * sizeof *positions;
	if (head->records_bytes > 0)
		memcpy(p, records, head->records_bytes);
	p += head->records_bytes;
	if (head->image_len > 0)
		memcpy(p, image, head->image_len);
	head->checksum = stash__checksum(at, bytes, tail);
	memcpy(at, &head->checksum, sizeof head->checksum);
	STASH_POINT("entry_before_tail");
	atomic_store_explicit(&out->page->out_tail, tail + bytes, memory_order_release);
}

int
stash__entry_view(const struct stash__out *out, uint64_t head, uint64_t tail, struct stash__entry_view *view)
{
	const unsigned char *at = out->ring + head % out->ring_bytes;
	const struct stash__entry *e = &view->head;
	uint64_t there = tail - head;

	if (there > out->ring_bytes || there < sizeof *e || head % 8 != 0 || tail % 8 != 0)
		return stash__fail(STASH_E_CORRUPT, "a slot's positions cannot be: %llu to %llu",
		    (unsigned long long)head, (unsigned long long)tail);
	memcpy(&view->head, at, sizeof view->head);
	if (e->bytes > there || e->image_len > STASH_STATE_MAX ||
	    e->bytes != stash__entry_bytes(e->npositions, (uint64_t)e->records_bytes + e->image_len) ||
	    e->records_bytes % 8 != 0 || ((e->flags & STASH__ENTRY_IMAGE) == 0 && e->image_len != 0))
		return stash__fail(
		    STASH_E_CORRUPT, "an entry at %llu has a length that cannot be", (unsigned long long)head);
	if (e->checksum != stash__checksum(at, e->bytes, head))
		return stash__fail(STASH_E_CORRUPT, "an entry at %llu has a wrong checksum", (unsigned long long)head);
	view->positions = (const struct stash__position *)(at + sizeof *e);
	view->records = at + sizeof *e + e->npositions * sizeof(struct stash__position);
	view->image = view->records + e->records_bytes;
	return STASH_OK;
}
