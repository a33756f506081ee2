/* SPDX-License-Identifier: ISC */
/*
 * Packing and reading typed items; the format is in <stash/buf.h>. Reading
 * trusts nothing: every length is compared with what is left before it is used.
 */
#include <endian.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/text.h"

/* The first memory that a buffer gets: enough for most messages. */
#define ROOM_MIN 256

/* Makes an error stick, and tells of the one that sticks already. */
static int
buf_fail(struct stash_buf *buf, int code)
{
	if (buf->error == 0)
		buf->error = code;
	switch (buf->error) {
	case STASH_E_NOMEM:
		return stash__fail(STASH_E_NOMEM, "buffer: out of memory");
	case STASH_E_TOOBIG:
		return stash__fail(STASH_E_TOOBIG, "buffer: more than %zu bytes", buf->limit);
	default:
		return stash__fail(buf->error, "buffer: an item is NULL, or a text that isn't UTF-8");
	}
}

void
stash__buf_init(struct stash_buf *buf, size_t limit)
{
	STASH_ASSERT(limit <= STASH__BUF_MAX);
	*buf = (struct stash_buf){ .limit = limit };
}

void
stash__buf_reset(struct stash_buf *buf)
{
	buf->len = 0;
	buf->error = 0;
}

void
stash__buf_fini(struct stash_buf *buf)
{
	free(buf->data);
	*buf = (struct stash_buf){ .limit = buf->limit };
}

struct stash_buf *
stash_buf_create(void)
{
	struct stash_buf *buf = malloc(sizeof(*buf));

	if (buf == NULL) {
		stash__fail(STASH_E_NOMEM, "buffer: out of memory");
		return NULL;
	}
	stash__buf_init(buf, STASH_STATE_MAX);
	return buf;
}

void
stash_buf_destroy(struct stash_buf *buf)
{
	if (buf == NULL)
		return;
	stash__buf_fini(buf);
	free(buf);
}

/* Room for len bytes more and a NUL behind them; NULL: the error sticks. */
static unsigned char *
reserve(struct stash_buf *buf, size_t len)
{
	size_t room = buf->room == 0 ? ROOM_MIN : buf->room;
	unsigned char *data;

	if (buf->error != 0 || len > buf->limit - buf->len) {
		buf_fail(buf, STASH_E_TOOBIG);
		return NULL;
	}
	if (buf->len + len + 1 > buf->room) {
		while (room < buf->len + len + 1)
			room *= 2;
		data = realloc(buf->data, room);
		if (data == NULL) {
			buf_fail(buf, STASH_E_NOMEM);
			return NULL;
		}
		buf->data = data;
		buf->room = room;
	}
	return buf->data + buf->len;
}

void *
stash__buf_extend(struct stash_buf *buf, size_t len)
{
	unsigned char *at = reserve(buf, len);

	if (at == NULL)
		return NULL;
	buf->len += len;
	at[len] = '\0';
	return at;
}

/* Appends head, then data: both or neither. */
static int
append(struct stash_buf *buf, const void *head, size_t headlen, const void *data, size_t len)
{
	unsigned char *at;

	if (buf == NULL)
		return stash__fail(STASH_E_INVAL, "buffer: is NULL");
	if (data == NULL && len > 0)
		return buf_fail(buf, STASH_E_INVAL);
	if (len > buf->limit)
		return buf_fail(buf, STASH_E_TOOBIG);
	at = reserve(buf, headlen + len);
	if (at == NULL)
		return buf->error;
	if (headlen > 0)
		memcpy(at, head, headlen);
	if (len > 0)
		memcpy(at + headlen, data, len);
	at[headlen + len] = '\0';
	buf->len += headlen + len;
	return 0;
}

int
stash_buf_add(struct stash_buf *buf, const void *data, size_t len)
{
	return append(buf, NULL, 0, data, len);
}

int
stash_buf_add_bytes(struct stash_buf *buf, const void *data, size_t len)
{
	/* A length that doesn't fit into 32 bits is above every limit. */
	uint32_t head = htole32((uint32_t)len);

	return append(buf, &head, sizeof(head), data, len);
}

int
stash_buf_add_text(struct stash_buf *buf, const char *text)
{
	size_t len;

	if (text == NULL)
		return append(buf, NULL, 0, NULL, 1);
	len = strlen(text);
	if (!stash__utf8_ok(text, len))
		return append(buf, NULL, 0, NULL, 1);
	return append(buf, NULL, 0, text, len + 1);
}

int
stash_buf_add_int(struct stash_buf *buf, int64_t value)
{
	uint64_t item = htole64((uint64_t)value);

	return append(buf, NULL, 0, &item, sizeof(item));
}

int
stash_buf_data(const struct stash_buf *buf, const void **data, size_t *len)
{
	static const _Alignas(16) char empty[16];
	bool some = buf != NULL && buf->error == 0 && buf->data != NULL;

	if (data != NULL)
		*data = some ? (const void *)buf->data : empty;
	if (len != NULL)
		*len = some ? buf->len : 0;
	if (buf == NULL)
		return stash__fail(STASH_E_INVAL, "buffer: is NULL");
	if (buf->error != 0)
		return stash__fail(buf->error, "buffer: an earlier item failed: %s", stash_strerror(buf->error));
	return 0;
}

void
stash_view_init(struct stash_view *view, const void *data, size_t len)
{
	*view = (struct stash_view){ .at = data, .left = len };
	if (data == NULL && len > 0) {
		view->left = 0;
		view->error = STASH_E_FORMAT;
	}
}

const void *
stash__view_take(struct stash_view *view, size_t len)
{
	const unsigned char *at = view->at;

	if (view->error != 0 || len > view->left || at == NULL) {
		view->error = STASH_E_FORMAT;
		return NULL;
	}
	view->at += len;
	view->left -= len;
	return at;
}

const void *
stash_view_bytes(struct stash_view *view, size_t *len)
{
	const void *head = stash__view_take(view, sizeof(uint32_t)), *bytes = NULL;
	uint32_t n = 0;

	if (head != NULL) {
		memcpy(&n, head, sizeof(n));
		bytes = stash__view_take(view, le32toh(n));
	}
	if (len != NULL)
		*len = bytes == NULL ? 0 : le32toh(n);
	return bytes;
}

const char *
stash_view_text(struct stash_view *view)
{
	const char *text = (const char *)view->at;
	size_t len;

	if (view->error != 0 || text == NULL)
		goto bad;
	len = strnlen(text, view->left);
	if (len == view->left || !stash__utf8_ok(text, len))
		goto bad;
	return stash__view_take(view, len + 1);
bad:
	view->error = STASH_E_FORMAT;
	return "";
}

int64_t
stash_view_int(struct stash_view *view)
{
	const void *item = stash__view_take(view, sizeof(uint64_t));
	uint64_t value;

	if (item == NULL)
		return 0;
	memcpy(&value, item, sizeof(value));
	return (int64_t)le64toh(value);
}

int64_t
stash__view_range(struct stash_view *view, int64_t min, int64_t max)
{
	int64_t value = stash_view_int(view);

	if (view->error == 0 && value >= min && value <= max)
		return value;
	view->error = STASH_E_FORMAT;
	return min;
}

int
stash_view_end(const struct stash_view *view)
{
	if (view->error != 0)
		return stash__fail(STASH_E_FORMAT, "data: too short, or an item is not what it should be");
	if (view->left > 0)
		return stash__fail(STASH_E_FORMAT, "data: %zu bytes are left over", view->left);
	return 0;
}
