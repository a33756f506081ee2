/* SPDX-License-Identifier: ISC */
/*
 * OTP's administrative calls over the death of the supervisor and of everything, and names that come and go.
 */
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "testlib_admin.h"

/* ---- over deaths of the supervisor ---- */

static void
murder_supervisor(void)
{
	pid_t before = t_pid(&stashd, T_SUPERVISOR, NULL);

	ck_assert(t_murder(&stashd, T_SUPERVISOR, NULL));
	ck_assert_int_gt(before, 0);
}

static unsigned
restarts_of(const char *name)
{
	struct stash_process p;

	GIVES(stash_whereis(client, name, &p), 0, "");
	return (unsigned)p.restarts;
}

static bool
has_restarted(void *arg)
{
	const unsigned *want = arg;

	return restarts_of("t-1") == *want;
}

static bool
pool_is_gone(void *arg)
{
	(void)arg;
	return stash_whereis(client, "t-1", NULL) == STASH_E_NOENT;
}

START_TEST(dynamic_children_survive_the_supervisor)
{
	struct stash_child_spec b = admin_child("b", ARGS("x")), one = { .size = sizeof one, .args = ARGS("second") };
	struct stash_supervisor_spec branch = { .size = sizeof branch, .children = &b, .nchildren = 1 };
	struct stash_child_spec s = { .size = sizeof s, .id = "branch", .supervisor = &branch };
	pid_t pid, pid_b;

	admin_begin();
	GIVES(stash_start_child(client, "root", &s, NULL, LONG_MS), 0, "");
	GIVES(stash_start_child(client, "root/pool", &one, NULL, LONG_MS), 0, "");
	GIVES(stash_terminate_child(client, "root", "a", LONG_MS), 0, "");
	for (unsigned i = 1; i <= 2; i++) {
		ck_assert(t_murder(&stashd, T_WORKER, "t-1"));
		ck_assert(t_wait_for(has_restarted, &i, LONG_MS));
		t_expect_call(client, "t-1", "args", "", "t-1 first second");
	}
	t_expect_call(client, "t-1", "count", "", "1");
	pid = t_pid(&stashd, T_WORKER, "t-1");
	pid_b = t_pid(&stashd, T_WORKER, "b");
	murder_supervisor();
	admin_children(
	    "root", "branch,supervisor,running pool,supervisor,running web,supervisor,running a,worker,undefined");
	admin_children("root/branch", "b,worker,running");
	COUNTS("root/pool", 1, 1, 0, 1);
	ck_assert_int_eq(t_pid(&stashd, T_WORKER, "t-1"), pid);
	ck_assert_int_eq(t_pid(&stashd, T_WORKER, "b"), pid_b);
	ck_assert_uint_eq(restarts_of("t-1"), 2);
	t_expect_call(client, "t-1", "args", "", "t-1 first second");
	t_expect_call(client, "t-1", "count", "", "2");
	/* Its budget of two was used up by its predecessor's time: with one more the pool ends, and is begun anew. */
	ck_assert(t_murder(&stashd, T_WORKER, "t-1"));
	ck_assert(t_wait_for(pool_is_gone, NULL, LONG_MS));
	COUNTS("root/pool", 1, 0, 0, 0);
	GIVES(stash_restart_child(client, "root", "a", NULL, LONG_MS), 0, "");
	admin_end();
}
END_TEST

/* In a process of its own: a start that takes until the supervisor has been killed. */
static void
start_in_child(const char *supervisor, const struct stash_child_spec *spec, int code, struct t_proc *p)
{
	p->pid = fork();
	ck_assert_int_ge(p->pid, 0);
	if (p->pid == 0) {
		struct stash_client *mine = NULL;
		int result = stash_client_open(&mine, t_store(&stashd), NULL);

		if (result == 0)
			result = stash_start_child(mine, supervisor, spec, NULL, LONG_MS);
		if (result != code)
			fprintf(stderr, "start: %s: %s\n", stash_errname(result), stash_errmsg());
		stash_client_close(mine);
		_exit(result == code ? 0 : 1);
	}
}

static bool
file_is_there(void *arg)
{
	return access(arg, F_OK) == 0;
}

static void
reap_well(const struct t_proc *p)
{
	int status;

	ck_assert_int_eq(waitpid(p->pid, &status, 0), p->pid);
	ck_assert_int_eq(status, 0);
}

