/* SPDX-License-Identifier: ISC */
/*
 * Damage to data.mdb, done while nobody has it open: another format version, values with a wrong checksum, flipped
 * bits, lost pages, truncation.  It has to be told of, with the key where there is one, and must never kill the process
 * that opens the store.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/error.h>

#include "store/row.h"
#include "testlib.h"
#include "testlib_store.h"

#define PAGE 4096u

static const uint8_t other_boot[16] = "another boot...";

/* A store with something in each database; closed. */
static void
make_store(void)
{
	struct store *store = ts_open(NULL);
	struct store_cursor cursor = { .channel = "channel", .seq = 1, .req_count = 5 };
	struct store_batch *batch;
	char name[64];

	for (uint64_t i = 1; i <= 60; i++) {
		snprintf(name, sizeof(name), "worker %llu", (unsigned long long)(i % 20));
		ts_put(store, name, i, i % 4 == 0 ? 9000 : 300, 2);
	}
	ts_put(store, "sequence", 1, 64, 4);
	ts_put(store, "big", 1, 20000, 0);
	ts_good(store_begin(store, &batch));
	ts_good(store_put_cursor(batch, "sequence", &cursor));
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "root/child %d", i);
		ts_good(store_put_row(batch, STORE_DB_TREE, name, strlen(name), "a specification of a child", 26));
		ts_good(store_put_row(batch, STORE_DB_REGISTRY, name, strlen(name), "registered", 10));
		ts_good(store_put_event(batch, name, strlen(name), NULL));
	}
	ts_good(store_put_row(batch, STORE_DB_SCHEMA, "layout", 6, "fields", 6));
	ts_good(store_commit(batch));
	store_close(store);
}

/* Opens it as after a power failure. */
static int
open_after_reboot(struct store **store, bool set_aside)
{
	struct store_options options = ts_options();

	options.boot_id = other_boot;
	options.set_aside = set_aside;
	return store_open(store, ts_dir(), &options);
}

/* ---- format ---- */

/* Replaces each copy of this row of meta by one with another payload, under a right checksum. */
static void
patch_meta(const char *key, const void *payload, size_t plen)
{
	size_t len, klen = strlen(key), at = 0, found = 0;
	unsigned char *file = ts_load(&len), *hit, *row;
	struct store_row was;

	while ((hit = memmem(file + at, len - at, key, klen)) != NULL) {
		at = (size_t)(hit - file) + 1;
		row = hit + klen;
		if ((size_t)(row - file) + STORE_ROW_HEAD + plen > len ||
		    store_value_open(STORE_DB_META, key, klen, row, STORE_ROW_HEAD + plen, &was) != 0)
			continue;
		memcpy(row + STORE_ROW_HEAD, payload, plen);
		store_value_seal(row, STORE_DB_META, key, klen, was.seq, plen);
		found++;
	}
	ck_assert_uint_gt(found, 0);
	ts_save(file, len);
	free(file);
}

START_TEST(other_format_is_refused_and_left_alone)
{
	static const unsigned char newer[4] = { 2, 0, 0, 0 };
	struct store_options options = ts_options();
	unsigned char *before, *after;
	size_t len, len_after;
	struct store *store = NULL;

	make_store();
	patch_meta("format", newer, 4);
	ck_assert_int_eq(unlink(ts_path("lock.mdb")), 0);
	before = ts_load(&len);
	options.set_aside = true;
	ts_bad(store_open(&store, ts_dir(), &options), STASH_E_FORMAT, "format 2, this program knows format 1 only");
	options.validate = true;
	ts_bad(store_open(&store, ts_dir(), &options), STASH_E_FORMAT, "format 2");
	options.read_only = true;
	ts_bad(store_open(&store, ts_dir(), &options), STASH_E_FORMAT, "format 2");
	ts_bad(store_validate(ts_dir(), &options, NULL), STASH_E_FORMAT, "format 2");
	ck_assert_ptr_null(store);
	after = ts_load(&len_after);
	ck_assert_uint_eq(len, len_after);
	ck_assert_mem_eq(before, after, len);
	ck_assert_int_ne(access(ts_path("lock.mdb"), F_OK), 0);
	free(before);
	free(after);
}
END_TEST

