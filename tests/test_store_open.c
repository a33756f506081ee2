/* SPDX-License-Identifier: ISC */
/*
 * The store made, opened and refused: private files, boots and the clean mark, reading only, one handle in a process.
 * Locks, forks and kills are in test_store_process.c, damage to the file in test_store_damage.c.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/info.h"
#include "testlib.h"
#include "testlib_store.h"

static const uint8_t other_boot[16] = "another boot...", third_boot[16] = "a third one....";

/* ---- making and opening ---- */

START_TEST(new_store_has_private_files)
{
	static const char *const files[] = { "data.mdb", "lock.mdb", "store.lock", "stash.info" };
	struct store *store = ts_open(NULL);
	struct stat st;

	ck_assert(store_found(store)->created);
	ck_assert(store_was_clean(store));
	ck_assert(!store_found(store)->validated);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		ck_assert_int_eq(stat(ts_path(files[i]), &st), 0);
		ck_assert_uint_eq(st.st_mode & 0777, 0600);
	}
	/* LMDB writes to it through a map: no page of it may be missing. */
	ck_assert_int_eq(stat(ts_path("lock.mdb"), &st), 0);
	ck_assert_int_ge(st.st_blocks * 512, st.st_size);
	ck_assert_int_ge(st.st_size, 8192);
	store_close(store);
	store = ts_open(NULL);
	ck_assert(!store_found(store)->created);
	ck_assert(store_found(store)->same_boot);
	store_close(store);
}
END_TEST

START_TEST(descriptors_are_closed_on_exec)
{
	struct store *store = ts_open(NULL);
	int count = 0;

	for (int fd = 3; fd < 100; fd++) {
		char path[64], target[PATH_MAX];
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, target, sizeof(target) - 1);
		if (len < 0)
			continue;
		target[len] = '\0';
		if (strncmp(target, ts_dir(), strlen(ts_dir())) != 0)
			continue;
		ck_assert_msg(fcntl(fd, F_GETFD) & FD_CLOEXEC, "%s", target);
		count++;
	}
	/* The data twice (one syncs each write), LMDB's lock file, ours. */
	ck_assert_int_eq(count, 4);
	store_close(store);
}
END_TEST

START_TEST(no_stash_info_is_no_store)
{
	struct store_options options = ts_options();
	struct store *store = NULL;

	ts_bad(store_open(&store, t_path("nothing"), &options), STASH_E_NOENT, "stash.info");
	ck_assert_ptr_null(store);
	ts_dir();
	ck_assert_int_eq(unlink(ts_path("stash.info")), 0);
	ts_bad(store_open(&store, t_path("store"), &options), STASH_E_NOENT, "stash.info");
	ck_assert_int_ne(access(ts_path("data.mdb"), F_OK), 0);
}
END_TEST

START_TEST(half_made_store_is_made_again)
{
	struct store *store;

	ts_dir();
	t_write_file(ts_path("data.mdb.new"), "whoever wrote this was killed");
	store = ts_open(NULL);
	ck_assert(store_found(store)->created);
	ck_assert_int_ne(access(ts_path("data.mdb.new"), F_OK), 0);
	store_close(store);
}
END_TEST

START_TEST(lmdb_that_loses_updates_is_refused)
{
	static const struct {
		int major, minor, patch;
		bool good;
	} versions[] = { { 0, 9, 24, true }, { 0, 9, 25, true }, { 0, 9, 26, false }, { 0, 9, 29, false },
		{ 0, 9, 31, false }, { 0, 9, 32, true }, { 0, 9, 33, true }, { 1, 0, 0, false }, { 0, 10, 24, false } };

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		int rc = store_check_lmdb(versions[i].major, versions[i].minor, versions[i].patch);

		if (versions[i].good)
			ts_good(rc);
		else
			ts_bad(rc, STASH_E_FORMAT, "LMDB");
	}
}
END_TEST

START_TEST(store_of_another_id_is_refused)
{
	struct store_options options = ts_options();
	struct stash__info info;
	struct store *store = ts_open(&options);

	store_close(store);
	ts_good(stash__info_read(ts_dir(), &info));
	info.id[3] ^= 1;
	ts_good(stash__info_replace(ts_dir(), &info));
	ts_bad(store_open(&store, ts_dir(), &options), STASH_E_CORRUPT, "two stores");
	options.set_aside = true;
	ts_bad(store_open(&store, ts_dir(), &options), STASH_E_CORRUPT, "two stores");
	ts_bad(store_validate(ts_dir(), &options, NULL), STASH_E_CORRUPT, "two stores");
	info.id[3] ^= 1;
	ts_good(stash__info_replace(ts_dir(), &info));
	store = ts_open(&options);
	store_close(store);
}
END_TEST

START_TEST(quota_out_of_range_is_refused)
{
	struct store_options options = ts_options();
	struct store *store = NULL;

	options.quota_bytes = 1000000;
	ts_bad(store_open(&store, ts_dir(), &options), STASH_E_INVAL, "quota");
	options.quota_bytes = (options.map_bytes ? options.map_bytes : STORE_MAP_BYTES) + 1;
	ts_bad(store_open(&store, ts_dir(), &options), STASH_E_INVAL, "quota");
}
END_TEST

