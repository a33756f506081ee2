/* SPDX-License-Identifier: ISC */
/*
 * The examples that need no more than a tree from a config file, each run as its own text tells: the sequence in
 * its three forms, counters, a server that terminates, a larger tree, a ticker.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <stash/stash.h>

#include "testlib_examples.h"

static struct t_stashd d;

static void
begin(const char *conf)
{
	memset(&d, 0, sizeof d);
	t_example_start(&d, conf, NULL);
}

static void
finish(void)
{
	t_stashd_stop(&d, 10000);
}

static pid_t
pid_of(const char *name)
{
	return t_reborn(&d, name, 0);
}

/* ---- sequence ---- */

START_TEST(sequence_without_a_stash_begins_again)
{
	pid_t first;

	begin("naive.conf");
	first = pid_of("sequence");
	t_session("cast sequence increment_number 3", "");
	t_session("call sequence next_number", "126");
	t_session("cast sequence increment_number cat", "");
	t_wait_output(&d.proc, "increment_number wants a number", 10000);
	t_wait_output(&d.proc, "the next number is 127", 10000);
	(void)t_reborn(&d, "sequence", first);
	t_session("call sequence next_number", "123");
	t_session("call sequence next_number", "124");
	finish();
}
END_TEST

/* As a beginner tries it: from 0, a step, a crash; then the same with what was added to it. */
static void
try_out(const char *conf, const char *after_the_crash, const char *then)
{
	pid_t first;

	memset(&d, 0, sizeof d);
	t_example_start(&d, conf, (const char *const[]){ "[\"123\"]", "[\"0\"]", NULL });
	first = pid_of("sequence");
	t_session("cast sequence increment_number 12", "");
	t_session("call sequence next_number", "12");
	t_session("cast sequence increment_number 3", "");
	t_session("call sequence next_number", "16");
	t_session("call sequence next_number", "17");
	t_session("cast sequence increment_number", "");
	t_wait_output(&d.proc, "the next number is 18", 10000);
	(void)t_reborn(&d, "sequence", first);
	t_session("call sequence next_number", after_the_crash);
	t_session("call sequence next_number", then);
	finish();
}

START_TEST(a_first_try_loses_the_number)
{
	try_out("naive.conf", "0", "1");
}
END_TEST

START_TEST(a_second_try_keeps_it_at_the_end)
{
	try_out("book.conf", "18", "19");
}
END_TEST

START_TEST(a_third_try_keeps_it_always)
{
	try_out("sequence.conf", "18", "19");
}
END_TEST

START_TEST(sequence_saved_at_its_end_survives_the_cat_but_no_kill)
{
	pid_t pid;

	begin("book.conf");
	pid = pid_of("sequence");
	t_session("call sequence next_number", "123");
	t_session("call sequence next_number", "124");
	t_session("call sequence next_number", "125");
	t_session("cast sequence increment_number cat", "");
	t_wait_output(&d.proc, "increment_number wants a number", 10000);
	pid = t_reborn(&d, "sequence", pid);
	t_session("call sequence next_number", "126");
	t_session("call sequence next_number", "127");
	ck_assert_int_eq(pid_of("sequence"), pid); /* the cat was not tried again */
	t_session("kill sequence", "");
	(void)t_reborn(&d, "sequence", pid);
	t_session("call sequence next_number", "126"); /* for the second time */
	t_session("call sequence next_number", "127");
	finish();
	t_stashd_start(&d, NULL);
	t_session("call sequence next_number", "128");
	finish();
}
END_TEST

START_TEST(sequence_with_a_stash_goes_on)
{
	pid_t pid;

	begin("sequence.conf");
	pid = pid_of("sequence");
	t_session("call sequence next_number", "123");
	t_session("call sequence next_number", "124");
	t_session("call sequence next_number", "125");
	t_session("cast sequence increment_number cat", "");
	pid = t_reborn(&d, "sequence", pid);
	t_session("call sequence next_number", "126");
	t_session("call sequence next_number", "127");
	t_session("kill sequence", "");
	(void)t_reborn(&d, "sequence", pid);
	t_session("call sequence next_number", "128");
	finish();
	t_stashd_start(&d, NULL);
	t_session("call sequence next_number", "129");
	finish();
}
END_TEST

/* The tree of the book's second half: the agent first, what rests on it behind. */
START_TEST(what_was_started_after_the_agent_goes_with_it)
{
	pid_t agent, sequence;

	begin("agent.conf");
	agent = pid_of("agent");
	sequence = pid_of("sequence");
	t_session("call agent update 127", "");
	t_session("call sequence next_number", "123");
	t_session("cast sequence increment_number cat", "");
	sequence = t_reborn(&d, "sequence", sequence);
	ck_assert_int_eq(pid_of("agent"), agent);
	t_session("kill agent", "");
	(void)t_reborn(&d, "agent", agent);
	(void)t_reborn(&d, "sequence", sequence);
	t_session("call agent get", "127");
	t_session("call sequence next_number", "124");
	finish();
}
END_TEST

