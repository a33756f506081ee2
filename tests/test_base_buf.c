/* SPDX-License-Identifier: ISC */
/*
 * Packing, reading, and what came from outside: buffers and views, a message's
 * payload, structs of callers built against another version.
 */
#include <stdlib.h>
#include <string.h>

#include <stash/stash.h>

#include "base/buf.h"
#include "base/take.h"
#include "testlib.h"

Suite *base_buf_suite(void);

/* ---- buffers ---- */

START_TEST(what_is_packed_is_read_again)
{
	static const int64_t numbers[] = { 0, 1, -1, INT64_MIN, INT64_MAX, 258 };
	struct stash_buf *buf = stash_buf_create();
	struct stash_view view;
	const void *data = NULL;
	size_t len = 0, i;

	ck_assert_ptr_nonnull(buf);
	for (i = 0; i < 6; i++)
		ck_assert_int_eq(stash_buf_add_int(buf, numbers[i]), 0);
	ck_assert_int_eq(stash_buf_add_text(buf, "caf\xc3\xa9"), 0);
	ck_assert_int_eq(stash_buf_add_text(buf, ""), 0);
	ck_assert_int_eq(stash_buf_add_bytes(buf, "a\0b", 3), 0);
	ck_assert_int_eq(stash_buf_add_bytes(buf, NULL, 0), 0);
	ck_assert_int_eq(stash_buf_add(buf, "bare", 4), 0);
	ck_assert_int_eq(stash_buf_add(buf, NULL, 0), 0);
	ck_assert_int_eq(stash_buf_data(buf, &data, &len), 0);
	ck_assert_uint_eq(len, 6 * 8 + 6 + 1 + 7 + 4 + 4);
	ck_assert_uint_eq((uintptr_t)data % 16, 0);
	ck_assert_int_eq(((const char *)data)[len], '\0');

	stash_view_init(&view, data, len);
	for (i = 0; i < 6; i++)
		ck_assert_int_eq(stash_view_int(&view), numbers[i]);
	ck_assert_str_eq(stash_view_text(&view), "caf\xc3\xa9");
	ck_assert_str_eq(stash_view_text(&view), "");
	ck_assert_mem_eq(stash_view_bytes(&view, &len), "a\0b", 3);
	ck_assert_uint_eq(len, 3);
	ck_assert_ptr_nonnull(stash_view_bytes(&view, &len));
	ck_assert_uint_eq(len, 0);
	ck_assert_int_eq(stash_view_end(&view), STASH_E_FORMAT); /* four bytes are over */
	ck_assert_mem_eq(stash__view_take(&view, 4), "bare", 4);
	ck_assert_int_eq(stash_view_end(&view), 0);
	stash_buf_destroy(buf);
	stash_buf_destroy(NULL);
}
END_TEST

START_TEST(the_format_is_little_endian)
{
	static const unsigned char want[] = { 2, 1, 0, 0, 0, 0, 0, 0x80, 2, 0, 0, 0, 'h', 'i', 'x', 0 };
	struct stash_buf buf;
	const void *data = NULL;
	size_t len = 0;

	stash__buf_init(&buf, STASH__BUF_MAX);
	ck_assert_int_eq(stash_buf_add_int(&buf, INT64_MIN + 258), 0);
	ck_assert_int_eq(stash_buf_add_bytes(&buf, "hi", 2), 0);
	ck_assert_int_eq(stash_buf_add_text(&buf, "x"), 0);
	ck_assert_int_eq(stash_buf_data(&buf, &data, &len), 0);
	ck_assert_uint_eq(len, sizeof(want));
	ck_assert_mem_eq(data, want, sizeof(want));
	stash__buf_fini(&buf);
}
END_TEST

