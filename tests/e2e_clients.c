/* SPDX-License-Identifier: ISC */
/*
 * Clients of every sort at one worker: dying ones, slow ones, a thousand; and what they get back for every sort
 * of crash.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "shm/slot.h"
#include "shm/wire.h"
#include "testlib_live.h"

static struct t_stashd d;

static void
begin(const char *extra)
{
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, t_config("echo", "tests/modules/echo.so", "", extra, ""));
}

/* Channels that the worker's base has a row for. */
static unsigned
rows(void)
{
	char path[PATH_MAX + 256];
	struct stash__in in;
	struct stash__base *base;
	unsigned n = 0;
	int fd;

	snprintf(path, sizeof path, "%s/%s/echo.in", t_run_of(&d), STASH__SLOT_DIR);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(stash__in_map(&in, fd, false, NULL), STASH_OK);
	ck_assert_int_eq(stash__base_copy(&in, &base), STASH_OK);
	for (uint32_t i = 0; i < base->nrows; i++)
		n += stash__base_rows(base)[i].used != 0;
	free(base);
	stash__in_unmap(&in);
	close(fd);
	return n;
}

static bool
no_rows(void *arg)
{
	(void)arg;
	return rows() == 0;
}

START_TEST(test_dead_clients_leave_no_channel)
{
	begin("");
	for (int i = 0; i < 20; i++) {
		int status;
		pid_t pid = fork();
		if (pid == 0) {
			struct stash_client *c = t_client(&d);
			for (int k = 0; k < i * 10; k++)
				if (stash_call_start(c, "echo", "echo", "x", 1, 5000) < 0)
					break;
			raise(SIGKILL);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFSIGNALED(status));
	}
	ck_assert_msg(t_wait_for(no_rows, NULL, 10000), "%u channels are left", rows());
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(test_closing_client_leaves_no_channel)
{
	begin("");
	for (int i = 0; i < 20; i++) {
		struct stash_client *c = t_client(&d);
		t_expect_call(c, "echo", "echo", "here", "here");
		ck_assert_int_eq(stash_cast(c, "echo", "x", NULL, 0), STASH_OK);
		stash_client_close(c);
	}
	ck_assert_msg(t_wait_for(no_rows, NULL, 10000), "%u channels are left", rows());
	/* A client that closes right after a cast has still cast. */
	struct stash_client *c = t_client(&d);
	t_expect_call(c, "echo", "count", NULL, "21 20");
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
}
END_TEST

/* It fills its rings and never reads; nobody else waits for it. */
START_TEST(test_slow_client_holds_up_nobody)
{
	struct stash_client_options options = { .size = sizeof options, .ring_bytes = 2 * STASH__RING_MIN };
	struct stash_client *slow = NULL, *quick;
	static char payload[10000];
	int64_t ref = 1, longest = 0;

	begin("");
	quick = t_client(&d);
	t_expect_call(quick, "echo", "echo", "a", "a");
	ck_assert_int_eq(stash_client_open(&slow, t_store(&d), &options), STASH_OK);
	ck_assert_int_eq(stash_cast(slow, "echo", "x", NULL, 0), STASH_OK);
	for (int i = 0; i < 1000 && ref > 0; i++) {
		ref = stash_call_start(slow, "echo", "echo", payload, sizeof payload, 60000);
		/* Not one reply is taken: the child has no map and would only read what we don't. */
		if (i > 4)
			break;
	}
	for (int i = 0; i < 200; i++) {
		int64_t began = stash__now_ns();
		t_expect_call(quick, "echo", "echo", "b", "b");
		if (stash__now_ns() - began > longest)
			longest = stash__now_ns() - began;
	}
	printf("longest call beside a slow client: %lld us\n", (long long)longest / 1000);
	ck_assert_int_lt(longest, 2 * STASH__NS_PER_S);
	/* And it gets all of its answers when it wants them. */
	for (int n = 0; n < 6; n++) {
		struct stash_reply reply;
		ck_assert_int_gt(stash_call_next(slow, &reply, 20000), 0);
		ck_assert_int_eq(reply.error, STASH_OK);
		ck_assert_uint_eq(reply.len, sizeof payload);
		stash_reply_free(&reply);
	}
	stash_client_close(slow);
	stash_client_close(quick);
	t_stashd_stop(&d, 10000);
}
END_TEST

#define MANY 1000

/* The next supervisor gives up a client that is silent for long; when that one comes back, its cast is not lost. */
START_TEST(test_idle_client_comes_back)
{
	struct stash_client *c;

	begin("");
	c = t_client(&d);
	t_expect_call(c, "echo", "echo", "x", "x");
	ck_assert(t_murder(&d, T_SUPERVISOR, "echo"));
	ck_assert(t_wait_for(no_rows, NULL, 45000));
	ck_assert_int_eq(stash_cast(c, "echo", "x", NULL, 0), STASH_OK);
	t_expect_call(c, "echo", "count", NULL, "2 1");
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(test_thousand_clients)
{
	static struct stash_client *c[MANY];
	struct stash_reply reply;
	char text[32];

	begin("");
	for (int i = 0; i < MANY; i++)
		c[i] = t_client(&d);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < MANY; i++) {
			snprintf(text, sizeof text, "%d", i);
			ck_assert_msg(stash_call_start(c[i], "echo", "echo", text, strlen(text), 60000) > 0, "%s",
			    stash_errmsg());
		}
		for (int i = 0; i < MANY; i++) {
			snprintf(text, sizeof text, "%d", i);
			ck_assert_int_gt(stash_call_next(c[i], &reply, 60000), 0);
			ck_assert_msg(reply.error == STASH_OK, "%s", (const char *)reply.data);
			ck_assert_str_eq(reply.data, text);
			stash_reply_free(&reply);
		}
		ck_assert_uint_eq(rows(), MANY);
		/* The next worker waits for channels until their clients have shown them to the next supervisor. */
		if (round == 0)
			ck_assert(t_murder(&d, T_SUPERVISOR, "echo"));
		if (round == 1)
			ck_assert(t_murder(&d, T_WORKER, "echo"));
	}
	t_expect_call(c[0], "echo", "count", NULL, "3001 0");
	for (int i = 0; i < MANY; i++)
		stash_client_close(c[i]);
	ck_assert_msg(t_wait_for(no_rows, NULL, 20000), "%u channels are left", rows());
	t_stashd_stop(&d, 10000);
}
END_TEST