START_TEST(file_of_another_lmdb_is_refused)
{
	struct store_options options = ts_options();
	unsigned char *file;
	struct store *store;
	size_t len;

	make_store();
	file = ts_load(&len);
	/* In both meta pages: page header, magic, version of the data. */
	file[16 + 4] = file[PAGE + 16 + 4] = 2;
	ts_save(file, len);
	free(file);
	ts_bad(store_open(&store, ts_dir(), &options), STASH_E_FORMAT, "data.mdb");
}
END_TEST

/* ---- values ---- */

/* Flips one bit in each copy of these bytes. */
static void
spoil(const void *bytes, size_t n)
{
	size_t len, found = 0;
	unsigned char *file = ts_load(&len), *at = file;

	while ((at = memmem(at, len - (size_t)(at - file), bytes, n)) != NULL) {
		at[n / 2] ^= 4;
		at += n;
		found++;
	}
	ck_assert_uint_gt(found, 0);
	ts_save(file, len);
	free(file);
}

START_TEST(damaged_state_is_told_by_name)
{
	struct store_state made = ts_state("sequence", 1, 64), newer = ts_state("sequence", 2, 70), got;
	struct store *store = NULL;
	struct store_batch *batch;
	struct store_report report;

	make_store();
	spoil(made.data, made.len);
	store = ts_open(NULL);
	ts_bad(store_get_state(store, "sequence", &got), STASH_E_CORRUPT, "state of sequence");
	ck_assert_ptr_null(got.owned);
	ts_has(store, "worker 1", 41, 300);
	/* What its number was isn't known, so nothing replaces it; others in the batch are stored. */
	ts_good(store_begin(store, &batch));
	ts_bad(store_put_state(batch, &newer, 4), STASH_E_CORRUPT, "state of sequence");
	ts_good(store_put_row(batch, STORE_DB_TREE, "a", 1, "b", 1));
	ts_good(store_commit(batch));
	store_close(store);
	ts_bad(store_validate(ts_dir(), &(struct store_options){ .map_bytes = ts_options().map_bytes }, &report),
	    STASH_E_CORRUPT, "of sequence");
	ts_bad(open_after_reboot(&store, false), STASH_E_CORRUPT, "restore BACKUP");
	/* Forgotten, it can be stored again. */
	store = ts_open(NULL);
	ts_good(store_begin(store, &batch));
	ts_good(store_del_state(batch, "sequence"));
	ts_good(store_put_state(batch, &newer, 4));
	ts_good(store_commit(batch));
	ts_has(store, "sequence", 2, 70);
	store_close(store);
	ts_good(open_after_reboot(&store, false));
	store_close(store);
	ts_state_done(&made);
	ts_state_done(&newer);
}
END_TEST

START_TEST(damaged_chunk_is_told)
{
	struct store_state made = ts_state("big", 1, 20000), got;
	struct store *store;

	make_store();
	spoil((const char *)made.data + 15000, 100);
	store = ts_open(NULL);
	ts_bad(store_get_state(store, "big", &got), STASH_E_CORRUPT, "state of big, chunk 4");
	ts_good(store_get_state_head(store, "big", &got));
	store_state_free(&got);
	store_close(store);
	ts_state_done(&made);
}
END_TEST

START_TEST(damaged_row_ends_a_scan_with_its_key)
{
	struct store_scan scan = { .db = STORE_DB_TREE };
	struct stash_buf *buf = stash_buf_create();
	struct store_slice slice;
	struct store *store;
	void *value;
	size_t len, vlen;
	unsigned char *file;

	make_store();
	file = ts_load(&len);
	for (unsigned nth = 0;; nth++) {
		/* Key and value stand behind each other; there may be older copies, which don't count. */
		size_t at = ts_find(file, len, "root/child 50", 13, nth);

		if (memcmp(file + at + 13 + 16, "a spec", 6) == 0) {
			file[at + 13 + 16] ^= 1;
			break;
		}
	}
	ts_save(file, len);
	free(file);
	store = ts_open(NULL);
	ts_bad(store_scan(store, &scan, buf, &slice), STASH_E_CORRUPT, "tree row \"root/child 50\"");
	ck_assert_uint_gt(slice.rows, 20);
	ts_bad(
	    store_get_row(store, STORE_DB_TREE, "root/child 50", 13, &value, &vlen), STASH_E_CORRUPT, "root/child 50");
	store_close(store);
	stash_buf_destroy(buf);
}
END_TEST

