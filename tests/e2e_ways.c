/* SPDX-License-Identifier: ISC */
/*
 * Workers that talk to workers: casts, requests, posts and continues of a transition leave with it and arrive once,
 * also when sender, receiver, stash and supervisor are killed.
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

#define CLIENTS 4

static struct t_stashd d;
static struct stash_client *client;

struct counts {
	long told, heard, taken, asked, got, sum, refused, code, posted, handled, continues, continued;
};

static const char *
config(const char *extra)
{
	static char text[2048];
	char module[512];

	snprintf(module, sizeof module, "%s", t_build("tests/modules/pair.so"));
	snprintf(text, sizeof text,
	    "store = { };\ntree = { intensity = 1000000; period = 1; children = (\n"
	    "  { id = \"a\"; module = \"%s\"; max_attempts = 1000; %s },\n"
	    "  { id = \"b\"; module = \"%s\"; max_attempts = 1000; %s }\n); };\n",
	    module, extra, module, extra);
	return text;
}

static void
t_until(bool (*done)(void *), void *arg, int ms)
{
	ck_assert(t_wait_for(done, arg, ms));
}

static bool
runs(const char *name)
{
	struct stash_process p;

	return stash_whereis(client, name, &p) == 0 && p.status == STASH_RUNNING;
}

static bool
until_both_run(void *arg)
{
	(void)arg;
	return runs("a") && runs("b");
}

static void
begin(const char *extra)
{
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, config(extra));
	client = t_client(&d);
	/* A first start that is killed is a tree that can't be started. */
	t_until(until_both_run, NULL, 20000);
}

static void
finish(void)
{
	stash_client_close(client);
	t_stashd_stop(&d, 20000);
}

static struct counts
counts(const char *name)
{
	struct stash_reply reply;
	struct counts c = { 0 };

	ck_assert_msg(stash_call(client, name, "count", NULL, 0, &reply, 30000) == 0, "%s: %s; stashd's output:\n%s",
	    name, stash_errmsg(), t_output(&d.proc));
	ck_assert_int_eq(
	    sscanf(reply.data,
		"told %ld heard %ld taken %ld asked %ld got %ld sum %ld refused %ld code %ld posted %ld %ld "
		"continued %ld %ld",
		&c.told, &c.heard, &c.taken, &c.asked, &c.got, &c.sum, &c.refused, &c.code, &c.posted, &c.handled,
		&c.continues, &c.continued),
	    12);
	stash_reply_free(&reply);
	return c;
}

/* Until what was sent has come: they agree, and nobody moves any more. */
static bool
until_heard(void *arg)
{
	(void)arg;
	return counts("a").told == counts("b").heard;
}

static bool
until_posted(void *arg)
{
	struct counts c = counts("a");

	(void)arg;
	return c.posted == c.handled;
}

static bool
until_continued(void *arg)
{
	struct counts c = counts("a");

	(void)arg;
	return c.continues == c.continued;
}

static bool
until_answered(void *arg)
{
	struct counts c = counts("a");

	(void)arg;
	return c.asked == c.got + c.refused;
}

START_TEST(test_casts_and_requests)
{
	begin("");
	for (int i = 1; i <= 100; i++) {
		char text[24];
		snprintf(text, sizeof text, "%d", i);
		t_expect_call(client, "a", "tell", "b", text);
		t_expect_call(client, "a", "ask", "b", text);
	}
	t_until(until_heard, NULL, 10000);
	ck_assert_int_eq(counts("b").heard, 100);
	ck_assert_int_eq(counts("a").sum, 5050);
	/* To oneself too, as a message. */
	t_expect_call(client, "a", "tell", "a", "101");
	t_expect_call(client, "a", "ask", "a", "1");
	ck_assert_int_eq(counts("a").heard, 1);
	finish();
}
END_TEST

START_TEST(test_errors)
{
	begin("");
	t_expect_error(client, "a", "tell", "nobody", STASH_E_APP);
	t_expect_error(client, "a", "ask", "nobody", STASH_E_APP);
	/* A call to oneself is told at once, one in a ring at its timeout. */
	t_expect_error(client, "a", "block", "a", STASH_E_APP);
	ck_assert_msg(strstr(stash_errmsg(), "own answer") != NULL, "%s", stash_errmsg());
	ck_assert_int_eq(counts("a").told, 0);
	finish();
}
END_TEST

START_TEST(test_blocking_call)
{
	struct stash_reply reply;

	begin("");
	t_expect_call(client, "b", "take", "", "1");
	ck_assert_int_eq(stash_call(client, "a", "block", "b", 1, &reply, 10000), 0);
	ck_assert_msg(strstr(reply.data, "taken 1") != NULL, "%s", (char *)reply.data);
	stash_reply_free(&reply);
	finish();
}
END_TEST

