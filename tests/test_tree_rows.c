/* SPDX-License-Identifier: ISC */
/*
 * The rows of a tree: what a successor finds in them on the same boot and on
 * another one, and that damaged ones are refused or do no harm.
 */
#include <stdlib.h>
#include <string.h>

#include "testlib.h"
#include "testlib_tree.h"

Suite *tree_rows_suite(void);

static struct t_tree t;

static void
begin(const char *spec)
{
	t_tree_start(&t, spec);
	t_tree_settle(&t);
}

/* ---- the same boot ---- */

START_TEST(running_workers_go_on)
{
	uint64_t start;

	begin("root(a[name=n] s(x y))");
	start = sup_node_start(sup_find_path(t.sup, "root/s/x"));
	t_tree_takeover(&t, false);
	t_tree_is(&t, "");
	ck_assert_str_eq(sup_node_path(sup_find_name(t.sup, "n")), "root/a");
	ck_assert_uint_eq(sup_node_start(sup_find_path(t.sup, "root/s/x")), start);
	t_tree_exit(&t, "root/s/x", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/s/x crash; RESTARTING root/s/x; START root/s/x");
	ck_assert_uint_gt(sup_node_start(sup_find_path(t.sup, "root/s/x")), start);
	t_tree_close(&t);
}
END_TEST

START_TEST(a_used_up_budget_stays_used_up)
{
	begin("root[intensity=2,period=10](a)");
	t_tree_exit(&t, "root/a", STASH_REASON_CRASH);
	t_tree_settle(&t);
	t_tree_sleep(&t, 5000);
	t_tree_takeover(&t, false);
	t_tree_exit(&t, "root/a", STASH_REASON_CRASH);
	t_tree_settle(&t);
	ck_assert_uint_eq(sup_node_restarts(sup_find_path(t.sup, "root/a")), 2);
	t_tree_takeover(&t, false);
	t_tree_exit(&t, "root/a", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/a crash; ESCALATED root; STOPPED root shutdown; DONE STASH_E_ESCALATED");
	t_tree_close(&t);
}
END_TEST

START_TEST(a_stop_goes_on)
{
	begin("root(a b[500ms])");
	ck_assert_int_eq(sup_stop(t.sup, t.now), 0);
	t_tree_is(&t, "SIGNAL root/b");
	t_tree_sleep(&t, 400);
	t_tree_takeover(&t, false);
	t_tree_is(&t, "SIGNAL root/b");
	t_tree_sleep(&t, 99);
	t_tree_is(&t, "");
	t_tree_sleep(&t, 1);
	t_tree_is(&t, "TOO_LATE root/b; KILL root/b");
	t_tree_takeover(&t, false);
	t_tree_is(&t, "KILL root/b");
	t_tree_exit(&t, "root/b", STASH_REASON_KILLED);
	t_tree_is(&t, "STOPPED root/b killed; SIGNAL root/a");
	t_tree_exit(&t, "root/a", STASH_REASON_SHUTDOWN);
	t_tree_is(&t, "STOPPED root/a shutdown; STOPPED root shutdown; DONE ok");
	t_tree_takeover(&t, false);
	t_tree_is(&t, "");
	ck_assert_int_eq(sup_verdict(t.sup), 0);
	t_tree_close(&t);
}
END_TEST

START_TEST(a_longer_start_goes_on)
{
	const struct sup_node *n;

	t_tree_start(&t, "root(a[timeout=100])");
	(void)t_tree_log(&t);
	n = sup_find_path(t.sup, "root/a");
	sup_extend(t.sup, sup_node_handle(n), sup_node_start(n), t.now + 500 * T_MS);
	t_tree_is(&t, "");
	t_tree_takeover(&t, false);
	t_tree_sleep(&t, 499);
	t_tree_is(&t, "");
	t_tree_sleep(&t, 1);
	t_tree_is(&t, "TOO_LATE root/a timeout; KILL root/a");
	t_tree_close(&t);
}
END_TEST

START_TEST(how_it_ended_is_known)
{
	begin("root[intensity=0](a)");
	t_tree_exit(&t, "root/a", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/a crash; ESCALATED root; STOPPED root shutdown; DONE STASH_E_ESCALATED");
	t_tree_takeover(&t, false);
	ck_assert_int_eq(sup_verdict(t.sup), STASH_E_ESCALATED);
	t_tree_close(&t);
	t_tree_start(&t, "root(a)");
	t_tree_failed(&t, "root/a");
	(void)t_tree_log(&t);
	t_tree_takeover(&t, false);
	ck_assert_int_eq(sup_verdict(t.sup), STASH_E_START);
	t_tree_close(&t);
}
END_TEST

START_TEST(a_worker_that_was_never_let_go_is_started_again)
{
	const struct sup_node *n;
	uint64_t start;

	begin("root[intensity=1](a b)");
	t_tree_exit(&t, "root/a", STASH_REASON_CRASH);
	(void)t_tree_log(&t);
	t_tree_takeover(&t, false);
	t_tree_is(&t, "");
	n = sup_find_path(t.sup, "root/a");
	start = sup_node_start(n);
	sup_lost(t.sup, sup_node_handle(n), start, t.now);
	t_tree_is(&t, "START root/a");
	ck_assert_uint_gt(sup_node_start(n), start);
	t_tree_ready(&t, "root/a");
	n = sup_find_path(t.sup, "root/b");
	sup_lost(t.sup, sup_node_handle(n), sup_node_start(n), t.now);
	t_tree_is(&t, "STARTED root/a; STOPPED root/b killed; ESCALATED root; SIGNAL root/a");
	t_tree_close(&t);
}
END_TEST

static void
bereave(const char *path)
{
	const struct sup_node *n = sup_find_path(t.sup, path);

	sup_bereaved(t.sup, sup_node_handle(n), sup_node_start(n), t.now);
}

START_TEST(a_worker_that_died_with_its_supervisor_is_not_counted)
{
	begin("root[intensity=0](a b[transient] c[temporary])");
	t_tree_takeover(&t, false);
	bereave("root/a");
	t_tree_is(&t, "STOPPED root/a killed; RESTARTING root/a; START root/a");
	t_tree_ready(&t, "root/a");
	bereave("root/b");
	t_tree_is(&t, "STARTED root/a; STOPPED root/b killed; RESTARTING root/b; START root/b");
	/* before its init was over: as one that was never let go */
	t_tree_takeover(&t, false);
	bereave("root/b");
	t_tree_is(&t, "START root/b");
	t_tree_ready(&t, "root/b");
	bereave("root/c");
	t_tree_is(&t, "GONE root/c; STARTED root/b; STOPPED root/c killed");
	ck_assert_ptr_null(sup_find_path(t.sup, "root/c"));
	/* Its own next death is its own fault again. */
	t_tree_exit(&t, "root/a", STASH_REASON_KILLED);
	t_tree_is(&t, "STOPPED root/a killed; ESCALATED root; SIGNAL root/b");
	t_tree_close(&t);
}
END_TEST

START_TEST(a_group_that_died_with_its_supervisor_is_not_counted)
{
	begin("root[one_for_all,intensity=0](a b)");
	t_tree_takeover(&t, false);
	bereave("root/b");
	bereave("root/a");
	(void)t_tree_log(&t);
	t_tree_settle(&t);
	ck_assert_int_eq(sup_node_state(sup_find_path(t.sup, "root/a")), SUP_RUNNING);
	ck_assert_int_eq(sup_node_state(sup_find_path(t.sup, "root/b")), SUP_RUNNING);
	t_tree_exit(&t, "root/a", STASH_REASON_CRASH);
	t_tree_is(&t, "STOPPED root/a crash; ESCALATED root; SIGNAL root/b");
	t_tree_close(&t);
}
END_TEST

/* The supervisor node is busy when it happens, and the process dies again before it comes to it. */
START_TEST(that_it_is_not_counted_outlives_the_next_one_too)
{
	begin("root[intensity=0](a)");
	t_tree_add(&t, 1, "root", "d");
	t_tree_is(&t, "START root/d");
	t_tree_takeover(&t, false);
	bereave("root/a");
	t_tree_takeover(&t, false);
	t_tree_ready(&t, "root/d");
	ck_assert_ptr_nonnull(strstr(t_tree_log(&t), "RESTARTING root/a; START root/a"));
	t_tree_close(&t);
}
END_TEST

START_TEST(what_was_added_is_kept_and_what_was_deleted_is_gone)
{
	begin("root(a b p[simple](t))");
	t_tree_add(&t, 1, "root", "s[one_for_all](x y(z[temporary]))");
	t_tree_settle(&t);
	t_tree_ask(&t, 2, SUP_START_CHILD, "root/p", "one");
	t_tree_settle(&t);
	t_tree_ask(&t, 3, SUP_TERMINATE_CHILD, "root", "b");
	t_tree_exit(&t, "root/b", STASH_REASON_SHUTDOWN);
	t_tree_ask(&t, 4, SUP_DELETE_CHILD, "root", "b");
	(void)t_tree_log(&t);
	t_tree_takeover(&t, false);
	t_tree_is(&t, "");
	ck_assert_ptr_null(sup_find_path(t.sup, "root/b"));
	ck_assert_int_eq(sup_node_state(sup_find_path(t.sup, "root/p/one")), SUP_RUNNING);
	t_tree_exit(&t, "root/s/x", STASH_REASON_CRASH);
	t_tree_exit(&t, "root/s/y/z", STASH_REASON_SHUTDOWN);
	t_tree_is(&t,
	    "STOPPED root/s/x crash; RESTARTING root/s/x; SIGNAL root/s/y/z; STOPPED root/s/y/z shutdown; "
	    "STOPPED root/s/y shutdown; START root/s/x");
	t_tree_settle(&t);
	ck_assert_int_eq(sup_node_state(sup_find_path(t.sup, "root/s/y/z")), SUP_RUNNING);
	t_tree_close(&t);
}
END_TEST

START_TEST(all_rows_can_be_asked_for)
{
	begin("root(a s(x y))");
	t_tree_add(&t, 1, "root/s", "d(e f(g))");
	t_tree_settle(&t);
	t_rows_free(&t.rows);
	sup_save_all(t.sup);
	t_tree_is(&t, ""); /* compares them */
	t_tree_takeover(&t, false);
	t_tree_close(&t);
}
END_TEST

/* ---- another boot ---- */

START_TEST(after_a_boot_everything_that_ran_is_started)
{
	begin("root[intensity=1](a b[temporary] c s(x y))");
	t_tree_add(&t, 1, "root/s", "d");
	t_tree_add(&t, 2, "root/s", "e[temporary]");
	t_tree_settle(&t);
	t_tree_exit(&t, "root/a", STASH_REASON_CRASH);
	t_tree_settle(&t);
	t_tree_ask(&t, 3, SUP_TERMINATE_CHILD, "root", "c");
	t_tree_exit(&t, "root/c", STASH_REASON_SHUTDOWN);
	(void)t_tree_log(&t);
	t_tree_takeover(&t, true);
	t_tree_is(&t, "GONE root/s/e; START root/a");
	t_tree_ready(&t, "root/a");
	t_tree_is(&t, "STARTED root/a; START root/b");
	t_tree_ready(&t, "root/b");
	t_tree_ready(&t, "root/s/x");
	t_tree_ready(&t, "root/s/y");
	t_tree_ready(&t, "root/s/d");
	t_tree_is(&t,
	    "STARTED root/b; START root/s/x; STARTED root/s/x; START root/s/y; STARTED root/s/y; START root/s/d; "
	    "STARTED root/s/d; STARTED root/s; STARTED root; UP");
	ck_assert_int_eq(sup_node_state(sup_find_path(t.sup, "root/c")), SUP_DOWN);
	t_tree_exit(&t, "root/a", STASH_REASON_CRASH); /* its supervisor counts anew */
	t_tree_is(&t, "STOPPED root/a crash; RESTARTING root/a; START root/a");
	t_tree_close(&t);
}
END_TEST

START_TEST(a_boot_in_the_midst_of_a_restart_starts_the_rest_too)
{
	begin("root[one_for_all](a s(x) b)");
	t_tree_exit(&t, "root/b", STASH_REASON_CRASH);
	t_tree_exit(&t, "root/s/x", STASH_REASON_SHUTDOWN);
	(void)t_tree_log(&t);
	t_tree_takeover(&t, true);
	t_tree_is(&t, "START root/a");
	t_tree_takeover(&t, true);
	t_tree_is(&t, "START root/a");
	t_tree_settle(&t);
	ck_assert_int_eq(sup_node_state(sup_find_path(t.sup, "root/b")), SUP_RUNNING);
	ck_assert_int_eq(sup_node_state(sup_find_path(t.sup, "root/s/x")), SUP_RUNNING);
	t_tree_close(&t);
}
END_TEST

START_TEST(a_boot_in_the_midst_of_the_stop_is_the_end)
{
	begin("root(a s(x))");
	ck_assert_int_eq(sup_stop(t.sup, t.now), 0);
	(void)t_tree_log(&t);
	t_tree_takeover(&t, true);
	t_tree_is(&t, "");
	ck_assert_int_eq(sup_node_state(sup_root(t.sup)), SUP_DOWN);
	ck_assert_int_eq(sup_start(t.sup, t_spec("root(a)"), t.now), 0);
	t_tree_close(&t);
}
END_TEST

/* ---- damage ---- */

/* A tree in the middle of many things. */
static void
make_busy(void)
{
	begin("root[intensity=9](a b[one_for_all,intensity=9](x y z(q)) p[simple,intensity=9](t) e)");
	t_tree_ask(&t, 1, SUP_START_CHILD, "root/p", "one");
	t_tree_settle(&t);
	t_tree_add(&t, 2, "root", "d(f g)");
	t_tree_settle(&t);
	t_tree_exit(&t, "root/p/one", STASH_REASON_CRASH);
	t_tree_failed(&t, "root/p/one");
	t_tree_exit(&t, "root/b/x", STASH_REASON_KILLED);
	t_tree_exit(&t, "root/b/y", STASH_REASON_CRASH);
	t_tree_ask(&t, 3, SUP_TERMINATE_CHILD, "root", "d");
	t_tree_exit(&t, "root/a", STASH_REASON_CRASH);
	(void)t_tree_log(&t);
}

/* A tree out of these rows must not trip over itself: it is driven to its end. */
static void
drive_to_the_end(struct sup *sup)
{
	const struct sup_node *n, *next;
	struct sup_action a;
	const char *wrong;

	sup_resume(sup, false, t.now);
	while (sup_next_action(sup, &a))
		;
	sup_clock(sup, t.now + 1000000 * T_MS);
	sup_kill(sup, t.now);
	for (n = sup_next(sup, NULL); n != NULL; n = next) {
		next = sup_next(sup, n);
		if (sup_node_spec(n)->kind == SUP_WORKER && sup_node_state(n) == SUP_KILLING) {
			sup_exited(sup, sup_node_handle(n), sup_node_start(n), STASH_REASON_KILLED, t.now);
			next = sup_next(sup, NULL);
		}
	}
	while (sup_next_action(sup, &a))
		;
	wrong = sup_check(sup);
	ck_assert_msg(wrong == NULL, "%s", wrong);
	ck_assert(sup_root(sup) == NULL || sup_node_state(sup_root(sup)) == SUP_DOWN);
}

/* Whether they were taken. */
static bool
try_rows(const struct sup_row *rows, size_t count)
{
	struct sup *sup = sup_create(NULL);
	int result = sup_restore(sup, rows, count);

	ck_assert_msg(result == 0 || result == STASH_E_CORRUPT, "%s: %s", stash_errname(result), stash_errmsg());
	if (result == 0)
		drive_to_the_end(sup);
	else
		ck_assert_ptr_null(sup_root(sup));
	sup_destroy(sup);
	return result == 0;
}

/* An allocation of its own, so that a sanitizer sees the end. */
static void
try_value(size_t i, const unsigned char *data, size_t len, size_t *taken)
{
	struct sup_row was = t.rows.row[i];
	unsigned char *copy = malloc(len == 0 ? 1 : len);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, data, len);
	t.rows.row[i].value = copy;
	t.rows.row[i].len = len;
	*taken += try_rows(t.rows.row, t.rows.count);
	t.rows.row[i] = was;
	free(copy);
}

START_TEST(each_byte_of_each_row_may_be_wrong)
{
	static const unsigned char wrong[] = { 0x01, 0x80, 0xff, 0x07 };
	size_t i, at, k, taken = 0;
	unsigned char *data;

	make_busy();
	for (i = 0; i < t.rows.count; i++) {
		data = malloc(t.rows.row[i].len);
		for (at = 0; at < t.rows.row[i].len; at++) {
			memcpy(data, t.rows.row[i].value, t.rows.row[i].len);
			for (k = 0; k < sizeof(wrong); k++) {
				data[at] ^= wrong[k];
				try_value(i, data, t.rows.row[i].len, &taken);
				data[at] ^= wrong[k];
			}
		}
		free(data);
	}
	ck_assert_uint_gt(taken, 0); /* names, times, counters may be what they like */
	t_tree_close(&t);
}
END_TEST

START_TEST(rows_may_be_cut_short_or_go_on)
{
	unsigned char data[8192] = { 0 };
	size_t i, len, taken = 0;

	make_busy();
	for (i = 0; i < t.rows.count; i++) {
		ck_assert_uint_lt(t.rows.row[i].len, sizeof(data) - 8);
		memcpy(data, t.rows.row[i].value, t.rows.row[i].len);
		memset(data + t.rows.row[i].len, 0, 8);
		for (len = 0; len < t.rows.row[i].len; len++)
			try_value(i, data, len, &taken);
		try_value(i, data, len + 1, &taken);
		try_value(i, data, len + 8, &taken);
	}
	ck_assert_uint_eq(taken, 0);
	t_tree_close(&t);
}
END_TEST

START_TEST(rows_may_be_missing_twice_or_in_any_order)
{
	struct sup_row rows[64], swap;
	size_t i, j, n;

	make_busy();
	n = t.rows.count;
	ck_assert_uint_lt(n, 63);
	memcpy(rows, t.rows.row, n * sizeof(rows[0]));
	for (i = 0; i < n; i++) { /* twice */
		rows[n] = rows[i];
		ck_assert(!try_rows(rows, n + 1));
	}
	for (i = 0; i < n; i++) { /* one under another one's key */
		for (j = 0; j < n; j++) {
			swap = rows[i];
			rows[i].value = rows[j].value;
			rows[i].len = rows[j].len;
			(void)try_rows(rows, n);
			rows[i] = swap;
		}
	}
	for (i = 0; i < n; i++) { /* missing: at the most a child less */
		swap = rows[i];
		rows[i] = rows[n - 1];
		(void)try_rows(rows, n - 1);
		rows[i] = swap;
	}
	for (i = 0; i < n / 2; i++) {
		swap = rows[i];
		rows[i] = rows[n - 1 - i];
		rows[n - 1 - i] = swap;
	}
	ck_assert(try_rows(rows, n));
	ck_assert(try_rows(rows, 0));
	t_tree_close(&t);
}
END_TEST

START_TEST(keys_may_be_anything)
{
	static const char *const keys[] = { "", "/", "//", "//0", "root//", "root//x", "root//99999999999", "/root",
		"root/", "other", "other/a", "root/a/b", "root/a//0", "root/nobody", "root\n" };
	struct sup_row was;
	size_t i, k;

	make_busy();
	for (i = 0; i < t.rows.count; i++) {
		was = t.rows.row[i];
		for (k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
			t.rows.row[i].key = keys[k];
			ck_assert(!try_rows(t.rows.row, t.rows.count));
		}
		t.rows.row[i] = was;
	}
	t_tree_close(&t);
}
END_TEST

START_TEST(what_is_wrong_is_named)
{
	struct sup *sup = sup_create(NULL);
	const struct sup_row row = { .key = "root/a", .value = "12345678", .len = 8 };
	struct stash_buf *buf = stash_buf_create();

	ck_assert_int_eq(sup_restore(sup, &row, 1), STASH_E_CORRUPT);
	ck_assert_str_eq(stash_errmsg(), "row root/a of the tree is damaged: it has another format");
	ck_assert_int_eq(sup_pack(sup, "root/a", buf), STASH_E_NOENT);
	ck_assert_int_eq(sup_pack(sup, "root//0", buf), STASH_E_NOENT);
	ck_assert_int_eq(sup_start(sup, t_spec("root(a)"), 1), 0);
	ck_assert_int_eq(sup_restore(sup, &row, 1), STASH_E_INVAL);
	stash_buf_destroy(buf);
	sup_destroy(sup);
}
END_TEST

Suite *
tree_rows_suite(void)
{
	Suite *s = suite_create("tree_rows");
	TCase *c = t_case(s, "takeover", 20), *d = t_case(s, "damage", 60);

	tcase_add_test(c, a_worker_that_died_with_its_supervisor_is_not_counted);
	tcase_add_test(c, a_group_that_died_with_its_supervisor_is_not_counted);
	tcase_add_test(c, that_it_is_not_counted_outlives_the_next_one_too);
	tcase_add_test(c, running_workers_go_on);
	tcase_add_test(c, a_used_up_budget_stays_used_up);
	tcase_add_test(c, a_stop_goes_on);
	tcase_add_test(c, a_longer_start_goes_on);
	tcase_add_test(c, how_it_ended_is_known);
	tcase_add_test(c, a_worker_that_was_never_let_go_is_started_again);
	tcase_add_test(c, what_was_added_is_kept_and_what_was_deleted_is_gone);
	tcase_add_test(c, all_rows_can_be_asked_for);
	tcase_add_test(c, after_a_boot_everything_that_ran_is_started);
	tcase_add_test(c, a_boot_in_the_midst_of_a_restart_starts_the_rest_too);
	tcase_add_test(c, a_boot_in_the_midst_of_the_stop_is_the_end);
	tcase_add_test(d, each_byte_of_each_row_may_be_wrong);
	tcase_add_test(d, rows_may_be_cut_short_or_go_on);
	tcase_add_test(d, rows_may_be_missing_twice_or_in_any_order);
	tcase_add_test(d, keys_may_be_anything);
	tcase_add_test(d, what_is_wrong_is_named);
	return s;
}

TEST_MAIN(tree_rows_suite)
