/* SPDX-License-Identifier: ISC */
/*
 * Another specification and the tree that runs, compared: what is wrong with it,
 * and the steps that sup_reload() would take, for people. Changes nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "supervisor/node.h"

/* ---- two specifications ---- */

static bool
is_simple(const struct sup_spec *spec)
{
	return spec->strategy == STASH_SIMPLE_ONE_FOR_ONE;
}

/* Instances of one template can't become those of another kind. */
static bool
same_kind(const struct sup_spec *a, const struct sup_spec *b)
{
	if (is_simple(a) != is_simple(b))
		return false;
	if (!is_simple(a) || a->nchildren != 1 || b->nchildren != 1)
		return true;
	return (sup_spec_compare(a->children[0], b->children[0]) & SUP_FIELD_KIND) == 0;
}

static unsigned
compare_super(const struct sup_spec *a, const struct sup_spec *b)
{
	return (same_kind(a, b) ? 0 : SUP_FIELD_KIND) | (a->strategy != b->strategy ? SUP_FIELD_STRATEGY : 0) |
	    (a->auto_shutdown != b->auto_shutdown ? SUP_FIELD_AUTO_SHUTDOWN : 0) |
	    (a->intensity != b->intensity ? SUP_FIELD_INTENSITY : 0) |
	    (a->period_s != b->period_s ? SUP_FIELD_PERIOD : 0);
}

static unsigned
compare_worker(const struct sup_spec *a, const struct sup_spec *b)
{
	bool same = a->payload_len == b->payload_len &&
	    (a->payload_len == 0 || memcmp(a->payload, b->payload, a->payload_len) == 0);

	return (strcmp(a->name, b->name) != 0 ? SUP_FIELD_NAME : 0) |
	    (a->start_timeout_ms != b->start_timeout_ms ? SUP_FIELD_START_TIMEOUT : 0) | (same ? 0 : SUP_FIELD_PAYLOAD);
}

unsigned
sup_spec_compare(const struct sup_spec *a, const struct sup_spec *b)
{
	if (a->kind != b->kind)
		return SUP_FIELD_KIND;
	return compare_worker(a, b) | compare_super(a, b) | (a->type != b->type ? SUP_FIELD_TYPE : 0) |
	    (a->restart != b->restart ? SUP_FIELD_RESTART : 0) |
	    (a->significant != b->significant ? SUP_FIELD_SIGNIFICANT : 0) |
	    (a->shutdown_ms != b->shutdown_ms ? SUP_FIELD_SHUTDOWN : 0);
}

bool
sup_has_ended(const struct sup_spec *old, const struct sup_spec *child)
{
	const struct sup_spec *was = child->restart == STASH_TEMPORARY ? sup_spec_of(old, child->id) : NULL;

	return was != NULL && sup_spec_compare(was, child) == 0;
}

/* ---- whether it can be taken ---- */

static int
wrong(const char *path, const char *what)
{
	return stash__fail(STASH_E_SPEC, "%s: %s", path, what);
}

static int
by_id(const void *a, const void *b)
{
	return strcmp((*(const struct sup_spec *const *)a)->id, (*(const struct sup_spec *const *)b)->id);
}

/* The id that two children have; NULL: none. */
static const char *
find_twice(const struct sup_spec *spec)
{
	const struct sup_spec **sorted = sup_alloc((spec->nchildren + 1) * sizeof(struct sup_spec *));
	const char *twice = NULL;
	size_t i;

	for (i = 0; i < spec->nchildren; i++)
		sorted[i] = spec->children[i];
	qsort(sorted, spec->nchildren, sizeof(sorted[0]), by_id);
	for (i = 1; i < spec->nchildren && twice == NULL; i++) {
		if (strcmp(sorted[i]->id, sorted[i - 1]->id) == 0)
			twice = sorted[i]->id;
	}
	free(sorted);
	return twice;
}

static int check_spec(const struct sup_spec *spec, const char *path);

static int
check_child(const struct sup_spec *spec, size_t i, const char *above)
{
	const struct sup_spec *child = spec->children[i];
	const char *what = sup_spec_check_child(child, spec->auto_shutdown);
	char path[STASH_PATH_MAX + 1];

	if (snprintf(path, sizeof(path), "%s/%s", above, child->id) > STASH_PATH_MAX)
		return wrong(above, "the path of a child is too long");
	if (what != NULL)
		return wrong(path, what);
	return child->kind == SUP_SUPERVISOR ? check_spec(child, path) : 0;
}

static int
check_spec(const struct sup_spec *spec, const char *path)
{
	const char *what = sup_spec_check_flags(spec);
	size_t i;
	int error = 0;

	if (what != NULL)
		return wrong(path, what);
	if (is_simple(spec) && spec->nchildren != 1)
		return wrong(path, "simple_one_for_one takes one child, the template");
	if ((what = find_twice(spec)) != NULL)
		return stash__fail(STASH_E_SPEC, "%s/%s: two children have this id", path, what);
	for (i = 0; i < spec->nchildren && error == 0; i++)
		error = check_child(spec, i, path);
	return error;
}

