/* SPDX-License-Identifier: ISC */
/*
 * States go into the store and come out: of all sizes, replaced, with their history, forgotten in steps; what must not
 * go in is refused.
 */
#include <bsd/string.h>
#include <stdlib.h>
#include <string.h>

#include <stash/error.h>

#include "testlib.h"
#include "testlib_store.h"

/* ---- states ---- */

static const size_t sizes[] = { 0, 1, 64, 2000, 3900, 4080, 4081, 4064, 4065, 8128, 100000 };
#define NSIZES (sizeof(sizes) / sizeof(sizes[0]))

START_TEST(state_of_each_size_comes_back)
{
	struct store *store = ts_open(NULL);
	size_t len = sizes[_i];

	ts_put(store, "worker", 1, len, 0);
	ts_has(store, "worker", 1, len);
	store_close(store);
	store = ts_open(NULL);
	ts_has(store, "worker", 1, len);
	store_close(store);
	ts_good(store_validate(ts_dir(), &(struct store_options){ .map_bytes = ts_options().map_bytes }, NULL));
}
END_TEST

START_TEST(largest_state_comes_back_and_shrinks_away)
{
	struct store_options options = ts_options();
	struct store *store = ts_open(&options);
	struct store_state state = ts_state("worker", 9, (size_t)STASH_STATE_MAX + 1);
	struct store_batch *batch;
	struct store_stat stat;

	ts_put(store, "worker", 1, STASH_STATE_MAX, 0);
	ts_has(store, "worker", 1, STASH_STATE_MAX);
	ts_good(store_begin(store, &batch));
	ts_bad(store_put_state(batch, &state, 0), STASH_E_TOOBIG, "worker");
	ts_good(store_commit(batch));
	ts_put(store, "worker", 2, STASH_STATE_MAX, 0);
	ts_has(store, "worker", 2, STASH_STATE_MAX);
	ts_put(store, "worker", 3, 3, 0);
	ts_has(store, "worker", 3, 3);
	ts_good(store_stat(store, &stat));
	ck_assert_uint_eq(stat.rows[STORE_DB_STATE], 1);
	store_close(store);
	ts_state_done(&state);
	ts_good(store_validate(ts_dir(), &options, NULL));
}
END_TEST

START_TEST(state_of_each_size_replaces_each_other)
{
	struct store *store = ts_open(NULL);
	uint64_t seq = 0;

	for (size_t from = 0; from < NSIZES; from++) {
		for (size_t to = 0; to < NSIZES; to++) {
			ts_put(store, "worker", ++seq, sizes[from], 0);
			ts_put(store, "worker", ++seq, sizes[to], 0);
			ts_has(store, "worker", seq, sizes[to]);
		}
	}
	store_close(store);
	ts_good(store_validate(ts_dir(), &(struct store_options){ .map_bytes = ts_options().map_bytes }, NULL));
}
END_TEST

START_TEST(only_a_higher_entry_number_replaces_a_state)
{
	struct store *store = ts_open(NULL);
	struct store_state old = ts_state("worker", 4, 10), same = ts_state("worker", 5, 11);
	struct store_batch *batch;

	ts_put(store, "worker", 5, 7, 4);
	ts_good(store_begin(store, &batch));
	ck_assert_int_eq(store_put_state(batch, &same, 4), STORE_PUT_SAME);
	ck_assert_int_eq(store_put_state(batch, &old, 4), STORE_PUT_OLD);
	ts_good(store_commit(batch));
	ts_has(store, "worker", 5, 7);
	ts_put(store, "worker", 6, 8, 4);
	ts_has(store, "worker", 6, 8);
	store_close(store);
	ts_state_done(&old);
	ts_state_done(&same);
}
END_TEST

