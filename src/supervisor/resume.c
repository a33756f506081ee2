/* SPDX-License-Identifier: ISC */
/*
 * Going on with a tree that was restored: on the same boot where it stood, with
 * the workers that live; after another boot by starting again what ran, since no
 * process has outlived that. Takes no decision that step.c and the others would
 * take otherwise.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "supervisor/node.h"

static struct sup_node *
next_node(struct sup *sup, struct sup_node *n)
{
	return (struct sup_node *)(uintptr_t)sup_next(sup, n);
}

/* ---- the same boot ---- */

/* What the predecessor may not have carried out any more. Twice does no harm. */
static void
act_again(struct sup *sup, struct sup_node *n)
{
	if (n->sub != NULL) {
		sup_make_ready(sup, n);
		sup_post_change(sup, n);
	} else if (n->state == SUP_STOPPING)
		sup_act_node(sup, SUP_ACT_SIGNAL, n);
	else if (n->state == SUP_KILLING || n->state == SUP_ABORTING)
		sup_act_node(sup, SUP_ACT_KILL, n);
}

/* ---- another boot ---- */

/* A child that is down, but wouldn't be if there had been time. */
static bool
was_awaited(const struct sup_node *n, const struct sup_node *c)
{
	return !sup_is_ending(n) && n->sub->op.kind != SUP_OP_TERMINATE && sup_is_awaited(n, c);
}

static bool
is_wanted(const struct sup_node *n, const struct sup_node *c)
{
	switch (c->state) {
	case SUP_STARTING:
	case SUP_ABORTING:
	case SUP_RUNNING:
	case SUP_RESTARTING:
		return true;
	case SUP_EXITED:
		return sup_wants_restart(c);
	case SUP_DOWN:
	case SUP_STOPPING:
	case SUP_KILLING:
		return was_awaited(n, c);
	}
	return false;
}

/* A child that nobody starts again: temporary ones that were added later, and one whose adding wasn't answered yet. */
static bool
is_lost(const struct sup_node *n, const struct sup_node *c)
{
	if (n->sub->op.kind == SUP_OP_ADD && n->sub->op.current == c && (c->own_spec || c->instance))
		return true;
	return (c->own_spec || c->instance) && c->spec->restart == STASH_TEMPORARY;
}

static enum sup_wanted
how_wanted(const struct sup_node *n, const struct sup_node *c)
{
	if (!is_wanted(n, c))
		return SUP_UNWANTED;
	if (c->sub != NULL && ((c->state == SUP_RUNNING && !sup_is_ending(c)) || c->sub->op.resumed))
		return SUP_WANTED_AS_IT_WAS;
	return SUP_WANTED;
}

/* All its life is forgotten; what it is to become is in wanted. */
static void
put_down(struct sup *sup, struct sup_node *n)
{
	if (n->above != NULL) {
		n->above->sub->alive -= sup_is_alive(n->state);
		n->above->sub->retrying -= n->state == SUP_RESTARTING;
	}
	if (sup_is_alive(n->state))
		n->last = STASH_REASON_KILLED;
	n->state = SUP_DOWN;
	n->retries = n->retry_seq = n->exit_seq = 0;
	sup_set_deadline(sup, n, SUP_NEVER);
	sup_touch(sup, n);
}

static void
put_super_down(struct sup *sup, struct sup_node *n, bool new_boot)
{
	struct sup_msg *msg;

	while ((msg = TAILQ_FIRST(&n->sub->queue)) != NULL) {
		TAILQ_REMOVE(&n->sub->queue, msg, link);
		sup_msg_free(msg);
	}
	n->sub->stop_seq = 0;
	n->sub->change_due = false;
	if (new_boot)
		memset(&n->sub->history, 0, sizeof(n->sub->history));
	sup_op_end(sup, n);
}

/* From above to below: what a supervisor was at decides about its children, so they come before it is put down. */
static void
settle(struct sup *sup, struct sup_node *n, bool as_it_was, bool new_boot)
{
	struct sup_node *c, *next;

	TAILQ_FOREACH(c, &n->sub->children, sibling) {
		if (n->sub->op.resumed && c->state == SUP_DOWN)
			continue;
		c->wanted = how_wanted(n, c);
	}
	for (c = TAILQ_FIRST(&n->sub->children); c != NULL; c = next) {
		next = TAILQ_NEXT(c, sibling);
		if (c->sub != NULL)
			settle(sup, c, c->wanted == SUP_WANTED_AS_IT_WAS, new_boot);
		put_down(sup, c);
		if (new_boot)
			c->restarts = 0;
		if (is_lost(n, c))
			sup_node_remove(sup, c);
		else if (as_it_was)
			(void)sup_change_take(sup, n, c);
	}
	if (as_it_was)
		put_super_down(sup, n, new_boot);
	else
		sup_wipe(sup, n);
}

static void
begin_anew(struct sup *sup, bool new_boot)
{
	struct sup_node *n = sup->root;
	bool ran = sup_is_alive(n->state) && !sup_is_ending(n);

	settle(sup, n, ran, new_boot);
	put_down(sup, n);
	if (!ran)
		return;
	sup_child_start(sup, n, false);
	n->sub->op.resumed = true;
}

static void
tell_statuses(struct sup *sup)
{
	struct sup_node *n;

	for (n = sup->root; n != NULL; n = next_node(sup, n))
		sup_act_status(sup, n);
}

int
sup_begin_anew(struct sup *sup, struct sup_spec *spec, bool new_boot, int64_t now_ns)
{
	int error = spec == NULL || sup->root == NULL ? 0 : sup_reload_check(sup, spec);

	sup->now = now_ns;
	if (error == 0) {
		sup->restored = false;
		if (sup->root != NULL)
			begin_anew(sup, new_boot);
		if (spec != NULL && sup->root != NULL && sup_is_alive(sup->root->state))
			sup_apply(sup, sup->root, spec);
		tell_statuses(sup);
		sup_run(sup);
	}
	sup_spec_unref(spec);
	return error;
}

void
sup_resume(struct sup *sup, bool new_boot, int64_t now_ns)
{
	struct sup_node *n;

	if (new_boot) {
		(void)sup_begin_anew(sup, NULL, true, now_ns);
		return;
	}
	sup->now = now_ns;
	sup->restored = false;
	for (n = sup->root; n != NULL; n = next_node(sup, n))
		act_again(sup, n);
	tell_statuses(sup);
	sup_run(sup);
}