/* A request that is under way when the supervisor dies is answered by the next one, and done once. */
START_TEST(a_start_survives_the_supervisor)
{
	char until[PATH_MAX], noted[PATH_MAX];
	const char *args[] = { noted, until, NULL };
	struct stash_child_spec one = { .size = sizeof one, .args = args };
	struct stash_process process;
	struct t_proc p;

	admin_begin();
	snprintf(until, sizeof until, "until=%s", t_path("go"));
	snprintf(noted, sizeof noted, "noted=%s", t_path("starts"));
	start_in_child("root/pool", &one, 0, &p);
	ck_assert(t_wait_for(file_is_there, (void *)(uintptr_t)t_path("starts"), LONG_MS));
	murder_supervisor();
	/* The next one has it in its tree. */
	GIVES(stash_whereis(client, "t-1", &process), 0, "");
	ck_assert_uint_eq(process.status, STASH_STARTING);
	t_write_file(t_path("go"), "");
	reap_well(&p);
	COUNTS("root/pool", 1, 1, 0, 1);
	admin_children("root/pool", "t-1,worker,running");
	admin_end();
}
END_TEST

/* Wherever the supervisor dies in a start: each request makes one child, whose init runs once. */
START_TEST(each_start_is_done_once)
{
	enum { STARTS = 30 };
	char noted[PATH_MAX];
	const char *args[] = { noted, NULL };
	struct stash_child_spec one = { .size = sizeof one, .args = args };
	struct t_proc p;
	size_t len;
	char *starts;

	admin_begin();
	snprintf(noted, sizeof noted, "noted=%s", t_path("starts"));
	for (int i = 0; i < STARTS; i++) {
		start_in_child("root/pool", &one, 0, &p);
		(void)poll(NULL, 0, i % 10); /* it dies at another point each time */
		(void)t_murder(&stashd, T_SUPERVISOR, NULL);
		reap_well(&p);
	}
	COUNTS("root/pool", 1, STARTS, 0, STARTS);
	starts = t_read_file(t_path("starts"), &len);
	ck_assert_uint_eq(len, STARTS);
	free(starts);
	admin_end();
}
END_TEST

/* Everything that was asked while there was no supervisor is asked of the next one. */
START_TEST(requests_wait_for_the_next_supervisor)
{
	struct stash_child_spec b = admin_child("b", NULL);

	admin_begin();
	for (int i = 0; i < 5; i++) {
		murder_supervisor();
		GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), 0, "");
		murder_supervisor();
		GIVES(stash_terminate_child(client, "root", "b", LONG_MS), 0, "");
		murder_supervisor();
		GIVES(stash_delete_child(client, "root", "b", LONG_MS), 0, "");
		COUNTS("root", 3, 3, 2, 1);
	}
	admin_end();
}
END_TEST

/* Whatever ended without order goes on as it was: the tree is the stored one. */
START_TEST(dynamic_children_survive_everything)
{
	struct stash_child_spec b = admin_child("b", ARGS("x")), one = { .size = sizeof one, .args = ARGS("second") };

	admin_begin();
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), 0, "");
	GIVES(stash_start_child(client, "root/pool", &one, NULL, LONG_MS), 0, "");
	t_expect_call(client, "t-1", "count", "", "1");
	stash_client_close(client);
	t_murder_all(&stashd);
	t_stashd_start(&stashd, NULL);
	client = t_client(&stashd);
	COUNTS("root", 4, 4, 2, 2);
	t_expect_call(client, "b", "args", "", "b x");
	t_expect_call(client, "t-1", "args", "", "t-1 first second");
	t_expect_call(client, "t-1", "count", "", "2");
	/* A clean stop ends that. */
	stash_client_close(client);
	t_stashd_stop(&stashd, 20000);
	t_stashd_start(&stashd, NULL);
	client = t_client(&stashd);
	COUNTS("root", 3, 3, 2, 1);
	admin_end();
}
END_TEST

START_TEST(without_stashd_all_is_down)
{
	struct stash_child_spec b = admin_child("b", NULL);

	admin_begin();
	t_stashd_stop(&stashd, 20000);
	GIVES(stash_count_children(client, "root", NULL, LONG_MS), STASH_E_DOWN, "");
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), STASH_E_DOWN, "");
	GIVES(stash_whereis(client, "a", NULL), STASH_E_DOWN, "");
	t_stashd_start(&stashd, NULL);
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), 0, "");
	admin_end();
}
END_TEST

/* ---- names come and go ---- */

static bool
has_as_many(void *arg)
{
	const int *files = arg;

	return admin_slot_files() == *files;
}

