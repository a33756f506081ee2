/* SPDX-License-Identifier: ISC */
/*
 * What holds in every tree between two events. Tests ask after each event; rows
 * that were read are refused if it doesn't hold for them, since everything else in
 * here relies on it. Changes nothing.
 */
#include <string.h>

#include "supervisor/node.h"

static const char *
check_counts(const struct sup_node *n)
{
	size_t alive = 0, retrying = 0, count = 0;
	uint64_t place = 0;
	const struct sup_node *c;

	TAILQ_FOREACH(c, &n->sub->children, sibling) {
		count++;
		alive += sup_is_alive(c->state);
		retrying += c->state == SUP_RESTARTING;
		if (c->place <= place)
			return "two children have one place";
		place = c->place;
	}
	if (count != n->sub->nchildren || alive != n->sub->alive || retrying != n->sub->retrying)
		return "children are miscounted";
	return place > n->sub->places ? "a place was not given" : NULL;
}

static bool
is_starting(enum sup_op_kind kind)
{
	switch (kind) {
	case SUP_OP_INIT:
	case SUP_OP_RESTART:
	case SUP_OP_GROUP_START:
	case SUP_OP_ADD:
	case SUP_OP_AGAIN:
	case SUP_OP_BOUNCE_START:
	case SUP_OP_CHANGE_START:
		return true;
	case SUP_OP_NONE:
	case SUP_OP_ROLLBACK:
	case SUP_OP_GROUP_STOP:
	case SUP_OP_TERMINATE:
	case SUP_OP_BOUNCE_STOP:
	case SUP_OP_END:
	case SUP_OP_KILLED:
	case SUP_OP_CHANGE_STOP:
		return false;
	}
	return false;
}

/* A child on its way up or down is on it because its supervisor waits for it. */
static const char *
check_under_way(const struct sup_node *n, const struct sup_node *c)
{
	const struct sup_op *op = &n->sub->op;
	bool up = c->state == SUP_STARTING || c->state == SUP_ABORTING;

	if (op->outcome != SUP_OUT_NONE && !sup_waits_for_all(n))
		return "nobody waits for a child that starts or stops";
	if (sup_waits_for_all(n))
		return up ? "a child starts in a supervisor that ends" : NULL;
	if (op->kind == SUP_OP_NONE || op->current != c)
		return "nobody waits for a child that starts or stops";
	return up == is_starting(op->kind) ? NULL : "a child goes the other way than its supervisor wants";
}

/* Taken up, and not begun: that far it comes when a run of steps is at its end. */
static bool
is_restart_due(const struct sup_node *n, const struct sup_node *c)
{
	const struct sup_op *op = &n->sub->op;

	return op->kind == SUP_OP_RESTART && op->outcome == SUP_OUT_BEGIN && op->current == c;
}

static const char *
check_child(const struct sup_node *n, const struct sup_node *c)
{
	if (c->instance != sup_is_simple(n))
		return "an instance is in the wrong supervisor";
	if (!sup_is_alive(n->state) && c->state != SUP_DOWN)
		return "a child lives without its supervisor";
	switch (c->state) {
	case SUP_DOWN:
		return NULL;
	case SUP_RUNNING:
		return n->sub->op.kind == SUP_OP_KILLED ? "a killed supervisor left a child running" : NULL;
	case SUP_EXITED:
		return c->exit_seq == 0 ? "an end was not told to the supervisor" : NULL;
	case SUP_RESTARTING:
		return c->retries == 0 && !is_restart_due(n, c) ? "a restart attempt got lost" : NULL;
	case SUP_STARTING:
	case SUP_ABORTING:
	case SUP_STOPPING:
	case SUP_KILLING:
		return check_under_way(n, c);
	}
	return "a child has no known state";
}

/* The operation and the state of the supervisor that has it belong together. */
static const char *
check_op_state(const struct sup_node *n)
{
	const struct sup_op *op = &n->sub->op;

	if (!sup_is_alive(n->state)) {
		if (op->kind != SUP_OP_NONE || !TAILQ_EMPTY(&n->sub->queue))
			return "a supervisor without a life works";
		return NULL;
	}
	if ((n->state == SUP_STARTING) != (op->kind == SUP_OP_INIT || op->kind == SUP_OP_ROLLBACK))
		return "a supervisor's start is no start";
	if ((n->state == SUP_KILLING) != (op->kind == SUP_OP_KILLED))
		return "a supervisor is half killed";
	if (n->state == SUP_ABORTING)
		return "a supervisor's start can't time out";
	if (n->state == SUP_STOPPING && n->sub->stop_seq == 0)
		return "a supervisor wasn't told to stop";
	return NULL;
}

/* What the operation waits for is under way. */
static const char *
check_op(const struct sup_node *n)
{
	const struct sup_op *op = &n->sub->op;
	const struct sup_node *c = op->current;

	if ((c != NULL && c->above != n) || (op->pivot != NULL && op->pivot->above != n))
		return "an operation is about another one's child";
	if (op->kind == SUP_OP_NONE)
		return op->outcome != SUP_OUT_NONE || c != NULL ? "there is an outcome of nothing" : NULL;
	if (op->outcome == SUP_OUT_BEGIN && (op->kind == SUP_OP_INIT || op->kind == SUP_OP_KILLED))
		return NULL;
	if (sup_waits_for_all(n))
		return op->outcome == SUP_OUT_NONE && n->sub->alive == 0 ? "a supervisor waits for nobody" : NULL;
	if (c == NULL)
		return op->outcome == SUP_OUT_BEGIN ? NULL : "an operation is about nobody";
	if (op->outcome == SUP_OUT_NONE && (!sup_is_alive(c->state) || c->state == SUP_RUNNING))
		return "a supervisor waits for a child that does nothing";
	return NULL;
}

