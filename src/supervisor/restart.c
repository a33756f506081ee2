/* SPDX-License-Identifier: ISC */
/*
 * What a supervisor does about the end of a child: nothing, restart it by its
 * strategy, try again after a restart that failed, or give up. OTP: do_restart,
 * restart, restart_multiple_children, do_auto_shutdown.
 */
#include <string.h>

#include "base/assert.h"
#include "supervisor/node.h"

/* The child's process is gone and it gets no new one; a child that is of no use any more goes. */
void
sup_child_drop(struct sup *sup, struct sup_node *c)
{
	if (c->state != SUP_DOWN)
		sup_set_state(sup, c, SUP_DOWN);
	sup_set_failed(sup, c, false);
	if (c->instance || sup_change_goes(c))
		sup_node_remove(sup, c);
}

/* The next attempt waits behind what is in the queue, so that requests are heard in between. */
void
sup_retry_later(struct sup *sup, struct sup_node *n, struct sup_node *c)
{
	sup_set_state(sup, c, SUP_RESTARTING);
	sup_post(sup, n, SUP_MSG_RETRY, c, NULL);
}

static void
restart(struct sup *sup, struct sup_node *n, struct sup_node *c)
{
	bool within = c->blameless || sup_history_add(n, sup->now);

	sup_touch(sup, n);
	if (!within) {
		sup_act_report(sup, SUP_REP_ESCALATED, n, NULL);
		sup_child_drop(sup, c);
		sup_end_begin(sup, n, SUP_CAUSE_ESCALATED);
		return;
	}
	sup_act_report(sup, SUP_REP_RESTARTING, c, NULL);
	if (n->spec->strategy == STASH_ONE_FOR_ALL || n->spec->strategy == STASH_REST_FOR_ONE) {
		sup_set_state(sup, c, SUP_DOWN);
		sup_op_begin(sup, n, SUP_OP_GROUP_STOP, TAILQ_LAST(&n->sub->children, sup_nodes));
		n->sub->op.pivot = n->spec->strategy == STASH_REST_FOR_ONE ? c : NULL;
		sup_touch_down(sup, n);
	} else {
		sup_op_begin(sup, n, SUP_OP_RESTART, c);
	}
}

static bool
any_significant_left(const struct sup_node *n)
{
	const struct sup_node *c;

	if (sup_is_simple(n))
		return n->sub->nchildren > 0 || n->sub->ghost;
	TAILQ_FOREACH(c, &n->sub->children, sibling) {
		if (c->state != SUP_DOWN && c->spec->significant)
			return true;
	}
	return false;
}

/* A child has ended and isn't restarted: is that the end of its supervisor? */
static void
auto_shutdown(struct sup *sup, struct sup_node *n, bool significant)
{
	if (n->spec->auto_shutdown == STASH_AUTO_NEVER || !significant)
		return;
	if (n->spec->auto_shutdown == STASH_AUTO_ALL_SIGNIFICANT && any_significant_left(n))
		return;
	sup_act_report(sup, SUP_REP_AUTO_SHUTDOWN, n, NULL);
	sup_end_begin(sup, n, SUP_CAUSE_AUTO);
}

bool
sup_wants_restart(const struct sup_node *c)
{
	if (c->spec->restart == STASH_PERMANENT)
		return true;
	return c->spec->restart == STASH_TRANSIENT && (c->last == STASH_REASON_CRASH || c->last == STASH_REASON_KILLED);
}

/* A child that was stopped or started again since then has taken its exit out of the queue: the message is void. */
void
sup_handle_exit(struct sup *sup, struct sup_node *n, const struct sup_msg *msg)
{
	struct sup_node key = { .handle = msg->node };
	struct sup_node *c = RB_FIND(sup_handles, &sup->handles, &key);
	bool significant;

	if (c == NULL || c->state != SUP_EXITED || c->start != msg->start)
		return;
	if (sup_wants_restart(c)) {
		restart(sup, n, c);
		return;
	}
	significant = c->spec->significant != 0;
	sup_child_drop(sup, c);
	auto_shutdown(sup, n, significant);
}

/* The first of a child's attempts in the queue is the one that rows remember. */
static void
note_attempt(struct sup *sup, struct sup_node *n, struct sup_node *c, const struct sup_msg *msg)
{
	const struct sup_msg *m;

	if (c->retries == 0 || c->retry_seq != msg->seq)
		return;
	c->retries--;
	c->retry_seq = 0;
	sup_touch(sup, c);
	TAILQ_FOREACH(m, &n->sub->queue, link) {
		if (c->retries == 0)
			break;
		if (m->kind == SUP_MSG_RETRY && m->node == c->handle) {
			c->retry_seq = m->seq;
			break;
		}
	}
}

void
sup_handle_retry(struct sup *sup, struct sup_node *n, const struct sup_msg *msg)
{
	struct sup_node key = { .handle = msg->node };
	struct sup_node *c;

	c = sup_is_simple(n) ? RB_FIND(sup_handles, &sup->handles, &key) : sup_child_find(sup, n, msg->id);
	if (c == NULL)
		return;
	note_attempt(sup, n, c, msg);
	if (c->state == SUP_RESTARTING)
		restart(sup, n, c);
}

void
sup_restart_step(struct sup *sup, struct sup_node *n)
{
	struct sup_op *op = &n->sub->op;
	struct sup_node *c = op->current;
	enum sup_outcome outcome = op->outcome;

	op->outcome = SUP_OUT_NONE;
	if (outcome == SUP_OUT_BEGIN) {
		sup_child_start(sup, c, true);
		return;
	}
	sup_op_end(sup, n);
	if (outcome == SUP_OUT_FAILED) {
		sup_retry_later(sup, n, c);
	} else if (outcome == SUP_OUT_IGNORED && c->instance) {
		n->sub->ghost = true;
		sup_child_drop(sup, c);
	}
}

/* c, or the next one behind it that is to be started. After a change of the specification others may stand there. */
static struct sup_node *
next_down(struct sup_node *c)
{
	while (c != NULL && (c->state != SUP_DOWN || c->change == SUP_LEAVES))
		c = TAILQ_NEXT(c, sibling);
	return c;
}

/* The group is down: its starts come next, from the pivot on. */
static void
begin_group_start(struct sup *sup, struct sup_node *n)
{
	struct sup_op *op = &n->sub->op;

	op->kind = SUP_OP_GROUP_START;
	op->current = next_down(op->pivot != NULL ? op->pivot : TAILQ_FIRST(&n->sub->children));
	sup_touch(sup, n);
}

void
sup_group_step(struct sup *sup, struct sup_node *n)
{
	struct sup_op *op = &n->sub->op;
	struct sup_node *c = op->current;
	enum sup_outcome outcome = op->outcome;

	op->outcome = SUP_OUT_NONE;
	if (op->kind == SUP_OP_GROUP_STOP) {
		if (!sup_stop_back(sup, n, true))
			return;
		begin_group_start(sup, n);
	} else if (outcome == SUP_OUT_FAILED) {
		sup_op_end(sup, n);
		sup_retry_later(sup, n, c);
		sup_touch_down(sup, n);
		return;
	} else {
		op->current = next_down(TAILQ_NEXT(c, sibling));
		sup_touch(sup, n);
	}
	if (op->current != NULL) {
		sup_child_start(sup, op->current, true);
	} else {
		sup_op_end(sup, n);
		sup_touch_down(sup, n);
	}
}