START_TEST(directory_that_may_not_be_written_is_named)
{
	struct store_options options = ts_options();
	struct store *store = NULL;
	uid_t uid = geteuid();

	ts_dir();
	ck_assert_int_eq(chmod(t_dir(), 0755), 0);
	ck_assert_int_eq(chmod(ts_dir(), 0555), 0);
	ck_assert_int_eq(chmod(ts_path("stash.info"), 0444), 0);
	if (uid == 0)
		ck_assert_int_eq(seteuid(65534), 0);
	ts_bad(store_open(&store, ts_dir(), &options), STASH_E_ACCES, "Permission denied");
	if (uid == 0)
		ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(chmod(ts_dir(), 0755), 0);
}
END_TEST

/* ---- boots ---- */

static void
found_is(const uint8_t *boot, bool clean, bool same_boot, bool validated)
{
	struct store_options options = ts_options();
	struct store *store;

	options.boot_id = boot;
	store = ts_open(&options);
	ck_assert_int_eq(store_was_clean(store), clean);
	ck_assert_int_eq(store_found(store)->same_boot, same_boot);
	ck_assert_int_eq(store_found(store)->validated, validated);
	store_close(store);
}

START_TEST(unclean_boot_is_validated)
{
	struct store_options options = ts_options();
	struct store *store = ts_open(&options);
	struct store_batch *batch;

	ts_put(store, "worker", 1, 10000, 2);
	store_close(store);
	/* No mark, but the same boot: what was written is what is read. */
	found_is(NULL, false, true, false);
	found_is(other_boot, false, false, true);
	found_is(other_boot, false, true, false);
	store = ts_open(&options);
	ts_good(store_mark_clean(store));
	store_close(store);
	found_is(third_boot, true, false, false);
	/* That one did not mark it. */
	found_is(other_boot, false, false, true);
	/* A batch after the mark takes it away. */
	store = ts_open(&options);
	ts_good(store_mark_clean(store));
	ts_put(store, "worker", 2, 10, 2);
	store_close(store);
	found_is(third_boot, false, false, true);
	/* One that is given up doesn't. */
	store = ts_open(&options);
	ts_good(store_mark_clean(store));
	ts_good(store_begin(store, &batch));
	store_abort(batch);
	store_close(store);
	found_is(other_boot, true, false, false);
	options.validate = true;
	store = ts_open(&options);
	ck_assert(store_found(store)->validated);
	ts_has(store, "worker", 2, 10);
	store_close(store);
}
END_TEST

/* ---- reading only ---- */

START_TEST(reader_changes_nothing)
{
	struct store_options options = ts_options();
	struct store_batch *batch;
	unsigned char *before, *after;
	size_t len, len_after;
	struct store_stat stat;
	struct store *store;

	options.read_only = true;
	ts_bad(store_open(&store, ts_dir(), &options), STASH_E_NOENT, "data.mdb");
	store = ts_open(NULL);
	ts_put(store, "worker", 3, 9999, 2);
	store_close(store);
	ck_assert_int_eq(unlink(ts_path("lock.mdb")), 0);
	before = ts_load(&len);
	options.boot_id = other_boot;
	store = ts_open(&options);
	ck_assert(store_found(store)->validated);
	ts_has(store, "worker", 3, 9999);
	ts_bad(store_begin(store, &batch), STASH_E_INVAL, "reading only");
	ts_bad(store_mark_clean(store), STASH_E_INVAL, "reading only");
	ts_good(store_stat(store, &stat));
	ck_assert_uint_eq(stat.file_bytes, len);
	ts_good(store_reopen(store));
	ts_has(store, "worker", 3, 9999);
	store_close(store);
	after = ts_load(&len_after);
	ck_assert_uint_eq(len, len_after);
	ck_assert_mem_eq(before, after, len);
	ck_assert_int_ne(access(ts_path("lock.mdb"), F_OK), 0);
	free(before);
	free(after);
}
END_TEST

START_TEST(second_handle_in_a_process_is_refused)
{
	struct store_options options = ts_options(), reading = options;
	struct store *store = ts_open(&options), *other = NULL;
	char *again = realpath(ts_dir(), NULL);
	int lock;

	reading.read_only = true;
	ts_bad(store_open(&other, again, &options), STASH_E_BUSY, "this process");
	ts_bad(store_open(&other, again, &reading), STASH_E_BUSY, "this process");
	store_close(store);
	store = ts_open(&reading);
	ts_bad(store_open(&other, again, &reading), STASH_E_BUSY, "this process");
	ck_assert_ptr_null(other);
	store_close(store);
	/* With a lock of the caller's own there is still one handle. */
	ts_good(store_lock(again, true, 0, &lock));
	options.lock_fd = lock;
	store = ts_open(&options);
	ts_bad(store_open(&other, again, &options), STASH_E_BUSY, "this process");
	store_close(store);
	ck_assert_int_eq(fcntl(lock, F_GETFD), FD_CLOEXEC);
	close(lock);
	free(again);
}
END_TEST

static Suite *
store_open_suite(void)
{
	Suite *suite = suite_create("store_open");
	TCase *tc = t_case(suite, "open", 30);

	tcase_add_test(tc, new_store_has_private_files);
	tcase_add_test(tc, descriptors_are_closed_on_exec);
	tcase_add_test(tc, no_stash_info_is_no_store);
	tcase_add_test(tc, half_made_store_is_made_again);
	tcase_add_test(tc, lmdb_that_loses_updates_is_refused);
	tcase_add_test(tc, store_of_another_id_is_refused);
	tcase_add_test(tc, quota_out_of_range_is_refused);
	tcase_add_test(tc, directory_that_may_not_be_written_is_named);
	tcase_add_test(tc, unclean_boot_is_validated);
	tcase_add_test(tc, reader_changes_nothing);
	tcase_add_test(tc, second_handle_in_a_process_is_refused);
	return suite;
}

TEST_MAIN(store_open_suite)
