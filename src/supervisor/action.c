/* SPDX-License-Identifier: ISC */
/*
 * What comes out of the machine: three queues, given out in the order rows,
 * statuses, acts. Rows and statuses of nodes are only marked while the machine
 * works, and made when they are taken out, so that each comes once and as it is
 * in the end. Decides nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "supervisor/node.h"

static struct sup_act *
act_create(struct sup_acts *queue, enum sup_action_kind kind)
{
	struct sup_act *a = sup_alloc(sizeof(*a));

	a->action.kind = kind;
	TAILQ_INSERT_TAIL(queue, a, link);
	return a;
}

void
sup_act_free(struct sup_act *act)
{
	if (act == NULL)
		return;
	sup_spec_unref(act->spec);
	free(act->path);
	free(act->name);
	free(act->key);
	free(act->term);
	free(act->children);
	free(act);
}

void
sup_acts_free(struct sup_acts *acts)
{
	struct sup_act *a;

	while ((a = TAILQ_FIRST(acts)) != NULL) {
		TAILQ_REMOVE(acts, a, link);
		sup_act_free(a);
	}
}

static void
name_node(struct sup_act *a, const struct sup_node *n)
{
	a->action.node = n->handle;
	a->action.start = n->start;
	a->path = sup_text(n->path);
	a->name = sup_text(n->name);
}

/* START, SIGNAL, KILL. */
void
sup_act_node(struct sup *sup, enum sup_action_kind kind, struct sup_node *n)
{
	name_node(act_create(&sup->acts, kind), n);
}

/* Before the status of whoever comes after it at that path or under that name. */
void
sup_act_gone(struct sup *sup, const struct sup_node *n)
{
	name_node(act_create(&sup->status, SUP_ACT_GONE), n);
}

void
sup_act_forget(struct sup *sup, const char *key)
{
	act_create(&sup->rows, SUP_ACT_FORGET)->key = sup_text(key);
}

void
sup_act_save_spec(struct sup *sup, const char *key, struct sup_spec *spec)
{
	struct sup_act *a = act_create(&sup->rows, SUP_ACT_SAVE);

	a->key = sup_text(key);
	a->spec = sup_spec_ref(spec);
}

void
sup_act_report(struct sup *sup, enum sup_report report, const struct sup_node *n, const char *term)
{
	struct sup_act *a = act_create(&sup->acts, SUP_ACT_REPORT);

	name_node(a, n);
	a->action.report = report;
	a->action.reason = n->last;
	a->term = sup_text(term);
}

void
sup_act_done(struct sup *sup, int code, const char *term, enum stash_reason reason)
{
	struct sup_act *a = act_create(&sup->acts, SUP_ACT_DONE);

	a->action.code = code;
	a->action.reason = reason;
	a->term = sup_text(term);
}

void
sup_act_up(struct sup *sup)
{
	act_create(&sup->acts, SUP_ACT_UP);
}

/* The caller adds what the kind asks for. */
struct sup_act *
sup_act_reply(struct sup *sup, const struct sup_ask *ask, int code, const char *term)
{
	struct sup_act *a = act_create(&sup->acts, SUP_ACT_REPLY);

	a->action.request = ask->id;
	a->action.code = code;
	a->term = sup_text(term);
	return a;
}

void
sup_act_status(struct sup *sup, struct sup_node *n)
{
	enum stash_status status = sup_node_status(n);
	bool failed = sup_node_failed(n);
	struct sup_act *a;

	if (n->sub != NULL || (n->told == status && n->told_failed == failed))
		return;
	n->told = status;
	n->told_failed = failed;
	a = act_create(&sup->status, SUP_ACT_STATUS);
	name_node(a, n);
	a->action.status = status;
}

/* The row of the next node that has changed. */
static struct sup_act *
next_dirty(struct sup *sup)
{
	struct sup_node *n = TAILQ_FIRST(&sup->dirty);
	struct sup_act *a;

	if (n == NULL)
		return NULL;
	TAILQ_REMOVE(&sup->dirty, n, dirty_link);
	n->dirty = false;
	sup_act_status(sup, n);
	a = act_create(&sup->rows, SUP_ACT_SAVE);
	a->key = sup_text(n->path);
	TAILQ_REMOVE(&sup->rows, a, link);
	return a;
}

static struct sup_act *
take(struct sup_acts *queue)
{
	struct sup_act *a = TAILQ_FIRST(queue);

	if (a != NULL)
		TAILQ_REMOVE(queue, a, link);
	return a;
}

static const char *
or_empty(const char *text)
{
	return text == NULL ? "" : text;
}

bool
sup_next_action(struct sup *sup, struct sup_action *action)
{
	struct sup_act *a;

	sup_act_free(sup->given);
	if ((a = take(&sup->rows)) == NULL && (a = next_dirty(sup)) == NULL && (a = take(&sup->status)) == NULL)
		a = take(&sup->acts);
	sup->given = a;
	memset(action, 0, sizeof(*action));
	if (a == NULL)
		return false;
	a->action.path = or_empty(a->path);
	a->action.name = or_empty(a->name);
	a->action.key = or_empty(a->key);
	a->action.term = or_empty(a->term);
	a->action.children = a->children;
	a->action.spec = a->action.kind == SUP_ACT_REPLY ? a->spec : NULL;
	*action = a->action;
	return true;
}
