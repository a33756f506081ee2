/* SPDX-License-Identifier: ISC */
/*
 * stash-bench: what it makes of measurements (compiled in, against slow and
 * plain counts), what it says to a wrong command line, and one short run of the
 * limits. How fast anything is, is no test's business.
 */
#include "stash-bench/stats.c"

#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include <jansson.h>

#include "testlib.h"

Suite *bench_suite(void);

/* ---- times ---- */

START_TEST(a_bin_is_right_to_one_part_in_sixty)
{
	int64_t ns, near, last = -1;

	for (ns = 0; ns < INT64_C(1) << 40; ns += 1 + ns / 7) {
		near = bench_bin_ns(bench_bin(ns));
		ck_assert_int_ge(near, last);
		ck_assert_int_le(near > ns ? near - ns : ns - near, ns / 64 + (ns < 128 ? 0 : 1));
		last = near;
	}
	ck_assert_uint_eq(bench_bin(-5), 0);
	ck_assert_uint_eq(bench_bin(INT64_MAX), BENCH_BINS - 1);
}
END_TEST

START_TEST(every_time_has_the_bin_next_to_its_neighbours)
{
	unsigned last = bench_bin(0), bin;

	for (int64_t ns = 1; ns < 100000; ns++, last = bin) {
		bin = bench_bin(ns);
		ck_assert(bin == last || bin == last + 1);
	}
}
END_TEST

START_TEST(shares_of_known_times)
{
	struct bench_times times = { 0 }, others = { 0 };

	ck_assert_int_eq(bench_times_at(&times, 0.5), 0);
	for (int64_t ns = 1; ns <= 100; ns++)
		bench_times_add(ns % 2 == 0 ? &times : &others, ns);
	bench_times_merge(&times, &others);
	ck_assert_uint_eq(times.count, 100);
	ck_assert_int_eq(times.max, 100);
	ck_assert_int_eq(bench_times_at(&times, 0), 1);
	ck_assert_int_eq(bench_times_at(&times, 0.5), 51);
	ck_assert_int_eq(bench_times_at(&times, 0.99), 100);
	ck_assert_int_eq(bench_times_at(&times, 1), 100);
	/* One long one: no share is longer than the longest. */
	bench_times_add(&times, 1000003);
	ck_assert_int_eq(times.max, 1000003);
	ck_assert_int_le(bench_times_at(&times, 0.999), 1000003);
	ck_assert_int_ge(bench_times_at(&times, 0.999), 980000);
}
END_TEST

START_TEST(medians)
{
	double odd[] = { 9, 1, 5 }, even[] = { 4, 1, 3, 2 };
	int64_t ns[] = { 30, 10, 20, 40 }, big[] = { INT64_MAX, INT64_MAX - 2 };

	ck_assert_double_eq(bench_median(odd, 3), 5);
	ck_assert_double_eq(bench_median(even, 4), 2.5);
	ck_assert_double_eq(bench_median(even, 0), 0);
	ck_assert_int_eq(bench_median_ns(ns, 4), 25);
	ck_assert_int_eq(bench_median_ns(ns, 1), 10);
	ck_assert_int_eq(bench_median_ns(ns, 0), 0);
	ck_assert_int_eq(bench_median_ns(big, 2), INT64_MAX - 1);
}
END_TEST

/* ---- the ledger ---- */

enum { CLIENTS = 3, ROOM = 1024 };

struct books {
	struct bench_ledger ledgers[CLIENTS];
	uint64_t bits[CLIENTS][ROOM / 64];
	struct bench_audit audit;
};

static void
open_books(struct books *b)
{
	memset(b, 0, sizeof *b);
	for (int i = 0; i < CLIENTS; i++)
		b->ledgers[i] = (struct bench_ledger){ .bits = b->bits[i], .room = ROOM };
}

/* Gives 1 to last out, in turn. */
static void
give(struct books *b, uint64_t last)
{
	open_books(b);
	for (uint64_t number = 1; number <= last; number++)
		bench_ledger_note(&b->ledgers[number % CLIENTS], number);
}

static bool
audit(struct books *b, uint64_t last)
{
	return bench_audit(b->ledgers, CLIENTS, last, &b->audit);
}

START_TEST(all_numbers_once_is_right)
{
	struct books b;

	for (uint64_t last = 0; last < 300; last++) {
		give(&b, last);
		ck_assert(audit(&b, last));
		ck_assert_uint_eq(b.audit.taken, last);
	}
	give(&b, ROOM - 1);
	ck_assert(audit(&b, ROOM - 1));
}
END_TEST

