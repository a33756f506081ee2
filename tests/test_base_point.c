/* SPDX-License-Identifier: ISC */
/*
 * Crash points: who dies, when, and only once. They are empty in a normal
 * build, so their source is compiled into this program.
 */
#include "base/point.h"

#ifdef STASH_POINTS
#error "this suite is for a normal build"
#endif

/* Before the macros change: here a point is nothing at all. */
static int
passes_nothing(void)
{
	STASH_POINT("nothing");
	stash__point_process("worker", "nobody");
	return 0;
}

#undef STASH_POINT
#undef stash__point_process
#undef BASE_POINT_H
#define STASH_POINTS
#include "base/point.c"

#include <sys/wait.h>

#include "testlib.h"

Suite *base_point_suite(void);

/* Who passes the points, and how often. */
struct passer {
	const char *kind, *name, *point;
	int times;
};

/* Passes the point so often in a process of its own; returns 0, or the signal that it died by. */
static int
pass(const char *wish, const char *dir, struct passer who)
{
	int status = 0, i;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (wish == NULL)
			unsetenv("STASH_CRASH");
		else
			setenv("STASH_CRASH", wish, 1);
		if (dir == NULL)
			unsetenv("STASH_CRASH_DIR");
		else
			setenv("STASH_CRASH_DIR", dir, 1);
		if (who.kind != NULL)
			stash__point_process(who.kind, who.name);
		for (i = 0; i < who.times; i++) {
			STASH_POINT("another");
			STASH_POINT(who.point);
		}
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

static const struct passer worker3 = { "worker", "sequence", "before", 3 };

START_TEST(nobody_dies_unasked)
{
	ck_assert_int_eq(passes_nothing(), 0);
	ck_assert_int_eq(pass(NULL, NULL, worker3), 0);
	ck_assert_int_eq(pass("", NULL, worker3), 0);
	ck_assert_int_eq(pass("behind:1", NULL, worker3), 0);
}
END_TEST

START_TEST(the_nth_passing_kills)
{
	ck_assert_int_eq(pass("before:1", NULL, worker3), SIGKILL);
	ck_assert_int_eq(pass("before:3", NULL, worker3), SIGKILL);
	ck_assert_int_eq(pass("before:4", NULL, worker3), 0);
}
END_TEST

START_TEST(only_the_process_that_is_meant_dies)
{
	static const struct passer stash = { "stash", NULL, "before", 3 }, nobody = { NULL, NULL, "before", 3 };

	ck_assert_int_eq(pass("before:1:worker", NULL, worker3), SIGKILL);
	ck_assert_int_eq(pass("before:1:sequence", NULL, worker3), SIGKILL);
	ck_assert_int_eq(pass("before:1:stash", NULL, worker3), 0);
	ck_assert_int_eq(pass("before:1:seq", NULL, worker3), 0);
	ck_assert_int_eq(pass("before:1:stash", NULL, stash), SIGKILL);
	ck_assert_int_eq(pass("before:1:sequence", NULL, stash), 0);
	ck_assert_int_eq(pass("before:1:", NULL, stash), 0);
	ck_assert_int_eq(pass("before:1:client", NULL, nobody), SIGKILL);
	ck_assert_int_eq(pass("before:1:worker", NULL, nobody), 0);
}
END_TEST

START_TEST(only_the_first_dies)
{
	char *text;

	ck_assert_int_eq(pass("before:2", t_dir(), worker3), SIGKILL);
	ck_assert_int_eq(pass("before:2", t_dir(), worker3), 0);
	text = t_read_file(t_path("fired"), NULL);
	ck_assert_msg(strncmp(text, "before ", 7) == 0 && strstr(text, " worker sequence\n") != NULL, "%s", text);
	free(text);
}
END_TEST

START_TEST(a_new_process_counts_anew)
{
	int status = 0, i;
	pid_t pid;

	setenv("STASH_CRASH", "before:3", 1);
	STASH_POINT("before");
	STASH_POINT("before");
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		stash__point_process("worker", "sequence");
		for (i = 0; i < 2; i++)
			STASH_POINT("before");
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(a_wrong_wish_aborts)
{
	static const char *const wrong[] = { "before", ":1", "before:", "before:0", "before:x", "before:1x", NULL };
	size_t i;

	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
	for (i = 0; wrong[i] != NULL; i++)
		ck_assert_msg(pass(wrong[i], NULL, worker3) == SIGABRT, "%s", wrong[i]);
	ck_assert_int_eq(pass("before:1", t_path("missing"), worker3), SIGABRT);
}
END_TEST

Suite *
base_point_suite(void)
{
	Suite *suite = suite_create("base_point");
	TCase *tc = t_case(suite, "points", 20);

	tcase_add_test(tc, nobody_dies_unasked);
	tcase_add_test(tc, the_nth_passing_kills);
	tcase_add_test(tc, only_the_process_that_is_meant_dies);
	tcase_add_test(tc, only_the_first_dies);
	tcase_add_test(tc, a_new_process_counts_anew);
	tcase_add_test(tc, a_wrong_wish_aborts);
	return suite;
}

TEST_MAIN(base_point_suite)
