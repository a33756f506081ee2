/* SPDX-License-Identifier: ISC */
/*
 * The parts of src/base that ask the system: log, clocks, boot and processes,
 * assertions, and messages with descriptors over a socket.
 */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/assert.h"
#include "base/boot.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/sock.h"
#include "testlib.h"

Suite *base_system_suite(void);

/* ---- log ---- */

/* Standard error from now on goes into a pipe; returns its reading end. */
static int
capture_stderr(void)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	close(fds[1]);
	return fds[0];
}

/* What was written since the last time; "" if nothing was. */
static const char *
captured(int fd)
{
	static char text[2 * STASH__LOG_LINE_MAX];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = '\0';
	return text;
}

START_TEST(a_log_line_is_one_clean_line)
{
	char longer[2 * STASH__LOG_LINE_MAX];
	const char *line;
	int fd = capture_stderr();

	stash__log_prefix("stash\nd");
	errno = EXDEV;
	stash__log(LOG_INFO, "two\nlines, %s", "\x1b[1mbold\xff");
	ck_assert_int_eq(errno, EXDEV);
	ck_assert_str_eq(captured(fd), "stash\\nd: two\\nlines, \\x1b[1mbold\\xff\n");
	stash__log_prefix(NULL);
	stash__log(LOG_ERR, "%s", "");
	ck_assert_str_eq(captured(fd), "\n");

	memset(longer, '\n', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	stash__log(LOG_INFO, "%s", longer);
	line = captured(fd);
	ck_assert_uint_le(strlen(line), STASH__LOG_LINE_MAX);
	ck_assert_uint_ge(strlen(line), STASH__LOG_LINE_MAX - 4);
	ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
	close(fd);
}
END_TEST

START_TEST(levels_and_the_journal)
{
	int fd = capture_stderr();

	stash__log_prefix("p");
	stash__log(LOG_DEBUG, "too much");
	ck_assert_str_eq(captured(fd), "");
	stash__log_level(LOG_DEBUG);
	stash__log_journald(true);
	stash__log(LOG_DEBUG, "wanted");
	ck_assert_str_eq(captured(fd), "<7>p: wanted\n");
	stash__log(LOG_DAEMON | LOG_WARNING, "facility");
	ck_assert_str_eq(captured(fd), "<4>p: facility\n");
	close(fd);
}
END_TEST

START_TEST(the_prefix_is_the_program_at_first)
{
	int fd = capture_stderr();

	stash__log(LOG_INFO, "x");
	ck_assert_str_eq(captured(fd), "test_base_system: x\n");
	close(fd);
}
END_TEST

static void
take_line(void *arg, int priority, const char *line)
{
	snprintf(arg, 128, "%d %s", priority, line);
}

START_TEST(a_sink_takes_the_lines)
{
	char got[128] = "";
	int fd = capture_stderr();

	stash__log_journald(true);
	stash__log_sink(take_line, got);
	stash__log(LOG_WARNING, "a\tb");
	ck_assert_str_eq(got, "4 a\\tb");
	ck_assert_str_eq(captured(fd), "");
	stash__log_sink(NULL, NULL);
	stash__log(LOG_WARNING, "c");
	ck_assert_str_eq(captured(fd), "<4>test_base_system: c\n");
	close(fd);
}
END_TEST

/* ---- failing ---- */

static void *
fail_elsewhere(void *arg)
{
	ck_assert_str_eq(stash_errmsg(), "");
	stash__fail(STASH_E_FULL, "elsewhere");
	return arg;
}

START_TEST(messages_are_a_threads_own)
{
	pthread_t thread;

	stash__fail(STASH_E_BUSY, "here");
	ck_assert_int_eq(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_str_eq(stash_errmsg(), "here");
}
END_TEST

START_TEST(a_broken_rule_aborts)
{
	int fd = capture_stderr(), status = 0, one = 1;
	pid_t pid;

	STASH_ASSERT(one == 1);
	ck_assert_str_eq(captured(fd), "");
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		STASH_ASSERT(one == 2);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	ck_assert_ptr_nonnull(strstr(captured(fd), "\"one == 2\" does not hold"));
	close(fd);
}
END_TEST

/* ---- clocks, boot, processes ---- */

START_TEST(deadlines_round_up_and_may_be_never)
{
	int64_t before = stash__now_ns(), deadline = stash__deadline_ns(60000), after = stash__now_ns();

	ck_assert_int_ge(after, before);
	ck_assert_int_ge(deadline, before + 60 * STASH__NS_PER_S);
	ck_assert_int_le(deadline, after + 60 * STASH__NS_PER_S);
	ck_assert_int_le(stash__left_ms(deadline), 60000);
	ck_assert_int_gt(stash__left_ms(deadline), 50000);
	ck_assert_int_eq(stash__left_ms(stash__deadline_ns(0)), 0);
	ck_assert_int_eq(stash__left_ms(INT64_MIN / 2), 0);
	ck_assert_int_eq(stash__deadline_ns(-1), INT64_MAX);
	ck_assert_int_eq(stash__left_ms(INT64_MAX), -1);
	ck_assert_int_eq(stash__left_ms(INT64_MAX - 1), INT_MAX);
	ck_assert_int_eq(stash__left_ms(stash__now_ns() + 59 * STASH__NS_PER_S + 1), 59000);
	ck_assert_int_gt(stash__time_ns(), INT64_C(1700000000) * STASH__NS_PER_S);
}
END_TEST

START_TEST(the_boot_has_one_id)
{
	static const unsigned char zero[STASH__BOOT_ID_LEN];
	unsigned char one[STASH__BOOT_ID_LEN], two[STASH__BOOT_ID_LEN];
	char want[64], *text = t_read_file("/proc/sys/kernel/random/boot_id", NULL);

	ck_assert_int_eq(stash__boot_id(one), 0);
	ck_assert_int_eq(stash__boot_id(two), 0);
	ck_assert_mem_eq(one, two, sizeof(one));
	ck_assert_mem_ne(one, zero, sizeof(one));
	snprintf(want, sizeof(want), "%02x%02x%02x%02x-", one[0], one[1], one[2], one[3]);
	ck_assert_msg(strncmp(text, want, 9) == 0, "%s is not %s", text, want);
	snprintf(want, sizeof(want), "%02x%02x\n", one[14], one[15]);
	ck_assert_str_eq(text + 32, want);
	free(text);
}
END_TEST

START_TEST(a_process_has_its_start_time)
{
	uint64_t mine = 0, other = 0, boot_ticks;
	int status, fds[2];
	char byte;
	pid_t pid;

	ck_assert_int_eq(stash__start_time(getpid(), &mine), 0);
	boot_ticks = (uint64_t)(stash__now_ns() / (STASH__NS_PER_S / sysconf(_SC_CLK_TCK)));
	ck_assert_uint_gt(mine, 0);
	ck_assert_uint_le(mine, boot_ticks + 100 * 86400);

	/* A name made to be mistaken for fields. */
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_NAME, ") R 1 (2) 3 4 5");
		if (write(fds[1], "x", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	ck_assert_int_eq(read(fds[0], &byte, 1), 1);
	ck_assert_int_eq(stash__start_time(pid, &other), 0);
	ck_assert_uint_ge(other, mine);
	ck_assert_uint_le(other, mine + 100 * 60);
	/* Dead and not reaped, it has one still; then no more. */
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(stash__start_time(pid, &mine), 0);
	ck_assert_uint_eq(mine, other);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(stash__start_time(pid, &mine), STASH_E_NOENT);
	ck_assert_int_eq(stash__start_time(0, &mine), STASH_E_INVAL);
	ck_assert_int_eq(stash__start_time(-1, &mine), STASH_E_INVAL);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* ---- sockets ---- */

static void
make_pair(int fds[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
}

static void
close_pair(const int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

START_TEST(a_message_carries_bytes_and_descriptors)
{
	int pair[2], ends[2], got[STASH__SOCK_FDS], many[STASH__SOCK_FDS], ngot = -1, i;
	char data[64];
	size_t len = 99;

	make_pair(pair);
	ck_assert_int_eq(pipe2(ends, 0), 0);
	ck_assert_int_eq(
	    stash__sock_recv(pair[1], data, sizeof(data), &len, got, 2, &ngot, MSG_DONTWAIT), STASH_E_PENDING);
	ck_assert(len == 0 && ngot == 0);
	ck_assert_int_eq(stash__sock_send(pair[0], "hello", 5, ends, 2), 0);
	ck_assert_int_eq(stash__sock_send(pair[0], "plain", 5, NULL, 0), 0);
	ck_assert_int_eq(stash__sock_recv(pair[1], data, sizeof(data), &len, got, 2, &ngot, 0), 0);
	ck_assert(len == 5 && ngot == 2);
	ck_assert_mem_eq(data, "hello", 5);
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(fcntl(got[i], F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(write(got[1], "through", 7), 7);
	ck_assert_int_eq(read(ends[0], data, sizeof(data)), 7);
	close_pair(got);
	ck_assert_int_eq(stash__sock_recv(pair[1], data, sizeof(data), &len, NULL, 0, NULL, 0), 0);
	ck_assert_mem_eq(data, "plain", 5);

	for (i = 0; i < STASH__SOCK_FDS; i++)
		many[i] = ends[i % 2];
	ck_assert_int_eq(stash__sock_send(pair[0], "16", 2, many, STASH__SOCK_FDS), 0);
	ck_assert_int_eq(stash__sock_recv(pair[1], data, 2, &len, got, STASH__SOCK_FDS, &ngot, 0), 0);
	ck_assert_int_eq(ngot, STASH__SOCK_FDS);
	for (i = 0; i < ngot; i++)
		close(got[i]);
	close_pair(ends);
	close_pair(pair);
}
END_TEST

START_TEST(what_does_not_fit_is_dropped_whole)
{
	int pair[2], ends[2], got[2] = { -1, -1 }, ngot = -1, fds;
	char data[8];
	size_t len = 99;

	make_pair(pair);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	fds = t_fd_count();
	ck_assert_int_eq(stash__sock_send(pair[0], "too long", 8, ends, 2), 0);
	ck_assert_int_eq(stash__sock_send(pair[0], "many", 4, ends, 2), 0);
	ck_assert_int_eq(stash__sock_send(pair[0], "none", 4, ends, 2), 0);
	ck_assert_int_eq(stash__sock_send(pair[0], "next", 4, NULL, 0), 0);
	ck_assert_int_eq(stash__sock_recv(pair[1], data, 7, &len, got, 2, &ngot, 0), STASH_E_PROTO);
	ck_assert_int_eq(stash__sock_recv(pair[1], data, 8, &len, got, 1, &ngot, 0), STASH_E_PROTO);
	ck_assert_int_eq(stash__sock_recv(pair[1], data, 8, &len, NULL, 0, NULL, 0), STASH_E_PROTO);
	ck_assert(len == 0 && ngot == 0 && got[0] == -1);
	ck_assert_int_eq(t_fd_count(), fds);
	ck_assert_int_eq(stash__sock_recv(pair[1], data, 8, &len, got, 2, &ngot, 0), 0);
	ck_assert_mem_eq(data, "next", 4);
	close_pair(ends);
	close_pair(pair);
}
END_TEST

/* More descriptors than anyone may send by sock.h: a stranger's message. */
static void
send_twenty(int fd, int what)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(20 * sizeof(int))];
	} control = { .room = { 0 } };
	struct iovec iov = { .iov_base = (char[]){ 'x' }, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int i;

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(20 * sizeof(int));
	for (i = 0; i < 20; i++)
		memcpy(CMSG_DATA(&control.header) + (size_t)i * sizeof(int), &what, sizeof(what));
	ck_assert_int_eq(sendmsg(fd, &msg, 0), 1);
}

START_TEST(a_strangers_descriptors_are_closed)
{
	int pair[2], got[STASH__SOCK_FDS], ngot = -1, fds;
	char data[8];
	size_t len;

	make_pair(pair);
	fds = t_fd_count();
	send_twenty(pair[0], pair[0]);
	ck_assert_int_eq(stash__sock_recv(pair[1], data, 8, &len, got, STASH__SOCK_FDS, &ngot, 0), STASH_E_PROTO);
	ck_assert_int_eq(t_fd_count(), fds);
	close_pair(pair);
}
END_TEST

/* Whether the kernel holds this process to that many descriptors: valgrind keeps the limit to itself. */
static bool
limited_to(rlim_t n)
{
	char want[64], *limits = t_read_file("/proc/self/limits", NULL);
	bool found;

	snprintf(want, sizeof(want), "\nMax open files            %ju ", (uintmax_t)n);
	found = strstr(limits, want) != NULL;
	free(limits);
	return found;
}

START_TEST(our_own_limit_is_no_fault_of_the_other_side)
{
	int pair[2], got[STASH__SOCK_FDS], ngot = -1, fds, error = STASH_E_SYSTEM;
	struct rlimit limit, tight;
	char data[8];
	size_t len;
	bool limited;

	make_pair(pair);
	fds = t_fd_count();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	tight = limit;
	tight.rlim_cur = (rlim_t)pair[1] + 2;
	ck_assert_int_eq(stash__sock_send(pair[0], "x", 1, (int[]){ 0, 0, 0, 0 }, 4), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
	limited = limited_to(tight.rlim_cur);
	if (limited)
		error = stash__sock_recv(pair[1], data, 8, &len, got, STASH__SOCK_FDS, &ngot, 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(error, STASH_E_SYSTEM);
	ck_assert_int_eq(t_fd_count(), fds);
	close_pair(pair);
}
END_TEST

START_TEST(a_full_or_closed_socket_is_told_apart)
{
	static char big[1 << 20];
	int pair[2], error = 0, sent;
	char data[8];
	size_t len;

	/* SIGPIPE would end the test. */
	ck_assert_int_eq(sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL), 0);
	make_pair(pair);
	ck_assert_int_eq(stash__sock_send(pair[0], big, sizeof(big), NULL, 0), STASH_E_TOOBIG);
	for (sent = 0; error == 0 && sent < 100000; sent++)
		error = stash__sock_send(pair[0], "x", 1, NULL, 0);
	ck_assert_int_eq(error, STASH_E_BUSY);
	ck_assert_int_eq(stash__sock_recv(pair[1], data, 8, &len, NULL, 0, NULL, 0), 0);
	close(pair[1]);
	ck_assert_int_eq(stash__sock_send(pair[0], "x", 1, NULL, 0), STASH_E_DOWN);
	ck_assert_int_eq(stash__sock_send(pair[0], "x", 1, NULL, 0), STASH_E_DOWN);
	ck_assert_int_eq(stash__sock_recv(pair[0], data, 8, &len, NULL, 0, NULL, 0), STASH_E_DOWN);
	close(pair[0]);
}
END_TEST

START_TEST(last_words_are_heard)
{
	int pair[2], i;
	char data[8];
	size_t len;

	/* The other side answers, leaves something unread, and dies: the answer counts. */
	make_pair(pair);
	ck_assert_int_eq(stash__sock_send(pair[0], "unread", 6, NULL, 0), 0);
	ck_assert_int_eq(stash__sock_send(pair[1], "answer", 6, NULL, 0), 0);
	close(pair[1]);
	ck_assert_int_eq(stash__sock_recv(pair[0], data, 8, &len, NULL, 0, NULL, 0), 0);
	ck_assert_mem_eq(data, "answer", 6);
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(stash__sock_recv(pair[0], data, 8, &len, NULL, 0, NULL, 0), STASH_E_DOWN);
	close(pair[0]);
}
END_TEST

START_TEST(an_empty_message_is_none)
{
	int pair[2], fds;
	char data[8];
	size_t len;

	make_pair(pair);
	fds = t_fd_count();
	ck_assert_int_eq(stash__sock_send(pair[0], "", 0, NULL, 0), STASH_E_INVAL);
	ck_assert_int_eq(stash__sock_send(pair[0], NULL, 1, NULL, 0), STASH_E_INVAL);
	ck_assert_int_eq(stash__sock_send(pair[0], "x", 1, NULL, 1), STASH_E_INVAL);
	ck_assert_int_eq(stash__sock_send(pair[0], "x", 1, pair, STASH__SOCK_FDS + 1), STASH_E_INVAL);
	ck_assert_int_eq(stash__sock_send(pair[0], "x", 1, pair, -1), STASH_E_INVAL);
	ck_assert_int_eq(stash__sock_send(pair[0], "x", 1, (int[]){ -1 }, 1), STASH_E_SYSTEM);
	ck_assert_int_eq(stash__sock_send(-1, "x", 1, NULL, 0), STASH_E_SYSTEM);
	ck_assert_int_eq(stash__sock_recv(-1, data, 8, &len, NULL, 0, NULL, 0), STASH_E_SYSTEM);
	ck_assert_int_eq(send(pair[0], "", 0, 0), 0); /* a stranger's */
	ck_assert_int_eq(stash__sock_recv(pair[1], data, 8, &len, NULL, 0, NULL, 0), STASH_E_DOWN);
	ck_assert_int_eq(t_fd_count(), fds);
	close_pair(pair);
}
END_TEST

static void
ignore(int sig)
{
	(void)sig;
}

struct waiter {
	int fd, error;
};

static void *
wait_for_message(void *arg)
{
	struct waiter *w = arg;
	char data[8];
	size_t len;

	w->error = stash__sock_recv(w->fd, data, 8, &len, NULL, 0, NULL, 0);
	return NULL;
}

START_TEST(no_signal_ends_a_wait)
{
	struct sigaction action = { .sa_handler = ignore };
	struct waiter w;
	pthread_t thread;
	int pair[2], i;

	make_pair(pair);
	w = (struct waiter){ pair[1], -1 };
	ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_message, &w), 0);
	for (i = 0; i < 20; i++) {
		ck_assert_int_eq(pthread_kill(thread, SIGUSR1), 0);
		poll(NULL, 0, 1);
	}
	ck_assert_int_eq(stash__sock_send(pair[0], "x", 1, NULL, 0), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(w.error, 0);
	close_pair(pair);
}
END_TEST

Suite *
base_system_suite(void)
{
	Suite *suite = suite_create("base_system");
	TCase *tc = t_case(suite, "log", 10);

	tcase_add_test(tc, a_log_line_is_one_clean_line);
	tcase_add_test(tc, levels_and_the_journal);
	tcase_add_test(tc, the_prefix_is_the_program_at_first);
	tcase_add_test(tc, a_sink_takes_the_lines);
	tc = t_case(suite, "failing", 10);
	tcase_add_test(tc, messages_are_a_threads_own);
	tcase_add_test(tc, a_broken_rule_aborts);
	tc = t_case(suite, "system", 10);
	tcase_add_test(tc, deadlines_round_up_and_may_be_never);
	tcase_add_test(tc, the_boot_has_one_id);
	tcase_add_test(tc, a_process_has_its_start_time);
	tc = t_case(suite, "sockets", 10);
	tcase_add_test(tc, a_message_carries_bytes_and_descriptors);
	tcase_add_test(tc, what_does_not_fit_is_dropped_whole);
	tcase_add_test(tc, a_strangers_descriptors_are_closed);
	tcase_add_test(tc, our_own_limit_is_no_fault_of_the_other_side);
	tcase_add_test(tc, a_full_or_closed_socket_is_told_apart);
	tcase_add_test(tc, last_words_are_heard);
	tcase_add_test(tc, an_empty_message_is_none);
	tcase_add_test(tc, no_signal_ends_a_wait);
	return suite;
}

TEST_MAIN(base_system_suite)
