/* SPDX-License-Identifier: ISC */
/*
 * What the machine says that it does: restarts stay within the intensity, and no
 * supervisor ends without a reason or leaves anybody behind.
 */
#include <stdlib.h>
#include <string.h>

#include "simulate/oracle.h"

/* ---- what the machine says that it does ---- */

/* One more restart: whether that is more than the supervisor may do. */
static bool
beyond(struct oracle *o, struct being *b)
{
	int64_t period = (int64_t)b->spec->period_s * 1000000000;
	size_t i, kept = 0;

	for (i = 0; i < b->nwindow; i++) {
		if (o->w->now - b->window[i] <= period)
			b->window[kept++] = b->window[i];
	}
	b->nwindow = kept;
	if (b->nwindow == WINDOW_MAX)
		memmove(b->window, b->window + 1, --b->nwindow * sizeof(b->window[0]));
	b->window[b->nwindow++] = o->w->now;
	return b->nwindow > (size_t)b->spec->intensity;
}

static bool
is_idle(const struct being *b)
{
	size_t i;

	for (i = 0; i < b->nchild; i++) {
		if (b->child[i]->owed)
			return false;
	}
	return b->phase == PHASE_UP && !b->ending && !b->doomed && !being_busy(b);
}

static void
judge_restarting(struct oracle *o, const char *path)
{
	struct being *c = being_find(o, path), *above = c == NULL ? NULL : c->above, *other;
	bool behind = false;
	size_t i;

	if (above == NULL || !is_idle(above) ||
	    (c->phase != PHASE_RETRY && (c->phase != PHASE_DEAD || !wants_restart(c)))) {
		broken(o, "restart without a reason", "%s", path);
		return;
	}
	if (beyond(o, above))
		broken(o, "restart beyond the intensity", "%s", path);
	above->unsure = true;
	above->group = above->spec->strategy == STASH_ONE_FOR_ALL || above->spec->strategy == STASH_REST_FOR_ONE;
	for (i = 0; i < above->nchild; i++) {
		other = above->child[i];
		behind = behind || other == c || above->spec->strategy == STASH_ONE_FOR_ALL;
		if (other != c && (!behind || !above->group))
			continue;
		other->owed = other->place->restart != STASH_TEMPORARY;
		other->leaving = !other->owed;
		if (!being_lives(other))
			other->phase = PHASE_DOWN; /* what its end would have led to is off */
	}
}

static void
judge_escalated(struct oracle *o, const char *path)
{
	struct being *b = being_find(o, path);
	bool cause = false;
	size_t i;

	for (i = 0; b != NULL && i < b->nchild; i++)
		cause = cause || b->child[i]->phase == PHASE_RETRY ||
		    (b->child[i]->phase == PHASE_DEAD && wants_restart(b->child[i]));
	if (!cause || !is_idle(b))
		broken(o, "escalation without a reason", "%s", path);
	else if (!beyond(o, b))
		broken(o, "escalation within the intensity", "%s", path);
	else
		b->ending = true;
}

/* Whether the end of a significant child of b, which isn't restarted, is the end of b. */
bool
is_significant_end(const struct being *b, bool all_others)
{
	bool ended = false, others = false;
	size_t i;

	for (i = 0; i < b->nchild; i++) {
		const struct being *c = b->child[i];

		if (c->place->significant == 0)
			continue;
		if (c->phase == PHASE_DEAD && !wants_restart(c))
			ended = true;
		else if (c->phase != PHASE_DOWN)
			others = true;
	}
	if (b->spec->auto_shutdown == STASH_AUTO_ALL_SIGNIFICANT)
		return ended && !(all_others && (others || b->ghost));
	return ended && b->spec->auto_shutdown == STASH_AUTO_ANY_SIGNIFICANT;
}

static void
judge_auto_shutdown(struct oracle *o, const char *path)
{
	struct being *b = being_find(o, path);

	if (b == NULL || !is_idle(b) || !is_significant_end(b, true))
		broken(o, "auto_shutdown without a reason", "%s", path);
	else
		b->ending = true;
}

static void
judge_too_late(struct oracle *o, const char *path)
{
	struct being *b = being_find(o, path);

	if (b == NULL || !being_lives(b))
		broken(o, "an action for a child that is gone", "%s", path);
	else if (b->super && !may_stop(o, b) && !b->asked)
		broken(o, "killed without a reason, or out of order", "%s", path);
	else if (b->super)
		doom(b);
}

/* A report about a supervisor that starts: whose beginning may not have been seen. */
static struct being *
starting_super(struct oracle *o, const char *path)
{
	struct being *b = being_find(o, path);

	if (b != NULL && !b->super)
		return NULL;
	return b == NULL || !being_lives(b) ? begin(o, path) : b;
}