/* A callback that fails has cast nothing. */
START_TEST(test_failed_callback_sends_nothing)
{
	begin("");
	t_expect_call(client, "a", "tell", "b", "1");
	for (int i = 0; i < 5; i++)
		t_expect_error(client, "a", "tell_and_die", "b", STASH_E_CRASHED);
	t_expect_call(client, "a", "tell", "b", "2");
	t_until(until_heard, NULL, 10000);
	ck_assert_int_eq(counts("b").heard, 2);
	finish();
}
END_TEST

START_TEST(test_request_that_crashes_its_worker)
{
	begin("");
	/* b's take never comes: it is asked for by a name that stops. */
	t_expect_call(client, "a", "ask", "b", "1");
	ck_assert(t_murder(&d, T_WORKER, "b"));
	t_expect_call(client, "a", "ask", "b", "2");
	ck_assert(t_murder(&d, T_WORKER, "a"));
	t_expect_call(client, "a", "ask", "b", "3");
	ck_assert_int_eq(counts("a").got, 3);
	finish();
}
END_TEST

START_TEST(test_posts)
{
	begin("");
	for (int i = 0; i < 50; i++) {
		t_expect_call(client, "a", "post", "x", "");
		if (i % 10 == 0)
			ck_assert(t_murder(&d, T_WORKER, "a"));
	}
	t_until(until_posted, NULL, 10000);
	ck_assert_int_eq(counts("a").handled, 50);
	/* One that kills its worker is set aside; the worker goes on. */
	t_expect_call(client, "a", "post_poison", "x", "");
	t_expect_call(client, "a", "post", "x", "");
	ck_assert_int_eq(counts("a").posted, 52);
	t_expect_call(client, "a", "post", "x", "");
	finish();
}
END_TEST

START_TEST(test_continues)
{
	begin("args = [\"continue\"];");
	ck_assert_int_eq(counts("a").continued, 1);
	t_expect_call(client, "a", "continue_again", "", "");
	ck_assert_int_eq(counts("a").continued, 3);
	ck_assert(t_murder(&d, T_WORKER, "a"));
	ck_assert_int_eq(counts("a").continued, 4);
	finish();
}
END_TEST

/* ---- limits ---- */

static void
call_async(const char *name, const char *tag, const char *data)
{
	ck_assert_msg(stash_cast(client, name, tag, data, strlen(data)) == 0, "%s", stash_errmsg());
}

START_TEST(test_large_request_and_answer)
{
	begin("");
	for (int i = 1; i <= 5; i++) {
		struct stash_reply reply;
		ck_assert_msg(stash_call(client, "a", "ask_large", "b", 1, &reply, 20000) == 0, "%s", stash_errmsg());
		ck_assert_uint_eq(reply.len, STASH_DATA_MAX);
		stash_reply_free(&reply);
	}
	ck_assert_int_eq(counts("a").got, 5);
	finish();
}
END_TEST

static bool
until_much_heard(void *arg)
{
	(void)arg;
	return counts("b").heard == 300;
}

/* More than a ring takes, sent in the transitions of one batch. */
static void
send_much(const char *ack)
{
	begin(ack);
	for (int i = 0; i < 30; i++)
		call_async("a", "tell_much", "");
	t_until(until_much_heard, NULL, 30000);
	ck_assert_int_eq(counts("a").told, 300);
	finish();
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

	begin("");
	snprintf(text, sizeof text, "1024 %d", STASH_E_BUSY);
	for (int i = 1; i <= 3; i++) {
		t_expect_call(client, "a", "flood", "", text);
		t_until(until_posted, NULL, 20000);
		ck_assert_int_eq(counts("a").handled, 1024 * i);
		ck_assert_int_eq(counts("a").continued, i);
	}
	finish();
}
END_TEST

static bool
until_events(void *arg)
{
	struct stash_reply reply;
	bool some;

	(void)arg;
	ck_assert_int_eq(stash_call(client, "a", "events", NULL, 0, &reply, 20000), 0);
	some = atoi(reply.data) > 50;
	stash_reply_free(&reply);
	return some;
}

/* A worker that never has nothing to do looks at its events all the same. */
START_TEST(test_events_under_load)
{
	begin("args = [\"events\"];");
	t_expect_call(client, "a", "spin", "", "");
	t_until(until_events, NULL, 20000);
	t_expect_call(client, "a", "spin", "", "");
	finish();
}
END_TEST

/* ---- ends ---- */

static pid_t
ask_and_hold(void)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct stash_client *c = t_client(&d);
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
	ck_assert_int_eq(stash_call(client, "b", "held", NULL, 0, &reply, 20000), 0);
	held = strcmp(reply.data, "1") == 0;
	stash_reply_free(&reply);
	return held;
}

