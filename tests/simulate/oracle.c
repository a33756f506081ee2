/* SPDX-License-Identifier: ISC */
/*
 * The oracle's eyes: each event and each action, held against the picture as it
 * was just before; and the rule that nobody is forgotten, which can be asked for
 * when the machine has nothing to do any more.
 */
#include <stdlib.h>
#include <string.h>

#include "simulate/oracle.h"

/* ---- what goes in ---- */

static void
hear_init(void *arg, const char *path, const struct sup_spec *spec, enum sup_init outcome)
{
	struct oracle *o = arg;
	struct said *s = world_alloc(sizeof(*s)), **end;

	s->path = strdup(path);
	s->spec = sup_spec_ref((struct sup_spec *)(uintptr_t)spec);
	s->outcome = outcome;
	for (end = &o->said; *end != NULL; end = &(*end)->next)
		;
	*end = s;
}

static void
hear_request(void *arg, const struct sup_request *request)
{
	struct oracle *o = arg;
	struct plea *p = world_alloc(sizeof(*p)), **end;

	p->id = request->id;
	p->kind = request->kind;
	p->supervisor = strdup(request->supervisor);
	p->child = request->child == NULL ? NULL : strdup(request->child);
	p->spec = request->spec == NULL ? NULL : sup_spec_ref(request->spec);
	for (end = &o->pleas; *end != NULL; end = &(*end)->next)
		;
	*end = p;
}

static void
has_exited(struct oracle *o, struct being *c, enum stash_reason reason)
{
	c->last = reason;
	if (c->phase == PHASE_STARTING)
		has_failed(o, c);
	else if (c->phase == PHASE_UP && !c->owed && !c->leaving)
		c->phase = PHASE_DEAD;
	else
		c->phase = PHASE_DOWN;
}

static void
hear_event(void *arg, const struct event *e)
{
	struct oracle *o = arg;
	struct being *c = o->rule == NULL ? being_find(o, e->path->name) : NULL;

	o->events++;
	if (c == NULL || c->start != e->start || !being_lives(c))
		return; /* late */
	switch (e->kind) {
	case EVENT_READY:
		if (c->phase == PHASE_STARTING && !c->killed)
			is_up(o, c);
		break;
	case EVENT_FAILED:
		has_failed(o, c);
		break;
	case EVENT_IGNORED:
		if (c->killed)
			c->phase = PHASE_DOWN;
		else
			has_ignored(o, c);
		break;
	case EVENT_EXITED:
		has_exited(o, c, e->reason);
		break;
	}
}

/* ---- what comes out ---- */

static void
judge_process(struct oracle *o, const struct sup_action *a)
{
	struct being *c = being_find(o, a->path);

	if (c != NULL && c->super) {
		broken(o, "an action for a child that is gone", "%s is a supervisor", a->path);
		return;
	}
	if (a->start <= o->last_start)
		broken(o, "start numbers run backwards", "%s", a->path);
	o->last_start = a->start;
	if ((c = begin(o, a->path)) == NULL)
		return;
	c->node = a->node;
	c->start = a->start;
}

static void
judge_end(struct oracle *o)
{
	const struct said *s;

	if (o->root != NULL && anything_lives(o->root))
		broken(o, "alive under a dead supervisor", "the tree has ended");
	if (o->root != NULL && o->root->phase == PHASE_UP && !o->root->ending && !o->stop_asked)
		broken(o, "a supervisor ends without a reason", "%s", o->root->path);
	for (s = o->said; s != NULL; s = s->next)
		broken(o, "an init without a start", "%s", s->path);
	if (o->root != NULL)
		being_remove(o, o->root);
	o->stop_asked = false;
}

static void
see_action(void *arg, const struct sup_action *a)
{
	struct oracle *o = arg;

	o->actions++;
	if (o->rule != NULL)
		return;
	switch (a->kind) {
	case SUP_ACT_START:
		judge_process(o, a);
		break;
	case SUP_ACT_SIGNAL:
		judge_signal(o, a);
		break;
	case SUP_ACT_KILL:
		judge_kill(o, a);
		break;
	case SUP_ACT_REPORT:
		judge_report(o, a);
		break;
	case SUP_ACT_REPLY:
		judge_reply(o, a);
		break;
	case SUP_ACT_UP:
		if (o->root == NULL || o->root->phase != PHASE_UP)
			broken(o, "told to be up, and isn't", "the tree");
		break;
	case SUP_ACT_DONE:
		judge_end(o);
		break;
	case SUP_ACT_SAVE:
	case SUP_ACT_FORGET:
	case SUP_ACT_STATUS:
	case SUP_ACT_GONE:
		break;
	}
}

