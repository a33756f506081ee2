/* SPDX-License-Identifier: ISC */
/*
 * handler_timeout: each kind of callback that hangs is found, aborted or killed, told in the crash report, and laid on
 * the message that was in hand; who takes his time within the limit is left alone, and nobody is blamed for time in
 * which the supervisor itself stood still.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "shm/format.h"
#include "shm/wire.h"
#include "testlib_live.h"

static struct t_stashd d;
static struct stash_client *client;

static void
begin(const char *limit)
{
	char args[PATH_MAX + 8], extra[100];

	snprintf(args, sizeof args, "\"%s\"", t_dir());
	snprintf(extra, sizeof extra, "handler_timeout = %s;", limit);
	t_stashd_start(&d, t_config("stuck", "tests/modules/stuck.so", args, extra, ""));
	client = t_client(&d);
}

static void
begin_plain(const char *limit)
{
	memset(&d, 0, sizeof d);
	begin(limit);
}

static void
end(void)
{
	stash_client_close(client);
	t_stashd_stop(&d, 10000);
}

static void
send(enum t_who who, int signal)
{
	pid_t pid = t_pid(&d, who, "stuck");
	int pidfd = pidfd_open(pid, 0);

	ck_assert_int_ge(pidfd, 0);
	ck_assert_int_eq(t_pid(&d, who, "stuck"), pid);
	ck_assert_int_eq(pidfd_send_signal(pidfd, signal, NULL, 0), 0);
	close(pidfd);
}

static bool
in_callback(void *arg)
{
	char path[PATH_MAX + 64];
	struct stash__box box = { .phase = 0 };
	int fd;

	(void)arg;
	snprintf(path, sizeof path, "%s/" STASH__SLOT_DIR "/stuck.out", t_run_of(&d));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &box, sizeof box, STASH__OUT_BOX), (ssize_t)sizeof box);
	close(fd);
	return atomic_load(&box.phase) == STASH__PHASE_CALLBACK;
}

START_TEST(test_call)
{
	begin_plain("200");
	t_expect_call(client, "stuck", "count", NULL, "1");
	t_expect_error(client, "stuck", "hang", NULL, STASH_E_CRASHED);
	t_wait_output(&d.proc, "ended by handler_timeout: stuck for 2", 5000);
	t_wait_output(&d.proc, "ms in handle_call(hang) (SIGABRT", 5000);
	t_wait_output(&d.proc, "stuck:   backtrace: stashd+0x", 5000);
	t_wait_output(&d.proc, "in hand: call hang, 0 bytes: \"\", from process", 5000);
	t_wait_output(&d.proc, "it is set aside, its sender gets STASH_E_CRASHED", 5000);
	t_expect_call(client, "stuck", "count", NULL, "2");
	end();
}
END_TEST

/* One that blocks SIGABRT. */
START_TEST(test_deaf)
{
	begin_plain("200");
	t_expect_error(client, "stuck", "hang_deaf", NULL, STASH_E_CRASHED);
	t_wait_output(&d.proc, "was aborted and lives: killed", 5000);
	t_wait_output(&d.proc, "ms in handle_call(hang_deaf) (SIGKILL", 5000);
	t_expect_call(client, "stuck", "count", NULL, "1");
	end();
}
END_TEST

static const struct {
	const char *tag, *says, *after;
	bool answered; /* the call that makes it hang is answered all the same */
} others[] = {
	{ "timer", "ms in handle_info(hang)", "2", true },
	{ "continue", "ms in handle_continue(go)", "102", true },
	{ "encode", "ms in handle_call(encode)", "1", false },
	{ "stop", "ms in terminate", "2", true },
};

START_TEST(test_other_callbacks)
{
	begin_plain("200");
	if (others[_i].answered)
		t_expect_call(client, "stuck", others[_i].tag, NULL, "1");
	else
		t_expect_error(client, "stuck", others[_i].tag, NULL, STASH_E_CRASHED);
	t_wait_output(&d.proc, others[_i].says, 10000);
	t_expect_call(client, "stuck", "count", NULL, others[_i].after);
	end();
}
END_TEST

START_TEST(test_cast)
{
	begin_plain("200");
	ck_assert_int_eq(stash_cast(client, "stuck", "hang", NULL, 0), 0);
	t_wait_output(&d.proc, "ms in handle_cast(hang)", 10000);
	t_expect_call(client, "stuck", "count", NULL, "1");
	end();
}
END_TEST

/* Many that are slow one after the other, in one batch: each has the limit of its own. */
START_TEST(test_slow_is_not_stuck)
{
	pid_t pid;

	begin_plain("2000");
	t_expect_call(client, "stuck", "count", NULL, "1");
	pid = t_pid(&d, T_WORKER, "stuck");
	for (int i = 0; i < 12; i++)
		ck_assert_int_eq(stash_cast(client, "stuck", "slow", "300", 3), 0);
	t_expect_call(client, "stuck", "count", NULL, "14");
	ck_assert_int_eq(t_pid(&d, T_WORKER, "stuck"), pid);
	end();
}
END_TEST

