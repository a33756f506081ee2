/* SPDX-License-Identifier: ISC */
/*
 * Starts: nobody is started twice, without a reason, out of order, or below a
 * supervisor that is dead or ends. A reason is what OTP has one for: the start of
 * the supervisor, a restart that was told, a request.
 */
#include <stdlib.h>
#include <string.h>

#include "simulate/oracle.h"

/* ---- beginnings ---- */

static bool
starts_now(const struct being *b)
{
	return b->phase == PHASE_STARTING && !b->rollback;
}

/* The first owed child has to be this one, and the group has to be down. */
static void
judge_owed(struct oracle *o, const struct being *above, const struct being *c)
{
	bool before = true;
	size_t i;

	for (i = 0; i < above->nchild; i++) {
		const struct being *other = above->child[i];

		if (other == c)
			before = false;
		else if (before && other->owed)
			broken(o, "start order", "%s is started before %s", c->path, other->path);
		if (other != c && (other->owed || other->leaving) && being_lives(other))
			broken(o, "start before stop", "%s is started, and %s still lives", c->path, other->path);
	}
}

static void
remove_leaving(struct oracle *o, struct being *above)
{
	size_t i = 0;

	while (i < above->nchild) {
		if (above->child[i]->leaving && !being_lives(above->child[i]))
			being_remove(o, above->child[i]);
		else
			i++;
	}
}

static enum why
reason_to_start(struct oracle *o, struct being *above, const struct being *c)
{
	size_t i;

	if (above->phase == PHASE_STARTING) {
		for (i = 0; i < above->nchild && above->child[i]->through; i++)
			;
		if (i == above->nchild || above->child[i] != c)
			broken(o, "start order", "%s is started, and it isn't its turn", c->path);
		return WHY_INIT;
	}
	if (c->owed) {
		judge_owed(o, above, c);
		return above->group ? WHY_GROUP : WHY_RESTART;
	}
	for (i = 0; i < above->nchild; i++) {
		if (above->child[i]->owed)
			broken(o, "two things at once", "%s is started, and %s is to be restarted", c->path,
			    above->child[i]->path);
	}
	if (!c->added &&
	    (plea_for(o, SUP_RESTART_CHILD, above, c->id) == NULL || (c->phase != PHASE_DOWN && !is_unclear(c))))
		broken(o, "start without a reason", "%s is started", c->path);
	return WHY_REQUEST;
}

static void
judge_start(struct oracle *o, struct being *above, struct being *c)
{
	const struct being *b;
	size_t i;

	if (being_lives(c))
		broken(o, "started twice", "%s", c->path);
	for (b = above; b != NULL; b = b->above) {
		if (!being_lives(b) || b->doomed)
			broken(o, "alive under a dead supervisor", "%s is started below %s", c->path, b->path);
	}
	if (above->rollback || above->ending || above->asked)
		broken(o, "started in a supervisor that ends", "%s", c->path);
	for (i = 0; i < above->nchild; i++) {
		b = above->child[i];
		if (b != c && (b->phase == PHASE_STARTING || b->phase == PHASE_STOPPING))
			broken(o, "two things at once", "%s is started, and %s is on its way", c->path, b->path);
	}
	c->why = reason_to_start(o, above, c);
}

bool
is_said(const struct oracle *o, const char *path)
{
	const struct said *s;

	for (s = o->said; s != NULL && strcmp(s->path, path) != 0; s = s->next)
		;
	return s != NULL;
}

static struct said *
take_said(struct oracle *o, const char *path)
{
	struct said *s, **at;

	for (at = &o->said; (s = *at) != NULL; at = &s->next) {
		if (strcmp(s->path, path) == 0) {
			*at = s->next;
			return s;
		}
	}
	return NULL;
}

void
drop_said(struct oracle *o, const char *path)
{
	struct said *s = take_said(o, path);

	if (s == NULL)
		return;
	sup_spec_unref(s->spec);
	free(s->path);
	free(s);
}

/* It begins with what its init has said; all that it was before is gone. */
static void
begin_super(struct oracle *o, struct being *b)
{
	struct said *s = take_said(o, b->path);
	size_t i;

	if (s == NULL) {
		broken(o, "started without its init", "%s", b->path);
		return;
	}
	being_clear(b);
	sup_spec_unref(b->spec);
	b->spec = s->spec;
	b->said = s->outcome;
	b->unsure = b->rollback = b->ending = b->asked = b->doomed = b->group = b->ghost = false;
	b->nwindow = 0;
	for (i = 0; i < s->spec->nchildren && !being_simple(b) && !spec_is_wrong(s->spec); i++)
		being_add(o, b, s->spec->children[i]->id, s->spec->children[i]);
	free(s->path);
	free(s);
}

