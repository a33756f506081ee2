/* SPDX-License-Identifier: ISC */
/*
 * Foreign bytes into what reads packed tables of fields and records of the store. The first two bytes are the image's
 * length, the last bytes are the image too. What was accepted must be printable without a look beyond the
 * image, as text and as JSON, and pack again to something that means the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/text.h"
#include "common/out.h"
#include "shm/fields.h"
#include "shm/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Larger images only make printing slow. */
#define IMAGE_MAX 512

static char *
print(const struct stash_field *fields, const unsigned char *image, size_t len)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	STASH_ASSERT(out != NULL && stash__fields_print(out, fields, image, len) == STASH_OK && fclose(out) == 0);
	STASH_ASSERT(stash__utf8_ok(text, size) && strchr(text, '\x1b') == NULL);
	return text;
}

static void
pack_again(const struct stash_field *fields, const unsigned char *image, size_t len, const char *text)
{
	struct stash_field *again;
	struct stash_buf buf;
	char *second;

	stash__buf_init(&buf, STASH__FIELDS_BYTES);
	STASH_ASSERT(stash__fields_pack(&buf, fields, len) == STASH_OK);
	STASH_ASSERT(stash__fields_unpack(buf.data, buf.len, len, &again) == STASH_OK);
	second = print(again, image, len);
	STASH_ASSERT(strcmp(text, second) == 0);
	free(second);
	stash__fields_free(again);
	stash__buf_fini(&buf);
}

/* Exactly as long as it is said to be, so that a look beyond it is seen. */
static unsigned char *
make_image(const uint8_t *data, size_t size, size_t len)
{
	unsigned char *image = malloc(len > 0 ? len : 1);
	size_t n = size < len ? size : len;

	STASH_ASSERT(image != NULL);
	memset(image, 0xa5, len);
	if (n > 0)
		memcpy(image, data + size - n, n);
	return image;
}

static void
read_fields(const uint8_t *data, size_t size)
{
	size_t len = size >= 2 ? (size_t)(data[0] | data[1] << 8) % IMAGE_MAX : 0;
	struct stash_field *fields;
	unsigned char *image;
	json_t *object;
	char *text;

	if (size < 2 || stash__fields_unpack(data + 2, size - 2, len, &fields) < 0)
		return;
	image = make_image(data, size, len);
	text = print(fields, image, len);
	object = tool_json_fields(fields, image);
	STASH_ASSERT(object != NULL);
	json_decref(object);
	if (fields != NULL)
		pack_again(fields, image, len, text);
	free(text);
	free(image);
	stash__fields_free(fields);
}

static void
read_records(const uint8_t *data, size_t size)
{
	struct stash__registry_row row;
	struct stash_field *fields;
	struct stash_event event;
	struct stash_buf buf;
	uint64_t len;

	stash__buf_init(&buf, STASH__BUF_MAX);
	if (stash__unpack_registry(data, size, &row) == STASH_OK) {
		STASH_ASSERT(stash__pack_registry(&buf, &row) == STASH_OK && buf.len == size);
		STASH_ASSERT(memcmp(buf.data, data, size) == 0);
	}
	stash__buf_reset(&buf);
	if (stash__unpack_event(1, data, size, &event) == STASH_OK) {
		STASH_ASSERT(stash__pack_event(&buf, &event) == STASH_OK);
		STASH_ASSERT(strlen(event.child) + strlen(event.name) + strlen(event.text) < size);
	}
	if (stash__unpack_schema(data, size, &len, &fields) == STASH_OK)
		STASH_ASSERT(len <= STASH_STATE_MAX);
	stash__fields_free(fields);
	stash__buf_fini(&buf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_decref(tool_json());
	read_fields(data, size);
	read_records(data, size);
	return 0;
}
