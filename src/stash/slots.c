/* SPDX-License-Identifier: ISC */
/*
 * slots.c: the table of slots, their files and their maps; writing a base.  A slot's in half is made last and
 * deleted first, so that what has one is whole.  The stash writes only in halves; an out half is its worker's,
 * and is touched here only when that one is dead and has damaged it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/log.h"
#include "base/point.h"
#include "shm/bell.h"
#include "shm/map.h"
#include "stash/inside.h"

static int
slot_cmp(const struct slot *a, const struct slot *b)
{
	return strcmp(a->name, b->name);
}

RB_GENERATE(slots, slot, by_name, slot_cmp)

/* ---- the table ---- */

struct slot *
stash__slot_find(struct stash *s, const char *name)
{
	struct slot key;

	strlcpy(key.name, name, sizeof key.name);
	return RB_FIND(slots, &s->slots, &key);
}

struct slot *
stash__slot_add(struct stash *s, const char *name)
{
	struct slot *slot = calloc(1, sizeof *slot);

	if (slot == NULL) {
		stash__fail(STASH_E_NOMEM, "no memory for the slot of %s", name);
		return NULL;
	}
	strlcpy(slot->name, name, sizeof slot->name);
	slot->bell = slot->out.fd = slot->in.fd = -1;
	slot->persist = true;
	RB_INSERT(slots, &s->slots, slot);
	TAILQ_INSERT_TAIL(&s->sleeping, slot, turn);
	s->nslots++;
	return slot;
}

void
stash__slot_remove(struct stash *s, struct slot *slot)
{
	RB_REMOVE(slots, &s->slots, slot);
	TAILQ_REMOVE(slot->active ? &s->active : &s->sleeping, slot, turn);
	if (slot->unsaved)
		TAILQ_REMOVE(&s->unsaved, slot, waiting);
	s->nslots--;
	stash__out_unmap(&slot->out);
	stash__in_unmap(&slot->in);
	stash__bell_page_unmap(slot->bell_page);
	if (slot->bell >= 0)
		close(slot->bell);
	free(slot->rows);
	free(slot->records);
	free(slot->touched);
	free(slot->stored);
	free(slot);
}

