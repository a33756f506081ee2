/* SPDX-License-Identifier: ISC */
/*
 * Another specification takes the place of the present one, in the whole tree at
 * once: flags and places are as it says from here on, children that are down get
 * theirs, and the others are marked for what change.c does with them. Stops and
 * starts nothing itself.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "supervisor/node.h"

/* The same in other words: nothing of it is in the child's row. */
static void
point_to(struct sup *sup, struct sup_node *c, struct sup_spec *spec)
{
	if (c->own_spec) {
		sup_node_set_spec(sup, c, spec, false);
		return;
	}
	sup_spec_ref(spec);
	sup_spec_unref(c->spec);
	c->spec = spec;
	if (c->state == SUP_EXITED) /* what becomes of it hangs on its specification */
		sup_touch(sup, c);
}

/* c keeps the specification that it has, until it is stopped. */
static void
mark(struct sup *sup, struct sup_node *c, enum sup_change change)
{
	if (!c->own_spec)
		sup_node_set_spec(sup, c, c->spec, true);
	sup_set_change(sup, c, change);
}

/* Whether n starts children as they come, or makes them all anew when it is started itself. */
static bool
goes_on(const struct sup_node *n)
{
	const struct sup_op *op = &n->sub->op;

	if (!sup_is_alive(n->state))
		return n->wanted == SUP_WANTED_AS_IT_WAS;
	if (sup_is_ending(n) || n->state == SUP_STOPPING)
		return false;
	return op->kind != SUP_OP_INIT || op->outcome != SUP_OUT_BEGIN || op->resumed;
}

static bool
is_at_work_on(const struct sup_node *n, const struct sup_node *c)
{
	return n->sub->op.current == c || n->sub->op.pivot == c;
}

static void
leave(struct sup *sup, struct sup_node *n, struct sup_node *c)
{
	if (c->state == SUP_DOWN && !is_at_work_on(n, c))
		sup_node_remove(sup, c);
	else
		mark(sup, c, SUP_LEAVES);
}

static struct sup_node *
arrive(struct sup *sup, struct sup_node *n, const struct sup_spec *old, struct sup_spec *spec)
{
	struct sup_node *c;

	if (!goes_on(n) || sup_has_ended(old, spec))
		return NULL;
	c = sup_node_create(sup, n, spec, spec->id, spec->name);
	if (c != NULL)
		sup_set_change(sup, c, SUP_ARRIVES);
	return c;
}

/* A child that differs: what stands in its place then. */
static struct sup_node *
renew(struct sup *sup, struct sup_node *n, struct sup_node *c)
{
	mark(sup, c, SUP_RENEWS);
	if (c->state != SUP_DOWN || is_at_work_on(n, c))
		return c;
	c = sup_change_take(sup, n, c);
	if (c != NULL && !goes_on(n))
		sup_set_change(sup, c, SUP_KEEP);
	return c;
}

static struct sup_node *
change_child(struct sup *sup, struct sup_node *n, struct sup_node *c, struct sup_spec *spec)
{
	unsigned differs = sup_spec_compare(c->spec, spec);

	if (c->sub != NULL)
		differs &= SUP_FIELD_KIND;
	if (differs != 0)
		return renew(sup, n, c);
	if (c->change != SUP_ARRIVES)
		sup_set_change(sup, c, SUP_KEEP);
	if (c->sub != NULL)
		sup_apply(sup, c, spec);
	else
		point_to(sup, c, spec);
	return c;
}

/* ---- the order ---- */

/* Whether children stand as in the specification already, those that were added behind them. */
static bool
in_order(const struct sup *sup, const struct sup_node *n)
{
	const struct sup_node *c = TAILQ_FIRST(&n->sub->children), *wanted;
	size_t i;

	for (i = 0; i < n->spec->nchildren; i++) {
		wanted = sup_child_find(sup, n, n->spec->children[i]->id);
		while (c != NULL && c->change == SUP_LEAVES)
			c = TAILQ_NEXT(c, sibling);
		if (wanted == NULL)
			continue;
		if (c != wanted)
			return false;
		c = TAILQ_NEXT(c, sibling);
	}
	return true;
}

static void
move(struct sup *sup, struct sup_node *n, struct sup_node *c)
{
	TAILQ_REMOVE(&n->sub->children, c, sibling);
	TAILQ_INSERT_TAIL(&n->sub->children, c, sibling);
	c->place = ++n->sub->places;
	c->seen = n->sub->checks;
	sup_touch(sup, c);
}

