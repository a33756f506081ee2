/* SPDX-License-Identifier: ISC */
/*
 * Starting: one child, and a supervisor with all its children in order; what
 * follows when one of them doesn't start. OTP: init_children, start_children.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "supervisor/node.h"

/* ---- one child ---- */

/* A process for a worker that is starting. */
void
sup_child_launch(struct sup *sup, struct sup_node *c)
{
	c->start = ++sup->start;
	if (c->spec->start_timeout_ms != STASH_INFINITY)
		sup_set_deadline(sup, c, sup->now + (int64_t)c->spec->start_timeout_ms * 1000000);
	sup_touch(sup, c);
	sup_act_node(sup, SUP_ACT_START, c);
}

void
sup_extend(struct sup *sup, uint64_t node, uint64_t start, int64_t until)
{
	struct sup_node key = { .handle = node }, *c = RB_FIND(sup_handles, &sup->handles, &key);

	if (c == NULL || c->start != start || c->state != SUP_STARTING || c->deadline == SUP_NEVER ||
	    until <= c->deadline)
		return;
	sup_set_deadline(sup, c, until);
	sup_touch(sup, c);
}

/* counted: a restart. What becomes of it is told to the supervisor above as its operation's outcome. */
void
sup_child_start(struct sup *sup, struct sup_node *c, bool counted)
{
	sup_set_state(sup, c, SUP_STARTING);
	sup_set_failed(sup, c, false);
	if (counted && c->up != 0)
		c->restarts++;
	if (c->sub != NULL) {
		c->start = ++sup->start;
		sup_op_begin(sup, c, SUP_OP_INIT, NULL);
		c->sub->op.counted = counted;
	} else if (!sup_claim_name(sup, c)) {
		sup_child_failed(sup, c, STASH_E_EXIST, "already_started");
	} else {
		sup_child_launch(sup, c);
	}
}

void
sup_child_up(struct sup *sup, struct sup_node *c)
{
	sup_set_state(sup, c, SUP_RUNNING);
	c->up = c->start;
	sup_change_started(sup, c, NULL);
	if (c->sub == NULL || c->above == NULL)
		sup_act_report(sup, SUP_REP_STARTED, c, NULL);
	if (c->above == NULL)
		sup_act_up(sup);
	else
		sup_outcome(sup, c->above, SUP_OUT_UP, 0, NULL);
}

void
sup_child_failed(struct sup *sup, struct sup_node *c, int code, const char *term)
{
	sup_set_state(sup, c, SUP_DOWN);
	sup_set_failed(sup, c, true);
	sup_act_report(sup, SUP_REP_START_FAILED, c, term);
	sup_change_started(sup, c, term);
	if (c->above == NULL)
		sup_act_done(sup, STASH_E_START, term, STASH_REASON_CRASH);
	else
		sup_outcome(sup, c->above, SUP_OUT_FAILED, code, term);
}

void
sup_child_ignored(struct sup *sup, struct sup_node *c)
{
	sup_set_state(sup, c, SUP_DOWN);
	sup_act_report(sup, SUP_REP_IGNORED, c, NULL);
	sup_change_started(sup, c, NULL);
	if (c->above == NULL)
		sup_act_done(sup, STASH_IGNORE, NULL, STASH_REASON_NORMAL);
	else
		sup_outcome(sup, c->above, SUP_OUT_IGNORED, 0, NULL);
}

/* ---- a supervisor's children, by its specification ---- */

/* "a b c", cut at a word if it is too long. */
static char *
join(const char *a, const char *b, const char *c)
{
	const char *part[] = { a, b, c };
	char *text = sup_alloc(SUP_TERM_MAX);
	size_t at = 0, i, len;

	for (i = 0; i < 3 && part[i] != NULL; i++) {
		len = strlen(part[i]);
		if (at > 0)
			text[at++] = ' ';
		if (at + len + 2 > SUP_TERM_MAX) {
			for (len = SUP_TERM_MAX - 2 - at; len > 0 && part[i][len] != ' '; len--)
				;
		}
		memcpy(text + at, part[i], len);
		at += len;
	}
	text[at] = '\0';
	return text;
}

