/* SPDX-License-Identifier: ISC */
/*
 * Foreign bytes into everything of src/base that reads them: views, names, tags,
 * paths, numbers, durations, sizes, UTF-8, escaping. Besides memory errors it
 * looks for broken promises: what was accepted must be within its limits.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stash/buf.h>
#include <stash/message.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/name.h"
#include "base/parse.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads items as the first bytes say, until they or the data are used up. */
static void
read_items(const uint8_t *data, size_t size)
{
	struct stash_view view;
	size_t script = size < 16 ? size : 16, i, len, left;
	const void *bytes;

	stash_view_init(&view, data + script, size - script);
	for (i = 0; i < script; i++) {
		left = view.left;
		switch (data[i] % 5) {
		case 0:
			stash_view_int(&view);
			break;
		case 1:
			bytes = stash_view_bytes(&view, &len);
			STASH_ASSERT(bytes == NULL ? len == 0 : len + 4 <= left);
			STASH_ASSERT(bytes == NULL || stash__utf8_ok(bytes, len) <= 1);
			break;
		case 2:
			STASH_ASSERT(strlen(stash_view_text(&view)) <= left);
			break;
		case 3:
			STASH_ASSERT(stash__view_range(&view, -5, 1000) <= 1000);
			break;
		case 4:
			STASH_ASSERT(stash__view_take(&view, data[i]) == NULL || data[i] <= left);
			break;
		}
		STASH_ASSERT(view.left <= left);
	}
	STASH_ASSERT((stash_view_end(&view) == 0) == (view.error == 0 && view.left == 0));
}

/* A number that was accepted is the same when it is written and read again. */
static void
read_numbers(const char *text)
{
	char again[32];
	int64_t value = 0, second = 0;
	uint64_t bytes = 0;

	if (stash_parse_int(text, -1000000, INT64_MAX, &value) == 0) {
		STASH_ASSERT(value >= -1000000);
		snprintf(again, sizeof(again), "%" PRId64, value);
		STASH_ASSERT(stash_parse_int(again, -1000000, INT64_MAX, &second) == 0 && second == value);
	}
	if (stash__parse_ms(text, &value) == 0) {
		STASH_ASSERT(stash__parse_ns(text, &second) == 0 && second / 1000000 == value && value >= 0);
	}
	if (stash__parse_size(text, &bytes) == 0)
		STASH_ASSERT(bytes <= INT64_MAX);
}

static void
read_names(const char *text, size_t len)
{
	static const char *const words[] = { "tree", "list", "which-children", "history", NULL };
	char shown[64];

	if (stash__check_name(text) == 0)
		STASH_ASSERT(
		    len >= 1 && len <= STASH_NAME_MAX && strchr(text, '/') == NULL && stash__utf8_ok(text, len));
	if (stash__check_tag(text) == 0)
		STASH_ASSERT(len <= STASH_TAG_MAX && strchr(text, ' ') == NULL && stash__check_name(text) == 0);
	if (stash__check_path(text) == 0)
		STASH_ASSERT(len <= STASH_PATH_MAX && text[0] != '/' && text[len - 1] != '/');
	stash__escape(shown, sizeof(shown), text, len);
	STASH_ASSERT(stash__utf8_ok(shown, strlen(shown)) && strchr(shown, '\x1b') == NULL);
	stash__nearest(text, words);
}

/* What is packed comes back. */
static void
pack_again(const uint8_t *data, size_t size, const char *text)
{
	struct stash_buf buf;
	struct stash_view view;
	const void *packed;
	size_t len;
	int error;

	stash__buf_init(&buf, 4096);
	stash_buf_add_bytes(&buf, data, size);
	stash_buf_add_int(&buf, (int64_t)size);
	stash_buf_add_text(&buf, text);
	error = stash_buf_data(&buf, &packed, &len);
	if (error == 0) {
		stash_view_init(&view, packed, len);
		packed = stash_view_bytes(&view, &len);
		STASH_ASSERT(packed != NULL && len == size && (size == 0 || memcmp(packed, data, size) == 0));
		STASH_ASSERT(stash_view_int(&view) == (int64_t)size);
		STASH_ASSERT(strcmp(stash_view_text(&view), text) == 0 && stash_view_end(&view) == 0);
	} else {
		STASH_ASSERT(error == STASH_E_TOOBIG || !stash__utf8_ok(text, strlen(text)));
	}
	stash__buf_fini(&buf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stash_msg msg = { .tag = "fuzz", .data = data, .len = size };
	char *text = malloc(size + 1);

	STASH_ASSERT(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	read_items(data, size);
	read_numbers(text);
	read_names(text, strlen(text));
	pack_again(data, size, text);
	msg.data = text;
	STASH_ASSERT((stash_msg_text(&msg) != NULL) == (strlen(text) == size && stash__utf8_ok(text, size)));
	free(text);
	return 0;
}
