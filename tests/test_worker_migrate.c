/* SPDX-License-Identifier: ISC */
/*
 * States of one layout made of images of another: each kind of value, each way, and what is refused.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "testlib.h"
#include "worker/migrate.h"

/* From one struct to another, exactly as long as they are, so that sanitizers see a look beyond. */
static int
migrate(const struct stash_field *from, const void *image, size_t len, const struct stash_field *to, void *state,
    size_t size)
{
	void *in = malloc(len), *out = calloc(1, size);
	int result;

	memcpy(in, image, len);
	result = stash__migrate(from, in, len, to, out, size);
	memcpy(state, out, size);
	free(in);
	free(out);
	return result;
}
#define MIGRATE(f, x, t, y) migrate(f, &(x), sizeof(x), t, &(y), sizeof(y))

/* ---- whole numbers: each width and sign to each other ---- */

struct numbers {
	int8_t i1;
	int16_t i2;
	int32_t i4;
	int64_t i8;
	uint8_t u1;
	uint16_t u2;
	uint32_t u4;
	uint64_t u8;
	bool b;
};

struct number {
	const char *member;
	uint32_t offset, size, type;
	int64_t min;
	uint64_t max;
};

#define NUMBER(m, type, min, max) \
	{ \
#m, offsetof(struct numbers, m), sizeof(((struct numbers *)0)->m), type, min, max \
	}
static const struct number numbers[] = {
	NUMBER(i1, STASH_TYPE_INT, INT8_MIN, INT8_MAX),
	NUMBER(i2, STASH_TYPE_INT, INT16_MIN, INT16_MAX),
	NUMBER(i4, STASH_TYPE_INT, INT32_MIN, INT32_MAX),
	NUMBER(i8, STASH_TYPE_INT, INT64_MIN, INT64_MAX),
	NUMBER(i8, STASH_TYPE_TIME_MS, INT64_MIN, INT64_MAX),
	NUMBER(u1, STASH_TYPE_UINT, 0, UINT8_MAX),
	NUMBER(u2, STASH_TYPE_UINT, 0, UINT16_MAX),
	NUMBER(u4, STASH_TYPE_UINT, 0, UINT32_MAX),
	NUMBER(u8, STASH_TYPE_UINT, 0, UINT64_MAX),
	NUMBER(b, STASH_TYPE_BOOL, 0, 1),
};
#define NUMBERS (sizeof numbers / sizeof numbers[0])

/* A number as it would be written: sign apart. */
struct value {
	bool negative;
	uint64_t bits;
};

static bool
holds(const struct number *n, struct value v)
{
	return v.negative ? n->min < 0 && (int64_t)v.bits >= n->min : v.bits <= n->max;
}

static void
put(struct numbers *s, const struct number *n, struct value v)
{
	memcpy((char *)s + n->offset, &v.bits, n->size); /* little-endian, as all machines here are */
}

START_TEST(test_whole_numbers)
{
	const struct number *from = &numbers[(size_t)_i / NUMBERS], *to = &numbers[(size_t)_i % NUMBERS];
	const struct stash_field f[] = { { "n", from->offset, from->size, 1, from->type, 0, 0, NULL },
		STASH_FIELD_END };
	const struct stash_field t[] = { { "n", to->offset, to->size, 1, to->type, 0, 0, NULL }, STASH_FIELD_END };
	unsigned tried = 0;

	for (size_t i = 0; i < NUMBERS; i++) {
		/* The bounds of all of them, and one beyond. */
		const struct value values[] = { { false, 0 }, { false, 1 }, { false, 2 }, { true, (uint64_t)-1 },
			{ false, numbers[i].max }, { numbers[i].max == UINT64_MAX, numbers[i].max + 1 },
			{ numbers[i].min < 0, (uint64_t)numbers[i].min },
			{ true, numbers[i].min == INT64_MIN ? (uint64_t)-7 : (uint64_t)(numbers[i].min - 1) } };
		for (size_t k = 0; k < sizeof values / sizeof values[0]; k++) {
			struct numbers old = { 0 }, expected = { 0 }, new;
			int result;
			if (!holds(from, values[k]) || (values[k].negative && values[k].bits == 0))
				continue;
			put(&old, from, values[k]);
			result = MIGRATE(f, old, t, new);
			ck_assert_int_eq(result, holds(to, values[k]) ? STASH_OK : STASH_E_LAYOUT);
			if (result == STASH_OK)
				put(&expected, to, values[k]);
			else
				ck_assert_ptr_nonnull(strstr(stash_errmsg(), "field n: "));
			ck_assert_mem_eq(&new, &expected, sizeof new);
			tried++;
		}
	}
	ck_assert_uint_gt(tried, 10);
}
END_TEST

