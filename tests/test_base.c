/* SPDX-License-Identifier: ISC */
/*
 * The parts of src/base that only compute: errors, text, names, numbers; and
 * the layout of the public structs, which must never change. Buffers and
 * messages are in test_base_buf.c, what asks the system in test_base_system.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <stash/stash.h>

#include "base/error.h"
#include "base/name.h"
#include "base/parse.h"
#include "base/text.h"
#include "testlib.h"

Suite *base_suite(void);

/* ---- the interface's layout on 64-bit machines: a module that was built against it stays good ---- */

_Static_assert(
    offsetof(struct stash_msg, from) == 24 && offsetof(struct stash_msg, ref) == 64 && sizeof(struct stash_msg) == 88,
    "struct stash_msg");
_Static_assert(sizeof(struct stash_field) == 40, "struct stash_field never grows");
_Static_assert(sizeof(struct stash_view) == 24, "struct stash_view");
_Static_assert(sizeof(struct stash_init) == 40, "struct stash_init");
_Static_assert(offsetof(struct stash_behaviour, fields) == 48 && offsetof(struct stash_behaviour, init) == 56 &&
	offsetof(struct stash_behaviour, terminate) == 96 && offsetof(struct stash_behaviour, apply) == 144 &&
	sizeof(struct stash_behaviour) == 152,
    "struct stash_behaviour");
_Static_assert(sizeof(struct stash_module) == 16, "struct stash_module");
_Static_assert(sizeof(struct stash_reply) == 48, "struct stash_reply");
_Static_assert(
    offsetof(struct stash_process, id) == 112 && sizeof(struct stash_process) == 1016, "struct stash_process");
_Static_assert(offsetof(struct stash_state, layout) == 72 && sizeof(struct stash_state) == 280, "struct stash_state");
_Static_assert(offsetof(struct stash_box, tag) == 104 && sizeof(struct stash_box) == 168, "struct stash_box");
_Static_assert(offsetof(struct stash_child_spec, restart) == 72 &&
	offsetof(struct stash_child_spec, on_poison) == 124 && sizeof(struct stash_child_spec) == 128,
    "struct stash_child_spec");
_Static_assert(sizeof(struct stash_supervisor_spec) == 48, "struct stash_supervisor_spec");
_Static_assert(sizeof(struct stash_supervise_options) == 56, "struct stash_supervise_options");
_Static_assert(STASH_E_TEMPLATE == -30 && STASH_E_HELD == -13 && STASH_E_DOWN == -14, "enum stash_error");

struct sample {
	int64_t number;
	unsigned char count;
	double ratios[3];
	char text[16];
	bool on;
	struct {
		short x;
	} inner;
};

static const struct stash_field inner_fields[] = { STASH_FIELD_END };
static const struct stash_field sample_fields[] = {
	STASH_FIELD(struct sample, number),
	STASH_FIELD(struct sample, count),
	STASH_FIELD_ARRAY(struct sample, ratios),
	STASH_FIELD(struct sample, text),
	STASH_FIELD(struct sample, on),
	STASH_FIELD_STRUCT(struct sample, inner, inner_fields),
	STASH_FIELD_AS(struct sample, number, int64_t, STASH_TYPE_TIME_MS, STASH_FIELD_SECRET, NULL),
	STASH_FIELD_END,
};

START_TEST(fields_say_where_and_what)
{
	static const struct stash_field want[] = {
		{ "number", offsetof(struct sample, number), 8, 1, STASH_TYPE_INT, 0, 0, NULL },
		{ "count", offsetof(struct sample, count), 1, 1, STASH_TYPE_UINT, 0, 0, NULL },
		{ "ratios", offsetof(struct sample, ratios), 8, 3, STASH_TYPE_FLOAT, 0, 0, NULL },
		{ "text", offsetof(struct sample, text), 16, 1, STASH_TYPE_TEXT, 0, 0, NULL },
		{ "on", offsetof(struct sample, on), 1, 1, STASH_TYPE_BOOL, 0, 0, NULL },
		{ "inner", offsetof(struct sample, inner), 2, 1, STASH_TYPE_STRUCT, 0, 0, inner_fields },
		{ "number", offsetof(struct sample, number), 8, 1, STASH_TYPE_TIME_MS, STASH_FIELD_SECRET, 0, NULL },
	};
	size_t i;

	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		ck_assert_str_eq(sample_fields[i].name, want[i].name);
		ck_assert_uint_eq(sample_fields[i].offset, want[i].offset);
		ck_assert_uint_eq(sample_fields[i].size, want[i].size);
		ck_assert_uint_eq(sample_fields[i].count, want[i].count);
		ck_assert_uint_eq(sample_fields[i].type, want[i].type);
		ck_assert_uint_eq(sample_fields[i].flags, want[i].flags);
		ck_assert_ptr_eq(sample_fields[i].fields, want[i].fields);
	}
	ck_assert_ptr_null(sample_fields[i].name);
}
END_TEST

