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
#include "shm/record.h"
#include "shm/rows.h"
#include "stashd/rowset.h"
#include "stashd/server.h"

struct rowset_item {
	struct stash__rows_row row;
	size_t place; /* in the order in which they came */
	char *key;    /* with a NUL */
};

static int
read_file(struct rowset *r, int fd)
{
	struct stat st;
	size_t at = 0;
	ssize_t n;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return stash__fail_errno("the supervisor's rows can't be read");
	r->data = malloc((size_t)st.st_size + 1);
	if (r->data == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for %lld bytes of rows", (long long)st.st_size);
	while (at < (size_t)st.st_size) {
		n = pread(fd, r->data + at, (size_t)st.st_size - at, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return stash__fail_errno("the supervisor's rows can't be read");
		at += (size_t)n;
	}
	r->len = at;
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
	item->key = strndup(row->key, row->key_len);
	return item->key != NULL ? 0 : stash__fail(STASH_E_NOMEM, "no memory for a row");
}

static int
compare(const void *a, const void *b)
{
	const struct rowset_item *x = a, *y = b;
	int order;

	if (x->row.db != y->row.db)
		return x->row.db < y->row.db ? -1 : 1;
	order = strcmp(x->key, y->key);
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
		bool last = i + 1 == r->nitems || r->items[i + 1].row.db != item->row.db ||
		    strcmp(r->items[i + 1].key, item->key) != 0;

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
	struct rowset_item wanted = { .row.db = db, .key = (char *)(uintptr_t)key };
	size_t low = 0, high = r->nitems;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct rowset_item *item = &r->items[middle];
		int order = item->row.db != db ? (item->row.db < db ? -1 : 1) : strcmp(item->key, wanted.key);

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

uint64_t
rowset_incarnation(const struct rowset *r, const char *name)
{
	const struct rowset_item *item = find(r, STASH__SCAN_REGISTRY, name);
	struct stash__registry_row row;

	if (item == NULL || stash__unpack_registry(item->row.value, item->row.value_len, &row) < 0)
		return 0;
	return row.process.incarnation;
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
