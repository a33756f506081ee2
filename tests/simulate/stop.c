/* SPDX-License-Identifier: ISC */
/*
 * Stops: they go backwards, one at a time, for a reason, by the way that the child
 * has and in the time that it has.
 */
#include <stdlib.h>
#include <string.h>

#include "simulate/oracle.h"

/* ---- reasons to stop ---- */

static bool
later_live(const struct being *c)
{
	const struct being *above = c->above;
	size_t i;

	for (i = above->nchild; i > 0 && above->child[i - 1] != c; i--) {
		if (being_lives(above->child[i - 1]))
			return true;
	}
	return false;
}

static bool
another_on_its_way(const struct being *c)
{
	size_t i;

	for (i = 0; i < c->above->nchild; i++) {
		const struct being *other = c->above->child[i];

		if (other != c && (other->phase == PHASE_STARTING || being_stops(other)))
			return true;
	}
	return false;
}

/* Whether its supervisor has a reason by itself to stop it now. */
static bool
has_own_reason(const struct oracle *o, const struct being *c)
{
	const struct being *above = c->above;

	if (!another_on_its_way(c) && plea_for(o, SUP_TERMINATE_CHILD, above, c->id) != NULL)
		return true;
	if (later_live(c) && !being_simple(above))
		return false;
	return above->rollback || above->ending || c->owed || c->leaving;
}

/* Whether its supervisor has to stop it now, be it because it was asked to stop itself. */
bool
may_stop(const struct oracle *o, const struct being *c)
{
	const struct being *above = c->above;

	if (above == NULL)
		return o->stop_asked && c->phase == PHASE_UP;
	if (above->doomed || c->asked)
		return true;
	if (c->phase == PHASE_STARTING)
		return false; /* that is waited for */
	if (has_own_reason(o, c))
		return true;
	if (above->phase != PHASE_UP || (!being_simple(above) && (later_live(c) || another_on_its_way(c))))
		return false;
	return may_stop(o, above);
}

/* So is the supervisor above, if that had no reason by itself. */
void
note_stop(const struct oracle *o, struct being *c)
{
	struct being *above = c->above;

	if (c->super)
		c->asked = true;
	if (above == NULL || above->doomed || above->phase != PHASE_UP || has_own_reason(o, c))
		return;
	note_stop(o, above);
	above->ending = true;
}

/* A supervisor that has still to hear that it has to stop, since it waits itself. */
static bool
is_deaf(const struct oracle *o, const struct being *c)
{
	return c->super && c->phase == PHASE_UP && being_waits(o, c) && may_stop(o, c);
}

bool
being_waits(const struct oracle *o, const struct being *b)
{
	size_t i;

	if (being_busy(b))
		return true;
	for (i = 0; i < b->nchild; i++) {
		if (is_deaf(o, b->child[i]))
			return true;
	}
	return false;
}

bool
must_stop(const struct oracle *o, const struct being *c)
{
	size_t i;

	if (!may_stop(o, c))
		return false;
	if (c->above == NULL)
		return true;
	for (i = 0; i < c->above->nchild; i++) {
		const struct being *other = c->above->child[i];

		if (other != c && (other->phase == PHASE_STARTING || being_stops(other) || is_deaf(o, other)))
			return false;
	}
	return c->asked || c->above->doomed || has_own_reason(o, c) || must_stop(o, c->above);
}

void
doom(struct being *b)
{
	size_t i;

	b->doomed = true;
	for (i = 0; i < b->nchild; i++) {
		if (b->child[i]->super && being_lives(b->child[i]))
			doom(b->child[i]);
	}
}

/* Whether a supervisor above is killed, which takes all below it along. */
bool
is_doomed(const struct oracle *o, const struct being *c)
{
	struct being *b;

	for (b = c->above; b != NULL; b = b->above) {
		if (b->doomed)
			return true;
		if (b->above != NULL && b->place->shutdown_ms == STASH_BRUTAL_KILL && may_stop(o, b)) {
			note_stop(o, b);
			doom(b);
			return true;
		}
	}
	return false;
}

bool
time_is_over(const struct oracle *o, const struct being *c)
{
	return c->signalled && c->place->shutdown_ms >= 0 &&
	    o->w->now - c->asked_at >= (int64_t)c->place->shutdown_ms * 1000000;
}

static struct being *
signalled(struct oracle *o, const struct sup_action *a)
{
	struct being *c = being_find(o, a->path);

	if (c == NULL || c->super || !being_lives(c) || c->start != a->start || c->node != a->node) {
		broken(o, "an action for a child that is gone", "%s", a->path);
		return NULL;
	}
	return c;
}

void
judge_signal(struct oracle *o, const struct sup_action *a)
{
	struct being *c = signalled(o, a);

	if (c == NULL)
		return;
	if (c->signalled && c->again) {
		c->again = false;
		return;
	}
	if (c->phase != PHASE_UP || c->signalled || c->killed)
		broken(o, "asked twice", "%s", c->path);
	else if (c->place->shutdown_ms == STASH_BRUTAL_KILL)
		broken(o, "stopped in the wrong way", "%s is asked, and it has no time for it", c->path);
	else if (!may_stop(o, c))
		broken(o, "stop without a reason, or out of order", "%s", c->path);
	else
		note_stop(o, c);
	c->phase = PHASE_STOPPING;
	c->signalled = true;
	c->asked_at = o->w->now;
}

void
judge_kill(struct oracle *o, const struct sup_action *a)
{
	struct being *c = signalled(o, a);

	if (c == NULL)
		return;
	if (c->killed && c->again) {
		c->again = false;
		return;
	}
	if (c->killed)
		broken(o, "killed twice", "%s", c->path);
	else if (!c->signalled && c->place->shutdown_ms == STASH_BRUTAL_KILL && may_stop(o, c))
		note_stop(o, c);
	else if (!time_is_over(o, c) && !is_doomed(o, c))
		broken(o, "killed without a reason, or out of order", "%s", c->path);
	if (c->phase == PHASE_UP)
		c->phase = PHASE_STOPPING;
	c->killed = true;
}