/* ---- errors ---- */

START_TEST(every_code_has_its_name_and_words)
{
	int code, other;

	for (code = STASH_OK; code >= STASH_E_TEMPLATE; code--) {
		ck_assert_msg(strncmp(stash_errname(code), "STASH_", 6) == 0, "%d: %s", code, stash_errname(code));
		ck_assert_str_ne(stash_strerror(code), "unknown error");
		for (other = STASH_OK; other > code; other--) {
			ck_assert_str_ne(stash_errname(code), stash_errname(other));
			ck_assert_str_ne(stash_strerror(code), stash_strerror(other));
		}
	}
	ck_assert_str_eq(stash_errname(STASH_E_BUSY), "STASH_E_BUSY");
	ck_assert_str_eq(stash_strerror(STASH_E_BUSY), "mailbox full");
	ck_assert_str_eq(stash_errname(STASH_E_TEMPLATE - 1), "unknown");
	ck_assert_str_eq(stash_errname(1), "unknown");
	ck_assert_str_eq(stash_strerror(INT32_MIN), "unknown error");
	ck_assert_str_eq(stash_version(), "0.1.0");
}
END_TEST

START_TEST(a_failure_leaves_its_sentence)
{
	char longer[2 * STASH__ERRMSG_MAX];

	errno = EXDEV;
	ck_assert_int_eq(stash__fail(STASH_E_FULL, "store \"%s\": full", "a"), STASH_E_FULL);
	ck_assert_str_eq(stash_errmsg(), "store \"a\": full");
	ck_assert_int_eq(errno, EXDEV);

	stash__fail(STASH_E_FULL, "%d: %s", 7, stash_errmsg());
	ck_assert_str_eq(stash_errmsg(), "7: store \"a\": full");

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	stash__fail(STASH_E_INVAL, "%s", longer);
	ck_assert_uint_eq(strlen(stash_errmsg()), STASH__ERRMSG_MAX - 1);
	errno = ENOENT;
	stash__fail_errno("%s", longer);
	ck_assert_uint_eq(strlen(stash_errmsg()), STASH__ERRMSG_MAX - 1);
}
END_TEST

START_TEST(errno_becomes_a_code_and_words)
{
	static const struct {
		int error, code;
	} cases[] = { { EACCES, STASH_E_ACCES }, { EPERM, STASH_E_ACCES }, { ENOMEM, STASH_E_NOMEM },
		{ ENOSPC, STASH_E_FULL }, { EDQUOT, STASH_E_FULL }, { EIO, STASH_E_SYSTEM } };
	char want[256];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		errno = cases[i].error;
		ck_assert_int_eq(stash__fail_errno("file %d", 3), cases[i].code);
		ck_assert_int_eq(errno, cases[i].error);
		snprintf(want, sizeof(want), "file 3: %s", strerror(cases[i].error));
		ck_assert_str_eq(stash_errmsg(), want);
	}
}
END_TEST

/* ---- text ---- */

START_TEST(utf8_is_strict)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool ok;
	} cases[] = { { "", 0, true }, { "plain", 5, true }, { "a\0b", 3, true }, { "\xc3\xa9", 2, true },
		{ "\xe2\x82\xac", 3, true }, { "\xf0\x9f\x98\x80", 4, true }, { "\xf4\x8f\xbf\xbf", 4, true },
		{ "\x80", 1, false }, { "\xc3", 1, false }, { "\xc3(", 2, false }, { "\xc0\x80", 2, false },
		{ "\xc1\xbf", 2, false }, { "\xe0\x9f\xbf", 3, false }, { "\xed\xa0\x80", 3, false },
		{ "\xf0\x8f\xbf\xbf", 4, false }, { "\xf4\x90\x80\x80", 4, false }, { "\xf5\x80\x80\x80", 4, false },
		{ "\xe2\x82", 2, false }, { "\xff", 1, false }, { "ok\xfe", 3, false } };
	uint32_t cp = 0;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(stash__utf8_ok(cases[i].bytes, cases[i].len) == cases[i].ok, "case %zu", i);
	ck_assert_uint_eq(stash__utf8_next("\xf0\x9f\x98\x80", 4, &cp), 4);
	ck_assert_uint_eq(cp, 0x1f600);
	ck_assert_uint_eq(stash__utf8_next("\xe2\x82\xac!", 4, &cp), 3);
	ck_assert_uint_eq(cp, 0x20ac);
}
END_TEST

