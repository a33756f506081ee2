/* SPDX-License-Identifier: ISC */
/*
 * No room: for the store, for the run directory, for both, and by the store's quota.  Calls are refused before they
 * are run; what was answered stays, over the death of everything too; when there is room again all goes on by itself.
 * The file systems are small ones, mounted in a namespace of the test's own; where that isn't allowed, only the quota
 * is left to be tested.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "stash-inspect/inspect.h"
#include "testlib_live.h"
#include "testlib_tools.h"

#define VALUE 8000
#define KEYS_MAX 2000

static struct t_stashd d;

/* ---- small file systems ---- */

static bool
own_namespace(void)
{
	if (unshare(CLONE_NEWNS) != 0 && (errno != EPERM || unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0))
		return false;
	return mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0;
}

static bool
mount_small(const char *path)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return false;
	if (mount("tmpfs", path, "tmpfs", 0, "size=4m,mode=0700") == 0)
		return true;
	printf("no mount is allowed here (%s): a full file system isn't tested\n", strerror(errno));
	return false;
}

static void
fill(const char *dir)
{
	static char bytes[65536];
	char path[PATH_MAX];
	size_t len = sizeof bytes;
	int fd;

	snprintf(path, sizeof path, "%s/ballast", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	for (; len >= 1; len /= 2)
		while (write(fd, bytes, len) > 0)
			continue;
	ck_assert_int_eq(errno, ENOSPC);
	close(fd);
}

static void
make_room(const char *dir)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/ballast", dir);
	ck_assert_int_eq(unlink(path), 0);
}

/* ---- the work ---- */

static const char *
config(const char *store, const char *ack)
{
	static char text[2048];

	snprintf(text, sizeof text,
	    "store = { history = 0; ack = \"%s\"; %s };\n"
	    "tree = { intensity = 1000; period = 1; children = (\n"
	    "  { id = \"kv\"; module = \"%s\"; },\n"
	    "  { id = \"sequence\"; module = \"%s\"; args = [\"0\"]; } ); };\n",
	    ack, store, t_build("examples/kv.so"), t_build("examples/sequence.so"));
	return text;
}

#define WAIT_MS 4000 /* for a call that may wait for the disk */

/* What was answered so far, and whether some call had no answer, so that it isn't known whether it was done. */
static struct {
	int keys, numbers;
	bool unknown_key, unknown_number;
} known;

static void
value_of(int key, char value[VALUE + 1])
{
	for (int i = 0; i < VALUE; i++)
		value[i] = (char)('a' + (key * 31 + i) % 26);
	value[VALUE] = '\0';
}

/* The next one, or, if one was asked for without an answer, perhaps the one behind it. */
static void
take_number(int64_t number)
{
	if (known.unknown_number && number == known.numbers + 1)
		known.numbers++;
	known.unknown_number = false;
	ck_assert_int_eq(number, known.numbers);
	known.numbers++;
}

/* One key more, and one number; 0, or the error of the first of them that isn't done. */
static int
work(struct stash_client *c, int timeout_ms)
{
	static char text[VALUE + 64];
	struct stash_reply reply;
	char value[VALUE + 1];
	int64_t number;
	int result;

	value_of(known.keys, value);
	snprintf(text, sizeof text, "k%d %s", known.keys, value);
	result = stash_call(c, "kv", "set", text, strlen(text), &reply, timeout_ms);
	stash_reply_free(&reply);
	known.unknown_key = result == STASH_E_TIMEDOUT || (result != STASH_OK && known.unknown_key);
	if (result != STASH_OK)
		return result;
	known.keys++;
	result = stash_call(c, "sequence", "next_number", NULL, 0, &reply, timeout_ms);
	known.unknown_number = known.unknown_number || result == STASH_E_TIMEDOUT;
	if (result == STASH_OK) {
		ck_assert_int_eq(stash_parse_int(reply.data, 0, INT64_MAX, &number), 0);
		take_number(number);
	}
	stash_reply_free(&reply);
	return result;
}

/* Until a call is refused.  One that waits for the disk has no answer then, once; whatever else it gets is wrong. */
static void
work_until_full(struct stash_client *c, bool disk)
{
	bool waited = false;
	int result = 0;

	while ((result == 0 || (result == STASH_E_TIMEDOUT && disk && !waited)) && known.keys < KEYS_MAX) {
		waited = waited || result == STASH_E_TIMEDOUT;
		result = work(c, disk ? WAIT_MS * t_patience() : 30000);
	}
	ck_assert_msg(
	    result == STASH_E_FULL, "after %d keys: %s: %s", known.keys, stash_errname(result), stash_errmsg());
}

static bool
works_again(void *arg)
{
	int result = work(arg, 30000);

	ck_assert_msg(result == 0 || result == STASH_E_FULL, "%s: %s", stash_errname(result), stash_errmsg());
	return result == 0;
}