START_TEST(an_error_of_a_buffer_sticks)
{
	struct stash_buf buf;
	const void *data = NULL;
	size_t len = 99;

	stash__buf_init(&buf, 20);
	ck_assert_int_eq(stash_buf_data(&buf, &data, &len), 0);
	ck_assert_ptr_nonnull(data);
	ck_assert_uint_eq(len, 0);
	ck_assert_int_eq(stash_buf_add(&buf, "12345678901234567890", 20), 0);
	ck_assert_int_eq(stash_buf_add(&buf, "x", 1), STASH_E_TOOBIG);
	ck_assert_int_eq(stash_buf_add(&buf, NULL, 0), STASH_E_TOOBIG);
	ck_assert_int_eq(stash_buf_add(&buf, NULL, 1), STASH_E_TOOBIG);
	ck_assert_int_eq(stash_buf_data(&buf, &data, &len), STASH_E_TOOBIG);
	ck_assert_ptr_nonnull(data);
	ck_assert_uint_eq(len, 0);

	stash__buf_reset(&buf);
	ck_assert_int_eq(stash_buf_add_text(&buf, "not utf-8 \xff"), STASH_E_INVAL);
	ck_assert_int_eq(stash_buf_add_int(&buf, 1), STASH_E_INVAL);
	stash__buf_reset(&buf);
	ck_assert_int_eq(stash_buf_add_text(&buf, NULL), STASH_E_INVAL);
	stash__buf_reset(&buf);
	ck_assert_int_eq(stash_buf_add(&buf, NULL, 1), STASH_E_INVAL);
	stash__buf_reset(&buf);
	/* Neither length nor bytes, where not both fit; no overflow of the sum. */
	ck_assert_int_eq(stash_buf_add_bytes(&buf, "12345678901234567", 17), STASH_E_TOOBIG);
	stash__buf_reset(&buf);
	ck_assert_int_eq(stash_buf_add_bytes(&buf, "", SIZE_MAX), STASH_E_TOOBIG);
	stash__buf_reset(&buf);
	ck_assert_int_eq(stash_buf_add_bytes(&buf, "1234567890123456", 16), 0);
	stash__buf_fini(&buf);
	ck_assert_int_eq(stash_buf_add_int(&buf, 1), 0);
	stash__buf_fini(&buf);
	ck_assert_int_eq(stash_buf_add_int(NULL, 1), STASH_E_INVAL);
	ck_assert_int_eq(stash_buf_data(NULL, &data, NULL), STASH_E_INVAL);
}
END_TEST

START_TEST(a_public_buffer_holds_a_state)
{
	struct stash_buf *buf = stash_buf_create();
	char *state = calloc(1, STASH_STATE_MAX);
	size_t len = 0;

	ck_assert(buf != NULL && state != NULL);
	ck_assert_int_eq(stash_buf_add(buf, state, STASH_STATE_MAX), 0);
	ck_assert_int_eq(stash_buf_data(buf, NULL, &len), 0);
	ck_assert_uint_eq(len, STASH_STATE_MAX);
	ck_assert_int_eq(stash_buf_add(buf, state, 1), STASH_E_TOOBIG);
	stash_buf_destroy(buf);
	free(state);
}
END_TEST

/* A view of these bytes, that fails with the next item. */
static struct stash_view
view_of(const char *bytes, size_t len)
{
	struct stash_view view;

	stash_view_init(&view, bytes, len);
	return view;
}

START_TEST(foreign_bytes_are_not_trusted)
{
	struct stash_view view;
	size_t len = 9;

	view = view_of("1234567", 7);
	ck_assert_int_eq(stash_view_int(&view), 0);
	ck_assert_int_eq(stash_view_end(&view), STASH_E_FORMAT);
	view = view_of("\377\377\377\377abc", 7);
	ck_assert_ptr_null(stash_view_bytes(&view, &len));
	ck_assert_uint_eq(len, 0);
	view = view_of("\4\0\0\0abc", 7);
	ck_assert_ptr_null(stash_view_bytes(&view, NULL));
	ck_assert_str_eq(stash_view_text(&view), ""); /* sticks, though "abc" would be left */
	ck_assert_ptr_null(stash__view_take(&view, 1));
	view = view_of("\377\377\377\377\1\2\3\4\5\6\7\10\11", 13);
	ck_assert_ptr_null(stash_view_bytes(&view, &len));
	ck_assert_int_eq(stash_view_int(&view), 0);
	view = view_of("\x04\0\0", 3);
	ck_assert_ptr_null(stash_view_bytes(&view, &len));
	view = view_of("abc", 3);
	ck_assert_str_eq(stash_view_text(&view), "");
	ck_assert_int_eq(view.error, STASH_E_FORMAT);
	view = view_of("ab\xff", 4);
	ck_assert_str_eq(stash_view_text(&view), "");
	ck_assert_int_eq(stash_view_int(&view), 0);
	view = view_of(NULL, 0);
	ck_assert_int_eq(stash_view_end(&view), 0);
	ck_assert_str_eq(stash_view_text(&view), "");
	ck_assert_int_eq(stash_view_end(&view), STASH_E_FORMAT);
	view = view_of(NULL, 5);
	ck_assert_ptr_null(stash__view_take(&view, 0));
	ck_assert_int_eq(stash_view_end(&view), STASH_E_FORMAT);
	view = view_of("\x05\0\0\0\0\0\0\0\x05\0\0\0\0\0\0", 16);
	ck_assert_int_eq(stash__view_range(&view, 5, 5), 5);
	ck_assert_int_eq(stash__view_range(&view, -2, 4), -2);
	ck_assert_int_eq(stash_view_end(&view), STASH_E_FORMAT);
}
END_TEST

/* ---- messages ---- */

struct pair {
	int32_t a, b;
};