static void
judge_started(struct oracle *o, const char *path)
{
	struct being *b = being_find(o, path);
	size_t i;

	if (b != NULL && !b->super) {
		if (b->phase != PHASE_UP)
			broken(o, "told to be up, and isn't", "%s", path);
		return;
	}
	if (b != NULL && b->untold) {
		b->untold = false;
		return;
	}
	if ((b = starting_super(o, path)) == NULL)
		return;
	if (b->said != SUP_INIT_OK || spec_is_wrong(b->spec))
		broken(o, "told to be up, and can't be", "%s", path);
	for (i = 0; i < b->nchild; i++) {
		if (!b->child[i]->through)
			broken(o, "told to be up, and isn't", "%s has not started %s", path, b->child[i]->path);
	}
	if (b->phase != PHASE_STARTING)
		broken(o, "told to be up twice", "%s", path);
	is_up(o, b);
	b->untold = false;
}

/* A child of that path is killed by what happens above it; it may not have been seen yet. */
static bool
dies_with_above(struct oracle *o, const char *path)
{
	const char *cut = strrchr(path, '/');
	struct being *above;
	bool dies;
	char *copy;

	if (cut == NULL)
		return false;
	copy = strndup(path, (size_t)(cut - path));
	above = being_find(o, copy);
	if (above == NULL || !being_lives(above))
		dies = dies_with_above(o, copy);
	else
		dies = above->doomed || is_doomed(o, above) ||
		    (above->above != NULL && above->place->shutdown_ms == STASH_BRUTAL_KILL && may_stop(o, above));
	free(copy);
	return dies;
}

static void
judge_start_failed(struct oracle *o, const char *path)
{
	struct being *b = being_find(o, path);

	if (b != NULL && !b->super)
		return; /* a worker: it was heard before */
	if ((b == NULL || !being_lives(b)) && !is_said(o, path))
		return; /* likewise, or a supervisor killed before its init */
	if ((b == NULL || !being_lives(b)) && dies_with_above(o, path)) {
		drop_said(o, path);
		return;
	}
	if ((b = starting_super(o, path)) == NULL)
		return;
	if (anything_lives(b))
		broken(o, "alive under a dead supervisor", "the start of %s has failed", path);
	if (b->phase != PHASE_STARTING ||
	    (!b->rollback && !b->doomed && !is_doomed(o, b) && b->said != SUP_INIT_ERROR && !spec_is_wrong(b->spec)))
		broken(o, "a start fails without a reason", "%s", path);
	has_failed(o, b);
}

static void
judge_ignored(struct oracle *o, const char *path)
{
	struct being *b = being_find(o, path);

	if (b == NULL ? !is_said(o, path) : !b->super)
		return; /* a worker: it was heard before */
	if (b != NULL && b->untold) {
		b->untold = false;
		return;
	}
	if ((b = starting_super(o, path)) == NULL)
		return;
	if (b->said != SUP_INIT_IGNORE)
		broken(o, "a start is ignored without a reason", "%s", path);
	has_ignored(o, b);
}

static void
judge_stopped(struct oracle *o, const struct sup_action *a)
{
	struct being *b = being_find(o, a->path);
	bool asked;

	if ((b == NULL || (b->super && !being_lives(b))) && is_said(o, a->path) && dies_with_above(o, a->path)) {
		drop_said(o, a->path); /* killed before its beginning was seen */
		return;
	}
	if (b == NULL || !b->super)
		return; /* a worker: it was heard before */
	if (anything_lives(b))
		broken(o, "alive under a dead supervisor", "%s has stopped", b->path);
	if (a->reason == STASH_REASON_KILLED)
		asked = b->doomed || is_doomed(o, b) || may_stop(o, b);
	else
		asked = b->asked || (!b->ending && may_stop(o, b));
	if (!asked && !b->ending)
		broken(o, "a supervisor ends without a reason", "%s", b->path);
	if (asked && !b->asked && !b->doomed)
		note_stop(o, b);
	b->last = a->reason;
	being_clear(b);
	b->phase = asked || b->owed || b->leaving || b->above == NULL ? PHASE_DOWN : PHASE_DEAD;
}

void
judge_report(struct oracle *o, const struct sup_action *a)
{
	switch (a->report) {
	case SUP_REP_STARTED:
		judge_started(o, a->path);
		break;
	case SUP_REP_START_FAILED:
		judge_start_failed(o, a->path);
		break;
	case SUP_REP_IGNORED:
		judge_ignored(o, a->path);
		break;
	case SUP_REP_STOPPED:
		judge_stopped(o, a);
		break;
	case SUP_REP_RESTARTING:
		judge_restarting(o, a->path);
		break;
	case SUP_REP_ESCALATED:
		judge_escalated(o, a->path);
		break;
	case SUP_REP_AUTO_SHUTDOWN:
		judge_auto_shutdown(o, a->path);
		break;
	case SUP_REP_KILLED:
		judge_too_late(o, a->path);
		break;
	}
}
