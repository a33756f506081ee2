/* SPDX-License-Identifier: ISC */
/*
 * Crash point search: worker, stash, supervisor and client die at each step of a transition, at several passings, with
 * both kinds of ack; afterwards every number was handed out exactly once.  Each point stands for a row of the recovery
 * table, named here as it is named there: who dies, at what.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "testlib_live.h"

#define CALLS 40
#define FLIGHT 4

struct point {
	const char *process, *name;
	int passings[3];
	bool kill_worker; /* the point is passed only when a worker dies */
	const char *row;
};

static const struct point points[] = {
	{ "worker", "worker_taken", { 1, 2, 17 }, false, "worker: in a callback, killed from outside" },
	{ "worker", "worker_replied", { 1, 2, 17 }, false, "worker: while writing a reply or an own send" },
	{ "worker", "entry_before_tail", { 1, 2, 11 }, false, "worker: while writing an entry" },
	{ "worker", "worker_after_tail", { 1, 2, 11 }, false, "worker: out_tail moved, nothing published" },
	{ "worker", "worker_before_publish", { 1, 3, 11 }, false,
	    "worker: out_tail moved, nothing published (box cleared)" },
	{ "worker", "worker_after_publish", { 1, 2, 11 }, false, "worker: some tails moved, or bell not rung" },
	{ "stash", "stash_before_turn", { 1, 2, 5 }, false, "stash: while writing a base" },
	{ "stash", "stash_after_turn", { 1, 2, 5 }, false, "stash: base turned, out_head not moved" },
	{ "stash", "stash_before_commit", { 1, 2, 3 }, false, "stash: before the write transaction" },
	{ "stash", "stash_in_commit", { 1, 2, 3 }, false, "stash: in the write transaction" },
	{ "stash", "stash_after_commit", { 1, 2, 3 }, false, "stash: committed, durable not moved" },
	{ "stash", "stash_before_report", { 1, 2, 3 }, false, "stash: durable moved, bell not rung" },
	{ "stash", "stash_in_retire", { 1, 2, 3 }, true, "stash: in retire, base not turned" },
	{ "stash", "stash_after_retire", { 1, 2, 3 }, true, "stash: retired, answer not sent" },
	{ "supervisor", "sup_before_retire", { 1, 2, 3 }, true, "supervisor: a worker died, status not read" },
	{ "supervisor", "sup_after_retire", { 1, 2, 3 }, true, "supervisor: retire sent, or retired and not reaped" },
	{ "supervisor", "sup_reaped", { 1, 2, 3 }, true, "supervisor: reaped, not noted" },
	{ "supervisor", "sup_forked", { 1, 2, 3 }, true, "supervisor: child forked, not noted" },
	{ "supervisor", "sup_before_go", { 1, 2, 3 }, true, "supervisor: noted, before go" },
	{ "supervisor", "sup_after_go", { 1, 2, 3 }, true, "supervisor: after go, not reported" },
	{ "supervisor", "sup_ready_taken", { 2, 3, 3 }, true, "supervisor: after go, its report taken and not noted" },
	{ "supervisor", "sup_channel_made", { 1, 1, 1 }, false, "supervisor: channel made, not handed out" },
};

#define NPOINTS (int)(sizeof points / sizeof points[0])

static void
start(struct t_stashd *d, const struct point *p, int passing, const char *ack)
{
	static char crash[128], dir[PATH_MAX + 32], store[64];
	static const char *env[] = { crash, dir, NULL };

	snprintf(crash, sizeof crash, "STASH_CRASH=%s:%d:%s", p->name, passing, p->process);
	snprintf(dir, sizeof dir, "STASH_CRASH_DIR=%s", t_dir());
	snprintf(store, sizeof store, "ack = \"%s\";", ack);
	memset(d, 0, sizeof *d);
	d->env = env;
	d->points = true;
	t_stashd_start(d, t_config("sequence", "examples/sequence.so", "\"0\"", "", store));
}

