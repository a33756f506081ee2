/* SPDX-License-Identifier: ISC */
/*
 * layouts.c: how states are to be read: what workers tell of their layouts goes into the store, and is there for those
 * that find a state of another one.  All layouts are known from the first moment on: they come with the rows.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "shm/record.h"
#include "stashd/server.h"

struct records_layout {
	LIST_ENTRY(records_layout) link;
	uint32_t version;
	uint64_t image_len;
	size_t len;
	char *name;
	unsigned char fields[];
};

static struct records_layout *
find_layout(struct server *s, const char *layout, uint32_t version)
{
	struct records_layout *l;

	LIST_FOREACH(l, &s->records.layouts, link) {
		if (l->version == version && strcmp(l->name, layout) == 0)
			return l;
	}
	return NULL;
}

const void *
records_fields(struct server *s, const char *layout, uint32_t version, uint64_t *image_len, size_t *len)
{
	const struct records_layout *l = find_layout(s, layout, version);

	if (l == NULL)
		return NULL;
	*image_len = l->image_len;
	*len = l->len;
	return l->fields;
}

static void
layout_free(struct records_layout *l)
{
	LIST_REMOVE(l, link);
	free(l->name);
	free(l);
}

/* Puts it in chunks, of which the last one isn't full. */
static void
put_layout(struct server *s, const struct records_layout *l)
{
	struct stash_buf *buf = &s->records.scratch;
	unsigned char key[STASH__SCHEMA_KEY_MAX];
	const unsigned char *data;
	const void *value;
	size_t left, n;
	int key_len;

	stash__buf_reset(buf);
	stash_buf_add_int(buf, (int64_t)l->image_len);
	stash_buf_add(buf, l->fields, l->len);
	if (stash_buf_data(buf, &value, &left) < 0)
		return;
	data = value;
	for (uint32_t chunk = 0;; chunk++) {
		n = left < STASH__SCHEMA_CHUNK ? left : STASH__SCHEMA_CHUNK;
		key_len = stash__schema_key(key, l->name, l->version, chunk);
		if (key_len < 0)
			return;
		records_put(s, STASH__SCAN_SCHEMA, key, (size_t)key_len, data, n);
		data += n;
		left -= n;
		if (n < STASH__SCHEMA_CHUNK)
			break;
	}
	records_submit(s);
}

/* NULL: it is known already, or there is no memory. */
static struct records_layout *
learn(struct server *s, const char *layout, uint32_t version, uint64_t image_len, const void *fields, size_t len)
{
	struct records_layout *l = find_layout(s, layout, version);

	if (l != NULL && l->image_len == image_len && l->len == len && memcmp(l->fields, fields, len) == 0)
		return NULL;
	if (l != NULL)
		layout_free(l);
	l = malloc(sizeof(*l) + len);
	if (l == NULL || (l->name = strdup(layout)) == NULL) {
		free(l);
		return NULL;
	}
	l->version = version;
	l->image_len = image_len;
	l->len = len;
	if (len > 0)
		memcpy(l->fields, fields, len);
	LIST_INSERT_HEAD(&s->records.layouts, l, link);
	return l;
}

void
records_layout(
    struct server *s, const char *layout, uint32_t version, uint64_t image_len, const void *fields, size_t len)
{
	const struct records_layout *l = learn(s, layout, version, image_len, fields, len);

	/* Each incarnation tells it; once is enough. */
	if (l != NULL)
		put_layout(s, l);
}

void
records_layout_stored(struct server *s, const char *layout, uint32_t version, const void *value, size_t len)
{
	struct stash_view view;
	uint64_t image_len;

	stash_view_init(&view, value, len);
	image_len = (uint64_t)stash__view_range(&view, 0, STASH_STATE_MAX);
	if (view.error == 0)
		(void)learn(s, layout, version, image_len, view.at, view.left);
}

void
records_layouts_free(struct server *s)
{
	while (!LIST_EMPTY(&s->records.layouts))
		layout_free(LIST_FIRST(&s->records.layouts));
}

void
records_layout_asked(struct life *l, const char *layout, uint32_t version)
{
	struct stash_buf *buf = mail_begin(STASH__W_FIELDS, 0);
	uint64_t image_len = 0;
	size_t len = 0;
	const void *fields = records_fields(l->server, layout, version, &image_len, &len);

	stash_buf_add_text(buf, layout);
	stash_buf_add_int(buf, version);
	stash_buf_add_int(buf, (int64_t)image_len);
	stash_buf_add_bytes(buf, fields, fields != NULL ? len : 0);
	life_say(l, buf, NULL, 0);
}