/* ---- nobody is forgotten ---- */

/* An end that leads to nothing. */
static void
forget_dead(struct oracle *o, struct being *b)
{
	size_t i = 0;

	while (i < b->nchild) {
		struct being *c = b->child[i];

		if ((c->phase == PHASE_DEAD || (c->instance && c->phase == PHASE_RETRY)) &&
		    (c->instance || c->place->restart == STASH_TEMPORARY)) {
			being_remove(o, c);
			continue;
		}
		if (c->phase == PHASE_DEAD)
			c->phase = PHASE_DOWN;
		i++;
	}
}

static void
judge_idle(struct oracle *o, struct being *b)
{
	const struct plea *p;
	size_t i;

	if (b->ending || b->doomed || b->asked || must_stop(o, b))
		broken(o, "a supervisor doesn't end", "%s", b->path);
	for (i = 0; i < b->nchild; i++) {
		const struct being *c = b->child[i];

		if (c->instance && c->unsure)
			continue;
		if (c->owed || c->phase == PHASE_RETRY || (c->phase == PHASE_DEAD && wants_restart(c)))
			broken(o, "a child is forgotten", "%s isn't restarted", c->path);
	}
	if (!b->unsure && is_significant_end(b, true))
		broken(o, "auto_shutdown is forgotten", "%s", b->path);
	for (p = o->pleas; p != NULL; p = p->next) {
		if (strcmp(p->supervisor, b->path) == 0)
			broken(o, "a request gets no answer", "%s %s", b->path, p->child == NULL ? "" : p->child);
	}
	forget_dead(o, b);
	b->group = b->unsure = false;
}

static void
judge_quiet(struct oracle *o, struct being *b)
{
	size_t i;

	for (i = 0; i < b->nchild && o->rule == NULL; i++) {
		struct being *c = b->child[i];

		if (c->super && being_lives(c))
			judge_quiet(o, c);
		else if (!c->super && c->phase == PHASE_STOPPING && !c->killed && time_is_over(o, c))
			broken(o, "a time that is over isn't noticed", "%s", c->path);
	}
	if (being_waits(o, b))
		return;
	if (b->phase == PHASE_STARTING)
		broken(o, "a start is stuck", "%s", b->path);
	else if (b->phase == PHASE_UP)
		judge_idle(o, b);
}

void
oracle_quiet(struct oracle *o)
{
	if (o->rule != NULL)
		return;
	if (o->root == NULL) {
		if (o->pleas != NULL)
			broken(o, "a request gets no answer", "%s, which is gone", o->pleas->supervisor);
	} else {
		judge_quiet(o, o->root);
	}
}

/* ---- life ---- */

void
oracle_stop_asked(struct oracle *o)
{
	o->stop_asked = o->root != NULL;
}

static void
may_be_said_again(struct being *b)
{
	size_t i;

	b->again = b->signalled || b->killed;
	for (i = 0; i < b->nchild; i++)
		may_be_said_again(b->child[i]);
}

/* Nodes have other numbers now. */
static void
learn_nodes(struct oracle *o, struct being *b)
{
	const struct path *p = b->super ? NULL : world_find(o->w, b->path);
	size_t i;

	if (p != NULL)
		b->node = p->node;
	for (i = 0; i < b->nchild; i++)
		learn_nodes(o, b->child[i]);
}

void
oracle_taken_over(struct oracle *o)
{
	if (o->root == NULL)
		return;
	may_be_said_again(o->root);
	learn_nodes(o, o->root);
}

void
oracle_open(struct oracle *o, struct world *w)
{
	memset(o, 0, sizeof(*o));
	o->w = w;
	o->watch = (struct world_watch){
		.init = hear_init, .request = hear_request, .event = hear_event, .action = see_action, .arg = o
	};
	w->watch = &o->watch;
}

void
oracle_close(struct oracle *o)
{
	struct plea *p;
	struct said *s;

	if (o->root != NULL)
		being_remove(o, o->root);
	while ((p = o->pleas) != NULL) {
		o->pleas = p->next;
		plea_free(p);
	}
	while ((s = o->said) != NULL) {
		o->said = s->next;
		sup_spec_unref(s->spec);
		free(s->path);
		free(s);
	}
}