/* Those that leave stay behind whom they were: they are stopped in reverse order. */
static void
move_leavers(struct sup *sup, struct sup_node *n, struct sup_node *c)
{
	struct sup_node *next;

	for (; c != NULL && c->change == SUP_LEAVES && c->seen != n->sub->checks; c = next) {
		next = TAILQ_NEXT(c, sibling);
		move(sup, n, c);
	}
}

static void
order(struct sup *sup, struct sup_node *n)
{
	struct sup_node *c, *next;
	size_t i;

	n->sub->checks++;
	move_leavers(sup, n, TAILQ_FIRST(&n->sub->children));
	for (i = 0; i < n->spec->nchildren; i++) {
		c = sup_child_find(sup, n, n->spec->children[i]->id);
		if (c == NULL)
			continue;
		next = TAILQ_NEXT(c, sibling);
		move(sup, n, c);
		move_leavers(sup, n, next);
	}
	while ((c = TAILQ_FIRST(&n->sub->children)) != NULL && c->seen != n->sub->checks)
		move(sup, n, c);
}

/* Starts and restarts under way go by the order: whoever they would miss now is started by the change. */
static void
order_safely(struct sup *sup, struct sup_node *n)
{
	struct sup_node *c;

	if (in_order(sup, n))
		return;
	TAILQ_FOREACH(c, &n->sub->children, sibling) {
		bool down = c->state == SUP_DOWN || c->state == SUP_STOPPING || c->state == SUP_KILLING;

		c->awaited = down && c->change == SUP_KEEP && goes_on(n) && sup_is_awaited(n, c);
	}
	order(sup, n);
	TAILQ_FOREACH(c, &n->sub->children, sibling) {
		if (c->awaited && !c->own_spec && sup_is_alive(n->state) && !sup_is_awaited(n, c))
			sup_set_change(sup, c, SUP_ARRIVES);
	}
}

/* ---- one supervisor ---- */

static void
change_children(struct sup *sup, struct sup_node *n, const struct sup_spec *old)
{
	struct sup_node *c, *next;
	size_t i;

	n->sub->checks++;
	for (i = 0; i < n->spec->nchildren; i++) {
		struct sup_spec *spec = n->spec->children[i];

		c = sup_child_find(sup, n, spec->id);
		c = c == NULL ? arrive(sup, n, old, spec) : change_child(sup, n, c, spec);
		if (c != NULL)
			c->seen = n->sub->checks;
	}
	for (c = TAILQ_FIRST(&n->sub->children); c != NULL; c = next) {
		next = TAILQ_NEXT(c, sibling);
		if (c->seen != n->sub->checks && (!c->own_spec || c->change != SUP_KEEP))
			leave(sup, n, c);
	}
	order_safely(sup, n);
	if (goes_on(n))
		sup_post_change(sup, n);
}

/* What runs goes on; each next start is by the new one. */
static void
change_template(struct sup *sup, struct sup_node *n)
{
	struct sup_node *c;

	TAILQ_FOREACH(c, &n->sub->children, sibling) {
		if (c->sub != NULL)
			sup_apply(sup, c, n->spec->children[0]);
		else
			point_to(sup, c, n->spec->children[0]);
	}
}

void
sup_apply(struct sup *sup, struct sup_node *n, struct sup_spec *spec)
{
	struct sup_spec *old = sup_spec_ref(n->spec);

	if (n->above == NULL)
		sup_update_specs(sup, n, spec);
	else
		point_to(sup, n, spec);
	if (sup_is_simple(n))
		change_template(sup, n);
	else
		change_children(sup, n, old);
	sup_touch_down(sup, n);
	sup_spec_unref(old);
}

/* ---- the event ---- */

int
sup_reload(struct sup *sup, struct sup_spec *spec, uint64_t request, int64_t now_ns)
{
	int error = sup_reload_check(sup, spec);
	struct sup_ask *ask;

	sup->now = now_ns;
	if (error == 0) {
		ask = sup_alloc(sizeof(*ask));
		ask->id = request;
		TAILQ_INSERT_TAIL(&sup->reloads, ask, link);
		sup_apply(sup, sup->root, spec);
		sup_run(sup);
	}
	sup_spec_unref(spec);
	return error;
}