static bool
until_got(void *arg)
{
	(void)arg;
	return counts("a").got == 1;
}

/* Keeper, supervisor, stash and all workers die: what is open goes on with the next stashd. */
START_TEST(test_all_die_with_a_request_open)
{
	begin("");
	t_expect_call(client, "b", "tell", "a", "1");
	ck_assert_int_ge(ask_and_hold(), 0);
	t_until(until_held, NULL, 10000);
	stash_client_close(client);
	t_murder_all(&d);
	t_stashd_start(&d, config(""));
	client = t_client(&d);
	t_until(until_both_run, NULL, 20000);
	t_expect_call(client, "b", "release", "", "");
	t_until(until_got, NULL, 20000);
	t_expect_call(client, "a", "ask", "b", "1");
	t_expect_call(client, "b", "tell", "a", "2");
	t_until(until_heard, NULL, 10000);
	finish();
}
END_TEST

static bool
until_refused(void *arg)
{
	(void)arg;
	return counts("a").refused == 1;
}

START_TEST(test_target_is_stopped)
{
	pid_t pid;

	begin("");
	pid = ask_and_hold();
	t_until(until_held, NULL, 10000);
	ck_assert_msg(stash_terminate_child(client, "root", "b", 20000) == 0, "%s", stash_errmsg());
	t_until(until_refused, NULL, 10000);
	ck_assert_int_eq(counts("a").code, STASH_E_DOWN);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	t_expect_error(client, "a", "tell", "b", STASH_E_APP);
	ck_assert_msg(stash_restart_child(client, "root", "b", NULL, 20000) == 0, "%s", stash_errmsg());
	t_expect_call(client, "a", "ask", "b", "1");
	t_expect_call(client, "a", "tell", "b", "1");
	finish();
}
END_TEST

/* ---- storms ---- */

static struct {
	_Atomic bool stop;
	_Atomic long calls, failed;
} * shared;

static void
call_until_told(const char *tag, const char *data)
{
	struct stash_client *c = t_client(&d);

	while (!atomic_load(&shared->stop)) {
		int result = stash_call(c, "a", tag, data, strlen(data), NULL, 60000);
		atomic_fetch_add(result == 0 ? &shared->calls : &shared->failed, 1);
		if (result < 0)
			fprintf(stderr, "%s: %s\n", tag, stash_errmsg());
	}
	stash_client_close(c);
}

static unsigned
kill_everyone(int seconds)
{
	static const struct {
		const char *name;
		enum t_who who;
		int every_ms;
	} paces[] = { { "a", T_WORKER, 30 }, { "b", T_WORKER, 40 }, { "", T_STASH, 150 }, { "", T_SUPERVISOR, 500 } };
	int64_t next[4] = { 0 }, until = stash__now_ns() + seconds * STASH__NS_PER_S;
	unsigned killed = 0;

	while (stash__now_ns() < until) {
		for (int i = 0; i < 4; i++) {
			if (stash__now_ns() < next[i])
				continue;
			killed += t_murder(&d, paces[i].who, paces[i].name);
			next[i] = stash__now_ns() + paces[i].every_ms * STASH__NS_PER_MS;
		}
		(void)poll(NULL, 0, 1); /* the pace of the killing */
	}
	return killed;
}

static void
storm(const char *tag, const char *data, const char *extra, bool (*quiet)(void *))
{
	pid_t pids[CLIENTS];
	const char *text = getenv("STORM_SECONDS");
	unsigned killed;
	struct counts a, b;

	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(shared != MAP_FAILED);
	begin(extra);
	for (int i = 0; i < CLIENTS; i++) {
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (pids[i] == 0) {
			call_until_told(tag, data);
			_exit(0);
		}
	}
	killed = kill_everyone(text != NULL ? atoi(text) : 6);
	atomic_store(&shared->stop, true);
	for (int i = 0; i < CLIENTS; i++)
		ck_assert_int_eq(waitpid(pids[i], NULL, 0), pids[i]);
	t_until(quiet, NULL, 60000);
	a = counts("a");
	b = counts("b");
	printf("%u killed, %ld calls %s: told %ld heard %ld, asked %ld got %ld taken %ld, posted %ld handled %ld, "
	       "continues %ld %ld\n",
	    killed, atomic_load(&shared->calls), tag, a.told, b.heard, a.asked, a.got, b.taken, a.posted, a.handled,
	    a.continues, a.continued);
	ck_assert_int_eq(atomic_load(&shared->failed), 0);
	ck_assert_int_eq(a.told, b.heard);
	ck_assert_int_eq(a.asked, a.got);
	ck_assert_int_eq(a.got, b.taken);
	ck_assert_int_eq(a.sum, b.taken * (b.taken + 1) / 2);
	ck_assert_int_eq(a.posted, a.handled);
	ck_assert_int_eq(a.continues, a.continued);
	ck_assert_int_eq(atomic_load(&shared->calls), a.told + a.asked + a.posted + a.continues);
	ck_assert_uint_gt(killed, 5);
	ck_assert_int_eq(munmap(shared, sizeof *shared), 0);
	finish();
}