START_TEST(test_refusals_name_value_and_field)
{
	struct numbers old = { .i8 = -129, .u4 = 300 }, new;
	static const struct stash_field from[] = {
		{ "low", offsetof(struct numbers, i8), 8, 1, STASH_TYPE_INT, 0, 0, NULL }, STASH_FIELD_END
	};
	static const struct stash_field to[] = {
		{ "low", offsetof(struct numbers, i1), 1, 1, STASH_TYPE_INT, 0, 0, NULL }, STASH_FIELD_END
	};

	ck_assert_int_eq(MIGRATE(from, old, to, new), STASH_E_LAYOUT);
	ck_assert_str_eq(stash_errmsg(), "field low: -129 doesn't fit into what it is now");
}
END_TEST

/* ---- a whole struct ---- */

struct point {
	int32_t x, y;
};
struct old {
	int32_t count;
	char name[8];
	float weight;
	double share;
	bool open;
	unsigned char key[4];
	struct point points[3];
	struct point origin;
	int16_t series[4];
	int64_t gone;
};
static const struct stash_field old_point[] = { STASH_FIELD(struct point, x), STASH_FIELD(struct point, y),
	STASH_FIELD_END };
static const struct stash_field old_fields[] = { STASH_FIELD(struct old, count), STASH_FIELD(struct old, name),
	STASH_FIELD(struct old, weight), STASH_FIELD(struct old, share), STASH_FIELD(struct old, open),
	STASH_FIELD(struct old, key), STASH_FIELD_AS(struct old, points, struct point, STASH_TYPE_STRUCT, 0, old_point),
	STASH_FIELD_STRUCT(struct old, origin, old_point), STASH_FIELD_ARRAY(struct old, series),
	STASH_FIELD(struct old, gone), STASH_FIELD_END };
static const struct old sample = { 7, "seven", 1.5f, 0.25, true, { 1, 2, 3, 4 }, { { 1, 2 }, { 3, 4 }, { 0, 0 } },
	{ -5, -6 }, { 10, 20, 0, 0 }, 99 };

struct new_point {
	int64_t y, x, z;
};
struct new
{
	unsigned char key[4];
	int32_t series[6];
	struct new_point origin, points[2];
	int64_t open;
	float share;
	double weight;
	char name[32];
	uint64_t count;
	int32_t fresh;
};
static const struct stash_field new_point[] = { STASH_FIELD(struct new_point, x), STASH_FIELD(struct new_point, y),
	STASH_FIELD(struct new_point, z), STASH_FIELD_END };
static const struct stash_field new_fields[] = { STASH_FIELD(struct new, key), STASH_FIELD_ARRAY(struct new, series),
	STASH_FIELD_STRUCT(struct new, origin, new_point),
	STASH_FIELD_AS(struct new, points, struct new_point, STASH_TYPE_STRUCT, 0, new_point),
	STASH_FIELD(struct new, open), STASH_FIELD(struct new, share), STASH_FIELD(struct new, weight),
	STASH_FIELD(struct new, name), STASH_FIELD(struct new, count), STASH_FIELD(struct new, fresh),
	STASH_FIELD_END };

