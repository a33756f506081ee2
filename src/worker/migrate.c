/* SPDX-License-Identifier: ISC */
/*
 * migrate.c: see migrate.h.  The image and its table come from the store, so they are foreign: the table is checked
 * against the image before anything is read.  What would change a value is refused, never done silently; only the
 * digits that a float hasn't got are lost.
 */
#include "worker/migrate.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "shm/fields.h"

#define PATH_BYTES ((STASH__FIELDS_DEPTH + 1) * (STASH_NAME_MAX + 16))

struct mover {
	char path[PATH_BYTES]; /* of the struct in hand, with its dot; "" at the top */
	size_t len;
};

/* One field in both layouts, and the element in hand. */
struct move {
	const struct stash_field *from, *to;
	uint32_t i;
};

static int STASH_PRINTF(3, 4) refuse(const struct mover *m, const struct move *v, const char *fmt, ...)
{
	char why[200], index[16] = "";
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	if (v->from->count > 1 || v->to->count > 1)
		(void)snprintf(index, sizeof index, "[%" PRIu32 "]", v->i);
	return stash__fail(STASH_E_LAYOUT, "field %s%s%s: %s", m->path, v->to->name, index, why);
}

/* ---- one element ---- */

/* Kinds between which there is a way. */
static const char *
kind(const struct stash_field *f)
{
	static const char *const kinds[] = {
		[STASH_TYPE_BYTES] = "bytes",
		[STASH_TYPE_INT] = "a whole number",
		[STASH_TYPE_UINT] = "a whole number",
		[STASH_TYPE_FLOAT] = "a floating-point number",
		[STASH_TYPE_BOOL] = "a whole number",
		[STASH_TYPE_TEXT] = "a text",
		[STASH_TYPE_TIME_MS] = "a whole number",
		[STASH_TYPE_STRUCT] = "a struct",
	};

	return kinds[f->type];
}

static bool
is_signed(const struct stash_field *f)
{
	return f->type == STASH_TYPE_INT || f->type == STASH_TYPE_TIME_MS;
}

static bool
number_fits(const struct stash_field *to, bool negative, uint64_t value)
{
	uint64_t half = UINT64_C(1) << (8 * to->size - 1); /* what a signed one doesn't reach */

	if (negative)
		return is_signed(to) && value >= UINT64_MAX - half + 1;
	if (to->type == STASH_TYPE_BOOL)
		return value <= 1;
	return is_signed(to) ? value < half : value <= half - 1 + half;
}

static int
move_number(const struct mover *m, const struct move *v, const unsigned char *at, unsigned char *put)
{
	bool negative = is_signed(v->from) && stash__field_int(v->from, at) < 0;
	uint64_t value = negative	     ? (uint64_t)stash__field_int(v->from, at) :
	    v->from->type == STASH_TYPE_BOOL ? *at != 0 :
					       stash__field_uint(v->from, at);
	uint32_t v4 = (uint32_t)value;
	uint16_t v2 = (uint16_t)value;

	if (!number_fits(v->to, negative, value))
		return negative ? refuse(m, v, "%" PRId64 " doesn't fit into what it is now", (int64_t)value) :
				  refuse(m, v, "%" PRIu64 " doesn't fit into what it is now", value);
	switch (v->to->size) {
	case 1:
		*put = (unsigned char)value;
		break;
	case 2:
		memcpy(put, &v2, sizeof v2);
		break;
	case 4:
		memcpy(put, &v4, sizeof v4);
		break;
	default:
		memcpy(put, &value, sizeof value);
		break;
	}
	return STASH_OK;
}

static int
move_float(const struct mover *m, const struct move *v, const unsigned char *at, unsigned char *put)
{
	double value = stash__field_float(v->from, at);
	float small;

	if (v->to->size == v->from->size || v->to->size == sizeof value) {
		if (v->to->size == v->from->size)
			memcpy(put, at, v->to->size);
		else
			memcpy(put, &value, sizeof value);
		return STASH_OK;
	}
	if (isfinite(value) && fabs(value) > (double)__FLT_MAX__)
		return refuse(m, v, "%g is too large for a float", value);
	small = (float)value;
	memcpy(put, &small, sizeof small);
	return STASH_OK;
}

