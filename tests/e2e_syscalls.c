/* SPDX-License-Identifier: ISC */
/*
 * Every system call is a death: keeper, supervisor, stash, workers and clients are killed at the entry and at the exit
 * of the system calls that they make during a fixed scenario (testlib_scenario.h says what must be true afterwards),
 * one kill for each run, or two.  A bounded sample here, other points with each seed; all of them, one by one, with
 * STASH_TORTURE=MINUTES.
 *
 *	SYSCALLS_SEED=N				the sample of that seed
 *	SYSCALLS_SECONDS=N			how long the sample is
 *	SYSCALLS_POINT=FLAVOUR:KIND:N:WHEN:ACK[:KIND:N]	that point alone, as a finding names it; the second kind dies
 *						at the entry of its N-th call after that
 *	SYSCALLS_SLICE=I/N			with STASH_TORTURE: each n-th point, from the i-th on
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bsd/stdlib.h>

#include "base/clock.h"
#include "testlib_scenario.h"
#include "testlib_live.h"

#define SECONDS 45

/* A process that LeakSanitizer is to look at must not be traced: it traces it itself, and ends it if it can't. */
#if defined(__SANITIZE_ADDRESS__)
#define TRACEABLE false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TRACEABLE false
#endif
#endif
#ifndef TRACEABLE
#define TRACEABLE true
#endif

struct point {
	enum scenario_flavour flavour;
	enum tracer_kind kind;
	uint64_t nth;
	enum tracer_when when;
	bool disk;
	/* then, if nth isn't 0 */
	enum tracer_kind next_kind;
	uint64_t next_nth;
};

static struct {
	unsigned tried, reached, twice, found;
	int slowest_ms;
	bool seen[TRACER_KINDS][TRACER_CALLS][2];
	uint64_t calls[SCENARIO_FLAVOURS][TRACER_KINDS];
} search;

static void
name_point(char text[128], const struct point *p)
{
	int n = snprintf(text, 128, "%d:%s:%llu:%s:%s", (int)p->flavour, tracer_kind_name(p->kind),
	    (unsigned long long)p->nth, p->when == TRACER_ENTRY ? "entry" : "exit", p->disk ? "disk" : "crash");

	if (p->next_nth != 0)
		(void)snprintf(text + n, (size_t)(128 - n), ":%s:%llu", tracer_kind_name(p->next_kind),
		    (unsigned long long)p->next_nth);
}

/* A line now and then, for whoever waits. */
static void
show_progress(void)
{
	if (search.tried % 500 == 0) {
		printf("%u tried, %u reached, %u findings\n", search.tried, search.reached, search.found);
		fflush(stdout);
	}
}

/* One run.  False: there is no such point. */
static bool
try(const struct point *p)
{
	struct scenario s = { .flavour = p->flavour,
		.disk = p->disk,
		.plan = { .acts = { { .what = TRACER_KILL, .kind = p->kind, .nth = p->nth, .when = p->when },
			      { .what = TRACER_KILL, .kind = p->next_kind, .nth = p->next_nth } },
		    .nacts = p->next_nth != 0 ? 2 : 1 } };
	char name[128], text[300];
	bool reached;

	scenario_run(&s);
	name_point(name, p);
	tracer_describe(text, sizeof text, &s.plan, &s.report, 0);
	reached = s.report.done >= 1;
	search.twice += s.report.done == 2;
	search.tried++;
	search.reached += reached;
	if (reached && s.report.at[0].nr < TRACER_CALLS)
		search.seen[p->kind][s.report.at[0].nr][p->when] = true;
	if (s.ms > search.slowest_ms)
		search.slowest_ms = s.ms;
	if (s.problems[0] != '\0' || getenv("SYSCALLS_VERBOSE") != NULL)
		printf("SYSCALLS_POINT=%s (%s; %s; %d ms)\n%s\n", name, scenario_flavour_name(p->flavour), text, s.ms,
		    s.problems);
	fflush(stdout);
	search.found += s.problems[0] != '\0';
	free(s.problems);
	show_progress();
	return reached;
}

/* How many calls each kind makes in that flavour. */
static void
count_calls(enum scenario_flavour flavour)
{
	struct scenario s = { .flavour = flavour };

	scenario_run(&s);
	ck_assert_msg(s.problems[0] == '\0', "%s, and nobody was killed by the search: %s",
	    scenario_flavour_name(flavour), s.problems);
	memcpy(search.calls[flavour], s.report.calls, sizeof s.report.calls);
	printf("%s:", scenario_flavour_name(flavour));
	for (int i = 0; i < TRACER_KINDS; i++)
		printf(" %s %llu in %u;", tracer_kind_name(i), (unsigned long long)s.report.calls[i],
		    s.report.processes[i]);
	printf(" %d ms\n", s.ms);
	fflush(stdout);
	free(s.problems);
}

