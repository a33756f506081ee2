/* SPDX-License-Identifier: ISC */
/*
 * Wild writes.  A worker scribbles over what it may write to: its slot, its black box, its bell page, the channels of
 * its clients and its ways to another worker, thousands of seeds long, with deaths of all kinds right behind it.
 * Nobody else is touched: stash and supervisor live on, the other worker never dies and counts right, the wild one is
 * back with the last state that was folded, and its clients get an answer or an error, in time.  Likewise a client that
 * scribbles over its channels: it harms itself alone.
 *
 * STASH_TORTURE: minutes; WILD_SEED: the first seed; WILD_KINDS: only those areas (tests/modules/scribble.h).
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "modules/scribble.h"
#include "shm/slot.h"
#include "shm/wire.h"
#include "testlib_live.h"

#define CALL_MS 2000
#define BACK_MS 20000
#define LATE_NS (5 * STASH__NS_PER_S) /* beyond a deadline, on a busy machine */

static struct t_stashd d;
static struct stash_client *client, *others; /* of the wild one, of the calm one */
static struct stash_store *reader;
static pid_t stash_pid, supervisor_pid, calm_pid;
static int64_t calm_count, low, high; /* what the counters are, or may be */
static uint64_t seed;
static struct scribble dice;
static unsigned outcomes[64];

static char last[600]; /* error of a call */

static const char *
about(void)
{
	static char text[800];

	snprintf(text, sizeof text, "WILD_SEED=%llu, counters %lld to %lld, last error %s", (unsigned long long)seed,
	    (long long)low, (long long)high, last);
	return text;
}

static void
fail_with_log(const char *what)
{
	char *log = t_output(&d.proc);
	size_t len = strlen(log);

	printf("%s\n", len > 6000 ? log + len - 6000 : log);
	fflush(stdout);
	ck_abort_msg("%s: %s", about(), what);
}

static void
must(bool holds, const char *what)
{
	if (!holds)
		fail_with_log(what);
}

/* ---- calls ---- */

/* A call that may fail, but not late, and not with an error of another kind. */
static int
call(struct stash_client *c, const char *name, const char *tag, const char *data, int64_t *value)
{
	struct stash_reply reply;
	int64_t began = stash__now_ns();
	int result = stash_call(c, name, tag, data, data != NULL ? strlen(data) : 0, &reply, CALL_MS);
	char text[200];

	must(stash__now_ns() - began < CALL_MS * STASH__NS_PER_MS + LATE_NS, "a call took longer than its deadline");
	if (result > 0 || (result < 0 && -result >= 64))
		must(false, "a call's result is no error and not 0");
	outcomes[-result]++;
	if (result < 0)
		snprintf(last, sizeof last, "%s %s: %s: %s", name, tag, stash_errname(result), stash_errmsg());
	switch (result) {
	case STASH_OK:
	case STASH_E_PROTO:
	case STASH_E_CRASHED:
	case STASH_E_TIMEDOUT:
	case STASH_E_BUSY:
	case STASH_E_APP:
		break;
	default:
		snprintf(text, sizeof text, "%s %s: %s: %s", name, tag, stash_errname(result), stash_errmsg());
		must(false, text);
	}
	if (result == STASH_OK)
		must(stash_parse_int(reply.data, 0, INT64_MAX, value) == STASH_OK, "an answer that is no number");
	stash_reply_free(&reply);
	return result;
}

static void
bump_calm(void)
{
	int64_t value = -1;
	int result = call(others, "calm", "bump", NULL, &value);

	must(result == STASH_OK, "the calm worker doesn't answer");
	must(value == ++calm_count, "the calm worker has counted wrong");
}

/* A call that failed may be done all the same, but not behind its deadline. */
static struct {
	int64_t deadlines[256];
	unsigned n;
} unknown;

static void
note_unknown(void)
{
	must(unknown.n < sizeof unknown.deadlines / sizeof unknown.deadlines[0], "too many calls fail");
	unknown.deadlines[unknown.n++] = stash__now_ns() + CALL_MS * STASH__NS_PER_MS;
}

static unsigned
count_unknown(int64_t as_of)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < unknown.n; i++)
		if (unknown.deadlines[i] > as_of)
			unknown.deadlines[kept++] = unknown.deadlines[i];
	unknown.n = kept;
	return kept;
}

