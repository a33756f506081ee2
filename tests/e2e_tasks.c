/* SPDX-License-Identifier: ISC */
/*
 * Tasks of a worker under a real stashd: their results and their crashes come back, and none outlives its worker, nor
 * is any left when all is over.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include <stash/stash.h>

#include "testlib_live.h"

Suite *tasks_suite(void);

static struct t_stashd d;
static struct stash_client *c;

static void
begin(void)
{
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, t_config("tasks", "tests/modules/tasks.so", "\"0\"", "", ""));
	c = t_client(&d);
}

static void
finish(void)
{
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}

static bool
says(void *arg)
{
	struct stash_reply reply;
	bool same;

	ck_assert_int_eq(stash_call(c, "tasks", "get", NULL, 0, &reply, 20000), 0);
	same = strcmp(reply.data, arg) == 0;
	stash_reply_free(&reply);
	return same;
}

static void
wait_until(const char *text)
{
	ck_assert_msg(t_wait_for(says, (void *)(uintptr_t)text, 20000), "it never says '%s'", text);
}

static bool
has_task(void *arg)
{
	return t_children(t_pid(&d, T_WORKER, "tasks"), arg, 1) == 1;
}

/* Dead, and reaped by whoever has inherited it. */
static bool
is_gone(void *arg)
{
	return pidfd_send_signal(*(int *)arg, 0, NULL, 0) < 0;
}

/* It says whose it is, and which. */
static bool
has_title(void *arg)
{
	char path[64], title[64] = "";
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)*(pid_t *)arg);
	f = fopen(path, "r");
	if (f != NULL && fread(title, 1, sizeof title - 1, f) == 0)
		title[0] = '\0';
	if (f != NULL)
		fclose(f);
	return strcmp(title, "stash: tasks task hang") == 0;
}

START_TEST(results_come_back)
{
	begin();
	t_expect_call(c, "tasks", "run", "21", "");
	wait_until("1 0 42");
	t_expect_call(c, "tasks", "crash", NULL, "");
	wait_until("1 1 42");
	for (int i = 0; i < 20; i++)
		t_expect_call(c, "tasks", "run", "1", "");
	wait_until("21 1 82");
	finish();
}
END_TEST

START_TEST(none_outlives_its_worker)
{
	begin();
	for (int i = 0; i < 5; i++) {
		pid_t pid = 0, worker;
		int pidfd;

		t_expect_call(c, "tasks", "hang", NULL, "");
		ck_assert(t_wait_for(has_task, &pid, 20000));
		ck_assert(t_wait_for(has_title, &pid, 20000));
		worker = t_pid(&d, T_WORKER, "tasks");
		pidfd = pidfd_open(pid, 0);
		ck_assert_int_ge(pidfd, 0);
		ck_assert(t_murder(&d, T_WORKER, "tasks"));
		ck_assert_msg(t_wait_for(is_gone, &pidfd, 20000), "the task %d lives on", (int)pid);
		close(pidfd);
		t_expect_call(c, "tasks", "get", NULL, "0 0 0");
		ck_assert_int_ne(t_pid(&d, T_WORKER, "tasks"), worker);
	}
	t_expect_call(c, "tasks", "hang", NULL, "");
	finish();
}
END_TEST

Suite *
tasks_suite(void)
{
	Suite *suite = suite_create("tasks");
	TCase *all = t_case(suite, "all", 60);

	tcase_add_test(all, results_come_back);
	tcase_add_test(all, none_outlives_its_worker);
	return suite;
}

TEST_MAIN(tasks_suite)
