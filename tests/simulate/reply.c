/* SPDX-License-Identifier: ISC */
/* Answers: each request has exactly one, and it says what the picture says. */
#include <stdlib.h>
#include <string.h>

#include "simulate/oracle.h"

void
plea_free(struct plea *p)
{
	free(p->supervisor);
	free(p->child);
	sup_spec_unref(p->spec);
	free(p);
}

static struct plea *
take_plea(struct oracle *o, uint64_t id)
{
	struct plea *p, **at;

	for (at = &o->pleas; (p = *at) != NULL; at = &p->next) {
		if (p->id == id) {
			*at = p->next;
			return p;
		}
	}
	return NULL;
}

static enum sup_child_state
state_of(const struct being *c)
{
	if (c->phase == PHASE_DOWN)
		return SUP_CHILD_UNDEFINED;
	return c->phase == PHASE_RETRY ? SUP_CHILD_RESTARTING : SUP_CHILD_RUNNING;
}

static void
judge_list(struct oracle *o, const struct being *b, const struct sup_action *a)
{
	size_t i, at = 0;

	if (being_simple(b))
		return;
	for (i = b->nchild; i > 0; i--) {
		const struct being *c = b->child[i - 1];
		bool named = at < a->nchildren && strcmp(a->children[at].id, c->id) == 0;

		if (!named && is_unclear(c) && c->place->restart == STASH_TEMPORARY)
			continue;
		if (!named || (a->children[at].state != state_of(c) && !is_unclear(c)))
			broken(o, "which_children is wrong", "%s", c->path);
		at++;
	}
	if (at != a->nchildren)
		broken(o, "which_children is wrong", "%s has more children than it has", b->path);
}

static void
judge_counts(struct oracle *o, const struct being *b, const struct sup_action *a)
{
	size_t specs = 0, active = 0, unclear = 0, i;

	if (being_simple(b))
		return;
	for (i = 0; i < b->nchild; i++) {
		specs++;
		active += b->child[i]->phase == PHASE_UP;
		unclear += is_unclear(b->child[i]);
	}
	if (a->specs > specs || a->specs + unclear < specs || a->active != active ||
	    a->supervisors + a->workers != a->specs)
		broken(o, "count_children is wrong", "%s", b->path);
}

/* Below simple_one_for_one the one may be meant that had the name before. */
static void
judge_terminated(struct oracle *o, struct being *c)
{
	if (being_lives(c) && !c->instance)
		broken(o, "an answer is wrong", "%s is said to be down", c->path);
	if (being_lives(c))
		return;
	if (c->instance && c->phase != PHASE_DOWN) {
		c->unsure = true;
		return;
	}
	c->phase = PHASE_DOWN;
	if (c->instance || c->place->restart == STASH_TEMPORARY)
		being_remove(o, c);
}

static void
judge_done(struct oracle *o, struct being *b, const struct plea *p, const struct sup_action *a)
{
	struct being *c = p->child == NULL ? NULL : being_child(b, p->child);

	switch (p->kind) {
	case SUP_START_CHILD:
	case SUP_RESTART_CHILD:
		if (a->code == 0 && (c == NULL || (c->phase != PHASE_UP && c->phase != PHASE_DEAD)))
			broken(o, "an answer is wrong", "%s/%s is said to be up", b->path, p->child);
		break;
	case SUP_TERMINATE_CHILD:
		b->unsure = true;
		if (c != NULL)
			judge_terminated(o, c);
		break;
	case SUP_DELETE_CHILD:
		if (c == NULL || (c->phase != PHASE_DOWN && !is_unclear(c)))
			broken(o, "an answer is wrong", "%s/%s is said to be deleted", b->path, p->child);
		else
			being_remove(o, c);
		break;
	case SUP_WHICH_CHILDREN:
		judge_list(o, b, a);
		break;
	case SUP_COUNT_CHILDREN:
		judge_counts(o, b, a);
		break;
	case SUP_GET_CHILDSPEC:
		if (!being_simple(b) && (c == NULL || a->spec == NULL || c->place->restart != a->spec->restart))
			broken(o, "an answer is wrong", "%s/%s has another specification", b->path, p->child);
		break;
	case SUP_BOUNCE:
		break;
	}
}

static void
judge_refusal(struct oracle *o, const struct being *b, const struct plea *p, const struct sup_action *a)
{
	const struct being *c = p->child == NULL ? NULL : being_child(b, p->child);
	bool right = true;

	if (being_simple(b))
		return;
	if (strcmp(a->term, "not_found") == 0)
		right = c == NULL || (is_unclear(c) && c->place->restart == STASH_TEMPORARY);
	else if (strcmp(a->term, "running") == 0 || strcmp(a->term, "already_started") == 0)
		right = c != NULL && c->phase != PHASE_DOWN && c->phase != PHASE_RETRY;
	else if (strcmp(a->term, "already_present") == 0)
		right = c != NULL && (c->phase == PHASE_DOWN || c->phase == PHASE_RETRY || is_unclear(c));
	else if (strcmp(a->term, "restarting") == 0)
		right = c != NULL && c->phase == PHASE_RETRY;
	if (!right)
		broken(o, "an answer is wrong", "%s/%s: %s", p->supervisor, p->child == NULL ? "" : p->child, a->term);
}

void
judge_reply(struct oracle *o, const struct sup_action *a)
{
	struct plea *p = take_plea(o, a->request);
	struct being *b;

	if (p == NULL) {
		broken(o, "answered twice", "request %ju", (uintmax_t)a->request);
		return;
	}
	b = being_find(o, p->supervisor);
	if (strcmp(a->term, "noproc") == 0) {
		if (b != NULL && b->super && being_lives(b) && !b->ending && !b->doomed && !b->rollback &&
		    !may_stop(o, b) && !is_doomed(o, b))
			broken(o, "an answer is wrong", "%s is said to be down", p->supervisor);
	} else if (b == NULL || !b->super || b->phase != PHASE_UP) {
		broken(o, "an answer is wrong", "%s is down and answers", p->supervisor);
	} else if (a->code < 0) {
		judge_refusal(o, b, p, a);
	} else {
		judge_done(o, b, p, a);
	}
	plea_free(p);
}