int
stash__slot_rows(struct slot *slot, uint32_t rows)
{
	uint32_t room = slot->room == 0 ? STASH__ROWS_MIN : slot->room;
	struct stash__row *larger;
	uint64_t *touched;

	if (rows <= slot->room)
		return STASH_OK;
	while (room < rows)
		room *= 2;
	larger = reallocarray(slot->rows, room, sizeof *larger);
	if (larger != NULL)
		slot->rows = larger;
	touched = reallocarray(slot->touched, room, sizeof *touched);
	if (touched != NULL)
		slot->touched = touched;
	if (larger == NULL || touched == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for %u channels of %s", room, slot->name);
	memset(slot->rows + slot->room, 0, (room - slot->room) * sizeof *larger);
	memset(slot->touched + slot->room, 0, (room - slot->room) * sizeof *touched);
	slot->room = room;
	return STASH_OK;
}

/* ---- files ---- */

int
stash__slot_file_open(const struct stash *s, const char *name, const char *half, int flags)
{
	char file[STASH__SLOT_FILE_MAX];
	int fd;

	stash__slot_file(file, name, half);
	fd = openat(s->slot_dir, file, flags | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 ? fd : stash__fail_errno("cannot open %s in the slot directory", file);
}

void
stash__slot_unlink(const struct stash *s, const char *name)
{
	static const char *const halves[] = { "in", "bell", "fifo", "out" };
	char file[STASH__SLOT_FILE_MAX];

	for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
		stash__slot_file(file, name, halves[i]);
		if (unlinkat(s->slot_dir, file, 0) == 0 || errno == ENOENT)
			continue;
		stash__log(LOG_WARNING, "cannot delete %s in the slot directory: %s", file, strerror(errno));
		/* An in half without the others would be no slot, and stop the next start. */
		if (i == 0)
			return;
	}
}

/* Writes a field of the out half of a dead worker. */
static int
mend_field(int fd, size_t offset, const void *value, size_t len)
{
	return pwrite(fd, value, len, (off_t)offset) == (ssize_t)len ? STASH_OK :
								       stash__fail_errno("cannot mend a slot");
}

/* As the header of an out half is to be. */
static void
make_header(const struct stash *s, struct stash__out_page *page)
{
	memset(page, 0, sizeof *page);
	page->magic = STASH__MAGIC_OUT;
	page->format = STASH__SLOT_FORMAT;
	memcpy(page->boot_id, s->origin.boot_id, STASH__ID);
	memcpy(page->store_id, s->origin.store_id, STASH__ID);
}

bool
stash__slot_is_damaged(const struct stash *s, const struct slot *slot)
{
	const struct stash__out_page *page = slot->out.page;
	struct stash__out_page good;

	make_header(s, &good);
	return page->magic != good.magic || page->format != good.format ||
	    memcmp(page->boot_id, good.boot_id, STASH__ID) != 0 ||
	    memcmp(page->store_id, good.store_id, STASH__ID) != 0 || atomic_load(&page->ring) != slot->out.ring_word ||
	    atomic_load(&page->out_tail) != slot->base.out_head ||
	    atomic_load(&page->owner) > slot->base.fence + STASH__OWNER_AHEAD;
}

/* There is nothing in the ring that counts, so it may stand anywhere: all of the file is ring. */
int
stash__slot_mend(struct stash *s, struct slot *slot)
{
	struct stash__out_page page;
	uint64_t bytes = 0, ring, tail = slot->base.out_head, owner = slot->base.fence + 1;
	int fd = stash__slot_file_open(s, slot->name, "out", O_RDWR), result;

	if (fd < 0)
		return fd;
	result = stash__file_bytes(fd, &bytes, slot->name);
	if (result == STASH_OK && bytes < STASH__OUT_RING + STASH__ENTRIES_MIN)
		result = stash__fail(STASH_E_CORRUPT, "the slot of %s is cut short", slot->name);
	ring = STASH__RING(STASH__OUT_RING, bytes - STASH__OUT_RING);
	make_header(s, &page);
	if (result == STASH_OK && slot->out.page != NULL &&
	    atomic_load(&slot->out.page->owner) > slot->base.fence + STASH__OWNER_AHEAD)
		result = mend_field(fd, offsetof(struct stash__out_page, owner), &owner, sizeof owner);
	if (result == STASH_OK)
		result = mend_field(fd, 0, &page, offsetof(struct stash__out_page, ring));
	if (result == STASH_OK)
		result = mend_field(fd, offsetof(struct stash__out_page, ring), &ring, sizeof ring);
	if (result == STASH_OK)
		result = mend_field(fd, offsetof(struct stash__out_page, out_tail), &tail, sizeof tail);
	close(fd);
	return result;
}

static int
map_out(struct stash *s, struct slot *slot)
{
	int fd = stash__slot_file_open(s, slot->name, "out", O_RDONLY), result;

	if (fd < 0)
		return fd;
	result = stash__out_map(&slot->out, fd, false, &s->origin);
	if (result == STASH_E_CORRUPT || result == STASH_E_FORMAT) {
		stash__log(LOG_ERR, "the slot of %s is damaged, what its worker handed in last is lost: %s", slot->name,
		    stash_errmsg());
		slot->broken = true;
		result = stash__slot_mend(s, slot);
		if (result == STASH_OK)
			result = stash__out_map(&slot->out, fd, false, &s->origin);
	}
	close(fd);
	slot->out.fd = -1;
	return result;
}

static int
map_in(struct stash *s, struct slot *slot)
{
	int fd = stash__slot_file_open(s, slot->name, "in", O_RDWR), result;

	if (fd < 0)
		return fd;
	result = stash__in_map(&slot->in, fd, true, &s->origin);
	close(fd);
	slot->in.fd = -1;
	return result;
}

static int
map_bell_page(struct stash *s, struct slot *slot)
{
	int fd = stash__slot_file_open(s, slot->name, "bell", O_RDONLY);

	if (fd < 0)
		return fd;
	slot->bell_page = stash__bell_page_map(fd, false);
	close(fd);
	return slot->bell_page != NULL ? STASH_OK : STASH_E_CORRUPT;
}

/* Takes the fold so far out of the base. */
static int
take_base(struct slot *slot)
{
	struct stash__base *base;
	int result = stash__base_copy(&slot->in, &base);

	if (result < 0)
		return result;
	slot->base = *base;
	result = stash__slot_rows(slot, base->nrows + 1); /* never none */
	if (result == STASH_OK)
		memcpy(slot->rows, stash__base_rows(base), base->nrows * sizeof *slot->rows);
	if (result == STASH_OK)
		result = stash__records_take(slot, base);
	free(base);
	slot->writer = slot->base.fence;
	slot->persist = atomic_load(&slot->in.page->no_persist) == 0;
	slot->history = atomic_load(&slot->in.page->history);
	slot->durable = atomic_load(&slot->in.page->durable);
	return result;
}

int
stash__slot_map(struct stash *s, struct slot *slot)
{
	int result = map_in(s, slot);

	if (result == STASH_OK)
		result = take_base(slot);
	if (result == STASH_OK)
		result = map_out(s, slot);
	if (result == STASH_OK)
		result = map_bell_page(s, slot);
	return result;
}

/* Files of a new slot; the in half gets its first base later. */
int
stash__slot_make(struct stash *s, struct slot *slot, uint64_t ring_bytes, uint64_t image_bytes)
{
	char file[STASH__SLOT_FILE_MAX];
	int fd = -1, result;

	stash__slot_file(file, slot->name, "out");
	result = stash__out_make(s->slot_dir, file, &s->origin, ring_bytes, &fd);
	if (result == STASH_OK) {
		result = stash__out_map(&slot->out, fd, false, &s->origin);
		slot->out.fd = -1;
		close(fd);
	}
	stash__slot_file(file, slot->name, "bell");
	if (result == STASH_OK)
		result = stash__bell_page_make(s->slot_dir, file, &fd);
	if (result == STASH_OK) {
		slot->bell_page = stash__bell_page_map(fd, false);
		close(fd);
		result = slot->bell_page == NULL ? STASH_E_SYSTEM : STASH_OK;
	}
	stash__slot_file(file, slot->name, "in");
	if (result == STASH_OK)
		result = stash__in_make(s->slot_dir, file, &s->origin, slot->base.nrows, image_bytes, &fd);
	if (result == STASH_OK) {
		result = stash__in_map(&slot->in, fd, true, &s->origin);
		slot->in.fd = -1;
		close(fd);
	}
	return result;
}

/* ---- bases ---- */

/* The selected base; written by this process alone. */
static const struct stash__base *
current(const struct slot *slot)
{
	uint32_t now = atomic_load_explicit(&slot->in.page->base_now, memory_order_relaxed) & 1;

	return (const struct stash__base *)((const unsigned char *)slot->in.page +
	    STASH__RING_OFFSET(slot->in.page->bases[now]));
}

const unsigned char *
stash__slot_image(const struct slot *slot)
{
	return stash__base_image(current(slot));
}

/* By half at least: what a base outgrows stays in the file, unused. */
int
stash__slot_reserve(struct stash *s, struct slot *slot, uint32_t rows, uint64_t payload)
{
	uint32_t idle = 1 - (atomic_load_explicit(&slot->in.page->base_now, memory_order_relaxed) & 1);
	uint64_t room = STASH__RING_BYTES(slot->in.page->bases[idle]), need = stash__base_bytes(rows, payload);
	int result;

	if (need <= room)
		return STASH_OK;
	if (need < room + room / 2)
		payload += room + room / 2 - need;
	slot->in.fd = stash__slot_file_open(s, slot->name, "in", O_RDWR);
	if (slot->in.fd < 0)
		return slot->in.fd;
	result = stash__in_grow(&slot->in, rows, payload);
	close(slot->in.fd);
	slot->in.fd = -1;
	return result;
}

void
stash__slot_publish(struct stash *s, struct slot *slot, const void *image)
{
	int result = stash__base_write(
	    &slot->in, &slot->base, slot->rows, slot->records, image != NULL ? image : stash__slot_image(slot));

	STASH_ASSERT(result == STASH_OK); /* room was reserved */
	STASH_POINT("stash_before_turn");
	stash__base_turn(&slot->in);
	STASH_POINT("stash_after_turn");
	atomic_store_explicit(&slot->in.page->out_head, slot->base.out_head, memory_order_release);
	stash__slot_note(s, slot);
	stash__slot_wake(slot);
}

void
stash__slot_wake(const struct slot *slot)
{
	const struct stash__out *out = &slot->out;

	if (slot->bell < 0)
		return;
	/* The fence pairs with the worker's: it says what it waits for before it says that it sleeps. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&out->page->wanted, memory_order_relaxed) != 0 ||
	    atomic_load_explicit(&out->box->phase, memory_order_relaxed) == STASH__PHASE_WAITING)
		stash__bell_wake(&slot->bell_page->asleep, slot->bell);
}

void
stash__slot_set_durable(struct slot *slot, uint64_t number)
{
	slot->durable = number;
	atomic_store_explicit(&slot->in.page->durable, number, memory_order_release);
}

void
stash__slot_note(struct stash *s, struct slot *slot)
{
	bool unsaved = slot->persist && slot->base.changed > slot->durable && slot->base.changed > slot->refused;

	if (!slot->persist)
		stash__slot_set_durable(slot, slot->base.entry); /* nobody waits for a disk that gets nothing */
	if (unsaved == slot->unsaved)
		return;
	slot->unsaved = unsaved;
	if (unsaved)
		TAILQ_INSERT_TAIL(&s->unsaved, slot, waiting);
	else
		TAILQ_REMOVE(&s->unsaved, slot, waiting);
}
