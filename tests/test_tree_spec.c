/* SPDX-License-Identifier: ISC */
/*
 * Specifications: public ones become the machine's, each mistake is named with
 * path and member, and what was packed is read again or refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/spec.h"
#include "testlib.h"
#include "testlib_tree.h"

Suite *tree_spec_suite(void);

static const char *const args[] = { "123", NULL };

#define CHILD(...) \
	{ \
		.size = sizeof(struct stash_child_spec), __VA_ARGS__ \
	}
#define SUPER(...) \
	{ \
		.size = sizeof(struct stash_supervisor_spec), __VA_ARGS__ \
	}

static int
pack(void *arg, const struct stash_child_spec *child, struct stash_buf *payload)
{
	if (arg != NULL)
		return STASH_E_NOENT;
	return stash_buf_add_text(payload, child->module);
}

static const struct sup_convert all = { .pack = pack }, released = { .pack = pack, .released = true };

/* ---- what is right ---- */

START_TEST(a_tree_is_taken_with_its_defaults)
{
	const struct stash_child_spec inner[] = { CHILD(.id = "x", .module = "x.so", .name = "named"),
		CHILD(.id = "y", .module = "y.so", .name = "", .shutdown_ms = STASH_BRUTAL_KILL,
		    .start_timeout_ms = 7) };
	const struct stash_supervisor_spec s = SUPER(.strategy = STASH_REST_FOR_ONE, .intensity = STASH_NO_RESTARTS,
	    .period_s = 9, .children = inner, .nchildren = 2);
	const struct stash_child_spec outer[] = { CHILD(.id = "a", .module = "a.so", .args = args,
						      .restart = STASH_TRANSIENT, .start_timeout_ms = STASH_INFINITY),
		CHILD(.id = "s", .supervisor = &s) };
	const struct stash_supervisor_spec top = SUPER(.children = outer, .nchildren = 2);
	struct sup_spec *spec = NULL;

	ck_assert_msg(sup_spec_make(&released, &top, &spec) == 0, "%s", stash_errmsg());
	ck_assert_str_eq(spec->id, "root");
	ck_assert_int_eq(spec->intensity, 1);
	ck_assert_int_eq(spec->period_s, 5);
	ck_assert_uint_eq(spec->nchildren, 2);
	ck_assert_str_eq(spec->children[0]->name, "a");
	ck_assert_int_eq(spec->children[0]->restart, STASH_TRANSIENT);
	ck_assert_int_eq(spec->children[0]->shutdown_ms, 5000);
	ck_assert_int_eq(spec->children[0]->start_timeout_ms, STASH_INFINITY);
	ck_assert_str_eq(spec->children[0]->payload, "a.so");
	ck_assert_int_eq(spec->children[1]->kind, SUP_SUPERVISOR);
	ck_assert_int_eq(spec->children[1]->shutdown_ms, STASH_INFINITY);
	ck_assert_int_eq(spec->children[1]->intensity, 0);
	ck_assert_str_eq(spec->children[1]->children[0]->name, "named");
	ck_assert_str_eq(spec->children[1]->children[1]->name, "");
	ck_assert_int_eq(spec->children[1]->children[1]->shutdown_ms, STASH_BRUTAL_KILL);
	ck_assert_int_eq(spec->children[1]->children[0]->start_timeout_ms, 60000);
	ck_assert_int_eq(spec->children[1]->children[1]->start_timeout_ms, 7);
	sup_spec_unref(spec);
}
END_TEST

START_TEST(a_template_is_taken)
{
	const struct stash_child_spec one[] = { CHILD(.id = "t", .module = "t.so", .restart = STASH_TRANSIENT,
	    .significant = 1, .type = SUP_SUPERVISOR, .name = "n") };
	const struct stash_supervisor_spec pool = SUPER(.strategy = STASH_SIMPLE_ONE_FOR_ONE,
	    .auto_shutdown = STASH_AUTO_ANY_SIGNIFICANT, .children = one, .nchildren = 1);
	struct stash_child_spec child = CHILD(.id = "pool", .supervisor = &pool);
	struct sup_spec *spec = NULL;

	ck_assert_msg(sup_spec_make_child(&released, "root", &child, &spec) == 0, "%s", stash_errmsg());
	ck_assert_int_eq(spec->children[0]->shutdown_ms, STASH_INFINITY); /* by its type */
	sup_spec_unref(spec);
}
END_TEST

