/* SPDX-License-Identifier: ISC */
/*
 * What stashd alone reads of a child's specification, packed into its payload and read again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stash/stash.h>

#include "stashd/plan.h"
#include "stashd/server.h"
#include "testlib.h"

static const struct stash_behaviour first = STASH_BEHAVIOUR(.name = "first");
static const struct stash_behaviour second = STASH_BEHAVIOUR(.name = "second");
static const struct stash_behaviour *const named[] = { &first, &second, NULL };

static int
there_and_back(struct plan_table *table, const struct stash_child_spec *spec, struct plan *plan)
{
	struct stash_buf buf;
	const void *data;
	size_t len;
	int result;

	stash__buf_init(&buf, 1 << 20);
	result = plan_pack(table, spec, &buf);
	if (result == 0) {
		ck_assert_int_eq(stash_buf_data(&buf, &data, &len), 0);
		result = plan_read(plan, table, data, len);
	}
	stash__buf_fini(&buf);
	return result;
}

START_TEST(a_plan_survives_packing)
{
	struct plan_table table = { .named = named, .ack = STASH_ACK_DISK, .history = 7 };
	const char *const args[] = { "123", "", "caf\xc3\xa9", NULL };
	struct stash_child_spec spec = { .size = sizeof(spec),
		.id = "x",
		.module = "/lib/x.so",
		.args = args,
		.no_persist = 1,
		.handler_timeout_ms = 77 };
	struct plan plan;

	ck_assert_int_eq(there_and_back(&table, &spec, &plan), 0);
	ck_assert_int_eq(plan.kind, PLAN_MODULE);
	ck_assert_str_eq(plan.module, "/lib/x.so");
	ck_assert_int_eq(plan.nargs, 3);
	ck_assert_str_eq(plan.args[0], "123");
	ck_assert_str_eq(plan.args[1], "");
	ck_assert_str_eq(plan.args[2], "caf\xc3\xa9");
	ck_assert_ptr_null(plan.args[3]);
	ck_assert(plan.ack_disk && plan.no_persist && plan_linked(&plan));
	ck_assert_uint_eq(plan.max_attempts, 3);
	ck_assert_uint_eq(plan.history, 7);
	ck_assert_int_eq(plan.handler_timeout_ms, 77);
	plan_free(&plan);
}
END_TEST

/* As it stands in stores of before: without handler_timeout. */
START_TEST(a_plan_of_the_first_format_is_read)
{
	struct plan_table table = { .history = 7 };
	struct stash_buf buf;
	struct plan plan;

	stash__buf_init(&buf, 1 << 20);
	stash_buf_add_int(&buf, 1);
	stash_buf_add_int(&buf, PLAN_MODULE);
	stash_buf_add_text(&buf, "/lib/x.so");
	for (int i = 0; i < 4; i++)
		stash_buf_add_int(&buf, 0); /* arguments, notify, ack, no_persist */
	stash_buf_add_int(&buf, 5);
	stash_buf_add_int(&buf, 9);
	ck_assert_int_eq(plan_read(&plan, &table, buf.data, buf.len), 0);
	ck_assert_uint_eq(plan.max_attempts, 5);
	ck_assert_uint_eq(plan.history, 9);
	ck_assert_int_eq(plan.handler_timeout_ms, 0);
	plan_free(&plan);
	stash__buf_fini(&buf);
}
END_TEST

START_TEST(a_plan_finds_its_behaviour)
{
	struct plan_table table = { .named = named };
	struct stash_child_spec by_pointer = { .size = sizeof(by_pointer), .id = "x", .behaviour = &second };
	struct stash_child_spec by_name = { .size = sizeof(by_name), .id = "x", .behaviour_name = "first" };
	struct stash_child_spec none = { .size = sizeof(none), .id = "x", .behaviour_name = "third" };
	struct plan plan;

	ck_assert_int_eq(there_and_back(&table, &by_pointer, &plan), 0);
	ck_assert_ptr_eq(plan.behaviour, &second);
	plan_free(&plan);
	ck_assert_int_eq(there_and_back(&table, &by_name, &plan), 0);
	ck_assert_ptr_eq(plan.behaviour, &first);
	plan_free(&plan);
	ck_assert_int_eq(there_and_back(&table, &none, &plan), STASH_E_SPEC);
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "third"));
	plan_table_free(&table);
}
END_TEST

START_TEST(a_damaged_plan_is_refused)
{
	struct plan_table table = { .named = named };
	const char *const exec[] = { "/bin/true", "-x", NULL };
	struct stash_child_spec spec = { .size = sizeof(spec), .id = "x", .exec = exec, .notify = STASH_NOTIFY_NONE };
	struct stash_buf buf;
	struct plan plan;
	const void *data;
	size_t len;

	stash__buf_init(&buf, 1 << 20);
	ck_assert_int_eq(plan_pack(&table, &spec, &buf), 0);
	ck_assert_int_eq(stash_buf_data(&buf, &data, &len), 0);
	for (size_t cut = 0; cut < len; cut++)
		ck_assert_int_lt(plan_read(&plan, &table, data, cut), 0);
	ck_assert_int_eq(plan_read(&plan, &table, data, len), 0);
	ck_assert_str_eq(plan.exec[1], "-x");
	ck_assert(!plan_linked(&plan));
	plan_free(&plan);
	stash__buf_fini(&buf);
}
END_TEST

START_TEST(a_child_without_a_name_has_a_slot_of_its_own)
{
	char a[STASH_NAME_MAX + 1], b[STASH_NAME_MAX + 1], path[STASH_PATH_MAX + 1];

	worker_slot_name("root/web/x", "endpoint", a);
	ck_assert_str_eq(a, "endpoint");
	worker_slot_name("root/web/x", "", a);
	worker_slot_name("root/web/y", "", b);
	ck_assert_str_ne(a, b);
	ck_assert_ptr_null(strchr(a, '/'));
	memset(path, 'p', STASH_PATH_MAX);
	path[STASH_PATH_MAX] = '\0';
	worker_slot_name(path, "", a);
	path[STASH_PATH_MAX - 1] = 'q';
	worker_slot_name(path, "", b);
	ck_assert_str_ne(a, b);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("stashd_plans");
	TCase *plans = t_case(s, "plans", 20);

	tcase_add_test(plans, a_plan_survives_packing);
	tcase_add_test(plans, a_plan_of_the_first_format_is_read);
	tcase_add_test(plans, a_plan_finds_its_behaviour);
	tcase_add_test(plans, a_damaged_plan_is_refused);
	tcase_add_test(plans, a_child_without_a_name_has_a_slot_of_its_own);
	return s;
}

TEST_MAIN(suite)
