/* SPDX-License-Identifier: ISC */
/*
 * States as text, by the fields that were stored for their layout. Fields that
 * can't be read, or that are for images of another length, are as if there were
 * none: the bytes are always shown.
 */
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "reader/reader.h"
#include "shm/fields.h"

/* 1: that was the last one; those behind it are left from a longer table. */
static int
add_chunk(void *arg, const struct store_row *row)
{
	int result = stash_buf_add(arg, row->value, row->vlen);

	return result < 0 ? result : row->vlen < STASH__SCHEMA_CHUNK;
}

static int
scan_schema(struct stash_store *store, const struct stash_state *state, struct stash_buf *packed)
{
	unsigned char key[STASH__SCHEMA_KEY_MAX];
	struct store_scan scan = { .db = STORE_DB_SCHEMA, .prefix = key };
	int len = stash__schema_key(key, state->layout, state->layout_version, 0);

	/* A state without a layout's name has no fields. */
	if (len < 0)
		return STASH_OK;
	scan.prefix_len = (size_t)len - sizeof(uint32_t);
	len = stash__reader_scan(store, &scan, add_chunk, packed);
	return len < 0 ? len : STASH_OK;
}

int
stash__store_fields(struct stash_store *store, const struct stash_state *state, struct stash_field **fields)
{
	struct stash_buf packed;
	const void *data;
	uint64_t image_len;
	size_t len;
	int result = stash__reader_enter(store);

	*fields = NULL;
	if (result < 0)
		return result;
	stash__buf_init(&packed, STASH__BUF_MAX);
	result = scan_schema(store, state, &packed);
	if (result == STASH_OK)
		result = stash_buf_data(&packed, &data, &len);
	if (result == STASH_OK && len > 0 && stash__unpack_schema(data, len, &image_len, fields) == STASH_OK &&
	    image_len != state->len) {
		stash__fields_free(*fields);
		*fields = NULL;
	}
	stash__buf_fini(&packed);
	stash__reader_leave(store);
	return result;
}

int
stash_store_print(struct stash_store *store, const struct stash_state *state, FILE *out)
{
	struct stash_field *fields = NULL;
	int result;

	if (state == NULL || out == NULL || (state->data == NULL && state->len > 0))
		return stash__fail(STASH_E_INVAL, "stash_store_print: %s is NULL",
		    state == NULL   ? "state" :
			out == NULL ? "out" :
				      "the state's data");
	result = stash__store_fields(store, state, &fields);
	if (result < 0)
		return result;
	if (fields != NULL)
		result = stash__fields_print(out, fields, state->data, state->len);
	else
		result = stash__hex_print(out, state->data, state->len);
	stash__fields_free(fields);
	return result;
}