/* The living supervisor above a path: begun now, if it wasn't. */
static struct being *
living_above(struct oracle *o, const char *path)
{
	char *copy = strndup(path, (size_t)(strrchr(path, '/') - path));
	struct being *above = being_find(o, copy);

	if (above == NULL || !being_lives(above))
		above = begin(o, copy);
	free(copy);
	return above;
}

static struct being *
newcomer(struct oracle *o, struct being *above, const char *id)
{
	const struct plea *p = plea_for(o, SUP_START_CHILD, above, id);
	struct being *c;

	if (p == NULL || (p->spec == NULL && !being_simple(above))) {
		broken(o, "start without a reason", "%s/%s", above->path, id);
		return NULL;
	}
	c = being_add(o, above, id, being_simple(above) ? above->spec->children[0] : p->spec);
	c->added = true;
	return c;
}

/* One that was temporary and has ended is no child any more. */
static struct being *
known_child(struct oracle *o, struct being *above, const char *id)
{
	struct being *c = being_child(above, id);

	if (c == NULL || c->owed || !is_unclear(c) || c->place->restart != STASH_TEMPORARY)
		return c;
	being_remove(o, c);
	return NULL;
}

/* A start. NULL: something is broken. */
struct being *
begin(struct oracle *o, const char *path)
{
	const char *cut = strrchr(path, '/');
	struct being *above = NULL, *b = o->root;

	if (cut != NULL) {
		if ((above = living_above(o, path)) == NULL)
			return NULL;
		if ((b = known_child(o, above, cut + 1)) != NULL)
			b->added = false;
		else if ((b = newcomer(o, above, cut + 1)) == NULL)
			return NULL;
		judge_start(o, above, b);
		if (above->group)
			remove_leaving(o, above);
	} else if (b == NULL && o->said != NULL) {
		b = being_add(o, NULL, path, o->said->spec);
	} else if (b == NULL || being_lives(b)) {
		broken(o, "started twice", "%s", path);
		return NULL;
	}
	b->phase = PHASE_STARTING;
	b->unsure = b->owed = b->through = b->signalled = b->killed = b->again = b->leaving = false;
	if (b->super)
		begin_super(o, b);
	return o->rule == NULL ? b : NULL;
}

/* ---- what becomes of a start ---- */

static void
goes_on(struct oracle *o, struct being *above)
{
	size_t i;

	for (i = 0; i < above->nchild && above->child[i]->through; i++)
		;
	if (i == above->nchild && starts_now(above))
		is_up(o, above);
}

void
is_up(struct oracle *o, struct being *b)
{
	b->phase = PHASE_UP;
	b->through = true;
	b->untold = b->super;
	if (b->above != NULL && starts_now(b->above))
		goes_on(o, b->above);
}

static void
nothing_owed(struct being *above)
{
	size_t i;

	for (i = 0; i < above->nchild; i++)
		above->child[i]->owed = above->child[i]->leaving = false;
	above->group = false;
}

void
has_failed(struct oracle *o, struct being *b)
{
	struct being *above = b->above;

	b->phase = PHASE_DOWN;
	being_clear(b);
	if (above == NULL || above->doomed)
		return;
	if (above->phase == PHASE_STARTING) {
		above->rollback = true;
	} else if (b->why == WHY_REQUEST) {
		if (b->added)
			being_remove(o, b);
	} else {
		b->phase = PHASE_RETRY;
		nothing_owed(above);
	}
}

void
has_ignored(struct oracle *o, struct being *b)
{
	struct being *above = b->above;
	bool temporary = b->place->restart == STASH_TEMPORARY;

	b->phase = PHASE_DOWN;
	being_clear(b);
	if (above == NULL || above->doomed)
		return;
	b->through = true;
	above->ghost = above->ghost || (b->instance && b->why == WHY_RESTART);
	if (b->instance || (temporary && (b->why == WHY_INIT || b->added)))
		being_remove(o, b);
	if (above->phase == PHASE_STARTING)
		goes_on(o, above);
}
