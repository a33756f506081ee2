/* SPDX-License-Identifier: ISC */
/*
 * Tables of fields, records, and what is shown of a state by them: what is right comes back as it was and looks as it
 * should; what is wrong is refused, cut short or bent at any place, and never looked at beyond its end.
 */
#include <bsd/string.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "common/out.h"
#include "shm/fields.h"
#include "shm/record.h"
#include "testlib.h"
#include "testlib_store.h"

struct point {
	int16_t x, y;
};

struct sample {
	int64_t next;
	uint8_t small;
	bool on;
	char text[16];
	float share;
	double exact;
	uint32_t list[3];
	int64_t at;
	struct point one, many[2];
	unsigned char bytes[4];
	uint64_t large;
	char secret[8];
};

static const struct stash_field point_fields[] = { STASH_FIELD(struct point, x), STASH_FIELD(struct point, y),
	STASH_FIELD_END };

static const struct stash_field fields[] = {
	STASH_FIELD(struct sample, next),
	STASH_FIELD(struct sample, small),
	STASH_FIELD(struct sample, on),
	STASH_FIELD(struct sample, text),
	STASH_FIELD(struct sample, share),
	STASH_FIELD(struct sample, exact),
	STASH_FIELD_ARRAY(struct sample, list),
	STASH_FIELD_AS(struct sample, at, int64_t, STASH_TYPE_TIME_MS, 0, NULL),
	STASH_FIELD_STRUCT(struct sample, one, point_fields),
	STASH_FIELD_AS(struct sample, many, struct point, STASH_TYPE_STRUCT, 0, point_fields),
	STASH_FIELD(struct sample, bytes),
	STASH_FIELD(struct sample, large),
	STASH_FIELD_AS(struct sample, secret, ((struct sample *)0)->secret, STASH_TYPE_TEXT, STASH_FIELD_SECRET, NULL),
	STASH_FIELD_END,
};

static const struct sample sample = {
	.next = -126,
	.small = 200,
	.on = true,
	.text = "a\"b\\\033[1m\n",
	.share = 0.1f,
	.exact = 1.0 / 3,
	.list = { 1, 2, 4000000000u },
	.at = 86400000,
	.one = { -1, 2 },
	.many = { { 3, 4 }, { 5, 6 } },
	.bytes = { 0xde, 0xad, 0, 1 },
	.large = UINT64_MAX,
	.secret = "hidden",
};

/* What is printed, to be freed. */
static char *
printed(const struct stash_field *table, const void *image, size_t len, int expect)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(stash__fields_print(out, table, image, len), expect);
	fclose(out);
	return text;
}

START_TEST(test_print)
{
	char *text;

	ck_assert_int_eq(setenv("TZ", "UTC", 1), 0);
	text = printed(fields, &sample, sizeof sample, STASH_OK);
	ck_assert_str_eq(text,
	    "next = -126\n"
	    "small = 200\n"
	    "on = true\n"
	    "text = \"a\\\"b\\\\\\x1b[1m\\n\"\n"
	    "share = 0.1\n"
	    "exact = 0.3333333333333333\n"
	    "list = [1, 2, 4000000000]\n"
	    "at = 1970-01-02 00:00:00.000 +0000\n"
	    "one.x = -1\n"
	    "one.y = 2\n"
	    "many[0].x = 3\n"
	    "many[0].y = 4\n"
	    "many[1].x = 5\n"
	    "many[1].y = 6\n"
	    "bytes = dead0001\n"
	    "large = 18446744073709551615\n"
	    "secret = (secret)\n");
	free(text);
	free(printed(fields, &sample, sizeof sample - 1, STASH_E_FORMAT));
	text = printed(NULL, &sample, sizeof sample, STASH_OK);
	ck_assert_str_eq(text, "");
	free(text);
}
END_TEST

START_TEST(test_hex)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ck_assert_int_eq(stash__hex_print(out, "0123456789abcdef\033\xff.", 19), 0);
	fclose(out);
	ck_assert_str_eq(text,
	    "00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|\n"
	    "00000010  1b ff 2e                                         |...|\n");
	free(text);
}
END_TEST