static struct sup_spec *
spec_of_child(const struct sup_spec *above, const struct sup_node *c)
{
	size_t i;

	for (i = 0; i < above->nchildren; i++) {
		if (strcmp(above->children[i]->id, c->id) == 0)
			return above->children[i];
	}
	return NULL;
}

/*
 * The supervisor, which is down, has another specification now: its children that are in there have what it says of
 * them, and so on below; the others go. Else their rows would belong to no specification.
 */
static void
adopt_spec(struct sup *sup, struct sup_node *n, struct sup_spec *spec, bool own)
{
	struct sup_node *c, *next;
	struct sup_spec *part;

	sup_node_set_spec(sup, n, spec, own);
	for (c = n->sub == NULL ? NULL : TAILQ_FIRST(&n->sub->children); c != NULL; c = next) {
		next = TAILQ_NEXT(c, sibling);
		part = sup_is_simple(n) ? NULL : spec_of_child(spec, c);
		if (part == NULL || (part->kind == SUP_SUPERVISOR) != (c->sub != NULL)) {
			sup_node_remove(sup, c);
		} else if (part != c->spec) {
			adopt_spec(sup, c, part, false);
			sup_node_set_name(sup, c, part->name);
		}
	}
}

/* The child for that spec: the one that was there before, with its counters, or a new one. NULL: no such path. */
static struct sup_node *
place_child(struct sup *sup, struct sup_node *n, struct sup_spec *spec)
{
	struct sup_node *c = sup_child_find(sup, n, spec->id);

	if (c != NULL && (c->sub != NULL) != (spec->kind == SUP_SUPERVISOR)) {
		sup_node_remove(sup, c);
		c = NULL;
	}
	if (c == NULL)
		return sup_node_create(sup, n, spec, spec->id, spec->name);
	TAILQ_REMOVE(&n->sub->children, c, sibling);
	TAILQ_INSERT_TAIL(&n->sub->children, c, sibling);
	c->place = ++n->sub->places;
	if (c->spec != spec || c->own_spec)
		adopt_spec(sup, c, spec, false);
	sup_node_set_name(sup, c, spec->name);
	sup_touch(sup, c);
	return c;
}

/* Makes the nodes of all children; NULL, or what is wrong with one's spec. Nothing is started yet. */
static char *
place_children(struct sup *sup, struct sup_node *n)
{
	struct sup_node *c, *next;
	struct sup_spec *spec;
	const char *wrong;
	size_t i;

	n->sub->checks++;
	for (i = 0; i < n->spec->nchildren; i++) {
		spec = n->spec->children[i];
		if ((wrong = sup_spec_check_child(spec, n->spec->auto_shutdown)) != NULL)
			return join("start_spec", wrong, NULL);
		if ((c = sup_child_find(sup, n, spec->id)) != NULL && c->seen == n->sub->checks)
			return join("start_spec duplicate_child_name", spec->id, NULL);
		if ((c = place_child(sup, n, spec)) == NULL)
			return join("start_spec path_too_long", spec->id, NULL);
		c->seen = n->sub->checks;
	}
	for (c = TAILQ_FIRST(&n->sub->children); c != NULL; c = next) {
		next = TAILQ_NEXT(c, sibling);
		if (c->seen != n->sub->checks)
			sup_node_remove(sup, c);
	}
	return NULL;
}

/* NULL, or why this specification can't be started, as OTP says it. */
static char *
prepare(struct sup *sup, struct sup_node *n)
{
	const char *wrong = sup_spec_check_flags(n->spec);

	if (wrong != NULL)
		return join("supervisor_data", wrong, NULL);
	if (!sup_is_simple(n))
		return place_children(sup, n);
	if (n->spec->nchildren != 1)
		return join("bad_start_spec", NULL, NULL);
	wrong = sup_spec_check_child(n->spec->children[0], n->spec->auto_shutdown);
	return wrong == NULL ? NULL : join("start_spec", wrong, NULL);
}

