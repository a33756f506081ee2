/* SPDX-License-Identifier: ISC */
/*
 * Workers that talk to workers: what a callback sends, posts and continues with, its limits, and its errors.
 */
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "testlib_live.h"
#include "testlib_pair.h"

START_TEST(test_casts_and_requests)
{
	tp_begin("");
	for (int i = 1; i <= 100; i++) {
		char text[24];
		snprintf(text, sizeof text, "%d", i);
		t_expect_call(tp_client, "a", "tell", "b", text);
		t_expect_call(tp_client, "a", "ask", "b", text);
	}
	tp_until(tp_until_heard, NULL, 10000);
	ck_assert_int_eq(tp_counts("b").heard, 100);
	ck_assert_int_eq(tp_counts("a").sum, 5050);
	/* To oneself too, as a message. */
	t_expect_call(tp_client, "a", "tell", "a", "101");
	t_expect_call(tp_client, "a", "ask", "a", "1");
	ck_assert_int_eq(tp_counts("a").heard, 1);
	tp_finish();
}
END_TEST

START_TEST(test_errors)
{
	tp_begin("");
	t_expect_error(tp_client, "a", "tell", "nobody", STASH_E_APP);
	t_expect_error(tp_client, "a", "ask", "nobody", STASH_E_APP);
	/* A call to oneself is told at once, one in a ring at its timeout. */
	t_expect_error(tp_client, "a", "block", "a", STASH_E_APP);
	ck_assert_msg(strstr(stash_errmsg(), "own answer") != NULL, "%s", stash_errmsg());
	ck_assert_int_eq(tp_counts("a").told, 0);
	tp_finish();
}
END_TEST

START_TEST(test_blocking_call)
{
	struct stash_reply reply;

	tp_begin("");
	t_expect_call(tp_client, "b", "take", "", "1");
	ck_assert_int_eq(stash_call(tp_client, "a", "block", "b", 1, &reply, 10000), 0);
	ck_assert_msg(strstr(reply.data, "taken 1") != NULL, "%s", (char *)reply.data);
	stash_reply_free(&reply);
	tp_finish();
}
END_TEST

/* A callback that fails has cast nothing. */
START_TEST(test_failed_callback_sends_nothing)
{
	tp_begin("");
	t_expect_call(tp_client, "a", "tell", "b", "1");
	for (int i = 0; i < 5; i++)
		t_expect_error(tp_client, "a", "tell_and_die", "b", STASH_E_CRASHED);
	t_expect_call(tp_client, "a", "tell", "b", "2");
	tp_until(tp_until_heard, NULL, 10000);
	ck_assert_int_eq(tp_counts("b").heard, 2);
	tp_finish();
}
END_TEST

START_TEST(test_request_that_crashes_its_worker)
{
	tp_begin("");
	/* b's take never comes: it is asked for by a name that stops. */
	t_expect_call(tp_client, "a", "ask", "b", "1");
	ck_assert(t_murder(&tp_d, T_WORKER, "b"));
	t_expect_call(tp_client, "a", "ask", "b", "2");
	ck_assert(t_murder(&tp_d, T_WORKER, "a"));
	t_expect_call(tp_client, "a", "ask", "b", "3");
	ck_assert_int_eq(tp_counts("a").got, 3);
	tp_finish();
}
END_TEST

START_TEST(test_posts)
{
	tp_begin("");
	for (int i = 0; i < 50; i++) {
		t_expect_call(tp_client, "a", "post", "x", "");
		if (i % 10 == 0)
			ck_assert(t_murder(&tp_d, T_WORKER, "a"));
	}
	tp_until(tp_until_posted, NULL, 10000);
	ck_assert_int_eq(tp_counts("a").handled, 50);
	/* One that kills its worker is set aside; the worker goes on. */
	t_expect_call(tp_client, "a", "post_poison", "x", "");
	t_expect_call(tp_client, "a", "post", "x", "");
	ck_assert_int_eq(tp_counts("a").posted, 52);
	t_expect_call(tp_client, "a", "post", "x", "");
	tp_finish();
}
END_TEST