/* All that was answered is there, and nothing that was refused. */
static void
check_all(struct stash_client *c)
{
	char value[VALUE + 1], key[32];
	struct stash_reply reply;
	int64_t number;

	for (int i = 0; i < known.keys; i++) {
		value_of(i, value);
		snprintf(key, sizeof key, "k%d", i);
		t_expect_call(c, "kv", "get", key, value);
	}
	if (!known.unknown_key) {
		snprintf(key, sizeof key, "k%d", known.keys);
		t_expect_call(c, "kv", "get", key, "nil");
	}
	ck_assert_int_eq(stash_call(c, "sequence", "next_number", NULL, 0, &reply, 30000), STASH_OK);
	ck_assert_int_eq(stash_parse_int(reply.data, 0, INT64_MAX, &number), 0);
	take_number(number);
	stash_reply_free(&reply);
}

static void
check_again(const char *conf)
{
	struct stash_client *c;

	t_stashd_start(&d, conf);
	c = t_client(&d);
	check_all(c);
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
	ck_assert_int_eq(setenv("STASH_DIR", t_store(&d), 1), 0);
	{
		struct tt_result r;

		TT_RUN(&r, &stash_inspect, "check");
		tt_exits(&r, 0);
		tt_free(&r);
	}
}

/* ---- tests ---- */

static const char *const acks[] = { "crash", "disk" };

/* What is stored can be looked at and saved also now, and what isn't is said. */
static void
save_a_full_one(void)
{
	struct tt_result r;

	ck_assert_int_eq(setenv("STASH_DIR", t_store(&d), 1), 0);
	TT_RUN(&r, &stash_inspect, "check");
	tt_exits(&r, 0);
	tt_says(&r, "good");
	tt_free(&r);
	ck_assert_int_eq(mkdir(t_path("backups"), 0700), 0);
	/* The list of backups is in the store's directory, and can't be written if that has no room. */
	TT_RUN(&r, &stash_inspect, "backup", t_path("backups"));
	if (r.status != 0)
		tt_complains(&r, "it was made, but can't be noted");
	tt_says(&r, "verified");
	tt_complains(&r, "hold later states, which are not in the backup: the store is full");
	tt_free(&r);
}

static void
full_store(const char *ack, bool kill_all)
{
	const char *conf;
	struct stash_client *c;

	memset(&known, 0, sizeof known);
	memset(&d, 0, sizeof d);
	conf = config("size = \"64M\";", ack);
	t_stashd_start(&d, conf);
	c = t_client(&d);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(work(c, 30000), 0);
	fill(t_store(&d));
	work_until_full(c, strcmp(ack, "disk") == 0);
	/* Refused, and not run: that is looked at below. */
	for (int i = 0; i < 5; i++)
		t_expect_error(c, "sequence", "next_number", NULL, STASH_E_FULL);
	save_a_full_one();
	if (kill_all) {
		stash_client_close(c);
		t_murder_all(&d);
		t_stashd_start(&d, NULL);
		c = t_client(&d);
	}
	make_room(t_store(&d));
	ck_assert(t_wait_for(works_again, c, 20000));
	check_all(c);
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
	check_again(conf);
	printf("store full, ack = %s%s: %d keys, %d numbers\n", ack, kill_all ? ", all killed" : "", known.keys,
	    known.numbers);
}

START_TEST(test_store_full)
{
	if (!own_namespace() || !mount_small(t_path("store")))
		return;
	full_store(acks[_i % 2], _i >= 2);
	ck_assert_int_eq(umount(t_path("store")), 0);
}
END_TEST

/* The same by the store's own quota, which a larger one ends. */
START_TEST(test_quota)
{
	struct stash_client *c;

	memset(&known, 0, sizeof known);
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, config("size = \"2M\";", acks[_i]));
	c = t_client(&d);
	work_until_full(c, _i == 1);
	t_expect_error(c, "sequence", "next_number", NULL, STASH_E_FULL);
	save_a_full_one();
	stash_client_close(c);
	t_murder_all(&d);
	t_stashd_start(&d, config("size = \"16M\";", acks[_i]));
	c = t_client(&d);
	ck_assert(t_wait_for(works_again, c, 20000));
	check_all(c);
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
	check_again(config("size = \"16M\";", acks[_i]));
	printf("quota, ack = %s: %d keys, %d numbers\n", acks[_i], known.keys, known.numbers);
}
END_TEST

/* A client that outlives its stashd finds what room the next one has. */
START_TEST(test_quota_outlived)
{
	struct stash_client *c;

	memset(&known, 0, sizeof known);
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, config("size = \"2M\";", "crash"));
	c = t_client(&d);
	ck_assert_int_eq(work(c, 30000), 0);
	t_stashd_stop(&d, 20000);
	t_stashd_start(&d, NULL);
	ck_assert(t_wait_for(works_again, c, 20000));
	work_until_full(c, false);
	t_expect_error(c, "sequence", "next_number", NULL, STASH_E_FULL);
	t_stashd_stop(&d, 20000);
	t_stashd_start(&d, config("size = \"16M\";", "crash"));
	ck_assert(t_wait_for(works_again, c, 20000));
	check_all(c);
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}
END_TEST