/* ---- counter ---- */

static const char *const counters[] = { "counter1", "counter2", "counter3" };

static void
counts(const char *first, const char *second, const char *third)
{
	t_session("call counter1 get", first);
	t_session("call counter2 get", second);
	t_session("call counter3 get", third);
}

/* One of three is stopped from outside: all three are new, and come back with these counts. */
static void
count_and_stop(const char *conf, const char *first, const char *second)
{
	pid_t old[3];

	begin(conf);
	counts("0", "0", "0");
	t_session("call counter1 increment", "1");
	t_session("call counter1 increment", "2");
	t_session("call counter1 increment", "3");
	t_session("call counter2 increment", "1");
	counts("3", "1", "0");
	for (int i = 0; i < 3; i++)
		old[i] = pid_of(counters[i]);
	t_session("kill counter3 SIGTERM", "");
	for (int i = 0; i < 3; i++)
		(void)t_reborn(&d, counters[i], old[i]);
	counts(first, second, "0");
	finish();
}

START_TEST(counters_without_a_stash_begin_again)
{
	count_and_stop("counter-naive.conf", "0", "0");
}
END_TEST

START_TEST(counters_with_a_stash_go_on)
{
	count_and_stop("counter.conf", "3", "1");
}
END_TEST

/* ---- terminating ---- */

START_TEST(a_normal_end_is_final_for_the_transient_child_only)
{
	pid_t permanent;

	begin("terminating.conf");
	permanent = pid_of("permanent");
	t_session("call permanent alive", "ok");
	t_session("call permanent terminate", "ok");
	(void)t_reborn(&d, "permanent", permanent);
	t_session("call permanent alive", "ok");
	t_session("call transient alive", "ok");
	t_session("call transient terminate", "ok");
	t_session_fails("call transient alive", EX_UNAVAILABLE, "transient");
	t_session_says("which-children root", "stopped");
	t_session("call permanent alive", "ok");
	finish();
}
END_TEST

static bool
runs_again(void *arg)
{
	int result = stash_restart_child(arg, "root", "transient", NULL, 10000);

	ck_assert_msg(result == STASH_OK || result == STASH_E_RUNNING, "restart: %s", stash_errmsg());
	return result == STASH_OK;
}

/* The answer is in the channel before the worker ends, and nobody closes it over that. */
START_TEST(whoever_ends_it_gets_the_answer)
{
	struct stash_client *client;

	begin("terminating.conf");
	client = t_client(&d);
	for (int i = 0; i < 200; i++) {
		t_expect_call(client, "transient", "terminate", NULL, "ok");
		ck_assert(t_wait_for(runs_again, client, 20000));
	}
	stash_client_close(client);
	finish();
}
END_TEST

/* ---- dynamic ---- */

START_TEST(children_come_and_go_and_the_others_stay)
{
	pid_t one, supervisor;

	begin("dynamic.conf");
	t_session_says(
	    "start-child root/counters { name = \"dynamic_counter1\"; }", "root/counters/dynamic_counter1: started");
	t_session_says(
	    "start-child root/counters { name = \"dynamic_counter2\"; }", "root/counters/dynamic_counter2: started");
	t_session_says("which-children root/counters", "dynamic_counter1");
	t_session_says("which-children root/counters", "dynamic_counter2");
	t_session("call dynamic_counter1 increment", "1");
	t_session("call dynamic_counter1 increment", "2");
	t_session("call dynamic_counter1 increment", "3");
	t_session("call dynamic_counter2 get", "0");
	one = pid_of("dynamic_counter1");
	t_session("terminate-child root/counters dynamic_counter2", "");
	t_session_fails("call dynamic_counter2 get", EX_NOHOST, "dynamic_counter2");
	t_session("call dynamic_counter1 get", "3");
	ck_assert_int_eq(pid_of("dynamic_counter1"), one);
	/* Nobody's death takes it out of the tree. */
	supervisor = t_pid(&d, T_SUPERVISOR, NULL);
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	t_session("call dynamic_counter1 increment", "4");
	t_session("kill dynamic_counter1", "");
	(void)t_reborn(&d, "dynamic_counter1", one);
	t_session("call dynamic_counter1 get", "4");
	ck_assert_int_ne(t_pid(&d, T_SUPERVISOR, NULL), supervisor);
	finish();
}
END_TEST

/* ---- tree ---- */

