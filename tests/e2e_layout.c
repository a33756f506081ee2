/* SPDX-License-Identifier: ISC */
/*
 * A worker whose module is replaced by one with another layout, under a real stashd: by fields, by code_change, by
 * decode, and no way at all, over deaths of everybody at any moment.
 */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bsd/stdlib.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "testlib_examples.h"
#include "testlib_live.h"

static struct t_stashd d;

/* What the config's module is from now on; workers that run keep theirs. */
static void
use(const char *module)
{
	const char *new = t_path("new.so");

	ck_assert_int_eq(symlink(t_build(module), new), 0);
	ck_assert_int_eq(rename(new, t_path("layout.so")), 0);
}

static const char *
config(void)
{
	static char text[512];

	snprintf(text, sizeof text,
	    "store = { history = 100; };\ntree = { intensity = 1000000; period = 1; children = (\n"
	    "  { id = \"layout\"; module = \"%s\"; }\n); };\n",
	    t_path("layout.so"));
	return text;
}

static void
start(const char *module)
{
	use(module);
	t_stashd_start(&d, config());
	ck_assert_int_eq(setenv("STASH_DIR", t_store(&d), 1), 0);
}

static void
expect(const char *tag, const char *data, const char *text)
{
	struct stash_client *c = t_client(&d);

	t_expect_call(c, "layout", tag, data, text);
	stash_client_close(c);
}

/* The worker is killed, and comes again with that module. */
static void
replace(const char *module)
{
	pid_t old = t_pid(&d, T_WORKER, "layout");

	use(module);
	ck_assert(t_murder(&d, T_WORKER, "layout"));
	(void)t_reborn(&d, "layout", old);
}

/* Versions of the layouts in the history, newest first, as digits. */
static int
add_layout(void *arg, const struct stash_state *state)
{
	char *text = arg;
	size_t n = strlen(text);

	if (n == 0 || text[n - 1] != (char)('0' + state->layout_version)) {
		text[n] = (char)('0' + state->layout_version);
		text[n + 1] = '\0';
	}
	return 0;
}

static const char *
history(void)
{
	static char text[128]; /* more than are kept */
	struct stash_store *store = NULL;

	text[0] = '\0';
	ck_assert_int_eq(stash_store_open(&store, t_store(&d), NULL), 0);
	ck_assert_int_eq(stash_store_history(store, "layout", add_layout, text), 0);
	stash_store_close(store);
	return text;
}

/* ---- every way ---- */

START_TEST(test_by_fields_and_back)
{
	memset(&d, 0, sizeof d);
	start("tests/modules/layout_1.so");
	expect("note", "first", "layout 1: 0 first");
	expect("next_number", NULL, "0");
	replace("tests/modules/layout_2.so");
	expect("look", NULL, "layout 2: 1 first");
	expect("next_number", NULL, "1");
	expect("note", "0123456789abcde", "layout 2: 2 0123456789abcde");
	replace("tests/modules/layout_1.so");
	expect("look", NULL, "layout 1: 2 0123456789abcde");
	t_stashd_stop(&d, 20000);
	ck_assert_str_eq(history(), "121");
	/* A new stashd knows the layouts from the store alone. */
	start("tests/modules/layout_2.so");
	expect("look", NULL, "layout 2: 2 0123456789abcde");
	t_stashd_stop(&d, 20000);
}
END_TEST

START_TEST(test_by_code_change)
{
	memset(&d, 0, sizeof d);
	start("tests/modules/layout_1.so");
	expect("note", "first", "layout 1: 0 first");
	replace("tests/modules/layout_3.so");
	expect("look", NULL, "layout 3: 0 first");
	expect("next_number", NULL, "0");
	replace("tests/modules/layout_2.so");
	expect("look", NULL, "layout 2: 1 first");
	replace("tests/modules/layout_3.so");
	expect("look", NULL, "layout 3: 1 first");
	t_stashd_stop(&d, 20000);
	ck_assert_str_eq(history(), "3231");
}
END_TEST

