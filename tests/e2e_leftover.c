/* SPDX-License-Identifier: ISC */
/*
 * What a child leaves behind that is in no tree any more is cleared up by whoever comes next, if the process dies that
 * was at it: the slot, a channel, the descriptors of both; and what the store has of the name stays.
 */
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include <stash/stash.h>

#include "testlib_admin.h"

static int
fds_of(pid_t pid)
{
	char path[64];
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir != NULL && readdir(dir) != NULL)
		n++;
	if (dir != NULL)
		closedir(dir);
	return n;
}

/* What there is of the tree and its clients, and of nobody else. */
struct traces {
	int files, supervisor, keeper;
};

static struct traces
look(void)
{
	return (
	    struct traces){ admin_slot_files(), fds_of(t_pid(&stashd, T_SUPERVISOR, NULL)), fds_of(stashd.proc.pid) };
}

static bool
is_as_before(void *arg)
{
	const struct traces *before = arg;
	struct traces now = look();

	return now.files == before->files && now.supervisor <= before->supervisor && now.keeper <= before->keeper;
}

static void
expect_as_before(struct traces before)
{
	struct traces now;

	if (t_wait_for(is_as_before, &before, LONG_MS))
		return;
	now = look();
	ck_abort_msg("%d files, %d and %d descriptors, and were %d, %d, %d", now.files, now.supervisor, now.keeper,
	    before.files, before.supervisor, before.keeper);
}

static void
expect_stored(const char *name, int64_t calls)
{
	struct stash_store *s;
	struct stash_state state;

	ck_assert_int_eq(stash_store_open(&s, t_store(&stashd), NULL), STASH_OK);
	ck_assert_msg(stash_store_read(s, name, &state) == STASH_OK, "%s", stash_errmsg());
	stash_store_close(s);
	ck_assert_uint_eq(state.len, sizeof calls);
	ck_assert_int_eq(memcmp(state.data, &calls, sizeof calls), 0);
	stash_state_free(&state);
}

/* A child below the pool that has counted, with a channel of a client that stays. */
static struct stash_client *
begin_child(const char *name)
{
	struct stash_child_spec one = { .size = sizeof one };
	struct stash_client *other = t_client(&stashd);

	one.name = name;
	GIVES(stash_start_child(client, "root/pool", &one, NULL, LONG_MS), 0, "");
	t_expect_call(other, name, "count", "", "1");
	t_expect_call(other, name, "count", "", "2");
	return other;
}

/* The supervisor dies when the row that it is gone is written, and nothing else is done. */
START_TEST(test_the_supervisor_dies)
{
	static char dir[PATH_MAX + 32];
	static const char *const env[] = { "STASH_CRASH=sup_gone:1:supervisor", dir, NULL };
	struct stash_child_spec one = { .size = sizeof one };
	struct stash_client *other;
	struct traces before;

	snprintf(dir, sizeof dir, "STASH_CRASH_DIR=%s", t_dir());
	admin_begin_dying(env);
	/* One that has taken over is compared with one that has, and a client with itself. */
	ck_assert(t_murder(&stashd, T_SUPERVISOR, NULL));
	other = t_client(&stashd);
	t_expect_call(other, "a", "count", "", "1");
	COUNTS("root", 3, 3, 2, 1);
	before = look();
	stash_client_close(other);
	other = begin_child("n-1");
	t_expect_call(other, "a", "count", "", "2");
	/* It is gone; the next one, which is asked again, says that there is none. */
	ck_assert_int_lt(stash_terminate_child(client, "root/pool", "n-1", LONG_MS), 0);
	ck_assert_msg(access(t_path("fired"), F_OK) == 0, "nobody died");
	expect_as_before(before);
	t_expect_error(other, "n-1", "count", "", STASH_E_NOENT);
	expect_stored("n-1", 2);
	/* The name may be used again. */
	one.name = "n-1";
	GIVES(stash_start_child(client, "root/pool", &one, NULL, LONG_MS), 0, "");
	t_expect_call(other, "n-1", "count", "", "3");
	stash_client_close(other);
	admin_end();
}
END_TEST

/* All die when the child is gone, and before its last incarnation is retired: the stash is stopped meanwhile. */
START_TEST(test_everything_dies)
{
	struct stash_client *other;
	struct traces before;
	int pidfd;

	admin_begin();
	t_expect_call(client, "a", "count", "", "1");
	before = look();
	other = begin_child("n-1");
	pidfd = pidfd_open(t_pid(&stashd, T_STASH, NULL), 0);
	ck_assert_int_ge(pidfd, 0);
	ck_assert_int_eq(pidfd_send_signal(pidfd, SIGSTOP, NULL, 0), 0);
	close(pidfd);
	GIVES(stash_terminate_child(client, "root/pool", "n-1", LONG_MS), 0, "");
	stash_client_close(other);
	stash_client_close(client);
	t_murder_all(&stashd);
	t_stashd_start(&stashd, NULL);
	client = t_client(&stashd);
	COUNTS("root", 3, 3, 2, 1);
	COUNTS("root/pool", 1, 0, 0, 0);
	t_expect_call(client, "a", "count", "", "2");
	if (_i == 1) {
		expect_as_before(before);
		expect_stored("n-1", 2);
	}
	stash_client_close(client);
	t_stashd_stop(&stashd, 20000);
	t_stashd_start(&stashd, NULL);
	t_wait_output(&stashd.proc, "stopped cleanly", 20000);
	client = t_client(&stashd);
	admin_end();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("leftover");
	TCase *tc = t_case(s, "leftover", 60);

	tcase_add_test(tc, test_the_supervisor_dies);
	tcase_add_loop_test(tc, test_everything_dies, 0, 2);
	return s;
}

TEST_MAIN(suite)