START_TEST(a_message_is_asked)
{
	static const struct pair pair = { 3, 4 };
	struct stash_msg msg = { .tag = "add", .data = "", .len = 0 };
	int64_t value = 77;

	ck_assert(stash_msg_is(&msg, "add"));
	ck_assert(!stash_msg_is(&msg, "ad") && !stash_msg_is(&msg, "adds") && !stash_msg_is(&msg, NULL));
	ck_assert(!stash_msg_is(NULL, "add"));
	ck_assert_str_eq(stash_msg_text(&msg), "");
	ck_assert_int_eq(stash_msg_int(&msg, 0, 9, &value), STASH_E_INVAL);
	ck_assert_ptr_null(stash_msg_text(NULL));
	ck_assert_int_eq(stash_msg_int(NULL, 0, 9, &value), STASH_E_INVAL);

	msg.data = "-12";
	msg.len = 3;
	ck_assert_str_eq(stash_msg_text(&msg), "-12");
	ck_assert_int_eq(stash_msg_int(&msg, -12, 0, &value), 0);
	ck_assert_int_eq(value, -12);
	ck_assert_int_eq(stash_msg_int(&msg, -11, 0, &value), STASH_E_INVAL);
	msg.data = "1\0"
		   "2";
	ck_assert_ptr_null(stash_msg_text(&msg));
	ck_assert_int_eq(stash_msg_int(&msg, 0, 9, &value), STASH_E_INVAL);
	msg.data = "cat";
	ck_assert_int_eq(stash_msg_int(&msg, 0, 9, &value), STASH_E_INVAL);
	ck_assert_str_eq(stash_errmsg(), "message \"add\": \"cat\" is not a number");
	msg.data = "a\xc3\x28";
	ck_assert_ptr_null(stash_msg_text(&msg));
	ck_assert_int_eq(value, -12);

	ck_assert_ptr_null(STASH_AS(&msg, struct pair));
	msg.data = &pair;
	msg.len = sizeof(pair);
	ck_assert_int_eq(STASH_AS(&msg, struct pair)->b, 4);
}
END_TEST

/* ---- structs of other versions ---- */

struct options {
	size_t size;
	uint64_t a, b;
};

START_TEST(structs_of_other_versions_are_taken)
{
	struct {
		struct options known;
		uint64_t more[2];
	} newer = { { sizeof(newer), 1, 2 }, { 0, 0 } };
	struct {
		size_t size;
		uint64_t a;
	} older = { sizeof(older), 5 };
	struct options mine = { 0, 8, 8 };

	ck_assert_int_eq(stash__take(&mine, sizeof(mine), &older, "options"), 0);
	ck_assert(mine.size == sizeof(mine) && mine.a == 5 && mine.b == 0);
	ck_assert_int_eq(stash__take(&mine, sizeof(mine), &newer, "options"), 0);
	ck_assert(mine.size == sizeof(mine) && mine.a == 1 && mine.b == 2);
	ck_assert_int_eq(stash__take(&mine, sizeof(mine), NULL, "options"), 0);
	ck_assert(mine.size == sizeof(mine) && mine.a == 0 && mine.b == 0);
	newer.more[1] = UINT64_C(1) << 63;
	ck_assert_int_eq(stash__take(&mine, sizeof(mine), &newer, "options"), STASH_E_INVAL);
	ck_assert_str_eq(stash_errmsg(), "options: sets what libstash 0.1.0 doesn't know");
}
END_TEST

START_TEST(a_size_that_is_none_is_refused)
{
	static const size_t sizes[] = { 0, 7, 12, 8192, SIZE_MAX, SIZE_MAX - 7 };
	struct options mine, theirs = { 0, 1, 1 };
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		theirs.size = sizes[i];
		ck_assert_int_eq(stash__take(&mine, sizeof(mine), &theirs, "options"), STASH_E_INVAL);
		ck_assert_ptr_null(stash__element(&theirs, 0));
	}
}
END_TEST

START_TEST(elements_lie_their_own_size_apart)
{
	struct {
		struct options known;
		uint64_t more;
	} array[3] = { { { sizeof(array[0]), 0, 0 }, 0 } };

	ck_assert_ptr_eq(stash__element(array, 0), &array[0]);
	ck_assert_ptr_eq(stash__element(array, 2), &array[2]);
}
END_TEST

Suite *
base_buf_suite(void)
{
	Suite *suite = suite_create("base_buf");
	TCase *tc = t_case(suite, "buffers", 10);

	tcase_add_test(tc, what_is_packed_is_read_again);
	tcase_add_test(tc, the_format_is_little_endian);
	tcase_add_test(tc, an_error_of_a_buffer_sticks);
	tcase_add_test(tc, a_public_buffer_holds_a_state);
	tcase_add_test(tc, foreign_bytes_are_not_trusted);
	tc = t_case(suite, "messages", 10);
	tcase_add_test(tc, a_message_is_asked);
	tc = t_case(suite, "structs", 10);
	tcase_add_test(tc, structs_of_other_versions_are_taken);
	tcase_add_test(tc, a_size_that_is_none_is_refused);
	tcase_add_test(tc, elements_lie_their_own_size_apart);
	return suite;
}

TEST_MAIN(base_buf_suite)
