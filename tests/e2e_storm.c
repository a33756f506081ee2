/* SPDX-License-Identifier: ISC */
/*
 * Kill storms: eight client processes take numbers while worker, stash and supervisor are killed, each alone and all
 * together.  Every number is handed out exactly once, and no client sees an error.
 */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "testlib_live.h"

#define CLIENTS 8
#define SECONDS 10

static struct t_numbers *numbers;
static struct t_stashd d;

static void
note_error(int error, const char *message)
{
	atomic_store(&numbers->last_error, error);
	strncpy(numbers->message, message, sizeof numbers->message - 1);
	atomic_fetch_add(&numbers->errors, 1);
}

/* One client, until it is told to stop. */
static void
take_numbers(void)
{
	struct stash_client *c = NULL;
	int result = stash_client_open(&c, t_store(&d), NULL);

	while (result == STASH_OK && !atomic_load(&numbers->stop)) {
		struct stash_reply reply;
		int64_t number = -1, began = stash__now_ns();
		uint64_t took;
		result = stash_call(c, "sequence", "next_number", NULL, 0, &reply, 60000);
		took = (uint64_t)(stash__now_ns() - began);
		if (took > atomic_load(&numbers->longest_ns))
			atomic_store(&numbers->longest_ns, took);
		if (result == STASH_OK && stash_parse_int(reply.data, 0, INT64_MAX, &number) == STASH_OK)
			t_numbers_add(numbers, number);
		stash_reply_free(&reply);
	}
	if (result < 0)
		note_error(result, stash_errmsg());
	stash_client_close(c);
}

static void
start_clients(pid_t pids[CLIENTS])
{
	for (int i = 0; i < CLIENTS; i++) {
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (pids[i] == 0) {
			take_numbers();
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

/* Kills each kind at its own pace; how many were killed. */
static unsigned
kill_for(int seconds, int kinds)
{
	static const struct {
		enum t_who who;
		int every_ms;
	} paces[] = { { T_WORKER, 20 }, { T_STASH, 50 }, { T_SUPERVISOR, 200 } };
	int64_t next[3], until = stash__now_ns() + seconds * STASH__NS_PER_S;
	unsigned killed = 0;

	for (int i = 0; i < 3; i++)
		next[i] = stash__now_ns() + paces[i].every_ms * STASH__NS_PER_MS;
	while (stash__now_ns() < until) {
		for (int i = 0; i < 3; i++) {
			if ((kinds & (int)paces[i].who) == 0 || stash__now_ns() < next[i])
				continue;
			killed += t_murder(&d, paces[i].who, "sequence");
			next[i] = stash__now_ns() + paces[i].every_ms * STASH__NS_PER_MS;
		}
		(void)poll(NULL, 0, 1); /* the pace of the killing */
	}
	return killed;
}

/* How long each storm blows: STORM_SECONDS of the environment. */
static int
seconds(void)
{
	const char *text = getenv("STORM_SECONDS");

	return text != NULL ? atoi(text) : SECONDS;
}

static void
storm(const char *what, int kinds, const char *ack)
{
	pid_t pids[CLIENTS];
	unsigned killed;
	char store[64];

	numbers = t_numbers_make();
	memset(&d, 0, sizeof d);
	snprintf(store, sizeof store, "ack = \"%s\";", ack);
	t_stashd_start(&d, t_config("sequence", "examples/sequence.so", "\"0\"", "", store));
	start_clients(pids);
	killed = kill_for(seconds(), kinds);
	stop_clients(pids);
	printf("%u killed; ", killed);
	t_numbers_check(numbers, what);
	ck_assert_uint_gt(killed, 5);
	t_stashd_stop(&d, 20000);
	t_numbers_free(numbers);
}

START_TEST(test_worker_killed)
{
	storm("worker every 20 ms", T_WORKER, "crash");
}
END_TEST

START_TEST(test_stash_killed)
{
	storm("stash every 50 ms", T_STASH, "crash");
}
END_TEST

START_TEST(test_supervisor_killed)
{
	storm("supervisor every 200 ms", T_SUPERVISOR, "crash");
}
END_TEST

START_TEST(test_all_killed)
{
	storm("worker, stash and supervisor", T_WORKER | T_STASH | T_SUPERVISOR, "crash");
}
END_TEST

START_TEST(test_all_killed_with_disk)
{
	storm("all three, ack = disk", T_WORKER | T_STASH | T_SUPERVISOR, "disk");
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("storm");
	TCase *c = t_case(s, "storm", 120);

	tcase_add_test(c, test_worker_killed);
	tcase_add_test(c, test_stash_killed);
	tcase_add_test(c, test_supervisor_killed);
	tcase_add_test(c, test_all_killed);
	tcase_add_test(c, test_all_killed_with_disk);
	return s;
}

TEST_MAIN(suite)
