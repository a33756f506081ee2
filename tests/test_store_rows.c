/* SPDX-License-Identifier: ISC */
/*
 * What goes into the store beside states comes out: cursors, rows, events; scans in slices, and states put
 * together from them.  What must not go in is refused.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <stash/error.h>

#include "base/buf.h"
#include "testlib.h"
#include "testlib_store.h"

/* ---- cursors ---- */

struct cursors {
	size_t count;
	uint64_t sum;
	unsigned char last[STORE_CHANNEL_LEN];
};

static int
see_cursor(void *arg, const struct store_cursor *cursor)
{
	struct cursors *seen = arg;

	if (seen->count > 0)
		ck_assert_int_lt(memcmp(seen->last, cursor->channel, STORE_CHANNEL_LEN), 0);
	memcpy(seen->last, cursor->channel, STORE_CHANNEL_LEN);
	seen->count++;
	seen->sum += cursor->req_count;
	return 0;
}

static void
channel_of(uint8_t channel[STORE_CHANNEL_LEN], unsigned number)
{
	memset(channel, 0, STORE_CHANNEL_LEN);
	channel[14] = (uint8_t)(number >> 8);
	channel[15] = (uint8_t)number;
}

START_TEST(cursors_come_back_in_order)
{
	struct store *store = ts_open(NULL);
	struct cursors seen = { .count = 0 };
	struct store_cursor cursor;
	struct store_batch *batch;

	ts_good(store_begin(store, &batch));
	for (unsigned i = 1; i <= 1000; i++) {
		cursor = (struct store_cursor){
			.seq = 3, .req_bytes = 64 * i, .req_count = i, .rep_bytes = i, .rep_count = i
		};
		channel_of(cursor.channel, i);
		ts_good(store_put_cursor(batch, "worker", &cursor));
	}
	ts_good(store_put_cursor(batch, "workes", &cursor));
	ts_good(store_put_cursor(batch, "work", &cursor));
	ts_good(store_commit(batch));
	ts_good(store_get_cursors(store, "worker", see_cursor, &seen));
	ck_assert_uint_eq(seen.count, 1000);
	ck_assert_uint_eq(seen.sum, 500500);
	store_close(store);
}
END_TEST

static int
keep_cursor(void *arg, const struct store_cursor *cursor)
{
	*(struct store_cursor *)arg = *cursor;
	return 7;
}

START_TEST(cursor_follows_the_entry_number)
{
	struct store_cursor cursor = { .seq = 5,
		.req_bytes = 1,
		.req_count = 2,
		.rep_bytes = 3,
		.rep_count = 4,
		.flags = 5,
		.uid = 1000 },
			    got;
	struct store *store = ts_open(NULL);
	struct store_batch *batch;

	ts_good(store_begin(store, &batch));
	ts_good(store_put_cursor(batch, "worker", &cursor));
	ck_assert_int_eq(store_put_cursor(batch, "worker", &cursor), STORE_PUT_SAME);
	cursor.seq = 4;
	ck_assert_int_eq(store_put_cursor(batch, "worker", &cursor), STORE_PUT_OLD);
	cursor.seq = 6;
	ts_good(store_put_cursor(batch, "worker", &cursor));
	ts_good(store_commit(batch));
	ck_assert_int_eq(store_get_cursors(store, "worker", keep_cursor, &got), 7);
	ck_assert_uint_eq(got.seq, 6);
	ck_assert_uint_eq(got.req_bytes, 1);
	ck_assert_uint_eq(got.req_count, 2);
	ck_assert_uint_eq(got.rep_bytes, 3);
	ck_assert_uint_eq(got.rep_count, 4);
	ck_assert_uint_eq(got.flags, 5);
	ck_assert_uint_eq(got.uid, 1000);
	ts_good(store_begin(store, &batch));
	ts_good(store_del_cursor(batch, "worker", cursor.channel));
	ts_good(store_del_cursor(batch, "worker", cursor.channel));
	ts_good(store_commit(batch));
	ck_assert_int_eq(store_get_cursors(store, "worker", keep_cursor, &got), 0);
	store_close(store);
}
END_TEST

/* ---- rows ---- */

