/* SPDX-License-Identifier: ISC */
/*
 * Answers to requests, and the requests that are nothing but a question:
 * which_children, count_children, get_childspec. Changes nothing in the tree.
 */
#include <string.h>

#include "supervisor/node.h"

/* The answer for nobody is dropped. */
void
sup_answer(struct sup *sup, struct sup_ask *ask, int code, const char *term, const struct sup_node *child)
{
	struct sup_act *a;

	if (ask == NULL)
		return;
	a = sup_act_reply(sup, ask, code, term);
	if (child != NULL) {
		a->action.node = child->handle;
		a->path = sup_text(child->path);
		a->name = sup_text(child->name);
	}
	sup_ask_free(ask);
}

static enum sup_child_state
child_state(const struct sup_node *c)
{
	if (c->state == SUP_DOWN)
		return SUP_CHILD_UNDEFINED;
	return c->state == SUP_RESTARTING ? SUP_CHILD_RESTARTING : SUP_CHILD_RUNNING;
}

static void
fill_child(struct sup_child *row, const struct sup_node *c, char **ids)
{
	size_t room = strlen(c->id) + 1;

	row->node = c->handle;
	row->type = c->spec->type;
	row->state = child_state(c);
	row->id = memcpy(*ids, c->id, room);
	*ids += room;
}

void
sup_which_children(struct sup *sup, struct sup_node *n, struct sup_ask *ask)
{
	struct sup_act *a = sup_act_reply(sup, ask, 0, NULL);
	size_t count = n->sub->nchildren + n->sub->ghost, room = 1, i = 0;
	const struct sup_node *c;
	char *ids;

	TAILQ_FOREACH(c, &n->sub->children, sibling)
		room += strlen(c->id) + 1;
	a->children = sup_alloc(count * sizeof(*a->children) + room);
	ids = (char *)(a->children + count);
	TAILQ_FOREACH_REVERSE(c, &n->sub->children, sup_nodes, sibling)
		fill_child(&a->children[i++], c, &ids);
	if (n->sub->ghost) {
		a->children[i].type = n->spec->children[0]->type;
		a->children[i].id = ids;
	}
	a->action.nchildren = count;
	a->action.unordered = sup_is_simple(n);
	sup_ask_free(ask);
}

void
sup_count_children(struct sup *sup, struct sup_node *n, struct sup_ask *ask)
{
	struct sup_action *out = &sup_act_reply(sup, ask, 0, NULL)->action;
	const struct sup_node *c;

	TAILQ_FOREACH(c, &n->sub->children, sibling) {
		out->active += c->state == SUP_RUNNING || (c->instance && c->state == SUP_EXITED);
		*(c->spec->type == SUP_SUPERVISOR ? &out->supervisors : &out->workers) += 1;
	}
	out->specs = n->sub->nchildren;
	if (sup_is_simple(n)) {
		out->specs = 1;
		out->active += n->sub->ghost;
		*(n->spec->children[0]->type == SUP_SUPERVISOR ? &out->supervisors : &out->workers) += n->sub->ghost;
	}
	sup_ask_free(ask);
}

void
sup_get_childspec(struct sup *sup, struct sup_node *n, struct sup_ask *ask)
{
	const struct sup_node *c;
	struct sup_spec *spec = NULL;

	if (sup_is_simple(n)) {
		if (ask->known || strcmp(ask->child, n->spec->children[0]->id) == 0)
			spec = n->spec->children[0];
	} else if ((c = sup_child_find(sup, n, ask->child)) != NULL) {
		spec = c->spec;
	}
	if (spec == NULL) {
		sup_answer(sup, ask, STASH_E_NOENT, "not_found", NULL);
		return;
	}
	sup_act_reply(sup, ask, 0, NULL)->spec = sup_spec_ref(spec);
	sup_ask_free(ask);
}
