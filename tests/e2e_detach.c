/* SPDX-License-Identifier: ISC */
/*
 * stashd --detach: the command returns when the tree is up, with the exit status
 * of what went wrong otherwise, and leaves the terminal alone.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "testlib.h"

Suite *detach_suite(void);

static void
write_config(const char *module, const char *first)
{
	char text[PATH_MAX + 200];

	snprintf(text, sizeof(text),
	    "tree = { intensity = 0; children = ( { id = \"sequence\"; module = \"%s\"; args = [\"%s\"]; } ); };",
	    t_build(module), first);
	t_write_file(t_path("x.conf"), text);
}

/* The exit status; what it said is shown if that is another one. */
static void
detach(int want)
{
	struct t_result r;

	t_run(&r, NULL,
	    (const char *const[]){
		t_build("stashd"), "--detach", "-f", t_path("x.conf"), "-d", t_path("store"), NULL });
	ck_assert_msg(r.status == want, "%d instead of %d: %.2000s", r.status, want, r.err);
	ck_assert_str_eq(r.out, "");
	t_result_free(&r);
}

static void
expect_number(const char *number)
{
	struct t_result r;

	t_run(&r, NULL,
	    (const char *const[]){
		t_build("stashctl"), "-d", t_path("store"), "call", "sequence", "next_number", NULL });
	ck_assert_msg(r.status == 0 && strncmp(r.out, number, strlen(number)) == 0, "%s%s", r.out, r.err);
	t_result_free(&r);
}

static pid_t
daemon_pid(void)
{
	char *text = t_read_file(t_path("store/stashd.pid"), NULL);
	pid_t pid = (pid_t)atol(text);

	free(text);
	ck_assert_int_gt(pid, 1);
	return pid;
}

START_TEST(the_tree_is_up_when_the_command_returns)
{
	pid_t pid;

	write_config("examples/sequence.so", "123");
	detach(EX_OK);
	expect_number("123");
	pid = daemon_pid();
	ck_assert_int_eq(getsid(pid), pid);
	ck_assert_int_eq(kill(pid, SIGTERM), 0);
	t_no_children(20000);
	detach(EX_OK);
	expect_number("124");
	/* The second one finds the directory in use, and does no harm. */
	detach(EX_TEMPFAIL);
	expect_number("125");
	ck_assert_int_eq(kill(daemon_pid(), SIGTERM), 0);
	t_no_children(20000);
}
END_TEST

START_TEST(a_start_that_fails_is_the_exit_status)
{
	write_config("examples/sequence.so", "no number");
	detach(EX_SOFTWARE);
	t_no_children(10000);
	write_config("tests/modules/config_plain.so", "1");
	detach(EX_SOFTWARE);
	t_no_children(10000);
}
END_TEST

Suite *
detach_suite(void)
{
	Suite *suite = suite_create("detach");
	TCase *all = t_case(suite, "all", 60);

	tcase_add_test(all, the_tree_is_up_when_the_command_returns);
	tcase_add_test(all, a_start_that_fails_is_the_exit_status);
	return suite;
}

TEST_MAIN(detach_suite)