int
sup_reload_check(const struct sup *sup, const struct sup_spec *spec)
{
	const struct sup_node *root = sup->root;

	if (root == NULL)
		return stash__fail(STASH_E_DOWN, "no tree is running");
	if (!sup->restored && (!sup_is_alive(root->state) || sup_is_ending(root) || root->sub->stop_seq != 0))
		return stash__fail(STASH_E_DOWN, "the tree is stopping, or has ended");
	if (strcmp(root->id, spec->id) != 0 || (sup_spec_compare(root->spec, spec) & SUP_FIELD_KIND) != 0)
		return wrong(root->path,
		    "the top supervisor can't become another one, nor begin or cease to be simple_one_for_one, while "
		    "it runs");
	return check_spec(spec, spec->id);
}

/* ---- steps ---- */

struct steps {
	const struct sup *sup;
	sup_step_fn *fn;
	void *arg;
};

static void
tell(const struct steps *s, enum sup_step_kind kind, const char *path, const struct sup_spec *from,
    const struct sup_spec *to, unsigned fields)
{
	struct sup_step step = { .kind = kind, .path = path, .fields = fields, .from = from, .to = to };

	s->fn(s->arg, &step);
}

static void
remove_node(const struct steps *s, const struct sup_node *c)
{
	const struct sup_node *below;

	if (c->sub != NULL) {
		TAILQ_FOREACH_REVERSE(below, &c->sub->children, sup_nodes, sibling)
			remove_node(s, below);
	}
	tell(s, SUP_STEP_REMOVE, c->path, c->spec, NULL, 0);
}

/* A supervisor is there when its children are. */
static void
add_spec(const struct steps *s, const struct sup_spec *spec, const char *above)
{
	char path[STASH_PATH_MAX + 1];
	size_t i;

	snprintf(path, sizeof(path), "%s/%s", above, spec->id);
	tell(s, SUP_STEP_ADD, path, NULL, spec, 0);
	for (i = 0; i < spec->nchildren && !is_simple(spec); i++)
		add_spec(s, spec->children[i], path);
}

/* Whether those that stay are in another order. */
static bool
is_reordered(const struct steps *s, const struct sup_node *n, const struct sup_spec *spec)
{
	const struct sup_node *c;
	uint64_t place = 0;
	size_t i;

	for (i = 0; i < spec->nchildren; i++) {
		c = sup_child_find(s->sup, n, spec->children[i]->id);
		if (c == NULL)
			continue;
		if (c->place < place)
			return true;
		place = c->place;
	}
	return false;
}

static bool
same_tree(const struct sup_spec *a, const struct sup_spec *b)
{
	size_t i;

	if (sup_spec_compare(a, b) != 0 || strcmp(a->id, b->id) != 0 || a->nchildren != b->nchildren)
		return false;
	for (i = 0; i < a->nchildren; i++) {
		if (!same_tree(a->children[i], b->children[i]))
			return false;
	}
	return true;
}

static void
compare_flags(const struct steps *s, const struct sup_node *n, const struct sup_spec *spec)
{
	unsigned fields = sup_spec_compare(n->spec, spec);

	if (!is_simple(spec) && is_reordered(s, n, spec))
		fields |= SUP_FIELD_ORDER;
	if (is_simple(spec) && !same_tree(n->spec->children[0], spec->children[0]))
		fields |= SUP_FIELD_TEMPLATE;
	if (fields != 0)
		tell(s, SUP_STEP_FLAGS, n->path, n->spec, spec, fields);
}

static void compare(const struct steps *s, const struct sup_node *n, const struct sup_spec *spec);

static void
compare_child(const struct steps *s, const struct sup_node *n, const struct sup_node *c, const struct sup_spec *spec)
{
	unsigned fields;

	if (c == NULL) {
		if (!sup_has_ended(n->spec, spec))
			add_spec(s, spec, n->path);
		return;
	}
	fields = sup_spec_compare(c->spec, spec);
	if (c->sub != NULL && (fields & SUP_FIELD_KIND) == 0)
		compare(s, c, spec);
	else if (fields != 0)
		tell(s, SUP_STEP_CHANGE, c->path, c->spec, spec, fields);
}

/* Whether spec has a child of that id; searched from *near on, back. */
static bool
is_in(const struct sup_spec *spec, const char *id, size_t *near)
{
	size_t i;

	for (i = 0; i < spec->nchildren; i++) {
		*near = *near == 0 ? spec->nchildren - 1 : *near - 1;
		if (strcmp(spec->children[*near]->id, id) == 0)
			return true;
	}
	return false;
}

static void
compare(const struct steps *s, const struct sup_node *n, const struct sup_spec *spec)
{
	const struct sup_node *c;
	size_t i, near = 0;

	compare_flags(s, n, spec);
	if (is_simple(spec))
		return;
	TAILQ_FOREACH_REVERSE(c, &n->sub->children, sup_nodes, sibling) {
		if ((!c->own_spec || c->change != SUP_KEEP) && !is_in(spec, c->id, &near))
			remove_node(s, c);
	}
	for (i = 0; i < spec->nchildren; i++)
		compare_child(s, n, sup_child_find(s->sup, n, spec->children[i]->id), spec->children[i]);
}

int
sup_reload_steps(const struct sup *sup, const struct sup_spec *spec, sup_step_fn *fn, void *arg)
{
	const struct steps s = { sup, fn, arg };
	int error = sup_reload_check(sup, spec);

	if (error == 0)
		compare(&s, sup->root, spec);
	return error;
}
