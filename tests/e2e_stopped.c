/* SPDX-License-Identifier: ISC */
/*
 * The stopped and the slow.  SIGSTOP on worker, stash, supervisor, keeper and client at random moments and for random
 * times, while others of them die, and SIGCONT: every number is handed out exactly once and no call fails; a stopped
 * worker delays its own callers only; nobody is replaced before he is dead; and nobody is taken for dead because the
 * machine stood still.
 *
 * STASH_TORTURE: minutes; STOPPED_SEED: of the search.
 */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "testlib_live.h"

#define NAMES 2
#define CLIENTS 2 /* of each name */

static const char *const names[NAMES] = { "one", "two" };

static struct t_stashd d;
static struct t_numbers *numbers[NAMES];
static pid_t clients[NAMES][CLIENTS];
static uint64_t dice;

static uint64_t
below(uint64_t n)
{
	dice += 0x9e3779b97f4a7c15ull;
	uint64_t z = (dice ^ (dice >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (z ^ (z >> 31)) % n;
}

/* What is tested takes its time. */
static void
let_pass(int64_t ms)
{
	int64_t until = stash__now_ns() + ms * STASH__NS_PER_MS;

	for (int64_t now; (now = stash__now_ns()) < until;)
		(void)poll(NULL, 0, (int)((until - now) / STASH__NS_PER_MS) + 1);
}

/* ---- clients ---- */

static void
take_numbers(struct t_numbers *n, const char *name, int pace_ms)
{
	struct stash_client *c = NULL;
	int result = stash_client_open(&c, t_store(&d), NULL);

	while (result == STASH_OK && !atomic_load(&n->stop)) {
		struct stash_reply reply;
		int64_t number = -1, began = stash__now_ns();
		uint64_t took;

		result = stash_call(c, name, "next_number", NULL, 0, &reply, 60000);
		took = (uint64_t)(stash__now_ns() - began);
		if (took > atomic_load(&n->longest_ns))
			atomic_store(&n->longest_ns, took);
		if (result == STASH_OK && stash_parse_int(reply.data, 0, INT64_MAX, &number) == STASH_OK)
			t_numbers_add(n, number);
		stash_reply_free(&reply);
		if (pace_ms > 0)
			(void)poll(NULL, 0, pace_ms);
	}
	if (result < 0) {
		atomic_store(&n->last_error, result);
		strncpy(n->message, stash_errmsg(), sizeof n->message - 1);
		atomic_fetch_add(&n->errors, 1);
	}
	stash_client_close(c);
}

static void
begin(int pace_ms, const char *store)
{
	char config[2048];

	memset(&d, 0, sizeof d);
	snprintf(config, sizeof config,
	    "store = { %s };\ntree = { intensity = 1000000; period = 1; children = (\n"
	    "  { id = \"one\"; module = \"%s\"; args = [\"0\"]; max_attempts = 65535; shutdown = 300; },\n"
	    "  { id = \"two\"; module = \"%s\"; args = [\"0\"]; max_attempts = 65535; }\n); };\n",
	    store, t_build("examples/sequence.so"), t_build("examples/sequence.so"));
	t_stashd_start(&d, config);
	for (int i = 0; i < NAMES; i++) {
		numbers[i] = t_numbers_make();
		for (int j = 0; j < CLIENTS; j++) {
			clients[i][j] = fork();
			ck_assert_int_ge(clients[i][j], 0);
			if (clients[i][j] == 0) {
				take_numbers(numbers[i], names[i], pace_ms);
				_exit(0);
			}
		}
	}
}

static bool
has_count(void *arg)
{
	const struct t_numbers *n = arg;

	return n->count > 20 || n->errors > 0;
}

static void
wait_until_served(void)
{
	for (int i = 0; i < NAMES; i++) {
		atomic_store(&numbers[i]->longest_ns, 0);
		ck_assert_msg(t_wait_for(has_count, numbers[i], 20000), "%s isn't served", names[i]);
	}
}

static void
finish(const char *what)
{
	for (int i = 0; i < NAMES; i++)
		atomic_store(&numbers[i]->stop, true);
	for (int i = 0; i < NAMES; i++) {
		for (int j = 0; j < CLIENTS; j++) {
			int status = -1;

			ck_assert_int_eq(waitpid(clients[i][j], &status, 0), clients[i][j]);
			ck_assert_int_eq(status, 0);
		}
		printf("%s, %s: ", what, names[i]);
		t_numbers_check(numbers[i], what);
		t_numbers_free(numbers[i]);
	}
	t_stashd_stop(&d, 30000);
}

/* ---- the stopped ---- */

enum { T_CLIENT = 16 };

/* A process by its pidfd, opened while it was surely that one. */
struct victim {
	enum t_who who;
	const char *name;
	pid_t pid;
	int pidfd;
};

static bool
take(struct victim *v, enum t_who who, const char *name)
{
	*v = (struct victim){ .who = who, .name = name };
	v->pid = (int)who == T_CLIENT ? clients[below(NAMES)][below(CLIENTS)] : t_pid(&d, who, name);
	v->pidfd = v->pid > 0 ? pidfd_open(v->pid, 0) : -1;
	if (v->pidfd >= 0 && (int)who != T_CLIENT && t_pid(&d, who, name) != v->pid) {
		close(v->pidfd);
		v->pidfd = -1;
	}
	return v->pidfd >= 0;
}

static bool
is_dead(const struct victim *v)
{
	struct pollfd p = { .fd = v->pidfd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/* Whoever has his place now has it only since he is dead. */
static void
check_place(const struct victim *v)
{
	pid_t now = (int)v->who == T_CLIENT ? v->pid : t_pid(&d, v->who, v->name);

	if (now > 0 && now != v->pid)
		ck_assert_msg(is_dead(v), "%d has the place of %d, who lives", (int)now, (int)v->pid);
}

static void
stop(const struct victim *v)
{
	(void)pidfd_send_signal(v->pidfd, SIGSTOP, NULL, 0);
}

/* Woken, whatever has become of the others. */
static void
wake(struct victim *v)
{
	check_place(v);
	(void)pidfd_send_signal(v->pidfd, SIGCONT, NULL, 0);
	close(v->pidfd);
}

static uint64_t
longest_ms(int i)
{
	return atomic_load(&numbers[i]->longest_ns) / STASH__NS_PER_MS;
}

/* ---- who is delayed ---- */

#define STOPPED_MS 2000
#define OTHERS_MS (STOPPED_MS / 2) /* far below what waiting for the stopped would take, for a busy machine */

static const struct {
	const char *what;
	enum t_who who;
	bool delays_one;
} quiet[] = {
	{ "a stopped worker", T_WORKER, true },
	{ "a stopped stash", T_STASH, false },
	{ "a stopped supervisor", T_SUPERVISOR, false },
	{ "a stopped keeper", T_KEEPER, false },
};

START_TEST(test_who_is_delayed)
{
	struct victim v;

	begin(20, "");
	wait_until_served();
	ck_assert(take(&v, quiet[_i].who, "one"));
	stop(&v);
	let_pass(STOPPED_MS);
	ck_assert_msg(longest_ms(1) < OTHERS_MS, "%s delays a call to another worker by %llu ms", quiet[_i].what,
	    (unsigned long long)longest_ms(1));
	if (!quiet[_i].delays_one)
		ck_assert_msg(longest_ms(0) < OTHERS_MS, "%s delays a call by %llu ms", quiet[_i].what,
		    (unsigned long long)longest_ms(0));
	wake(&v);
	let_pass(200);
	if (quiet[_i].delays_one)
		ck_assert_uint_ge(longest_ms(0), OTHERS_MS);
	ck_assert_int_eq(t_pid(&d, quiet[_i].who, "one"), v.pid);
	finish(quiet[_i].what);
}
END_TEST

/* ---- who is killed ---- */

static bool
is_replaced(void *arg)
{
	const struct victim *v = arg;
	pid_t now = t_pid(&d, v->who, v->name);

	check_place(v);
	return now > 0 && now != v->pid;
}

/* Heart-beats: 10 s of silence. */
static const enum t_who silent[] = { T_STASH, T_SUPERVISOR };

START_TEST(test_silent_is_killed)
{
	struct victim v;
	int64_t began;

	begin(60, "");
	wait_until_served();
	ck_assert(take(&v, silent[_i], "one"));
	began = stash__now_ns();
	stop(&v);
	ck_assert_msg(t_wait_for(is_replaced, &v, 20000), "nobody takes the place of one who is silent");
	ck_assert_int_ge(stash__now_ns() - began, 8 * STASH__NS_PER_S);
	ck_assert_uint_lt(longest_ms(0), 5000);
	ck_assert_uint_lt(longest_ms(1), 5000);
	wake(&v);
	finish("one that was silent");
}
END_TEST

/* All of them at once, as in a machine that sleeps: whoever wakes first blames nobody. */
START_TEST(test_machine_stood_still)
{
	static const enum t_who all[] = { T_KEEPER, T_SUPERVISOR, T_STASH, T_WORKER };
	struct victim v[4];

	begin(60, "");
	wait_until_served();
	for (int i = 0; i < 4; i++) {
		ck_assert(take(&v[i], all[i], "one"));
		stop(&v[i]);
	}
	let_pass(11500);
	for (int i = 0; i < 4; i++) {
		(void)pidfd_send_signal(v[i].pidfd, SIGCONT, NULL, 0);
		let_pass(1200); /* each has its next tick before the next one wakes */
	}
	let_pass(1500);
	for (int i = 0; i < 4; i++) {
		ck_assert_msg(!is_dead(&v[i]), "%d was killed, since the machine stood still", (int)v[i].pid);
		close(v[i].pidfd);
	}
	finish("a machine that stood still");
}
END_TEST

/* One that is to be replaced while it is stopped: asked, then killed, then replaced. */
START_TEST(test_stopped_is_replaced)
{
	struct stash_client *c;
	struct victim v;

	begin(20, "");
	wait_until_served();
	c = t_client(&d);
	ck_assert(take(&v, T_WORKER, "one"));
	stop(&v);
	ck_assert_int_eq(stash_bounce(c, "one", 10000), 0);
	ck_assert(is_dead(&v));
	ck_assert(is_replaced(&v));
	wake(&v);
	stash_client_close(c);
	finish("one that was replaced while it was stopped");
}
END_TEST

/* ---- search ---- */

/* Stops somebody, lets somebody else die, wakes. */
static void
one_round(bool long_ones)
{
	static const enum t_who whom[] = { T_WORKER, T_WORKER, T_STASH, T_SUPERVISOR, T_KEEPER, (enum t_who)T_CLIENT };
	static const enum t_who dies[] = { T_WORKER, T_STASH, T_SUPERVISOR };
	struct victim v[2];
	int n = 0;

	for (uint64_t count = 1 + below(2); count > 0; count--)
		if (take(&v[n], whom[below(6)], names[below(NAMES)]))
			stop(&v[n++]);
	for (uint64_t count = below(3); count > 0; count--) {
		let_pass((int64_t)below(20));
		enum t_who who = dies[below(3)];
		/* One that is stopped can die, too: then it is woken in vain. */
		(void)t_murder(&d, who, names[below(NAMES)]);
		for (int i = 0; i < n; i++)
			check_place(&v[i]);
	}
	let_pass(long_ones && below(40) == 0 ? 12000 : (int64_t)below(150));
	while (n > 0)
		wake(&v[--n]);
	let_pass((int64_t)below(40));
}

static void
search(const char *store, int seconds)
{
	const char *minutes = getenv("STASH_TORTURE"), *seed = getenv("STOPPED_SEED");
	int64_t until;
	unsigned rounds = 0;

	dice = seed != NULL ? strtoull(seed, NULL, 10) : 1;
	begin(0, store);
	wait_until_served();
	until = stash__now_ns() + (minutes != NULL ? atoi(minutes) * 30 : seconds) * STASH__NS_PER_S;
	for (; stash__now_ns() < until && numbers[0]->errors == 0 && numbers[1]->errors == 0; rounds++)
		one_round(minutes != NULL);
	printf("%u rounds; ", rounds);
	finish(store[0] == '\0' ? "stopped and woken" : "stopped and woken, ack = disk");
}

START_TEST(test_search)
{
	search("", 10);
}
END_TEST

START_TEST(test_search_disk)
{
	search("ack = \"disk\";", 8);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("stopped");
	TCase *c = t_case(s, "delays", 60);

	tcase_add_loop_test(c, test_who_is_delayed, 0, (int)(sizeof quiet / sizeof quiet[0]));
	tcase_add_test(c, test_stopped_is_replaced);
	c = t_case(s, "beats", 90);
	tcase_add_loop_test(c, test_silent_is_killed, 0, 2);
	tcase_add_test(c, test_machine_stood_still);
	c = t_case(s, "search", 3600);
	tcase_add_test(c, test_search);
	tcase_add_test(c, test_search_disk);
	return s;
}

TEST_MAIN(suite)