START_TEST(a_lost_number_is_found)
{
	struct books b;

	give(&b, 200);
	ck_assert(!audit(&b, 201));
	ck_assert_uint_eq(b.audit.missing, 1);
	give(&b, 200);
	b.bits[0][0] &= ~(UINT64_C(1) << 33);
	ck_assert(!audit(&b, 200));
	ck_assert_uint_eq(b.audit.missing, 1);
	/* A counter far above what any ledger has room for. */
	give(&b, 200);
	ck_assert(!audit(&b, UINT64_MAX));
	ck_assert_uint_eq(b.audit.missing, UINT64_MAX - 200);
}
END_TEST

START_TEST(a_number_given_twice_is_found)
{
	struct books b;

	give(&b, 200);
	bench_ledger_note(&b.ledgers[1], 63);
	ck_assert(!audit(&b, 200));
	ck_assert_uint_eq(b.audit.doubled, 1);
	give(&b, 200);
	bench_ledger_note(&b.ledgers[0], 63);
	ck_assert(!audit(&b, 200));
	ck_assert_uint_eq(b.audit.wrong, 1);
}
END_TEST

START_TEST(a_number_that_cannot_be_is_found)
{
	struct books b;

	give(&b, 200);
	ck_assert(!audit(&b, 199));
	ck_assert_uint_eq(b.audit.beyond, 1);
	give(&b, 200);
	bench_ledger_note(&b.ledgers[2], 0);
	bench_ledger_note(&b.ledgers[2], ROOM);
	bench_ledger_note(&b.ledgers[2], UINT64_MAX);
	ck_assert(!audit(&b, 200));
	ck_assert_uint_eq(b.audit.wrong, 3);
	give(&b, 200);
	bench_ledger_note(&b.ledgers[2], ROOM - 1);
	ck_assert(!audit(&b, 200));
	ck_assert_uint_eq(b.audit.beyond, 1);
}
END_TEST

/* ---- the command line ---- */

struct line {
	const char *words[6];
	int status;
	const char *says;
};

static const struct line wrong[] = {
	{ { NULL }, EX_USAGE, "no command is given" },
	{ { "limitz" }, EX_USAGE, "did you mean limits?" },
	{ { "limits", "more" }, EX_USAGE, "too much" },
	{ { "limits", "--flight", "3" }, EX_USAGE, "option --flight is not for limits" },
	{ { "call", "--clients", "0" }, EX_USAGE, "--clients 0" },
	{ { "call", "--clients", "1001" }, EX_USAGE, "from 1 to 1000" },
	{ { "call", "--clients", "two" }, EX_USAGE, "--clients two" },
	{ { "call", "--seconds", "0" }, EX_USAGE, "--seconds 0" },
	{ { "call", "--seconds", "61" }, EX_USAGE, "--seconds 61" },
	{ { "call", "--spin", "50" }, EX_USAGE, "--spin 50" },
	{ { "call", "--spin", "2s" }, EX_USAGE, "--spin 2s" },
	{ { "call", "--pin", "both" }, EX_USAGE, "none, one or two" },
	{ { "call", "--ack", "never" }, EX_USAGE, "crash or disk" },
	{ { "call", "--state", "8" }, EX_USAGE, "--state 8" },
	{ { "pipeline", "--flight", "9999" }, EX_USAGE, "from 1 to 4096" },
	{ { "restart", "--kills", "-1" }, EX_USAGE, "--kills -1" },
	{ { "call", "--stashd", "/nowhere/stashd" }, EX_NOINPUT, "/nowhere/stashd" },
	{ { "call", "--module", "/nowhere/bench.so" }, EX_NOINPUT, "/nowhere/bench.so" },
	{ { "call", "--dir", "/nowhere" }, EX_CANTCREAT, "/nowhere" },
	{ { "worker", "/nowhere/bench.so", "64" }, EX_NOINPUT, "/nowhere/bench.so" },
};

START_TEST(a_wrong_command_line_is_told)
{
	const struct line *line = &wrong[_i];
	const char *argv[8] = { t_build("stash-bench") };
	struct t_result result;

	for (int i = 0; i < 6; i++)
		argv[i + 1] = line->words[i];
	t_run(&result, NULL, argv);
	ck_assert_msg(result.status == line->status, "status %d: %s", result.status, result.err);
	ck_assert_msg(strstr(result.err, line->says) != NULL, "%s", result.err);
	ck_assert_str_eq(result.out, "");
	t_result_free(&result);
}
END_TEST