/* A command of stash-inspect, which says that. */
static void
inspect(const char *command, const char *says)
{
	const char *argv[] = { t_build("stash-inspect"), command, "layout", NULL };
	struct t_result r;

	t_run(&r, NULL, argv);
	ck_assert_int_eq(r.status, 0);
	ck_assert_msg(strstr(r.out, says) != NULL, "%s says: %s", command, r.out);
	t_result_free(&r);
}

START_TEST(test_by_decode)
{
	struct stash_client *c;

	memset(&d, 0, sizeof d);
	start("tests/modules/layout_1.so");
	expect("note", "first", "layout 1: 0 first");
	replace("tests/modules/layout_4.so");
	expect("next_number", NULL, "0");
	expect("look", NULL, "layout 4: 1 first");
	/* Encoded bytes are shown, by whoever can. */
	inspect("show", "\nnext 1, note \"first\"\n");
	inspect("history", "layout 4");
	/* The crash report has it as format_status writes it. */
	c = t_client(&d);
	t_expect_error(c, "layout", "unknown", NULL, STASH_E_CRASHED);
	stash_client_close(c);
	t_wait_output(&d.proc, "next 1, note \"first\"", 20000);
	expect("look", NULL, "layout 4: 1 first");
	t_murder_all(&d);
	start("tests/modules/layout_4.so");
	expect("look", NULL, "layout 4: 1 first");
	t_stashd_stop(&d, 20000);
	/* Without a stashd nobody runs its code. */
	inspect("show", "|........first.|");
	ck_assert_str_eq(history(), "41");
}
END_TEST

#define ROUNDS 20
#define POSTS 12

static bool
all_posted(void *arg)
{
	struct stash_reply reply;
	char text[64];
	bool all;

	snprintf(text, sizeof text, "layout 4: %d ", ROUNDS * POSTS);
	ck_assert_int_eq(stash_call(arg, "layout", "look", NULL, 0, &reply, 30000), STASH_OK);
	all = strcmp(reply.data, text) == 0;
	stash_reply_free(&reply);
	return all;
}

/* A call in the midst of a batch crashes; what the others have posted is posted once, though they are done again. */
START_TEST(test_posts_of_a_batch_that_fails)
{
	struct stash_client *c;

	memset(&d, 0, sizeof d);
	start("tests/modules/layout_4.so");
	c = t_client(&d);
	for (int round = 0; round < ROUNDS; round++) {
		int64_t refs[POSTS + 1];
		for (int i = 0; i <= POSTS; i++) {
			refs[i] = stash_call_start(c, "layout", i == POSTS / 2 ? "unknown" : "post", NULL, 0, 30000);
			ck_assert_int_gt(refs[i], 0);
		}
		for (int i = 0; i <= POSTS; i++)
			ck_assert_int_eq(
			    stash_call_wait(c, refs[i], NULL, 30000), i == POSTS / 2 ? STASH_E_CRASHED : STASH_OK);
	}
	ck_assert(t_wait_for(all_posted, c, 20000));
	replace("tests/modules/layout_4.so");
	ck_assert(all_posted(c));
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}
END_TEST

START_TEST(test_over_a_new_supervisor)
{
	pid_t supervisor;

	memset(&d, 0, sizeof d);
	start("tests/modules/layout_1.so");
	expect("note", "first", "layout 1: 0 first");
	for (int i = 0; i < 6; i++) {
		pid_t old = t_pid(&d, T_WORKER, "layout");
		supervisor = t_pid(&d, T_SUPERVISOR, NULL);
		use(i % 2 == 0 ? "tests/modules/layout_2.so" : "tests/modules/layout_1.so");
		/* The one that was told the layout is dead when the next one is asked for it. */
		if (i < 3)
			ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
		ck_assert(t_murder(&d, T_WORKER, "layout"));
		if (i >= 3)
			ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
		(void)t_reborn(&d, "layout", old);
		expect("look", NULL, i % 2 == 0 ? "layout 2: 0 first" : "layout 1: 0 first");
		ck_assert_int_ne(t_pid(&d, T_SUPERVISOR, NULL), supervisor);
	}
	t_stashd_stop(&d, 20000);
	ck_assert_str_eq(history(), "1212121");
}
END_TEST

/* ---- no way ---- */