START_TEST(test_json)
{
	const struct sample odd = { .share = NAN, .exact = -INFINITY, .text = "\xff" };
	json_t *o = tool_json();
	char *text;

	json_decref(o);
	o = tool_json_fields(fields, &sample);
	text = json_dumps(o, JSON_COMPACT);
	ck_assert_str_eq(text,
	    "{\"next\":-126,\"small\":200,\"on\":true,\"text\":\"a\\\"b\\\\\\u001B[1m\\n\","
	    "\"share\":0.10000000149011612,"
	    "\"exact\":0.33333333333333331,\"list\":[1,2,4000000000],\"at\":\"1970-01-02T00:00:00.000Z\","
	    "\"one\":{\"x\":-1,\"y\":2},\"many\":[{\"x\":3,\"y\":4},{\"x\":5,\"y\":6}],\"bytes\":\"dead0001\","
	    "\"large\":\"18446744073709551615\",\"secret\":null}");
	free(text);
	json_decref(o);
	o = tool_json_fields(fields, &odd);
	ck_assert_str_eq(json_string_value(json_object_get(o, "share")), "nan");
	ck_assert_str_eq(json_string_value(json_object_get(o, "exact")), "-inf");
	ck_assert_str_eq(json_string_value(json_object_get(o, "text")), "\\xff");
	json_decref(o);
}
END_TEST

START_TEST(test_pack)
{
	struct stash_field *back;
	struct stash_buf buf;
	char *before, *after;

	stash__buf_init(&buf, STASH__FIELDS_BYTES);
	ts_good(stash__fields_pack(&buf, fields, sizeof sample));
	ts_good(stash__fields_unpack(buf.data, buf.len, sizeof sample, &back));
	before = printed(fields, &sample, sizeof sample, STASH_OK);
	after = printed(back, &sample, sizeof sample, STASH_OK);
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	stash__fields_free(back);
	ts_bad(stash__fields_unpack(buf.data, buf.len, sizeof sample - 1, &back), STASH_E_FORMAT, "secret");
	ck_assert_ptr_null(back);
	stash__buf_reset(&buf);
	ts_good(stash__fields_pack(&buf, NULL, 0));
	ts_good(stash__fields_unpack(buf.data, buf.len, 0, &back));
	ck_assert_ptr_null(back);
	stash__buf_fini(&buf);
}
END_TEST

START_TEST(test_pack_damaged)
{
	struct stash_field *back;
	struct stash_buf buf;
	unsigned char *copy;

	stash__buf_init(&buf, STASH__FIELDS_BYTES);
	ts_good(stash__fields_pack(&buf, fields, sizeof sample));
	for (size_t len = 0; len < buf.len; len++) {
		/* An allocation of that length, so that a read beyond it is seen. */
		copy = malloc(len + 1);
		memcpy(copy, buf.data, len);
		ck_assert_int_eq(stash__fields_unpack(copy, len, sizeof sample, &back), STASH_E_FORMAT);
		free(copy);
	}
	copy = malloc(buf.len + 1);
	for (size_t at = 0; at < buf.len; at++) {
		for (int bit = 0; bit < 8; bit++) {
			memcpy(copy, buf.data, buf.len);
			copy[at] ^= (unsigned char)(1 << bit);
			if (stash__fields_unpack(copy, buf.len, sizeof sample, &back) == STASH_OK)
				free(printed(back, &sample, sizeof sample, STASH_OK));
			stash__fields_free(back);
		}
	}
	free(copy);
	stash__buf_fini(&buf);
}
END_TEST

