/* SPDX-License-Identifier: ISC */
/*
 * The requests of OTP's supervisor module, and bounce. They are taken from the
 * queue when the supervisor has time; one that starts or stops a child becomes
 * the supervisor's operation and is answered when that is over. What comes back
 * for a request nobody waits for (it was taken over from a predecessor) is
 * dropped here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/name.h"
#include "supervisor/node.h"

/* ---- asked ---- */

void
sup_ask_free(struct sup_ask *ask)
{
	if (ask == NULL)
		return;
	sup_spec_unref(ask->spec);
	free(ask->child);
	free(ask->name);
	free(ask->args);
	free(ask);
}

static struct sup_ask *
ask_create(const struct sup_request *request)
{
	struct sup_ask *ask = sup_alloc(sizeof(*ask));

	ask->id = request->id;
	ask->kind = request->kind;
	ask->child = sup_text(request->child);
	ask->name = sup_text(request->name);
	if (request->spec != NULL)
		ask->spec = sup_spec_ref(request->spec);
	if (request->args_len > 0) {
		ask->args = sup_alloc(request->args_len);
		memcpy(ask->args, request->args, request->args_len);
		ask->args_len = request->args_len;
	}
	return ask;
}

void
sup_ended_clear(struct sup_node *n)
{
	struct sup_ended *e;

	while ((e = TAILQ_FIRST(&n->sub->ended)) != NULL) {
		TAILQ_REMOVE(&n->sub->ended, e, link);
		free(e);
	}
	n->sub->nended = 0;
}

void
sup_ended_add(struct sup_node *n, const char *name)
{
	size_t room = strlen(name) + 1;
	struct sup_ended *e = sup_alloc(sizeof(*e) + room);

	memcpy(e->name, name, room);
	TAILQ_INSERT_TAIL(&n->sub->ended, e, link);
	if (++n->sub->nended <= SUP_ENDED_MAX)
		return;
	e = TAILQ_FIRST(&n->sub->ended);
	TAILQ_REMOVE(&n->sub->ended, e, link);
	n->sub->nended--;
	free(e);
}

/* Below SIMPLE_ONE_FOR_ONE: which process the name means now. */
static void
resolve(struct sup *sup, const struct sup_node *n, struct sup_ask *ask)
{
	const struct sup_node *c;
	const struct sup_ended *e;

	if (ask->child == NULL || !sup_is_simple(n))
		return;
	c = sup_child_find(sup, n, ask->child);
	if (c != NULL && c->up != 0) {
		ask->known = true;
		ask->node = c->handle;
		ask->up = c->up;
		return;
	}
	TAILQ_FOREACH(e, &n->sub->ended, link) {
		if (strcmp(e->name, ask->child) == 0)
			ask->known = true;
	}
}

void
sup_request(struct sup *sup, const struct sup_request *request, int64_t now_ns)
{
	struct sup_ask *ask = ask_create(request);
	struct sup_node *n = (struct sup_node *)(uintptr_t)sup_find_path(sup, request->supervisor);

	STASH_ASSERT(!sup->restored);
	sup->now = now_ns;
	if (n == NULL || n->sub == NULL) {
		sup_answer(sup, ask, STASH_E_NOENT, "noproc", NULL);
	} else if (!sup_is_alive(n->state)) {
		sup_answer(sup, ask, STASH_E_DOWN, "noproc", NULL);
	} else {
		resolve(sup, n, ask);
		sup_post(sup, n, SUP_MSG_REQUEST, NULL, ask);
	}
	sup_run(sup);
}

/* ---- answered at once ---- */

/* Why a child that isn't down can't be started or deleted. */
static void
answer_not_down(struct sup *sup, struct sup_ask *ask, const struct sup_node *c)
{
	if (c->state == SUP_RESTARTING)
		sup_answer(sup, ask, STASH_E_RESTARTING, "restarting", NULL);
	else
		sup_answer(sup, ask, STASH_E_RUNNING, "running", NULL);
}

static void
delete_child(struct sup *sup, struct sup_ask *ask, struct sup_node *c)
{
	if (c->state != SUP_DOWN) {
		answer_not_down(sup, ask, c);
		return;
	}
	sup_node_remove(sup, c);
	sup_answer(sup, ask, 0, NULL, NULL);
}

/* ---- answered when a child is up or down ---- */

static void
begin(struct sup *sup, struct sup_node *n, enum sup_op_kind kind, struct sup_node *c, struct sup_ask *ask)
{
	sup_op_begin(sup, n, kind, c);
	n->sub->op.ask = ask;
}