START_TEST(rows_come_back_and_go)
{
	static const enum store_db dbs[] = { STORE_DB_REGISTRY, STORE_DB_TREE, STORE_DB_SCHEMA };
	struct store *store = ts_open(NULL);
	struct store_batch *batch;
	unsigned char key[STORE_KEY_MAX], value[STORE_VALUE_MAX + 1];
	void *got;
	size_t len;

	memset(key, 0xff, sizeof(key));
	memset(value, 'v', sizeof(value));
	for (size_t i = 0; i < 3; i++) {
		ts_good(store_begin(store, &batch));
		ts_good(store_put_row(batch, dbs[i], key, sizeof(key), value, STORE_VALUE_MAX));
		ts_good(store_put_row(batch, dbs[i], "k", 1, NULL, 0));
		ts_bad(store_put_row(batch, dbs[i], "k", 1, value, sizeof(value)), STASH_E_TOOBIG, "allowed");
		ts_bad(store_put_row(batch, dbs[i], "k", 0, value, 1), STASH_E_INVAL, "key of 0");
		ts_bad(store_put_row(batch, dbs[i], value, STORE_KEY_MAX + 1, value, 1), STASH_E_TOOBIG, "key of");
		ts_bad(store_put_row(batch, STORE_DB_STATE, "k", 1, value, 1), STASH_E_INVAL, "rows of the caller");
		ts_good(store_commit(batch));
		ts_good(store_get_row(store, dbs[i], key, sizeof(key), &got, &len));
		ck_assert_uint_eq(len, STORE_VALUE_MAX);
		ck_assert_mem_eq(got, value, len);
		free(got);
		ts_good(store_get_row(store, dbs[i], "k", 1, &got, &len));
		ck_assert_uint_eq(len, 0);
		free(got);
		ts_good(store_begin(store, &batch));
		ts_good(store_del_row(batch, dbs[i], "k", 1));
		ts_good(store_del_row(batch, dbs[i], "k", 1));
		ts_good(store_commit(batch));
		ts_bad(store_get_row(store, dbs[i], "k", 1, &got, &len), STASH_E_NOENT, "\"k\"");
	}
	store_close(store);
}
END_TEST

/* ---- scans ---- */

static size_t
scan_all(struct store *store, struct store_scan scan, size_t *slices, size_t *bytes)
{
	unsigned char last[600];
	struct stash_buf *buf = stash_buf_create();
	struct store_slice slice;
	struct stash_view view;
	struct store_row row;
	const void *data;
	size_t len, rows = 0, in_slice;
	int rc;

	*slices = *bytes = 0;
	do {
		stash__buf_reset(buf);
		ts_good(store_scan(store, &scan, buf, &slice));
		ts_good(stash_buf_data(buf, &data, &len));
		stash_view_init(&view, data, len);
		for (in_slice = 0; (rc = store_row_next(&view, &row)) == 1; in_slice++) {
			if (rows > 0 && scan.db != STORE_DB_EVENT)
				ck_assert_int_ne(memcmp(last, row.key, row.klen), 0);
			memcpy(last, row.key, row.klen);
			scan.from = last;
			scan.from_len = row.klen;
			scan.flags |= STORE_SCAN_AFTER;
			*bytes += row.vlen;
			rows++;
		}
		ck_assert_int_eq(rc, 0);
		ck_assert_uint_eq(in_slice, slice.rows);
		(*slices)++;
	} while (slice.more);
	stash_buf_destroy(buf);
	return rows;
}

START_TEST(scan_goes_in_slices)
{
	struct store *store = ts_open(NULL);
	struct store_batch *batch;
	char key[32];
	size_t slices, bytes;

	ts_good(store_begin(store, &batch));
	for (int i = 0; i < 2500; i++) {
		snprintf(key, sizeof(key), "%s/%04d", i % 2 == 0 ? "even" : "odd", i);
		ts_good(store_put_row(batch, STORE_DB_TREE, key, strlen(key), key, strlen(key)));
	}
	ts_good(store_commit(batch));
	ck_assert_uint_eq(scan_all(store, (struct store_scan){ .db = STORE_DB_TREE }, &slices, &bytes), 2500);
	ck_assert_uint_eq(slices, 3);
	ck_assert_uint_eq(
	    scan_all(store, (struct store_scan){ .db = STORE_DB_TREE, .max_rows = 5000 }, &slices, &bytes), 2500);
	ck_assert_uint_eq(slices, 3);
	ck_assert_uint_eq(
	    scan_all(store,
		(struct store_scan){ .db = STORE_DB_TREE, .prefix = "odd/", .prefix_len = 4, .max_rows = 1 }, &slices,
		&bytes),
	    1250);
	ck_assert_uint_eq(slices, 1250);
	ck_assert_uint_eq(
	    scan_all(store, (struct store_scan){ .db = STORE_DB_TREE, .from = "odd", .from_len = 3 }, &slices, &bytes),
	    1250);
	ck_assert_uint_eq(scan_all(store,
			      (struct store_scan){ .db = STORE_DB_TREE,
				  .from = "even/0002",
				  .from_len = 9,
				  .flags = STORE_SCAN_AFTER,
				  .prefix = "even",
				  .prefix_len = 4 },
			      &slices, &bytes),
	    1248);
	ck_assert_uint_eq(scan_all(store, (struct store_scan){ .db = STORE_DB_TREE, .prefix = "zzz", .prefix_len = 3 },
			      &slices, &bytes),
	    0);
	ck_assert_uint_eq(scan_all(store, (struct store_scan){ .db = STORE_DB_SCHEMA }, &slices, &bytes), 0);
	ck_assert_uint_eq(scan_all(store, (struct store_scan){ .db = STORE_DB_META }, &slices, &bytes), 4);
	store_close(store);
}
END_TEST

