/* SPDX-License-Identifier: ISC */
/*
 * Children that are stopped since their start failed: who is one, what makes it
 * none, and that it is known after a takeover.
 */
#include <stdlib.h>
#include <string.h>

#include "testlib.h"
#include "testlib_tree.h"

Suite *tree_failed_suite(void);

static struct t_tree t;

static void
begin(const char *spec)
{
	t_tree_start(&t, spec);
	t_tree_settle(&t);
}

/* The paths of those that are, in the tree's order, each with a space behind it. */
static void
failed_are(int line, const char *paths)
{
	const struct sup_node *n;
	char text[1024] = "";

	for (n = sup_next(t.sup, NULL); n != NULL; n = sup_next(t.sup, n)) {
		if (!sup_node_failed(n))
			continue;
		ck_assert_int_eq(sup_node_status(n), STASH_STOPPED);
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", sup_node_path(n));
	}
	ck_assert_msg(strcmp(text, paths) == 0, "line %d: %s", line, text);
}
#define FAILED(paths) failed_are(__LINE__, paths)

/* Takes root/b, which runs, to a start that fails. */
static void
fail_b(void)
{
	t_tree_reload(&t, 1, "root(a b[500ms] c)");
	t_tree_exit(&t, "root/b", STASH_REASON_SHUTDOWN);
	FAILED("");
	t_tree_failed(&t, "root/b");
	(void)t_tree_log(&t);
}

START_TEST(a_changed_child_that_does_not_start)
{
	begin("root(a b c)");
	fail_b();
	FAILED("root/b ");
	t_tree_reload(&t, 2, "root(a b c)");
	FAILED("");
	t_tree_ready(&t, "root/b");
	ck_assert_ptr_nonnull(strstr(t_tree_log(&t), "REPLY 2 ok"));
	FAILED("");
	t_tree_close(&t);
}
END_TEST

START_TEST(an_added_child_that_does_not_start)
{
	begin("root(a)");
	t_tree_reload(&t, 1, "root(a b c)");
	t_tree_failed(&t, "root/b");
	t_tree_ready(&t, "root/c");
	t_tree_is(&t,
	    "START root/b; FAILED root/b init_error; START root/c; STARTED root/c; "
	    "REPLY 1 STASH_E_START root/b init_error");
	FAILED("root/b ");
	t_tree_reload(&t, 2, "root(a c)");
	FAILED("");
	t_tree_close(&t);
}
END_TEST

START_TEST(until_it_is_started_or_stopped)
{
	begin("root(a b c)");
	t.statuses = true;
	fail_b();
	t_tree_ask(&t, 2, SUP_TERMINATE_CHILD, "root", "b");
	t_tree_is(&t, "root/b stopped; REPLY 2 ok");
	FAILED("");
	t_tree_ask(&t, 3, SUP_RESTART_CHILD, "root", "b");
	FAILED("");
	t_tree_failed(&t, "root/b");
	t_tree_is(&t, "root/b stopped; START root/b; FAILED root/b init_error; REPLY 3 STASH_E_START init_error");
	FAILED("root/b ");
	t_tree_ask(&t, 4, SUP_RESTART_CHILD, "root", "b");
	t_tree_ignored(&t, "root/b");
	FAILED("");
	t_tree_ask(&t, 5, SUP_RESTART_CHILD, "root", "b");
	t_tree_failed(&t, "root/b");
	FAILED("root/b ");
	t_tree_ask(&t, 6, SUP_BOUNCE, "root", "b");
	t_tree_ready(&t, "root/b");
	FAILED("");
	t_tree_close(&t);
}
END_TEST

/* Whoever is tried again is none, and nor is who goes with its supervisor. */
START_TEST(a_restart_that_fails_is_another_thing)
{
	begin("root[intensity=9](s[intensity=1](a b) c)");
	t_tree_exit(&t, "root/s/a", STASH_REASON_CRASH);
	t_tree_failed(&t, "root/s/a");
	FAILED("");
	t_tree_settle(&t);
	t_tree_exit(&t, "root/s/a", STASH_REASON_CRASH);
	t_tree_exit(&t, "root/s/b", STASH_REASON_SHUTDOWN);
	FAILED("");
	t_tree_settle(&t);
	FAILED("");
	ck_assert_int_eq(sup_stop(t.sup, t.now), 0);
	t_tree_exit(&t, "root/c", STASH_REASON_SHUTDOWN);
	FAILED("");
	t_tree_close(&t);
}
END_TEST

START_TEST(a_branch_fails_as_a_whole)
{
	begin("root(a)");
	t_tree_reload(&t, 1, "root(a s(x y z))");
	t_tree_ready(&t, "root/s/x");
	t_tree_failed(&t, "root/s/y");
	FAILED("");
	t_tree_exit(&t, "root/s/x", STASH_REASON_SHUTDOWN);
	(void)t_tree_log(&t);
	FAILED("root/s root/s/x root/s/y root/s/z ");
	t_tree_takeover(&t, false);
	FAILED("root/s root/s/x root/s/y root/s/z ");
	t.statuses = true;
	(void)t_tree_log(&t);
	t_tree_ask(&t, 2, SUP_TERMINATE_CHILD, "root", "s");
	t_tree_is(&t, "root/s/x stopped; root/s/y stopped; root/s/z stopped; REPLY 2 ok");
	FAILED("");
	t_tree_ask(&t, 3, SUP_RESTART_CHILD, "root", "s");
	t_tree_settle(&t);
	FAILED("");
	/* one of a branch that runs is one by itself */
	t_tree_ask(&t, 4, SUP_TERMINATE_CHILD, "root/s", "y");
	t_tree_exit(&t, "root/s/y", STASH_REASON_SHUTDOWN);
	t_tree_ask(&t, 5, SUP_RESTART_CHILD, "root/s", "y");
	t_tree_failed(&t, "root/s/y");
	FAILED("root/s/y ");
	/* until its supervisor is stopped */
	t_tree_ask(&t, 6, SUP_TERMINATE_CHILD, "root", "s");
	t_tree_exit(&t, "root/s/z", STASH_REASON_SHUTDOWN);
	t_tree_exit(&t, "root/s/x", STASH_REASON_SHUTDOWN);
	FAILED("");
	t_tree_close(&t);
}
END_TEST

START_TEST(it_outlives_its_supervisor_and_the_boot)
{
	begin("root(a b c)");
	fail_b();
	t_tree_takeover(&t, false);
	t_tree_is(&t, "");
	FAILED("root/b ");
	t_tree_takeover(&t, true);
	FAILED("root/b ");
	t_tree_settle(&t);
	ck_assert_int_eq(sup_node_state(sup_find_path(t.sup, "root/c")), SUP_RUNNING);
	FAILED("root/b ");
	t_tree_ask(&t, 2, SUP_RESTART_CHILD, "root", "b");
	t_tree_settle(&t);
	t_tree_takeover(&t, false);
	FAILED("");
	t_tree_close(&t);
}
END_TEST

Suite *
tree_failed_suite(void)
{
	Suite *s = suite_create("tree_failed");
	TCase *c = t_case(s, "failed", 20);

	tcase_add_test(c, a_changed_child_that_does_not_start);
	tcase_add_test(c, an_added_child_that_does_not_start);
	tcase_add_test(c, until_it_is_started_or_stopped);
	tcase_add_test(c, a_restart_that_fails_is_another_thing);
	tcase_add_test(c, a_branch_fails_as_a_whole);
	tcase_add_test(c, it_outlives_its_supervisor_and_the_boot);
	return s;
}

TEST_MAIN(tree_failed_suite)