START_TEST(test_continues)
{
	tp_begin("args = [\"continue\"];");
	ck_assert_int_eq(tp_counts("a").continued, 1);
	t_expect_call(tp_client, "a", "continue_again", "", "");
	ck_assert_int_eq(tp_counts("a").continued, 3);
	ck_assert(t_murder(&tp_d, T_WORKER, "a"));
	ck_assert_int_eq(tp_counts("a").continued, 4);
	tp_finish();
}
END_TEST

/* ---- limits ---- */

static void
call_async(const char *name, const char *tag, const char *data)
{
	ck_assert_msg(stash_cast(tp_client, name, tag, data, strlen(data)) == 0, "%s", stash_errmsg());
}

START_TEST(test_large_request_and_answer)
{
	tp_begin("");
	for (int i = 1; i <= 5; i++) {
		struct stash_reply reply;
		ck_assert_msg(
		    stash_call(tp_client, "a", "ask_large", "b", 1, &reply, 20000) == 0, "%s", stash_errmsg());
		ck_assert_uint_eq(reply.len, STASH_DATA_MAX);
		stash_reply_free(&reply);
	}
	ck_assert_int_eq(tp_counts("a").got, 5);
	tp_finish();
}
END_TEST

static bool
until_much_heard(void *arg)
{
	(void)arg;
	return tp_counts("b").heard == 300;
}

/* More than a ring takes, sent in the transitions of one batch. */
static void
send_much(const char *ack)
{
	tp_begin(ack);
	for (int i = 0; i < 30; i++)
		call_async("a", "tell_much", "");
	tp_until(until_much_heard, NULL, 30000);
	ck_assert_int_eq(tp_counts("a").told, 300);
	tp_finish();
}

START_TEST(test_more_than_a_ring)
{
	send_much("");
}
END_TEST

START_TEST(test_more_than_a_ring_on_disk)
{
	send_much("ack = \"disk\";");
}
END_TEST

START_TEST(test_too_many_open)
{
	char text[32];

	tp_begin("");
	snprintf(text, sizeof text, "1024 %d", STASH_E_BUSY);
	for (int i = 1; i <= 3; i++) {
		t_expect_call(tp_client, "a", "flood", "", text);
		tp_until(tp_until_posted, NULL, 20000);
		ck_assert_int_eq(tp_counts("a").handled, 1024 * i);
		ck_assert_int_eq(tp_counts("a").continued, i);
	}
	tp_finish();
}
END_TEST

static bool
until_events(void *arg)
{
	struct stash_reply reply;
	bool some;

	(void)arg;
	ck_assert_int_eq(stash_call(tp_client, "a", "events", NULL, 0, &reply, 20000), 0);
	some = atoi(reply.data) > 50;
	stash_reply_free(&reply);
	return some;
}

/* A worker that never has nothing to do looks at its events all the same. */
START_TEST(test_events_under_load)
{
	tp_begin("args = [\"events\"];");
	t_expect_call(tp_client, "a", "spin", "", "");
	tp_until(until_events, NULL, 20000);
	t_expect_call(tp_client, "a", "spin", "", "");
	tp_finish();
}
END_TEST

/* ---- ends ---- */

static pid_t
ask_and_hold(void)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct stash_client *c = t_client(&tp_d);
		int result = stash_call(c, "a", "ask_hold", "b", 1, NULL, 60000);
		_exit(result == 0 ? 0 : 1);
	}
	return pid;
}

static bool
until_held(void *arg)
{
	struct stash_reply reply;
	bool held;

	(void)arg;
	ck_assert_int_eq(stash_call(tp_client, "b", "held", NULL, 0, &reply, 20000), 0);
	held = strcmp(reply.data, "1") == 0;
	stash_reply_free(&reply);
	return held;
}

static bool
until_got(void *arg)
{
	(void)arg;
	return tp_counts("a").got == 1;
}