static int
move_text(const struct mover *m, const struct move *v, const unsigned char *at, unsigned char *put)
{
	size_t n = stash__field_text_len(v->from, at);

	if (v->to->size == v->from->size)
		n = v->to->size; /* one without a NUL, too */
	else if (n >= v->to->size)
		return refuse(m, v, "a text of %zu bytes doesn't fit into %" PRIu32, n, v->to->size);
	memcpy(put, at, n);
	return STASH_OK;
}

static int
move_bytes(const struct mover *m, const struct move *v, const unsigned char *at, unsigned char *put)
{
	if (v->to->size != v->from->size)
		return refuse(m, v, "it had %" PRIu32 " bytes, and has %" PRIu32 " now", v->from->size, v->to->size);
	memcpy(put, at, v->to->size);
	return STASH_OK;
}

static int move_level(struct mover *m, const struct stash_field *from, const unsigned char *at,
    const struct stash_field *to, unsigned char *put);

static int
move_struct(struct mover *m, const struct move *v, const unsigned char *at, unsigned char *put)
{
	size_t was = m->len;
	int result;

	if (v->to->count > 1)
		m->len += (size_t)snprintf(m->path + was, sizeof m->path - was, "%s[%" PRIu32 "].", v->to->name, v->i);
	else
		m->len += (size_t)snprintf(m->path + was, sizeof m->path - was, "%s.", v->to->name);
	result = move_level(m, v->from->fields, at, v->to->fields, put);
	m->len = was;
	m->path[was] = '\0';
	return result;
}

static int
move_element(struct mover *m, const struct move *v, const unsigned char *at, unsigned char *put)
{
	switch (v->to->type) {
	case STASH_TYPE_BYTES:
		return move_bytes(m, v, at, put);
	case STASH_TYPE_FLOAT:
		return move_float(m, v, at, put);
	case STASH_TYPE_TEXT:
		return move_text(m, v, at, put);
	case STASH_TYPE_STRUCT:
		return move_struct(m, v, at, put);
	default:
		return move_number(m, v, at, put);
	}
}

/* ---- fields ---- */

static bool
is_zero(const unsigned char *at, size_t n)
{
	while (n > 0 && at[n - 1] == 0)
		n--;
	return n == 0;
}

static int
move_field(struct mover *m, const struct stash_field *from, const unsigned char *at, const struct stash_field *to,
    unsigned char *put)
{
	struct move v = { from, to, 0 };
	int result = STASH_OK;

	if (strcmp(kind(from), kind(to)) != 0)
		return refuse(m, &v, "it was %s, and is %s now", kind(from), kind(to));
	for (; v.i < from->count && result == STASH_OK; v.i++) {
		const unsigned char *element = at + from->offset + (size_t)v.i * from->size;

		if (v.i < to->count)
			result = move_element(m, &v, element, put + to->offset + (size_t)v.i * to->size);
		else if (!is_zero(element, from->size))
			return refuse(m, &v, "it isn't zero, and there are only %" PRIu32 " now", to->count);
	}
	return result;
}

static int
move_level(struct mover *m, const struct stash_field *from, const unsigned char *at, const struct stash_field *to,
    unsigned char *put)
{
	int result = STASH_OK;

	for (; to->name != NULL && result == STASH_OK; to++) {
		const struct stash_field *f = from;

		while (f->name != NULL && strcmp(f->name, to->name) != 0)
			f++;
		if (f->name != NULL)
			result = move_field(m, f, at, to, put);
	}
	return result;
}

int
stash__migrate(const struct stash_field *from, const void *image, size_t len, const struct stash_field *to, void *state,
    size_t size)
{
	struct mover m = { .len = 0 };
	int result = stash__fields_check(from, len);

	if (result == STASH_OK)
		result = stash__fields_check(to, size);
	if (result < 0 || from == NULL || to == NULL)
		return result;
	m.path[0] = '\0';
	return move_level(&m, from, image, to, state);
}
