/* SPDX-License-Identifier: ISC */
/*
 * Checking, packing and unpacking tables of fields, and reading single
 * elements. Printing is in fields_print.c. Depth and number of fields are
 * bounded before anything is followed or allocated, so that a table that
 * points to itself, or a packed one that lies, ends in an error.
 */
#include "shm/fields.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/name.h"

/* ---- check ---- */

static int
wrong(const struct stash_field *field, const char *why)
{
	return stash__fail(STASH_E_FORMAT, "field \"%s\": %s", field->name, why);
}

/* Whether a type can have elements of that size. */
static const char *
check_size(const struct stash_field *f)
{
	switch (f->type) {
	case STASH_TYPE_BYTES:
	case STASH_TYPE_TEXT:
		return NULL;
	case STASH_TYPE_INT:
	case STASH_TYPE_UINT:
		return f->size == 1 || f->size == 2 || f->size == 4 || f->size == 8 ?
		    NULL :
		    "a whole number has 1, 2, 4 or 8 bytes";
	case STASH_TYPE_FLOAT:
		return f->size == sizeof(float) || f->size == sizeof(double) ?
		    NULL :
		    "a floating-point number has 4 or 8 bytes";
	case STASH_TYPE_BOOL:
		return f->size == sizeof(bool) ? NULL : "a bool has 1 byte";
	case STASH_TYPE_TIME_MS:
		return f->size == sizeof(int64_t) ? NULL : "a time has 8 bytes";
	case STASH_TYPE_STRUCT:
		return f->fields != NULL && f->fields->name != NULL ? NULL : "a struct without fields";
	default:
		return "its type is unknown";
	}
}

static int
check_field(const struct stash_field *f, uint64_t room)
{
	const char *why = check_size(f);

	if (stash__check_name(f->name) < 0)
		return stash__fail(STASH_E_FORMAT, "a field's name is none: %s", stash_errmsg());
	if (f->size == 0 || f->count == 0)
		return wrong(f, "it has no bytes");
	if (f->offset > room || (uint64_t)f->size * f->count > room - f->offset)
		return wrong(f, "it reaches beyond what it is a part of");
	return why == NULL ? STASH_OK : wrong(f, why);
}

static int
check_level(const struct stash_field *fields, uint64_t room, unsigned depth, unsigned *total)
{
	int result;

	if (depth > STASH__FIELDS_DEPTH)
		return stash__fail(STASH_E_FORMAT, "fields: structs in structs deeper than %d", STASH__FIELDS_DEPTH);
	for (const struct stash_field *f = fields; f->name != NULL; f++) {
		if (++*total > STASH__FIELDS_MAX)
			return stash__fail(STASH_E_FORMAT, "fields: more than %d of them", STASH__FIELDS_MAX);
		result = check_field(f, room);
		if (result == STASH_OK && f->type == STASH_TYPE_STRUCT)
			result = check_level(f->fields, f->size, depth + 1, total);
		if (result < 0)
			return result;
	}
	return STASH_OK;
}

int
stash__fields_check(const struct stash_field *fields, uint64_t image_len)
{
	unsigned total = 0;

	return fields == NULL ? STASH_OK : check_level(fields, image_len, 1, &total);
}

/* ---- pack ---- */

/* Errors stick in the buffer. */
static void
pack_level(struct stash_buf *buf, const struct stash_field *fields)
{
	int64_t n = 0;

	while (fields != NULL && fields[n].name != NULL)
		n++;
	stash_buf_add_int(buf, n);
	for (const struct stash_field *f = fields; n > 0; n--, f++) {
		stash_buf_add_text(buf, f->name);
		stash_buf_add_int(buf, f->offset);
		stash_buf_add_int(buf, f->size);
		stash_buf_add_int(buf, f->count);
		stash_buf_add_int(buf, f->type);
		stash_buf_add_int(buf, f->flags);
		if (f->type == STASH_TYPE_STRUCT)
			pack_level(buf, f->fields);
	}
}

int
stash__fields_pack(struct stash_buf *buf, const struct stash_field *fields, uint64_t image_len)
{
	struct stash_buf own;
	const void *data;
	size_t len;
	int result = stash__fields_check(fields, image_len);

	if (result < 0)
		return result;
	stash__buf_init(&own, STASH__FIELDS_BYTES);
	pack_level(&own, fields);
	result = stash_buf_data(&own, &data, &len);
	if (result == STASH_OK)
		result = stash_buf_add(buf, data, len);
	stash__buf_fini(&own);
	return result;
}

