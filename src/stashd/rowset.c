/* SPDX-License-Identifier: ISC */
/*
 * rowset.c: reading the rows back.  They are foreign: a row that can't be read makes all of them unreadable.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "shm/record.h"
#include "shm/rows.h"
#include "stashd/rowset.h"
#include "stashd/server.h"

struct rowset_item {
	struct stash__rows_row row;
	size_t place; /* in the order in which they came */
	char *key;    /* with a NUL; that of a layout has some inside */
};

static int
read_file(struct rowset *r, int fd)
{
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return stash__fail_errno("the supervisor's rows can't be read");
	r->data = malloc((size_t)st.st_size + 1);
	if (r->data == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for %lld bytes of rows", (long long)st.st_size);
	n = stash__read_at(fd, r->data, (size_t)st.st_size, 0);
	if (n < 0)
		return stash__fail_errno("the supervisor's rows can't be read");
	if (n < (ssize_t)st.st_size)
		return stash__fail(STASH_E_SYSTEM, "the supervisor's rows are cut short");
	r->len = (size_t)n;
	return 0;
}

static int
add(struct rowset *r, const struct stash__rows_row *row)
{
	struct rowset_item *item;

	if (r->nitems % 1024 == 0) {
		struct rowset_item *more = reallocarray(r->items, r->nitems + 1024, sizeof(*more));

		if (more == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for %zu rows", r->nitems);
		r->items = more;
	}
	item = &r->items[r->nitems];
	item->row = *row;
	item->place = r->nitems++;
	item->key = malloc(row->key_len + 1);
	if (item->key == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a row");
	memcpy(item->key, row->key, row->key_len);
	item->key[row->key_len] = '\0';
	return 0;
}

static int
compare_keys(const struct rowset_item *x, const struct rowset_item *y)
{
	size_t n = x->row.key_len < y->row.key_len ? x->row.key_len : y->row.key_len;
	int order = memcmp(x->key, y->key, n);

	if (x->row.db != y->row.db)
		return x->row.db < y->row.db ? -1 : 1;
	return order != 0 ? order : (x->row.key_len > y->row.key_len) - (x->row.key_len < y->row.key_len);
}

static int
compare(const void *a, const void *b)
{
	const struct rowset_item *x = a, *y = b;
	int order = compare_keys(x, y);

	return order != 0 ? order : (x->place > y->place) - (x->place < y->place);
}

/* Keeps the last one of each key, unless it says that the key is gone. */
static void
keep_last(struct rowset *r)
{
	size_t n = 0;

	if (r->nitems > 1)
		qsort(r->items, r->nitems, sizeof(*r->items), compare);
	for (size_t i = 0; i < r->nitems; i++) {
		struct rowset_item *item = &r->items[i];
		bool last = i + 1 == r->nitems || compare_keys(&r->items[i + 1], item) != 0;

		if (last && !item->row.gone)
			r->items[n++] = *item;
		else
			free(item->key);
	}
	r->nitems = n;
}

static const struct rowset_item *
find(const struct rowset *r, uint32_t db, const char *key)
{
	struct rowset_item wanted = { .row = { .db = db, .key_len = strlen(key) }, .key = (char *)(uintptr_t)key };
	size_t low = 0, high = r->nitems;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct rowset_item *item = &r->items[middle];
		int order = compare_keys(item, &wanted);

		if (order == 0)
			return item;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* A row of the tree, from its first part on. */
static int
take_tree_row(struct rowset *r, const struct rowset_item *first)
{
	const unsigned char *value = first->row.value;
	unsigned parts = first->row.value_len > 0 ? value[0] : 0;
	char key[SUP_KEY_MAX + 4];
	unsigned char *joined;
	size_t len = 0;

	r->tree[r->ntree] = (struct sup_row){ first->key, value + 1, first->row.value_len - 1 };
	r->parts[r->ntree] = parts;
	if (parts == 0)
		return stash__fail(STASH_E_CORRUPT, "row %s of the tree can't be read", first->key);
	if (parts == 1) {
		r->ntree++;
		return 0;
	}
	joined = malloc((size_t)parts * STASH__PAGE);
	if (joined == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a row");
	r->joined[r->njoined++] = joined;
	for (unsigned i = 0; i < parts; i++) {
		const struct rowset_item *part = i == 0 ? first : NULL;

		if (i > 0) {
			(void)records_part_key(key, first->key, i);
			part = find(r, STASH__SCAN_TREE, key);
		}
		if (part == NULL || part->row.value_len < 1 || part->row.value_len > STASH__PAGE)
			return stash__fail(STASH_E_CORRUPT, "row %s of the tree has lost a part", first->key);
		memcpy(joined + len, (const unsigned char *)part->row.value + 1, part->row.value_len - 1);
		len += part->row.value_len - 1;
	}
	r->tree[r->ntree].value = joined;
	r->tree[r->ntree++].len = len;
	return 0;
}

static int
take_tree(struct rowset *r)
{
	int result = 0;

	r->tree = calloc(r->nitems + 1, sizeof(*r->tree));
	r->parts = calloc(r->nitems + 1, sizeof(*r->parts));
	r->joined = calloc(r->nitems + 1, sizeof(*r->joined));
	if (r->tree == NULL || r->parts == NULL || r->joined == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for %zu rows", r->nitems);
	for (size_t i = 0; i < r->nitems && result == 0; i++) {
		if (r->items[i].row.db == STASH__SCAN_TREE && !records_is_part(r->items[i].key))
			result = take_tree_row(r, &r->items[i]);
	}
	return result;
}

int
rowset_read(struct rowset *r, int fd)
{
	struct stash__rows_row row;
	struct stash_view view;
	int result = read_file(r, fd);

	if (result < 0)
		return result;
	stash_view_init(&view, r->data, r->len);
	while ((result = stash__rows_next(&view, &row)) == 1) {
		result = add(r, &row);
		if (result < 0)
			return result;
	}
	if (result < 0)
		return result;
	keep_last(r);
	return take_tree(r);
}

void
rowset_free(struct rowset *r)
{
	for (size_t i = 0; i < r->nitems; i++)
		free(r->items[i].key);
	for (size_t i = 0; i < r->njoined; i++)
		free(r->joined[i]);
	free(r->joined);
	free(r->items);
	free(r->tree);
	free(r->parts);
	free(r->data);
	memset(r, 0, sizeof(*r));
}

const void *
rowset_registry(const struct rowset *r, const char *key, size_t *len)
{
	const struct rowset_item *item = find(r, STASH__SCAN_REGISTRY, key);

	*len = item != NULL ? item->row.value_len : 0;
	return item != NULL ? item->row.value : NULL;
}

static void
read_process(const struct rowset *r, const char *name, struct stash__registry_row *row)
{
	size_t len;
	const void *value = rowset_registry(r, name, &len);

	if (value == NULL || stash__unpack_registry(value, len, row) < 0)
		memset(row, 0, sizeof(*row));
}

uint64_t
rowset_incarnation(const struct rowset *r, const char *name)
{
	struct stash__registry_row row;

	read_process(r, name, &row);
	return row.process.incarnation;
}

uint64_t
rowset_ran(const struct rowset *r, const char *name)
{
	struct stash__registry_row row;

	read_process(r, name, &row);
	return row.process.status == STASH_RUNNING || row.process.status == STASH_STOPPING ? row.process.incarnation :
											     0;
}

int
rowset_each_registry(
    const struct rowset *r, int (*fn)(void *arg, const char *key, const void *value, size_t len), void *arg)
{
	int result = 0;

	for (size_t i = 0; i < r->nitems && result == 0; i++) {
		const struct rowset_item *item = &r->items[i];

		if (item->row.db == STASH__SCAN_REGISTRY)
			result = fn(arg, item->key, item->row.value, item->row.value_len);
	}
	return result;
}

unsigned
rowset_parts(const struct rowset *r, size_t i)
{
	return r->parts[i];
}

void
rowset_note_parts(const struct rowset *r, struct server *s)
{
	for (size_t i = 0; i < r->ntree; i++) {
		if (r->parts[i] > 1)
			records_parts(s, r->tree[i].key, r->parts[i]);
	}
}

static uint32_t
big_endian(const unsigned char *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* The chunks of one layout, from items[i] on: how many, and *buf has them in a row; 0: that is no layout. */
static size_t
join_layout(const struct rowset *r, size_t i, struct stash_buf *buf)
{
	const struct rowset_item *first = &r->items[i];
	size_t head = first->row.key_len - sizeof(uint32_t), n = 0;
	bool full = true;

	for (; full && i + n < r->nitems; n++) {
		const struct rowset_item *item = &r->items[i + n];

		if (item->row.db != STASH__SCAN_SCHEMA || item->row.key_len != first->row.key_len ||
		    memcmp(item->key, first->key, head) != 0 ||
		    big_endian((const unsigned char *)item->key + head) != n)
			break;
		full = item->row.value_len == STASH__SCHEMA_CHUNK;
		(void)stash_buf_add(buf, item->row.value, item->row.value_len);
	}
	return full || buf->error != 0 ? 0 : n;
}

void
rowset_layouts(const struct rowset *r, struct server *s)
{
	struct stash_buf buf;
	size_t n;

	stash__buf_init(&buf, STASH__BUF_MAX);
	for (size_t i = 0; i<r->nitems; i += n> 0 ? n : 1) {
		const struct rowset_item *item = &r->items[i];
		size_t name = strlen(item->key);

		n = 0;
		if (item->row.db != STASH__SCAN_SCHEMA || item->row.key_len != name + 1 + 2 * sizeof(uint32_t))
			continue;
		stash__buf_reset(&buf);
		n = join_layout(r, i, &buf);
		if (n > 0)
			records_layout_stored(
			    s, item->key, big_endian((const unsigned char *)item->key + name + 1), buf.data, buf.len);
	}
	stash__buf_fini(&buf);
}