static const struct {
	const char *module, *note, *says;
} no_ways[] = {
	{ "layout_narrow", "x", "field next: 300 doesn't fit into what it is now" },
	{ "layout_bare", "x", "it has no code_change and no fields" },
	{ "layout_longer", "x",
	    "has 24 bytes, its behaviour's has 56 under the same layout_version 1: raise layout_version" },
	{ "layout_other", "x", "has layout layout version 1, its behaviour has another version 1" },
	{ "layout_3", "no way", "code_change of behaviour layout failed" },
};

static const char *
module_of(int i)
{
	static char path[128];

	snprintf(path, sizeof path, "tests/modules/%s.so", no_ways[i].module);
	return path;
}

static void
make_300(const char *note)
{
	struct stash_client *c = t_client(&d);
	char text[64];

	for (int i = 0; i < 300; i++) {
		snprintf(text, sizeof text, "%d", i);
		t_expect_call(c, "layout", "next_number", NULL, text);
	}
	stash_client_close(c);
	snprintf(text, sizeof text, "layout 1: 300 %s", note);
	expect("note", note, text);
}

/* While a stashd runs: the worker isn't there until its module is as before. */
START_TEST(test_no_way)
{
	const char *before = _i == 4 ? "layout 1: 300 no way" : "layout 1: 300 x";

	memset(&d, 0, sizeof d);
	start("tests/modules/layout_1.so");
	make_300(no_ways[_i].note);
	use(module_of(_i));
	ck_assert(t_murder(&d, T_WORKER, "layout"));
	t_wait_output(&d.proc, no_ways[_i].says, 20000);
	use("tests/modules/layout_1.so");
	expect("look", NULL, before);
	/* What failed has left nothing behind by which it would be misread now. */
	replace("tests/modules/layout_2.so");
	expect("look", NULL, _i == 4 ? "layout 2: 300 no way" : "layout 2: 300 x");
	t_stashd_stop(&d, 20000);
	ck_assert_str_eq(history(), "21");
}
END_TEST

/* At the start of a stashd: it says why it can't start, and ends. */
START_TEST(test_no_way_at_the_start)
{
	const char *argv[] = { t_build("stashd"), "-d", NULL, "-f", NULL, NULL };
	struct t_result r;

	memset(&d, 0, sizeof d);
	start("tests/modules/layout_1.so");
	make_300(no_ways[_i].note);
	t_stashd_stop(&d, 20000);
	use(module_of(_i));
	argv[2] = t_store(&d);
	argv[4] = t_path("stashd.conf");
	t_run(&r, NULL, argv);
	ck_assert_int_ne(r.status, 0);
	ck_assert_msg(strstr(r.err, no_ways[_i].says) != NULL, "it says: %s", r.err);
	t_result_free(&r);
	start("tests/modules/layout_1.so");
	expect("next_number", NULL, "300");
	t_stashd_stop(&d, 20000);
	ck_assert_str_eq(history(), "1");
}
END_TEST

START_TEST(test_init_ignores_what_was_changed)
{
	memset(&d, 0, sizeof d);
	start("tests/modules/layout_1.so");
	expect("note", "stay", "layout 1: 0 stay");
	t_stashd_stop(&d, 20000);
	start("tests/modules/layout_3.so"); /* it has nothing to run */
	t_stashd_stop(&d, 20000);
	ck_assert_str_eq(history(), "1");
	start("tests/modules/layout_1.so");
	expect("look", NULL, "layout 1: 0 stay");
	t_stashd_stop(&d, 20000);
}
END_TEST

/* ---- storms ---- */

#define CLIENTS 4
#define IN_FLIGHT 8
#define SECONDS 6

static struct t_numbers *numbers;

static void
note_answer(int64_t ref, struct stash_reply *reply)
{
	int64_t number = -1;

	if (ref <= 0 || reply->error != STASH_OK || stash_parse_int(reply->data, 0, INT64_MAX, &number) != STASH_OK) {
		atomic_store(&numbers->last_error, ref <= 0 ? (int)ref : reply->error);
		atomic_fetch_add(&numbers->errors, 1);
	} else
		t_numbers_add(numbers, number);
	stash_reply_free(reply);
}