/* ---- what is wrong ---- */

static void
refuse(const struct sup_convert *how, const struct stash_child_spec *child, int code, const char *message)
{
	struct sup_spec *spec = (struct sup_spec *)(uintptr_t)child;

	ck_assert_int_eq(sup_spec_make_child(how, "root/s", child, &spec), code);
	ck_assert_ptr_eq(spec, child);
	ck_assert_msg(strncmp(stash_errmsg(), message, strlen(message)) == 0, "\"%s\" instead of \"%s\"",
	    stash_errmsg(), message);
}

static const char *const no_program[] = { NULL };

static const struct {
	struct stash_child_spec spec;
	int code;
	const char *message;
} wrong_children[] = {
	{ CHILD(.module = "m"), STASH_E_SPEC, "root/s: children: one has no id" },
	{ CHILD(.id = "", .module = "m"), STASH_E_SPEC, "root/s: id of a child: " },
	{ CHILD(.id = "a/b", .module = "m"), STASH_E_SPEC, "root/s: id of a child: " },
	{ CHILD(.id = "a"), STASH_E_SPEC, "root/s/a: exactly one of behaviour" },
	{ CHILD(.id = "a", .module = "m", .exec = args), STASH_E_SPEC, "root/s/a: exactly one of behaviour" },
	{ CHILD(.id = "a", .module = ""), STASH_E_SPEC, "root/s/a: module: " },
	{ CHILD(.id = "a", .exec = no_program), STASH_E_SPEC, "root/s/a: exec: " },
	{ CHILD(.id = "a", .module = "m", .name = "x/y"), STASH_E_SPEC, "root/s/a: name: " },
	{ CHILD(.id = "a", .module = "m", .restart = 3), STASH_E_SPEC, "root/s/a: restart: " },
	{ CHILD(.id = "a", .module = "m", .notify = 3), STASH_E_SPEC, "root/s/a: notify: " },
	{ CHILD(.id = "a", .module = "m", .notify = STASH_NOTIFY_SD), STASH_E_SPEC, "root/s/a: notify: " },
	{ CHILD(.id = "a", .module = "m", .ack = 3), STASH_E_SPEC, "root/s/a: ack: " },
	{ CHILD(.id = "a", .module = "m", .on_supervisor_loss = 2), STASH_E_SPEC, "root/s/a: on_supervisor_loss: " },
	{ CHILD(.id = "a", .module = "m", .no_persist = 2), STASH_E_SPEC, "root/s/a: no_persist: " },
	{ CHILD(.id = "a", .module = "m", .shutdown_ms = -3), STASH_E_SPEC, "root/s/a: shutdown_ms: " },
	{ CHILD(.id = "a", .module = "m", .start_timeout_ms = -2), STASH_E_SPEC, "root/s/a: start_timeout_ms: " },
	{ CHILD(.id = "a", .module = "m", .handler_timeout_ms = -2), STASH_E_SPEC, "root/s/a: handler_timeout_ms: " },
	{ CHILD(.id = "a", .exec = args, .notify = STASH_NOTIFY_NONE, .handler_timeout_ms = 1), STASH_E_SPEC,
	    "root/s/a: handler_timeout_ms: " },
	{ { .size = 3, .id = "a" }, STASH_E_INVAL, "root/s: children: " },
};

START_TEST(each_mistake_in_a_child_is_named)
{
	refuse(&released, &wrong_children[_i].spec, wrong_children[_i].code, wrong_children[_i].message);
	refuse(&all, &wrong_children[_i].spec, wrong_children[_i].code, wrong_children[_i].message);
}
END_TEST

