/* SPDX-License-Identifier: ISC */
/*
 * Another specification for a tree that runs: what is stopped and started, in
 * which order, and that all else goes on; what holds for random pairs of trees,
 * with takeovers in the midst; and the steps that are told beforehand.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "testlib.h"
#include "testlib_tree.h"

Suite *tree_reload_suite(void);

static struct t_tree t;

static void
begin(const char *spec)
{
	t_tree_start(&t, spec);
	t_tree_settle(&t);
}

static enum sup_state
state_of(const char *path)
{
	const struct sup_node *n = sup_find_path(t.sup, path);

	ck_assert_msg(n != NULL, "there is no %s", path);
	return sup_node_state(n);
}

/* ---- one thing after the other ---- */

START_TEST(the_same_again_does_nothing)
{
	begin("root(a b[transient] s[one_for_all](x y) p[simple](t))");
	t_tree_reload(&t, 1, "root(a b[transient] s[one_for_all](x y) p[simple](t))");
	t_tree_is(&t, "REPLY 1 ok");
	t_tree_close(&t);
}
END_TEST

START_TEST(removed_changed_and_added_children_in_order)
{
	begin("root[rest_for_one](a b c d e)");
	t_tree_reload(&t, 1, "root[rest_for_one](n a c[500ms] m e[500ms])");
	t_tree_is(&t, "SIGNAL root/e");
	t_tree_exit(&t, "root/e", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "STOPPED root/e shutdown; SIGNAL root/d");
	t_tree_exit(&t, "root/d", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "GONE root/d; STOPPED root/d shutdown; SIGNAL root/c");
	t_tree_exit(&t, "root/c", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "STOPPED root/c shutdown; SIGNAL root/b");
	t_tree_exit(&t, "root/b", STASH_REASON_CRASH);
	t_tree_is(&t, "GONE root/b; STOPPED root/b crash; START root/n");
	t_tree_ready(&t, "root/n");
	t_tree_is(&t, "STARTED root/n; START root/c");
	t_tree_ready(&t, "root/c");
	t_tree_is(&t, "STARTED root/c; START root/m");
	t_tree_ready(&t, "root/m");
	t_tree_is(&t, "STARTED root/m; START root/e");
	t_tree_ready(&t, "root/e");
	t_tree_is(&t, "STARTED root/e; REPLY 1 ok");
	/* the new order counts: rest_for_one begins at c */
	t_tree_exit(&t, "root/c", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/c crash; RESTARTING root/c; SIGNAL root/e");
	t_tree_close(&t);
}
END_TEST

START_TEST(flags_are_taken_over_without_a_restart)
{
	begin("root[intensity=0](s[intensity=0](x y) a)");
	t_tree_reload(&t, 1, "root[intensity=3](s[one_for_all,intensity=5,period=9](x y) a)");
	t_tree_is(&t, "REPLY 1 ok");
	t_tree_exit(&t, "root/a", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/a crash; RESTARTING root/a; START root/a");
	t_tree_exit(&t, "root/s/x", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/s/x crash; RESTARTING root/s/x; SIGNAL root/s/y");
	t_tree_takeover(&t, false);
	ck_assert_int_eq(sup_node_spec(sup_find_path(t.sup, "root/s"))->period_s, 9);
	t_tree_close(&t);
}
END_TEST

START_TEST(branches_come_and_go)
{
	begin("root(a s(x y) b)");
	t_tree_reload(&t, 1, "root(a b u(v w(z)))");
	t_tree_is(&t, "SIGNAL root/s/y");
	t_tree_exit(&t, "root/s/y", STASH_REASON_SHUTDOWN);
	t_tree_exit(&t, "root/s/x", STASH_REASON_SHUTDOWN);
	t_tree_is(&t,
	    "GONE root/s/y; GONE root/s/x; STOPPED root/s/y shutdown; SIGNAL root/s/x; STOPPED root/s/x shutdown; "
	    "STOPPED root/s shutdown; START root/u/v");
	t_tree_ready(&t, "root/u/v");
	t_tree_ready(&t, "root/u/w/z");
	t_tree_is(
	    &t, "STARTED root/u/v; START root/u/w/z; STARTED root/u/w/z; STARTED root/u/w; STARTED root/u; REPLY 1 ok");
	t_tree_close(&t);
}
END_TEST

START_TEST(a_worker_becomes_a_supervisor)
{
	begin("root(a b c)");
	t_tree_reload(&t, 1, "root(a b(x) c)");
	t_tree_is(&t, "SIGNAL root/b");
	t_tree_exit(&t, "root/b", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "GONE root/b; STOPPED root/b shutdown; START root/b/x");
	t_tree_settle(&t);
	ck_assert_str_eq(sup_node_path(sup_next(t.sup, sup_find_path(t.sup, "root/b/x"))), "root/c");
	t_tree_close(&t);
}
END_TEST

START_TEST(what_was_added_or_stopped_by_hand_is_left_alone)
{
	begin("root(a b c)");
	t_tree_add(&t, 1, "root", "d");
	t_tree_settle(&t);
	t_tree_ask(&t, 2, SUP_TERMINATE_CHILD, "root", "b");
	t_tree_exit(&t, "root/b", STASH_REASON_SHUTDOWN);
	(void)t_tree_log(&t);
	t_tree_reload(&t, 3, "root(a b n)");
	t_tree_is(&t, "SIGNAL root/c");
	t_tree_exit(&t, "root/c", STASH_REASON_SHUTDOWN);
	t_tree_settle(&t);
	ck_assert_int_eq(state_of("root/d"), SUP_RUNNING);
	ck_assert_int_eq(state_of("root/b"), SUP_DOWN);
	/* it stays the last one; one that is changed is started */
	t_tree_reload(&t, 4, "root(a b[500ms] n)");
	t_tree_is(&t, "START root/b");
	t_tree_ready(&t, "root/b");
	t_tree_is(&t, "STARTED root/b; REPLY 4 ok");
	/* and one that the config has now is no other one for that */
	t_tree_reload(&t, 5, "root(d a b[500ms] n)");
	t_tree_is(&t, "REPLY 5 ok");
	t_tree_reload(&t, 6, "root(a b[500ms] n)");
	t_tree_is(&t, "SIGNAL root/d");
	t_tree_close(&t);
}
END_TEST

START_TEST(a_temporary_child_that_has_ended_is_no_new_one)
{
	begin("root(a b[temporary])");
	t_tree_exit(&t, "root/b", STASH_REASON_NORMAL);
	(void)t_tree_log(&t);
	t_tree_reload(&t, 1, "root(a b[temporary])");
	t_tree_is(&t, "REPLY 1 ok");
	t_tree_reload(&t, 2, "root(a b[temporary,500ms])");
	t_tree_is(&t, "START root/b");
	t_tree_close(&t);
}
END_TEST

START_TEST(a_template_counts_for_what_is_started_from_then_on)
{
	begin("root(p[simple,intensity=9](t))");
	t_tree_ask(&t, 1, SUP_START_CHILD, "root/p", "one");
	t_tree_settle(&t);
	t_tree_reload(&t, 2, "root(p[simple,intensity=9](t[brutal]))");
	t_tree_is(&t, "REPLY 2 ok");
	ck_assert_int_eq(sup_node_spec(sup_find_path(t.sup, "root/p/one"))->shutdown_ms, STASH_BRUTAL_KILL);
	t_tree_takeover(&t, false);
	ck_assert_int_eq(sup_node_spec(sup_find_path(t.sup, "root/p/one"))->shutdown_ms, STASH_BRUTAL_KILL);
	t_tree_close(&t);
}
END_TEST

START_TEST(a_name_that_moves_is_waited_for)
{
	begin("root(s(a[name=x]) u(b))");
	t_tree_reload(&t, 1, "root(s(c) u(b d[name=x]))");
	t_tree_is(&t, "SIGNAL root/s/a");
	t_tree_exit(&t, "root/s/a", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "GONE root/s/a; STOPPED root/s/a shutdown; START root/s/c; START root/u/d");
	ck_assert_ptr_eq(sup_find_name(t.sup, "x"), sup_find_path(t.sup, "root/u/d"));
	t_tree_close(&t);
}
END_TEST

START_TEST(a_start_that_fails_is_told_and_the_rest_goes_on)
{
	begin("root(a)");
	t_tree_reload(&t, 1, "root(n a m)");
	t_tree_is(&t, "START root/n");
	t_tree_failed(&t, "root/n");
	t_tree_is(&t, "FAILED root/n init_error; START root/m");
	t_tree_ready(&t, "root/m");
	t_tree_is(&t, "STARTED root/m; REPLY 1 STASH_E_START root/n init_error");
	ck_assert_int_eq(state_of("root/n"), SUP_DOWN);
	t_tree_ask(&t, 2, SUP_RESTART_CHILD, "root", "n");
	t_tree_is(&t, "START root/n");
	t_tree_close(&t);
}
END_TEST

START_TEST(during_the_start_new_ones_find_their_place)
{
	t_tree_start(&t, "root(a b c)");
	t_tree_ready(&t, "root/a");
	t_tree_is(&t, "START root/a; STARTED root/a; START root/b");
	t_tree_reload(&t, 1, "root(b n a[500ms] m)");
	t_tree_is(&t, "GONE root/c");
	t_tree_ready(&t, "root/b");
	t_tree_is(&t, "STARTED root/b; START root/n");
	t_tree_ready(&t, "root/n");
	t_tree_is(&t, "STARTED root/n; START root/m");
	t_tree_ready(&t, "root/m");
	t_tree_is(&t, "STARTED root/m; STARTED root; UP; SIGNAL root/a");
	t_tree_exit(&t, "root/a", STASH_REASON_SHUTDOWN);
	t_tree_ready(&t, "root/a");
	t_tree_is(&t, "STOPPED root/a shutdown; START root/a; STARTED root/a; REPLY 1 ok");
	t_tree_close(&t);
}
END_TEST

START_TEST(it_goes_on_after_a_takeover)
{
	begin("root(a s(x) b)");
	t_tree_reload(&t, 1, "root(a[500ms] s(x[500ms] y) n)");
	t_tree_is(&t, "SIGNAL root/s/x; SIGNAL root/b");
	t_tree_takeover(&t, false);
	t_tree_is(&t, "SIGNAL root/s/x; SIGNAL root/b");
	t_tree_exit(&t, "root/b", STASH_REASON_SHUTDOWN);
	t_tree_exit(&t, "root/s/x", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "GONE root/b; STOPPED root/b shutdown; SIGNAL root/a; STOPPED root/s/x shutdown; START root/s/x");
	t_tree_takeover(&t, false);
	t_tree_is(&t, "SIGNAL root/a");
	t_tree_ready(&t, "root/s/x");
	t_tree_exit(&t, "root/a", STASH_REASON_SHUTDOWN);
	t_tree_settle(&t);
	ck_assert_int_eq(state_of("root/a"), SUP_RUNNING);
	ck_assert_int_eq(state_of("root/n"), SUP_RUNNING);
	ck_assert_int_eq(state_of("root/s/y"), SUP_RUNNING);
	t_tree_close(&t);
}
END_TEST

/* A temporary child goes with its group, but not one that is to be renewed. */
START_TEST(a_temporary_child_that_is_renewed_starts_with_its_group)
{
	begin("root[one_for_all](u v b[temporary])");
	t.statuses = true;
	t_tree_exit(&t, "root/u", STASH_REASON_CRASH);
	t_tree_is(&t, "root/u restarting; root/b stopping; STOPPED root/u crash; RESTARTING root/u; SIGNAL root/b");
	t_tree_reload(&t, 1, "root[one_for_all](u v b[temporary,500ms])");
	t_tree_is(&t, "");
	t_tree_exit(&t, "root/b", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "root/b restarting; root/v stopping; STOPPED root/b shutdown; SIGNAL root/v");
	t_tree_exit(&t, "root/v", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "root/v restarting; STOPPED root/v shutdown; START root/u");
	t_tree_close(&t);
}
END_TEST

START_TEST(what_is_wrong_changes_nothing)
{
	static const char *const wrong[] = { "root(a a)", "other(a)", "root[simple](a)", "root[intensity=-3](a)",
		"root(a[significant])", "root(a s[simple](x y))" };
	size_t i;

	begin("root(a b)");
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ck_assert_msg(sup_reload(t.sup, t_spec(wrong[i]), 1, t.now) == STASH_E_SPEC, "%s", wrong[i]);
		t_tree_is(&t, "");
	}
	ck_assert_int_eq(sup_stop(t.sup, t.now), 0);
	ck_assert_int_eq(sup_reload(t.sup, t_spec("root(a)"), 1, t.now), STASH_E_DOWN);
	t_tree_close(&t);
}
END_TEST

/* ---- the steps ---- */

static void
write_step(void *arg, const struct sup_step *step)
{
	static const char *const words[] = { "", "flags", "remove", "change", "add" };

	fprintf(arg, "; %s %s", words[step->kind], step->path);
	if (step->fields != 0)
		fprintf(arg, " %#x", step->fields);
}

START_TEST(the_steps_are_told_beforehand)
{
	struct sup_spec *spec = t_spec("root[intensity=4](m(n) c s[intensity=2](x[500ms]) a[transient,name=z])");
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	begin("root(a b s(x y) c)");
	ck_assert_int_eq(sup_reload_steps(t.sup, spec, write_step, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_str_eq(text,
	    "; flags root 0x1400; remove root/b; add root/m; add root/m/n; flags root/s 0x400; "
	    "remove root/s/y; change root/s/x 0x20; change root/a 0xa");
	t_tree_is(&t, "");
	free(text);
	sup_spec_unref(spec);
	t_tree_close(&t);
}
END_TEST

/* ---- when everything was dead ---- */

START_TEST(after_a_crash_of_all_the_stored_tree_is_changed_before_it_starts)
{
	begin("root[intensity=1](a b s(x) c)");
	t_tree_add(&t, 1, "root", "d");
	t_tree_settle(&t);
	t_tree_exit(&t, "root/a", STASH_REASON_CRASH);
	t_tree_settle(&t);
	sup_destroy(t.sup);
	t.sup = sup_create(NULL);
	ck_assert_int_eq(sup_restore(t.sup, t.rows.row, t.rows.count), 0);
	ck_assert_int_eq(sup_begin_anew(t.sup, t_spec("root[intensity=1](n a[500ms] s(y x))"), false, t.now), 0);
	t_tree_is(&t, "GONE root/b; GONE root/c; START root/n");
	t_tree_ready(&t, "root/n");
	t_tree_is(&t, "STARTED root/n; START root/a");
	t_tree_ready(&t, "root/a");
	t_tree_is(&t, "STARTED root/a; START root/s/y");
	t_tree_ready(&t, "root/s/y");
	t_tree_ready(&t, "root/s/x");
	t_tree_is(&t, "STARTED root/s/y; START root/s/x; STARTED root/s/x; STARTED root/s; START root/d");
	t_tree_ready(&t, "root/d");
	t_tree_is(&t, "STARTED root/d; STARTED root; UP");
	/* on the same boot the budget is as it was */
	t_tree_exit(&t, "root/n", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/n crash; ESCALATED root; SIGNAL root/d");
	t_tree_close(&t);
}
END_TEST

/* ---- random pairs ---- */

static uint64_t seed;

static unsigned
chance(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 11) % n);
}

/* Names are by path, so that none occurs twice. */
static struct sup_spec *
some_tree(const char *id, const char *above, int depth)
{
	static const char *const ids[] = { "a", "b", "c", "d", "e", "f" };
	struct sup_spec *s = sup_spec_create(SUP_SUPERVISOR, id, NULL), *c;
	unsigned first = chance(6), i;
	char name[64];

	s->strategy = (int32_t)chance(3);
	s->intensity = (int32_t)chance(9);
	for (i = 0; i < 6; i++) {
		const char *child = ids[(first * (1 + depth) + i) % 6];

		snprintf(name, sizeof(name), "%s-%s", above, child);
		if (chance(3) == 0)
			continue;
		if (depth < 2 && chance(4) == 0) {
			c = some_tree(child, name, depth + 1);
		} else {
			c = sup_spec_create(SUP_WORKER, child, name);
			c->restart = (int32_t)chance(2);
			c->shutdown_ms = chance(3) == 0 ? 500 : 5000;
		}
		ck_assert_int_eq(sup_spec_add_child(s, c), 0);
	}
	return s;
}

static bool
is_dynamic(const char *id)
{
	return strncmp(id, "dyn", 3) == 0;
}

/* The tree is what the specification says, in its order, and what was added stands behind. */
static void
check_tree(const struct sup_node *n, const struct sup_spec *spec)
{
	const struct sup_node *c = NULL;
	size_t i = 0;

	ck_assert(sup_spec_compare(sup_node_spec(n), spec) == 0);
	ck_assert_int_eq(sup_node_state(n), SUP_RUNNING);
	for (c = sup_next(t.sup, n); c != NULL; c = sup_next(t.sup, c)) {
		if (sup_node_above(c) != n)
			continue;
		if (is_dynamic(sup_node_id(c))) {
			ck_assert_uint_eq(i, spec->nchildren);
			ck_assert_int_eq(sup_node_state(c), SUP_RUNNING);
			continue;
		}
		ck_assert_uint_lt(i, spec->nchildren);
		ck_assert_str_eq(sup_node_id(c), spec->children[i]->id);
		ck_assert_str_eq(sup_node_name(c), spec->children[i]->name);
		ck_assert(sup_spec_compare(sup_node_spec(c), spec->children[i]) == 0);
		if (spec->children[i]->kind == SUP_SUPERVISOR)
			check_tree(c, spec->children[i]);
		else
			ck_assert_int_eq(sup_node_state(c), SUP_RUNNING);
		i++;
	}
	ck_assert_uint_eq(i, spec->nchildren);
}

#define KEPT_MAX 300 /* three levels of six, and those that were added */

/* Those that no step names have the same process before and after. */
struct kept {
	char path[KEPT_MAX][128];
	uint64_t start[KEPT_MAX];
	size_t count;
};

static void
drop_kept(void *arg, const struct sup_step *step)
{
	struct kept *k = arg;
	size_t i;

	if (step->kind == SUP_STEP_FLAGS)
		return;
	for (i = 0; i < k->count; i++) {
		size_t len = strlen(step->path);

		if (strncmp(k->path[i], step->path, len) == 0 && (k->path[i][len] == '\0' || k->path[i][len] == '/'))
			k->start[i] = 0;
	}
}

static void
note_kept(struct kept *k)
{
	const struct sup_node *n;

	k->count = 0;
	for (n = sup_next(t.sup, NULL); n != NULL; n = sup_next(t.sup, n)) {
		ck_assert_uint_lt(k->count, KEPT_MAX);
		snprintf(k->path[k->count], sizeof(k->path[0]), "%s", sup_node_path(n));
		k->start[k->count++] = sup_node_start(n);
	}
}

static void
check_kept(const struct kept *k)
{
	size_t i;

	for (i = 0; i < k->count; i++) {
		if (k->start[i] == 0)
			continue;
		ck_assert_msg(sup_find_path(t.sup, k->path[i]) != NULL, "%s is gone", k->path[i]);
		ck_assert_msg(sup_node_start(sup_find_path(t.sup, k->path[i])) == k->start[i], "%s was started again",
		    k->path[i]);
	}
}

/* Workers do what they are asked to, until nothing is left to do; sometimes the machine is replaced. */
static void
carry_out(bool takeovers)
{
	const struct sup_node *n;
	bool busy = true;

	while (busy) {
		(void)t_tree_log(&t);
		if (takeovers && chance(4) == 0)
			t_tree_takeover(&t, false);
		(void)t_tree_log(&t);
		busy = false;
		for (n = sup_next(t.sup, NULL); n != NULL && !busy; n = sup_next(t.sup, n)) {
			if (sup_node_spec(n)->kind != SUP_WORKER)
				continue;
			busy = sup_node_state(n) == SUP_STARTING || sup_node_state(n) == SUP_STOPPING;
			if (sup_node_state(n) == SUP_STARTING)
				sup_ready(t.sup, sup_node_handle(n), sup_node_start(n), t.now);
			else if (busy)
				sup_exited(t.sup, sup_node_handle(n), sup_node_start(n), STASH_REASON_SHUTDOWN, t.now);
			if (busy)
				break;
		}
	}
}

static void
one_pair(void)
{
	struct sup_spec *before = some_tree("root", "n", 0), *after = some_tree("root", "n", 0);
	bool takeovers = chance(2) == 0;
	static struct kept kept;
	uint64_t last;

	t_tree_open(&t);
	ck_assert_int_eq(sup_start(t.sup, before, t.now), 0);
	carry_out(false);
	t_tree_add(&t, 1, "root", "dyn1");
	t_tree_add(&t, 2, "root", "dyn2(dyna dynb)");
	carry_out(false);
	note_kept(&kept);
	ck_assert_int_eq(sup_reload_steps(t.sup, after, drop_kept, &kept), 0);
	ck_assert_int_eq(sup_reload(t.sup, sup_spec_ref(after), 3, t.now), 0);
	carry_out(takeovers);
	check_tree(sup_root(t.sup), after);
	check_kept(&kept);
	/* once more is nothing */
	last = sup_node_start(sup_root(t.sup));
	ck_assert_int_eq(sup_reload(t.sup, after, 4, t.now), 0);
	t_tree_is(&t, "REPLY 4 ok");
	ck_assert_uint_eq(sup_node_start(sup_root(t.sup)), last);
	t_tree_close(&t);
}

START_TEST(random_pairs)
{
	const char *given = getenv("STASH_TEST_SEED");

	seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000003 + (uint64_t)_i;
	seed = seed == 0 ? 1 : seed;
	printf("STASH_TEST_SEED=%ju\n", (uintmax_t)seed);
	fflush(stdout);
	for (int i = 0; i < 400; i++)
		one_pair();
}
END_TEST

Suite *
tree_reload_suite(void)
{
	Suite *s = suite_create("tree_reload");
	TCase *c = t_case(s, "reload", 20), *r = t_case(s, "pairs", 60);

	tcase_add_test(c, the_same_again_does_nothing);
	tcase_add_test(c, removed_changed_and_added_children_in_order);
	tcase_add_test(c, flags_are_taken_over_without_a_restart);
	tcase_add_test(c, branches_come_and_go);
	tcase_add_test(c, a_worker_becomes_a_supervisor);
	tcase_add_test(c, what_was_added_or_stopped_by_hand_is_left_alone);
	tcase_add_test(c, a_temporary_child_that_has_ended_is_no_new_one);
	tcase_add_test(c, a_template_counts_for_what_is_started_from_then_on);
	tcase_add_test(c, a_name_that_moves_is_waited_for);
	tcase_add_test(c, a_start_that_fails_is_told_and_the_rest_goes_on);
	tcase_add_test(c, during_the_start_new_ones_find_their_place);
	tcase_add_test(c, it_goes_on_after_a_takeover);
	tcase_add_test(c, a_temporary_child_that_is_renewed_starts_with_its_group);
	tcase_add_test(c, what_is_wrong_changes_nothing);
	tcase_add_test(c, the_steps_are_told_beforehand);
	tcase_add_test(c, after_a_crash_of_all_the_stored_tree_is_changed_before_it_starts);
	tcase_add_loop_test(r, random_pairs, 0, 4);
	return s;
}

TEST_MAIN(tree_reload_suite)
