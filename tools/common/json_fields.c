/* SPDX-License-Identifier: ISC */
/*
 * A state image as JSON, by its fields. The fields were checked against the
 * image: nothing here looks beyond what they say.
 */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "common/out.h"
#include "shm/fields.h"

static json_t *
number(double value)
{
	/* JSON has no word for these. */
	if (!isfinite(value))
		return json_string(isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
	return json_real(value);
}

static json_t *
time_of(int64_t ms)
{
	if (ms == 0 || ms > INT64_MAX / STASH__NS_PER_MS || ms < INT64_MIN / STASH__NS_PER_MS)
		return json_integer(ms);
	return tool_json_time(ms * STASH__NS_PER_MS);
}

static json_t *
element(const struct stash_field *f, const unsigned char *at)
{
	switch (f->type) {
	case STASH_TYPE_INT:
		return json_integer(stash__field_int(f, at));
	case STASH_TYPE_UINT:
		return tool_json_number(stash__field_uint(f, at));
	case STASH_TYPE_FLOAT:
		return number(stash__field_float(f, at));
	case STASH_TYPE_BOOL:
		return json_boolean(*at != 0);
	case STASH_TYPE_TEXT:
		return tool_json_text((const char *)at, stash__field_text_len(f, at));
	case STASH_TYPE_TIME_MS:
		return time_of(stash__field_int(f, at));
	case STASH_TYPE_STRUCT:
		return tool_json_fields(f->fields, at);
	default:
		return tool_json_hex(at, f->size);
	}
}

json_t *
tool_json_fields(const struct stash_field *fields, const void *image)
{
	json_t *object = json_object(), *array;

	for (const struct stash_field *f = fields; f != NULL && f->name != NULL; f++) {
		const unsigned char *at = (const unsigned char *)image + f->offset;

		if ((f->flags & STASH_FIELD_SECRET) != 0) {
			tool_json_set(object, f->name, json_null());
			continue;
		}
		if (f->count == 1) {
			tool_json_set(object, f->name, element(f, at));
			continue;
		}
		array = json_array();
		for (uint32_t i = 0; i < f->count; i++, at += f->size) {
			if (json_array_append_new(array, element(f, at)) < 0)
				break;
		}
		tool_json_set(object, f->name, array);
	}
	return object;
}