static const struct {
	struct stash_child_spec spec;
	int code; /* of this version; 0: right when it is wanted */
	const char *message;
} later_children[] = {
	{ CHILD(.id = "a", .module = "m", .history = 1), STASH_E_INVAL, "root/s/a: history: " },
	{ CHILD(.id = "a", .module = "m", .poison_after = 1), STASH_E_INVAL, "root/s/a: poison_after: " },
	{ CHILD(.id = "a", .module = "m", .on_poison = 1), STASH_E_INVAL, "root/s/a: on_poison: " },
};

START_TEST(what_is_for_later_is_refused_in_this_version)
{
	struct sup_spec *spec = NULL;

	refuse(&released, &later_children[_i].spec, later_children[_i].code, later_children[_i].message);
	ck_assert_int_eq(sup_spec_make_child(&all, "root/s", &later_children[_i].spec, &spec), 0);
	sup_spec_unref(spec);
}
END_TEST

static const struct stash_child_spec two[] = { CHILD(.id = "a", .module = "m"), CHILD(.id = "a", .module = "m") };
static const struct stash_child_spec same_name[] = { CHILD(.id = "a", .module = "m"),
	CHILD(.id = "b", .module = "m", .name = "a") };
static const struct stash_child_spec lasting[] = { CHILD(.id = "a", .module = "m", .significant = 1) };

static const struct {
	struct stash_supervisor_spec spec;
	const char *message;
} wrong_supers[] = {
	{ SUPER(.strategy = 4), "root: strategy: " },
	{ SUPER(.auto_shutdown = 3), "root: auto_shutdown: " },
	{ SUPER(.intensity = -2), "root: intensity: " },
	{ SUPER(.period_s = 0x80000000u), "root: period_s: " },
	{ SUPER(.nchildren = 1), "root: children: " },
	{ SUPER(.strategy = STASH_SIMPLE_ONE_FOR_ONE), "root: children: " },
	{ SUPER(.children = two, .nchildren = 2), "root/a: id: " },
	{ SUPER(.children = same_name, .nchildren = 2), "root/" },
	{ SUPER(.children = lasting, .nchildren = 1), "root/a: significant: " },
	{ SUPER(.children = lasting, .nchildren = 1, .auto_shutdown = 1), "root/a: significant: " },
};

/* ---- OTP's terms ---- */

static const struct stash_child_spec sometimes[] = { CHILD(.id = "a", .module = "m", .restart = 3) };
static const struct stash_supervisor_spec doubled = SUPER(.children = two, .nchildren = 2),
					  strange = SUPER(.strategy = 4),
					  rootless = SUPER(.children = sometimes, .nchildren = 1);
static const struct stash_child_spec nested[] = { CHILD(.id = "d", .supervisor = &doubled) };
static const struct stash_supervisor_spec deep = SUPER(.children = nested, .nchildren = 1);

static const struct {
	struct stash_child_spec spec;
	const char *tree,
	    *child; /* as a child of the top at the start of the whole; as one that is started by itself */
} terms[] = {
	{ CHILD(.id = "c", .module = "m", .restart = 3), "start_spec invalid_restart_type", "invalid_restart_type" },
	{ CHILD(.id = "c", .module = "m", .significant = 2), "start_spec invalid_significant", "invalid_significant" },
	{ CHILD(.id = "c", .module = "m", .type = 3), "start_spec invalid_child_type", "invalid_child_type" },
	{ CHILD(.id = "c", .module = "m", .shutdown_ms = -3), "start_spec invalid_shutdown", "invalid_shutdown" },
	{ CHILD(.id = "c", .supervisor = &doubled), "failed_to_start_child c start_spec duplicate_child_name a",
	    "start_spec duplicate_child_name a" },
	{ CHILD(.id = "c", .supervisor = &strange), "failed_to_start_child c supervisor_data invalid_strategy",
	    "supervisor_data invalid_strategy" },
	{ CHILD(.id = "c", .supervisor = &rootless), "failed_to_start_child c start_spec invalid_restart_type",
	    "start_spec invalid_restart_type" },
	{ CHILD(.id = "c", .supervisor = &deep),
	    "failed_to_start_child c failed_to_start_child d start_spec duplicate_child_name a",
	    "failed_to_start_child d start_spec duplicate_child_name a" },
};

