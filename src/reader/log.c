/* SPDX-License-Identifier: ISC */
/*
 * Events, in the order of their numbers. A row that can't be read is damage of
 * the store and is told, not skipped.
 */
#include <string.h>

#include "base/error.h"
#include "reader/reader.h"

struct reading {
	uint64_t after;
	int (*fn)(void *arg, const struct stash_event *event);
	void *arg;
};

static int
give(void *arg, const struct store_row *row)
{
	struct reading *r = arg;
	struct stash_event event;
	int result = stash__unpack_event(row->seq, row->value, row->vlen, &event);

	if (result < 0)
		return result;
	return event.seq > r->after ? r->fn(r->arg, &event) : 0;
}

int
stash_store_log(struct stash_store *store, enum stash_log_kind kind, uint64_t after_seq,
    int (*fn)(void *arg, const struct stash_event *event), void *arg)
{
	struct reading r = { after_seq, fn, arg };
	unsigned char from[8];
	struct store_scan scan = {
		.db = STORE_DB_EVENT, .flags = STORE_SCAN_AFTER, .from = from, .from_len = sizeof from
	};
	int result;

	if (fn == NULL || kind < STASH_LOG_EVENTS || kind > STASH_LOG_LETTERS)
		return stash__fail(
		    STASH_E_INVAL, "stash_store_log: %s", fn == NULL ? "fn is NULL" : "there is no such log");
	result = stash__reader_enter(store);
	if (result < 0)
		return result;
	for (size_t i = 0; i < sizeof from; i++)
		from[i] = (unsigned char)(after_seq >> (56 - 8 * i));
	if (kind == STASH_LOG_EVENTS)
		result = stash__reader_scan(store, &scan, give, &r);
	stash__reader_leave(store);
	return result;
}