/* Once more; what isn't known to be done may be done, and what a worker does whose slot is damaged may be lost. */
static int
bump_wild(struct stash_client *c, int64_t *value)
{
	int result = call(c, "wild", "bump", NULL, value);

	high++; /* whether this one is done, or one that failed and is done only now */
	if (result != STASH_OK) {
		note_unknown();
		return result;
	}
	if (*value <= low || *value > high)
		snprintf(last, sizeof last, "the counter says %lld", (long long)*value);
	must(*value > low && *value <= high, "the wild worker's state is one that never was");
	return result;
}

static bool
is_folded(void *arg)
{
	const int64_t *value = arg;
	char path[PATH_MAX + 64];
	struct stash__base *base = NULL;
	struct stash__in in;
	int64_t count = -1;
	int fd;

	snprintf(path, sizeof path, "%s/" STASH__SLOT_DIR "/wild.in", t_run_of(&d));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	must(fd >= 0 && stash__in_map(&in, fd, false, NULL) == 0, "the slot's base is damaged");
	if (stash__base_copy(&in, &base) == 0 && base->image_len >= sizeof count)
		memcpy(&count, stash__base_image(base), sizeof count);
	free(base);
	stash__in_unmap(&in);
	close(fd);
	return count >= *value;
}

/* Until it answers again, to one that has never called it, too, and what it does is folded: from then on it counts. */
static void
wait_until_back(void)
{
	int64_t until = stash__now_ns() + BACK_MS * STASH__NS_PER_MS, value = -1, began;
	struct stash_client *fresh = t_client(&d);

	while (call(fresh, "wild", "over", NULL, &value) != STASH_OK)
		must(stash__now_ns() < until, "the wild worker isn't back for a new client");
	stash_client_close(fresh);
	do {
		must(stash__now_ns() < until, "the wild worker isn't back for its old client");
		began = stash__now_ns();
	} while (bump_wild(client, &value) != STASH_OK || !t_wait_for(is_folded, &value, 500));
	low = value;
	high = value + count_unknown(began);
}

/* ---- one seed ---- */

static void
note_pids(void)
{
	stash_pid = t_pid(&d, T_STASH, "");
	supervisor_pid = t_pid(&d, T_SUPERVISOR, "");
	calm_pid = t_pid(&d, T_WORKER, "calm");
}

static void
check_others(void)
{
	bump_calm();
	must(t_pid(&d, T_STASH, "") == stash_pid, "the stash has died");
	must(t_pid(&d, T_SUPERVISOR, "") == supervisor_pid, "the supervisor has died");
	must(t_pid(&d, T_WORKER, "calm") == calm_pid, "the calm worker has died");
}

/* Reading needs no one's help, and isn't misled. */
static void
check_reader(void)
{
	struct stash_state state = { .data = NULL };
	int64_t count = -1;
	int result = stash_store_read(reader, "wild", &state);

	if (result < 0)
		snprintf(last, sizeof last, "read: %s: %s", stash_errname(result), stash_errmsg());
	must(result == STASH_OK && state.len >= sizeof count, "its state can't be read");
	memcpy(&count, state.data, sizeof count);
	must(count >= low && count <= high, "a reader is told another state");
	stash_state_free(&state);
}

/* Someone dies right behind it, so that a successor finds what is written there. */
static void
somebody_dies(void)
{
	static const enum t_who whom[] = { T_WORKER, T_STASH, T_SUPERVISOR, T_STASH };
	enum t_who who;

	if (scribble_below(&dice, 4) != 0)
		return;
	who = whom[scribble_below(&dice, 4)];
	(void)t_murder(&d, who, "wild");
	if (who == T_STASH)
		stash_pid = 0;
	else if (who == T_SUPERVISOR)
		supervisor_pid = 0;
}

static bool
is_there(void *arg)
{
	const enum t_who *who = arg;
	pid_t pid = t_pid(&d, *who, "");

	return pid > 0 && kill(pid, 0) == 0;
}