START_TEST(value_at_another_key_is_damaged)
{
	unsigned char row[STORE_ROW_MAX] = { 0 };
	struct store_row got;

	memset(row + STORE_ROW_HEAD, 'p', 7);
	store_value_seal(row, STORE_DB_TREE, "key", 3, 5, 7);
	ts_good(store_value_open(STORE_DB_TREE, "key", 3, row, STORE_ROW_HEAD + 7, &got));
	ck_assert_uint_eq(got.seq, 5);
	ts_bad(store_value_open(STORE_DB_TREE, "kez", 3, row, STORE_ROW_HEAD + 7, &got), STASH_E_CORRUPT, "kez");
	ts_bad(store_value_open(STORE_DB_SCHEMA, "key", 3, row, STORE_ROW_HEAD + 7, &got), STASH_E_CORRUPT, "schema");
	ts_bad(store_value_open(STORE_DB_TREE, "key", 3, row, STORE_ROW_HEAD + 6, &got), STASH_E_CORRUPT, "key");
	ts_bad(store_value_open(STORE_DB_TREE, "key", 3, row, 15, &got), STASH_E_CORRUPT, "15 bytes");
	for (size_t i = 0; i < STORE_ROW_HEAD + 7; i++) {
		row[i] ^= 0x10;
		ts_bad(
		    store_value_open(STORE_DB_TREE, "key", 3, row, STORE_ROW_HEAD + 7, &got), STASH_E_CORRUPT, "key");
		row[i] ^= 0x10;
	}
}
END_TEST

/* ---- the file ---- */

START_TEST(set_aside_on_request_and_begun_anew)
{
	struct store_state state;
	struct store *store = NULL;
	unsigned char *file, *aside;
	size_t len, len_aside;

	make_store();
	file = ts_load(&len);
	memset(file + 5 * PAGE, 0xee, len - 5 * PAGE);
	ts_save(file, len);
	ts_bad(open_after_reboot(&store, false), STASH_E_CORRUPT, "data.mdb");
	ck_assert_ptr_null(store);
	ts_good(open_after_reboot(&store, true));
	ck_assert(store_found(store)->created);
	ck_assert_int_eq(strncmp(store_found(store)->set_aside, "data.mdb.damaged-", 17), 0);
	ts_bad(store_get_state(store, "sequence", &state), STASH_E_NOENT, "sequence");
	ts_put(store, "sequence", 1, 64, 0);
	aside = (unsigned char *)t_read_file(ts_path(store_found(store)->set_aside), &len_aside);
	ck_assert_uint_eq(len, len_aside);
	ck_assert_mem_eq(file, aside, len);
	store_close(store);
	free(file);
	free(aside);
}
END_TEST

/* Any result but a crash is right here, if a damaged value is never given out as good. */
static bool
survives(void)
{
	struct store_options options = ts_options();
	int rc = store_validate(ts_dir(), &options, NULL);

	ck_assert_msg(
	    rc == 0 || rc == STASH_E_CORRUPT || rc == STASH_E_FORMAT, "%s: %s", stash_errname(rc), stash_errmsg());
	return rc == 0;
}

START_TEST(cut_file_is_told)
{
	struct store *store = NULL;
	unsigned char *file;
	size_t len, step;

	make_store();
	file = ts_load(&len);
	step = t_patience() > 4 ? 16 : 3;
	for (size_t pages = 0; pages < len / PAGE / 2; pages += step) {
		ts_save(file, pages * PAGE + (pages % 2) * 100);
		ck_assert(!survives());
		ts_bad(open_after_reboot(&store, false), STASH_E_CORRUPT, "Nothing was changed");
		ck_assert_ptr_null(store);
	}
	ts_save(file, len);
	ck_assert(survives());
	free(file);
}
END_TEST