static void
tell(void)
{
	unsigned places = 0;

	for (int kind = 0; kind < TRACER_KINDS; kind++) {
		for (unsigned nr = 0; nr < TRACER_CALLS; nr++)
			places += search.seen[kind][nr][0] + search.seen[kind][nr][1];
	}
	printf(
	    "%u points tried, %u reached, %u of them with a second death, %u pairs of kind of process and system call, "
	    "entry or exit; %u findings; the slowest run took %d ms\n",
	    search.tried, search.reached, search.twice, places, search.found, search.slowest_ms);
	fflush(stdout);
	ck_assert_msg(search.found == 0, "%u findings, see above", search.found);
}

/* ---- one point ---- */

static enum tracer_kind
parse_kind(const char *text)
{
	int kind = 0;

	while (kind < TRACER_KINDS && strcmp(text, tracer_kind_name(kind)) != 0)
		kind++;
	ck_assert_msg(kind < TRACER_KINDS, "no such kind: %s", text);
	return (enum tracer_kind)kind;
}

static void
try_named(const char *text)
{
	char kind[32], when[8], ack[8], next[32] = "keeper";
	unsigned long long nth, next_nth = 0;
	unsigned flavour;
	struct point p;
	int n = sscanf(
	    text, "%u:%31[^:]:%llu:%7[^:]:%7[^:]:%31[^:]:%llu", &flavour, kind, &nth, when, ack, next, &next_nth);

	ck_assert_msg(n == 5 || n == 7, "SYSCALLS_POINT=%s", text);
	p = (struct point){ .flavour = (enum scenario_flavour)flavour,
		.kind = parse_kind(kind),
		.nth = nth,
		.when = strcmp(when, "exit") == 0 ? TRACER_EXIT : TRACER_ENTRY,
		.disk = strcmp(ack, "disk") == 0,
		.next_kind = parse_kind(next),
		.next_nth = next_nth };
	(void)try(&p);
	tell();
}

/* ---- a sample ---- */

/* By calls, so that each has the same chance; those of short lives more often. */
static struct point
choose(unsigned (*chance)(unsigned))
{
	/* Not the keeper: without it nobody follows a dead supervisor. */
	static const enum tracer_kind second[] = { TRACER_SUPERVISOR, TRACER_STASH, TRACER_WORKER, TRACER_CLIENT };
	struct point p;

	do {
		p.flavour = (enum scenario_flavour)chance(SCENARIO_FLAVOURS);
		p.kind = (enum tracer_kind)chance(TRACER_KINDS);
	} while (search.calls[p.flavour][p.kind] == 0);
	p.nth = 1 + chance((unsigned)search.calls[p.flavour][p.kind]);
	p.when = chance(2) == 0 ? TRACER_ENTRY : TRACER_EXIT;
	p.disk = chance(4) == 0;
	p.next_nth = p.kind != TRACER_KEEPER && p.flavour != SCENARIO_KEEPER && chance(3) == 0 ? 1 + chance(100) : 0;
	p.next_kind = second[chance(sizeof second / sizeof second[0])];
	return p;
}

static unsigned
by_chance(unsigned below)
{
	return (unsigned)random() % below;
}

static int64_t
number_of(const char *name, int64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? atoll(text) : otherwise;
}

static void
sample(void)
{
	unsigned seed = (unsigned)number_of("SYSCALLS_SEED", arc4random() & 0xffffff);
	int64_t until = stash__now_ns() + number_of("SYSCALLS_SECONDS", SECONDS) * STASH__NS_PER_S;

	printf("SYSCALLS_SEED=%u\n", seed);
	srandom(seed);
	for (int flavour = 0; flavour < SCENARIO_FLAVOURS; flavour++)
		count_calls((enum scenario_flavour)flavour);
	while (stash__now_ns() < until) {
		struct point p = choose(by_chance);

		(void)try(&p);
	}
	tell();
}

/* ---- all of them ---- */

static struct point *points;
static size_t npoints;

/* A tenth more than were counted: not each run makes the same. */
static void
add_points(enum scenario_flavour flavour)
{
	for (int kind = 0; kind < TRACER_KINDS; kind++) {
		uint64_t calls = search.calls[flavour][kind];

		points = realloc(points, (npoints + 2 * (calls + calls / 10)) * sizeof *points);
		ck_assert(points != NULL || calls == 0);
		for (uint64_t i = 0; i < 2 * (calls + calls / 10); i++)
			points[npoints++] = (struct point){ .flavour = flavour,
				.kind = (enum tracer_kind)kind,
				.nth = 1 + i / 2,
				.when = i % 2 == 0 ? TRACER_ENTRY : TRACER_EXIT,
				.disk = npoints % 4 == 0 };
	}
}