/* Keeps some calls in flight, so that batches are of several messages. */
static void
take_numbers(void)
{
	struct stash_client *c = NULL;
	struct stash_reply reply;
	int flying = 0;

	if (stash_client_open(&c, t_store(&d), NULL) < 0)
		_exit(1);
	while (!atomic_load(&numbers->stop) || flying > 0) {
		while (flying < IN_FLIGHT && !atomic_load(&numbers->stop) &&
		    stash_call_start(c, "layout", "next_number", NULL, 0, 60000) > 0)
			flying++;
		if (flying > 0) {
			note_answer(stash_call_next(c, &reply, 60000), &reply);
			flying--;
		}
	}
	stash_client_close(c);
	_exit(0);
}

/* Replaces the module and kills, again and again, often while the next one takes the state over. */
static unsigned
blow(const char *const *modules, int n, int kinds)
{
	int64_t until = stash__now_ns() + SECONDS * STASH__NS_PER_S;
	unsigned changes = 0;

	for (; stash__now_ns() < until; changes++) {
		use(modules[changes % (unsigned)n]);
		(void)t_murder(&d, T_WORKER, "layout");
		for (int i = 0; i < 4; i++) {
			(void)poll(NULL, 0, (int)(arc4random_uniform(8))); /* the pace of the killing */
			(void)t_murder(&d, T_WORKER, "layout");
		}
		if ((kinds & T_STASH) != 0 && changes % 7 == 0)
			(void)t_murder(&d, T_STASH, NULL);
		if ((kinds & T_SUPERVISOR) != 0 && changes % 17 == 0)
			(void)t_murder(&d, T_SUPERVISOR, NULL);
		(void)poll(NULL, 0, 5); /* else no worker would ever be ready */
	}
	return changes;
}

static void
storm(const char *what, const char *const *modules, int n, int kinds)
{
	pid_t pids[CLIENTS];
	unsigned changes;

	numbers = t_numbers_make();
	memset(&d, 0, sizeof d);
	start(modules[n - 1]);
	for (int i = 0; i < CLIENTS; i++) {
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (pids[i] == 0)
			take_numbers();
	}
	changes = blow(modules, n, kinds);
	atomic_store(&numbers->stop, true);
	for (int i = 0; i < CLIENTS; i++) {
		int status;
		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert_int_eq(status, 0);
	}
	printf("%u changes; ", changes);
	t_numbers_check(numbers, what);
	ck_assert_uint_gt(changes, 10);
	t_stashd_stop(&d, 20000);
	ck_assert_uint_ge(strlen(history()), n > 1 ? 4 : 1);
	t_numbers_free(numbers);
}

static const char *const ring[] = { "tests/modules/layout_2.so", "tests/modules/layout_3.so",
	"tests/modules/layout_1.so" };
static const char *const pointer[] = { "tests/modules/layout_4.so" };

START_TEST(test_storm_over_changes)
{
	storm("worker killed over changes of its layout", ring, 3, 0);
}
END_TEST

START_TEST(test_storm_over_changes_all)
{
	storm("all killed over changes of a layout", ring, 3, T_STASH | T_SUPERVISOR);
}
END_TEST

START_TEST(test_storm_over_pointers)
{
	storm("all killed over an encoded state", pointer, 1, T_STASH | T_SUPERVISOR);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("layouts");
	TCase *c = t_case(s, "layouts", 60);

	tcase_add_test(c, test_by_fields_and_back);
	tcase_add_test(c, test_by_code_change);
	tcase_add_test(c, test_by_decode);
	tcase_add_test(c, test_posts_of_a_batch_that_fails);
	tcase_add_test(c, test_over_a_new_supervisor);
	tcase_add_loop_test(c, test_no_way, 0, 5);
	tcase_add_loop_test(c, test_no_way_at_the_start, 0, 5);
	tcase_add_test(c, test_init_ignores_what_was_changed);
	tcase_add_test(c, test_storm_over_changes);
	tcase_add_test(c, test_storm_over_changes_all);
	tcase_add_test(c, test_storm_over_pointers);
	return s;
}

TEST_MAIN(suite)