START_TEST(test_whole_struct)
{
	struct new n;
	struct old back;

	ck_assert_int_eq(MIGRATE(old_fields, sample, new_fields, n), STASH_OK);
	ck_assert_uint_eq(n.count, 7);
	ck_assert_str_eq(n.name, "seven");
	ck_assert(n.weight == 1.5 && n.share == 0.25f);
	ck_assert_int_eq(n.open, 1);
	ck_assert_mem_eq(n.key, "\1\2\3\4", 4);
	ck_assert_int_eq(n.points[1].x, 3);
	ck_assert_int_eq(n.points[1].y, 4);
	ck_assert_int_eq(n.points[1].z, 0);
	ck_assert_int_eq(n.origin.x, -5);
	ck_assert_int_eq(n.series[1], 20);
	ck_assert_int_eq(n.series[5], 0);
	ck_assert_int_eq(n.fresh, 0);
	/* And back: all but what was dropped. */
	ck_assert_int_eq(MIGRATE(new_fields, n, old_fields, back), STASH_OK);
	ck_assert_int_eq(back.gone, 0);
	back.gone = 99;
	ck_assert_int_eq(back.count, 7);
	ck_assert_str_eq(back.name, "seven");
	ck_assert(back.open && back.weight == 1.5f && back.share == 0.25);
	ck_assert_mem_eq(back.points, sample.points, sizeof back.points);
	ck_assert_mem_eq(back.series, sample.series, sizeof back.series);
}
END_TEST

/* ---- what is refused ---- */

static void
refused(const struct new *n, const char *why)
{
	struct old o;

	ck_assert_int_eq(MIGRATE(new_fields, *n, old_fields, o), STASH_E_LAYOUT);
	ck_assert_str_eq(stash_errmsg(), why);
}

START_TEST(test_what_does_not_fit)
{
	struct old dropped = sample;
	struct new n = { .open = 2 };

	refused(&n, "field open: 2 doesn't fit into what it is now");
	n = (struct new){ .name = "seventeen" };
	refused(&n, "field name: a text of 9 bytes doesn't fit into 8");
	n = (struct new){ .name = "eighteen" };
	refused(&n, "field name: a text of 8 bytes doesn't fit into 8");
	n = (struct new){ .weight = 1e300 };
	refused(&n, "field weight: 1e+300 is too large for a float");
	n = (struct new){ .series = { 0, 0, 0, 40000 } };
	refused(&n, "field series[3]: 40000 doesn't fit into what it is now");
	n = (struct new){ .series = { 0, 0, 0, 0, 0, 1 } };
	refused(&n, "field series[5]: it isn't zero, and there are only 4 now");
	n = (struct new){ .origin = { .y = INT64_MAX } };
	refused(&n, "field origin.y: 9223372036854775807 doesn't fit into what it is now");
	n = (struct new){ .points = { { 0 }, { .x = INT64_MIN } } };
	refused(&n, "field points[1].x: -9223372036854775808 doesn't fit into what it is now");
	n = (struct new){ .count = UINT64_MAX };
	refused(&n, "field count: 18446744073709551615 doesn't fit into what it is now");
	dropped.points[2].x = 1;
	ck_assert_int_eq(MIGRATE(old_fields, dropped, new_fields, n), STASH_E_LAYOUT);
	ck_assert_str_eq(stash_errmsg(), "field points[2]: it isn't zero, and there are only 2 now");
}
END_TEST

START_TEST(test_what_is_of_another_kind)
{
	static const uint32_t types[] = { STASH_TYPE_BYTES, STASH_TYPE_INT, STASH_TYPE_FLOAT, STASH_TYPE_TEXT,
		STASH_TYPE_STRUCT };
	struct point in = { 0, 0 }, out;

	for (size_t i = 0; i < 5; i++) {
		for (size_t k = 0; k < 5; k++) {
			const struct stash_field from[] = { { "f", 0, 8, 1, types[i], 0, 0,
								types[i] == STASH_TYPE_STRUCT ? old_point : NULL },
				STASH_FIELD_END };
			const struct stash_field to[] = { { "f", 0, 8, 1, types[k], 0, 0,
							      types[k] == STASH_TYPE_STRUCT ? old_point : NULL },
				STASH_FIELD_END };
			ck_assert_int_eq(MIGRATE(from, in, to, out), i == k ? STASH_OK : STASH_E_LAYOUT);
		}
	}
	ck_assert_str_eq(stash_errmsg(), "field f: it was a struct, and is a text now");
}
END_TEST

