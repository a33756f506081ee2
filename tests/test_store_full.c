/* SPDX-License-Identifier: ISC */
/*
 * No room: the store's own quota, a file size limit, a full file system.  What was stored stays, what doesn't fit is
 * STASH_E_FULL, deleting works, and when there is room again the store goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/info.h"
#include "testlib.h"
#include "testlib_store.h"

#define MIB (1024u * 1024)

/* As ts_put(), but gives the result. */
static int
try_put(struct store *store, const char *name, uint64_t seq, size_t len)
{
	struct store_state state = ts_state(name, seq, len);
	struct store_batch *batch = NULL;
	int rc, committed;

	ts_good(store_begin(store, &batch));
	rc = store_put_state(batch, &state, 0);
	committed = store_commit(batch);
	/* An error before the commit sticks. */
	if (rc != 0)
		ck_assert_int_eq(committed, rc);
	ts_state_done(&state);
	return committed;
}

static int
forget(struct store *store, const char *name)
{
	struct store_batch *batch;
	int more, rc = store_begin(store, &batch);

	if (rc != 0)
		return rc;
	more = store_del_state(batch, name);
	rc = store_commit(batch);
	return more < 0 ? more : rc != 0 ? rc : more;
}

static uint64_t
file_bytes(void)
{
	struct stat st;

	ck_assert_int_eq(stat(ts_path("data.mdb"), &st), 0);
	return (uint64_t)st.st_size;
}

START_TEST(quota_is_kept_and_deleting_makes_room)
{
	struct store_options options = ts_options();
	struct store_stat stat;
	struct store_batch *batch;
	struct store *store;
	char name[32];
	unsigned count = 0;
	int rc;

	options.quota_bytes = 8 * MIB;
	store = ts_open(&options);
	do {
		snprintf(name, sizeof(name), "worker %u", count++);
		rc = try_put(store, name, 1, 64 * 1024);
	} while (rc == 0 && count < 1000);
	ts_bad(rc, STASH_E_FULL, "Raise the quota");
	ck_assert(!store_failed(store));
	ck_assert_uint_ge(count, 90);
	ck_assert_uint_le(count, 128);
	ck_assert_uint_le(file_bytes(), 8 * MIB);
	ts_has(store, "worker 0", 1, 64 * 1024);
	/* The supervisor's rows have a part of the reserve to themselves. */
	ts_good(store_begin(store, &batch));
	ts_good(store_put_row(batch, STORE_DB_TREE, "root/a", 6, "spec", 4));
	ts_good(store_put_event(batch, "full", 4, NULL));
	ts_good(store_commit(batch));
	for (unsigned i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "worker %u", i);
		ck_assert_int_eq(forget(store, name), 0);
	}
	/* What a transaction gives up can be used by the next but one. */
	ts_good(forget(store, "nobody"));
	ts_good(try_put(store, "worker 500", 1, 64 * 1024));
	ts_good(store_stat(store, &stat));
	ck_assert_uint_le(stat.file_bytes, 8 * MIB);
	ck_assert_uint_ge(stat.free_bytes, 5 * 64 * 1024);
	store_close(store);
	ts_good(store_validate(ts_dir(), &options, NULL));
	/* A larger quota is all that it takes, too. */
	options.quota_bytes = 16 * MIB;
	store = ts_open(&options);
	for (unsigned i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "more %u", i);
		ts_good(try_put(store, name, 1, 64 * 1024));
	}
	store_close(store);
}
END_TEST

START_TEST(state_larger_than_the_quota_spoils_nothing)
{
	struct store_options options = ts_options();
	struct store_state state = ts_state("large", 1, 4 * MIB);
	struct store_batch *batch;
	struct store *store;

	options.quota_bytes = 2 * MIB;
	store = ts_open(&options);
	ts_put(store, "worker", 1, 1000, 0);
	ts_good(store_begin(store, &batch));
	ts_good(store_put_row(batch, STORE_DB_TREE, "a", 1, "b", 1));
	ts_bad(store_put_state(batch, &state, 0), STASH_E_FULL, "full");
	/* It sticks, with its sentence. */
	ts_bad(store_put_row(batch, STORE_DB_TREE, "a", 1, "b", 1), STASH_E_FULL, "Raise the quota");
	ts_bad(store_commit(batch), STASH_E_FULL, "Raise the quota");
	ts_has(store, "worker", 1, 1000);
	ts_put(store, "worker", 2, 1000, 0);
	ck_assert_uint_le(file_bytes(), 2 * MIB);
	store_close(store);
	ts_state_done(&state);
}
END_TEST

START_TEST(small_rows_fill_the_quota_well)
{
	struct store_options options = ts_options();
	struct store_batch *batch;
	struct store *store;
	char name[32];
	uint64_t count = 0;
	int rc = 0;

	options.quota_bytes = 3 * MIB;
	store = ts_open(&options);
	while (rc == 0) {
		ts_good(store_begin(store, &batch));
		for (int i = 0; i < 20 && rc == 0; i++) {
			struct store_state state;

			snprintf(name, sizeof(name), "worker %08llu", (unsigned long long)count++);
			state = ts_state(name, 1, 64);
			rc = store_put_state(batch, &state, 0);
			ts_state_done(&state);
		}
		ck_assert_int_eq(store_commit(batch), rc);
	}
	ts_bad(rc, STASH_E_FULL, "full");
	ck_assert_uint_le(file_bytes(), 3 * MIB);
	/* Each takes about 200 bytes; a leaf is two thirds full. */
	ck_assert_uint_ge(count * 200, 3 * MIB / 2);
	store_close(store);
}
END_TEST

