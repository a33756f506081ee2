/* SPDX-License-Identifier: ISC */
/*
 * Tasks: functions in processes of their own, under a worker whose supervisor, stash and client the test plays.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/worker.h>

#include "base/clock.h"
#include "shm/bell.h"
#include "testlib.h"
#include "testlib_slot.h"

#define MANY 64

struct seen {
	int64_t asked, told, sum;
	int32_t code;
	uint32_t len;
	char tag[16], text[80];
};

/* ---- what runs in tasks ---- */

static int
echo(const void *data, size_t len, struct stash_buf *result)
{
	(void)stash_buf_add(result, data, len);
	return (int)len;
}

static int
segv(const void *data, size_t len, struct stash_buf *result)
{
	(void)data;
	(void)len;
	(void)stash_buf_add_text(result, "half a result");
	raise(SIGSEGV);
	return 0;
}

static int
leave(const void *data, size_t len, struct stash_buf *result)
{
	(void)data;
	(void)len;
	(void)result;
	_exit(3);
}

static int
hang(const void *data, size_t len, struct stash_buf *result)
{
	(void)data;
	(void)len;
	(void)result;
	while (pause() < 0)
		;
	return 0;
}

static int
big(const void *data, size_t len, struct stash_buf *result)
{
	unsigned char block[4096];
	size_t n = strtoul(data, NULL, 10);

	(void)len;
	memset(block, 'x', sizeof block);
	for (size_t done = 0; done < n; done += sizeof block)
		(void)stash_buf_add(result, block, n - done < sizeof block ? n - done : sizeof block);
	return 0;
}

/* Tells that it has run. */
static int
leave_a_trace(const void *data, size_t len, struct stash_buf *result)
{
	FILE *f = fopen(data, "w");

	(void)len;
	(void)result;
	return f != NULL ? fclose(f) : 1;
}

/* ---- the behaviour ---- */

static int64_t refs[MANY + 1];

static int
ask_for(struct stash_worker *w, struct seen *s, const struct stash_msg *msg)
{
	static const struct {
		const char *name;
		int (*run)(const void *, size_t, struct stash_buf *);
		int timeout_ms;
	} kinds[] = { { "echo", echo, -1 }, { "segv", segv, -1 }, { "leave", leave, -1 }, { "hang", hang, -1 },
		{ "late", hang, 30 }, { "big", big, 60000 }, { "trace", leave_a_trace, -1 } };

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		if (!stash_msg_is(msg, kinds[i].name))
			continue;
		s->asked++;
		return stash_task(w, kinds[i].name, kinds[i].run, msg->data, msg->len, kinds[i].timeout_ms, &refs[0]);
	}
	return STASH_E_UNKNOWN;
}

static int
ask_for_many(struct stash_worker *w, struct seen *s, int n, const char *what)
{
	int result = STASH_OK;

	for (int i = 0; i < n && result == STASH_OK; i++) {
		char text[16];
		snprintf(text, sizeof text, "%d", i);
		result = stash_task(
		    w, "echo", echo, what != NULL ? what : text, strlen(what != NULL ? what : text), -1, &refs[i]);
		s->asked += result == STASH_OK;
	}
	return result;
}