START_TEST(test_bytes_keep_their_size)
{
	static const struct stash_field four[] = { { "f", 0, 4, 1, STASH_TYPE_BYTES, 0, 0, NULL }, STASH_FIELD_END };
	static const struct stash_field eight[] = { { "f", 0, 8, 1, STASH_TYPE_BYTES, 0, 0, NULL }, STASH_FIELD_END };
	struct point in = { 1, 2 }, out;

	ck_assert_int_eq(MIGRATE(four, in, eight, out), STASH_E_LAYOUT);
	ck_assert_str_eq(stash_errmsg(), "field f: it had 4 bytes, and has 8 now");
	ck_assert_int_eq(MIGRATE(eight, in, eight, out), STASH_OK);
	ck_assert_int_eq(out.y, 2);
}
END_TEST

START_TEST(test_floats)
{
	static const struct stash_field small[] = { { "f", 0, 4, 1, STASH_TYPE_FLOAT, 0, 0, NULL }, STASH_FIELD_END };
	static const struct stash_field large[] = { { "f", 0, 8, 1, STASH_TYPE_FLOAT, 0, 0, NULL }, STASH_FIELD_END };
	static const double same[] = { 0.0, -0.0, 1.5, -1e30, (double)FLT_MAX, (double)INFINITY };
	double d, back;
	float f;

	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
		ck_assert_int_eq(MIGRATE(large, same[i], small, f), STASH_OK);
		ck_assert(f == (float)same[i]);
		ck_assert_int_eq(MIGRATE(small, f, large, back), STASH_OK);
		ck_assert(back == (double)(float)same[i]);
	}
	d = 0.1; /* digits may go */
	ck_assert_int_eq(MIGRATE(large, d, small, f), STASH_OK);
	ck_assert(f == 0.1f);
	d = (double)NAN;
	ck_assert_int_eq(MIGRATE(large, d, small, f), STASH_OK);
	ck_assert(isnan(f));
}
END_TEST

START_TEST(test_text_without_its_nul)
{
	static const struct stash_field four[] = { { "f", 0, 4, 1, STASH_TYPE_TEXT, 0, 0, NULL }, STASH_FIELD_END };
	static const struct stash_field eight[] = { { "f", 0, 8, 1, STASH_TYPE_TEXT, 0, 0, NULL }, STASH_FIELD_END };
	char full[4] = { 'f', 'u', 'l', 'l' }, longer[8], same[4];

	ck_assert_int_eq(MIGRATE(four, full, eight, longer), STASH_OK);
	ck_assert_str_eq(longer, "full");
	ck_assert_int_eq(MIGRATE(four, full, four, same), STASH_OK);
	ck_assert_mem_eq(same, full, 4);
	ck_assert_int_eq(MIGRATE(eight, longer, four, same), STASH_E_LAYOUT);
}
END_TEST

START_TEST(test_tables_that_lie)
{
	static const struct stash_field beyond[] = { { "f", 4, 8, 1, STASH_TYPE_INT, 0, 0, NULL }, STASH_FIELD_END };
	static const struct stash_field good[] = { { "f", 0, 8, 1, STASH_TYPE_INT, 0, 0, NULL }, STASH_FIELD_END };
	int64_t in = 1, out;

	ck_assert_int_eq(MIGRATE(beyond, in, good, out), STASH_E_FORMAT);
	ck_assert_int_eq(MIGRATE(good, in, beyond, out), STASH_E_FORMAT);
	ck_assert_int_eq(MIGRATE(NULL, in, good, out), STASH_OK);
	ck_assert_int_eq(out, 0);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("migration by names");
	TCase *c = t_case(s, "values", 30);

	tcase_add_loop_test(c, test_whole_numbers, 0, NUMBERS * NUMBERS);
	tcase_add_test(c, test_refusals_name_value_and_field);
	tcase_add_test(c, test_whole_struct);
	tcase_add_test(c, test_what_does_not_fit);
	tcase_add_test(c, test_what_is_of_another_kind);
	tcase_add_test(c, test_bytes_keep_their_size);
	tcase_add_test(c, test_floats);
	tcase_add_test(c, test_text_without_its_nul);
	tcase_add_test(c, test_tables_that_lie);
	return s;
}

TEST_MAIN(suite)