/* ---- the file system refuses ---- */

static void
limit_file(rlim_t bytes)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

START_TEST(failed_commit_is_unknown_until_reopened)
{
	struct store_options options = ts_options();
	struct store *store = ts_open(&options);
	struct store_batch *batch;
	struct store_state got;
	struct store_stat stat;

	signal(SIGXFSZ, SIG_IGN);
	ts_put(store, "worker", 1, 5000, 2);
	limit_file(file_bytes() + 6 * 4096);
	for (uint64_t i = 0; i < 4; i++) {
		ts_bad(try_put(store, "worker", 9, 2 * MIB), STASH_E_FULL, "has to be reopened");
		ck_assert(store_failed(store));
		ts_bad(store_begin(store, &batch), STASH_E_INVAL, "reopened first");
		ts_bad(store_get_state(store, "worker", &got), STASH_E_INVAL, "reopened first");
		ts_bad(store_stat(store, &stat), STASH_E_INVAL, "reopened first");
		ts_good(store_reopen(store));
		ck_assert(!store_failed(store));
		ts_has(store, "worker", 1, 5000);
	}
	/* What fits in goes in meanwhile. */
	ts_put(store, "worker", 2, 10, 2);
	ts_has(store, "worker", 2, 10);
	limit_file(RLIM_INFINITY);
	ts_put(store, "worker", 3, 2 * MIB, 2);
	ts_has(store, "worker", 3, 2 * MIB);
	store_close(store);
	ts_good(store_validate(ts_dir(), &options, NULL));
}
END_TEST

/* Mounts a file system of 2 MiB on the store's directory, seen by this process alone. */
static bool
mount_small(void)
{
	if (unshare(CLONE_NEWNS) != 0 && (errno != EPERM || unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0))
		return false;
	return mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount("tmpfs", t_path("store"), "tmpfs", 0, "size=2m,mode=0700") == 0;
}

static void
fill_disk(const char *path)
{
	static char bytes[4096];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	while (write(fd, bytes, sizeof(bytes)) > 0)
		continue;
	ck_assert_int_eq(errno, ENOSPC);
	close(fd);
}

START_TEST(full_disk_loses_nothing)
{
	struct store_options options = ts_options();
	struct stash__info info;
	struct store *store = NULL;
	uint64_t seq;
	int rc = 0;

	ck_assert_int_eq(mkdir(t_path("store"), 0700), 0);
	if (!mount_small()) {
		printf("no mount is allowed here: the file size limit stands for the full disk\n");
		return;
	}
	ck_assert_int_eq(stash__info_new(&info), 0);
	ck_assert_int_gt(snprintf(info.run_dir, sizeof(info.run_dir), "%s/x", t_run_dir()), 0);
	ts_good(stash__info_create(ts_dir(), &info));
	/* No room for a new one: nothing is left of the attempt. */
	fill_disk(ts_path("ballast"));
	ts_bad(store_open(&store, ts_dir(), &options), STASH_E_FULL, "data.mdb");
	ck_assert_int_ne(access(ts_path("data.mdb"), F_OK), 0);
	ck_assert_int_ne(access(ts_path("data.mdb.new"), F_OK), 0);
	ck_assert_int_eq(unlink(ts_path("ballast")), 0);
	store = ts_open(&options);
	for (seq = 1; rc == 0 && seq < 1000; seq++)
		rc = try_put(store, seq % 2 ? "odd" : "even", seq, 100000 + seq * 8192);
	ck_assert_int_eq(rc, STASH_E_FULL);
	ck_assert(store_failed(store));
	ts_good(store_reopen(store));
	/* The last one failed: the two before it are there. */
	seq--;
	ts_has(store, (seq - 1) % 2 ? "odd" : "even", seq - 1, 100000 + (seq - 1) * 8192);
	ts_has(store, (seq - 2) % 2 ? "odd" : "even", seq - 2, 100000 + (seq - 2) * 8192);
	fill_disk(ts_path("ballast"));
	ck_assert_int_eq(forget(store, (seq - 2) % 2 ? "odd" : "even"), 0);
	ts_put(store, "small", 1, 64, 0);
	ck_assert_int_eq(unlink(ts_path("ballast")), 0);
	for (uint64_t i = 1; i <= 50; i++)
		ts_put(store, "after", i, 64, 0);
	ts_has(store, "after", 50, 64);
	store_close(store);
	ts_good(store_validate(ts_dir(), &options, NULL));
	ck_assert_int_eq(umount(ts_dir()), 0);
}
END_TEST

static Suite *
store_full_suite(void)
{
	Suite *suite = suite_create("store_full");
	TCase *tc = t_case(suite, "quota", 60);

	tcase_add_test(tc, quota_is_kept_and_deleting_makes_room);
	tcase_add_test(tc, state_larger_than_the_quota_spoils_nothing);
	tcase_add_test(tc, small_rows_fill_the_quota_well);
	tc = t_case(suite, "disk", 60);
	tcase_add_test(tc, failed_commit_is_unknown_until_reopened);
	tcase_add_test(tc, full_disk_loses_nothing);
	return suite;
}

TEST_MAIN(store_full_suite)
