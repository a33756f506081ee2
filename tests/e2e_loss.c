/* SPDX-License-Identifier: ISC */
/*
 * on_supervisor_loss: a worker with "kill" dies with its supervisor process, at once and by the kernel alone; the next
 * supervisor starts it again by its rules, and neither a restart nor an attempt at its message is counted.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/stash.h>

#include "testlib_live.h"

static struct t_stashd d;
static struct stash_client *c;

/* intensity = 0: whatever is counted ends the tree. */
static void
begin(const char *children)
{
	char text[4096];

	snprintf(text, sizeof text, "tree = { intensity = 0; children = ( %s ); };", children);
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, text);
	c = t_client(&d);
}

static void
end(void)
{
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}

/* "{ id = ID; module = child.so; REST }"; good until the fourth call from here. */
static const char *
child(const char *id, const char *rest)
{
	static char texts[4][PATH_MAX + 256];
	static unsigned next;
	char *text = texts[next++ % 4];

	snprintf(
	    text, sizeof texts[0], "{ id = \"%s\"; module = \"%s\"; %s }", id, t_build("tests/modules/child.so"), rest);
	return text;
}

struct sought {
	const char *name;
	pid_t other_than, pid;
};

static bool
is_running(void *arg)
{
	struct sought *s = arg;
	struct stash_process process;

	if (stash_whereis(c, s->name, &process) != STASH_OK || process.status != STASH_RUNNING)
		return false;
	s->pid = (pid_t)process.pid;
	return s->pid != 0 && s->pid != s->other_than;
}

/* Waits until it runs as another process than that. */
static pid_t
next_pid_of(const char *name, pid_t other_than)
{
	struct sought s = { name, other_than, 0 };

	ck_assert_msg(t_wait_for(is_running, &s, 20000), "%s doesn't run, or still as %d", name, (int)s.pid);
	return s.pid;
}

static pid_t
pid_of(const char *name)
{
	return next_pid_of(name, 0);
}

static int
watch(pid_t pid)
{
	int pidfd = pidfd_open(pid, 0);

	ck_assert_int_ge(pidfd, 0);
	return pidfd;
}