static void
wait_for_successors(void)
{
	enum t_who who = T_STASH;

	if (stash_pid == 0) {
		must(t_wait_for(is_there, &who, BACK_MS), "no stash can start");
		stash_pid = t_pid(&d, who, "");
	}
	who = T_SUPERVISOR;
	if (supervisor_pid == 0) {
		must(t_wait_for(is_there, &who, BACK_MS), "no supervisor can start");
		supervisor_pid = t_pid(&d, who, "");
	}
}

static void
one_seed(unsigned kinds)
{
	char text[120];
	int64_t ignored;
	unsigned ways = (unsigned)scribble_below(&dice, 4);

	if (ways & 1)
		(void)call(client, "wild", "tell", "calm", &ignored);
	if (ways & 2)
		(void)call(client, "wild", "ask", "calm", &ignored);
	snprintf(text, sizeof text, "%llu %u %u %u %u", (unsigned long long)seed, kinds,
	    (unsigned)(1 + scribble_below(&dice, 4) * scribble_below(&dice, 8)),
	    scribble_below(&dice, 3) == 0 ? (unsigned)scribble_below(&dice, 30) : 0, scribble_below(&dice, 4) == 0);
	(void)call(client, "wild", "wild", text, &ignored);
	(void)bump_wild(client, &ignored);
	somebody_dies();
	wait_until_back();
	wait_for_successors();
	check_others();
	check_reader();
}

/* ---- the search ---- */

static int64_t
until_when(int seconds)
{
	const char *minutes = getenv("STASH_TORTURE");

	return stash__now_ns() + (minutes != NULL ? atoi(minutes) * 20 : seconds) * STASH__NS_PER_S;
}

static void
begin(const char *store)
{
	char config[2048];
	int64_t value = -1;

	memset(&d, 0, sizeof d);
	snprintf(config, sizeof config,
	    "store = { %s };\ntree = { intensity = 1000000; period = 1; children = (\n"
	    "  { id = \"wild\"; module = \"%s\"; max_attempts = 65535; },\n"
	    "  { id = \"calm\"; module = \"%s\"; }\n); };\n",
	    store, t_build("tests/modules/wild.so"), t_build("tests/modules/wild.so"));
	t_stashd_start(&d, config);
	client = t_client(&d);
	others = t_client(&d);
	ck_assert_int_eq(stash_store_open(&reader, t_store(&d), NULL), 0);
	calm_count = low = high = 0;
	ck_assert_int_eq(call(others, "calm", "count", NULL, &value), 0);
	wait_until_back();
	note_pids();
	memset(outcomes, 0, sizeof outcomes);
}

static void
finish(void)
{
	stash_store_close(reader);
	stash_client_close(others);
	stash_client_close(client);
	t_stashd_stop(&d, 20000);
}

static void
search(unsigned kinds, const char *store, int seconds)
{
	const char *first = getenv("WILD_SEED"), *only = getenv("WILD_KINDS");
	int64_t until = until_when(seconds);
	unsigned n = 0;

	if (only != NULL)
		kinds = (unsigned)atoi(only);
	begin(store);
	for (seed = first != NULL ? strtoull(first, NULL, 10) : 1; stash__now_ns() < until; seed++, n++) {
		dice.state = seed * 77;
		one_seed(kinds);
	}
	printf("areas %u: %u seeds from %s;", kinds, n, first != NULL ? first : "1");
	for (int i = 0; i < 64; i++)
		if (outcomes[i] > 0)
			printf(" %s %u", i == 0 ? "answers" : stash_errname(-i), outcomes[i]);
	printf("\n");
	fflush(stdout);
	finish();
}

START_TEST(test_slot)
{
	search(SCRIBBLE_OUT, "", 12);
}
END_TEST

START_TEST(test_bell)
{
	search(SCRIBBLE_BELL, "", 6);
}
END_TEST

START_TEST(test_channels)
{
	search(SCRIBBLE_CHANNEL, "", 10);
}
END_TEST

START_TEST(test_ways)
{
	search(SCRIBBLE_WAY, "", 10);
}
END_TEST

START_TEST(test_everything)
{
	search(SCRIBBLE_OUT | SCRIBBLE_BELL | SCRIBBLE_CHANNEL | SCRIBBLE_WAY, "ack = \"disk\";", 12);
}
END_TEST

/* ---- one word ---- */

