/* SPDX-License-Identifier: ISC */
/*
 * The tree machine by hand: what OTP has (in short; the recorded scenarios of
 * test_tree_otp.c say it at length), and what it hasn't: names, start timeouts,
 * bounce, statuses, killing, and the limits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testlib.h"
#include "testlib_tree.h"

Suite *tree_suite(void);

static struct t_tree t;

static void
begin(const char *spec)
{
	t_tree_start(&t, spec);
	t_tree_settle(&t);
}

/* ---- strategies ---- */

START_TEST(one_for_one_restarts_the_one)
{
	begin("root(a b c)");
	t_tree_exit(&t, "root/b", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/b crash; RESTARTING root/b; START root/b");
	t_tree_ready(&t, "root/b");
	t_tree_is(&t, "STARTED root/b");
	ck_assert_uint_eq(sup_node_restarts(sup_find_path(t.sup, "root/b")), 1);
	ck_assert_uint_eq(sup_node_restarts(sup_find_path(t.sup, "root/a")), 0);
	ck_assert_int_eq(sup_node_last_reason(sup_find_path(t.sup, "root/b")), STASH_REASON_CRASH);
	t_tree_close(&t);
}
END_TEST

START_TEST(one_for_all_stops_backwards_and_starts_forwards)
{
	begin("root[one_for_all](a b c)");
	t_tree_exit(&t, "root/b", STASH_REASON_KILLED);
	t_tree_is(&t, "STOPPED root/b killed; RESTARTING root/b; SIGNAL root/c");
	t_tree_exit(&t, "root/c", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "STOPPED root/c shutdown; SIGNAL root/a");
	t_tree_exit(&t, "root/a", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "STOPPED root/a shutdown; START root/a");
	t_tree_ready(&t, "root/a");
	t_tree_is(&t, "STARTED root/a; START root/b");
	t_tree_ready(&t, "root/b");
	t_tree_is(&t, "STARTED root/b; START root/c");
	t_tree_ready(&t, "root/c");
	t_tree_is(&t, "STARTED root/c");
	ck_assert_uint_eq(sup_node_restarts(sup_find_path(t.sup, "root/a")), 1);
	t_tree_close(&t);
}
END_TEST

START_TEST(rest_for_one_leaves_those_before)
{
	begin("root[rest_for_one](a b c[temporary])");
	t_tree_exit(&t, "root/b", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/b crash; RESTARTING root/b; SIGNAL root/c");
	t_tree_exit(&t, "root/c", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "GONE root/c; STOPPED root/c shutdown; START root/b");
	t_tree_ready(&t, "root/b");
	t_tree_is(&t, "STARTED root/b");
	t_tree_close(&t);
}
END_TEST

START_TEST(a_failed_restart_is_tried_again_behind_the_queue)
{
	begin("root[intensity=5](a b)");
	t_tree_exit(&t, "root/a", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/a crash; RESTARTING root/a; START root/a");
	t_tree_ask(&t, 1, SUP_WHICH_CHILDREN, "root", NULL);
	t_tree_exit(&t, "root/b", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/b crash");
	t_tree_failed(&t, "root/a");
	t_tree_is(&t, "FAILED root/a init_error; REPLY 1 ok; RESTARTING root/b; START root/b");
	t_tree_ready(&t, "root/b");
	t_tree_is(&t, "STARTED root/b; RESTARTING root/a; START root/a");
	t_tree_close(&t);
}
END_TEST

/* ---- intensity ---- */

static void
crash(const char *path, bool survives)
{
	t_tree_exit(&t, path, STASH_REASON_CRASH);
	ck_assert_msg((strstr(t_tree_log(&t), "ESCALATED") == NULL) == survives, "%s", t.log);
	if (survives) {
		t_tree_ready(&t, path);
		(void)t_tree_log(&t);
	}
}

START_TEST(intensity_counts_what_lies_within_the_period)
{
	begin("root[intensity=2,period=10](a)");
	crash("root/a", true);
	t_tree_sleep(&t, 6000);
	crash("root/a", true);
	t_tree_sleep(&t, 4001); /* the first one is over by 1 ms */
	crash("root/a", true);
	t_tree_sleep(&t, 5999); /* the second one is not */
	crash("root/a", false);
	t_tree_close(&t);
}
END_TEST

START_TEST(a_large_intensity_takes_bounded_room)
{
	size_t len;
	struct stash_buf *buf;
	int i;

	begin("root[intensity=100000,period=3600](a)");
	for (i = 0; i < 100000; i++) {
		t.now += 7 * T_MS;
		t_tree_exit(&t, "root/a", STASH_REASON_CRASH);
		while (sup_next_action(t.sup, &(struct sup_action){ 0 }))
			;
		t_tree_ready(&t, "root/a");
	}
	t_tree_is(&t, "STARTED root/a");
	buf = stash_buf_create();
	ck_assert_int_eq(sup_pack(t.sup, "root", buf), 0);
	ck_assert_int_eq(stash_buf_data(buf, NULL, &len), 0);
	ck_assert_uint_lt(len, 5000);
	stash_buf_destroy(buf);
	crash("root/a", false);
	t_tree_close(&t);
}
END_TEST

START_TEST(escalation_ends_the_tree_and_says_so)
{
	begin("root[intensity=0](a s[intensity=0](x y))");
	t_tree_exit(&t, "root/s/x", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/s/x crash; ESCALATED root/s; SIGNAL root/s/y");
	t_tree_exit(&t, "root/s/y", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "STOPPED root/s/y shutdown; STOPPED root/s shutdown; ESCALATED root; SIGNAL root/a");
	t_tree_exit(&t, "root/a", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "STOPPED root/a shutdown; STOPPED root shutdown; DONE STASH_E_ESCALATED");
	t_tree_close(&t);
}
END_TEST

START_TEST(counters_outlive_the_restart_of_their_supervisor)
{
	begin("root[intensity=9](s[intensity=1](x y))");
	crash("root/s/x", true);
	t_tree_exit(&t, "root/s/x", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/s/x crash; ESCALATED root/s; SIGNAL root/s/y");
	t_tree_exit(&t, "root/s/y", STASH_REASON_SHUTDOWN);
	t_tree_settle(&t);
	ck_assert_uint_eq(sup_node_restarts(sup_find_path(t.sup, "root/s/x")), 2);
	ck_assert_uint_eq(sup_node_restarts(sup_find_path(t.sup, "root/s/y")), 1);
	ck_assert_uint_eq(sup_node_restarts(sup_find_path(t.sup, "root/s")), 1);
	crash("root/s/x", true); /* the supervisor's history began anew */
	t_tree_close(&t);
}
END_TEST

/* ---- times ---- */

START_TEST(a_child_that_does_not_stop_is_killed)
{
	begin("root(a[100ms] b[brutal] c[infinity])");
	ck_assert_int_eq(sup_deadline(t.sup), SUP_NEVER);
	ck_assert_int_eq(sup_stop(t.sup, t.now), 0);
	t_tree_is(&t, "SIGNAL root/c");
	ck_assert_int_eq(sup_deadline(t.sup), SUP_NEVER);
	t_tree_sleep(&t, 100000);
	t_tree_is(&t, "");
	t_tree_exit(&t, "root/c", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/c crash; KILL root/b");
	t_tree_exit(&t, "root/b", STASH_REASON_KILLED);
	t_tree_is(&t, "STOPPED root/b killed; SIGNAL root/a");
	ck_assert_int_eq(sup_deadline(t.sup), t.now + 100 * T_MS);
	t_tree_sleep(&t, 99);
	t_tree_is(&t, "");
	t_tree_sleep(&t, 1);
	t_tree_is(&t, "TOO_LATE root/a; KILL root/a");
	ck_assert_int_eq(sup_deadline(t.sup), SUP_NEVER);
	t_tree_exit(&t, "root/a", STASH_REASON_KILLED);
	t_tree_is(&t, "STOPPED root/a killed; STOPPED root shutdown; DONE ok");
	t_tree_close(&t);
}
END_TEST

START_TEST(a_start_that_takes_too_long_has_failed)
{
	t_tree_start(&t, "root(a b[timeout=200])");
	t_tree_ready(&t, "root/a");
	t_tree_is(&t, "START root/a; STARTED root/a; START root/b");
	ck_assert_int_eq(sup_deadline(t.sup), t.now + 200 * T_MS);
	t_tree_sleep(&t, 200);
	t_tree_is(&t, "TOO_LATE root/b timeout; KILL root/b");
	t_tree_ready(&t, "root/b"); /* too late */
	t_tree_is(&t, "");
	t_tree_exit(&t, "root/b", STASH_REASON_KILLED);
	t_tree_is(&t, "FAILED root/b timeout; SIGNAL root/a");
	t_tree_exit(&t, "root/a", STASH_REASON_SHUTDOWN);
	t_tree_is(&t,
	    "STOPPED root/a shutdown; FAILED root failed_to_start_child b timeout; "
	    "DONE STASH_E_START failed_to_start_child b timeout");
	t_tree_close(&t);
}
END_TEST

START_TEST(a_supervisor_that_is_killed_takes_its_branch_along)
{
	begin("root(a s[50ms](x[infinity] t(y z)) b)");
	t_tree_ask(&t, 1, SUP_TERMINATE_CHILD, "root", "s");
	t_tree_is(&t, "SIGNAL root/s/t/z");
	t_tree_ask(&t, 2, SUP_WHICH_CHILDREN, "root/s", NULL);
	t_tree_sleep(&t, 50);
	t_tree_is(&t, "TOO_LATE root/s; KILL root/s/x; KILL root/s/t/y; KILL root/s/t/z");
	t_tree_exit(&t, "root/s/t/y", STASH_REASON_KILLED);
	t_tree_exit(&t, "root/s/x", STASH_REASON_KILLED);
	t_tree_is(&t, "STOPPED root/s/t/y killed; STOPPED root/s/x killed");
	t_tree_exit(&t, "root/s/t/z", STASH_REASON_KILLED);
	t_tree_is(&t,
	    "STOPPED root/s/t/z killed; STOPPED root/s/t killed; REPLY 2 STASH_E_DOWN noproc; "
	    "STOPPED root/s killed; REPLY 1 ok");
	t_tree_close(&t);
}
END_TEST

START_TEST(kill_ends_everything_at_once)
{
	t_tree_start(&t, "root(a s(x[infinity] y))");
	t_tree_ready(&t, "root/a");
	t_tree_ready(&t, "root/s/x");
	t_tree_is(&t, "START root/a; STARTED root/a; START root/s/x; STARTED root/s/x; START root/s/y");
	sup_kill(t.sup, t.now);
	sup_kill(t.sup, t.now);
	t_tree_is(&t, "KILL root/a; KILL root/s/x; KILL root/s/y");
	t_tree_exit(&t, "root/s/x", STASH_REASON_KILLED);
	t_tree_exit(&t, "root/s/y", STASH_REASON_KILLED);
	t_tree_is(&t, "STOPPED root/s/x killed; FAILED root/s/y killed; FAILED root/s killed");
	t_tree_exit(&t, "root/a", STASH_REASON_KILLED);
	t_tree_is(&t, "STOPPED root/a killed; FAILED root killed; DONE ok");
	ck_assert_int_eq(sup_stop(t.sup, t.now), STASH_E_DOWN);
	t_tree_close(&t);
}
END_TEST

START_TEST(a_tree_may_be_started_again)
{
	begin("root(a)");
	ck_assert_int_eq(sup_start(t.sup, t_spec("root(b)"), t.now), STASH_E_RUNNING);
	sup_kill(t.sup, t.now);
	t_tree_exit(&t, "root/a", STASH_REASON_KILLED);
	(void)t_tree_log(&t);
	ck_assert_int_eq(sup_start(t.sup, t_spec("root(b)"), t.now), 0);
	t_tree_is(&t, "GONE root/a; START root/b");
	t_tree_close(&t);
}
END_TEST

/* ---- late events ---- */

START_TEST(events_of_an_earlier_start_are_dropped)
{
	uint64_t node, start;

	begin("root(a)");
	node = sup_node_handle(sup_find_path(t.sup, "root/a"));
	start = sup_node_start(sup_find_path(t.sup, "root/a"));
	crash("root/a", true);
	sup_exited(t.sup, node, start, STASH_REASON_CRASH, t.now);
	sup_ready(t.sup, node, start, t.now);
	sup_failed(t.sup, node, start, "init_error", t.now);
	sup_ignored(t.sup, node + 1000, start, t.now);
	sup_exited(t.sup, sup_node_handle(sup_root(t.sup)), sup_node_start(sup_root(t.sup)), STASH_REASON_CRASH, t.now);
	t_tree_is(&t, "");
	ck_assert_int_eq(sup_node_state(sup_find_path(t.sup, "root/a")), SUP_RUNNING);
	t_tree_close(&t);
}
END_TEST

/* ---- requests ---- */

START_TEST(bounce_stops_and_starts_and_counts_as_no_restart)
{
	begin("root[intensity=0](a b)");
	t_tree_ask(&t, 1, SUP_BOUNCE, "root", "a");
	t_tree_is(&t, "SIGNAL root/a");
	t_tree_exit(&t, "root/a", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "STOPPED root/a shutdown; START root/a");
	t_tree_ready(&t, "root/a");
	t_tree_is(&t, "STARTED root/a; REPLY 1 ok");
	ck_assert_uint_eq(sup_node_restarts(sup_find_path(t.sup, "root/a")), 0);
	t_tree_ask(&t, 2, SUP_BOUNCE, "root", "nobody");
	t_tree_ask(&t, 3, SUP_BOUNCE, "root/a", "nobody");
	t_tree_ask(&t, 4, SUP_BOUNCE, "root", NULL);
	t_tree_is(&t, "REPLY 2 STASH_E_NOENT not_found; REPLY 3 STASH_E_NOENT noproc; REPLY 4 STASH_E_INVAL");
	t_tree_close(&t);
}
END_TEST

START_TEST(bounce_starts_what_was_terminated)
{
	begin("root(a)");
	t_tree_ask(&t, 1, SUP_TERMINATE_CHILD, "root", "a");
	t_tree_exit(&t, "root/a", STASH_REASON_SHUTDOWN);
	(void)t_tree_log(&t);
	t_tree_ask(&t, 2, SUP_BOUNCE, "root", "a");
	t_tree_failed(&t, "root/a");
	t_tree_is(&t, "START root/a; FAILED root/a init_error; REPLY 2 STASH_E_START init_error");
	ck_assert_int_eq(sup_node_state(sup_find_path(t.sup, "root/a")), SUP_DOWN);
	t_tree_close(&t);
}
END_TEST

START_TEST(a_bounce_that_fails_is_a_crash)
{
	begin("root[intensity=1](a)");
	t_tree_ask(&t, 1, SUP_BOUNCE, "root", "a");
	t_tree_exit(&t, "root/a", STASH_REASON_SHUTDOWN);
	t_tree_failed(&t, "root/a");
	t_tree_is(&t,
	    "SIGNAL root/a; STOPPED root/a shutdown; START root/a; FAILED root/a init_error; "
	    "REPLY 1 STASH_E_START init_error; RESTARTING root/a; START root/a");
	t_tree_failed(&t, "root/a");
	t_tree_is(&t, "FAILED root/a init_error; ESCALATED root; STOPPED root shutdown; DONE STASH_E_ESCALATED");
	t_tree_close(&t);
}
END_TEST

START_TEST(a_branch_is_bounced_as_a_whole)
{
	begin("root(s(x y))");
	t_tree_ask(&t, 1, SUP_BOUNCE, "root", "s");
	t_tree_exit(&t, "root/s/y", STASH_REASON_SHUTDOWN);
	t_tree_exit(&t, "root/s/x", STASH_REASON_SHUTDOWN);
	t_tree_ready(&t, "root/s/x");
	t_tree_ready(&t, "root/s/y");
	t_tree_is(&t,
	    "SIGNAL root/s/y; STOPPED root/s/y shutdown; SIGNAL root/s/x; STOPPED root/s/x shutdown; "
	    "STOPPED root/s shutdown; START root/s/x; STARTED root/s/x; START root/s/y; STARTED root/s/y; "
	    "STARTED root/s; REPLY 1 ok");
	t_tree_close(&t);
}
END_TEST

START_TEST(long_work_lets_the_layer_in_between)
{
	struct sup_action a;
	int i, replies = 0, rests = 0;

	begin("root(a)");
	t_tree_add(&t, 1, "root", "b");
	for (i = 0; i < 2500; i++)
		t_tree_ask(&t, (uint64_t)i + 2, SUP_COUNT_CHILDREN, "root", NULL);
	t_tree_is(&t, "START root/b");
	t_tree_ready(&t, "root/b");
	for (; sup_deadline(t.sup) <= t.now; rests++) {
		while (sup_next_action(t.sup, &a))
			replies += a.kind == SUP_ACT_REPLY;
		sup_clock(t.sup, t.now);
	}
	while (sup_next_action(t.sup, &a))
		replies += a.kind == SUP_ACT_REPLY;
	ck_assert_int_eq(replies, 2501);
	ck_assert_int_ge(rests, 2);
	t_tree_close(&t);
}
END_TEST

START_TEST(wrong_specs_are_refused_in_otps_words)
{
	struct sup_spec *spec = t_spec("c");
	struct sup_request request = { .kind = SUP_START_CHILD, .supervisor = "root", .spec = spec };

	begin("root(a)");
	spec->restart = 7;
	sup_request(t.sup, &request, t.now);
	spec->restart = STASH_TRANSIENT;
	spec->significant = 1;
	sup_request(t.sup, &request, t.now);
	request.spec = NULL;
	sup_request(t.sup, &request, t.now);
	t_tree_is(&t,
	    "REPLY 0 STASH_E_SPEC invalid_restart_type; REPLY 0 STASH_E_SPEC bad_combination; "
	    "REPLY 0 STASH_E_SPEC invalid_child_spec");
	sup_spec_unref(spec);
	t_tree_add(&t, 1, "root", "a");
	t_tree_is(&t, "REPLY 1 STASH_E_STARTED already_started");
	t_tree_close(&t);
}
END_TEST

START_TEST(a_path_that_would_be_too_long_is_refused)
{
	char spec[STASH_NAME_MAX * 4], id[STASH_NAME_MAX + 1];

	memset(id, 'x', STASH_NAME_MAX);
	id[STASH_NAME_MAX] = '\0';
	begin("root(a)");
	snprintf(spec, sizeof(spec), "%s(%s(%s[nameless]))", id, id, id);
	t_tree_add(&t, 1, "root", spec);
	ck_assert_ptr_nonnull(strstr(t_tree_log(&t), "REPLY 1 STASH_E_START failed_to_start_child xxx"));
	ck_assert_ptr_nonnull(strstr(t.log, "start_spec path_too_long xxx"));
	t_tree_close(&t);
}
END_TEST

/* ---- names ---- */

START_TEST(a_name_is_held_once)
{
	begin("root(a[name=n] b)");
	t_tree_add(&t, 1, "root", "c[name=n]");
	t_tree_is(&t, "GONE root/c; FAILED root/c already_started; REPLY 1 STASH_E_EXIST already_started");
	ck_assert_str_eq(sup_node_path(sup_find_name(t.sup, "n")), "root/a");
	t_tree_ask(&t, 2, SUP_TERMINATE_CHILD, "root", "a");
	t_tree_exit(&t, "root/a", STASH_REASON_SHUTDOWN);
	(void)t_tree_log(&t);
	t_tree_add(&t, 3, "root", "c[name=n]"); /* a is a child still */
	t_tree_is(&t, "GONE root/c; FAILED root/c already_started; REPLY 3 STASH_E_EXIST already_started");
	t_tree_ask(&t, 4, SUP_DELETE_CHILD, "root", "a");
	t_tree_add(&t, 5, "root", "c[name=n]");
	t_tree_is(&t, "GONE root/a; REPLY 4 ok; START root/c");
	ck_assert_str_eq(sup_node_path(sup_find_name(t.sup, "n")), "root/c");
	ck_assert_ptr_null(sup_find_name(t.sup, ""));
	ck_assert_str_eq(sup_node_path(sup_find_name(t.sup, "b")), "root/b");
	t_tree_close(&t);
}
END_TEST

START_TEST(instances_get_names)
{
	begin("root(p[simple](t) q[simple](t[nameless]))");
	t_tree_ask(&t, 1, SUP_START_CHILD, "root/p", NULL);
	t_tree_ask(&t, 2, SUP_START_CHILD, "root/p", "mine");
	t_tree_ask(&t, 3, SUP_START_CHILD, "root/q", "mine");
	t_tree_is(&t, "START root/p/t-1; START root/q/mine");
	t_tree_settle(&t);
	ck_assert_str_eq(sup_node_path(sup_find_name(t.sup, "t-1")), "root/p/t-1");
	ck_assert_str_eq(sup_node_path(sup_find_name(t.sup, "mine")), "root/p/mine");
	t_tree_ask(&t, 4, SUP_START_CHILD, "root/p", "mine");
	t_tree_ask(&t, 5, SUP_START_CHILD, "root/p", "no/name");
	t_tree_is(&t, "REPLY 4 STASH_E_EXIST already_started; REPLY 5 STASH_E_INVAL");
	t_tree_ask(&t, 6, SUP_TERMINATE_CHILD, "root/p", "mine");
	t_tree_exit(&t, "root/p/mine", STASH_REASON_SHUTDOWN);
	t_tree_ask(&t, 7, SUP_TERMINATE_CHILD, "root/p", "mine");
	t_tree_ask(&t, 8, SUP_TERMINATE_CHILD, "root/p", "never");
	t_tree_is(&t,
	    "GONE root/p/mine; SIGNAL root/p/mine; STOPPED root/p/mine shutdown; REPLY 6 ok; REPLY 7 ok; "
	    "REPLY 8 STASH_E_TEMPLATE simple_one_for_one");
	t_tree_close(&t);
}
END_TEST

/* ---- what clients are told ---- */

START_TEST(a_name_that_comes_back_is_never_told_to_be_stopped)
{
	begin("root[intensity=9](s[one_for_all,intensity=0](x y) z[transient])");
	t.statuses = true;
	t_tree_exit(&t, "root/s/x", STASH_REASON_CRASH);
	t_tree_is(&t,
	    "root/s/x stopping; root/s/y stopping; "
	    "STOPPED root/s/x crash; ESCALATED root/s; SIGNAL root/s/y");
	t_tree_exit(&t, "root/s/y", STASH_REASON_SHUTDOWN);
	t_tree_is(&t,
	    "root/s/y restarting; root/s/x restarting; STOPPED root/s/y shutdown; "
	    "STOPPED root/s shutdown; RESTARTING root/s; START root/s/x");
	t_tree_ready(&t, "root/s/x");
	t_tree_is(&t, "root/s/x running; STARTED root/s/x; START root/s/y");
	t_tree_exit(&t, "root/z", STASH_REASON_NORMAL);
	t_tree_is(&t, "root/z stopping; STOPPED root/z normal");
	t_tree_ready(&t, "root/s/y");
	t_tree_is(&t, "root/s/y running; root/z stopped; STARTED root/s/y; STARTED root/s");
	t_tree_ask(&t, 1, SUP_TERMINATE_CHILD, "root", "s");
	t_tree_exit(&t, "root/s/y", STASH_REASON_SHUTDOWN);
	t_tree_exit(&t, "root/s/x", STASH_REASON_SHUTDOWN);
	t_tree_is(&t,
	    "root/s/y stopped; root/s/x stopped; SIGNAL root/s/y; STOPPED root/s/y shutdown; "
	    "SIGNAL root/s/x; STOPPED root/s/x shutdown; STOPPED root/s shutdown; REPLY 1 ok");
	t_tree_ask(&t, 2, SUP_RESTART_CHILD, "root", "s");
	t_tree_is(&t, "root/s/x restarting; root/s/y restarting; START root/s/x");
	t_tree_close(&t);
}
END_TEST

Suite *
tree_suite(void)
{
	Suite *s = suite_create("tree");
	TCase *c = t_case(s, "machine", 20);

	tcase_add_test(c, one_for_one_restarts_the_one);
	tcase_add_test(c, one_for_all_stops_backwards_and_starts_forwards);
	tcase_add_test(c, rest_for_one_leaves_those_before);
	tcase_add_test(c, a_failed_restart_is_tried_again_behind_the_queue);
	tcase_add_test(c, intensity_counts_what_lies_within_the_period);
	tcase_add_test(c, a_large_intensity_takes_bounded_room);
	tcase_add_test(c, escalation_ends_the_tree_and_says_so);
	tcase_add_test(c, counters_outlive_the_restart_of_their_supervisor);
	tcase_add_test(c, a_child_that_does_not_stop_is_killed);
	tcase_add_test(c, a_start_that_takes_too_long_has_failed);
	tcase_add_test(c, a_supervisor_that_is_killed_takes_its_branch_along);
	tcase_add_test(c, kill_ends_everything_at_once);
	tcase_add_test(c, a_tree_may_be_started_again);
	tcase_add_test(c, events_of_an_earlier_start_are_dropped);
	tcase_add_test(c, bounce_stops_and_starts_and_counts_as_no_restart);
	tcase_add_test(c, bounce_starts_what_was_terminated);
	tcase_add_test(c, a_bounce_that_fails_is_a_crash);
	tcase_add_test(c, a_branch_is_bounced_as_a_whole);
	tcase_add_test(c, long_work_lets_the_layer_in_between);
	tcase_add_test(c, wrong_specs_are_refused_in_otps_words);
	tcase_add_test(c, a_path_that_would_be_too_long_is_refused);
	tcase_add_test(c, a_name_is_held_once);
	tcase_add_test(c, instances_get_names);
	tcase_add_test(c, a_name_that_comes_back_is_never_told_to_be_stopped);
	return s;
}

TEST_MAIN(tree_suite)
