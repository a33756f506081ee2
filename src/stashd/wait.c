/* SPDX-License-Identifier: ISC */
/*
 * wait.c: requests of a client whose answer comes later: when a worker runs, when the machine, the stash or a process
 * has answered. Whoever answers first ends them; so does the client's end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "stashd/server.h"

struct wait *
wait_create(struct peer *p, enum wait_kind kind, int64_t type, uint64_t number, struct worker *w)
{
	bool many = !peer_is_own(p) && p->nwaits >= ACCESS_WAITS_MAX;
	struct wait *wait = many ? NULL : calloc(1, sizeof(*wait));

	if (wait == NULL) {
		peer_refuse(p, type, number, many ? STASH_E_BUSY : STASH_E_NOMEM,
		    many ? "this client waits for too many answers already" : "the supervisor has no memory");
		return NULL;
	}
	p->nwaits++;
	wait->peer = p;
	wait->worker = w;
	wait->kind = kind;
	wait->type = type;
	wait->number = number;
	wait->deadline = INT64_MAX;
	TAILQ_INSERT_TAIL(&p->waits, wait, of_peer);
	if (w != NULL)
		TAILQ_INSERT_TAIL(&w->waits, wait, of_worker);
	return wait;
}

void
wait_free(struct wait *wait)
{
	stashlink_forget(&wait->peer->server->stash, wait);
	reload_forget(wait->peer->server, wait);
	reexec_forget(wait->peer->server, wait);
	if (wait->kind == WAIT_PUT)
		program_forget(wait);
	TAILQ_REMOVE(&wait->peer->waits, wait, of_peer);
	wait->peer->nwaits--;
	if (wait->worker != NULL)
		TAILQ_REMOVE(&wait->worker->waits, wait, of_worker);
	admin_free(wait->admin);
	if (wait->status != NULL)
		status_cancel(wait->status);
	free(wait);
}

/* The client of that very worker's callbacks, under whatever name it calls.  Another client in its process has another
 * label: a thread may well wait for the worker. */
static bool
is_itself(const struct peer *p, const struct worker *w)
{
	return w->now != NULL && p->pid == (uint32_t)w->now->pid &&
	    strncmp(p->label, w->name, sizeof(p->label) - 1) == 0;
}

/* Answers one that waited for a worker, and ends it. */
static void
wait_over(struct wait *wait, int error, const char *text)
{
	struct peer *p = wait->peer;
	struct worker *w = wait->worker;
	uint64_t number = wait->number, ring_bytes = wait->ring_bytes;
	bool open = wait->kind == WAIT_OPEN;

	wait_free(wait);
	if (open && error == 0 && !w->callable) {
		error = STASH_E_INVAL;
		text = "it is a program that can't be called";
	}
	if (open && error == 0 && is_itself(p, w)) {
		error = STASH_E_DEADLOCK;
		text = "it would wait for its own answer";
	}
	if (open && error == 0) {
		error = files_for_channel(p->server);
		text = stash_errmsg();
	}
	if (open && error == 0)
		mailroom_open(p, number, w, ring_bytes);
	else if (open)
		peer_result(p, STASH__B_CHANNEL, number, error, text);
	else
		peer_done(p, number, error, text, "");
	/* It isn't to hold a place that is kept for those who come to look. */
	if (open && error == STASH_E_BUSY && LIST_EMPTY(&p->channels) && TAILQ_EMPTY(&p->waits))
		peer_doom(p);
}

/* What has to be started so that it runs: itself, or the topmost one above it that is stopped.  NULL: the tree. */
static const struct sup_node *
stopped_child(const struct sup_node *node)
{
	const struct sup_node *above;

	while ((above = sup_node_above(node)) != NULL && sup_node_status(above) == STASH_STOPPED)
		node = above;
	return above != NULL ? node : NULL;
}

/*
 * Its worker is stopped, and nobody starts it by himself. When all of the tree has ended, so does its stashd: who waits
 * until a worker runs waits for the next stashd then, as he learns by the end of his connection.
 */
static void
wait_stopped(struct wait *wait, const struct sup_node *node)
{
	const struct sup_node *child = node != NULL ? stopped_child(node) : NULL;
	char text[STASH__ERRMSG_MAX];

	if (node != NULL && child == NULL && wait->kind == WAIT_AWAIT)
		return;
	snprintf(text, sizeof(text), "it is stopped, and won't come back by itself%s%s",
	    child != NULL ? "; start it: stashctl restart-child " : "", child != NULL ? sup_node_path(child) : "");
	wait_over(wait, STASH_E_DOWN, text);
}

void
peers_worker_status(struct worker *w, bool gone)
{
	const struct sup_node *node = gone ? NULL : sup_find(w->server->machine, w->listed);
	struct wait *wait, *next;

	if (!gone && w->status != STASH_RUNNING && w->status != STASH_STOPPED)
		return;
	for (wait = TAILQ_FIRST(&w->waits); wait != NULL; wait = next) {
		next = TAILQ_NEXT(wait, of_worker);
		if (gone)
			wait_over(wait, STASH_E_NOENT, "there is no such name any more");
		else if (w->status == STASH_STOPPED)
			wait_stopped(wait, node);
		else
			wait_over(wait, 0, "");
	}
}

void
wait_for_worker(struct peer *p, enum wait_kind kind, int64_t type, uint64_t number, const char *name,
    uint64_t ring_bytes, int64_t deadline)
{
	const struct sup_node *node = registry_node(p->server, name);
	struct worker *w = registry_worker(p->server, name);
	struct wait *wait;

	if (w == NULL) {
		if (kind == WAIT_OPEN)
			peer_result(p, STASH__B_CHANNEL, number, STASH_E_NOENT, "there is no such name");
		else
			peer_done(p, number, STASH_E_NOENT, "there is no such name", "");
		return;
	}
	wait = wait_create(p, kind, type, number, w);
	if (wait == NULL)
		return;
	wait->ring_bytes = ring_bytes;
	wait->deadline = deadline;
	if (node != NULL && sup_node_status(node) == STASH_RUNNING)
		wait_over(wait, 0, "");
	else if (node != NULL && sup_node_status(node) == STASH_STOPPED)
		wait_stopped(wait, node);
}

void
waits_tick(struct peer *p, int64_t now)
{
	struct wait *wait, *next;

	for (wait = TAILQ_FIRST(&p->waits); wait != NULL; wait = next) {
		next = TAILQ_NEXT(wait, of_peer);
		if (wait->kind == WAIT_AWAIT && wait->deadline <= now)
			wait_over(wait, STASH_E_TIMEDOUT, "it does not run yet");
	}
}