START_TEST(escaping_lets_no_control_through)
{
	static const char raw[] = "a\n\r\t\x1b[31m\x7f\xc2\x9b\xff\xc3\xa9\\\0z";
	static const char want[] = "a\\n\\r\\t\\x1b[31m\\x7f\\xc2\\x9b\\xff\xc3\xa9\\\\x00z";
	char dst[128], *text = NULL;
	size_t size = 0, len = sizeof(raw) - 1, need = sizeof(want) - 1;
	FILE *out;

	ck_assert_uint_eq(stash__escape(dst, sizeof(dst), raw, len), need);
	ck_assert_str_eq(dst, want);
	out = open_memstream(&text, &size);
	stash__escape_to(out, raw, len);
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_str_eq(text, want);
	free(text);
	/* Each possible room: never half an escape, always a NUL, the same length told. */
	for (size = 0; size <= need + 1; size++) {
		memset(dst, '#', sizeof(dst));
		ck_assert_uint_eq(stash__escape(dst, size, raw, len), need);
		ck_assert_msg(dst[size] == '#', "wrote behind %zu bytes", size);
		if (size > 0)
			ck_assert_msg(strncmp(dst, want, strlen(dst)) == 0, "room %zu: %s", size, dst);
	}
	stash__escape(dst, 6, "ab\033c", 4);
	ck_assert_str_eq(dst, "ab");
}
END_TEST

START_TEST(a_mistyped_word_finds_the_nearest)
{
	static const char *const words[] = { "which-children", "tree", "list", "history", "intensity", "id", NULL };
	static const char *const none[] = { NULL };

	ck_assert_str_eq(stash__nearest("histroy", words), "history");
	ck_assert_str_eq(stash__nearest("tre", words), "tree");
	ck_assert_str_eq(stash__nearest("TREE", words), "tree");
	ck_assert_str_eq(stash__nearest("which_childern", words), "which-children");
	ck_assert_str_eq(stash__nearest("lits", words), "list");
	ck_assert_str_eq(stash__nearest("intenstiy", words), "intensity");
	ck_assert_ptr_null(stash__nearest("zebra", words));
	ck_assert_ptr_null(stash__nearest("x", words));
	ck_assert_ptr_null(stash__nearest("", words));
	ck_assert_ptr_null(stash__nearest("a-word-that-is-longer-than-anything-it-is-compared-with", words));
	ck_assert_ptr_null(stash__nearest("tree", none));
}
END_TEST

/* ---- names ---- */

static char *
repeated(const char *piece, size_t times)
{
	size_t len = strlen(piece), i;
	char *text = malloc(len * times + 1);

	ck_assert_ptr_nonnull(text);
	for (i = 0; i < times; i++)
		memcpy(text + i * len, piece, len);
	text[len * times] = '\0';
	return text;
}

/* The check's result for a piece so many times. */
static int
check_repeated(int (*check)(const char *), const char *piece, size_t times)
{
	char *text = repeated(piece, times);
	int error = check(text);

	free(text);
	return error;
}