static bool
fired(void *arg)
{
	(void)arg;
	return access(t_path("fired"), F_OK) == 0;
}

/* Some in flight at a time; each answer is a number that wasn't there before. */
static void
take(struct stash_client *c, struct t_numbers *n, int calls)
{
	int started = 0, taken = 0;

	while (taken < calls) {
		struct stash_reply reply;
		int64_t number;
		for (; started < calls && started - taken < FLIGHT; started++) {
			int64_t ref = stash_call_start(c, "sequence", "next_number", NULL, 0, 60000);
			ck_assert_msg(ref > 0, "start: %s", stash_errmsg());
		}
		ck_assert_int_gt(stash_call_next(c, &reply, 60000), 0);
		ck_assert_msg(reply.error == STASH_OK, "%s: %s", stash_errname(reply.error), (const char *)reply.data);
		ck_assert_int_eq(stash_parse_int(reply.data, 0, INT64_MAX, &number), STASH_OK);
		t_numbers_add(n, number);
		stash_reply_free(&reply);
		taken++;
	}
}

static void
search(const struct point *p, int passing, const char *ack)
{
	struct t_numbers *n = t_numbers_make();
	struct t_stashd d;
	struct stash_client *c;
	char what[160];

	snprintf(what, sizeof what, "%s (%s:%d, ack = %s)", p->row, p->name, passing, ack);
	(void)unlink(t_path("fired"));
	start(&d, p, passing, ack);
	c = t_client(&d);
	/* Until somebody has died, and on beyond it. */
	for (int64_t until = stash__now_ns() + 30 * STASH__NS_PER_S; !fired(NULL);) {
		take(c, n, CALLS);
		if (p->kill_worker)
			(void)t_murder(&d, T_WORKER, "sequence");
		ck_assert_msg(stash__now_ns() < until, "%s: nobody passed that point", what);
	}
	take(c, n, CALLS);
	t_numbers_check(n, what);
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
	t_numbers_free(n);
}

START_TEST(test_points_crash)
{
	for (int i = 0; i < 3; i++)
		if (i == 0 || points[_i].passings[i] != points[_i].passings[i - 1])
			search(&points[_i], points[_i].passings[i], "crash");
}
END_TEST

START_TEST(test_points_disk)
{
	for (int i = 0; i < 3; i++)
		if (i == 0 || points[_i].passings[i] != points[_i].passings[i - 1])
			search(&points[_i], points[_i].passings[i], "disk");
}
END_TEST

/* A client dies with its request half written, and with it published: the first has no effect, the second has
 * its one effect. */
START_TEST(test_client_dies)
{
	static const struct {
		const char *point;
		const char *next;
		const char *row;
	} cases[] = { { "client_before_tail:1", "0", "client: writing a request" },
		{ "client_after_tail:1", "1", "client: req_tail moved, not rung" } };

	for (int i = 0; i < 2; i++) {
		struct t_stashd d = { .points = true };
		struct t_proc ctl;
		struct stash_client *c;
		char crash[64];
		const char *env[] = { crash, NULL };
		const char *argv[] = { t_points("stashctl"), "-d", NULL, "call", "sequence", "next_number", NULL };
		t_remove_tree(t_path("store"));
		t_stashd_start(&d, t_config("sequence", "examples/sequence.so", "\"0\"", "", ""));
		argv[2] = t_store(&d);
		snprintf(crash, sizeof crash, "STASH_CRASH=%s", cases[i].point);
		t_spawn(&ctl, argv, env);
		ck_assert_msg(t_wait(&ctl, 20000) == 256 + SIGKILL, "%s", cases[i].row);
		/* Its channel goes when all of it is handled: then the number shows. */
		c = t_client(&d);
		for (int64_t until = stash__now_ns() + 20 * STASH__NS_PER_S; i == 1;) {
			struct stash_store *s;
			struct stash_state state;
			int result;
			bool handled;
			ck_assert_int_eq(stash_store_open(&s, t_store(&d), NULL), STASH_OK);
			/* Before its first number it has changed nothing, and there is no state. */
			result = stash_store_read(s, "sequence", &state);
			ck_assert_msg(result == STASH_OK || result == STASH_E_NOENT, "%s", stash_errmsg());
			stash_store_close(s);
			handled = state.len == 8 && *(int64_t *)state.data == 1;
			stash_state_free(&state);
			if (handled)
				break;
			ck_assert_msg(stash__now_ns() < until, "%s: not handled", cases[i].row);
		}
		t_expect_call(c, "sequence", "next_number", NULL, cases[i].next);
		stash_client_close(c);
		t_stashd_stop(&d, 20000);
	}
}
END_TEST

