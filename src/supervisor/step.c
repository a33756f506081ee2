/* SPDX-License-Identifier: ISC */
/*
 * The events that come in, the queue of each supervisor, and who works next.
 * A supervisor that has something to do stands in the ready list. It takes what
 * became of the child it waits for, or the next message if it waits for none,
 * until it has to wait; then comes the next one. So supervisors work side by
 * side, as processes would. What is done is in start.c, restart.c, stop.c and
 * request.c.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "supervisor/node.h"

struct sup *
sup_create(const struct sup_ops *ops)
{
	struct sup *sup = calloc(1, sizeof(*sup));

	if (sup == NULL)
		return NULL;
	if (ops != NULL)
		sup->ops = *ops;
	RB_INIT(&sup->handles);
	RB_INIT(&sup->paths);
	RB_INIT(&sup->names);
	RB_INIT(&sup->deadlines);
	TAILQ_INIT(&sup->dirty);
	TAILQ_INIT(&sup->ready);
	TAILQ_INIT(&sup->rows);
	TAILQ_INIT(&sup->status);
	TAILQ_INIT(&sup->acts);
	TAILQ_INIT(&sup->reloads);
	return sup;
}

void
sup_destroy(struct sup *sup)
{
	struct sup_ask *ask;

	if (sup == NULL)
		return;
	if (sup->root != NULL)
		sup_node_free(sup, sup->root);
	while ((ask = TAILQ_FIRST(&sup->reloads)) != NULL) {
		TAILQ_REMOVE(&sup->reloads, ask, link);
		sup_ask_free(ask);
	}
	free(sup->reload_term);
	sup_acts_free(&sup->rows);
	sup_acts_free(&sup->status);
	sup_acts_free(&sup->acts);
	sup_act_free(sup->given);
	free(sup);
}

/* ---- queues ---- */

void
sup_msg_free(struct sup_msg *msg)
{
	sup_ask_free(msg->ask);
	free(msg->id);
	free(msg);
}

void
sup_make_ready(struct sup *sup, struct sup_node *n)
{
	if (n->ready)
		return;
	n->ready = true;
	TAILQ_INSERT_TAIL(&sup->ready, n, ready_link);
}

static void
note_in_rows(struct sup *sup, struct sup_node *n, const struct sup_msg *msg, struct sup_node *child)
{
	if (msg->kind == SUP_MSG_STOP) {
		n->sub->stop_seq = msg->seq;
		sup_touch(sup, n);
	} else if (msg->kind == SUP_MSG_EXIT) {
		child->exit_seq = msg->seq;
		sup_touch(sup, child);
	} else if (msg->kind == SUP_MSG_RETRY && child->retries++ == 0) {
		child->retry_seq = msg->seq;
		sup_touch(sup, child);
	}
}

/* To the end of n's queue. child: of EXIT and RETRY; ask: of REQUEST, passes over. */
void
sup_post(struct sup *sup, struct sup_node *n, enum sup_msg_kind kind, struct sup_node *child, struct sup_ask *ask)
{
	struct sup_msg *msg = sup_alloc(sizeof(*msg));

	msg->kind = kind;
	msg->seq = ++sup->seq;
	msg->ask = ask;
	if (child != NULL) {
		msg->node = child->handle;
		msg->start = child->start;
	}
	if (kind == SUP_MSG_RETRY)
		msg->id = sup_text(child->id);
	note_in_rows(sup, n, msg, child);
	TAILQ_INSERT_TAIL(&n->sub->queue, msg, link);
	sup_make_ready(sup, n);
}

static void
handle_message(struct sup *sup, struct sup_node *n)
{
	struct sup_msg *msg = TAILQ_FIRST(&n->sub->queue);

	if (msg == NULL)
		return;
	TAILQ_REMOVE(&n->sub->queue, msg, link);
	switch (msg->kind) {
	case SUP_MSG_EXIT:
		sup_handle_exit(sup, n, msg);
		break;
	case SUP_MSG_STOP:
		sup_end_begin(sup, n, SUP_CAUSE_ASKED);
		break;
	case SUP_MSG_RETRY:
		sup_handle_retry(sup, n, msg);
		break;
	case SUP_MSG_REQUEST:
		sup_handle_request(sup, n, msg->ask);
		msg->ask = NULL;
		break;
	case SUP_MSG_CHANGE:
		sup_handle_change(sup, n);
		break;
	}
	sup_msg_free(msg);
}

/* ---- operations ---- */

void
sup_op_begin(struct sup *sup, struct sup_node *n, enum sup_op_kind kind, struct sup_node *current)
{
	STASH_ASSERT(n->sub->op.kind == SUP_OP_NONE);
	n->sub->op.kind = kind;
	n->sub->op.current = current;
	n->sub->op.outcome = SUP_OUT_BEGIN;
	sup_touch(sup, n);
	sup_make_ready(sup, n);
}