static bool
is_dead(int pidfd, int ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

static bool
has_supervisor(void *arg)
{
	const pid_t *old = arg;
	pid_t now = t_pid(&d, T_SUPERVISOR, NULL);

	return now != 0 && now != *old;
}

static void
next_supervisor(void)
{
	pid_t old = t_pid(&d, T_SUPERVISOR, NULL);

	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	ck_assert(t_wait_for(has_supervisor, &old, 20000));
}

START_TEST(test_dies_at_once_and_comes_back)
{
	char children[3 * (PATH_MAX + 256)], text[16];
	pid_t kill_pid, keep_pid, brief_pid;
	int kill_fd, keep_fd, brief_fd;

	snprintf(children, sizeof children, "%s, %s, %s", child("k", "on_supervisor_loss = \"kill\";"),
	    child("o", "on_supervisor_loss = \"keep\";"),
	    child("t", "on_supervisor_loss = \"kill\"; restart = \"temporary\";"));
	begin(children);
	kill_pid = pid_of("k");
	keep_pid = pid_of("o");
	brief_pid = pid_of("t");
	brief_fd = watch(brief_pid);
	for (int i = 1; i <= 8; i++) {
		snprintf(text, sizeof text, "%d", i);
		t_expect_call(c, "k", "count", NULL, text);
		kill_fd = watch(kill_pid);
		keep_fd = watch(keep_pid);
		/* With the keeper stopped there is nobody but the kernel who could do it. */
		t_kill(&d.proc, SIGSTOP);
		ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
		ck_assert(is_dead(kill_fd, 5000));
		ck_assert(i > 1 || is_dead(brief_fd, 5000));
		t_kill(&d.proc, SIGCONT);
		kill_pid = next_pid_of("k", kill_pid);
		ck_assert_int_eq(pid_of("o"), keep_pid);
		ck_assert(!is_dead(keep_fd, 0));
		close(kill_fd);
		close(keep_fd);
	}
	close(brief_fd);
	t_expect_call(c, "k", "count", NULL, "9");
	ck_assert_int_eq(stash_whereis(c, "t", NULL), STASH_E_NOENT);
	end();
}
END_TEST

static bool
has_begun(void *arg)
{
	const int *times = arg;
	size_t len = 0;

	if (access(t_path("held"), F_OK) != 0)
		return false;
	free(t_read_file(t_path("held"), &len));
	return (int)len >= *times;
}

/* One attempt is allowed, and the message is in hand each time. */
START_TEST(test_the_message_in_hand_is_not_charged)
{
	struct stash_reply reply;
	int64_t call;
	char gate[PATH_MAX];

	begin(child("k", "on_supervisor_loss = \"kill\"; max_attempts = 1;"));
	(void)pid_of("k");
	t_expect_call(c, "k", "count", NULL, "1"); /* from now on there is a channel */
	call = stash_call_start(c, "k", "hold", t_path("held"), strlen(t_path("held")), 60000);
	ck_assert_int_gt(call, 0);
	for (int i = 1; i <= 3; i++) {
		ck_assert_msg(t_wait_for(has_begun, &i, 20000), "%d", i);
		next_supervisor();
	}
	snprintf(gate, sizeof gate, "%s.go", t_path("held"));
	t_write_file(gate, "");
	ck_assert_int_eq(stash_call_wait(c, call, &reply, 60000), STASH_OK);
	ck_assert_str_eq(reply.data, "1");
	stash_reply_free(&reply);
	end();
}
END_TEST

/* What it had done by itself before counts as ever. */
START_TEST(test_its_own_fault_stays_its_own)
{
	struct t_result r;
	int fd;

	begin(child("k", "on_supervisor_loss = \"kill\"; restart = \"transient\";"));
	fd = watch(pid_of("k"));
	t_expect_call(c, "k", "count", NULL, "1");
	t_kill(&d.proc, SIGSTOP);
	ck_assert_int_gt(stash_call_start(c, "k", "stop", NULL, 0, 20000), 0);
	ck_assert(is_dead(fd, 20000));
	close(fd);
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	t_kill(&d.proc, SIGCONT);
	/* Its end was normal, so it stays down. */
	t_run(
	    &r, NULL, (const char *const[]){ t_build("stashctl"), "-d", t_store(&d), "which-children", "root", NULL });
	ck_assert_msg(r.status == EX_OK && strstr(r.out, "stopped") != NULL, "%d: %s%s", r.status, r.out, r.err);
	t_result_free(&r);
	end();
}
END_TEST

/* Programs, linked or not; and a reexec, which is the end of a supervisor process, too. */
START_TEST(test_programs)
{
	char children[2048];
	pid_t sleeper, next;
	int fd;

	snprintf(children, sizeof children,
	    "{ id = \"s\"; exec = [\"sleep\", \"1000\"]; notify = \"none\"; on_supervisor_loss = \"kill\"; }, "
	    "{ id = \"o\"; exec = [\"sleep\", \"1000\"]; notify = \"none\"; }");
	begin(children);
	sleeper = pid_of("s");
	next = pid_of("o");
	fd = watch(sleeper);
	t_kill(&d.proc, SIGSTOP);
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	ck_assert(is_dead(fd, 5000));
	close(fd);
	t_kill(&d.proc, SIGCONT);
	(void)next_pid_of("s", sleeper);
	ck_assert_int_eq(pid_of("o"), next);
	end();
}
END_TEST

START_TEST(test_it_is_told_and_reloaded)
{
	struct t_result r;
	pid_t before;

	begin(child("k", "on_supervisor_loss = \"kill\";"));
	before = pid_of("k");
	t_run(&r, NULL,
	    (const char *const[]){ t_build("stashctl"), "-d", t_store(&d), "get-childspec", "root", "k", NULL });
	ck_assert_msg(strstr(r.out, "on_supervisor_loss = \"kill\"") != NULL, "%s%s", r.out, r.err);
	t_result_free(&r);
	{
		char text[PATH_MAX + 512];

		snprintf(text, sizeof text, "tree = { intensity = 0; children = ( %s ); };", child("k", ""));
		t_write_file(d.conf, text);
	}
	t_run(&r, NULL, (const char *const[]){ t_build("stashctl"), "-d", t_store(&d), "reload", NULL });
	ck_assert_msg(strstr(r.out, "change root/k: on_supervisor_loss") != NULL, "%s%s", r.out, r.err);
	t_result_free(&r);
	before = next_pid_of("k", before);
	next_supervisor();
	ck_assert_int_eq(pid_of("k"), before);
	end();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("loss");
	TCase *tc = t_case(s, "loss", 60);

	tcase_add_test(tc, test_dies_at_once_and_comes_back);
	tcase_add_test(tc, test_the_message_in_hand_is_not_charged);
	tcase_add_test(tc, test_its_own_fault_stays_its_own);
	tcase_add_test(tc, test_programs);
	tcase_add_test(tc, test_it_is_told_and_reloaded);
	return s;
}

TEST_MAIN(suite)
