/* SPDX-License-Identifier: ISC */
/*
 * The tree out of its rows. They come from a store and from shared memory, so
 * nothing in them is believed before it is checked: each number has a range, each
 * name has to be known, and what is built has to pass sup_check(). A row that is
 * wrong makes the whole tree wrong: half a tree would be worse than none.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/name.h"
#include "supervisor/restore.h"
#include "supervisor/row.h"

int
sup_bad_row(const char *key, const char *what)
{
	return stash__fail(STASH_E_CORRUPT, "row %s of the tree is damaged: %s", key, what);
}

/* ---- first look ---- */

static size_t
depth_of(const char *key, size_t len)
{
	size_t i, depth = 0;

	for (i = 0; i < len; i++)
		depth += key[i] == '/';
	return depth;
}

static int
look(const struct sup_row *row, struct sup_item *it)
{
	it->key = row->key;
	it->is_part = sup_spec_key(row->key, &it->path_len, &it->number);
	if (!it->is_part) {
		it->path_len = strlen(row->key);
		if (stash__check_path(row->key) < 0)
			return sup_bad_row(row->key, "its key is no path");
	}
	it->depth = depth_of(row->key, it->path_len);
	stash_view_init(&it->view, row->value, row->len);
	(void)stash__view_range(&it->view, ROW_FORMAT, ROW_FORMAT);
	if (it->view.error != 0)
		return sup_bad_row(row->key, "it has another format");
	if (it->is_part)
		return 0;
	it->flags = stash__view_range(&it->view, 0, ROW_FLAGS);
	it->place = (uint64_t)stash__view_range(&it->view, 0, INT64_MAX);
	return it->view.error == 0 ? 0 : sup_bad_row(row->key, "it is cut short");
}

static int
compare_text(const struct sup_item *a, const struct sup_item *b)
{
	size_t len = a->path_len < b->path_len ? a->path_len : b->path_len;
	int order = memcmp(a->key, b->key, len);

	if (order != 0 || a->path_len == b->path_len)
		return order;
	return a->path_len < b->path_len ? -1 : 1;
}

int
sup_compare_items(const void *left, const void *right)
{
	const struct sup_item *a = left, *b = right;

	if (a->is_part != b->is_part)
		return a->is_part ? -1 : 1;
	if (a->is_part) {
		int order = compare_text(a, b);

		return order != 0 ? order : a->number < b->number ? -1 : a->number > b->number;
	}
	if (a->depth != b->depth)
		return a->depth < b->depth ? -1 : 1;
	return a->place < b->place ? -1 : a->place > b->place;
}

/* ---- all of it ---- */

/* Names of children, which may come in later rows: kept in the item's key order by path, looked up at the end. */
static int
find_child(
    struct sup_rebuild *r, const struct sup_item *it, const struct sup_node *n, const char *id, struct sup_node **out)
{
	*out = id[0] == '\0' ? NULL : sup_child_find(r->sup, n, id);
	if (*out == NULL && id[0] != '\0')
		return sup_bad_row(it->key, "it is at work on a child that isn't there");
	return 0;
}

static int
compare_pending(const void *left, const void *right)
{
	const struct sup_pending *a = left, *b = right;

	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

/* The queues, in the order in which the messages once came. */
static void
fill_queues(struct sup_rebuild *r)
{
	uint64_t last = r->sup->seq;
	size_t i;

	qsort(r->pending, r->npending, sizeof(*r->pending), compare_pending);
	for (i = 0; i < r->npending; i++) {
		struct sup_pending *p = &r->pending[i];

		r->sup->seq = p->seq - 1;
		sup_post(r->sup, p->queue, p->kind, p->child, NULL);
	}
	r->sup->seq = last;
}

static int
take_nodes(struct sup_rebuild *r)
{
	size_t n = r->count - r->parts, i;
	const char *(*ids)[2] = sup_alloc((n + 1) * sizeof(*ids));
	struct sup_node *node;
	int error = 0;

	for (i = 0; i < n && error == 0; i++) {
		ids[i][0] = ids[i][1] = "";
		error = sup_take_node(r, &r->items[r->parts + i], ids[i]);
	}
	for (i = 0; i < n && error == 0; i++) {
		struct sup_item *it = &r->items[r->parts + i];

		node = (struct sup_node *)(uintptr_t)sup_find_path(r->sup, it->key);
		if (node->sub == NULL)
			continue;
		if ((error = find_child(r, it, node, ids[i][0], &node->sub->op.current)) == 0)
			error = find_child(r, it, node, ids[i][1], &node->sub->op.pivot);
	}
	free(ids);
	return error;
}

static int
restore(struct sup_rebuild *r)
{
	const char *wrong;
	size_t i;
	int error;

	qsort(r->items, r->count, sizeof(*r->items), sup_compare_items);
	while (r->parts < r->count && r->items[r->parts].is_part)
		r->parts++;
	if ((error = take_nodes(r)) < 0)
		return error;
	for (i = 0; i < r->parts; i++) {
		if (!r->items[i].used)
			return sup_bad_row(r->items[i].key, "it belongs to no specification");
	}
	if (r->sup->root == NULL)
		return sup_bad_row(r->items[0].key, "there is no top supervisor");
	fill_queues(r);
	r->sup->restored = true;
	if ((wrong = sup_check(r->sup)) != NULL)
		return stash__fail(STASH_E_CORRUPT, "the rows of the tree contradict each other: %s", wrong);
	return 0;
}

/* As it was created. */
static void
clear(struct sup *sup)
{
	if (sup->root != NULL)
		sup_node_free(sup, sup->root);
	sup->restored = false;
	sup->handle = sup->start = sup->seq = 0;
}

int
sup_restore(struct sup *sup, const struct sup_row *rows, size_t count)
{
	struct sup_rebuild r = { .sup = sup, .count = count };
	struct sup_node *n;
	size_t i;
	int error = 0;

	if (sup->root != NULL)
		return stash__fail(STASH_E_INVAL, "there is a tree already");
	if (count == 0)
		return 0;
	r.items = sup_alloc(count * sizeof(*r.items));
	r.pending = sup_alloc(3 * count * sizeof(*r.pending));
	for (i = 0; i < count && error == 0; i++)
		error = look(&rows[i], &r.items[i]);
	if (error == 0)
		error = restore(&r);
	free(r.pending);
	free(r.items);
	if (error < 0)
		clear(sup);
	while ((n = TAILQ_FIRST(&sup->dirty)) != NULL) { /* their rows are as they were */
		TAILQ_REMOVE(&sup->dirty, n, dirty_link);
		n->dirty = false;
	}
	return error;
}
