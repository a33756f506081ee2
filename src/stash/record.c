/* SPDX-License-Identifier: ISC */
/*
 * record.c: what a slot's transitions have left to be done: added by entries, taken away by entries, and by a retire
 * that sets one aside.  Nothing of an entry is applied before all of it was checked.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "stash/inside.h"

struct cursor {
	const unsigned char *at, *end, *data;
	const char *tag;
	struct stash__record record;
};

static struct cursor
begin(const unsigned char *records, uint32_t bytes)
{
	return (struct cursor){ .at = records, .end = bytes > 0 ? records + bytes : records };
}

static int
next(struct cursor *c)
{
	return stash__record_next(&c->at, c->end, &c->record, &c->tag, &c->data);
}

/* The open record of that id: where it stands; NULL: none. */
static unsigned char *
find(const struct slot *slot, uint64_t id, struct stash__record *r)
{
	struct cursor c = begin(slot->records, slot->base.records_bytes);
	const unsigned char *at = c.at;

	while (next(&c) == 1) {
		if (c.record.id == id) {
			*r = c.record;
			return slot->records + (at - slot->records);
		}
		at = c.at;
	}
	return NULL;
}

static int
broken(const char *why)
{
	return stash__fail(STASH_E_CORRUPT, "an entry %s", why);
}

/* One that is new; last: the id before it. */
static int
check_new(const struct slot *slot, const struct stash__record *r, uint64_t last)
{
	if (r->kind > STASH__RECORD_DOWN || r->tag_len == 0 || r->id <= last || r->id > last + STASH__RECORDS_MAX * 64)
		return broken("leaves something to be done that cannot be");
	if (r->kind == STASH__RECORD_REQUEST &&
	    (r->place >= slot->base.nrows || slot->rows[r->place].used != STASH__USE_OUT))
		return broken("has a request by a channel that is not there");
	return STASH_OK;
}

int
stash__records_check(const struct slot *slot, const unsigned char *records, uint32_t bytes)
{
	struct cursor c = begin(records, bytes);
	uint64_t last = slot->base.last_record, added = 0, done = 0, last_done = 0;
	struct stash__record found;
	int result;

	while ((result = next(&c)) == 1) {
		if (c.record.kind != STASH__RECORD_DONE) {
			result = check_new(slot, &c.record, last);
			last = c.record.id;
			added++;
		} else if (c.record.id <= last_done || find(slot, c.record.id, &found) == NULL)
			result = broken("ends something that was not begun, or twice");
		else {
			last_done = c.record.id;
			done++;
		}
		if (result < 0)
			return result;
	}
	if (result == 0 && slot->base.nrecords + added - done > STASH__RECORDS_MAX * 2)
		return broken("leaves more to be done than can be kept");
	return result;
}

int
stash__records_room(struct slot *slot, size_t more)
{
	size_t need = slot->base.records_bytes + more;
	unsigned char *larger;

	if (need <= slot->records_room)
		return STASH_OK;
	need += need / 2;
	larger = realloc(slot->records, need);
	if (larger == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for %zu bytes of what %s has to do", need, slot->name);
	slot->records = larger;
	slot->records_room = need;
	return STASH_OK;
}

void
stash__record_drop(struct slot *slot, uint64_t id)
{
	struct stash__record r;
	unsigned char *at = find(slot, id, &r);

	if (at == NULL)
		return;
	slot->base.records_bytes -= r.bytes;
	slot->base.nrecords--;
	memmove(at, at + r.bytes, slot->base.records_bytes - (size_t)(at - slot->records));
}

static void
add(struct slot *slot, const unsigned char *at, const struct stash__record *r)
{
	STASH_ASSERT(slot->records != NULL); /* room was made */
	memcpy(slot->records + slot->base.records_bytes, at, r->bytes);
	slot->base.records_bytes += r->bytes;
	slot->base.nrecords++;
	slot->base.last_record = r->id;
	if (r->kind == STASH__RECORD_DOWN && r->number > slot->base.heard)
		slot->base.heard = r->number;
}

uint64_t
stash__records_apply(struct slot *slot, const unsigned char *records, uint32_t bytes)
{
	struct cursor c = begin(records, bytes);
	const unsigned char *at = c.at;
	uint64_t handled = 0;

	while (next(&c) == 1) {
		struct stash__record open;

		if (c.record.kind != STASH__RECORD_DONE) {
			add(slot, at, &c.record);
		} else if (find(slot, c.record.id, &open) != NULL) {
			handled += open.kind != STASH__RECORD_CONTINUE;
			stash__record_drop(slot, c.record.id);
		}
		at = c.at;
	}
	return handled;
}

int
stash__record_find(const struct slot *slot, uint32_t low, uint64_t *id)
{
	struct cursor c = begin(slot->records, slot->base.records_bytes);

	while (next(&c) == 1) {
		if ((uint32_t)c.record.id == low) {
			*id = c.record.id;
			return c.record.kind;
		}
	}
	return -1;
}

int
stash__records_take(struct slot *slot, const struct stash__base *base)
{
	int result;

	slot->base.records_bytes = 0;
	result = stash__records_room(slot, base->records_bytes);
	if (result < 0)
		return result;
	slot->base.records_bytes = base->records_bytes;
	if (base->records_bytes > 0)
		memcpy(slot->records, stash__base_records(base), base->records_bytes);
	return STASH_OK;
}
