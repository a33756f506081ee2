/* SPDX-License-Identifier: ISC */
/*
 * base.c: bases written by the stash, and read by anyone without being torn.
 * The writer fills the base that isn't selected, then turns.  A reader copies the selected one and takes the
 * copy if its checksum holds; when the writer has lapped it (two turns while it copied), it tries again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "shm/checksum.h"
#include "shm/slot.h"

#define TRIES 10000

uint64_t
stash__base_bytes(uint32_t nrows, uint64_t payload)
{
	return sizeof(struct stash__base) + (uint64_t)nrows * sizeof(struct stash__row) + STASH__PAD8(payload);
}

/* Where base i stands, as mapped, and how large it may be. */
static struct stash__base *
place(const struct stash__in *in, uint32_t i, uint64_t *room)
{
	uint64_t word = atomic_load_explicit(&in->page->bases[i & 1], memory_order_acquire);
	uint64_t offset = STASH__RING_OFFSET(word), bytes = STASH__RING_BYTES(word);

	if (offset < STASH__IN_BASES || offset > in->bytes || bytes > in->bytes - offset ||
	    bytes < sizeof(struct stash__base))
		return NULL;
	*room = bytes;
	return (struct stash__base *)((unsigned char *)in->page + offset);
}

int
stash__base_write(struct stash__in *in, struct stash__base *head, const struct stash__row *rows, const void *records,
    const void *image)
{
	uint64_t room = 0, bytes = stash__base_bytes(head->nrows, (uint64_t)head->records_bytes + head->image_len);
	uint32_t idle = 1 - (atomic_load_explicit(&in->page->base_now, memory_order_relaxed) & 1);
	struct stash__base *to = place(in, idle, &room);
	unsigned char *p = (unsigned char *)(to + 1);

	if (to == NULL || bytes > room)
		return stash__fail(
		    STASH_E_TOOBIG, "a base of %llu bytes doesn't fit into its slot", (unsigned long long)bytes);
	head->turn++;
	head->checksum = 0;
	memset((unsigned char *)to + bytes - 8, 0, 8);
	memcpy(to, head, sizeof *head);
	if (head->nrows > 0)
		memcpy(p, rows, head->nrows * sizeof *rows);
	p += head->nrows * sizeof *rows;
	if (head->records_bytes > 0)
		memcpy(p, records, head->records_bytes);
	p += head->records_bytes;
	if (head->image_len > 0)
		memcpy(p, image, head->image_len);
	head->checksum = stash__checksum(to, bytes, 0);
	to->checksum = head->checksum;
	return STASH_OK;
}

void
stash__base_turn(struct stash__in *in)
{
	uint32_t now = atomic_load_explicit(&in->page->base_now, memory_order_relaxed) & 1;

	atomic_store_explicit(&in->page->base_now, 1 - now, memory_order_release);
}

/* One try: 1 taken, 0 torn. */
static int
try_copy(const struct stash__base *from, uint64_t room, struct stash__base **copy, uint64_t *size)
{
	struct stash__base head;
	uint64_t bytes;

	memcpy(&head, from, sizeof head);
	bytes = stash__base_bytes(head.nrows, (uint64_t)head.records_bytes + head.image_len);
	if (head.nrows > STASH__PLACES || head.records_bytes % 8 != 0 || bytes > room)
		return 0;
	if (*copy == NULL || bytes > *size) {
		void *larger = realloc(*copy, bytes + 1);
		if (larger == NULL)
			return stash__fail(
			    STASH_E_NOMEM, "no memory for a copy of %llu bytes of a slot", (unsigned long long)bytes);
		*copy = larger;
		*size = bytes;
	}
	memcpy(*copy, from, bytes);
	if (memcmp(*copy, &head, sizeof head) != 0 || head.checksum != stash__checksum(*copy, bytes, 0))
		return 0;
	(*copy)->layout[STASH_NAME_MAX] = '\0'; /* it is read as text, whoever wrote it */
	return 1;
}

int
stash__base_copy(struct stash__in *in, struct stash__base **result)
{
	struct stash__base *copy = NULL;
	uint64_t size = 0;

	for (int i = 0; i < TRIES; i++) {
		uint64_t room = 0;
		const struct stash__base *from;
		int done = stash__in_follow(in);

		if (done == STASH_OK) {
			from = place(in, atomic_load_explicit(&in->page->base_now, memory_order_acquire), &room);
			done = from == NULL ? 0 : try_copy(from, room, &copy, &size);
		}
		if (done == 1) {
			*result = copy;
			return STASH_OK;
		}
		if (done < 0) {
			free(copy);
			return done;
		}
	}
	free(copy);
	return stash__fail(STASH_E_CORRUPT, "the base of a slot fails its checksum");
}

int
stash__base_copy_former(struct stash__in *in, struct stash__base **result)
{
	uint32_t idle = 1 - (atomic_load_explicit(&in->page->base_now, memory_order_acquire) & 1);
	uint64_t size = 0, room = 0;
	const struct stash__base *from = place(in, idle, &room);
	struct stash__base *copy = NULL;
	int done = from == NULL ? 0 : try_copy(from, room, &copy, &size);

	if (done == 1 && copy->turn > 0) {
		*result = copy;
		return STASH_OK;
	}
	free(copy);
	return done < 0 ? done : stash__fail(STASH_E_NOENT, "there is no base but the current one");
}