void
sup_op_end(struct sup *sup, struct sup_node *n)
{
	STASH_ASSERT(n->sub->op.ask == NULL);
	free(n->sub->op.term);
	memset(&n->sub->op, 0, sizeof(n->sub->op));
	sup_touch(sup, n);
}

/* What became of the child for which n waits. */
void
sup_outcome(struct sup *sup, struct sup_node *n, enum sup_outcome outcome, int code, const char *term)
{
	struct sup_op *op = &n->sub->op;

	STASH_ASSERT(op->kind != SUP_OP_NONE && op->outcome == SUP_OUT_NONE);
	op->outcome = outcome;
	if (outcome == SUP_OUT_FAILED) {
		free(op->term);
		op->term = sup_text(term);
		op->code = code;
	}
	sup_touch(sup, n);
	sup_make_ready(sup, n);
}

static void
work(struct sup *sup, struct sup_node *n)
{
	/* a supervisor works from the moment when it is up; that it is, is told by the one above, when that hears it */
	if (n->sub->op.outcome == SUP_OUT_UP && n->sub->op.current->sub != NULL)
		sup_act_report(sup, SUP_REP_STARTED, n->sub->op.current, NULL);
	switch (n->sub->op.kind) {
	case SUP_OP_NONE:
		handle_message(sup, n);
		break;
	case SUP_OP_INIT:
		sup_init_step(sup, n);
		break;
	case SUP_OP_ROLLBACK:
		sup_rollback_step(sup, n);
		break;
	case SUP_OP_RESTART:
		sup_restart_step(sup, n);
		break;
	case SUP_OP_GROUP_STOP:
	case SUP_OP_GROUP_START:
		sup_group_step(sup, n);
		break;
	case SUP_OP_ADD:
	case SUP_OP_AGAIN:
	case SUP_OP_TERMINATE:
	case SUP_OP_BOUNCE_STOP:
	case SUP_OP_BOUNCE_START:
		sup_request_step(sup, n);
		break;
	case SUP_OP_END:
		sup_end_step(sup, n);
		break;
	case SUP_OP_KILLED:
		sup_killed_step(sup, n);
		break;
	case SUP_OP_CHANGE_STOP:
	case SUP_OP_CHANGE_START:
		sup_change_step(sup, n);
		break;
	}
}

static bool
has_work(const struct sup_node *n)
{
	if (!sup_is_alive(n->state))
		return false;
	if (n->sub->op.kind != SUP_OP_NONE)
		return n->sub->op.outcome != SUP_OUT_NONE;
	return !TAILQ_EMPTY(&n->sub->queue);
}

/*
 * The next one does one thing. It stays the next one as long as it has something to do: a process isn't interrupted
 * either. It may be gone after its work, so it is known again by its handle.
 */
static void
work_once(struct sup *sup, struct sup_node *n)
{
	struct sup_node key = { .handle = n->handle };

	if (has_work(n))
		work(sup, n);
	n = RB_FIND(sup_handles, &sup->handles, &key);
	if (n == NULL || has_work(n))
		return;
	TAILQ_REMOVE(&sup->ready, n, ready_link);
	n->ready = false;
}

/* Works until nobody has anything to do, but not for ever: the rest waits for sup_clock(), which is due at once. */
void
sup_run(struct sup *sup)
{
	struct sup_node *n;
	int steps = 0;

	while (steps++ < SUP_STEP_MAX) {
		if (sup->freed)
			sup_change_wake(sup);
		if ((n = TAILQ_FIRST(&sup->ready)) == NULL)
			break;
		work_once(sup, n);
	}
	sup_change_answer(sup);
}

/* ---- events ---- */

static void
begin_event(struct sup *sup, int64_t now_ns)
{
	STASH_ASSERT(!sup->restored);
	sup->now = now_ns;
}

/* The worker of that node, if this is its current start. */
static struct sup_node *
worker(struct sup *sup, uint64_t node, uint64_t start, int64_t now_ns)
{
	struct sup_node key = { .handle = node };
	struct sup_node *n = RB_FIND(sup_handles, &sup->handles, &key);

	begin_event(sup, now_ns);
	if (n == NULL || n->sub != NULL || n->start != start)
		return NULL;
	return n;
}

