/* SPDX-License-Identifier: ISC */
/*
 * The bridge: TCP clients take numbers from the sequence while workers, stash and supervisor are killed. No number is
 * handed out twice; and none is missing, unless the bridge itself is killed with an answer in its hands.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "testlib_examples.h"

#define CLIENTS 6
#define SECONDS 8

static struct t_stashd d;
static struct t_numbers *numbers;

static int
begin(void)
{
	char *port;
	int number;

	memset(&d, 0, sizeof d);
	t_example_start(
	    &d, "bridge.conf", (const char *const[]){ "[7123]", "[0]", "intensity = 10", "intensity = 1000000", NULL });
	port = t_session_output("call bridge port", NULL);
	number = atoi(port);
	ck_assert_msg(number > 0, "port: %s", port);
	free(port);
	return number;
}

static int
dial(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct timeval patience = { .tv_sec = 60 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
	    connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* All that comes until the other side hangs up. */
static void
hear(int fd, char *text, size_t size)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t n;

	while (len < size - 1) {
		ck_assert_msg(poll(&pfd, 1, 30000) == 1, "nothing comes behind '%.*s'", (int)len, text);
		n = read(fd, text + len, size - 1 - len);
		ck_assert_int_ge(n, 0);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
}

/* Says all of it at once, closes its side, and wants to hear that. */
static void
talk(int port, const char *say, const char *expected)
{
	int fd = dial(port);
	char text[1024];

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(send(fd, say, strlen(say), MSG_NOSIGNAL), (ssize_t)strlen(say));
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	hear(fd, text, sizeof text);
	ck_assert_str_eq(text, expected);
	close(fd);
}

