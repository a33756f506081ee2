/* SPDX-License-Identifier: ISC */
/*
 * Monitors on a living stashd: each end is told once, whoever dies meanwhile.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/stash.h>

#include "testlib_names.h"

START_TEST(test_monitor)
{
	int64_t ref;

	tn_start("");
	ref = tn_monitor("a", "b");
	ck_assert_int_eq(tn_monitor("a", "b"), ref);
	ck_assert_int_ne(tn_monitor("c", "b"), ref);
	tn_kill_and_wait("b");
	tn_expect_soon("a", "reasons", "0 0 1 0 0 last b wrong 0");
	tn_expect_soon("c", "reasons", "0 0 1 0 0 last b wrong 0");
	ck_assert_int_eq(stash_call(tn_c, "b", "abort", NULL, 0, NULL, 20000), STASH_E_CRASHED);
	tn_expect_soon("a", "reasons", "0 0 1 1 0 last b wrong 0");
	tn_expect("b", "stop", NULL, "");
	tn_expect_soon("a", "reasons", "1 0 1 1 0 last b wrong 0");
	ck_assert_int_eq(stash_bounce(tn_c, "b", 20000), STASH_OK);
	tn_expect_soon("a", "reasons", "1 1 1 1 0 last b wrong 0");
	/* Over restarts of the watcher, too. */
	tn_kill_and_wait("a");
	ck_assert_int_eq(tn_monitor("a", "b"), ref);
	tn_kill_and_wait("b");
	tn_expect_soon("a", "reasons", "1 1 2 1 0 last b wrong 0");
	{
		char text[32];
		snprintf(text, sizeof text, "%lld", (long long)ref);
		tn_expect("a", "demonitor", text, "STASH_OK");
		tn_expect("a", "demonitor", text, "STASH_OK");
	}
	tn_kill_and_wait("b");
	tn_expect_soon("c", "downs", "6");
	tn_expect("a", "reasons", NULL, "1 1 2 1 0 last b wrong 0");
	ck_assert_int_ne(tn_monitor("a", "b"), ref);
	tn_stop();
}
END_TEST

/* A name that nobody has: told at once, and again when somebody has had it. */
START_TEST(test_noproc)
{
	char more[PATH_MAX * 2];

	snprintf(more, sizeof more, "%s", tn_child("d", "restart = \"temporary\";"));
	tn_start(more);
	(void)tn_monitor("a", "nobody");
	tn_expect_soon("a", "reasons", "0 0 0 0 1 last nobody wrong 0");
	(void)tn_monitor("a", "nobody");
	tn_expect("a", "reasons", NULL, "0 0 0 0 1 last nobody wrong 0");
	(void)tn_monitor("b", "d");
	tn_expect("d", "stop_shutdown", NULL, "");
	tn_expect_soon("b", "reasons", "0 1 0 0 0 last d wrong 0");
	(void)tn_monitor("c", "d");
	tn_expect_soon("c", "reasons", "0 0 0 0 1 last d wrong 0");
	/* An alias stands for its owner, and for itself where there is none. */
	tn_expect("b", "register", "front", "STASH_OK");
	ck_assert_int_eq(tn_monitor("a", "front"), tn_monitor("a", "b"));
	tn_kill_and_wait("b");
	tn_expect_soon("a", "reasons", "0 0 1 0 1 last b wrong 0");
	(void)tn_monitor("c", "c");
	tn_kill_and_wait("c");
	tn_expect_soon("c", "reasons", "0 0 1 0 1 last c wrong 0");
	tn_stop();
}
END_TEST

/* Ends that nobody is there to hear: of the target with the supervisor, with the watcher, of all. */
START_TEST(test_missed)
{
	int32_t pid;

	tn_start("");
	(void)tn_monitor("a", "b");
	pid = tn_pid_of("b");
	ck_assert(t_murder(&tn_d, T_SUPERVISOR, NULL));
	ck_assert(t_murder(&tn_d, T_WORKER, "b"));
	tn_wait_status("b", STASH_RUNNING, pid);
	tn_expect_soon("a", "reasons", "0 0 1 0 0 last b wrong 0");
	pid = tn_pid_of("b");
	ck_assert(t_murder(&tn_d, T_SUPERVISOR, NULL));
	ck_assert(t_murder(&tn_d, T_WORKER, "a"));
	ck_assert(t_murder(&tn_d, T_WORKER, "b"));
	tn_wait_status("b", STASH_RUNNING, pid);
	tn_expect_soon("a", "reasons", "0 0 2 0 0 last b wrong 0");
	stash_client_close(tn_c);
	t_murder_all(&tn_d);
	t_stashd_start(&tn_d, NULL);
	tn_c = t_client(&tn_d);
	tn_expect_soon("a", "reasons", "0 0 3 0 0 last b wrong 0");
	tn_kill_and_wait("b");
	tn_expect_soon("a", "reasons", "0 0 4 0 0 last b wrong 0");
	tn_stop();
}
END_TEST

/* What is noted, and nobody has told when the supervisor dies, is told by the next one, to a watcher that lives on. */
START_TEST(test_noted_and_not_told)
{
	static char dir[PATH_MAX + 32];
	static const char *const env[] = { "STASH_CRASH=sup_named:1:supervisor", dir, NULL };
	int32_t pid;

	snprintf(dir, sizeof dir, "STASH_CRASH_DIR=%s", t_dir());
	tn_start_dying("", env);
	pid = tn_pid_of("a");
	(void)tn_monitor("a", "nobody");
	tn_expect_soon("a", "reasons", "0 0 0 0 1 last nobody wrong 0");
	ck_assert_int_eq(access(t_path("fired"), F_OK), 0);
	ck_assert_int_eq(tn_pid_of("a"), pid);
	tn_stop();
}
END_TEST

/* Each end once, whatever dies meanwhile. */
START_TEST(test_storm)
{
	enum { TARGETS = 4, KILLS = 160 };
	char more[TARGETS * 1024] = "", name[32];

	for (int i = 0; i < TARGETS; i++) {
		snprintf(name, sizeof name, "t%d", i);
		strncat(more, tn_child(name, ""), sizeof more - strlen(more) - 1);
	}
	tn_start(more);
	for (int i = 0; i < TARGETS; i++) {
		snprintf(name, sizeof name, "t%d", i);
		(void)tn_monitor("a", name);
		(void)tn_monitor("b", name);
	}
	for (int i = 0; i < KILLS; i++) {
		snprintf(name, sizeof name, "t%d", i % TARGETS);
		if (i % 8 == 3)
			(void)t_murder(&tn_d, T_SUPERVISOR, NULL);
		tn_kill_worker(name);
		if (i % 8 == 6)
			(void)t_murder(&tn_d, T_SUPERVISOR, NULL);
		if (i % 5 == 2)
			(void)t_murder(&tn_d, T_WORKER, "b");
	}
	snprintf(name, sizeof name, "%d", KILLS);
	tn_expect_soon("a", "downs", name);
	tn_expect_soon("b", "downs", name);
	/* A last one, so that nothing is behind it. */
	tn_kill_worker("t0");
	snprintf(name, sizeof name, "%d", KILLS + 1);
	tn_expect_soon("a", "downs", name);
	tn_expect_soon("b", "downs", name);
	tn_stop();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("monitors");
	TCase *t = t_case(s, "monitors", 240);

	tcase_add_test(t, test_monitor);
	tcase_add_test(t, test_noproc);
	tcase_add_test(t, test_missed);
	tcase_add_test(t, test_noted_and_not_told);
	tcase_add_test(t, test_storm);
	return s;
}

TEST_MAIN(suite)