/* A worker that is stopped in a callback makes no progress either; SIGABRT can't be heard by it. */
START_TEST(test_stopped_in_a_callback)
{
	struct stash_reply reply;
	int64_t ref;

	begin_plain("500");
	ref = stash_call_start(client, "stuck", "slow", "300", 3, 30000);
	ck_assert_int_gt(ref, 0);
	ck_assert_int_eq(stash_call_next(client, &reply, 30000), ref);
	stash_reply_free(&reply);
	ref = stash_call_start(client, "stuck", "hang", NULL, 0, 30000);
	ck_assert_int_gt(ref, 0);
	ck_assert(t_wait_for(in_callback, NULL, 5000));
	send(T_WORKER, SIGSTOP);
	ck_assert_int_eq(stash_call_next(client, &reply, 30000), ref);
	ck_assert_int_eq(reply.error, STASH_E_CRASHED);
	stash_reply_free(&reply);
	t_wait_output(&d.proc, "ms in handle_call(hang)", 5000);
	end();
}
END_TEST

/* The time for which the supervisor was stopped is nobody's fault. */
START_TEST(test_supervisor_was_stopped)
{
	struct stash_reply reply;
	int64_t ref, until;
	pid_t pid;

	begin_plain("2000");
	t_expect_call(client, "stuck", "count", NULL, "1"); /* so that the next one goes out at once */
	pid = t_pid(&d, T_WORKER, "stuck");
	ref = stash_call_start(client, "stuck", "slow", "4000", 4, 30000);
	ck_assert_int_gt(ref, 0);
	ck_assert(t_wait_for(in_callback, NULL, 5000));
	send(T_SUPERVISOR, SIGSTOP);
	for (until = stash__now_ns() + 3500 * STASH__NS_PER_MS; stash__now_ns() < until;)
		(void)poll(NULL, 0, 10); /* a pause as of a machine that sleeps */
	send(T_SUPERVISOR, SIGCONT);
	ck_assert_int_eq(stash_call_next(client, &reply, 30000), ref);
	ck_assert_int_eq(reply.error, 0);
	stash_reply_free(&reply);
	ck_assert_int_eq(t_pid(&d, T_WORKER, "stuck"), pid);
	end();
}
END_TEST

/* It dies between the note and the kill, or behind it: its successor's verdict is the same. */
static const char *const points[] = { "sup_stuck_noted", "sup_stuck_aborted", "sup_before_retire", "sup_after_retire" };

START_TEST(test_supervisor_dies)
{
	static char crash[100], dir[PATH_MAX + 32];
	static const char *env[] = { crash, dir, NULL };

	snprintf(crash, sizeof crash, "STASH_CRASH=%s:1:supervisor", points[_i]);
	snprintf(dir, sizeof dir, "STASH_CRASH_DIR=%s", t_dir());
	memset(&d, 0, sizeof d);
	d.env = env;
	d.points = true;
	begin("200");
	t_expect_error(client, "stuck", "hang", NULL, STASH_E_CRASHED);
	ck_assert_int_eq(access(t_path("fired"), F_OK), 0);
	t_wait_output(&d.proc, "has taken over", 5000);
	t_expect_call(client, "stuck", "count", NULL, "1");
	end();
}
END_TEST

/* A note of a message that was handled meanwhile is no reason to kill anybody: the successor forgets it. */
START_TEST(test_note_is_forgotten)
{
	static char crash[100], dir[PATH_MAX + 32];
	static const char *env[] = { crash, dir, NULL };
	pid_t pid;

	snprintf(crash, sizeof crash, "STASH_CRASH=sup_stuck_noted:1:supervisor");
	snprintf(dir, sizeof dir, "STASH_CRASH_DIR=%s", t_dir());
	memset(&d, 0, sizeof d);
	d.env = env;
	d.points = true;
	begin("300");
	t_expect_call(
	    client, "stuck", "count", NULL, "1"); /* the channel is there: nothing of a call needs the stash */
	pid = t_pid(&d, T_WORKER, "stuck");
	send(T_STASH, SIGSTOP); /* so that the successor can't begin before the message is handled */
	t_expect_call(client, "stuck", "slow", "1500", "2");
	ck_assert_int_eq(access(t_path("fired"), F_OK), 0);
	send(T_STASH, SIGCONT);
	t_wait_output(&d.proc, "has taken over", 10000);
	t_expect_call(client, "stuck", "count", NULL, "3");
	ck_assert_int_eq(t_pid(&d, T_WORKER, "stuck"), pid);
	end();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("stuck");
	TCase *c = t_case(s, "stuck", 60);

	tcase_add_test(c, test_call);
	tcase_add_test(c, test_deaf);
	tcase_add_loop_test(c, test_other_callbacks, 0, (int)(sizeof others / sizeof others[0]));
	tcase_add_test(c, test_cast);
	tcase_add_test(c, test_slow_is_not_stuck);
	tcase_add_test(c, test_stopped_in_a_callback);
	tcase_add_test(c, test_supervisor_was_stopped);
	tcase_add_loop_test(c, test_supervisor_dies, 0, (int)(sizeof points / sizeof points[0]));
	tcase_add_test(c, test_note_is_forgotten);
	return s;
}

TEST_MAIN(suite)
