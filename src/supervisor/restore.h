/* SPDX-License-Identifier: ISC */
/*
 * What the files that build the tree out of rows share: restore.c (all rows),
 * restore_node.c (one node), restore_spec.c (specifications).
 */
#ifndef SUPERVISOR_RESTORE_H
#define SUPERVISOR_RESTORE_H

#include "supervisor/node.h"

/* A row, and what it is before anything is built. */
struct sup_item {
	const char *key;
	size_t path_len; /* of a specification's part: of the node that owns it; else of the whole key */
	size_t number;
	size_t depth;
	uint64_t place;
	struct stash_view view; /* of a node's row: behind place */
	int64_t flags;
	bool is_part, used;
};

/* A message for a queue, out of a row: they come in one after the other when all rows were read. */
struct sup_pending {
	uint64_t seq;
	enum sup_msg_kind kind;
	struct sup_node *queue, *child;
};

/* What the work is done with; parts come first in items, then nodes, those above before those below. */
struct sup_rebuild {
	struct sup *sup;
	struct sup_item *items;
	size_t count, parts;
	int depth; /* of the specification in hand */
	struct sup_pending *pending;
	size_t npending;
};

/* STASH_E_CORRUPT, with the row and what is wrong with it. */
int sup_bad_row(const char *key, const char *what);
/* The order of items: parts by owner and number, then nodes by depth and place. For qsort and bsearch. */
int sup_compare_items(const void *left, const void *right);
/* The specification of the node of that row: its own, or the one that above has for it. A new reference. */
int sup_take_spec(
    struct sup_rebuild *r, struct sup_item *it, const struct sup_node *above, const char *id, struct sup_spec **out);
/* Makes the node; id: of the child under way and of the pivot, or "". */
int sup_take_node(struct sup_rebuild *r, struct sup_item *it, const char *id[2]);

#endif