START_TEST(scan_bounds_bytes)
{
	struct store *store = ts_open(NULL);
	size_t slices, bytes;

	ts_put(store, "worker", 1, 1000000, 2);
	ck_assert_uint_eq(
	    scan_all(store, (struct store_scan){ .db = STORE_DB_STATE, .max_bytes = 100000 }, &slices, &bytes), 248);
	ck_assert_uint_ge(slices, 10);
	ck_assert_uint_le(slices, 12);
	ck_assert_uint_ge(bytes, 1000000);
	/* One row is always given. */
	ck_assert_uint_eq(
	    scan_all(store, (struct store_scan){ .db = STORE_DB_STATE, .max_bytes = 1 }, &slices, &bytes), 248);
	store_close(store);
}
END_TEST

struct gathered {
	size_t count;
	bool heads;
};

static int
gather_state(void *arg, const struct store_state *state)
{
	struct gathered *gathered = arg;

	gathered->count++;
	if (gathered->heads)
		ck_assert_ptr_null(state->data);
	else
		ts_is(state, state->name, state->seq, 1000 * state->seq);
	return 0;
}

static size_t
gather_all(struct store *store, enum store_db db, bool heads)
{
	struct gathered gathered = { .heads = heads };
	struct store_gather *gather = store_gather_create(db, heads, gather_state, &gathered);
	struct store_scan scan = { .db = db, .max_rows = 7, .flags = heads ? STORE_SCAN_HEADS : 0 };
	struct stash_buf *buf = stash_buf_create();
	unsigned char last[600];
	struct store_slice slice;
	struct stash_view view;
	struct store_row row;
	const void *data;
	size_t len, rows = 0;

	do {
		stash__buf_reset(buf);
		ts_good(store_scan(store, &scan, buf, &slice));
		ts_good(stash_buf_data(buf, &data, &len));
		stash_view_init(&view, data, len);
		while (store_row_next(&view, &row) == 1) {
			ts_good(store_gather_row(gather, &row));
			memcpy(last, row.key, row.klen);
			scan.from = last;
			scan.from_len = row.klen;
			scan.flags |= STORE_SCAN_AFTER;
			rows++;
		}
	} while (slice.more);
	ts_good(store_gather_end(gather));
	if (heads)
		ck_assert_uint_eq(rows, gathered.count);
	store_gather_destroy(gather);
	store_gather_destroy(NULL);
	stash_buf_destroy(buf);
	return gathered.count;
}

START_TEST(scanned_rows_make_states_again)
{
	struct store *store = ts_open(NULL);
	char name[32];

	for (uint64_t i = 1; i <= 20; i++) {
		snprintf(name, sizeof(name), "worker %llu", (unsigned long long)(i % 5));
		ts_put(store, name, i, 1000 * i, 3);
	}
	ck_assert_uint_eq(gather_all(store, STORE_DB_STATE, false), 5);
	ck_assert_uint_eq(gather_all(store, STORE_DB_STATE, true), 5);
	ck_assert_uint_eq(gather_all(store, STORE_DB_HISTORY, false), 15);
	ck_assert_uint_eq(gather_all(store, STORE_DB_HISTORY, true), 15);
	store_close(store);
}
END_TEST

