/* SPDX-License-Identifier: ISC */
/*
 * Stopping: one child in the time that it has, all children of a supervisor in
 * reverse order (those of SIMPLE_ONE_FOR_ONE together), and the end of a
 * supervisor. OTP: shutdown, terminate_children, terminate_dynamic_children.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "supervisor/node.h"

/* ---- one child ---- */

/*
 * True: it was asked, and ENDED comes. A child that has ended by itself is just down now: what its exit would have led
 * to is off.
 */
bool
sup_child_stop(struct sup *sup, struct sup_node *c)
{
	if (c->state == SUP_DOWN)
		return false;
	if (!sup_is_alive(c->state)) {
		sup_set_state(sup, c, SUP_DOWN);
		return false;
	}
	STASH_ASSERT(c->state == SUP_RUNNING);
	if (c->spec->shutdown_ms == STASH_BRUTAL_KILL) {
		sup_child_kill(sup, c);
		return true;
	}
	sup_set_state(sup, c, SUP_STOPPING);
	if (c->spec->shutdown_ms != STASH_INFINITY)
		sup_set_deadline(sup, c, sup->now + (int64_t)c->spec->shutdown_ms * 1000000);
	if (c->sub != NULL)
		sup_post(sup, c, SUP_MSG_STOP, NULL, NULL);
	else
		sup_act_node(sup, SUP_ACT_SIGNAL, c);
	return true;
}

static void
kill_worker(struct sup *sup, struct sup_node *c)
{
	bool killed = c->state == SUP_ABORTING;

	sup_set_state(sup, c, SUP_KILLING);
	if (!killed)
		sup_act_node(sup, SUP_ACT_KILL, c);
}

/* A supervisor that is killed does nothing any more; its children have to go with it, at once. */
static void
kill_super(struct sup *sup, struct sup_node *n)
{
	struct sup_op *op = &n->sub->op;
	struct sup_node *c;

	sup_set_state(sup, n, SUP_KILLING);
	if (op->ask != NULL)
		sup_answer(sup, op->ask, STASH_E_DOWN, "noproc", NULL);
	op->ask = NULL;
	sup_op_end(sup, n);
	sup_op_begin(sup, n, SUP_OP_KILLED, NULL);
	TAILQ_FOREACH(c, &n->sub->children, sibling) {
		if (sup_is_alive(c->state))
			sup_child_kill(sup, c);
		else if (c->state != SUP_DOWN)
			sup_set_state(sup, c, SUP_DOWN);
	}
	if (n->sub->alive > 0)
		op->outcome = SUP_OUT_NONE;
}

void
sup_child_kill(struct sup *sup, struct sup_node *c)
{
	if (c->state == SUP_KILLING)
		return;
	if (c->sub != NULL)
		kill_super(sup, c);
	else
		kill_worker(sup, c);
}

/* Its time to start or to stop is over. */
void
sup_deadline_over(struct sup *sup, struct sup_node *n)
{
	bool starting = n->state == SUP_STARTING;

	sup_act_report(sup, SUP_REP_KILLED, n, starting ? "timeout" : NULL);
	if (!starting) {
		sup_child_kill(sup, n);
		return;
	}
	sup_set_state(sup, n, SUP_ABORTING);
	sup_act_node(sup, SUP_ACT_KILL, n);
}

/* Whether n waits for all its children at once, not for one. */
bool
sup_waits_for_all(const struct sup_node *n)
{
	return n->sub->op.kind == SUP_OP_KILLED || (n->sub->op.kind == SUP_OP_END && sup_is_simple(n));
}

static void
tell_end(struct sup *sup, struct sup_node *c, enum sup_cause cause)
{
	struct sup_node *n = c->above;

	if (n == NULL)
		sup_act_done(sup, cause == SUP_CAUSE_ESCALATED ? STASH_E_ESCALATED : 0, NULL, c->last);
	else if (!sup_waits_for_all(n) || n->sub->alive == 0)
		sup_outcome(sup, n, SUP_OUT_ENDED, 0, NULL);
}

static void
process_ended(struct sup *sup, struct sup_node *c, enum stash_reason reason, enum sup_cause cause)
{
	bool was_up = c->up == c->start;
	bool asked = c->state != SUP_RUNNING;

	c->last = reason;
	sup_act_report(sup, was_up ? SUP_REP_STOPPED : SUP_REP_START_FAILED, c, was_up ? NULL : "killed");
	if (asked) {
		sup_set_state(sup, c, SUP_DOWN);
		tell_end(sup, c, cause);
		return;
	}
	sup_set_state(sup, c, SUP_EXITED);
	if (c->above != NULL) {
		sup_post(sup, c->above, SUP_MSG_EXIT, c, NULL);
	} else {
		sup_set_state(sup, c, SUP_DOWN);
		tell_end(sup, c, cause);
	}
}

