/* SPDX-License-Identifier: ISC */
/*
 * takeover.c: how a supervisor begins.  What the keeper has, and what the rows say, decide together: a supervisor that
 * follows another one goes on with its tree and its children; the first one of a stashd begins the config's tree,
 * whatever was left of an earlier stashd being dead, or made so.  One whose predecessors all died before they had begun
 * a tree is a first one, too: the rows are those of an earlier stashd still.
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
#include "base/point.h"
#include "stashd/kept.h"
#include "stashd/rowset.h"
#include "stashd/server.h"

#define BOOT_KEY "boot" /* of a note without descriptors: the machine was started again */

struct takeover {
	int listener; /* -1: none yet */
	pid_t stash_pid;
	int stash_fds[3];
	struct kept_list kept;
	unsigned opening; /* slots that are being opened */
	bool asked;	  /* the dump is under way, or over */
};

/* What may be otherwise at the next attempt. */
static bool
may_pass(int error)
{
	return error == STASH_E_NOMEM || error == STASH_E_SYSTEM || error == STASH_E_FULL || error == STASH_E_BUSY ||
	    error == STASH_E_TIMEDOUT || error == STASH_E_DOWN;
}

bool
takeover_ends(const struct server *s, int error)
{
	const struct takeover *t = s->takeover;

	if (s->phase != SERVER_BOOT || t == NULL)
		return false;
	if (s->starts == 0)
		return true;
	return (!s->follows || (t->stash_pid == 0 && STAILQ_EMPTY(&t->kept))) && !may_pass(error);
}

void
takeover_failed(struct server *s, int error, const char *why)
{
	if (!takeover_ends(s, error))
		server_give_up(why);
	server_over(s, error, why);
}

/* ---- from the keeper ---- */

static void
on_item(void *arg, const char *key, pid_t pid, int *fds, int nfds)
{
	struct server *s = arg;
	struct takeover *t = s->takeover;

	if (strcmp(key, "listen") == 0 && nfds == 1) {
		t->listener = fds[0];
		fds[0] = -1;
	} else if (strcmp(key, "stash") == 0 && nfds == 3) {
		t->stash_pid = pid;
		for (int i = 0; i < 3; i++) {
			t->stash_fds[i] = fds[i];
			fds[i] = -1;
		}
	} else if (strcmp(key, BOOT_KEY) == 0) {
		s->new_boot = true;
	} else {
		kept_add(&t->kept, key, pid, fds, nfds);
	}
}