static void
shuffle(void)
{
	for (size_t i = npoints; i > 1; i--) {
		size_t k = (size_t)random() % i;
		struct point p = points[k];

		points[k] = points[i - 1];
		points[i - 1] = p;
	}
}

/* In any order, so that a search that is cut short has seen something of everything. */
static void
search_all(int minutes)
{
	int64_t until = stash__now_ns() + minutes * 60 * STASH__NS_PER_S;
	const char *text = getenv("SYSCALLS_SLICE"), *only = getenv("SYSCALLS_FLAVOUR");
	unsigned slice = 0, slices = 1;
	size_t i;

	ck_assert(text == NULL || sscanf(text, "%u/%u", &slice, &slices) == 2);
	srandom((unsigned)number_of("SYSCALLS_SEED", 1));
	for (int flavour = 0; flavour < SCENARIO_FLAVOURS; flavour++) {
		if (only != NULL && *only != '\0' && atoi(only) != flavour)
			continue;
		count_calls((enum scenario_flavour)flavour);
		add_points((enum scenario_flavour)flavour);
	}
	shuffle();
	for (i = slice; i < npoints && stash__now_ns() < until; i += slices)
		(void)try(&points[i]);
	printf("%zu points in all%s\n", npoints, i < npoints ? "; time was up before all were tried" : "");
	/* What is left of the time is for pairs. */
	while (stash__now_ns() < until) {
		struct point p = choose(by_chance);

		(void)try(&p);
	}
	free(points);
	tell();
}

/* ---- what was found once ---- */

/* Deaths that had left something behind, each told by calls that don't depend on the order of the others. */
static const struct {
	const char *what;
	struct tracer_plan plan;
	enum scenario_flavour flavour;
	bool disk;
} once[] = {
	{ "a supervisor that has taken SIGTERM dies: the next one is told, too", .flavour = SCENARIO_PLAIN,
	    .plan = { { { TRACER_MARK, TRACER_KEEPER, 1, TRACER_ENTRY, 0, false, 1 + SYS_pidfd_send_signal },
			  { TRACER_KILL, TRACER_SUPERVISOR, 1, TRACER_EXIT, 0, false, 1 + SYS_read } },
		2 } },
	{ "the stash dies when it is to store all and end: another one does it", .flavour = SCENARIO_PLAIN,
	    .plan = { { { TRACER_MARK, TRACER_KEEPER, 1, TRACER_EXIT, 0, false, 1 + SYS_pidfd_send_signal },
			  { TRACER_KILL, TRACER_STASH, 1, TRACER_ENTRY, 0, false, 1 + SYS_unlinkat } },
		2 } },
	{ "the keeper dies before it has told how a child ended, that its supervisor has not forked",
	    .flavour = SCENARIO_SUPERVISOR,
	    .plan = { { { TRACER_KILL, TRACER_KEEPER, 2, TRACER_ENTRY, 0, false, 1 + SYS_waitid } }, 1 } },
	{ "a supervisor dies that has taken a client's connection: the client waits for the next one",
	    .flavour = SCENARIO_PLAIN,
	    .plan = { { { TRACER_HOLD, TRACER_CLIENT, 1, TRACER_EXIT, 0, false, 1 + SYS_connect },
			  { TRACER_KILL, TRACER_SUPERVISOR, 1, TRACER_ENTRY, 0, false, 1 + SYS_getsockopt } },
		2 } },
	{ "a supervisor dies when it has said yes to stashctl shutdown: the next one is told, too",
	    .flavour = SCENARIO_PLAIN,
	    .plan = { { { TRACER_MARK, TRACER_CLIENT, 2, TRACER_ENTRY, 0, false, 1 + SYS_exit_group },
			  { TRACER_MARK, TRACER_SUPERVISOR, 1, TRACER_ENTRY, 0, false, 1 + SYS_getsockopt },
			  { TRACER_KILL, TRACER_SUPERVISOR, 2, TRACER_EXIT, 0, false, 1 + SYS_sendmsg } },
		3 },
	    .disk = true },
	/* The seventh that it removes after that is the directory of the slots. */
	{ "a supervisor dies when the tree has ended and all is stored: the stop is an orderly one",
	    .flavour = SCENARIO_PLAIN,
	    .plan = { { { TRACER_MARK, TRACER_KEEPER, 1, TRACER_EXIT, 0, false, 1 + SYS_pidfd_send_signal },
			  { TRACER_MARK, TRACER_STASH, 7, TRACER_EXIT, 0, false, 1 + SYS_unlinkat },
			  { TRACER_KILL, TRACER_SUPERVISOR, 1, TRACER_ENTRY, 0, false, 1 + SYS_recvmsg } },
		3 } },
#ifdef SYS_epoll_wait
	{ "a supervisor dies in the first start, while the stash has made half of its files: the next one waits for it",
	    .flavour = SCENARIO_PLAIN,
	    .plan = { { { TRACER_HOLD, TRACER_STASH, 1, TRACER_EXIT, 0, false, 1 + SYS_renameat },
			  { TRACER_KILL, TRACER_SUPERVISOR, 1, TRACER_ENTRY, 0, false, 1 + SYS_sendmsg },
			  { TRACER_MARK, TRACER_SUPERVISOR, 1, TRACER_ENTRY, 0, false, 1 + SYS_epoll_wait } },
		3 } },
#endif
	{ "a supervisor dies that has just forked a stash: that one doesn't open the store when its successor is done",
	    .flavour = SCENARIO_STASH,
	    .plan = { { { TRACER_KILL, TRACER_SUPERVISOR, 3, TRACER_EXIT, 0, false, 1 + SYS_clone },
			  { TRACER_HOLD, TRACER_STASH, 1, TRACER_ENTRY, 0, false, 1 + SYS_flock },
			  { TRACER_MARK, TRACER_STASH, 1, TRACER_ENTRY, 0, false, 1 + SYS_exit_group } },
		3 } },
#ifdef SYS_mkdir
	{ "stashd dies when it has made its run directory: it is found again", .flavour = SCENARIO_PLAIN,
	    .plan = { { { TRACER_KILL, TRACER_KEEPER, 4, TRACER_EXIT, 0, false, 1 + SYS_mkdir } }, 1 } },
	{ "the same, when it has made all that is in it", .flavour = SCENARIO_PLAIN,
	    .plan = { { { TRACER_KILL, TRACER_KEEPER, 6, TRACER_EXIT, 0, false, 1 + SYS_mkdir } }, 1 } },
#endif
};