static void
add_instance(struct sup *sup, struct sup_node *n, struct sup_ask *ask)
{
	struct sup_spec *template = n->spec->children[0];
	char name[STASH_NAME_MAX + 32];
	struct sup_node *c;
	int code;

	if (ask->name != NULL) {
		if ((code = stash__check_name(ask->name)) < 0) {
			sup_answer(sup, ask, code, NULL, NULL);
			return;
		}
		snprintf(name, sizeof(name), "%s", ask->name);
	} else {
		do {
			snprintf(name, sizeof(name), "%s-%llu", template->id, (unsigned long long)++n->sub->instances);
		} while (sup_child_find(sup, n, name) != NULL);
	}
	if (sup_child_find(sup, n, name) != NULL) {
		sup_answer(sup, ask, STASH_E_EXIST, "already_started", NULL);
		return;
	}
	c = sup_node_create(sup, n, template, name, template->name[0] == '\0' ? "" : name);
	if (c == NULL || strlen(name) > STASH_NAME_MAX) {
		if (c != NULL)
			sup_node_remove(sup, c);
		sup_answer(sup, ask, STASH_E_TOOBIG, NULL, NULL);
		return;
	}
	c->instance = true;
	c->args = ask->args;
	c->args_len = ask->args_len;
	ask->args = NULL;
	begin(sup, n, SUP_OP_ADD, c, ask);
}

static void
add_child(struct sup *sup, struct sup_node *n, struct sup_ask *ask)
{
	const char *wrong = "invalid_child_spec";
	struct sup_node *c;

	if (ask->spec != NULL)
		wrong = sup_spec_check_child(ask->spec, n->spec->auto_shutdown);
	if (wrong != NULL) {
		sup_answer(sup, ask, STASH_E_SPEC, wrong, NULL);
		return;
	}
	c = sup_child_find(sup, n, ask->spec->id);
	if (c != NULL && (c->state == SUP_DOWN || c->state == SUP_RESTARTING)) {
		sup_answer(sup, ask, STASH_E_PRESENT, "already_present", NULL);
		return;
	}
	if (c != NULL) {
		sup_answer(sup, ask, STASH_E_STARTED, "already_started", c);
		return;
	}
	c = sup_node_create(sup, n, ask->spec, ask->spec->id, ask->spec->name);
	if (c == NULL) {
		sup_answer(sup, ask, STASH_E_TOOBIG, NULL, NULL);
		return;
	}
	c->own_spec = true;
	if (c->sub != NULL)
		sup_save_specs(sup, c);
	begin(sup, n, SUP_OP_ADD, c, ask);
}

static void
terminate_child(struct sup *sup, struct sup_node *n, struct sup_ask *ask, struct sup_node *c)
{
	if (c->state == SUP_RUNNING) {
		begin(sup, n, SUP_OP_TERMINATE, c, ask);
		return;
	}
	sup_child_drop(sup, c);
	sup_answer(sup, ask, 0, NULL, NULL);
}

static void
bounce(struct sup *sup, struct sup_node *n, struct sup_ask *ask, struct sup_node *c)
{
	begin(sup, n, c->state == SUP_DOWN ? SUP_OP_AGAIN : SUP_OP_BOUNCE_STOP, c, ask);
}

/* What only a supervisor of instances does, where a request means a process. True: answered. */
static bool
answer_simple(struct sup *sup, struct sup_node *n, struct sup_ask *ask)
{
	struct sup_node key = { .handle = ask->node };
	const struct sup_node *c = RB_FIND(sup_handles, &sup->handles, &key);

	if (ask->kind == SUP_BOUNCE)
		return false;
	if (ask->kind != SUP_TERMINATE_CHILD || !ask->known) {
		sup_answer(sup, ask, STASH_E_TEMPLATE, "simple_one_for_one", NULL);
		return true;
	}
	if (c != NULL && c->up == ask->up)
		return false;
	n->sub->ghost = false; /* so does OTP, when it is asked to stop a process that has ended */
	sup_touch(sup, n);
	sup_answer(sup, ask, 0, NULL, NULL);
	return true;
}

