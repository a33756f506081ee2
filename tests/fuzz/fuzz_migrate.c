/* SPDX-License-Identifier: ISC */
/*
 * Foreign tables and a foreign image into what makes a state of another layout. The first bytes are the lengths of
 * image, state and first table; both tables follow, and the last bytes are the image too. No look may go beyond image
 * or state, and what went over to its own layout goes over again without a change.
 */
#include <stdlib.h>
#include <string.h>

#include <stash/error.h>

#include "base/assert.h"
#include "base/buf.h"
#include "shm/fields.h"
#include "worker/migrate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Larger ones only take longer. */
#define IMAGE_MAX 512

static size_t
number(const uint8_t *at, size_t max)
{
	return (size_t)(at[0] | at[1] << 8) % max;
}

/* Exactly as long as it is said to be, so that a look beyond it is seen. */
static unsigned char *
make(const uint8_t *data, size_t size, size_t len)
{
	unsigned char *image = calloc(1, len > 0 ? len : 1);
	size_t n = size < len ? size : len;

	STASH_ASSERT(image != NULL);
	if (n > 0)
		memcpy(image, data + size - n, n);
	return image;
}

/* Whether each name says one thing only; else a field may get what another one had. */
static int
unique(const struct stash_field *fields)
{
	for (const struct stash_field *f = fields; f != NULL && f->name != NULL; f++) {
		for (const struct stash_field *other = fields; other < f; other++) {
			if (strcmp(other->name, f->name) == 0)
				return 0;
		}
		if (!unique(f->fields))
			return 0;
	}
	return 1;
}

static void
to_itself(const struct stash_field *fields, const unsigned char *image, size_t len)
{
	unsigned char *once = make(NULL, 0, len), *twice = make(NULL, 0, len);
	int result = stash__migrate(fields, image, len, fields, once, len);

	if (unique(fields)) {
		STASH_ASSERT(result == STASH_OK);
		STASH_ASSERT(stash__migrate(fields, once, len, fields, twice, len) == STASH_OK);
		STASH_ASSERT(memcmp(once, twice, len) == 0);
	}
	free(once);
	free(twice);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t image_len, state_len, first;
	struct stash_field *from = NULL, *to = NULL;
	unsigned char *image, *state;
	int result;

	if (size < 6)
		return 0;
	image_len = number(data, IMAGE_MAX);
	state_len = number(data + 2, IMAGE_MAX);
	first = number(data + 4, size - 5);
	if (stash__fields_unpack(data + 6, first, image_len, &from) < 0)
		return 0;
	image = make(data, size, image_len);
	to_itself(from, image, image_len);
	if (stash__fields_unpack(data + 6 + first, size - 6 - first, state_len, &to) == STASH_OK) {
		state = make(NULL, 0, state_len);
		result = stash__migrate(from, image, image_len, to, state, state_len);
		STASH_ASSERT(result == STASH_OK || result == STASH_E_LAYOUT);
		free(state);
	}
	stash__fields_free(from);
	stash__fields_free(to);
	free(image);
	return 0;
}