/* OTP's Module:init. */
static enum sup_init
ask_init(struct sup *sup, struct sup_node *n)
{
	struct sup_spec *spec = n->spec;
	enum sup_init init;

	if (sup->ops.init == NULL)
		return SUP_INIT_OK;
	init = sup->ops.init(sup->ops.arg, n->path, &spec);
	if (spec != n->spec)
		adopt_spec(sup, n, spec, true);
	return init;
}

static void
fail_init(struct sup *sup, struct sup_node *n, char *term)
{
	sup_wipe(sup, n);
	sup_child_failed(sup, n, STASH_E_START, term);
	free(term);
}

static void
begin_init(struct sup *sup, struct sup_node *n)
{
	enum sup_init init = ask_init(sup, n);
	char *wrong;

	if (init == SUP_INIT_ERROR) {
		fail_init(sup, n, sup_text("bad_return"));
	} else if (init == SUP_INIT_IGNORE) {
		sup_wipe(sup, n);
		sup_child_ignored(sup, n);
	} else if ((wrong = prepare(sup, n)) != NULL) {
		fail_init(sup, n, wrong);
	} else {
		n->sub->op.current = TAILQ_FIRST(&n->sub->children);
	}
}

/* One hasn't started: the others are stopped again, then the supervisor's own start has failed. */
static void
begin_rollback(struct sup *sup, struct sup_node *n)
{
	struct sup_op *op = &n->sub->op;
	char *term = join("failed_to_start_child", op->current->id, op->term);

	free(op->term);
	op->term = term;
	op->kind = SUP_OP_ROLLBACK;
	op->current = TAILQ_LAST(&n->sub->children, sup_nodes);
	op->outcome = SUP_OUT_BEGIN;
	sup_touch(sup, n);
	sup_touch_down(sup, n);
}

/* The child under way is through: which one is next? */
static void
advance(struct sup *sup, struct sup_node *n, enum sup_outcome outcome)
{
	struct sup_op *op = &n->sub->op;
	struct sup_node *c = op->current;

	op->current = TAILQ_NEXT(c, sibling);
	if (outcome == SUP_OUT_IGNORED && sup_change_goes(c))
		sup_node_remove(sup, c);
}

/* Whether it is c's turn. After a change of the specification others may stand here. */
static bool
is_due(const struct sup_op *op, const struct sup_node *c)
{
	if (c->state != SUP_DOWN || c->change == SUP_LEAVES)
		return false;
	return !op->resumed || c->wanted != SUP_UNWANTED || c->change == SUP_ARRIVES;
}

static void
start_next(struct sup *sup, struct sup_node *n, struct sup_node *c)
{
	enum sup_wanted wanted = c->wanted;

	c->wanted = SUP_UNWANTED;
	sup_child_start(sup, c, n->sub->op.counted);
	if (c->sub != NULL)
		c->sub->op.resumed = wanted == SUP_WANTED_AS_IT_WAS;
}

void
sup_init_step(struct sup *sup, struct sup_node *n)
{
	struct sup_op *op = &n->sub->op;
	enum sup_outcome outcome = op->outcome;
	struct sup_node *c;

	op->outcome = SUP_OUT_NONE;
	sup_touch(sup, n);
	if (outcome == SUP_OUT_FAILED) {
		begin_rollback(sup, n);
		return;
	}
	if (outcome == SUP_OUT_BEGIN && op->resumed)
		op->current = TAILQ_FIRST(&n->sub->children);
	else if (outcome == SUP_OUT_BEGIN)
		begin_init(sup, n);
	else
		advance(sup, n, outcome);
	if (op->kind != SUP_OP_INIT) /* begin_init() has ended it */
		return;
	while ((c = op->current) != NULL && !is_due(op, c))
		op->current = TAILQ_NEXT(c, sibling);
	if (c != NULL) {
		start_next(sup, n, c);
	} else {
		sup_op_end(sup, n);
		sup_child_up(sup, n);
	}
}

void
sup_rollback_step(struct sup *sup, struct sup_node *n)
{
	char *term;

	n->sub->op.outcome = SUP_OUT_NONE;
	if (!sup_stop_back(sup, n, false))
		return;
	term = sup_text(n->sub->op.term);
	fail_init(sup, n, term);
}