START_TEST(test_found_once)
{
	struct scenario s = { .flavour = once[_i].flavour, .plan = once[_i].plan, .disk = once[_i].disk };

	scenario_run(&s);
	ck_assert_msg(s.problems[0] == '\0', "%s: %s", once[_i].what, s.problems);
	ck_assert_msg(s.report.done == once[_i].plan.nacts, "%s: that call wasn't made", once[_i].what);
	free(s.problems);
}
END_TEST

/* It was told to stop and has died, and no other one can begin: the keeper gives up, and nothing is lost or left. */
START_TEST(test_nobody_to_stop)
{
	struct scenario s = { .flavour = SCENARIO_PLAIN,
		.failing = true,
		.plan = { { { TRACER_MARK, TRACER_KEEPER, 1, TRACER_ENTRY, 0, false, 1 + SYS_pidfd_send_signal },
			      { TRACER_KILL, TRACER_SUPERVISOR, 1, TRACER_EXIT, 0, false, 1 + SYS_read },
			      { TRACER_FAIL, TRACER_SUPERVISOR, 1, TRACER_ENTRY, EMFILE, true, 1 + SYS_signalfd4 } },
		    3 } };

	scenario_run(&s);
	ck_assert_msg(s.problems[0] == '\0', "%s", s.problems);
	ck_assert_uint_eq(s.report.done, 3);
	free(s.problems);
}
END_TEST

/* A signal that comes late, when all is over but the cleaning up, doesn't end stashd before that. */
START_TEST(test_signals_to_the_end)
{
	for (int i = 0; i < 20; i++) {
		struct t_stashd d = { .conf = NULL };

		t_stashd_start(&d, t_config("sequence", "examples/sequence.so", "\"0\"", "", ""));
		for (int64_t until = stash__now_ns() + 20 * STASH__NS_PER_S; !t_ended(&d.proc, 0);) {
			t_kill(&d.proc, SIGTERM);
			ck_assert_msg(stash__now_ns() < until, "stashd goes on after SIGTERM");
		}
		ck_assert_msg(d.proc.status == 0, "stashd ended with wait status %#x", (unsigned)d.proc.status);
		t_no_children(2000);
		ck_assert_int_ne(access(t_path("store/stashd.pid"), F_OK), 0);
	}
}
END_TEST

START_TEST(test_killed_at_each_call)
{
	const char *minutes = getenv("STASH_TORTURE"), *point = getenv("SYSCALLS_POINT");

	if (point != NULL)
		try_named(point);
	else if (minutes != NULL)
		search_all(atoi(minutes));
	else
		sample();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("syscalls");
	TCase *c = t_case(s, "syscalls", 300);

	if (TRACEABLE)
		tcase_add_test(c, test_killed_at_each_call);
	if (getenv("SYSCALLS_POINT") != NULL)
		return s;
	if (TRACEABLE)
		tcase_add_loop_test(c, test_found_once, 0, (int)(sizeof(once) / sizeof(once[0])));
	if (TRACEABLE)
		tcase_add_test(c, test_nobody_to_stop);
	tcase_add_test(c, test_signals_to_the_end);
	return s;
}

TEST_MAIN(suite)
