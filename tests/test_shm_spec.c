/* SPDX-License-Identifier: ISC */
/*
 * Specifications as bytes: they come back as they were, and no damaged bytes are believed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "shm/spec.h"
#include "testlib.h"

static const char *const words[] = { "one", "", "\xc3\xa4", NULL };
static const struct stash_child_spec leaf[] = {
	{ .size = sizeof leaf[0], .id = "l", .module = "/m.so", .args = words, .restart = 2, .shutdown_ms = -2 },
	{ .size = sizeof leaf[0], .id = "k", .name = "", .exec = words, .notify = 1, .type = 99 },
};
static const struct stash_supervisor_spec inner = { .size = sizeof inner,
	.strategy = 3,
	.intensity = -1,
	.period_s = 9,
	.auto_shutdown = 2,
	.children = leaf,
	.nchildren = 2 };
static const struct stash_child_spec branch = { .size = sizeof branch,
	.id = "b",
	.supervisor = &inner,
	.significant = 1,
	.handler_timeout_ms = -1,
	.on_poison = 3,
	.history = 7 };

static struct stash_buf buf;

static void
pack(const struct stash_child_spec *spec, const void **data, size_t *len)
{
	stash__buf_init(&buf, STASH__BUF_MAX);
	ck_assert_int_eq(stash__pack_child(&buf, spec), 0);
	ck_assert_int_eq(stash_buf_data(&buf, data, len), 0);
	ck_assert_uint_gt(*len, 0);
}

START_TEST(it_comes_back_as_it_was)
{
	const struct stash_child_spec *l;
	struct stash__child c;
	struct stash_view view;
	const void *data;
	size_t len;

	pack(&branch, &data, &len);
	stash_view_init(&view, data, len);
	ck_assert_int_eq(stash__view_child(&view, &c), 0);
	ck_assert_int_eq(stash_view_end(&view), 0);
	ck_assert_str_eq(c.spec.id, "b");
	ck_assert_ptr_null(c.spec.name);
	ck_assert_uint_eq(c.spec.significant, 1);
	ck_assert_int_eq(c.spec.handler_timeout_ms, -1);
	ck_assert_uint_eq(c.spec.on_poison, 3);
	ck_assert_uint_eq(c.spec.history, 7);
	ck_assert_uint_eq(c.spec.supervisor->strategy, 3);
	ck_assert_int_eq(c.spec.supervisor->intensity, -1);
	ck_assert_uint_eq(c.spec.supervisor->period_s, 9);
	ck_assert_uint_eq(c.spec.supervisor->auto_shutdown, 2);
	ck_assert_uint_eq(c.spec.supervisor->nchildren, 2);
	l = &c.spec.supervisor->children[0];
	ck_assert_str_eq(l->module, "/m.so");
	ck_assert_str_eq(l->args[2], words[2]);
	ck_assert_ptr_null(l->args[3]);
	ck_assert_ptr_null(l->exec);
	ck_assert_int_eq(l->shutdown_ms, -2);
	l = &c.spec.supervisor->children[1];
	ck_assert_str_eq(l->name, "");
	ck_assert_str_eq(l->exec[0], "one");
	ck_assert_uint_eq(l->type, 99);
	stash__child_free(&c);
	stash__buf_fini(&buf);
}
END_TEST

/* Reads what may be anything; the sanitizers watch. */
static int
read_any(const void *data, size_t len)
{
	struct stash__child c;
	struct stash_view view;
	int result;

	stash_view_init(&view, data, len);
	result = stash__view_child(&view, &c);
	if (result == 0)
		result = stash_view_end(&view);
	stash__child_free(&c);
	return result;
}

START_TEST(damaged_bytes_are_refused)
{
	const void *data;
	unsigned char *copy;
	size_t len;

	pack(&branch, &data, &len);
	for (size_t cut = 0; cut < len; cut++) {
		copy = malloc(cut + 1); /* exactly: what lies behind is out of bounds */
		ck_assert_ptr_nonnull(copy);
		memcpy(copy, data, cut);
		copy = realloc(copy, cut > 0 ? cut : 1);
		ck_assert_int_lt(read_any(copy, cut), 0);
		free(copy);
	}
	copy = malloc(len + 1);
	ck_assert_ptr_nonnull(copy);
	for (size_t bit = 0; bit < len * 8; bit++) {
		memcpy(copy, data, len);
		copy[bit / 8] ^= (unsigned char)(1u << bit % 8);
		(void)read_any(copy, len);
	}
	memset(copy, 0xff, len);
	ck_assert_int_lt(read_any(copy, len), 0);
	free(copy);
	stash__buf_fini(&buf);
}
END_TEST

START_TEST(what_cannot_travel_is_refused)
{
	static const char *const broken[] = { "\xff", NULL };
	struct stash_child_spec c = { .size = sizeof c, .id = "c", .behaviour = (const void *)&c };

	stash__buf_init(&buf, STASH__BUF_MAX);
	ck_assert_int_eq(stash__pack_child(&buf, &c), STASH_E_INVAL);
	stash__buf_reset(&buf);
	c.behaviour = NULL;
	c.args = broken;
	ck_assert_int_eq(stash__pack_child(&buf, &c), STASH_E_INVAL);
	stash__buf_reset(&buf);
	c.args = NULL;
	c.size = 3;
	ck_assert_int_eq(stash__pack_child(&buf, &c), STASH_E_INVAL);
	stash__buf_reset(&buf);
	/* An older caller's struct is shorter. */
	c.size = offsetof(struct stash_child_spec, restart);
	ck_assert_int_eq(stash__pack_child(&buf, &c), 0);
	stash__buf_fini(&buf);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("shm_spec");
	TCase *tc = t_case(s, "spec", 60);

	tcase_add_test(tc, it_comes_back_as_it_was);
	tcase_add_test(tc, damaged_bytes_are_refused);
	tcase_add_test(tc, what_cannot_travel_is_refused);
	return s;
}

TEST_MAIN(suite)