START_TEST(aborted_batch_leaves_nothing)
{
	struct store *store = ts_open(NULL);
	struct store_state state = ts_state("worker", 2, 5000), got;
	struct store_batch *batch;

	ts_put(store, "worker", 1, 5, 0);
	ts_good(store_begin(store, &batch));
	ts_good(store_put_state(batch, &state, 0));
	ts_good(store_put_row(batch, STORE_DB_TREE, "root/a", 6, "spec", 4));
	store_abort(batch);
	ts_has(store, "worker", 1, 5);
	ts_bad(store_get_state(store, "other", &got), STASH_E_NOENT, "other");
	ck_assert_ptr_null(got.owned);
	store_abort(NULL);
	store_close(store);
	store_close(NULL);
	ts_state_done(&state);
}
END_TEST

START_TEST(one_batch_at_a_time)
{
	struct store *store = ts_open(NULL);
	struct store_batch *batch, *other;

	ts_good(store_begin(store, &batch));
	ts_bad(store_begin(store, &other), STASH_E_BUSY, "another batch");
	ts_bad(store_reopen(store), STASH_E_INVAL, "batch is open");
	store_abort(batch);
	ts_good(store_begin(store, &batch));
	ts_good(store_commit(batch));
	store_close(store);
}
END_TEST

START_TEST(longest_name_in_utf8_is_a_name)
{
	/* 66 times a character of three bytes, and two letters: 200 bytes. */
	char name[STASH_NAME_MAX + 1] = "", longer[STASH_NAME_MAX + 2];
	struct store_cursor cursor = { .channel = { 0xff, 0, 0xff }, .seq = 1, .req_count = 2 };
	struct store *store = ts_open(NULL);
	struct store_state state, got;
	struct store_batch *batch;

	for (int i = 0; i < 66; i++)
		strlcat(name, "\xe2\x82\xac", sizeof(name));
	strlcat(name, "ab", sizeof(name));
	ck_assert_uint_eq(strlen(name), STASH_NAME_MAX);
	ts_put(store, name, 1, 9000, 3);
	ts_has(store, name, 1, 9000);
	ts_good(store_begin(store, &batch));
	ts_good(store_put_cursor(batch, name, &cursor));
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	state = ts_state(longer, 1, 1);
	ts_bad(store_put_state(batch, &state, 0), STASH_E_TOOBIG, "too long");
	state.name = "";
	ts_bad(store_put_state(batch, &state, 0), STASH_E_INVAL, "empty");
	state.name = "a/b";
	ts_bad(store_put_state(batch, &state, 0), STASH_E_INVAL, "'/'");
	ts_good(store_commit(batch));
	ts_bad(store_get_state(store, longer, &got), STASH_E_TOOBIG, "too long");
	store_close(store);
	ts_state_done(&state);
	ts_good(store_validate(ts_dir(), &(struct store_options){ .map_bytes = ts_options().map_bytes }, NULL));
}
END_TEST

START_TEST(names_that_begin_alike_are_kept_apart)
{
	static const char *const names[] = { "a", "aa", "a b", "a\xc2\xa0", "aaa" };
	struct store *store = ts_open(NULL);
	struct store_batch *batch;
	struct store_state state;

	for (size_t i = 0; i < 5; i++)
		ts_put(store, names[i], i + 1, 5000 + i, 2);
	ts_good(store_begin(store, &batch));
	ts_good(store_del_state(batch, "a"));
	ts_good(store_commit(batch));
	ts_bad(store_get_state(store, "a", &state), STASH_E_NOENT, "a");
	for (size_t i = 1; i < 5; i++)
		ts_has(store, names[i], i + 1, 5000 + i);
	store_close(store);
}
END_TEST

START_TEST(head_comes_without_data)
{
	struct store *store = ts_open(NULL);
	struct store_state state;

	ts_put(store, "worker", 7, 50000, 0);
	ts_good(store_get_state_head(store, "worker", &state));
	ck_assert_uint_eq(state.seq, 7);
	ck_assert_uint_eq(state.len, 50000);
	ck_assert_uint_eq(state.stored, 1);
	ck_assert_ptr_null(state.data);
	ck_assert_mem_eq(state.extra, "extra", 5);
	store_state_free(&state);
	store_state_free(&state);
	store_state_free(NULL);
	store_close(store);
}
END_TEST

/* ---- history ---- */