/* Everything at once, and a new start: the sequence goes on. */
START_TEST(test_all_die)
{
	struct t_stashd d = { .points = false };
	char text[16];

	for (int i = 0; i < 5; i++) {
		struct stash_client *c;
		t_stashd_start(&d, t_config("sequence", "examples/sequence.so", "\"0\"", "", ""));
		c = t_client(&d);
		for (int k = 0; k < 3; k++) {
			snprintf(text, sizeof text, "%d", 3 * i + k);
			t_expect_call(c, "sequence", "next_number", NULL, text);
		}
		stash_client_close(c);
		t_murder_all(&d);
	}
	t_stashd_start(&d, NULL);
	t_stashd_stop(&d, 20000);
}
END_TEST

/* The supervisor dies when its tree has ended and nobody knows it yet: the next one says so, and all end. */
START_TEST(test_tree_ended)
{
	static const struct point p = { "supervisor", "sup_tree_ended", { 1, 0, 0 }, false, "" };
	struct t_stashd d;
	int status;

	start(&d, &p, 1, "crash");
	t_kill(&d.proc, SIGTERM);
	status = t_wait(&d.proc, 20000);
	ck_assert(fired(NULL));
	ck_assert_msg(status >= 0 && status < 256, "stashd ended with %d", status);
	t_no_children(20000);
}
END_TEST

/* The supervisor dies with a child's word in hand that it is to be ignored: the next one finds that it has said so. */
START_TEST(test_ignored)
{
	static const char *env[] = { "STASH_CRASH=sup_ignore_taken:1:supervisor", NULL, NULL };
	struct t_stashd d = { .env = env, .points = true };
	const char *child = t_build("tests/modules/child.so");
	char dir[PATH_MAX + 32], text[3 * PATH_MAX];
	struct stash_client *c;
	struct stash_process process;

	snprintf(dir, sizeof dir, "STASH_CRASH_DIR=%s", t_dir());
	env[1] = dir;
	snprintf(text, sizeof text,
	    "tree = { intensity = 0; children = ( { id = \"i\"; module = \"%s\"; args = [\"ignore\"]; },"
	    " { id = \"c\"; module = \"%s\"; } ); };",
	    child, child);
	t_stashd_start(&d, text);
	t_wait_output(&d.proc, "up: ", 20000);
	ck_assert(fired(NULL));
	c = t_client(&d);
	t_expect_call(c, "c", "count", NULL, "1");
	ck_assert_int_eq(stash_whereis(c, "i", &process), STASH_OK);
	ck_assert_int_eq(process.status, STASH_STOPPED);
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("points");
	TCase *c = t_case(s, "points", 120);

	tcase_add_loop_test(c, test_points_crash, 0, NPOINTS);
	tcase_add_loop_test(c, test_points_disk, 0, NPOINTS);
	tcase_add_test(c, test_client_dies);
	tcase_add_test(c, test_all_die);
	tcase_add_test(c, test_tree_ended);
	c = t_case(s, "words", 60);
	tcase_add_test(c, test_ignored);
	return s;
}

TEST_MAIN(suite)