static bool
all_dead(void *arg)
{
	pid_t pids[MANY];
	int n = t_children(getpid(), pids, MANY);

	(void)arg;
	for (int i = 0; i < n; i++) {
		siginfo_t info = { 0 };
		if (waitid(P_PID, (id_t)pids[i], &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
			return false;
	}
	return n > 0;
}

/* Ends all children, and takes their statuses. */
static int
steal(void)
{
	pid_t pids[MANY];
	int n = t_children(getpid(), pids, MANY);

	for (int i = 0; i < n; i++)
		(void)kill(pids[i], SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	return STASH_OK;
}

static int
task_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct seen *s = state;
	int result;

	if (stash_msg_is(msg, "get"))
		return stash_replyf(w, "%" PRId64 " %" PRId64 " %s %d %u %s %" PRId64, s->asked, s->told, s->tag,
		    s->code, s->len, s->text, s->sum);
	if (stash_msg_is(msg, "cancel"))
		return stash_replyf(w, "%d", stash_task_cancel(w, refs[0]));
	if (stash_msg_is(msg, "many"))
		return ask_for_many(w, s, 20, NULL);
	if (stash_msg_is(msg, "crowd"))
		return ask_for_many(w, s, 20, "only");
	if (stash_msg_is(msg, "too_many")) {
		result = ask_for_many(w, s, MANY + 1, "never");
		for (int i = 0; i < MANY; i++)
			if (stash_task_cancel(w, refs[i]) != STASH_OK)
				return STASH_E_APP;
		return stash_replyf(w, "%d %" PRId64, result, s->asked);
	}
	if (stash_msg_is(msg, "hold"))
		return t_wait_for(all_dead, NULL, 10000) ? STASH_OK : STASH_E_TIMEDOUT;
	if (stash_msg_is(msg, "steal"))
		return steal();
	if (stash_msg_is(msg, "fail")) {
		(void)stash_task(w, "trace", leave_a_trace, msg->data, msg->len, -1, NULL);
		return stash_fail(w, "after all not");
	}
	if (stash_msg_is(msg, "wrong"))
		return stash_replyf(w, "%d %d %d", stash_task(w, "x", NULL, NULL, 0, -1, NULL),
		    stash_task(w, "x", echo, NULL, 0, 0, NULL), stash_task(w, "a b", echo, NULL, 0, -1, NULL));
	return ask_for(w, s, msg);
}

static int
task_info(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct seen *s = state;

	ck_assert_uint_eq(msg->kind, STASH_MSG_TASK);
	s->told++;
	s->code = msg->code;
	s->len = (uint32_t)msg->len;
	s->sum += strtol(msg->data, NULL, 10);
	snprintf(s->tag, sizeof s->tag, "%s", msg->tag);
	snprintf(s->text, sizeof s->text, "%.60s", (const char *)msg->data);
	if (stash_msg_is(msg, "echo") && strcmp(s->text, "crash") == 0)
		abort();
	if (stash_msg_is(msg, "echo") && strcmp(s->text, "only") == 0)
		for (int i = 0; i < MANY; i++)
			if (refs[i] != msg->ref)
				(void)stash_task_cancel(w, refs[i]);
	return STASH_OK;
}

static int
task_init(struct stash_worker *w, void *state, const struct stash_init *in)
{
	(void)state;
	if (in->restarts == 0)
		return STASH_OK;
	/* The second one has an event loop, and a task before there is a message. */
	if (stash_worker_events(w) == NULL)
		return STASH_E_SYSTEM;
	return stash_task(w, "echo", echo, "from init", 9, -1, NULL);
}

static const struct stash_behaviour tasking = STASH_BEHAVIOUR(.name = "tasking", .state_size = sizeof(struct seen),
    .layout_version = 1, .init = task_init, .handle_call = task_call, .handle_info = task_info);

/* ---- a client of few words ---- */

static struct t_world t;
static uint64_t tail, count, head;
static struct stash__copy space;
static struct stash__message m;

static void
send_call(const char *tag, const char *data)
{
	ck_assert_int_eq(
	    stash__request_write(&t.channels[0], &tail, ++count, STASH_MSG_CALL, tag, data, strlen(data), INT64_MAX),
	    0);
	stash__request_publish(&t.channels[0], tail);
	stash__bell_wake(&t.bell_page->asleep, t.bell);
}

static const char *
call(const char *tag, const char *data)
{
	int got = 0;

	send_call(tag, data);
	for (int64_t until = stash__now_ns() + 20 * STASH__NS_PER_S; got == 0;) {
		stash__bell_doze(&t.channels[0].page->client_asleep);
		got = stash__reply_read(&t.channels[0], &head, &space, &m);
		ck_assert_int_ge(got, 0);
		ck_assert_msg(got > 0 || stash__now_ns() < until, "no answer to %s", tag);
		if (got == 0)
			(void)stash__bell_poll(t.bells[0], -1, -1, stash__now_ns() + STASH__NS_PER_S);
		stash__bell_rise(&t.channels[0].page->client_asleep);
	}
	ck_assert_int_eq(m.head.code, STASH_OK);
	return (const char *)m.data;
}

static bool
says(void *text)
{
	return strcmp(call("get", ""), text) == 0;
}

static void
wait_until_it_says(const char *text)
{
	ck_assert_msg(t_wait_for(says, (void *)(uintptr_t)text, 10000), "it says '%s'", call("get", ""));
}

static void
open_world(void)
{
	t_world_open(&t, sizeof(struct seen));
	(void)t_world_channel(&t, STASH__RING_MIN);
	tail = count = head = 0;
	t_world_start(&t, &tasking, false);
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
}

static void
close_world(int sig)
{
	if (sig != 0) {
		ck_assert_int_eq(kill(t.pid, sig), 0);
		(void)t_world_wait(&t);
	}
	stash__copy_free(&space);
	t_world_close(&t);
	t_no_children(10000);
}

static bool
has_task(void *arg)
{
	return t_children(t.pid, arg, 1) == 1;
}

static bool
has_none(void *arg)
{
	pid_t pid;

	(void)arg;
	return t_children(t.pid, &pid, 1) == 0;
}

/* ---- tests ---- */

START_TEST(test_result_comes_back)
{
	open_world();
	(void)call("echo", "hello");
	wait_until_it_says("1 1 echo 5 5 hello 0");
	(void)call("echo", "");
	wait_until_it_says("2 2 echo 0 0  0");
	ck_assert_str_eq(call("wrong", ""), "-1 -1 -1");
	close_world(SIGTERM);
}
END_TEST

START_TEST(test_crash_is_told)
{
	open_world();
	(void)call("segv", "");
	wait_until_it_says("1 1 segv -12 35 the task segv was killed by SIGSEGV 0");
	(void)call("leave", "");
	wait_until_it_says("2 2 leave -12 62 the task leave has ended with exit status 3, without returni 0");
	close_world(SIGTERM);
}
END_TEST

START_TEST(test_time_limit)
{
	open_world();
	(void)call("late", "");
	wait_until_it_says("1 1 late -10 46 the task late has run for 30 ms and was killed 0");
	close_world(SIGTERM);
}
END_TEST

START_TEST(test_cancel)
{
	pid_t pid;

	open_world();
	(void)call("hang", "");
	ck_assert(t_wait_for(has_task, &pid, 10000));
	ck_assert_str_eq(call("cancel", ""), "0");
	ck_assert_str_eq(call("cancel", ""), "-5");
	ck_assert(t_wait_for(has_none, NULL, 10000));
	/* What comes next is the next one's. */
	(void)call("echo", "after");
	wait_until_it_says("2 1 echo 5 5 after 0");
	ck_assert_str_eq(call("cancel", ""), "-5");
	close_world(SIGTERM);
}
END_TEST

/* Many that have ended, and the first one told cancels all others. */
START_TEST(test_cancel_behind_the_end)
{
	open_world();
	(void)call("crowd", "");
	(void)call("hold", "");
	/* The only one that is told comes before the next one. */
	(void)call("echo", "next");
	wait_until_it_says("21 2 echo 4 4 next 0");
	close_world(SIGTERM);
}
END_TEST

START_TEST(test_many_at_once)
{
	open_world();
	(void)call("many", "");
	for (int i = 0; i < 5000 && strstr(call("get", ""), "20 20 ") == NULL; i++)
		(void)poll(NULL, 0, 1);
	ck_assert_msg(strstr(call("get", ""), " 190") != NULL, "it says '%s'", call("get", ""));
	close_world(SIGTERM);
}
END_TEST

START_TEST(test_too_many)
{
	open_world();
	ck_assert_str_eq(call("too_many", ""), "-9 64");
	ck_assert(t_wait_for(has_none, NULL, 10000));
	(void)call("echo", "one");
	wait_until_it_says("65 1 echo 3 3 one 0");
	close_world(SIGTERM);
}
END_TEST

START_TEST(test_failed_callback_starts_none)
{
	const char *trace = t_path("trace");
	int status;

	open_world();
	send_call("fail", trace);
	status = t_world_wait(&t);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	ck_assert_int_ne(access(trace, F_OK), 0);
	close_world(0);
	ck_assert_int_ne(access(trace, F_OK), 0);
}
END_TEST

static bool
has_name(void *arg)
{
	char path[64], name[32] = "";
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/comm", (int)*(pid_t *)arg);
	f = fopen(path, "r");
	if (f != NULL && fgets(name, sizeof name, f) == NULL)
		name[0] = '\0';
	if (f != NULL)
		fclose(f);
	return strcmp(name, "stash: w task h\n") == 0;
}

START_TEST(test_dies_with_its_worker)
{
	pid_t pid = 0;
	struct pollfd end = { .events = POLLIN };

	for (int i = 0; i < 3; i++) {
		static const int signals[] = { SIGKILL, SIGSEGV, SIGTERM };
		open_world();
		(void)call("hang", "");
		ck_assert(t_wait_for(has_task, &pid, 10000));
		ck_assert(t_wait_for(has_name, &pid, 10000));
		end.fd = pidfd_open(pid, 0);
		ck_assert_int_ge(end.fd, 0);
		ck_assert_int_eq(kill(t.pid, signals[i]), 0);
		(void)t_world_wait(&t);
		ck_assert_int_eq(poll(&end, 1, 10000), 1);
		close(end.fd);
		close_world(0);
	}
}
END_TEST

START_TEST(test_large_result)
{
	open_world();
	(void)call("big", "1048576");
	for (int i = 0; i < 5000 && strstr(call("get", ""), "1 1 ") == NULL; i++)
		(void)poll(NULL, 0, 1);
	ck_assert_msg(strncmp(call("get", ""), "1 1 big 0 1048576 xxx", 21) == 0, "it says '%s'", call("get", ""));
	(void)call("big", "1048577");
	wait_until_it_says("2 2 big -7 0  0");
	close_world(SIGTERM);
}
END_TEST

START_TEST(test_next_incarnation)
{
	pid_t pid;

	open_world();
	(void)call("hang", "");
	ck_assert(t_wait_for(has_task, &pid, 10000));
	ck_assert_int_eq(kill(t.pid, SIGKILL), 0);
	(void)t_world_wait(&t);
	/* It has a task of its init, and sleeps in libevent. */
	t_world_start(&t, &tasking, false);
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
	wait_until_it_says("1 1 echo 9 9 from init 0");
	(void)call("late", "");
	wait_until_it_says("2 2 late -10 46 the task late has run for 30 ms and was killed 0");
	/* A message on which its worker dies is gone with it. */
	(void)call("echo", "crash");
	(void)t_world_wait(&t);
	t_world_start(&t, &tasking, false);
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
	wait_until_it_says("3 3 echo 9 9 from init 0");
	close_world(SIGTERM);
}
END_TEST

START_TEST(test_status_taken_by_another)
{
	pid_t pid;

	open_world();
	(void)call("hang", "");
	ck_assert(t_wait_for(has_task, &pid, 10000));
	(void)call("steal", "");
	wait_until_it_says("1 1 hang -12 65 the task hang has ended, and its status was taken by another 0");
	close_world(SIGTERM);
}
END_TEST

START_TEST(test_begins_when_it_is_durable)
{
	const char *trace = t_path("trace");

	open_world();
	ck_assert_int_eq(kill(t.pid, SIGTERM), 0);
	(void)t_world_wait(&t);
	t.ack_disk = true;
	atomic_store(&t.no_disk, true);
	t_world_start(&t, &tasking, false);
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
	send_call("trace", trace);
	for (int64_t until = stash__now_ns() + 10 * STASH__NS_PER_S;;) {
		t_world_fold(&t);
		if (t.rows[0].req_count == 1 && t.out.page->wanted != 0)
			break;
		ck_assert(stash__now_ns() < until);
	}
	ck_assert_int_ne(access(trace, F_OK), 0);
	atomic_store(&t.no_disk, false);
	atomic_store(&t.in.page->durable, t.base.changed);
	stash__bell_wake(&t.bell_page->asleep, t.bell);
	for (int i = 0; i < 10000 && access(trace, F_OK) != 0; i++)
		(void)poll(NULL, 0, 1);
	ck_assert_int_eq(access(trace, F_OK), 0);
	close_world(SIGTERM);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("task");
	TCase *c = t_case(s, "task", 30);

	tcase_add_test(c, test_result_comes_back);
	tcase_add_test(c, test_crash_is_told);
	tcase_add_test(c, test_time_limit);
	tcase_add_test(c, test_cancel);
	tcase_add_test(c, test_cancel_behind_the_end);
	tcase_add_test(c, test_many_at_once);
	tcase_add_test(c, test_too_many);
	tcase_add_test(c, test_failed_callback_starts_none);
	tcase_add_test(c, test_dies_with_its_worker);
	tcase_add_test(c, test_large_result);
	tcase_add_test(c, test_next_incarnation);
	tcase_add_test(c, test_status_taken_by_another);
	tcase_add_test(c, test_begins_when_it_is_durable);
	return s;
}

TEST_MAIN(suite)