/* What is refused before anything runs has the term that OTP has for it; what is left to the machine isn't refused. */
START_TEST(mistakes_have_the_terms_of_otp)
{
	const struct sup_convert later = { .pack = pack, .as_otp = true };
	const struct stash_supervisor_spec top = SUPER(.children = &terms[_i].spec, .nchildren = 1);
	struct sup_spec *spec = NULL;

	ck_assert_int_eq(sup_spec_make(&all, &top, &spec), STASH_E_SPEC);
	ck_assert_str_eq(stash_errterm(), terms[_i].tree);
	ck_assert_int_eq(sup_spec_make_child(&all, "root/s", &terms[_i].spec, &spec), STASH_E_SPEC);
	ck_assert_str_eq(stash_errterm(), terms[_i].child);
	ck_assert_msg(sup_spec_make_child(&later, "root/s", &terms[_i].spec, &spec) == 0, "%s", stash_errmsg());
	sup_spec_unref(spec);
}
END_TEST

START_TEST(each_mistake_in_a_supervisor_is_named)
{
	struct sup_spec *spec = NULL;

	ck_assert_int_eq(sup_spec_make(&all, &wrong_supers[_i].spec, &spec), STASH_E_SPEC);
	ck_assert_msg(strncmp(stash_errmsg(), wrong_supers[_i].message, strlen(wrong_supers[_i].message)) == 0,
	    "\"%s\" instead of \"%s\"", stash_errmsg(), wrong_supers[_i].message);
	ck_assert_ptr_null(spec);
}
END_TEST

START_TEST(the_layers_own_error_comes_through)
{
	int seen = 0;
	const struct sup_convert how = { .pack = pack, .arg = &seen };
	const struct stash_child_spec child = CHILD(.id = "a", .module = "m");
	struct sup_spec *spec = NULL;

	ck_assert_int_eq(sup_spec_make_child(&how, "root", &child, &spec), STASH_E_NOENT);
}
END_TEST

START_TEST(a_path_may_not_be_too_long)
{
	char above[STASH_PATH_MAX + 1];
	const struct stash_child_spec fits = CHILD(.id = "ab", .module = "m"),
				      longer = CHILD(.id = "abc", .module = "m");
	struct sup_spec *spec = NULL;

	memset(above, 'x', sizeof(above));
	above[STASH_PATH_MAX - 3] = '\0';
	ck_assert_int_eq(sup_spec_make_child(&all, above, &fits, &spec), 0);
	sup_spec_unref(spec);
	ck_assert_int_eq(sup_spec_make_child(&all, above, &longer, &spec), STASH_E_TOOBIG);
}
END_TEST

/* ---- packed ---- */

START_TEST(a_packed_tree_is_read_again)
{
	struct sup_spec *spec = t_spec(
	    "root[one_for_all,intensity=7](a[transient,500ms,name=n] s[any](x[significant] y))");
	struct sup_spec *again = NULL;
	struct stash_buf *buf = stash_buf_create(), *back = stash_buf_create();
	struct stash_view view;
	const void *data, *twin;
	size_t len, twin_len;

	ck_assert_int_eq(sup_spec_set_payload(spec->children[0], "\0pay", 4), 0);
	ck_assert_int_eq(sup_spec_pack_tree(spec, buf), 0);
	ck_assert_int_eq(stash_buf_data(buf, &data, &len), 0);
	stash_view_init(&view, data, len);
	ck_assert_int_eq(sup_spec_unpack_tree(&view, &again), 0);
	ck_assert_int_eq(stash_view_end(&view), 0);
	ck_assert_int_eq(sup_spec_pack_tree(again, back), 0);
	ck_assert_int_eq(stash_buf_data(back, &twin, &twin_len), 0);
	ck_assert_uint_eq(len, twin_len);
	ck_assert_mem_eq(data, twin, len);
	sup_spec_unref(again);
	sup_spec_unref(spec);
	stash_buf_destroy(buf);
	stash_buf_destroy(back);
}
END_TEST