int
takeover_begin(struct server *s)
{
	struct takeover *t = calloc(1, sizeof(*t));
	int result;

	if (t == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a start");
	t->listener = -1;
	STAILQ_INIT(&t->kept);
	s->takeover = t;
	s->follows = s->starts > 0;
	result = keep_fetch(&s->keep, on_item, s, &s->follows);
	if (result == 0)
		result = broker_listen(s, t->listener);
	t->listener = -1;
	STASH_POINT("sup_took_keeper");
	if (result < 0)
		return result;
	if (t->stash_pid == 0) {
		stashlink_start(&s->stash);
		return 0;
	}
	(void)stashlink_adopt(&s->stash, t->stash_pid, t->stash_fds);
	if (s->trial)
		stashlink_replace(&s->stash);
	if (s->stash.running)
		takeover_stash_up(s);
	return 0;
}

/* The next stash process finds this boot in the store, and says nothing of it; nor would it to the next supervisor. */
void
takeover_new_boot(struct server *s)
{
	s->new_boot = true;
	keep_store(&s->keep, BOOT_KEY, 0, NULL, 0);
}

/* ---- slots ---- */

static void
finish(struct server *s)
{
	STASH_POINT("sup_before_settled");
	takeover_free(s);
	s->trial = false;
	keep_settled(&s->keep);
	if (broker_accept(s) < 0)
		stash__log(LOG_ERR, "%s", stash_errmsg());
}

void
takeover_expect(struct worker *w)
{
	if (w->slot != SLOT_ASKED)
		worker_open(w);
	w->server->takeover->opening += w->slot == SLOT_ASKED;
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
		return leftover_find(s);
	result = ways_find(s);
	if (result < 0)
		return result;
	for (size_t i = 0; i < rows->ntree; i++)
		records_tree_forget(s, rows->tree[i].key, rowset_parts(rows, i));
	result = new_machine(s);
	if (result == 0)
		result = turn_begin(s, sup_spec_ref(s->tree));
	return result < 0 ? result : leftover_find(s);
}

/* ---- one that follows another ---- */

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
			return stash__fail(STASH_E_NOMEM, "no memory for the worker %s", name);
		w->status = sup_node_status(node);
		s->nworkers++;
	}
	return 0;
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
	kept_adopt(s, &s->takeover->kept);
	result = ways_find(s);
	if (result < 0)
		return result;
	RB_FOREACH(w, worker_names, &s->names) {
		uint64_t last = rowset_incarnation(rows, w->name);

		if (last > w->incarnation)
			w->incarnation = last;
		w->has.ran = rowset_ran(rows, w->name);
		kept_place(w);
		if (w->spec != NULL)
			takeover_expect(w);
		s->recovered += w->now != NULL && life_runs(w->now);
	}
	result = leftover_find(s);
	if (result < 0)
		return result;
	turn_hold(s);
	turn_resume(s);
	while ((node = sup_next(s->machine, node)) != NULL) {
		if (sup_node_spec(node)->kind != SUP_WORKER)
			continue;
		worker_slot_name(sup_node_path(node), sup_node_name(node), name);
		w = worker_find(s, name);
		if (w != NULL)
			kept_tell_missing(s, node, w);
	}
	turn_release(s);
	stash__log(LOG_NOTICE, "supervisor %llu has taken over: %u of %u workers run",
	    (unsigned long long)s->starts + 1, s->recovered, s->nworkers);
	records_event(s, STASH_EV_TAKEOVER, STASH_REASON_NORMAL, "", "",
	    "supervisor %llu, stashd %s: %u of %u workers run", (unsigned long long)s->starts + 1, stash_version(),
	    s->recovered, s->nworkers);
	/* Its predecessor died between the end of the tree and saying so: there is nothing left to do but that. */
	if (s->phase == SERVER_BOOT && sup_node_state(sup_root(s->machine)) == SUP_DOWN)
		server_ended(s, sup_verdict(s->machine), "");
	return 0;
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
	if (error == 0 && s->trial && rows.ntree == 0)
		error = stash__fail(STASH_E_CORRUPT, "the rows of the tree that runs aren't there");
	STASH_POINT("sup_read_rows");
	if (error == 0 && s->follows && rows.ntree > 0) {
		error = sup_restore(s->machine, rows.tree, rows.ntree);
		if (error == 0)
			error = begin_successor(s, &rows);
		else if (!s->trial) {
			stash__log(LOG_CRIT, "%s: the config's tree is started instead", stash_errmsg());
			kept_kill(s, &s->takeover->kept);
			RB_FOREACH(w, worker_names, &s->names)
				kept_place(w);
			s->was_clean = true;
			error = begin_first(s, &rows);
		}
	} else if (error == 0) {
		error = begin_first(s, &rows);
	}
	rowset_free(&rows);
	STASH_POINT("sup_took_rows");
	if (error == 0)
		registry_settle(s);
	if (error < 0)
		takeover_failed(s, error, stash_errmsg());
	else if (s->phase == SERVER_BOOT)
		begun(s);
}

void
takeover_stash_up(struct server *s)
{
	struct takeover *t = s->takeover;

	/* Also a stash that is back: its files are the same, if it had time to make them. */
	int result = records_open(s);

	if (result < 0) {
		takeover_failed(s, result, stash_errmsg());
		return;
	}
	if (s->phase != SERVER_BOOT || t == NULL || t->asked)
		return;
	t->asked = true;
	if (stashlink_send(&s->stash, stashlink_begin(&s->stash, STASH__S_DUMP), -1, on_dump, s) == 0)
		takeover_failed(s, STASH_E_NOMEM, "no memory for a start");
}

void
takeover_free(struct server *s)
{
	struct takeover *t = s->takeover;

	if (t == NULL)
		return;
	kept_free(&t->kept);
	free(t);
	s->takeover = NULL;
}