START_TEST(foreign_rows_are_no_states)
{
	struct gathered gathered = { .count = 0 };
	struct store_gather *gather = store_gather_create(STORE_DB_STATE, false, gather_state, &gathered);
	struct store_row row = { .key = "worker\0\0\0\0\0", .klen = 11, .seq = 1, .value = "short", .vlen = 5 };
	struct stash_view view;

	ts_bad(store_gather_row(gather, &row), STASH_E_CORRUPT, "worker");
	row.klen = 10;
	ts_bad(store_gather_row(gather, &row), STASH_E_CORRUPT, "key");
	row.key = "no name there at all";
	ts_bad(store_gather_row(gather, &row), STASH_E_CORRUPT, "key");
	store_gather_destroy(gather);
	stash_view_init(&view, "rubbish", 7);
	ts_bad(store_row_next(&view, &row), STASH_E_FORMAT, "slice");
}
END_TEST

/* ---- events ---- */

START_TEST(event_ring_keeps_the_newest_and_its_size)
{
	struct store_options options = ts_options();
	struct store_batch *batch;
	struct store_stat before, after;
	struct store *store;
	size_t slices, bytes;
	char text[600];
	uint64_t seq, want = 0, from;
	int rounds = 2000 / t_patience();

	options.event_ring = 50;
	store = ts_open(&options);
	memset(text, 'e', sizeof(text));
	memset(&before, 0, sizeof(before));
	for (int round = 0; round < rounds; round++) {
		ts_good(store_begin(store, &batch));
		for (int i = 0; i < 3; i++) {
			ts_good(store_put_event(batch, text, sizeof(text), &seq));
			ck_assert_uint_eq(seq, ++want);
		}
		ts_good(store_commit(batch));
		if (round == 40)
			ts_good(store_stat(store, &before));
	}
	ts_good(store_stat(store, &after));
	ck_assert_uint_eq(after.rows[STORE_DB_EVENT], 50);
	/* A page for the free list may come and go. */
	ck_assert_uint_le(after.file_bytes, before.file_bytes + 8192);
	ck_assert_uint_eq(store_last_event(store), want);
	ck_assert_uint_eq(
	    scan_all(store, (struct store_scan){ .db = STORE_DB_EVENT, .max_rows = 9 }, &slices, &bytes), 50);
	from = htobe64(want - 10);
	ck_assert_uint_eq(
	    scan_all(store, (struct store_scan){ .db = STORE_DB_EVENT, .from = &from, .from_len = 8 }, &slices, &bytes),
	    11);
	store_close(store);
	/* The stored ring counts, whatever the options say now. */
	options.event_ring = 20;
	store = ts_open(&options);
	ts_good(store_begin(store, &batch));
	ts_good(store_put_event(batch, text, 1, &seq));
	ck_assert_uint_eq(seq, want + 1);
	ts_good(store_commit(batch));
	ts_good(store_stat(store, &after));
	ck_assert_uint_eq(after.event_ring, 50);
	ck_assert_uint_eq(after.rows[STORE_DB_EVENT], 50);
	store_close(store);
	ts_good(store_validate(ts_dir(), &options, NULL));
}
END_TEST

START_TEST(event_of_an_aborted_batch_gives_its_number_back)
{
	struct store *store = ts_open(NULL);
	struct store_batch *batch;
	uint64_t seq;

	ts_good(store_begin(store, &batch));
	ts_good(store_put_event(batch, "a", 1, &seq));
	ts_good(store_put_event(batch, "b", 1, NULL));
	store_abort(batch);
	ck_assert_uint_eq(store_last_event(store), 0);
	ts_good(store_begin(store, &batch));
	ts_good(store_put_event(batch, "c", 1, &seq));
	ck_assert_uint_eq(seq, 1);
	ts_good(store_commit(batch));
	ck_assert_uint_eq(store_last_event(store), 1);
	store_close(store);
}
END_TEST

static Suite *
store_rows_suite(void)
{
	Suite *suite = suite_create("store_rows");
	TCase *tc = t_case(suite, "rows", 60);

	tcase_add_test(tc, cursors_come_back_in_order);
	tcase_add_test(tc, cursor_follows_the_entry_number);
	tcase_add_test(tc, rows_come_back_and_go);
	tcase_add_test(tc, scan_goes_in_slices);
	tcase_add_test(tc, scan_bounds_bytes);
	tcase_add_test(tc, scanned_rows_make_states_again);
	tcase_add_test(tc, foreign_rows_are_no_states);
	tc = t_case(suite, "events", 60);
	tcase_add_test(tc, event_ring_keeps_the_newest_and_its_size);
	tcase_add_test(tc, event_of_an_aborted_batch_gives_its_number_back);
	return suite;
}

TEST_MAIN(store_rows_suite)