/* Whatever the bytes are, it is a specification or an error. */
static void
read_bytes(const unsigned char *data, size_t len)
{
	unsigned char *copy = malloc(len == 0 ? 1 : len);
	struct sup_spec *spec;
	struct stash_view view;
	int result;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, data, len);
	stash_view_init(&view, copy, len);
	result = sup_spec_unpack_tree(&view, &spec);
	ck_assert(result == 0 || result == STASH_E_CORRUPT);
	if (result == 0)
		sup_spec_unref(spec);
	free(copy);
}

START_TEST(damaged_bytes_are_refused)
{
	struct sup_spec *spec = t_spec("root(a b[name=n] s(x t(y)))");
	struct stash_buf *buf = stash_buf_create();
	unsigned char *data;
	const void *packed;
	size_t len, at;
	int bit;

	ck_assert_int_eq(sup_spec_pack_tree(spec, buf), 0);
	ck_assert_int_eq(stash_buf_data(buf, &packed, &len), 0);
	data = malloc(len);
	memcpy(data, packed, len);
	for (at = 0; at < len; at++) {
		read_bytes(data, at);
		for (bit = 0; bit < 8; bit++) {
			data[at] ^= (unsigned char)(1 << bit);
			read_bytes(data, len);
			data[at] ^= (unsigned char)(1 << bit);
		}
	}
	free(data);
	sup_spec_unref(spec);
	stash_buf_destroy(buf);
}
END_TEST

START_TEST(a_specification_of_endless_depth_is_refused)
{
	struct sup_spec *one = t_spec("s()"), *spec;
	struct stash_buf *buf = stash_buf_create();
	struct stash_view view;
	const void *data;
	size_t len;
	int i;

	for (i = 0; i < 5000; i++) {
		ck_assert_int_eq(sup_spec_pack(one, buf), 0);
		ck_assert_int_eq(stash_buf_add_int(buf, 1), 0);
	}
	ck_assert_int_eq(stash_buf_data(buf, &data, &len), 0);
	stash_view_init(&view, data, len);
	ck_assert_int_eq(sup_spec_unpack_tree(&view, &spec), STASH_E_CORRUPT);
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "nested too deeply"));
	sup_spec_unref(one);
	stash_buf_destroy(buf);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

Suite *
tree_spec_suite(void)
{
	Suite *s = suite_create("tree_spec");
	TCase *c = t_case(s, "converted", 20), *p = t_case(s, "packed", 20);

	tcase_add_test(c, a_tree_is_taken_with_its_defaults);
	tcase_add_test(c, a_template_is_taken);
	tcase_add_loop_test(c, each_mistake_in_a_child_is_named, 0, COUNT(wrong_children));
	tcase_add_loop_test(c, what_is_for_later_is_refused_in_this_version, 0, COUNT(later_children));
	tcase_add_loop_test(c, mistakes_have_the_terms_of_otp, 0, COUNT(terms));
	tcase_add_loop_test(c, each_mistake_in_a_supervisor_is_named, 0, COUNT(wrong_supers));
	tcase_add_test(c, the_layers_own_error_comes_through);
	tcase_add_test(c, a_path_may_not_be_too_long);
	tcase_add_test(p, a_packed_tree_is_read_again);
	tcase_add_test(p, damaged_bytes_are_refused);
	tcase_add_test(p, a_specification_of_endless_depth_is_refused);
	return s;
}

TEST_MAIN(tree_spec_suite)