START_TEST(names_that_are_gone_leave_no_slot)
{
	enum { NAMES = 40 };
	struct stash_child_spec one = { .size = sizeof one };
	struct stash_client *other;
	char names[NAMES][16];
	int before;

	admin_begin();
	before = admin_slot_files();
	other = t_client(&stashd);
	for (int round = 1; round <= 2; round++) {
		for (int i = 0; i < NAMES; i++) {
			char count[12];

			snprintf(names[i], sizeof names[i], "n-%d", i);
			snprintf(count, sizeof count, "%d", round);
			one.name = names[i];
			GIVES(stash_start_child(client, "root/pool", &one, NULL, LONG_MS), 0, "");
			t_expect_call(other, names[i], "count", "", count);
		}
		ck_assert_int_gt(admin_slot_files(), before);
		for (int i = 0; i < NAMES; i++)
			GIVES(stash_terminate_child(client, "root/pool", names[i], LONG_MS), 0, "");
		ck_assert_msg(
		    t_wait_for(has_as_many, &before, LONG_MS), "%d files instead of %d", admin_slot_files(), before);
	}
	stash_client_close(other);
	admin_end();
}
END_TEST

/* Started and ended; returns when their slots are gone. */
static void
use_names(unsigned from, unsigned to, const int *files)
{
	struct stash_child_spec one = { .size = sizeof one };
	char name[16];

	one.name = name;
	for (unsigned i = from; i < to; i++) {
		snprintf(name, sizeof name, "n-%u", i);
		GIVES(stash_start_child(client, "root/pool", &one, NULL, LONG_MS), 0, "");
		GIVES(stash_terminate_child(client, "root/pool", name, LONG_MS), 0, "");
	}
	ck_assert_msg(t_wait_for(has_as_many, (void *)(uintptr_t)files, LONG_MS), "%d files instead of %d",
	    admin_slot_files(), *files);
}

/* A name took a KiB; in the memory that sanitizers keep for themselves nothing can be told. */
START_TEST(names_that_are_gone_leave_no_memory)
{
	enum { FEW = 300 };
	const unsigned more = t_patience() > 1 ? FEW : 7 * FEW;
	unsigned long before, after;
	int files;
	pid_t supervisor;

	admin_begin();
	files = admin_slot_files();
	supervisor = t_pid(&stashd, T_SUPERVISOR, NULL);
	use_names(0, FEW, &files);
	before = t_memory(supervisor);
	/* As many at a time as before, so that not more of them wait for their slots' end. */
	for (unsigned i = FEW; i < FEW + more; i += FEW)
		use_names(i, i + FEW, &files);
	after = t_memory(supervisor);
	printf("%d names come and gone, %u more: from %lu to %lu KiB\n", FEW, more, before, after);
	if (t_patience() == 1)
		ck_assert_uint_le(after, before + more / 5);
	admin_end();
}
END_TEST

/* A name is used again at any moment while its slot is being released. */
START_TEST(a_name_is_used_again_at_once)
{
	struct stash_child_spec b = admin_child("b", NULL);
	int64_t until = stash__now_ns() + 4 * STASH__NS_PER_S;
	char count[16];

	admin_begin();
	for (int i = 1; stash__now_ns() < until; i++) {
		struct stash_client *other = t_client(&stashd);

		snprintf(count, sizeof count, "%d", i);
		GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), 0, "");
		t_expect_call(other, "b", "count", "", count);
		stash_client_close(other);
		GIVES(stash_terminate_child(client, "root", "b", LONG_MS), 0, "");
		GIVES(stash_delete_child(client, "root", "b", LONG_MS), 0, "");
		(void)poll(NULL, 0, i % 50);
	}
	admin_end();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("admin deaths");
	TCase *tc = t_case(s, "admin deaths", 60);

	tcase_add_test(tc, dynamic_children_survive_the_supervisor);
	tcase_add_test(tc, a_start_survives_the_supervisor);
	tcase_add_test(tc, each_start_is_done_once);
	tcase_add_test(tc, requests_wait_for_the_next_supervisor);
	tcase_add_test(tc, dynamic_children_survive_everything);
	tcase_add_test(tc, without_stashd_all_is_down);
	tcase_add_test(tc, names_that_are_gone_leave_no_slot);
	tcase_add_test(tc, names_that_are_gone_leave_no_memory);
	tcase_add_test(tc, a_name_is_used_again_at_once);
	return s;
}

TEST_MAIN(suite)
