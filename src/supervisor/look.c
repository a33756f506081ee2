/* SPDX-License-Identifier: ISC */
/*
 * Looking at the tree from outside: finding nodes, walking over them, and what
 * is said about one. Changes nothing.
 */
#include <string.h>

#include "supervisor/node.h"

const struct sup_node *
sup_root(const struct sup *sup)
{
	return sup->root;
}

/* The lookup macros want trees that may be written; they don't write. */
static struct sup *
unconst(const struct sup *sup)
{
	return (struct sup *)(uintptr_t)sup;
}

const struct sup_node *
sup_find(const struct sup *sup, uint64_t node)
{
	struct sup_node key = { .handle = node };

	return RB_FIND(sup_handles, &unconst(sup)->handles, &key);
}

const struct sup_node *
sup_find_path(const struct sup *sup, const char *path)
{
	struct sup_node key = { .path = (char *)(uintptr_t)path };

	return RB_FIND(sup_paths, &unconst(sup)->paths, &key);
}

const struct sup_node *
sup_find_name(const struct sup *sup, const char *name)
{
	struct sup_node key = { .name = (char *)(uintptr_t)name };

	return RB_FIND(sup_names, &unconst(sup)->names, &key);
}

const struct sup_node *
sup_next(const struct sup *sup, const struct sup_node *node)
{
	const struct sup_node *next;

	if (node == NULL)
		return sup->root;
	if (node->sub != NULL && (next = TAILQ_FIRST(&node->sub->children)) != NULL)
		return next;
	for (; node->above != NULL; node = node->above) {
		if ((next = TAILQ_NEXT(node, sibling)) != NULL)
			return next;
	}
	return NULL;
}

uint64_t
sup_node_handle(const struct sup_node *node)
{
	return node->handle;
}

uint64_t
sup_node_start(const struct sup_node *node)
{
	return node->start;
}

const char *
sup_node_path(const struct sup_node *node)
{
	return node->path;
}

const char *
sup_node_id(const struct sup_node *node)
{
	return node->id;
}

const char *
sup_node_name(const struct sup_node *node)
{
	return node->name;
}

const struct sup_node *
sup_node_above(const struct sup_node *node)
{
	return node->above;
}

const struct sup_spec *
sup_node_spec(const struct sup_node *node)
{
	return node->spec;
}

const void *
sup_node_args(const struct sup_node *node, size_t *len)
{
	*len = node->args_len;
	return node->args;
}

enum sup_state
sup_node_state(const struct sup_node *node)
{
	return node->state;
}

uint64_t
sup_node_restarts(const struct sup_node *node)
{
	return node->restarts;
}

enum stash_reason
sup_node_last_reason(const struct sup_node *node)
{
	return node->last;
}

int
sup_verdict(const struct sup *sup)
{
	const struct sup_node *n = sup->root;

	if (n->up != n->start)
		return STASH_E_START;
	return n->sub->op.cause == SUP_CAUSE_ESCALATED ? STASH_E_ESCALATED : 0;
}

/* ---- what clients are told ---- */

/* Whether the attempts for another child of n will start c again, too. */
static bool
awaits_retry(const struct sup_node *n, const struct sup_node *c)
{
	const struct sup_node *other;

	if (n->sub->retrying == 0 || c->spec->restart == STASH_TEMPORARY)
		return false;
	if (n->spec->strategy == STASH_ONE_FOR_ALL)
		return true;
	if (n->spec->strategy != STASH_REST_FOR_ONE)
		return false;
	TAILQ_FOREACH(other, &n->sub->children, sibling) {
		if (other->state == SUP_RESTARTING)
			return other->place < c->place;
	}
	return false;
}

/* Whether the operation of n will start c, which is down. */
bool
sup_is_awaited(const struct sup_node *n, const struct sup_node *c)
{
	const struct sup_op *op = &n->sub->op;

	if (c->change == SUP_ARRIVES || c->change == SUP_LEAVES)
		return c->change == SUP_ARRIVES;
	switch (op->kind) {
	case SUP_OP_INIT:
		if (op->resumed)
			return c->wanted != SUP_UNWANTED;
		return op->current == NULL || c->place > op->current->place;
	case SUP_OP_GROUP_STOP:
		return !sup_change_goes(c) && (op->pivot == NULL || c->place >= op->pivot->place);
	case SUP_OP_GROUP_START:
		return op->current != NULL && c->place > op->current->place;
	case SUP_OP_RESTART:
	case SUP_OP_ADD:
	case SUP_OP_AGAIN:
	case SUP_OP_BOUNCE_STOP:
	case SUP_OP_BOUNCE_START:
		if (op->current == c)
			return true;
		break;
	case SUP_OP_NONE:
	case SUP_OP_TERMINATE:
	case SUP_OP_ROLLBACK:
	case SUP_OP_END:
	case SUP_OP_KILLED:
	case SUP_OP_CHANGE_STOP:
	case SUP_OP_CHANGE_START:
		break;
	}
	return awaits_retry(n, c);
}

bool
sup_is_ending(const struct sup_node *n)
{
	return n->sub->op.kind == SUP_OP_END || n->sub->op.kind == SUP_OP_ROLLBACK || n->sub->op.kind == SUP_OP_KILLED;
}

static enum stash_status
status_down(const struct sup_node *c)
{
	const struct sup_node *n = c->above;

	if (n == NULL)
		return STASH_STOPPED;
	if (!sup_is_alive(n->state)) {
		enum stash_status above = sup_node_status(n);

		return above == STASH_STARTING ? STASH_RESTARTING : above;
	}
	if (sup_is_ending(n) || n->state == SUP_STOPPING)
		return STASH_STOPPING;
	if (sup_is_awaited(n, c))
		return c->up == 0 ? STASH_STARTING : STASH_RESTARTING;
	return STASH_STOPPED;
}

enum stash_status
sup_node_status(const struct sup_node *node)
{
	switch (node->state) {
	case SUP_STARTING:
	case SUP_ABORTING:
		return node->up == 0 ? STASH_STARTING : STASH_RESTARTING;
	case SUP_RUNNING:
		return node->sub != NULL && sup_is_ending(node) ? STASH_STOPPING : STASH_RUNNING;
	case SUP_STOPPING:
	case SUP_KILLING:
		return STASH_STOPPING;
	case SUP_EXITED:
		return sup_wants_restart(node) ? STASH_RESTARTING : STASH_STOPPING;
	case SUP_RESTARTING:
		return STASH_RESTARTING;
	case SUP_DOWN:
		return status_down(node);
	}
	return STASH_STOPPED;
}

/* One whose supervisor is down is started by the start of the topmost one that is: what counts is how that one went. */
bool
sup_node_failed(const struct sup_node *node)
{
	const struct sup_node *n = node;

	if (sup_node_status(node) != STASH_STOPPED)
		return false;
	while (n->above != NULL && !sup_is_alive(n->above->state))
		n = n->above;
	return n->failed;
}