/* ---- unpack ---- */

static int unpack_level(struct stash_view *view, unsigned depth, unsigned *total, struct stash_field **fields);

static int
unpack_field(struct stash_view *view, unsigned depth, unsigned *total, struct stash_field *f)
{
	const char *name = stash_view_text(view);
	struct stash_field *sub = NULL;
	int result = STASH_OK;

	f->offset = (uint32_t)stash__view_range(view, 0, UINT32_MAX);
	f->size = (uint32_t)stash__view_range(view, 0, UINT32_MAX);
	f->count = (uint32_t)stash__view_range(view, 0, UINT32_MAX);
	f->type = (uint32_t)stash__view_range(view, 0, STASH_TYPE_STRUCT);
	f->flags = (uint32_t)stash__view_range(view, 0, UINT32_MAX);
	if (view->error != 0)
		return stash__fail(STASH_E_FORMAT, "packed fields end early or hold wrong numbers");
	/* Named only now: what has no name ends its table, and so is never freed half. */
	f->name = strdup(name);
	if (f->name == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a table of fields");
	if (f->type == STASH_TYPE_STRUCT)
		result = unpack_level(view, depth + 1, total, &sub);
	f->fields = sub;
	return result;
}

static int
unpack_level(struct stash_view *view, unsigned depth, unsigned *total, struct stash_field **fields)
{
	int64_t n = stash__view_range(view, 0, STASH__FIELDS_MAX);
	int result = STASH_OK;

	*fields = NULL;
	*total += (unsigned)n;
	if (view->error != 0 || depth > STASH__FIELDS_DEPTH || *total > STASH__FIELDS_MAX)
		return stash__fail(STASH_E_FORMAT, "packed fields are too many or too deep");
	if (n == 0)
		return STASH_OK;
	*fields = calloc((size_t)n + 1, sizeof **fields);
	if (*fields == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a table of fields");
	for (int64_t i = 0; i < n && result == STASH_OK; i++)
		result = unpack_field(view, depth, total, &(*fields)[i]);
	return result;
}

int
stash__fields_unpack(const void *data, size_t len, uint64_t image_len, struct stash_field **fields)
{
	struct stash_view view;
	unsigned total = 0;
	int result;

	stash_view_init(&view, data, len);
	result = unpack_level(&view, 1, &total, fields);
	if (result == STASH_OK && stash_view_end(&view) < 0)
		result = stash__fail(STASH_E_FORMAT, "packed fields don't end where they should");
	if (result == STASH_OK)
		result = stash__fields_check(*fields, image_len);
	if (result < 0) {
		stash__fields_free(*fields);
		*fields = NULL;
	}
	return result;
}

void
stash__fields_free(struct stash_field *fields)
{
	if (fields == NULL)
		return;
	/* Made by unpack_level() alone, so that all of it is malloc's. */
	for (struct stash_field *f = fields; f->name != NULL; f++) {
		free((void *)(uintptr_t)f->name);
		stash__fields_free((struct stash_field *)(uintptr_t)f->fields);
	}
	free(fields);
}

/* ---- single elements ---- */

int64_t
stash__field_int(const struct stash_field *field, const unsigned char *at)
{
	int64_t v8;
	int32_t v4;
	int16_t v2;

	switch (field->size) {
	case 1:
		return (int8_t)*at;
	case 2:
		memcpy(&v2, at, sizeof v2);
		return v2;
	case 4:
		memcpy(&v4, at, sizeof v4);
		return v4;
	default:
		memcpy(&v8, at, sizeof v8);
		return v8;
	}
}

uint64_t
stash__field_uint(const struct stash_field *field, const unsigned char *at)
{
	uint64_t value = (uint64_t)stash__field_int(field, at);

	return field->size < sizeof value ? value & ((UINT64_C(1) << (8 * field->size)) - 1) : value;
}

double
stash__field_float(const struct stash_field *field, const unsigned char *at)
{
	double v8;
	float v4;

	if (field->size == sizeof v4) {
		memcpy(&v4, at, sizeof v4);
		return (double)v4;
	}
	memcpy(&v8, at, sizeof v8);
	return v8;
}

size_t
stash__field_text_len(const struct stash_field *field, const unsigned char *at)
{
	return strnlen((const char *)at, field->size);
}
