/* SPDX-License-Identifier: ISC */
/*
 * kept.c: see kept.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/error.h"
#include "stashd/kept.h"

void
kept_add(struct kept_list *list, const char *key, pid_t pid, int *fds, int nfds)
{
	struct kept *k = malloc(sizeof(*k) + strlen(key) + 1);

	if (k == NULL)
		server_give_up("no memory for what the keeper has");
	if (nfds > LIFE_FDS) {
		free(k);
		return;
	}
	memcpy(k->key, key, strlen(key) + 1);
	k->pid = pid;
	k->nfds = nfds;
	for (int i = 0; i < LIFE_FDS; i++) {
		k->fds[i] = i < nfds ? fds[i] : -1;
		if (i < nfds)
			fds[i] = -1;
	}
	STAILQ_INSERT_TAIL(list, k, link);
}

void
kept_free(struct kept_list *list)
{
	struct kept *k;

	while ((k = STAILQ_FIRST(list)) != NULL) {
		STAILQ_REMOVE_HEAD(list, link);
		for (int i = 0; i < k->nfds; i++)
			close(k->fds[i]);
		free(k);
	}
}

/* A worker's process: "w/INCARNATION/START/NAME". */
static void
adopt_worker(struct server *s, struct kept *k)
{
	unsigned long long incarnation, start;
	const struct sup_node *node;
	struct worker *w;
	int n = 0;

	if (sscanf(k->key, "w/%llx/%llx/%n", &incarnation, &start, &n) != 2 || n == 0 || k->nfds < 3)
		return;
	w = worker_get(s, k->key + n);
	if (w == NULL)
		server_give_up("no memory for a worker");
	node = w->listed != 0 ? sup_find(s->machine, w->listed) : NULL;
	if (node == NULL || sup_node_start(node) != start)
		node = NULL;
	if (life_adopt(w, node != NULL ? w->listed : 0, start, incarnation, k->pid, k->fds) < 0)
		server_give_up("no memory for a worker's process");
	k->nfds = 0;
}

/* "c/ID/UID/PID/NAME". */
static void
adopt_channel(struct server *s, struct kept *k)
{
	uint8_t id[STASH__ID];
	unsigned uid, pid;
	struct worker *w;
	int n = 0;

	for (int i = 0; i < STASH__ID; i++) {
		if (sscanf(k->key + 2 + 2 * i, "%2hhx", &id[i]) != 1)
			return;
	}
	if (sscanf(k->key + 2 + 2 * STASH__ID, "/%u/%u/%n", &uid, &pid, &n) != 2 || n == 0 || k->nfds != 2)
		return;
	w = worker_get(s, k->key + 2 + 2 * STASH__ID + n);
	if (w == NULL)
		server_give_up("no memory for a worker");
	/* It may be there already: a way that was found. */
	if (mailroom_find(s, id) != NULL)
		return;
	if (mailroom_restore(s, w, id, uid, pid, k->fds[0], k->fds[1]) < 0)
		server_give_up("no memory for a channel");
	k->nfds = 0;
}

/*
 * One that was to die with its supervisor has the kernel's SIGKILL by now; one whose program has cleared that (by a
 * change of its user, or an older library) gets it here.  wanted: it was to go on.
 */
static void
bereave(struct life *l, bool wanted)
{
	if (!l->worker->plan.dies_with_supervisor)
		return;
	l->bereaved = wanted;
	(void)pidfd_send_signal(l->pidfd, SIGKILL, NULL, 0);
}

/* What an adopted process is to the machine. */
static void
place(struct life *l)
{
	const struct sup_node *node = l->node != 0 ? sup_find(l->server->machine, l->node) : NULL;
	enum sup_state state = node != NULL ? sup_node_state(node) : SUP_DOWN;

	switch (state) {
	case SUP_RUNNING:
	case SUP_STOPPING:
	case SUP_KILLING:
		bereave(l, state == SUP_RUNNING);
		l->phase = LIFE_READY;
		l->answer = 0;
		l->asked = state != SUP_RUNNING;
		l->worker->has.ran = l->incarnation;
		return;
	case SUP_STARTING:
	case SUP_ABORTING:
		l->phase = life_was_let_go(l) ? LIFE_STARTING : LIFE_LOADING;
		l->lost = l->phase == LIFE_LOADING;
		if (!l->lost) {
			bereave(l, state == SUP_STARTING);
			l->worker->has.ran = l->incarnation;
		}
		l->asked = state == SUP_ABORTING;
		if (l->lost)
			(void)pidfd_send_signal(l->pidfd, SIGKILL, NULL, 0);
		return;
	case SUP_DOWN:
	case SUP_EXITED:
	case SUP_RESTARTING:
		break;
	}
	/* Nothing knows of it: its end was told already, or its child is gone. */
	l->phase = LIFE_READY;
	l->past = !life_was_let_go(l);
	l->node = 0;
	(void)pidfd_send_signal(l->pidfd, SIGKILL, NULL, 0);
}

void
kept_place(struct worker *w)
{
	struct life *l, *next;

	for (l = LIST_FIRST(&w->dying); l != NULL; l = next) {
		next = LIST_NEXT(l, link);
		l->node = 0;
		place(l);
		if (life_watch(l) < 0)
			server_give_up(stash_errmsg());
	}
	l = w->now;
	if (l == NULL)
		return;
	place(l);
	if (l->node == 0) {
		w->now = NULL;
		LIST_INSERT_HEAD(&w->dying, l, link);
	}
	if (life_watch(l) < 0)
		server_give_up(stash_errmsg());
}

/* Its word was taken by a supervisor that died before it had noted it. */
static void
tell_ready(struct life *l)
{
	l->phase = LIFE_READY;
	l->answer = 0;
	turn_ready(l->server, l->node, l->start);
}

void
kept_tell_missing(struct server *s, const struct sup_node *node, const struct worker *w)
{
	uint64_t handle = sup_node_handle(node), start = sup_node_start(node);

	if (w->now != NULL && w->now->node == handle) {
		if (w->now->phase == LIFE_STARTING && !w->now->bereaved && sup_node_state(node) == SUP_STARTING &&
		    life_was_ready(w->now))
			tell_ready(w->now);
		return;
	}
	switch (sup_node_state(node)) {
	case SUP_STARTING:
		turn_lost(s, handle, start);
		break;
	case SUP_ABORTING:
	case SUP_RUNNING:
	case SUP_STOPPING:
	case SUP_KILLING:
		turn_exited(s, handle, start, STASH_REASON_KILLED);
		break;
	case SUP_DOWN:
	case SUP_EXITED:
	case SUP_RESTARTING:
		break;
	}
}

void
kept_adopt(struct server *s, struct kept_list *list)
{
	struct kept *k;

	STAILQ_FOREACH(k, list, link) {
		if (strncmp(k->key, "w/", 2) == 0)
			adopt_worker(s, k);
		else if (strncmp(k->key, "c/", 2) == 0)
			adopt_channel(s, k);
	}
}

void
kept_kill(struct server *s, struct kept_list *list)
{
	struct kept *k;

	STAILQ_FOREACH(k, list, link) {
		if (strncmp(k->key, "w/", 2) != 0 || k->nfds < 3)
			continue;
		(void)pidfd_send_signal(k->fds[1], SIGKILL, NULL, 0);
		adopt_worker(s, k);
	}
	kept_adopt(s, list);
}
