/* SPDX-License-Identifier: ISC */
/*
 * What a supervisor does about another specification: reload.c has marked which
 * children leave, renew and arrive; as soon as the supervisor has time, it stops
 * the first two kinds from the last back, puts the new specifications in place,
 * and starts what arrives in order. A start whose name a child still holds that
 * leaves elsewhere waits until the name is free.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "supervisor/node.h"

/* ---- marks ---- */

void
sup_set_change(struct sup *sup, struct sup_node *c, enum sup_change change)
{
	if (c->change == change)
		return;
	sup->changing -= c->change != SUP_KEEP;
	sup->changing += change != SUP_KEEP;
	c->change = change;
	sup_touch(sup, c);
}

struct sup_spec *
sup_spec_of(const struct sup_spec *spec, const char *id)
{
	size_t i;

	for (i = 0; i < spec->nchildren; i++) {
		if (strcmp(spec->children[i]->id, id) == 0)
			return spec->children[i];
	}
	return NULL;
}

bool
sup_is_compatible(const struct sup_node *c, const struct sup_spec *spec)
{
	return (sup_spec_compare(c->spec, spec) & (SUP_FIELD_KIND | SUP_FIELD_NAME)) == 0;
}

bool
sup_change_goes(const struct sup_node *c)
{
	return c->spec->restart == STASH_TEMPORARY && c->change != SUP_RENEWS && c->change != SUP_ARRIVES;
}

/* Another node at the place of c, which goes. NULL: there can't be one. */
static struct sup_node *
replace(struct sup *sup, struct sup_node *n, struct sup_node *c, struct sup_spec *spec)
{
	struct sup_node *next = TAILQ_NEXT(c, sibling), *fresh;
	uint64_t place = c->place;

	sup_node_remove(sup, c);
	fresh = sup_node_create(sup, n, spec, spec->id, spec->name);
	if (fresh == NULL || next == NULL)
		return fresh;
	TAILQ_REMOVE(&n->sub->children, fresh, sibling);
	TAILQ_INSERT_BEFORE(next, fresh, sibling);
	fresh->place = place;
	return fresh;
}

struct sup_node *
sup_change_take(struct sup *sup, struct sup_node *n, struct sup_node *c)
{
	struct sup_spec *spec;

	STASH_ASSERT(!sup_is_alive(c->state));
	if (c->change == SUP_KEEP || c->change == SUP_ARRIVES)
		return c;
	spec = c->change == SUP_RENEWS ? sup_spec_of(n->spec, c->id) : NULL;
	if (spec == NULL) {
		sup_node_remove(sup, c);
		return NULL;
	}
	if (sup_is_compatible(c, spec))
		sup_node_set_spec(sup, c, spec, false);
	else
		c = replace(sup, n, c, spec);
	if (c != NULL)
		sup_set_change(sup, c, SUP_ARRIVES);
	return c;
}

void
sup_change_started(struct sup *sup, struct sup_node *c, const char *term)
{
	size_t room;

	if (c->change != SUP_ARRIVES)
		return;
	sup_set_change(sup, c, SUP_KEEP);
	if (term == NULL || sup->reload_term != NULL)
		return;
	room = strlen(c->path) + strlen(term) + 2;
	sup->reload_term = sup_alloc(room);
	snprintf(sup->reload_term, room, "%s %s", c->path, term);
}

/* ---- in the queue ---- */

static bool
has_changes(const struct sup_node *n)
{
	const struct sup_node *c;

	TAILQ_FOREACH(c, &n->sub->children, sibling) {
		if (c->change != SUP_KEEP)
			return true;
	}
	return false;
}

void
sup_post_change(struct sup *sup, struct sup_node *n)
{
	if (n->sub->change_due || sup->changing == 0 || !sup_is_alive(n->state) || !has_changes(n))
		return;
	n->sub->change_due = true;
	sup_post(sup, n, SUP_MSG_CHANGE, NULL, NULL);
}

void
sup_handle_change(struct sup *sup, struct sup_node *n)
{
	n->sub->change_due = false;
	if (has_changes(n))
		sup_op_begin(sup, n, SUP_OP_CHANGE_STOP, NULL);
}

void
sup_change_wake(struct sup *sup)
{
	struct sup_node *n;

	sup->freed = sup->blocked = false;
	for (n = sup->root; n != NULL; n = (struct sup_node *)(uintptr_t)sup_next(sup, n)) {
		if (n->sub != NULL)
			sup_post_change(sup, n);
	}
}

/* ---- the operation ---- */

/* True: waits for one. */
static bool
stop_next(struct sup *sup, struct sup_node *n)
{
	struct sup_node *c, *before;

	for (c = TAILQ_LAST(&n->sub->children, sup_nodes); c != NULL; c = before) {
		before = TAILQ_PREV(c, sup_nodes, sibling);
		if (c->change != SUP_LEAVES && c->change != SUP_RENEWS)
			continue;
		if (sup_child_stop(sup, c)) {
			n->sub->op.current = c;
			return true;
		}
		(void)sup_change_take(sup, n, c);
	}
	return false;
}

/* Whether its name is another child's that will let go of it. */
static bool
is_blocked(struct sup *sup, const struct sup_node *c)
{
	const struct sup_node *holder = c->sub == NULL ? sup_find_name(sup, c->name) : NULL;

	for (; holder != NULL && holder != c; holder = holder->above) {
		if (holder->change == SUP_LEAVES || holder->change == SUP_RENEWS)
			return true;
	}
	return false;
}

static bool
start_next(struct sup *sup, struct sup_node *n)
{
	struct sup_node *c;

	TAILQ_FOREACH(c, &n->sub->children, sibling) {
		if (c->change != SUP_ARRIVES || c->state != SUP_DOWN)
			continue;
		if (is_blocked(sup, c)) {
			sup->blocked = true;
			continue;
		}
		n->sub->op.current = c;
		sup_child_start(sup, c, false);
		return true;
	}
	return false;
}

void
sup_change_step(struct sup *sup, struct sup_node *n)
{
	struct sup_op *op = &n->sub->op;
	struct sup_node *c = op->current;
	enum sup_outcome outcome = op->outcome;

	op->outcome = SUP_OUT_NONE;
	op->current = NULL;
	sup_touch(sup, n);
	if (op->kind == SUP_OP_CHANGE_STOP) {
		if (stop_next(sup, n))
			return;
		op->kind = SUP_OP_CHANGE_START;
	} else if (outcome == SUP_OUT_FAILED || outcome == SUP_OUT_IGNORED) {
		free(op->term);
		op->term = NULL;
		if (sup_change_goes(c))
			sup_node_remove(sup, c);
	}
	if (!start_next(sup, n))
		sup_op_end(sup, n);
}

/* ---- the end of it ---- */

void
sup_change_answer(struct sup *sup)
{
	bool down = sup->root == NULL || !sup_is_alive(sup->root->state);
	const char *term = down ? "noproc" : sup->reload_term;
	struct sup_ask *ask;

	/* A tree that has ended has nobody left who could come to its change. */
	if (sup->changing > 0 && !down)
		return;
	while ((ask = TAILQ_FIRST(&sup->reloads)) != NULL) {
		TAILQ_REMOVE(&sup->reloads, ask, link);
		sup_answer(sup, ask, down ? STASH_E_DOWN : term != NULL ? STASH_E_START : 0, term, NULL);
	}
	free(sup->reload_term);
	sup->reload_term = NULL;
}