static bool
until_arrived(void *arg)
{
	struct tp_counts b = tp_counts("b");

	return b.heard + b.taken == *(const int *)arg;
}

/* What a handler of events has sent arrives, once, also if the worker dies before it has handled another message: by
 * that message, or in the handler. */
START_TEST(test_events_send_and_die)
{
	static const char *const tags[] = { "event_tell_then_message", "event_tell", "event_ask_then_message",
		"event_ask" };
	int n = 0;

	tp_begin("");
	while (n < 12) {
		t_expect_call(tp_client, "a", tags[n++ % 4], "b", "");
		tp_until(until_arrived, &n, 20000);
	}
	/* What comes behind it is the next: nothing of it is still on its way. */
	t_expect_call(tp_client, "a", "tell", "b", "1");
	t_expect_call(tp_client, "a", "ask", "b", "7");
	ck_assert_int_eq(tp_counts("b").heard, 7);
	ck_assert_int_eq(tp_counts("b").taken, 7);
	ck_assert_int_eq(tp_counts("a").got, 7);
	tp_finish();
}
END_TEST

/* Keeper, supervisor, stash and all workers die: what is open goes on with the next stashd. */
START_TEST(test_all_die_with_a_request_open)
{
	tp_begin("");
	t_expect_call(tp_client, "b", "tell", "a", "1");
	ck_assert_int_ge(ask_and_hold(), 0);
	tp_until(until_held, NULL, 10000);
	stash_client_close(tp_client);
	t_murder_all(&tp_d);
	t_stashd_start(&tp_d, tp_config(""));
	tp_client = t_client(&tp_d);
	tp_until(tp_until_both_run, NULL, 20000);
	t_expect_call(tp_client, "b", "release", "", "");
	tp_until(until_got, NULL, 20000);
	t_expect_call(tp_client, "a", "ask", "b", "1");
	t_expect_call(tp_client, "b", "tell", "a", "2");
	tp_until(tp_until_heard, NULL, 10000);
	tp_finish();
}
END_TEST

static bool
until_refused(void *arg)
{
	(void)arg;
	return tp_counts("a").refused == 1;
}

START_TEST(test_target_is_stopped)
{
	pid_t pid;

	tp_begin("");
	pid = ask_and_hold();
	tp_until(until_held, NULL, 10000);
	ck_assert_msg(stash_terminate_child(tp_client, "root", "b", 20000) == 0, "%s", stash_errmsg());
	tp_until(until_refused, NULL, 10000);
	ck_assert_int_eq(tp_counts("a").code, STASH_E_DOWN);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	t_expect_error(tp_client, "a", "tell", "b", STASH_E_APP);
	ck_assert_msg(stash_restart_child(tp_client, "root", "b", NULL, 20000) == 0, "%s", stash_errmsg());
	t_expect_call(tp_client, "a", "ask", "b", "1");
	t_expect_call(tp_client, "a", "tell", "b", "1");
	tp_finish();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("ways");
	TCase *c = t_case(s, "ways", 120);

	tcase_add_test(c, test_casts_and_requests);
	tcase_add_test(c, test_errors);
	tcase_add_test(c, test_blocking_call);
	tcase_add_test(c, test_failed_callback_sends_nothing);
	tcase_add_test(c, test_request_that_crashes_its_worker);
	tcase_add_test(c, test_posts);
	tcase_add_test(c, test_continues);
	tcase_add_test(c, test_large_request_and_answer);
	tcase_add_test(c, test_more_than_a_ring);
	tcase_add_test(c, test_more_than_a_ring_on_disk);
	tcase_add_test(c, test_too_many_open);
	tcase_add_test(c, test_events_under_load);
	tcase_add_test(c, test_all_die_with_a_request_open);
	tcase_add_test(c, test_target_is_stopped);
	c = t_case(s, "events", 120);
	tcase_add_test(c, test_events_send_and_die);
	return s;
}

TEST_MAIN(suite)