/* A crash costs its own message only. */
START_TEST(test_every_crash_is_told)
{
	static const char *const tags[] = { "abort", "exit", "overflow", "wild", "fail", "no_such_tag" };
	struct stash_client *c;
	char text[32];

	begin("");
	c = t_client(&d);
	for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
		struct stash_reply reply;
		int64_t before = stash_call_start(c, "echo", "echo", "before", 6, 30000);
		int64_t guilty = stash_call_start(c, "echo", tags[i], "x", 1, 30000);
		int64_t after = stash_call_start(c, "echo", "echo", "after", 5, 30000);
		ck_assert_int_eq(stash_call_wait(c, guilty, &reply, 30000), STASH_E_CRASHED);
		stash_reply_free(&reply);
		ck_assert_int_eq(stash_call_wait(c, before, &reply, 30000), STASH_OK);
		stash_reply_free(&reply);
		ck_assert_int_eq(stash_call_wait(c, after, &reply, 30000), STASH_OK);
		ck_assert_str_eq(reply.data, "after");
		stash_reply_free(&reply);
		snprintf(text, sizeof text, "%zu 0", 3 * i + 3);
		t_expect_call(c, "echo", "count", NULL, text);
	}
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(test_killed_from_outside_is_tried_again)
{
	struct stash_client *c;

	begin("max_attempts = 3;");
	c = t_client(&d);
	t_expect_call(c, "echo", "killed_once", NULL, "2");
	t_expect_error(c, "echo", "killed_always", NULL, STASH_E_CRASHED);
	t_expect_call(c, "echo", "count", NULL, "2 0");
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(test_deferred_reply_over_a_restart)
{
	struct stash_client *a, *b;
	struct stash_reply reply;
	int64_t ref;

	begin("");
	a = t_client(&d);
	b = t_client(&d);
	ref = stash_call_start(a, "echo", "wait", NULL, 0, 60000);
	ck_assert_int_gt(ref, 0);
	ck_assert_int_eq(stash_call_wait(a, ref, &reply, 200), STASH_E_PENDING);
	t_expect_error(b, "echo", "abort", NULL, STASH_E_CRASHED);
	t_expect_call(b, "echo", "let_go", "at last", "");
	ck_assert_int_eq(stash_call_wait(a, ref, &reply, 20000), STASH_OK);
	ck_assert_str_eq(reply.data, "at last");
	stash_reply_free(&reply);
	stash_client_close(a);
	stash_client_close(b);
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(test_call_to_a_stopped_child)
{
	struct stash_client *c;

	begin("restart = \"temporary\";");
	c = t_client(&d);
	t_expect_call(c, "echo", "echo", "x", "x");
	t_expect_call(c, "echo", "stop", NULL, "");
	/* Its name is gone for good: temporary children are forgotten. */
	for (int64_t until = stash__now_ns() + 10 * STASH__NS_PER_S;;) {
		int result = stash_call(c, "echo", "echo", "x", 1, NULL, 10000);
		ck_assert(result == STASH_E_DOWN || result == STASH_E_NOENT);
		if (result == STASH_E_NOENT)
			break;
		ck_assert(stash__now_ns() < until);
	}
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
}
END_TEST

/* A name whose turn to start hasn't come is known: who calls it waits. */
START_TEST(test_call_during_the_start)
{
	struct stash_client_options options = { .size = sizeof options };
	struct stash_client *c = NULL;
	char *text = malloc(65536), *at = text;

	memset(&d, 0, sizeof d);
	at += sprintf(at, "tree = { children = (\n");
	for (int i = 0; i < 200; i++)
		at += sprintf(at, "{ id = \"w%d\"; module = \"%s\"; },\n", i, t_build("tests/modules/echo.so"));
	(void)sprintf(at, "{ id = \"echo\"; module = \"%s\"; } ); };\n", t_build("tests/modules/echo.so"));
	t_write_file(t_path("stashd.conf"), text);
	free(text);
	d.dir = t_path("store");
	d.conf = t_path("stashd.conf");
	t_spawn(&d.proc, (const char *const[]){ t_build("stashd"), "-d", d.dir, "-f", d.conf, NULL }, NULL);
	for (int64_t until = stash__now_ns() + 10 * STASH__NS_PER_S; stash_client_open(&c, d.dir, &options) < 0;)
		ck_assert_msg(stash__now_ns() < until, "%s", stash_errmsg());
	t_expect_call(c, "echo", "echo", "already?", "already?");
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(test_deadlines)
{
	struct stash_client *c;
	int64_t began, ref;

	begin("");
	c = t_client(&d);
	began = stash__now_ns();
	ck_assert_int_eq(stash_call(c, "echo", "wait", NULL, 0, NULL, 100), STASH_E_TIMEDOUT);
	ck_assert_int_ge(stash__now_ns() - began, 100 * STASH__NS_PER_MS);
	ref = stash_call_start(c, "echo", "wait", NULL, 0, 100);
	ck_assert_int_gt(ref, 0);
	ck_assert_int_eq(stash_call_wait(c, ref, NULL, -1), STASH_E_TIMEDOUT);
	ck_assert_int_eq(stash_call_wait(c, ref, NULL, -1), STASH_E_NOENT);
	ref = stash_call_start(c, "echo", "wait", NULL, 0, -1);
	ck_assert_int_eq(stash_call_cancel(c, ref), STASH_OK);
	ck_assert_int_eq(stash_call_next(c, NULL, 0), 0);
	t_expect_call(c, "echo", "echo", "x", "x");
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(test_names_and_sizes)
{
	struct stash_client *c;
	char *big = malloc(STASH_DATA_MAX + 1), name[202];
	struct stash_reply reply;

	begin("");
	c = t_client(&d);
	memset(name, 'n', sizeof name);
	name[201] = '\0';
	ck_assert_int_eq(stash_call(c, name, "echo", NULL, 0, NULL, 1000), STASH_E_TOOBIG);
	name[200] = '\0';
	ck_assert_int_eq(stash_call(c, name, "echo", NULL, 0, NULL, 1000), STASH_E_NOENT);
	ck_assert_int_eq(stash_call(c, "echo", "two words", NULL, 0, NULL, 1000), STASH_E_INVAL);
	t_expect_call(c, "echo", "echo", "", "");
	memset(big, 'b', STASH_DATA_MAX + 1);
	ck_assert_int_eq(stash_call(c, "echo", "echo", big, STASH_DATA_MAX + 1, NULL, 10000), STASH_E_TOOBIG);
	ck_assert_int_eq(stash_call(c, "echo", "echo", big, STASH_DATA_MAX, &reply, 10000), STASH_OK);
	ck_assert_uint_eq(reply.len, STASH_DATA_MAX);
	ck_assert_mem_eq(reply.data, big, STASH_DATA_MAX);
	stash_reply_free(&reply);
	t_expect_call(c, "echo", "count", NULL, "3 0");
	free(big);
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(test_client_after_fork)
{
	struct stash_client *c;
	int status;
	pid_t pid;

	begin("");
	c = t_client(&d);
	t_expect_call(c, "echo", "echo", "x", "x");
	pid = fork();
	if (pid == 0) {
		int result = stash_call(c, "echo", "echo", "x", 1, NULL, 1000);
		stash_client_close(c);
		_exit(result == STASH_E_FORKED ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	t_expect_call(c, "echo", "echo", "y", "y");
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("clients");
	TCase *c = t_case(s, "clients", 90);

	tcase_add_test(c, test_dead_clients_leave_no_channel);
	tcase_add_test(c, test_closing_client_leaves_no_channel);
	tcase_add_test(c, test_slow_client_holds_up_nobody);
	tcase_add_test(c, test_idle_client_comes_back);
	tcase_add_test(c, test_thousand_clients);
	tcase_add_test(c, test_every_crash_is_told);
	tcase_add_test(c, test_killed_from_outside_is_tried_again);
	tcase_add_test(c, test_deferred_reply_over_a_restart);
	tcase_add_test(c, test_call_to_a_stopped_child);
	tcase_add_test(c, test_call_during_the_start);
	tcase_add_test(c, test_deadlines);
	tcase_add_test(c, test_names_and_sizes);
	tcase_add_test(c, test_client_after_fork);
	return s;
}

TEST_MAIN(suite)