/* The process of a child that was up, or was killed while it started, is dead. */
void
sup_child_ended(struct sup *sup, struct sup_node *c, enum stash_reason reason)
{
	process_ended(sup, c, reason, SUP_CAUSE_ASKED);
}

/* ---- all children ---- */

/* Whom to stop after c; the order may have changed since others were passed by. */
static struct sup_node *
next_to_stop(const struct sup_node *n, struct sup_node *c)
{
	const struct sup_node *pivot = n->sub->op.pivot;

	c = TAILQ_PREV(c, sup_nodes, sibling);
	if (c != NULL && (pivot == NULL || c->place >= pivot->place))
		return c;
	TAILQ_FOREACH_REVERSE(c, &n->sub->children, sup_nodes, sibling) {
		if (pivot != NULL && c->place < pivot->place)
			return NULL;
		if (c->state != SUP_DOWN)
			return c;
	}
	return NULL;
}

/*
 * Stops the children one after the other, from op.current back to the pivot. False: waits for one, and is to be called
 * again. forget_temporary: those aren't started again, so they go.
 */
bool
sup_stop_back(struct sup *sup, struct sup_node *n, bool forget_temporary)
{
	struct sup_op *op = &n->sub->op;
	struct sup_node *c;

	while ((c = op->current) != NULL) {
		sup_touch(sup, n);
		if (sup_child_stop(sup, c))
			return false;
		op->current = next_to_stop(n, c);
		if (forget_temporary && c != op->pivot && sup_change_goes(c))
			sup_node_remove(sup, c);
	}
	return true;
}

static void
stop_together(struct sup *sup, struct sup_node *n)
{
	struct sup_node *c;

	TAILQ_FOREACH(c, &n->sub->children, sibling)
		(void)sup_child_stop(sup, c);
}

void
sup_end_begin(struct sup *sup, struct sup_node *n, enum sup_cause cause)
{
	sup_op_begin(sup, n, SUP_OP_END, sup_is_simple(n) ? NULL : TAILQ_LAST(&n->sub->children, sup_nodes));
	n->sub->op.cause = cause;
	sup_touch_down(sup, n);
}

/*
 * A supervisor's process is gone, and with it what only it knew: queue, history, dynamic children. The others stay,
 * down, with their names and counters, for its next start.
 */
void
sup_wipe(struct sup *sup, struct sup_node *n)
{
	struct sup_super *s = n->sub;
	struct sup_node *c, *before;
	struct sup_msg *msg;

	for (c = TAILQ_LAST(&s->children, sup_nodes); c != NULL; c = before) {
		before = TAILQ_PREV(c, sup_nodes, sibling);
		c->retries = c->retry_seq = 0;
		c->wanted = SUP_UNWANTED;
		c = sup_change_take(sup, n, c);
		if (c == NULL)
			continue;
		sup_set_change(sup, c, SUP_KEEP);
		if (c->own_spec || c->instance)
			sup_node_remove(sup, c);
	}
	while ((msg = TAILQ_FIRST(&s->queue)) != NULL) {
		TAILQ_REMOVE(&s->queue, msg, link);
		if (msg->kind == SUP_MSG_REQUEST)
			sup_answer(sup, msg->ask, STASH_E_DOWN, "noproc", NULL);
		msg->ask = NULL;
		sup_msg_free(msg);
	}
	memset(&s->history, 0, sizeof(s->history));
	s->stop_seq = 0;
	s->change_due = false;
	s->ghost = false;
	sup_op_end(sup, n);
}

static void
finish(struct sup *sup, struct sup_node *n, enum stash_reason reason)
{
	enum sup_cause cause = n->sub->op.cause;

	sup_wipe(sup, n);
	if (n->above == NULL)
		n->sub->op.cause = cause; /* stays, for sup_verdict() of a successor */
	process_ended(sup, n, reason, cause);
}

void
sup_end_step(struct sup *sup, struct sup_node *n)
{
	struct sup_op *op = &n->sub->op;
	bool begin = op->outcome == SUP_OUT_BEGIN;

	op->outcome = SUP_OUT_NONE;
	sup_touch(sup, n);
	if (begin && sup_is_simple(n))
		stop_together(sup, n);
	if (sup_is_simple(n) ? n->sub->alive == 0 : sup_stop_back(sup, n, false))
		finish(sup, n, STASH_REASON_SHUTDOWN);
}

void
sup_killed_step(struct sup *sup, struct sup_node *n)
{
	finish(sup, n, STASH_REASON_KILLED);
}