START_TEST(test_storm_of_casts)
{
	storm("tell", "b", "", until_heard);
}
END_TEST

START_TEST(test_storm_of_casts_on_disk)
{
	storm("tell", "b", "ack = \"disk\";", until_heard);
}
END_TEST

START_TEST(test_storm_of_requests)
{
	storm("ask", "b", "", until_answered);
}
END_TEST

START_TEST(test_storm_of_posts)
{
	storm("post", "x", "", until_posted);
}
END_TEST

START_TEST(test_storm_of_continues)
{
	storm("continue", "", "", until_continued);
}
END_TEST

/* ---- each step ---- */

static const struct {
	const char *process, *point;
	int passings[3];
} points[] = {
	{ "worker", "worker_taken", { 1, 6, 19 } },
	{ "worker", "worker_replied", { 1, 6, 19 } },
	{ "worker", "entry_before_tail", { 1, 6, 19 } },
	{ "worker", "worker_after_tail", { 1, 6, 19 } },
	{ "worker", "worker_before_publish", { 1, 6, 19 } },
	{ "worker", "worker_after_publish", { 1, 6, 19 } },
	{ "stash", "stash_before_turn", { 1, 3, 9 } },
	{ "stash", "stash_after_turn", { 1, 3, 9 } },
	{ "supervisor", "sup_way_made", { 1, 2, 2 } },
};

#define NPOINTS (int)(sizeof points / sizeof points[0])

static bool
fired(void *arg)
{
	(void)arg;
	return access(t_path("fired"), F_OK) == 0;
}

static void
talk(int rounds)
{
	for (int i = 0; i < rounds; i++) {
		static const char *const tags[] = { "tell", "ask", "post", "continue" };
		for (size_t k = 0; k < 4; k++)
			ck_assert_msg(stash_call(client, i % 2 == 0 ? "a" : "b", tags[k], i % 2 == 0 ? "b" : "a", 1,
					  NULL, 60000) == 0,
			    "%s: %s", tags[k], stash_errmsg());
	}
}

static void
check_both(void)
{
	struct counts a, b;

	t_until(until_heard, NULL, 20000);
	t_until(until_posted, NULL, 20000);
	t_until(until_continued, NULL, 20000);
	a = counts("a");
	b = counts("b");
	ck_assert_int_eq(a.told, b.heard);
	ck_assert_int_eq(b.told, a.heard);
	ck_assert_int_eq(a.got, b.taken);
	ck_assert_int_eq(b.got, a.taken);
	ck_assert_int_eq(a.asked, a.got);
	ck_assert_int_eq(b.asked, b.got);
	ck_assert_int_eq(b.posted, b.handled);
}

static void
search(int i, int passing, const char *ack)
{
	static char crash[128], dir[PATH_MAX + 32], extra[64];
	static const char *env[] = { crash, dir, NULL };

	(void)unlink(t_path("fired"));
	snprintf(crash, sizeof crash, "STASH_CRASH=%s:%d:%s", points[i].point, passing, points[i].process);
	snprintf(dir, sizeof dir, "STASH_CRASH_DIR=%s", t_dir());
	snprintf(extra, sizeof extra, "ack = \"%s\";", ack);
	memset(&d, 0, sizeof d);
	d.env = env;
	d.points = true;
	t_stashd_start(&d, config(extra));
	client = t_client(&d);
	for (int64_t until = stash__now_ns() + 30 * STASH__NS_PER_S; !fired(NULL);) {
		talk(4);
		ck_assert_msg(stash__now_ns() < until, "%s:%d: nobody passed that point", points[i].point, passing);
	}
	talk(4);
	check_both();
	finish();
}

START_TEST(test_points)
{
	for (int k = 0; k < 3; k++)
		if (k == 0 || points[_i].passings[k] != points[_i].passings[k - 1])
			search(_i, points[_i].passings[k], _i % 2 == 0 ? "crash" : "disk");
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
	tcase_add_loop_test(c, test_points, 0, NPOINTS);
	tcase_add_test(c, test_storm_of_casts);
	tcase_add_test(c, test_storm_of_casts_on_disk);
	tcase_add_test(c, test_storm_of_requests);
	tcase_add_test(c, test_storm_of_posts);
	tcase_add_test(c, test_storm_of_continues);
	return s;
}

TEST_MAIN(suite)