/* What a step of the operation relies on in the outcome that it is about to take. */
static const char *
check_outcome(const struct sup_node *n)
{
	const struct sup_op *op = &n->sub->op;
	const struct sup_node *c = op->current;
	bool needs_child = op->kind == SUP_OP_RESTART || op->kind == SUP_OP_ADD || op->kind == SUP_OP_AGAIN ||
	    op->kind == SUP_OP_TERMINATE || op->kind == SUP_OP_BOUNCE_STOP || op->kind == SUP_OP_BOUNCE_START;

	if (needs_child && c == NULL)
		return "a request is about nobody";
	switch (op->outcome) {
	case SUP_OUT_NONE:
		return NULL;
	case SUP_OUT_BEGIN:
		if (is_starting(op->kind) && c != NULL && (sup_is_alive(c->state) || op->kind == SUP_OP_GROUP_START))
			return "a child is started twice";
		return NULL;
	case SUP_OUT_UP:
		return is_starting(op->kind) && c != NULL ? NULL : "a child came up unasked";
	case SUP_OUT_FAILED:
		if (!is_starting(op->kind) || c == NULL || c->state != SUP_DOWN || op->term == NULL)
			return "a start failed unasked";
		return NULL;
	case SUP_OUT_IGNORED:
		if (!is_starting(op->kind) || c == NULL || c->state != SUP_DOWN)
			return "a start was ignored unasked";
		return NULL;
	case SUP_OUT_ENDED:
		return is_starting(op->kind) ? "a child ended instead of starting" : NULL;
	}
	return "an outcome isn't known";
}

/* A change belongs to a child in the states from which its supervisor takes it on. */
static const char *
check_change(const struct sup_node *n, const struct sup_node *c)
{
	const struct sup_spec *spec;

	switch (c->change) {
	case SUP_KEEP:
		return NULL;
	case SUP_LEAVES:
		return c->own_spec ? NULL : "a child that leaves has no specification of its own";
	case SUP_RENEWS:
		spec = sup_spec_of(n->spec, c->id);
		return c->own_spec && spec != NULL && !sup_is_simple(n) ? NULL : "a child is changed into nothing";
	case SUP_ARRIVES:
		if (c->state == SUP_RUNNING || c->state == SUP_EXITED || c->state == SUP_RESTARTING)
			return "a child that was started is waited for";
		return c->own_spec || c->instance ? "a child of another one's is waited for" : NULL;
	}
	return "a change isn't known";
}

static const char *
check_super(const struct sup *sup, const struct sup_node *n)
{
	const struct sup_node *c;
	const char *wrong;

	if (sup_is_alive(n->state) && n->sub->op.kind != SUP_OP_INIT && sup_spec_check_flags(n->spec) != NULL)
		return "its specification is wrong";
	if (sup_is_simple(n) && n->spec->nchildren != 1 && (n->sub->nchildren > 0 || n->state == SUP_RUNNING))
		return "it has no template";
	if ((wrong = check_counts(n)) != NULL || (wrong = check_op_state(n)) != NULL || (wrong = check_op(n)) != NULL ||
	    (wrong = check_outcome(n)) != NULL)
		return wrong;
	TAILQ_FOREACH(c, &n->sub->children, sibling) {
		if ((wrong = check_child(n, c)) != NULL || (wrong = check_change(n, c)) != NULL)
			return wrong;
	}
	if (!sup->restored && !n->ready && n->sub->op.kind == SUP_OP_NONE && !TAILQ_EMPTY(&n->sub->queue))
		return "a supervisor sleeps on its queue";
	return NULL;
}

static const char *
check_node(const struct sup *sup, const struct sup_node *n)
{
	if (n->up > n->start || n->start > sup->start)
		return "start numbers run backwards";
	if (n->state == SUP_RUNNING && n->up != n->start)
		return "a running child was never ready";
	if (n->failed && sup_is_alive(n->state))
		return "a start that failed has led to a process";
	if (n->deadline != SUP_NEVER && n->state != SUP_STARTING && n->state != SUP_STOPPING)
		return "a time runs for nothing";
	if (n->holds_name != (sup_find_name(sup, n->name) == n))
		return "its name belongs to another child";
	if (n->above == NULL && (n->state == SUP_EXITED || n->state == SUP_RESTARTING || n->state == SUP_STOPPING))
		return "the top supervisor has nobody above it";
	if (n->sub == NULL && sup_is_alive(n->state) && n->name[0] != '\0' && !n->holds_name)
		return "a worker runs without its name";
	return n->sub == NULL ? NULL : check_super(sup, n);
}

const char *
sup_check(const struct sup *sup)
{
	const struct sup_node *n;
	const char *wrong;

	for (n = sup_next(sup, NULL); n != NULL; n = sup_next(sup, n)) {
		if ((wrong = check_node(sup, n)) != NULL)
			return wrong;
	}
	return NULL;
}
