/* SPDX-License-Identifier: ISC */
/*
 * ahead.c: while a supervisor starts its children one after the other, the processes of the next few are made ahead:
 * they load their modules and wait for their go, which still comes only when it is their turn.  One whose turn never
 * comes has touched nothing, and is ended.
 */
#include <signal.h>
#include <sys/pidfd.h>

#include "base/error.h"
#include "stashd/server.h"

#define AHEAD_MAX 3

/* Whether this child's turn will come by itself. */
static bool
is_next(const struct sup_node *node)
{
	const struct sup_node *above = sup_node_above(node);

	return sup_node_spec(node)->kind == SUP_WORKER && sup_node_state(node) == SUP_DOWN && above != NULL &&
	    sup_node_state(above) == SUP_STARTING;
}

/* False: no further ones. */
static bool
make_one(struct server *s, const struct sup_node *node)
{
	char name[STASH_NAME_MAX + 1];
	struct worker *w;

	worker_slot_name(sup_node_path(node), sup_node_name(node), name);
	w = worker_find(s, name);
	if (w == NULL || worker_plan(w, node) < 0 || w->plan.kind == PLAN_EXEC)
		return false;
	if (w->ahead != NULL)
		return true;
	if (!files_for_both(s) || w->slot != SLOT_OPEN || w->now != NULL || w->start != 0 || !LIST_EMPTY(&w->dying))
		return false;
	w->ahead = life_make(w, sup_node_handle(node), 0);
	if (w->ahead == NULL)
		return false;
	LIST_INSERT_HEAD(&s->ahead, w->ahead, link);
	return true;
}

void
ahead_make(struct server *s, const struct sup_node *node)
{
	const struct sup_node *above = sup_node_above(node);

	for (int i = 0; i < AHEAD_MAX; i++) {
		node = sup_next(s->machine, node);
		if (node == NULL || sup_node_above(node) != above || !is_next(node) || !make_one(s, node))
			return;
	}
}

struct life *
ahead_take(struct worker *w, uint64_t start)
{
	struct life *l = w->ahead;

	if (l == NULL)
		return NULL;
	LIST_REMOVE(l, link);
	w->ahead = NULL;
	if (l->asked && start != 0) { /* it is being killed */
		LIST_INSERT_HEAD(&w->dying, l, link);
		return NULL;
	}
	/* A change of the tree may have moved it since: its START is the other node's. */
	if (start != 0)
		l->node = w->node;
	l->start = start;
	return l;
}

void
ahead_dead(struct life *l)
{
	if (l->worker->ahead != l)
		return;
	LIST_REMOVE(l, link);
	l->worker->ahead = NULL;
	LIST_INSERT_HEAD(&l->worker->dying, l, link);
}

void
ahead_look(struct server *s)
{
	struct life *l;

	LIST_FOREACH(l, &s->ahead, link) {
		const struct sup_node *node = sup_find(s->machine, l->node);

		if (l->asked || (s->phase != SERVER_OVER && node != NULL && is_next(node)))
			continue;
		l->asked = true;
		(void)pidfd_send_signal(l->pidfd, SIGKILL, NULL, 0);
	}
}