/* The slot says that another incarnation has it, which died: who really has it is alive, and goes on, also under the
 * next supervisor. */
START_TEST(test_owner_written_over)
{
	struct stash__out_page *page;
	int64_t value = -1, before = -1;
	struct pollfd alive = { .events = POLLIN };
	pid_t dead;
	char path[400];
	int fd;

	begin("");
	seed = 0;
	alive.fd = pidfd_open(t_pid(&d, T_WORKER, "wild"), 0);
	ck_assert_int_ge(alive.fd, 0);
	ck_assert_int_eq(call(client, "wild", "bump", NULL, &before), STASH_OK);
	dead = fork();
	if (dead == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(dead, NULL, 0), dead);
	snprintf(path, sizeof path, "%s/" STASH__SLOT_DIR "/wild.out", t_run_of(&d));
	fd = open(path, O_RDWR | O_CLOEXEC);
	page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert(page != MAP_FAILED && close(fd) == 0);
	atomic_fetch_add(&page->owner, 5);
	atomic_store(&page->owner_pid, (uint64_t)dead);
	munmap(page, sizeof *page);
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	t_wait_output(&d.proc, "has taken over", BACK_MS);
	for (int i = 0; i < 200; i++) {
		must(call(client, "wild", "bump", NULL, &value) == STASH_OK, "a call isn't answered");
		must(value == ++before, "a number was given twice, or not at all");
	}
	ck_assert_int_eq(poll(&alive, 1, 0), 0);
	close(alive.fd);
	finish();
}
END_TEST

/* ---- a wild client ---- */

/* In a process of its own: calls in flight, and its channel written over.  It may get any error, not die or hang. */
static void
be_wild(void)
{
	struct stash_client *c = t_client(&d);
	struct scribble s;

	alarm(30);
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 3; i++)
			(void)stash_call_start(c, "wild", "count", NULL, 0, 300);
		(void)stash_call_wait(c, 0, NULL, 0);
		scribble_begin(&s, seed * 4 + (uint64_t)round, SCRIBBLE_CHANNEL);
		for (uint64_t n = 1 + scribble_below(&s, 8); n > 0; n--)
			scribble_once(&s);
		for (int64_t ref = 1; ref > 0;) {
			struct stash_reply reply;

			ref = stash_call_next(c, &reply, 1000);
			if (ref > 0)
				stash_reply_free(&reply);
		}
		(void)stash_cast(c, "wild", "nothing", NULL, 0);
	}
	if (scribble_below(&s, 2) != 0)
		stash_client_close(c);
	_exit(0);
}

START_TEST(test_client)
{
	const char *first = getenv("WILD_SEED");
	int64_t until = until_when(8);
	unsigned n = 0;
	pid_t wild_pid;

	begin("");
	wild_pid = t_pid(&d, T_WORKER, "wild");
	for (seed = first != NULL ? strtoull(first, NULL, 10) : 1; stash__now_ns() < until; seed++, n++) {
		int status = -1;
		int64_t value = -1;
		pid_t pid = fork();

		ck_assert_int_ge(pid, 0);
		if (pid == 0)
			be_wild();
		must(call(client, "wild", "count", NULL, &value) == STASH_OK,
		    "the worker doesn't answer another client");
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		if (status != 0)
			snprintf(last, sizeof last, "its status is %#x", (unsigned)status);
		must(status == 0, "a client that has written over its channel has died, or hung");
		must(call(client, "wild", "count", NULL, &value) == STASH_OK,
		    "the worker doesn't answer another client");
		must(t_pid(&d, T_WORKER, "wild") == wild_pid, "a client has killed its worker");
		check_others();
	}
	printf("clients: %u seeds\n", n);
	finish();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("wild");

	tcase_add_test(t_case(s, "slot", 3600), test_slot);
	tcase_add_test(t_case(s, "owner", 60), test_owner_written_over);
	tcase_add_test(t_case(s, "bell", 3600), test_bell);
	tcase_add_test(t_case(s, "channels", 3600), test_channels);
	tcase_add_test(t_case(s, "ways", 3600), test_ways);
	tcase_add_test(t_case(s, "everything", 3600), test_everything);
	tcase_add_test(t_case(s, "clients", 3600), test_client);
	return s;
}

TEST_MAIN(suite)