struct seen {
	uint64_t seqs[64];
	size_t count, stop_at;
	const char *name;
	bool heads;
	size_t (*len)(uint64_t seq);
};

static size_t
some_len(uint64_t seq)
{
	return seq % 3 == 0 ? 10000 + seq : seq;
}

static int
see(void *arg, const struct store_state *state)
{
	struct seen *seen = arg;

	if (seen->heads)
		ck_assert_ptr_null(state->data);
	else
		ts_is(state, seen->name, state->seq, seen->len(state->seq));
	seen->seqs[seen->count++] = state->seq;
	return seen->count == seen->stop_at ? 42 : 0;
}

static void
history_is(struct store *store, uint64_t newest, size_t count)
{
	struct seen seen = { .name = "worker", .len = some_len };

	ts_good(store_get_history(store, "worker", false, see, &seen));
	ck_assert_uint_eq(seen.count, count);
	for (size_t i = 0; i < count; i++)
		ck_assert_uint_eq(seen.seqs[i], newest - i);
}

START_TEST(history_keeps_the_newest_n)
{
	struct store *store = ts_open(NULL);
	struct seen seen = { .name = "worker", .len = some_len, .stop_at = 2, .heads = true };

	history_is(store, 0, 0);
	for (uint64_t seq = 1; seq <= 40; seq++) {
		ts_put(store, "worker", seq, some_len(seq), 7);
		history_is(store, seq, seq < 7 ? seq : 7);
	}
	ck_assert_int_eq(store_get_history(store, "worker", true, see, &seen), 42);
	ck_assert_uint_eq(seen.count, 2);
	ck_assert_uint_eq(seen.seqs[1], 39);
	store_close(store);
}
END_TEST

START_TEST(history_of_another_length_settles)
{
	static const uint32_t lengths[] = { 7, 3, 16, 8, 0, 5, 1, 10, 4 };
	struct store_options options = ts_options();
	struct store *store = ts_open(NULL);
	struct store_stat stat;
	uint64_t seq = 0;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		/* Twice its length, and what the longest before it may have left, is enough. */
		for (uint32_t n = 0; n < 2 * lengths[i] + 20; n++) {
			seq++;
			ts_put(store, "worker", seq, some_len(seq), lengths[i]);
			ts_has(store, "worker", seq, some_len(seq));
		}
		history_is(store, seq, lengths[i]);
		if (lengths[i] == 0) {
			ts_good(store_stat(store, &stat));
			ck_assert_uint_eq(stat.rows[STORE_DB_HISTORY], 0);
		}
	}
	store_close(store);
	ts_good(store_validate(ts_dir(), &options, NULL));
}
END_TEST

START_TEST(shorter_history_keeps_what_is_newest)
{
	struct store *store = ts_open(NULL);
	struct seen seen = { .name = "worker", .len = some_len };

	for (uint64_t seq = 1; seq <= 13; seq++)
		ts_put(store, "worker", seq, some_len(seq), 16);
	ts_put(store, "worker", 14, some_len(14), 8);
	ts_good(store_get_history(store, "worker", false, see, &seen));
	ck_assert_uint_ge(seen.count, 8);
	for (size_t i = 0; i < 8; i++)
		ck_assert_uint_eq(seen.seqs[i], 14 - i);
	store_close(store);
}
END_TEST

/* ---- forgetting ---- */

