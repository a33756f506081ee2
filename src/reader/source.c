/* SPDX-License-Identifier: ISC */
/*
 * Rows of the store, wherever they are to be had: from the stash process while a
 * stashd runs, else from LMDB. Which of the two it is may change between two
 * slices; a scan goes on behind the last key.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "client/client.h"
#include "reader/reader.h"

#define NAP_NS (10 * STASH__NS_PER_MS)
/* One that took longer to say no is there and doesn't answer; for how long it isn't asked again then. */
#define SLOW_NS STASH__NS_PER_S
#define SILENT_NS (10 * STASH__NS_PER_S)

int
stash__reader_online(struct stash_store *store)
{
	struct stash_client_options options = { .size = sizeof options, .wait_ms = STASH__READER_WAIT_MS };
	int64_t began = stash__now_ns();
	int result;

	if (store->client != NULL)
		return 1;
	if (began < store->silent_until)
		return stash__fail(STASH_E_TIMEDOUT, "stashd on %s doesn't answer", store->dir);
	result = stash_client_open(&store->client, store->dir, &options);
	if (result == STASH_OK)
		return 1;
	if (stash__now_ns() - began > SLOW_NS) {
		store->silent_until = stash__now_ns() + SILENT_NS;
		return stash__fail(STASH_E_TIMEDOUT, "%s", stash_errmsg());
	}
	return result == STASH_E_DOWN ? 0 : result;
}

static int
slice_online(
    struct stash_store *store, const struct store_scan *scan, struct stash_buf *rows, struct store_slice *slice)
{
	int result = stash__reader_online(store);

	if (result <= 0)
		return result < 0 ? result : STASH_E_DOWN;
	result = stash__ask_slice(store, scan, rows, slice);
	if (result == STASH_E_DOWN) {
		stash_client_close(store->client);
		store->client = NULL;
	}
	return result;
}

static int
slice_offline(
    struct stash_store *store, const struct store_scan *scan, struct stash_buf *rows, struct store_slice *slice)
{
	int result = STASH_OK;

	if (store->offline == NULL)
		result = stash__offline_get(store->dir, &store->info, &store->offline);
	/* A directory that has a name, but no database yet: nothing was ever committed. */
	if (result == STASH_E_NOENT) {
		memset(slice, 0, sizeof *slice);
		return STASH_OK;
	}
	return result < 0 ? result : store_scan(store->offline, scan, rows, slice);
}

/* One slice. Between a stashd that ends and one that starts neither source may be there for a moment. */
static int
next_slice(struct stash_store *store, const struct store_scan *scan, struct stash_buf *rows, struct store_slice *slice)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	int64_t deadline = stash__deadline_ns(STASH__READER_WAIT_MS);
	int result;

	for (;;) {
		stash__buf_reset(rows);
		result = store->offline == NULL ? slice_online(store, scan, rows, slice) : STASH_E_DOWN;
		if (result == STASH_E_DOWN)
			result = slice_offline(store, scan, rows, slice);
		if (result != STASH_E_BUSY || stash__left_ms(deadline) == 0)
			return result;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	}
}

/* Gives the rows of a slice to fn; keeps the last key, to go on behind it. */
static int
give_rows(
    const struct stash_buf *rows, stash__row_fn *fn, void *arg, unsigned char last[STORE_KEY_MAX], size_t *last_len)
{
	struct stash_view view;
	struct store_row row;
	const void *data;
	size_t len;
	int result;

	result = stash_buf_data(rows, &data, &len);
	if (result < 0)
		return result;
	stash_view_init(&view, data, len);
	while ((result = store_row_next(&view, &row)) == 1) {
		if (row.klen > STORE_KEY_MAX)
			return stash__fail(STASH_E_FORMAT, "a row of the store has a key of %zu bytes", row.klen);
		memcpy(last, row.key, row.klen);
		*last_len = row.klen;
		result = fn(arg, &row);
		if (result != 0)
			return result;
	}
	return result;
}

int
stash__reader_scan(struct stash_store *store, const struct store_scan *scan, stash__row_fn *fn, void *arg)
{
	struct store_scan next = *scan;
	struct store_slice slice;
	struct stash_buf rows;
	unsigned char last[STORE_KEY_MAX];
	int result;

	stash__buf_init(&rows, STASH__BUF_MAX);
	do {
		result = next_slice(store, &next, &rows, &slice);
		if (result == STASH_OK)
			result = give_rows(&rows, fn, arg, last, &next.from_len);
		next.from = last;
		next.flags |= STORE_SCAN_AFTER;
	} while (result == STASH_OK && slice.more && slice.rows > 0);
	stash__buf_fini(&rows);
	return result;
}

int
stash__store_online(struct stash_store *store)
{
	int result = stash__reader_enter(store);

	if (result < 0)
		return result;
	result = stash__reader_online(store);
	stash__reader_leave(store);
	return result;
}

int
stash__store_about(struct stash_store *store, struct stash__about *about)
{
	int result = stash__reader_enter(store);

	if (result < 0)
		return result;
	result = stash__reader_online(store);
	if (result == 0)
		result = stash__fail(STASH_E_DOWN, "no stashd runs on %s", store->dir);
	if (result > 0)
		result = stash__about(store->client, about, STASH__READER_WAIT_MS);
	stash__reader_leave(store);
	return result;
}

int
stash__store_words(struct stash_store *store, const char *name, uint64_t *version, char **words)
{
	int result = stash__reader_enter(store);

	*words = NULL;
	*version = 0;
	if (result < 0)
		return result;
	result = stash__reader_online(store);
	if (result > 0)
		result = stash__ask_words(store, name, version, words);
	if (*words != NULL && **words == '\0') {
		free(*words);
		*words = NULL;
	}
	stash__reader_leave(store);
	return result < 0 ? result : STASH_OK;
}

int
stash__store_rows(struct stash_store *store, enum store_db db, stash__row_fn *fn, void *arg)
{
	struct store_scan scan = { .db = db };
	int result = stash__reader_enter(store);

	if (result < 0)
		return result;
	result = stash__reader_scan(store, &scan, fn, arg);
	stash__reader_leave(store);
	return result;
}

int
stash__store_stat(struct stash_store *store, struct store_stat *stat)
{
	int result = stash__reader_enter(store);

	if (result < 0)
		return result;
	if (store->offline == NULL)
		result = stash__offline_get(store->dir, &store->info, &store->offline);
	if (result == STASH_OK)
		result = store_stat(store->offline, stat);
	stash__reader_leave(store);
	return result;
}