START_TEST(test_check)
{
	static const struct {
		struct stash_field field;
		const char *words;
	} wrong[] = {
		{ { "f", 0, 9, 1, STASH_TYPE_BYTES, 0, 0, NULL }, "beyond" },
		{ { "f", 8, 1, 1, STASH_TYPE_BYTES, 0, 0, NULL }, "beyond" },
		{ { "f", 4, 2, 3, STASH_TYPE_INT, 0, 0, NULL }, "beyond" },
		{ { "f", UINT32_MAX, 8, 1, STASH_TYPE_INT, 0, 0, NULL }, "beyond" },
		{ { "f", 0, UINT32_MAX, UINT32_MAX, STASH_TYPE_BYTES, 0, 0, NULL }, "beyond" },
		{ { "f", 0, 0, 1, STASH_TYPE_BYTES, 0, 0, NULL }, "no bytes" },
		{ { "f", 0, 8, 0, STASH_TYPE_BYTES, 0, 0, NULL }, "no bytes" },
		{ { "f", 0, 3, 1, STASH_TYPE_INT, 0, 0, NULL }, "1, 2, 4 or 8" },
		{ { "f", 0, 2, 1, STASH_TYPE_FLOAT, 0, 0, NULL }, "4 or 8" },
		{ { "f", 0, 4, 1, STASH_TYPE_BOOL, 0, 0, NULL }, "1 byte" },
		{ { "f", 0, 4, 1, STASH_TYPE_TIME_MS, 0, 0, NULL }, "8 bytes" },
		{ { "f", 0, 8, 1, STASH_TYPE_STRUCT, 0, 0, NULL }, "without fields" },
		{ { "f", 0, 8, 1, 8, 0, 0, NULL }, "unknown" },
		{ { "", 0, 8, 1, STASH_TYPE_INT, 0, 0, NULL }, "name" },
		{ { "a\nb", 0, 8, 1, STASH_TYPE_INT, 0, 0, NULL }, "name" },
	};

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		const struct stash_field table[] = { wrong[i].field, STASH_FIELD_END };

		ts_bad(stash__fields_check(table, 8), STASH_E_FORMAT, wrong[i].words);
	}
}
END_TEST

START_TEST(test_check_endless)
{
	struct stash_field loop[] = { { "f", 0, 8, 1, STASH_TYPE_STRUCT, 0, 0, NULL }, STASH_FIELD_END };
	struct stash_field many[STASH__FIELDS_MAX + 2] = { STASH_FIELD_END };
	struct stash_buf buf;

	loop[0].fields = loop;
	stash__buf_init(&buf, STASH__FIELDS_BYTES);
	ts_bad(stash__fields_pack(&buf, loop, 8), STASH_E_FORMAT, "deeper");
	for (size_t i = 0; i <= STASH__FIELDS_MAX; i++)
		many[i] = (struct stash_field){ "f", 0, 8, 1, STASH_TYPE_INT, 0, 0, NULL };
	ts_bad(stash__fields_pack(&buf, many, 8), STASH_E_FORMAT, "more than");
	many[STASH__FIELDS_MAX].name = NULL;
	ts_good(stash__fields_check(many, 8));
	stash__buf_fini(&buf);
}
END_TEST

/* ---- records ---- */

static struct stash__registry_row
row(void)
{
	struct stash__registry_row r = { .boot_id = "fifteen letters", .since_ns = 123 };

	r.process = (struct stash_process){ .pid = 7,
		.status = STASH_STOPPED,
		.failed = 1,
		.start_time = 8,
		.incarnation = 9,
		.version = UINT64_MAX,
		.restarts = 11,
		.id = "endpoint",
		.name = "web.endpoint",
		.child = "root/web/endpoint" };
	return r;
}

START_TEST(test_registry)
{
	struct stash__registry_row r = row(), back;
	struct stash_buf buf;
	unsigned char *copy;

	stash__buf_init(&buf, 4096);
	ts_good(stash__pack_registry(&buf, &r));
	ts_good(stash__unpack_registry(buf.data, buf.len, &back));
	ck_assert_mem_eq(&r, &back, sizeof r);
	for (size_t len = 0; len < buf.len; len++) {
		copy = malloc(len + 1);
		memcpy(copy, buf.data, len);
		ck_assert_int_eq(stash__unpack_registry(copy, len, &back), STASH_E_FORMAT);
		free(copy);
	}
	stash_buf_add(&buf, "x", 1);
	ts_bad(stash__unpack_registry(buf.data, buf.len, &back), STASH_E_FORMAT, "web.endpoint");
	stash__buf_fini(&buf);
}
END_TEST

