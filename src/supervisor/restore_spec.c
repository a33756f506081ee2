/* SPDX-License-Identifier: ISC */
/*
 * Specifications out of rows: a node's own, put together of its parts, or the one
 * that the supervisor above has for it. See restore.c.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/name.h"
#include "supervisor/restore.h"
#include "supervisor/row.h"

static struct sup_item *
find_part(struct sup_rebuild *r, const char *path, size_t number)
{
	struct sup_item key = { .key = path, .path_len = strlen(path), .number = number, .is_part = true };

	return bsearch(&key, r->items, r->parts, sizeof(key), sup_compare_items);
}

static int take_parts(struct sup_rebuild *r, const char *path, struct sup_spec *spec, int64_t count, size_t *number);

static int
take_part(struct sup_rebuild *r, const char *path, struct sup_spec *above, size_t *number)
{
	struct sup_item *it = find_part(r, path, (*number)++);
	struct sup_spec *spec;
	int64_t count;
	int error;

	if (it == NULL || it->used || r->depth > STASH_PATH_MAX / 2)
		return sup_bad_row(path, "a part of its specification is missing");
	it->used = true;
	if (sup_spec_unpack(&it->view, &spec) < 0)
		return sup_bad_row(it->key, stash_errmsg());
	count = stash__view_range(&it->view, 0, spec->kind == SUP_SUPERVISOR ? INT32_MAX : 0);
	if (stash_view_end(&it->view) < 0) {
		sup_spec_unref(spec);
		return sup_bad_row(it->key, "it has another length");
	}
	if ((error = take_parts(r, path, spec, count, number)) < 0) {
		sup_spec_unref(spec);
		return error;
	}
	return sup_spec_add_child(above, spec);
}

static int
take_parts(struct sup_rebuild *r, const char *path, struct sup_spec *spec, int64_t count, size_t *number)
{
	int error = 0;

	r->depth++;
	while (count-- > 0 && error == 0)
		error = take_part(r, path, spec, number);
	r->depth--;
	return error;
}

/* Its own, in its row and parts. */
static int
take_own_spec(struct sup_rebuild *r, struct sup_item *it, struct sup_spec **out)
{
	struct sup_spec *spec;
	size_t number = 0;
	int64_t count;
	int error;

	if (sup_spec_unpack(&it->view, &spec) < 0)
		return sup_bad_row(it->key, stash_errmsg());
	count = stash__view_range(&it->view, 0, spec->kind == SUP_SUPERVISOR ? INT32_MAX : 0);
	if ((error = take_parts(r, it->key, spec, count, &number)) < 0) {
		sup_spec_unref(spec);
		return error;
	}
	*out = spec;
	return 0;
}

/* The one that the supervisor's has for it: rows come in the order of the children, so it is the next one mostly. */
static int
find_spec(const struct sup_item *it, const struct sup_node *above, const char *id, struct sup_spec **out)
{
	size_t i, at, n;

	if (above == NULL)
		return sup_bad_row(it->key, "nothing is above it, and it has no specification");
	n = above->spec->nchildren;
	for (i = 0; i < n; i++) {
		at = (above->sub->found + i) % n;
		if ((it->flags & ROW_INSTANCE) != 0 || strcmp(above->spec->children[at]->id, id) == 0) {
			above->sub->found = at + 1;
			*out = sup_spec_ref(above->spec->children[at]);
			return 0;
		}
	}
	return sup_bad_row(it->key, "it isn't in the specification of its supervisor");
}

int
sup_take_spec(
    struct sup_rebuild *r, struct sup_item *it, const struct sup_node *above, const char *id, struct sup_spec **out)
{
	if ((it->flags & ROW_OWN) != 0)
		return take_own_spec(r, it, out);
	return find_spec(it, above, id, out);
}