START_TEST(names_have_their_limits)
{
	static const char *const good[] = { "a", "sequence", "with space", "caf\xc3\xa9", "a.b-c_d:e", "\\", NULL };
	static const char *const wrong[] = { "", "a/b", "/", "a\nb", "\x1b", "a\x7f", "\xc2\x85", "\xff", "a\xc3",
		NULL };
	size_t i;

	for (i = 0; good[i] != NULL; i++)
		ck_assert_int_eq(stash__check_name(good[i]), 0);
	for (i = 0; wrong[i] != NULL; i++)
		ck_assert_int_eq(stash__check_name(wrong[i]), STASH_E_INVAL);
	ck_assert_int_eq(stash__check_name(NULL), STASH_E_INVAL);
	ck_assert_int_eq(check_repeated(stash__check_name, "n", 200), 0);
	ck_assert_int_eq(check_repeated(stash__check_name, "n", 201), STASH_E_TOOBIG);
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "201 bytes, 200 are allowed"));
	ck_assert_int_eq(check_repeated(stash__check_name, "\xc3\xa9", 100), 0);
	ck_assert_int_eq(check_repeated(stash__check_name, "\xc3\xa9", 101), STASH_E_TOOBIG);
	stash__check_name("bad\x1bname");
	ck_assert_str_eq(stash_errmsg(), "name \"bad\\x1bname\" has a control character");
}
END_TEST

START_TEST(tags_have_their_limits)
{
	ck_assert_int_eq(stash__check_tag("next_number"), 0);
	ck_assert_int_eq(stash__check_tag("\xc3\xa9t\xc3\xa9"), 0);
	ck_assert_int_eq(stash__check_tag("two words"), STASH_E_INVAL);
	ck_assert_int_eq(stash__check_tag("a/b"), STASH_E_INVAL);
	ck_assert_int_eq(stash__check_tag("a\tb"), STASH_E_INVAL);
	ck_assert_int_eq(stash__check_tag(""), STASH_E_INVAL);
	ck_assert_int_eq(stash__check_tag(NULL), STASH_E_INVAL);
	ck_assert_int_eq(check_repeated(stash__check_tag, "t", 63), 0);
	ck_assert_int_eq(check_repeated(stash__check_tag, "t", 64), STASH_E_TOOBIG);
	ck_assert_int_eq(stash__check_tag_bytes("tag!", 3), 0);
	ck_assert_int_eq(stash__check_tag_bytes("ta\0g", 4), STASH_E_INVAL);
}
END_TEST

START_TEST(paths_are_ids_joined)
{
	char *path = repeated("abcde", 100);

	ck_assert_int_eq(stash__check_path("root"), 0);
	ck_assert_int_eq(stash__check_path("root/web/end point"), 0);
	ck_assert_int_eq(stash__check_path(""), STASH_E_INVAL);
	ck_assert_int_eq(stash__check_path(NULL), STASH_E_INVAL);
	ck_assert_int_eq(stash__check_path("/root"), STASH_E_INVAL);
	ck_assert_int_eq(stash__check_path("root/"), STASH_E_INVAL);
	ck_assert_int_eq(stash__check_path("root//web"), STASH_E_INVAL);
	ck_assert_int_eq(stash__check_path("root/w\neb"), STASH_E_INVAL);
	ck_assert_int_eq(stash__check_path(path), STASH_E_TOOBIG); /* one id of 500 */
	path[150] = path[350] = '/';
	ck_assert_int_eq(stash__check_path(path), 0);
	free(path);
	ck_assert_int_eq(check_repeated(stash__check_path, "abc/", 126), STASH_E_TOOBIG);
}
END_TEST

/* ---- numbers ---- */

START_TEST(a_number_is_all_of_the_text)
{
	static const char *const wrong[] = { "", "-", "+1", " 1", "1 ", "1x", "0x10", "1.0", "cat", "--1", "- 1", "1\n",
		"9223372036854775808", "-9223372036854775809", "99999999999999999999999", "\xc2\xb2", NULL };
	int64_t value = 77;
	size_t i;

	for (i = 0; wrong[i] != NULL; i++)
		ck_assert_msg(stash_parse_int(wrong[i], INT64_MIN, INT64_MAX, &value) == STASH_E_INVAL, "%s", wrong[i]);
	ck_assert_int_eq(stash_parse_int(NULL, 0, 1, &value), STASH_E_INVAL);
	ck_assert_int_eq(stash_parse_int("1", 5, 2, &value), STASH_E_INVAL);
	ck_assert_int_eq(stash_parse_int("11", 0, 10, &value), STASH_E_INVAL);
	ck_assert_str_eq(stash_errmsg(), "\"11\" is out of range: 0 to 10 is allowed");
	ck_assert_int_eq(stash_parse_int("-1", 0, 10, &value), STASH_E_INVAL);
	ck_assert_int_eq(value, 77);
	ck_assert_int_eq(stash_parse_int("-9223372036854775808", INT64_MIN, INT64_MAX, &value), 0);
	ck_assert_int_eq(value, INT64_MIN);
	ck_assert_int_eq(stash_parse_int("9223372036854775807", INT64_MIN, INT64_MAX, &value), 0);
	ck_assert_int_eq(value, INT64_MAX);
	ck_assert_int_eq(stash_parse_int("010", 0, 10, &value), 0);
	ck_assert_int_eq(value, 10);
	ck_assert_int_eq(stash_parse_int("5", 5, 5, NULL), 0);
}
END_TEST