/* Names that no supervisor would have allowed don't get through. */
START_TEST(test_process_names)
{
	struct stash__registry_row r = row();
	struct stash_process back;
	struct stash_view view;
	struct stash_buf buf;

	stash__buf_init(&buf, 4096);
	r.process.name[3] = '\033';
	ts_good(stash__pack_process(&buf, &r.process));
	stash_view_init(&view, buf.data, buf.len);
	ck_assert_int_eq(stash__view_process(&view, &back), STASH_E_FORMAT);
	ck_assert_str_eq(back.name, "");
	stash__buf_fini(&buf);
}
END_TEST

START_TEST(test_event)
{
	struct stash_event e = {
		.time_ns = -5, .type = STASH_EV_EXITED, .reason = STASH_REASON_CRASH, .child = "root/a"
	};
	struct stash_event back;
	struct stash_buf buf;
	char *text = calloc(1, STASH__EVENT_TEXT_MAX + 10);

	/* The cut falls into the middle of a character. */
	memset(text, 'x', STASH__EVENT_TEXT_MAX - 1);
	strlcpy(text + STASH__EVENT_TEXT_MAX - 1, "\xc3\xa4yz", 10);
	e.text = text;
	stash__buf_init(&buf, 8192);
	ts_good(stash__pack_event(&buf, &e));
	ck_assert_uint_lt(buf.len, STORE_VALUE_MAX);
	ts_good(stash__unpack_event(3, buf.data, buf.len, &back));
	ck_assert_uint_eq(back.seq, 3);
	ck_assert_int_eq(back.time_ns, -5);
	ck_assert_uint_eq(back.type, STASH_EV_EXITED);
	ck_assert_str_eq(back.child, "root/a");
	ck_assert_str_eq(back.name, "");
	ck_assert_uint_eq(strlen(back.text), STASH__EVENT_TEXT_MAX - 1);
	for (size_t len = 0; len < buf.len; len++)
		ck_assert_int_eq(stash__unpack_event(3, buf.data, len, &back), STASH_E_FORMAT);
	stash__buf_fini(&buf);
	free(text);
}
END_TEST

START_TEST(test_schema)
{
	unsigned char key[STASH__SCHEMA_KEY_MAX];
	struct stash_field *back;
	struct stash_buf buf;
	uint64_t len;

	ck_assert_int_eq(stash__schema_key(key, "seq", 0x01020304, 5), 12);
	ck_assert_mem_eq(key, "seq\0\1\2\3\4\0\0\0\5", 12);
	ts_bad(stash__schema_key(key, "", 1, 0), STASH_E_INVAL, "");
	stash__buf_init(&buf, STASH__FIELDS_BYTES);
	ts_good(stash__pack_schema(&buf, fields, sizeof sample));
	ts_good(stash__unpack_schema(buf.data, buf.len, &len, &back));
	ck_assert_uint_eq(len, sizeof sample);
	stash__fields_free(back);
	ck_assert_int_eq(stash__unpack_schema(buf.data, 7, &len, &back), STASH_E_FORMAT);
	stash__buf_fini(&buf);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("fields and records");
	TCase *tc = t_case(s, "fields", 10);

	tcase_add_test(tc, test_print);
	tcase_add_test(tc, test_hex);
	tcase_add_test(tc, test_json);
	tcase_add_test(tc, test_pack);
	tcase_add_test(tc, test_pack_damaged);
	tcase_add_test(tc, test_check);
	tcase_add_test(tc, test_check_endless);
	tc = t_case(s, "records", 10);
	tcase_add_test(tc, test_registry);
	tcase_add_test(tc, test_process_names);
	tcase_add_test(tc, test_event);
	tcase_add_test(tc, test_schema);
	return s;
}

TEST_MAIN(suite)