START_TEST(help_names_every_command)
{
	static const char *const commands[] = { "limits", "call", "pipeline", "durable", "restart", "start", "all",
		NULL };
	struct t_result result;

	t_run(&result, NULL, (const char *const[]){ t_build("stash-bench"), "--help", NULL });
	ck_assert_int_eq(result.status, EX_OK);
	for (size_t i = 0; commands[i] != NULL; i++)
		ck_assert_ptr_nonnull(strstr(result.out, commands[i]));
	t_result_free(&result);
}
END_TEST

START_TEST(a_worker_by_hand_says_who_starts_it)
{
	const char *module = t_build("examples/bench.so");
	struct t_result result;

	t_run(&result, NULL, (const char *const[]){ t_build("stash-bench"), "worker", module, "4K", NULL });
	ck_assert_msg(result.status == EX_USAGE, "status %d: %s", result.status, result.err);
	t_result_free(&result);
	t_run(&result, NULL, (const char *const[]){ t_build("stash-bench"), "worker", module, "63", NULL });
	ck_assert_int_eq(result.status, EX_USAGE);
	ck_assert_ptr_nonnull(strstr(result.err, "not a size"));
	t_result_free(&result);
}
END_TEST

/* ---- runs ---- */

/* Each line is an object with a name and a value above 0; how many there are. */
static int
check_lines(char *text)
{
	char *rest = NULL, *line;
	int n = 0;

	for (line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest), n++) {
		json_t *object = json_loads(line, 0, NULL);

		ck_assert_msg(json_is_object(object), "%s", line);
		ck_assert_int_eq(json_integer_value(json_object_get(object, "schema")), 1);
		ck_assert_str_eq(json_string_value(json_object_get(object, "bench")), "limits");
		ck_assert(json_is_string(json_object_get(object, "figure")));
		ck_assert_msg(json_real_value(json_object_get(object, "value")) > 0, "%s", line);
		json_decref(object);
	}
	return n;
}

START_TEST(limits_are_measured_and_nothing_is_left)
{
	const char *dir = t_path("disk");
	struct t_result result;

	ck_assert_int_eq(mkdir(dir, 0700), 0);
	t_run(&result, NULL,
	    (const char *const[]){ t_build("stash-bench"), "limits", "-q", "-j", "-s", "20ms", "-d", dir, NULL });
	ck_assert_msg(result.status == EX_OK, "%s", result.err);
	ck_assert_str_eq(result.err, "");
	ck_assert_int_ge(check_lines(result.out), 10);
	t_result_free(&result);
	ck_assert_int_eq(t_remove_tree(dir), 0);
}
END_TEST

START_TEST(a_load_counts_exactly_once)
{
	const char *dir = t_path("disk");
	struct t_result result;

	ck_assert_int_eq(mkdir(dir, 0700), 0);
	t_run(&result, NULL,
	    (const char *const[]){
		t_build("stash-bench"), "pipeline", "-c", "2", "-f", "8", "-s", "100ms", "-b", "4K", "-d", dir, NULL });
	ck_assert_msg(result.status == EX_OK, "%s%s", result.out, result.err);
	ck_assert_ptr_nonnull(strstr(result.out, "of these lost, double or failed"));
	ck_assert_ptr_null(strstr(result.out, "MISSED"));
	t_result_free(&result);
	ck_assert_int_eq(t_remove_tree(dir), 0);
}
END_TEST

Suite *
bench_suite(void)
{
	Suite *suite = suite_create("bench");
	TCase *sums = t_case(suite, "sums", 10), *words = t_case(suite, "words", 10), *runs = t_case(suite, "runs", 60);

	tcase_add_test(sums, a_bin_is_right_to_one_part_in_sixty);
	tcase_add_test(sums, every_time_has_the_bin_next_to_its_neighbours);
	tcase_add_test(sums, shares_of_known_times);
	tcase_add_test(sums, medians);
	tcase_add_test(sums, all_numbers_once_is_right);
	tcase_add_test(sums, a_lost_number_is_found);
	tcase_add_test(sums, a_number_given_twice_is_found);
	tcase_add_test(sums, a_number_that_cannot_be_is_found);
	tcase_add_loop_test(words, a_wrong_command_line_is_told, 0, (int)(sizeof wrong / sizeof wrong[0]));
	tcase_add_test(words, help_names_every_command);
	tcase_add_test(words, a_worker_by_hand_says_who_starts_it);
	tcase_add_test(runs, limits_are_measured_and_nothing_is_left);
	tcase_add_test(runs, a_load_counts_exactly_once);
	return suite;
}

TEST_MAIN(bench_suite)