START_TEST(forgetting_goes_in_steps_and_leaves_nothing)
{
	struct store_options options = ts_options();
	struct store *store = ts_open(&options);
	struct store_cursor cursor = { .seq = 1 };
	struct store_batch *batch;
	struct store_state state;
	struct store_stat stat;
	int steps = 0, rc;

	/* 740 rows for each image: the state, and three in the history. */
	ts_put(store, "other", 1, 5, 2);
	for (uint64_t seq = 1; seq <= 3; seq++)
		ts_put(store, "worker", seq, 3000000, 3);
	ts_good(store_begin(store, &batch));
	for (unsigned i = 0; i < 300; i++) {
		memcpy(cursor.channel, &i, sizeof(i));
		ts_good(store_put_cursor(batch, "worker", &cursor));
	}
	ts_good(store_commit(batch));
	do {
		ts_good(store_begin(store, &batch));
		rc = store_del_state(batch, "worker");
		ck_assert_int_ge(rc, 0);
		ts_good(store_commit(batch));
		steps++;
		/* Between any two steps the store is whole. */
		store_close(store);
		ts_good(store_validate(ts_dir(), &options, NULL));
		store = ts_open(&options);
	} while (rc == 1);
	ck_assert_int_eq(steps, 4);
	ts_bad(store_get_state(store, "worker", &state), STASH_E_NOENT, "worker");
	ts_good(store_stat(store, &stat));
	ck_assert_uint_eq(stat.rows[STORE_DB_STATE], 1);
	ck_assert_uint_eq(stat.rows[STORE_DB_HISTORY], 1);
	ck_assert_uint_eq(stat.rows[STORE_DB_CURSOR], 0);
	ts_has(store, "other", 1, 5);
	store_close(store);
}
END_TEST

START_TEST(state_stored_amid_a_forgetting_is_whole)
{
	struct store_options options = ts_options();
	struct store *store = ts_open(&options);
	struct store_batch *batch;
	struct store_stat stat;

	/* One step takes the head and most of the rows, and leaves some without a head. */
	ts_put(store, "worker", 9, 5000000, 0);
	ts_good(store_begin(store, &batch));
	ck_assert_int_eq(store_del_state(batch, "worker"), 1);
	ts_good(store_commit(batch));
	ts_put(store, "worker", 1, 9000, 0);
	ts_has(store, "worker", 1, 9000);
	ts_good(store_stat(store, &stat));
	ck_assert_uint_eq(stat.rows[STORE_DB_STATE], 4);
	store_close(store);
	ts_good(store_validate(ts_dir(), &options, NULL));
}
END_TEST

START_TEST(overwriting_keeps_the_file_small)
{
	struct store *store = ts_open(NULL);
	struct store_stat stat;
	uint64_t seq = 0;

	for (int i = 0; i < 200 / t_patience(); i++)
		ts_put(store, "worker", ++seq, 1000 + (size_t)i * 991 % 60000, 2);
	ts_good(store_stat(store, &stat));
	/* Three images of at most 60 KB, of three generations that LMDB has to keep. */
	ck_assert_uint_le(stat.file_bytes, 1000000);
	ck_assert_uint_le(stat.free_bytes, stat.file_bytes);
	ck_assert_uint_eq(stat.quota_bytes, STORE_QUOTA_BYTES);
	ck_assert_uint_ge(stat.txn, seq);
	store_close(store);
}
END_TEST

static Suite *
store_suite(void)
{
	Suite *suite = suite_create("store");
	TCase *tc = t_case(suite, "states", 60);

	tcase_add_loop_test(tc, state_of_each_size_comes_back, 0, (int)NSIZES);
	tcase_add_test(tc, largest_state_comes_back_and_shrinks_away);
	tcase_add_test(tc, state_of_each_size_replaces_each_other);
	tcase_add_test(tc, only_a_higher_entry_number_replaces_a_state);
	tcase_add_test(tc, aborted_batch_leaves_nothing);
	tcase_add_test(tc, one_batch_at_a_time);
	tcase_add_test(tc, longest_name_in_utf8_is_a_name);
	tcase_add_test(tc, names_that_begin_alike_are_kept_apart);
	tcase_add_test(tc, head_comes_without_data);
	tcase_add_test(tc, overwriting_keeps_the_file_small);
	tc = t_case(suite, "history", 60);
	tcase_add_test(tc, history_keeps_the_newest_n);
	tcase_add_test(tc, history_of_another_length_settles);
	tcase_add_test(tc, shorter_history_keeps_what_is_newest);
	tc = t_case(suite, "forget", 60);
	tcase_add_test(tc, forgetting_goes_in_steps_and_leaves_nothing);
	tcase_add_test(tc, state_stored_amid_a_forgetting_is_whole);
	return suite;
}

TEST_MAIN(store_suite)