/* Slots can't grow, no new ones can be made: whoever has one goes on. */
START_TEST(test_run_directory_full)
{
	struct stash_client *c;
	int before;

	if (!own_namespace() || !mount_small(t_run_dir()))
		return;
	memset(&known, 0, sizeof known);
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, config("size = \"64M\";", "crash"));
	c = t_client(&d);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(work(c, 30000), 0);
	fill(t_run_dir());
	/* The state is about to outgrow its slot: its worker's callers are told, and nobody else's. */
	work_until_full(c, false);
	t_expect_error(c, "kv", "get", "k0", STASH_E_FULL);
	t_wait_output(&d.proc, "kv: the run directory has no room", 5000);
	before = known.numbers;
	for (int i = 0; i < 20; i++) {
		char text[24];

		snprintf(text, sizeof text, "%d", known.numbers++);
		t_expect_call(c, "sequence", "next_number", NULL, text);
	}
	ck_assert_int_eq(known.numbers, before + 20);
	make_room(t_run_dir());
	ck_assert(t_wait_for(works_again, c, 20000));
	t_wait_output(&d.proc, "kv: there is room again", 5000);
	check_all(c);
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
	check_again(NULL);
	printf("run directory full: %d keys, %d numbers\n", known.keys, known.numbers);
	ck_assert_int_eq(umount2(t_run_dir(), MNT_DETACH), 0);
}
END_TEST

/* Store and run directory on one file system, which the work itself fills: whichever of them finds no room first. */
START_TEST(test_one_file_system)
{
	const char *ack = acks[_i % 2];
	bool kill_all = _i >= 2;
	struct stash_client *c;

	if (!own_namespace() || !mount_small(t_path("both")))
		return;
	memset(&known, 0, sizeof known);
	memset(&d, 0, sizeof d);
	ck_assert_int_eq(mkdir(t_path("both/store"), 0700), 0);
	ck_assert_int_eq(mkdir(t_path("both/run"), 0700), 0);
	ck_assert_int_eq(setenv("RUNTIME_DIRECTORY", t_path("both/run"), 1), 0);
	d.dir = t_path("both/store");
	t_stashd_start(&d, config("size = \"64M\";", ack));
	c = t_client(&d);
	work_until_full(c, _i % 2 == 1);
	for (int i = 0; i < 5; i++)
		t_expect_error(c, "kv", "get", "k0", STASH_E_FULL);
	if (kill_all) {
		stash_client_close(c);
		t_murder_all(&d);
		t_stashd_start(&d, NULL);
		c = t_client(&d);
	}
	ck_assert_int_eq(mount("tmpfs", t_path("both"), "tmpfs", MS_REMOUNT, "size=64m,mode=0700"), 0);
	ck_assert(t_wait_for(works_again, c, 20000));
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(work(c, 30000), 0);
	check_all(c);
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
	check_again(NULL);
	printf("one file system full, ack = %s%s: %d keys, %d numbers\n", ack, kill_all ? ", all killed" : "",
	    known.keys, known.numbers);
	ck_assert_int_eq(umount2(t_path("both"), MNT_DETACH), 0);
}
END_TEST

/* A start without room says so, and leaves nothing half made. */
START_TEST(test_start_without_room)
{
	struct t_proc p;
	char *text;

	if (!own_namespace() || !mount_small(t_path("store")))
		return;
	memset(&known, 0, sizeof known);
	memset(&d, 0, sizeof d);
	fill(t_path("store"));
	t_write_file(t_path("stashd.conf"), config("", "crash"));
	t_spawn(&p,
	    (const char *const[]){ t_build("stashd"), "-d", t_path("store"), "-f", t_path("stashd.conf"), NULL }, NULL);
	ck_assert_int_eq(t_wait(&p, 20000), 75);
	text = t_output(&p);
	ck_assert_msg(strstr(text, "room") != NULL || strstr(text, "No space") != NULL, "%s", text);
	free(text);
	make_room(t_path("store"));
	t_stashd_start(&d, NULL);
	t_stashd_stop(&d, 20000);
	check_again(NULL);
	ck_assert_int_eq(umount(t_path("store")), 0);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("full");
	TCase *c = t_case(s, "full", 120);

	tcase_add_loop_test(c, test_store_full, 0, 4);
	tcase_add_loop_test(c, test_quota, 0, 2);
	tcase_add_test(c, test_quota_outlived);
	tcase_add_test(c, test_run_directory_full);
	tcase_add_loop_test(c, test_one_file_system, 0, 4);
	tcase_add_test(c, test_start_without_room);
	return s;
}

TEST_MAIN(suite)