static void
handle_child_request(struct sup *sup, struct sup_node *n, struct sup_ask *ask)
{
	struct sup_node *c;

	if (sup_is_simple(n) && answer_simple(sup, n, ask))
		return;
	c = sup_child_find(sup, n, ask->child);
	if (c == NULL)
		sup_answer(sup, ask, STASH_E_NOENT, "not_found", NULL);
	else if (ask->kind == SUP_TERMINATE_CHILD)
		terminate_child(sup, n, ask, c);
	else if (ask->kind == SUP_DELETE_CHILD)
		delete_child(sup, ask, c);
	else if (ask->kind == SUP_BOUNCE)
		bounce(sup, n, ask, c);
	else if (c->state == SUP_DOWN)
		begin(sup, n, SUP_OP_AGAIN, c, ask);
	else
		answer_not_down(sup, ask, c);
}

/* The reference of ask passes over. */
void
sup_handle_request(struct sup *sup, struct sup_node *n, struct sup_ask *ask)
{
	switch (ask->kind) {
	case SUP_WHICH_CHILDREN:
		sup_which_children(sup, n, ask);
		return;
	case SUP_COUNT_CHILDREN:
		sup_count_children(sup, n, ask);
		return;
	case SUP_START_CHILD:
		if (sup_is_simple(n))
			add_instance(sup, n, ask);
		else
			add_child(sup, n, ask);
		return;
	case SUP_TERMINATE_CHILD:
	case SUP_RESTART_CHILD:
	case SUP_DELETE_CHILD:
	case SUP_GET_CHILDSPEC:
	case SUP_BOUNCE:
		break;
	}
	if (ask->child == NULL)
		sup_answer(sup, ask, STASH_E_INVAL, NULL, NULL);
	else if (ask->kind == SUP_GET_CHILDSPEC)
		sup_get_childspec(sup, n, ask);
	else
		handle_child_request(sup, n, ask);
}

/* ---- steps of the operations ---- */

/* A child that was started by request hasn't come up. */
static void
not_up(struct sup *sup, struct sup_node *n, struct sup_node *c, enum sup_op_kind kind, enum sup_outcome outcome)
{
	bool temporary = c->spec->restart == STASH_TEMPORARY, goes = c->instance || sup_change_goes(c);
	/* a changed specification may have it by now */
	bool added = c->own_spec && c->change != SUP_RENEWS;

	if (kind == SUP_OP_ADD && ((outcome == SUP_OUT_FAILED && added) || goes))
		sup_node_remove(sup, c);
	else if (kind == SUP_OP_BOUNCE_START && outcome == SUP_OUT_FAILED && !temporary)
		sup_retry_later(sup, n, c);
	else if (kind == SUP_OP_BOUNCE_START && goes)
		sup_child_drop(sup, c);
}

static void
start_over(struct sup *sup, struct sup_node *n, enum sup_outcome outcome)
{
	struct sup_op *op = &n->sub->op;
	struct sup_ask *ask = op->ask;
	struct sup_node *c = op->current;
	enum sup_op_kind kind = op->kind;
	char *term = op->term;
	int code = outcome == SUP_OUT_FAILED ? op->code : outcome == SUP_OUT_IGNORED ? STASH_IGNORE : 0;

	op->ask = NULL;
	op->term = NULL;
	sup_op_end(sup, n);
	sup_answer(sup, ask, code, outcome == SUP_OUT_FAILED ? term : NULL, c);
	free(term);
	if (outcome != SUP_OUT_UP)
		not_up(sup, n, c, kind, outcome);
}

static void
terminate_over(struct sup *sup, struct sup_node *n)
{
	struct sup_ask *ask = n->sub->op.ask;
	struct sup_node *c = n->sub->op.current;

	n->sub->op.ask = NULL;
	sup_op_end(sup, n);
	sup_child_drop(sup, c);
	sup_answer(sup, ask, 0, NULL, NULL);
}

void
sup_request_step(struct sup *sup, struct sup_node *n)
{
	struct sup_op *op = &n->sub->op;
	enum sup_outcome outcome = op->outcome;

	op->outcome = SUP_OUT_NONE;
	sup_touch(sup, n);
	if (op->kind == SUP_OP_TERMINATE || op->kind == SUP_OP_BOUNCE_STOP) {
		if (outcome == SUP_OUT_BEGIN && sup_child_stop(sup, op->current))
			return;
		if (op->kind == SUP_OP_TERMINATE) {
			terminate_over(sup, n);
			return;
		}
		op->kind = SUP_OP_BOUNCE_START;
		outcome = SUP_OUT_BEGIN;
	}
	if (outcome == SUP_OUT_BEGIN)
		sup_child_start(sup, op->current, false);
	else
		start_over(sup, n, outcome);
}
