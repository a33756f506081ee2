/* SPDX-License-Identifier: ISC */
/*
 * takeover.c: how a supervisor begins.  What the keeper has, and what the rows say, decide together: a supervisor that
 * follows another one goes on with its tree and its children; the first one of a stashd begins the config's tree,
 * whatever was left of an earlier stashd being dead, or made so.
 *
 *	fetched from the keeper -> the stash answers -> rows dumped -> tree restored, children adopted   (a successor)
 *	                                                          `--> the config's tree                 (the first one)
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/error.h"
#include "base/log.h"
#include "stashd/rowset.h"
#include "stashd/server.h"

/* A child or a channel that the keeper has; what it is is known when the tree is there. */
struct kept {
	STAILQ_ENTRY(kept) link;
	pid_t pid;
	int fds[LIFE_FDS], nfds;
	char key[];
};

struct takeover {
	int listener; /* -1: none yet */
	pid_t stash_pid;
	int stash_fds[3];
	STAILQ_HEAD(, kept) kept;
	unsigned opening; /* slots that are being opened */
	bool asked;	  /* the dump is under way, or over */
};

/* ---- from the keeper ---- */

static void
keep_for_later(struct takeover *t, const char *key, pid_t pid, int *fds, int nfds)
{
	struct kept *k = malloc(sizeof(*k) + strlen(key) + 1);

	if (k == NULL || nfds > LIFE_FDS) {
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
	STAILQ_INSERT_TAIL(&t->kept, k, link);
}

static void
on_item(void *arg, const char *key, pid_t pid, int *fds, int nfds)
{
	struct server *s = arg;
	struct takeover *t = s->takeover;
	struct worker *w;

	if (strcmp(key, "listen") == 0 && nfds == 1) {
		t->listener = fds[0];
		fds[0] = -1;
	} else if (strcmp(key, "stash") == 0 && nfds == 3) {
		t->stash_pid = pid;
		for (int i = 0; i < 3; i++) {
			t->stash_fds[i] = fds[i];
			fds[i] = -1;
		}
	} else if (strncmp(key, "b/", 2) == 0 && nfds == 1) {
		w = worker_get(s, key + 2);
		if (w != NULL && w->bell < 0) {
			w->bell = fds[0];
			fds[0] = -1;
		}
	} else {
		keep_for_later(t, key, pid, fds, nfds);
	}
}

int
takeover_begin(struct server *s)
{
	struct takeover *t = calloc(1, sizeof(*t));
	uint64_t starts;
	int result;

	if (t == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a start");
	t->listener = -1;
	STAILQ_INIT(&t->kept);
	s->takeover = t;
	result = keep_fetch(&s->keep, on_item, s, &starts);
	if (result == 0)
		result = broker_listen(s, t->listener);
	t->listener = -1;
	if (result < 0)
		return result;
	if (t->stash_pid == 0) {
		stashlink_start(&s->stash);
		return 0;
	}
	(void)stashlink_adopt(&s->stash, t->stash_pid, t->stash_fds);
	if (s->stash.running)
		takeover_stash_up(s);
	return 0;
}

/* ---- slots ---- */

static void
finish(struct server *s)
{
	takeover_free(s);
	if (broker_accept(s) < 0)
		stash__log(LOG_ERR, "%s", stash_errmsg());
}

static void
expect(struct server *s, struct worker *w)
{
	if (w->slot != SLOT_ASKED)
		worker_open(w);
	s->takeover->opening += w->slot == SLOT_ASKED;
}

void
takeover_slot_open(struct worker *w)
{
	struct server *s = w->server;

	if (s->takeover != NULL && s->phase != SERVER_BOOT && s->takeover->opening > 0 && --s->takeover->opening == 0)
		finish(s);
}

/* From here on slots that are opened are counted down. */
static void
begun(struct server *s)
{
	s->phase = SERVER_UP;
	if (s->takeover->opening == 0)
		finish(s);
	if (s->stop_asked_ns != 0)
		server_stop(s, "a signal during the start");
	reload_up(s);
}

/* ---- the first supervisor of a stashd ---- */

static int
expect_all(struct server *s, const struct sup_spec *spec, const char *above)
{
	char path[STASH_PATH_MAX + 1], name[STASH_NAME_MAX + 1];
	const struct worker *w;
	int result = 0;

	/* A template isn't started. */
	if (spec->strategy == STASH_SIMPLE_ONE_FOR_ONE)
		return 0;
	for (size_t i = 0; i < spec->nchildren && result == 0; i++) {
		const struct sup_spec *child = spec->children[i];
		bool asked;

		if (snprintf(path, sizeof(path), "%s/%s", above, child->id) >= (int)sizeof(path))
			return stash__fail(STASH_E_SPEC, "%s/%s: the path is too long", above, child->id);
		if (child->kind == SUP_SUPERVISOR) {
			result = expect_all(s, child, path);
			continue;
		}
		s->nworkers++;
		worker_slot_name(path, child->name, name);
		w = worker_find(s, name);
		asked = w != NULL && w->slot == SLOT_ASKED;
		result = worker_expect(s, child, path);
		if (result == 0 && !asked && worker_find(s, name)->slot == SLOT_ASKED)
			s->takeover->opening++;
	}
	return result;
}

static int
new_machine(struct server *s)
{
	sup_destroy(s->machine);
	s->machine = sup_create(s->config->ops);
	return s->machine != NULL ? 0 : stash__fail(STASH_E_NOMEM, "no memory for the tree");
}

/* Whoever is in the stored tree and not in the config's. */
static int
know_stored(struct server *s)
{
	const struct sup_node *node = NULL;
	int result = 0;

	while (result >= 0 && (node = sup_next(s->machine, node)) != NULL) {
		if (sup_node_spec(node)->kind != SUP_WORKER)
			continue;
		result = worker_remember(s, node);
		s->takeover->opening += result > 0;
	}
	return result < 0 ? result : 0;
}

/* Numbers go on where they stood. */
static void
know_incarnations(struct server *s, const struct rowset *rows)
{
	struct worker *w;

	RB_FOREACH(w, worker_names, &s->names) {
		uint64_t last = rowset_incarnation(rows, w->name);

		if (last > w->incarnation)
			w->incarnation = last;
		w->has.ran = rowset_ran(rows, w->name);
	}
}

static unsigned
count_workers(const struct server *s)
{
	const struct sup_node *node = NULL;
	unsigned count = 0;

	while ((node = sup_next(s->machine, node)) != NULL)
		count += sup_node_spec(node)->kind == SUP_WORKER;
	return count;
}

/* The last stashd had no time to end: its tree is started again, changed as by a reload. False: there is none. */
static bool
begin_stored(struct server *s, const struct rowset *rows)
{
	int result;

	if (s->was_clean || rows->ntree == 0)
		return false;
	result = sup_restore(s->machine, rows->tree, rows->ntree);
	if (result == 0)
		result = know_stored(s);
	if (result == 0)
		result = ways_find(s); /* only now is everybody known whose they may be */
	if (result == 0) {
		know_incarnations(s, rows);
		rowset_note_parts(rows, s);
		result = turn_begin_anew(s, sup_spec_ref(s->tree), s->new_boot);
	}
	if (result < 0 && result != STASH_E_DOWN)
		stash__log(LOG_WARNING, "the stored tree can't go on: %s: the config's is started", stash_errmsg());
	if (result == 0)
		s->nworkers = count_workers(s);
	return result == 0;
}

static int
begin_first(struct server *s, struct rowset *rows)
{
	int result;

	result = files_for_workers(s, files_workers_of(s->tree));
	if (result == 0)
		result = expect_all(s, s->tree, s->tree->id);
	if (result < 0)
		return result;
	know_incarnations(s, rows);
	if (begin_stored(s, rows))
		return 0;
	result = ways_find(s);
	if (result < 0)
		return result;
	for (size_t i = 0; i < rows->ntree; i++)
		records_tree_forget(s, rows->tree[i].key, rowset_parts(rows, i));
	result = new_machine(s);
	return result < 0 ? result : turn_begin(s, sup_spec_ref(s->tree));
}

/* ---- one that follows another ---- */

/* A worker's process: "w/INCARNATION/START/NAME". */
static void
adopt_worker(struct server *s, struct kept *k)
{
	unsigned long long incarnation, start;
	const struct sup_node *node;
	struct worker *w;
	int n = 0;

	if (sscanf(k->key, "w/%llx/%llx/%n", &incarnation, &start, &n) != 2 || n == 0 || k->nfds < 3 ||
	    (w = worker_get(s, k->key + n)) == NULL)
		return;
	node = w->listed != 0 ? sup_find(s->machine, w->listed) : NULL;
	if (node == NULL || sup_node_start(node) != start)
		node = NULL;
	if (life_adopt(w, node != NULL ? w->listed : 0, start, incarnation, k->pid, k->fds) == 0)
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
	if (w != NULL && mailroom_restore(s, w, id, uid, pid, k->fds[0], k->fds[1]) == 0)
		k->nfds = 0;
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
		l->phase = LIFE_READY;
		l->answer = 0;
		l->asked = state != SUP_RUNNING;
		l->worker->has.ran = l->incarnation;
		return;
	case SUP_STARTING:
	case SUP_ABORTING:
		l->phase = life_was_let_go(l) ? LIFE_STARTING : LIFE_LOADING;
		l->lost = l->phase == LIFE_LOADING;
		if (!l->lost)
			l->worker->has.ran = l->incarnation;
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

static void
place_all(struct worker *w)
{
	struct life *l, *next;

	for (l = LIST_FIRST(&w->dying); l != NULL; l = next) {
		next = LIST_NEXT(l, link);
		l->node = 0;
		place(l);
		(void)life_watch(l);
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
		stash__log(LOG_ERR, "%s", stash_errmsg());
}

/* Its word was taken by a supervisor that died before it had noted it. */
static void
tell_ready(struct life *l)
{
	l->phase = LIFE_READY;
	l->answer = 0;
	turn_ready(l->server, l->node, l->start);
}

/* A child that should have a process, and has none; or one that is further than is known. */
static void
tell_missing(struct server *s, const struct sup_node *node, const struct worker *w)
{
	uint64_t handle = sup_node_handle(node), start = sup_node_start(node);

	if (w->now != NULL && w->now->node == handle) {
		if (w->now->phase == LIFE_STARTING && sup_node_state(node) == SUP_STARTING && life_was_ready(w->now))
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

/* Each worker of the tree, with its plan. */
static int
know_workers(struct server *s)
{
	const struct sup_node *node = NULL;
	char name[STASH_NAME_MAX + 1];
	struct worker *w;

	while ((node = sup_next(s->machine, node)) != NULL) {
		if (sup_node_spec(node)->kind != SUP_WORKER)
			continue;
		worker_slot_name(sup_node_path(node), sup_node_name(node), name);
		w = worker_get(s, name);
		if (w == NULL || worker_plan(w, node) < 0)
			return STASH_E_NOMEM;
		w->status = sup_node_status(node);
		s->nworkers++;
	}
	return 0;
}

static void
adopt_kept(struct server *s)
{
	struct kept *k;

	STAILQ_FOREACH(k, &s->takeover->kept, link) {
		if (strncmp(k->key, "w/", 2) == 0)
			adopt_worker(s, k);
		else if (strncmp(k->key, "c/", 2) == 0)
			adopt_channel(s, k);
	}
}

static int
begin_successor(struct server *s, struct rowset *rows)
{
	const struct sup_node *node = NULL;
	struct worker *w;
	char name[STASH_NAME_MAX + 1];
	int result = know_workers(s);

	if (result < 0)
		return result;
	rowset_note_parts(rows, s);
	adopt_kept(s);
	result = ways_find(s);
	if (result < 0)
		return result;
	RB_FOREACH(w, worker_names, &s->names) {
		uint64_t last = rowset_incarnation(rows, w->name);

		if (last > w->incarnation)
			w->incarnation = last;
		w->has.ran = rowset_ran(rows, w->name);
		place_all(w);
		if (w->spec != NULL && worker_has_slot(w))
			expect(s, w);
		s->recovered += w->now != NULL && life_runs(w->now);
	}
	turn_hold(s);
	turn_resume(s);
	while ((node = sup_next(s->machine, node)) != NULL) {
		if (sup_node_spec(node)->kind != SUP_WORKER)
			continue;
		worker_slot_name(sup_node_path(node), sup_node_name(node), name);
		w = worker_find(s, name);
		if (w != NULL)
			tell_missing(s, node, w);
	}
	turn_release(s);
	stash__log(LOG_NOTICE, "supervisor %llu has taken over: %u of %u workers run",
	    (unsigned long long)s->starts + 1, s->recovered, s->nworkers);
	records_event(s, STASH_EV_TAKEOVER, STASH_REASON_NORMAL, "", "", "supervisor %llu: %u of %u workers run",
	    (unsigned long long)s->starts + 1, s->recovered, s->nworkers);
	/* Its predecessor died between the end of the tree and saying so: there is nothing left to do but that. */
	if (s->phase == SERVER_BOOT && sup_node_state(sup_root(s->machine)) == SUP_DOWN)
		server_ended(s, sup_verdict(s->machine), "");
	return 0;
}

/* The rows make no tree: nothing that runs can be trusted to belong to one. */
static void
kill_kept(struct server *s)
{
	struct kept *k;

	STAILQ_FOREACH(k, &s->takeover->kept, link) {
		if (strncmp(k->key, "w/", 2) != 0 || k->nfds < 3)
			continue;
		(void)pidfd_send_signal(k->fds[1], SIGKILL, NULL, 0);
		adopt_worker(s, k);
	}
	adopt_kept(s);
}

/* ---- the rows ---- */

static void
on_dump(void *arg, int error, const char *text, struct mail *m)
{
	struct server *s = arg;
	struct rowset rows = { 0 };
	struct worker *w;

	if (error == 0)
		error = rowset_read(&rows, m->nfds > 0 ? m->fds[0] : -1);
	else
		error = stash__fail(error, "%s", text);
	if (error == 0) {
		rowset_layouts(&rows, s);
		error = registry_load(s, &rows);
	}
	if (error == 0 && s->starts > 0 && rows.ntree > 0) {
		error = sup_restore(s->machine, rows.tree, rows.ntree);
		if (error == 0)
			error = begin_successor(s, &rows);
		else {
			stash__log(LOG_CRIT, "%s: the config's tree is started instead", stash_errmsg());
			kill_kept(s);
			RB_FOREACH(w, worker_names, &s->names)
				place_all(w);
			s->was_clean = true;
			error = begin_first(s, &rows);
		}
	} else if (error == 0) {
		error = begin_first(s, &rows);
	}
	rowset_free(&rows);
	if (error == 0)
		registry_settle(s);
	if (error < 0)
		server_over(s, error, stash_errmsg());
	else if (s->phase == SERVER_BOOT)
		begun(s);
}

void
takeover_stash_up(struct server *s)
{
	struct takeover *t = s->takeover;

	/* Also a stash that is back: its files are the same, if it had time to make them. */
	if (records_open(s) < 0) {
		server_over(s, STASH_E_SYSTEM, stash_errmsg());
		return;
	}
	if (s->phase != SERVER_BOOT || t == NULL || t->asked)
		return;
	t->asked = true;
	if (stashlink_send(&s->stash, stashlink_begin(&s->stash, STASH__S_DUMP), -1, on_dump, s) == 0)
		server_over(s, STASH_E_NOMEM, "no memory for a start");
}

void
takeover_free(struct server *s)
{
	struct takeover *t = s->takeover;
	struct kept *k;

	if (t == NULL)
		return;
	while ((k = STAILQ_FIRST(&t->kept)) != NULL) {
		STAILQ_REMOVE_HEAD(&t->kept, link);
		for (int i = 0; i < k->nfds; i++)
			close(k->fds[i]);
		free(k);
	}
	free(t);
	s->takeover = NULL;
}
