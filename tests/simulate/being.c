/* SPDX-License-Identifier: ISC */
/* The oracle's picture of the tree: who is there, and what can be said of him. Judges nothing. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulate/oracle.h"

void
broken(struct oracle *o, const char *rule, const char *fmt, ...)
{
	va_list ap;

	if (o->rule != NULL)
		return;
	o->rule = rule;
	va_start(ap, fmt);
	vsnprintf(o->detail, sizeof(o->detail), fmt, ap);
	va_end(ap);
}

struct being *
being_child(const struct being *above, const char *id)
{
	size_t i;

	for (i = 0; i < above->nchild; i++) {
		if (strcmp(above->child[i]->id, id) == 0)
			return above->child[i];
	}
	return NULL;
}

struct being *
being_find(const struct oracle *o, const char *path)
{
	struct being *b = o->root;
	size_t i;

	if (b != NULL && strcmp(b->path, path) == 0)
		return b;
	while (b != NULL) {
		for (i = 0; i < b->nchild; i++) {
			size_t len = strlen(b->child[i]->path);

			if (strncmp(b->child[i]->path, path, len) == 0 && (path[len] == '\0' || path[len] == '/'))
				break;
		}
		b = i < b->nchild ? b->child[i] : NULL;
		if (b != NULL && strcmp(b->path, path) == 0)
			return b;
	}
	return NULL;
}

struct being *
being_add(struct oracle *o, struct being *above, const char *id, struct sup_spec *spec)
{
	struct being *b = world_alloc(sizeof(*b));

	if (asprintf(&b->path, "%s%s%s", above == NULL ? "" : above->path, above == NULL ? "" : "/", id) < 0)
		abort();
	b->id = b->path + strlen(b->path) - strlen(id);
	b->above = above;
	b->spec = sup_spec_ref(spec);
	b->place = sup_spec_ref(spec);
	b->super = spec->kind == SUP_SUPERVISOR;
	if (above == NULL) {
		o->root = b;
		return b;
	}
	b->instance = being_simple(above);
	above->child = reallocarray(above->child, above->nchild + 1, sizeof(*above->child));
	if (above->child == NULL)
		abort();
	above->child[above->nchild++] = b;
	return b;
}

void
being_clear(struct being *b)
{
	while (b->nchild > 0) {
		struct being *c = b->child[--b->nchild];

		being_clear(c);
		free(c->child);
		sup_spec_unref(c->spec);
		sup_spec_unref(c->place);
		free(c->path);
		free(c);
	}
}

void
being_remove(struct oracle *o, struct being *b)
{
	struct being *above = b->above;
	size_t i = 0;

	being_clear(b);
	if (above == NULL) {
		o->root = NULL;
	} else {
		while (above->child[i] != b)
			i++;
		memmove(&above->child[i], &above->child[i + 1], (above->nchild - i - 1) * sizeof(struct being *));
		above->nchild--;
	}
	free(b->child);
	sup_spec_unref(b->spec);
	sup_spec_unref(b->place);
	free(b->path);
	free(b);
}

bool
being_lives(const struct being *b)
{
	return b->phase == PHASE_STARTING || b->phase == PHASE_UP || b->phase == PHASE_STOPPING;
}

bool
anything_lives(const struct being *b)
{
	size_t i;

	if (!b->super)
		return being_lives(b);
	for (i = 0; i < b->nchild; i++) {
		if (being_lives(b->child[i]) || anything_lives(b->child[i]))
			return true;
	}
	return false;
}

bool
being_stops(const struct being *b)
{
	return b->phase == PHASE_STOPPING || (b->super && b->phase == PHASE_UP && (b->asked || b->doomed));
}

bool
being_busy(const struct being *b)
{
	size_t i;

	for (i = 0; i < b->nchild; i++) {
		const struct being *c = b->child[i];

		if (c->phase == PHASE_STARTING || being_stops(c))
			return true;
		if ((b->ending || b->doomed) && being_lives(c))
			return true;
	}
	return false;
}

bool
being_simple(const struct being *b)
{
	return b->spec->strategy == STASH_SIMPLE_ONE_FOR_ONE;
}

bool
wants_restart(const struct being *b)
{
	if (b->place->restart == STASH_TRANSIENT)
		return b->last == STASH_REASON_CRASH || b->last == STASH_REASON_KILLED;
	return b->place->restart == STASH_PERMANENT;
}

/* An end that leads to nothing can't be seen when its turn comes: it may be through or not. */
bool
is_unclear(const struct being *c)
{
	return c->phase == PHASE_DEAD && !wants_restart(c);
}

static bool
between(int32_t value, int32_t low, int32_t high)
{
	return value >= low && value <= high;
}

/* Whether OTP refuses to start this supervisor. */
bool
spec_is_wrong(const struct sup_spec *spec)
{
	size_t i, j;

	if (!between(spec->strategy, 0, 3) || spec->intensity < 0 || spec->period_s <= 0 ||
	    !between(spec->auto_shutdown, 0, 2))
		return true;
	if (spec->strategy == STASH_SIMPLE_ONE_FOR_ONE && spec->nchildren != 1)
		return true;
	for (i = 0; i < spec->nchildren; i++) {
		const struct sup_spec *c = spec->children[i];

		if (!between(c->restart, 0, 2) || !between(c->significant, 0, 1) || !between(c->type, 1, 2) ||
		    c->shutdown_ms < STASH_BRUTAL_KILL)
			return true;
		if (c->significant == 1 && (spec->auto_shutdown == STASH_AUTO_NEVER || c->restart == STASH_PERMANENT))
			return true;
		for (j = 0; j < i; j++) {
			if (strcmp(c->id, spec->children[j]->id) == 0)
				return true;
		}
	}
	return false;
}

struct plea *
plea_for(const struct oracle *o, enum sup_request_kind kind, const struct being *above, const char *id)
{
	struct plea *p;

	for (p = o->pleas; p != NULL; p = p->next) {
		if (p->kind == kind && strcmp(p->supervisor, above->path) == 0 && p->child != NULL &&
		    strcmp(p->child, id) == 0)
			return p;
	}
	return NULL;
}