/* One kind of damage at a place that follows from n. */
static void
damage(unsigned char *file, size_t len, int kind, unsigned n)
{
	size_t pages = len / PAGE, page = 2 + n * 2654435761u % (pages - 2), other = 2 + n * 40503u % (pages - 2);
	unsigned char *at = file + page * PAGE, copy[PAGE];

	switch (kind) {
	case 0:
		file[n * 2654435761u % len] ^= (unsigned char)(1u << n % 8);
		break;
	case 1:
		memset(at, 0, PAGE);
		break;
	case 2:
		memcpy(copy, at, PAGE);
		memcpy(at, file + other * PAGE, PAGE);
		memcpy(file + other * PAGE, copy, PAGE);
		break;
	case 3:
		for (size_t i = 0; i < 512; i++)
			at[n % 8 * 512 + i] = (unsigned char)(i * n + 7);
		break;
	default:
		/* A header field of a page. */
		at[n % 16] ^= (unsigned char)(1u << n % 7);
		break;
	}
}

START_TEST(damage_of_each_kind_kills_nobody)
{
	static const char *const kinds[] = { "bit flipped", "page zeroed", "pages swapped", "sector of garbage",
		"header" };
	unsigned char *file, *copy;
	unsigned told = 0, rounds = t_patience() > 4 ? 3 : 40;
	struct store *store;
	size_t len;

	make_store();
	file = ts_load(&len);
	copy = malloc(len);
	ck_assert_ptr_nonnull(copy);
	for (unsigned n = 0; n < rounds; n++) {
		memcpy(copy, file, len);
		damage(copy, len, _i, n);
		ts_save(copy, len);
		if (!survives()) {
			told++;
			store = NULL;
			ck_assert_int_ne(open_after_reboot(&store, false), 0);
			ck_assert_ptr_null(store);
		}
	}
	/* Much of what it hits is free space or an older copy. */
	printf("%s: %u of %u told of\n", kinds[_i], told, rounds);
	if (rounds >= 40)
		ck_assert_uint_ge(told, rounds / 8);
	free(file);
	free(copy);
}
END_TEST

START_TEST(validation_has_a_time_limit_and_leaves_no_child)
{
	struct store_options options = ts_options();
	struct store_report report;

	make_store();
	options.validate_s = 5 * (uint32_t)t_patience();
	ts_good(store_validate(ts_dir(), &options, &report));
	ck_assert_uint_eq(report.rows[STORE_DB_TREE], 100);
	ck_assert_uint_eq(report.rows[STORE_DB_EVENT], 100);
	ck_assert_uint_eq(report.rows[STORE_DB_CURSOR], 1);
	ck_assert_uint_eq(report.rows[STORE_DB_META], 4);
	/* 22 names, two of history for twenty and one for one of them. */
	ck_assert_uint_eq(report.states, 22 + 41);
	ck_assert_int_gt(report.took_ns, 0);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

static Suite *
store_damage_suite(void)
{
	Suite *suite = suite_create("store_damage");
	TCase *tc = t_case(suite, "format", 60);

	tcase_add_test(tc, other_format_is_refused_and_left_alone);
	tcase_add_test(tc, file_of_another_lmdb_is_refused);
	tc = t_case(suite, "values", 60);
	tcase_add_test(tc, damaged_state_is_told_by_name);
	tcase_add_test(tc, damaged_chunk_is_told);
	tcase_add_test(tc, damaged_row_ends_a_scan_with_its_key);
	tcase_add_test(tc, value_at_another_key_is_damaged);
	tc = t_case(suite, "file", 120);
	tcase_add_test(tc, set_aside_on_request_and_begun_anew);
	tcase_add_test(tc, cut_file_is_told);
	tcase_add_loop_test(tc, damage_of_each_kind_kills_nobody, 0, 5);
	tcase_add_test(tc, validation_has_a_time_limit_and_leaves_no_child);
	return suite;
}

TEST_MAIN(store_damage_suite)
