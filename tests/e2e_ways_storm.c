/* SPDX-License-Identifier: ISC */
/*
 * Casts, requests, posts and continues of a transition leave with it and arrive once, also when sender, receiver, stash
 * and supervisor are killed: in storms, and at each step.
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

#define CLIENTS 4

/* ---- storms ---- */

static struct {
	_Atomic bool stop;
	_Atomic long calls, failed;
} * shared;

static void
call_until_told(const char *tag, const char *data)
{
	struct stash_client *c = t_client(&tp_d);

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
			killed += t_murder(&tp_d, paces[i].who, paces[i].name);
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
	struct tp_counts a, b;

	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(shared != MAP_FAILED);
	tp_begin(extra);
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
	tp_until(quiet, NULL, 60000);
	a = tp_counts("a");
	b = tp_counts("b");
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
	tp_finish();
}

START_TEST(test_storm_of_casts)
{
	storm("tell", "b", "", tp_until_heard);
}
END_TEST

START_TEST(test_storm_of_casts_on_disk)
{
	storm("tell", "b", "ack = \"disk\";", tp_until_heard);
}
END_TEST

START_TEST(test_storm_of_requests)
{
	storm("ask", "b", "", tp_until_answered);
}
END_TEST

START_TEST(test_storm_of_posts)
{
	storm("post", "x", "", tp_until_posted);
}
END_TEST

START_TEST(test_storm_of_continues)
{
	storm("continue", "", "", tp_until_continued);
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
			ck_assert_msg(stash_call(tp_client, i % 2 == 0 ? "a" : "b", tags[k], i % 2 == 0 ? "b" : "a", 1,
					  NULL, 60000) == 0,
			    "%s: %s", tags[k], stash_errmsg());
	}
}

static void
check_both(void)
{
	struct tp_counts a, b;

	tp_until(tp_until_heard, NULL, 20000);
	tp_until(tp_until_posted, NULL, 20000);
	tp_until(tp_until_continued, NULL, 20000);
	a = tp_counts("a");
	b = tp_counts("b");
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
	memset(&tp_d, 0, sizeof tp_d);
	tp_d.env = env;
	tp_d.points = true;
	t_stashd_start(&tp_d, tp_config(extra));
	tp_client = t_client(&tp_d);
	for (int64_t until = stash__now_ns() + 30 * STASH__NS_PER_S; !fired(NULL);) {
		talk(4);
		ck_assert_msg(stash__now_ns() < until, "%s:%d: nobody passed that point", points[i].point, passing);
	}
	talk(4);
	check_both();
	tp_finish();
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
	Suite *s = suite_create("ways_storm");
	TCase *c = t_case(s, "ways_storm", 120);

	tcase_add_loop_test(c, test_points, 0, NPOINTS);
	tcase_add_test(c, test_storm_of_casts);
	tcase_add_test(c, test_storm_of_casts_on_disk);
	tcase_add_test(c, test_storm_of_requests);
	tcase_add_test(c, test_storm_of_posts);
	tcase_add_test(c, test_storm_of_continues);
	return s;
}

TEST_MAIN(suite)