START_TEST(one_branch_gives_up_and_the_other_never_notices)
{
	pid_t pool, cache, endpoint, presence;

	begin("tree.conf");
	endpoint = pid_of("endpoint");
	presence = pid_of("presence_tracker");
	t_session("call endpoint use", "1");
	t_session("call presence_tracker use", "1");
	t_session("call query_cache use", "1");
	for (int crash = 1; crash <= 3; crash++) {
		pool = pid_of("connection_pool");
		cache = pid_of("query_cache");
		t_session("cast connection_pool crash", "");
		(void)t_reborn(&d, "connection_pool", pool);
		(void)t_reborn(&d, "query_cache", cache);
	}
	t_wait_output(&d.proc, "root/database", 10000);
	t_session("call endpoint use", "2");
	t_session("call presence_tracker use", "2");
	ck_assert_int_eq(pid_of("endpoint"), endpoint);
	ck_assert_int_eq(pid_of("presence_tracker"), presence);
	t_session("call query_cache use", "2"); /* the stash outlives its supervisor, too */
	finish();
}
END_TEST

/* ---- ticker ---- */

static bool
has_ticked(void *arg)
{
	char *text = t_session_output("call ticker ticks", NULL);
	bool yes = atol(text) >= *(const long *)arg;

	free(text);
	return yes;
}

START_TEST(the_ticks_go_on_after_a_crash)
{
	long three = 3, more;
	pid_t first;
	char *text;

	memset(&d, 0, sizeof d);
	t_example_start(&d, "ticker.conf", (const char *const[]){ "[1000]", "[50]", NULL });
	first = pid_of("ticker");
	ck_assert(t_wait_for(has_ticked, &three, 20000));
	t_wait_output(&d.proc, "tick 3", 10000);
	t_session("kill ticker", "");
	(void)t_reborn(&d, "ticker", first);
	text = t_session_output("call ticker ticks", NULL);
	more = atol(text);
	free(text);
	ck_assert_int_ge(more, 3);
	more += 3;
	ck_assert(t_wait_for(has_ticked, &more, 20000));
	t_session("send ticker nonsense", ""); /* not every message is a tick */
	t_session_fails("call ticker nonsense", EX_SOFTWARE, "crash");
	more++;
	ck_assert(t_wait_for(has_ticked, &more, 20000));
	t_session("terminate-child root ticker", "");
	t_session_fails("call ticker ticks", EX_UNAVAILABLE, "ticker");
	finish();
}
END_TEST

/* ---- slow_start ---- */

START_TEST(the_sibling_starts_while_the_data_are_loaded)
{
	char *log, ms[20];
	pid_t pid;

	memset(&d, 0, sizeof d);
	snprintf(ms, sizeof ms, "[%d]", 3000 * t_patience());
	t_example_start(&d, "slow_start.conf", (const char *const[]){ "[2000]", ms, NULL });
	t_session("call counter1 increment", "1");
	t_wait_output(&d.proc, "loading the data (slow)", 10000);
	log = t_output(&d.proc);
	ck_assert_msg(strstr(log, "the data are there") == NULL, "the sibling came too late:\n%s", log);
	free(log);
	t_session("-t 60 call slow_start get", "loaded"); /* whoever asks now only waits */
	t_wait_output(&d.proc, "the data are there", 10000);
	/* What is loaded is in the stash. */
	pid = pid_of("slow_start");
	t_session("kill slow_start", "");
	(void)t_reborn(&d, "slow_start", pid);
	t_session("-t 1 call slow_start get", "loaded");
	finish();
}
END_TEST

START_TEST(a_load_that_is_cut_short_begins_again)
{
	pid_t pid;

	memset(&d, 0, sizeof d);
	t_example_start(&d, "slow_start.conf", (const char *const[]){ "[2000]", "[1000]", NULL });
	pid = pid_of("slow_start");
	t_wait_output(&d.proc, "loading the data (slow)", 10000);
	t_session("kill slow_start", "");
	(void)t_reborn(&d, "slow_start", pid);
	t_session("-t 60 call slow_start get", "loaded");
	finish();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("examples");
	TCase *tc = t_case(s, "transcripts", 120);

	tcase_add_test(tc, a_first_try_loses_the_number);
	tcase_add_test(tc, a_second_try_keeps_it_at_the_end);
	tcase_add_test(tc, a_third_try_keeps_it_always);
	tcase_add_test(tc, sequence_without_a_stash_begins_again);
	tcase_add_test(tc, sequence_saved_at_its_end_survives_the_cat_but_no_kill);
	tcase_add_test(tc, sequence_with_a_stash_goes_on);
	tcase_add_test(tc, what_was_started_after_the_agent_goes_with_it);
	tcase_add_test(tc, counters_without_a_stash_begin_again);
	tcase_add_test(tc, counters_with_a_stash_go_on);
	tcase_add_test(tc, a_normal_end_is_final_for_the_transient_child_only);
	tcase_add_test(tc, whoever_ends_it_gets_the_answer);
	tcase_add_test(tc, children_come_and_go_and_the_others_stay);
	tcase_add_test(tc, one_branch_gives_up_and_the_other_never_notices);
	tcase_add_test(tc, the_ticks_go_on_after_a_crash);
	tcase_add_test(tc, the_sibling_starts_while_the_data_are_loaded);
	tcase_add_test(tc, a_load_that_is_cut_short_begins_again);
	return s;
}

TEST_MAIN(suite)