START_TEST(durations_have_a_unit)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = { { "7ns", 7 }, { "250us", 250000 }, { "500ms", 500000000 }, { "5s", 5000000000 }, { "0s", 0 },
		{ "2m", 120000000000 }, { "1h", 3600000000000 }, { "1d", 86400000000000 },
		{ "106751d", 9223286400000000000 } };
	static const char *const wrong[] = { "", "5", "s", "5 s", " 5s", "-5s", "+5s", "5S", "5sec", "1.5s", "0x5s",
		"106752d", "9223372036854775808ns", "99999999999999999999ns", "5s5s", NULL };
	int64_t value = 77;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_int_eq(stash__parse_ns(good[i].text, &value), 0);
		ck_assert_int_eq(value, good[i].ns);
	}
	for (value = 77, i = 0; wrong[i] != NULL; i++) {
		ck_assert_msg(stash__parse_ns(wrong[i], &value) == STASH_E_INVAL, "%s", wrong[i]);
		ck_assert_int_eq(stash__parse_ms(wrong[i], &value), STASH_E_INVAL);
	}
	ck_assert_int_eq(stash__parse_ns(NULL, &value), STASH_E_INVAL);
	ck_assert_int_eq(stash__parse_ms("250us", &value), STASH_E_INVAL);
	ck_assert_int_eq(value, 77);
	ck_assert_int_eq(stash__parse_ms("2000us", &value), 0);
	ck_assert_int_eq(value, 2);
	ck_assert_int_eq(stash__parse_ms("5s", &value), 0);
	ck_assert_int_eq(value, 5000);
}
END_TEST

START_TEST(sizes_may_have_a_unit)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = { { "0", 0 }, { "4096", 4096 }, { "64K", 65536 }, { "64k", 65536 }, { "64M", 67108864 },
		{ "1G", 1073741824 }, { "2T", 2199023255552 }, { "010K", 10240 } };
	static const char *const wrong[] = { "", "M", "1.5G", "1MB", "1 M", "-1", "0x10", "64P", "8388608T", NULL };
	uint64_t value = 77;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_int_eq(stash__parse_size(good[i].text, &value), 0);
		ck_assert_uint_eq(value, good[i].bytes);
	}
	for (value = 77, i = 0; wrong[i] != NULL; i++)
		ck_assert_msg(stash__parse_size(wrong[i], &value) == STASH_E_INVAL, "%s", wrong[i]);
	ck_assert_int_eq(stash__parse_size(NULL, &value), STASH_E_INVAL);
	ck_assert_uint_eq(value, 77);
}
END_TEST

Suite *
base_suite(void)
{
	Suite *suite = suite_create("base");
	TCase *tc = t_case(suite, "interface", 10);

	tcase_add_test(tc, fields_say_where_and_what);
	tc = t_case(suite, "errors", 10);
	tcase_add_test(tc, every_code_has_its_name_and_words);
	tcase_add_test(tc, a_failure_leaves_its_sentence);
	tcase_add_test(tc, errno_becomes_a_code_and_words);
	tc = t_case(suite, "text", 10);
	tcase_add_test(tc, utf8_is_strict);
	tcase_add_test(tc, escaping_lets_no_control_through);
	tcase_add_test(tc, a_mistyped_word_finds_the_nearest);
	tcase_add_test(tc, names_have_their_limits);
	tcase_add_test(tc, tags_have_their_limits);
	tcase_add_test(tc, paths_are_ids_joined);
	tc = t_case(suite, "numbers", 10);
	tcase_add_test(tc, a_number_is_all_of_the_text);
	tcase_add_test(tc, durations_have_a_unit);
	tcase_add_test(tc, sizes_may_have_a_unit);
	return suite;
}

TEST_MAIN(base_suite)