int
sup_start(struct sup *sup, struct sup_spec *spec, int64_t now_ns)
{
	struct sup_node *n;

	begin_event(sup, now_ns);
	if (sup->root != NULL && sup_is_alive(sup->root->state)) {
		sup_spec_unref(spec);
		return stash__fail(STASH_E_RUNNING, "the tree %s is running already", sup->root->path);
	}
	if (sup->root != NULL)
		sup_node_remove(sup, sup->root);
	n = sup_node_create(sup, NULL, spec, spec->id, "");
	sup_spec_unref(spec);
	if (n == NULL)
		return stash__fail(STASH_E_TOOBIG, "the id of the top supervisor is too long");
	n->own_spec = true;
	sup_save_specs(sup, n);
	sup_child_start(sup, n, false);
	sup_run(sup);
	return 0;
}

int
sup_stop(struct sup *sup, int64_t now_ns)
{
	begin_event(sup, now_ns);
	if (sup->root == NULL || !sup_is_alive(sup->root->state))
		return stash__fail(STASH_E_DOWN, "no tree is running");
	if (sup->root->sub->stop_seq == 0)
		sup_post(sup, sup->root, SUP_MSG_STOP, NULL, NULL);
	sup_run(sup);
	return 0;
}

void
sup_kill(struct sup *sup, int64_t now_ns)
{
	begin_event(sup, now_ns);
	if (sup->root != NULL && sup_is_alive(sup->root->state))
		sup_child_kill(sup, sup->root);
	sup_run(sup);
}

void
sup_ready(struct sup *sup, uint64_t node, uint64_t start, int64_t now_ns)
{
	struct sup_node *n = worker(sup, node, start, now_ns);

	if (n != NULL && n->state == SUP_STARTING)
		sup_child_up(sup, n);
	sup_run(sup);
}

/* A start that came to nothing; it may have been given up meanwhile. */
static void
start_over(struct sup *sup, struct sup_node *n, bool ignored, const char *term)
{
	if (n->state == SUP_STARTING && ignored)
		sup_child_ignored(sup, n);
	else if (n->state == SUP_STARTING)
		sup_child_failed(sup, n, STASH_E_START, term);
	else if (n->state == SUP_ABORTING)
		sup_child_failed(sup, n, STASH_E_START, "timeout");
	else if (n->state == SUP_KILLING)
		sup_child_ended(sup, n, STASH_REASON_KILLED);
}

void
sup_failed(struct sup *sup, uint64_t node, uint64_t start, const char *term, int64_t now_ns)
{
	struct sup_node *n = worker(sup, node, start, now_ns);

	if (n != NULL)
		start_over(sup, n, false, term);
	sup_run(sup);
}

void
sup_ignored(struct sup *sup, uint64_t node, uint64_t start, int64_t now_ns)
{
	struct sup_node *n = worker(sup, node, start, now_ns);

	if (n != NULL)
		start_over(sup, n, true, NULL);
	sup_run(sup);
}

void
sup_exited(struct sup *sup, uint64_t node, uint64_t start, enum stash_reason reason, int64_t now_ns)
{
	struct sup_node *n = worker(sup, node, start, now_ns);

	if (n != NULL && (n->state == SUP_STARTING || n->state == SUP_ABORTING))
		start_over(sup, n, false, reason == STASH_REASON_KILLED ? "killed" : "init_error");
	else if (n != NULL && sup_is_alive(n->state))
		sup_child_ended(sup, n, reason);
	sup_run(sup);
}

void
sup_lost(struct sup *sup, uint64_t node, uint64_t start, int64_t now_ns)
{
	struct sup_node *n = worker(sup, node, start, now_ns);

	if (n == NULL || n->state != SUP_STARTING)
		sup_exited(sup, node, start, STASH_REASON_KILLED, now_ns);
	else
		sup_child_launch(sup, n);
	sup_run(sup);
}

void
sup_bereaved(struct sup *sup, uint64_t node, uint64_t start, int64_t now_ns)
{
	struct sup_node *n = worker(sup, node, start, now_ns);

	if (n != NULL && n->state == SUP_RUNNING) {
		n->blameless = true;
		sup_child_ended(sup, n, STASH_REASON_KILLED);
		sup_run(sup);
	} else {
		sup_lost(sup, node, start, now_ns);
	}
}

void
sup_clock(struct sup *sup, int64_t now_ns)
{
	struct sup_node *n;

	begin_event(sup, now_ns);
	while ((n = RB_MIN(sup_deadlines, &sup->deadlines)) != NULL && n->deadline <= now_ns)
		sup_deadline_over(sup, n);
	sup_run(sup);
}

int64_t
sup_deadline(const struct sup *sup)
{
	struct sup_deadlines *deadlines = (struct sup_deadlines *)(uintptr_t)&sup->deadlines;
	const struct sup_node *n;

	if (!TAILQ_EMPTY(&sup->ready))
		return INT64_MIN;
	n = RB_MIN(sup_deadlines, deadlines);
	return n == NULL ? SUP_NEVER : n->deadline;
}