START_TEST(lines_are_answered_in_order)
{
	int port = begin();
	pid_t old = t_reborn(&d, "bridge", 0);
	char *same;

	talk(port, "next\nnext\nnext\n", "123\n124\n125\n");
	talk(port, "next\r\nnonsense\nnext\n", "126\nerror: say next\n127\n");
	t_session("call sequence next_number", "128");
	t_session("kill bridge", "");
	(void)t_reborn(&d, "bridge", old);
	same = t_session_output("call bridge port", NULL);
	ck_assert_int_eq(atoi(same), port);
	free(same);
	talk(port, "next\n", "129\n");
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(many_lines_at_once)
{
	int port = begin();
	char say[100 * 5 + 1] = "", expected[100 * 4 + 1] = "";
	FILE *lines = fmemopen(expected, sizeof expected, "w");

	ck_assert_ptr_nonnull(lines);
	for (int i = 0; i < 100; i++) {
		memcpy(say + strlen(say), "next\n", 6);
		fprintf(lines, "%d\n", 123 + i);
	}
	ck_assert_int_eq(fclose(lines), 0);
	talk(port, say, expected);
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(a_line_without_an_end_ends_the_connection)
{
	int port = begin(), fd = dial(port);
	char say[4096], text[16];

	ck_assert_int_ge(fd, 0);
	memset(say, 'x', sizeof say);
	ck_assert_int_gt(send(fd, say, sizeof say, MSG_NOSIGNAL), 0);
	/* It ends with what it hasn't read still there: a reset. */
	ck_assert_int_le(recv(fd, text, sizeof text, 0), 0);
	close(fd);
	talk(port, "next\n", "123\n");
	t_stashd_stop(&d, 10000);
}
END_TEST

/* ---- the storm ---- */

/* One number; false: the connection is gone. */
static bool
take(FILE *in, int fd)
{
	char line[200] = "no answer";
	int64_t number;
	bool gone;

	errno = 0;
	gone = send(fd, "next\n", 5, MSG_NOSIGNAL) != 5 || fgets(line, sizeof line, in) == NULL;
	if (gone && errno != EAGAIN)
		return false;
	line[strcspn(line, "\n")] = '\0';
	if (stash_parse_int(line, 0, INT64_MAX, &number) == STASH_OK)
		t_numbers_add(numbers, number);
	else {
		snprintf(numbers->message, sizeof numbers->message, "%s", line);
		atomic_fetch_add(&numbers->errors, 1);
	}
	return !gone;
}

/* One client, until it is told to stop; it comes back when the bridge does. */
static void
take_numbers(int port)
{
	while (!atomic_load(&numbers->stop)) {
		int fd = dial(port);
		FILE *in = fd >= 0 ? fdopen(fd, "r") : NULL;
		while (in != NULL && !atomic_load(&numbers->stop) && take(in, fd))
			;
		if (in != NULL)
			(void)fclose(in);
		else
			(void)poll(NULL, 0, 1); /* the pace of asking again */
	}
}

/* Each of these, at its own pace; how many were killed. */
static unsigned
kill_for(int seconds, bool bridge_too)
{
	static const struct {
		const char *name;
		enum t_who who;
		int every_ms;
	} paces[] = { { "sequence", T_WORKER, 20 }, { NULL, T_STASH, 50 }, { NULL, T_SUPERVISOR, 200 },
		{ "bridge", T_WORKER, 70 } };
	int64_t next[4] = { 0 }, until = stash__now_ns() + seconds * STASH__NS_PER_S;
	unsigned killed = 0;

	for (int64_t now = stash__now_ns(); now < until; now = stash__now_ns()) {
		for (int i = 0; i < (bridge_too ? 4 : 3); i++) {
			if (now < next[i])
				continue;
			killed += t_murder(&d, paces[i].who, paces[i].name);
			next[i] = now + paces[i].every_ms * STASH__NS_PER_MS;
		}
		(void)poll(NULL, 0, 1); /* the pace of the killing */
	}
	return killed;
}

static void
start_clients(pid_t pids[CLIENTS], int port)
{
	for (int i = 0; i < CLIENTS; i++) {
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (pids[i] == 0) {
			take_numbers(port);
			_exit(0);
		}
	}
}

static void
stop_clients(const pid_t pids[CLIENTS])
{
	atomic_store(&numbers->stop, true);
	for (int i = 0; i < CLIENTS; i++) {
		int status;
		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert_int_eq(status, 0);
	}
}

static void
storm(bool bridge_too)
{
	pid_t pids[CLIENTS];
	unsigned killed;

	numbers = t_numbers_make();
	start_clients(pids, begin());
	killed = kill_for(SECONDS, bridge_too);
	stop_clients(pids);
	printf("%u killed; ", killed);
	ck_assert_uint_gt(killed, 5);
}

START_TEST(each_number_goes_to_one_client)
{
	storm(false);
	t_numbers_check(numbers, "sequence, stash and supervisor");
	t_numbers_free(numbers);
	t_stashd_stop(&d, 20000);
}
END_TEST

START_TEST(no_number_goes_to_two_clients_though_the_bridge_is_killed)
{
	storm(true);
	printf("the bridge too: %llu numbers up to %llu, %llu twice\n", (unsigned long long)numbers->count,
	    (unsigned long long)numbers->last, (unsigned long long)numbers->twice);
	ck_assert_msg(
	    numbers->errors == 0, "%llu errors, the last: %s", (unsigned long long)numbers->errors, numbers->message);
	ck_assert_uint_gt(numbers->count, 100);
	ck_assert_uint_eq(numbers->twice, 0);
	t_numbers_free(numbers);
	t_stashd_stop(&d, 20000);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("bridge");
	TCase *tc = t_case(s, "bridge", 180);

	tcase_add_test(tc, lines_are_answered_in_order);
	tcase_add_test(tc, many_lines_at_once);
	tcase_add_test(tc, a_line_without_an_end_ends_the_connection);
	tcase_add_test(tc, each_number_goes_to_one_client);
	tcase_add_test(tc, no_number_goes_to_two_clients_though_the_bridge_is_killed);
	return s;
}

TEST_MAIN(suite)
