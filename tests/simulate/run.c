/* SPDX-License-Identifier: ISC */
/* See run.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulate/run.h"

/*
 * A group whose restarts fail, and whose stops take so long that its period never has too many of them, is stopped and
 * started for ever, in OTP as well. So much time of the simulated world tells it from a busy one.
 */
#define STEP_MAX (INT64_C(1200) * 1000000000)

/* ---- another machine ---- */

static void
free_row(struct sup_row *row)
{
	free((void *)(uintptr_t)row->key);
	free((void *)(uintptr_t)row->value);
}

/* value NULL: it is gone. */
static void
keep_row(void *arg, const char *key, const void *value, size_t len)
{
	struct run *r = arg;
	void *copy;
	size_t i;

	for (i = 0; i < r->rows && strcmp(r->row[i].key, key) != 0; i++)
		;
	if (i < r->rows) {
		free_row(&r->row[i]);
		r->row[i] = r->row[--r->rows];
	}
	if (value == NULL)
		return;
	r->row = reallocarray(r->row, r->rows + 1, sizeof(*r->row));
	copy = world_alloc(len + 1);
	if (r->row == NULL)
		abort();
	memcpy(copy, value, len);
	r->row[r->rows++] = (struct sup_row){ .key = strdup(key), .value = copy, .len = len };
}

static void
exchange(struct run *r)
{
	struct sup_ops ops = world_ops(&r->w);

	sup_destroy(r->w.sup);
	r->w.sup = sup_create(&ops);
	if (sup_restore(r->w.sup, r->row, r->rows) < 0) {
		broken(&r->o, "the rows make no tree", "%s", stash_errmsg());
		return;
	}
	world_rebind(&r->w);
	oracle_taken_over(&r->o);
	sup_resume(r->w.sup, false, r->w.now);
	world_drain(&r->w);
}

static void
after_event(struct world *w, void *arg)
{
	struct run *r = arg;

	if (sup_deadline(w->sup) > w->now)
		oracle_quiet(&r->o);
	if (!r->takeover || r->taking || r->o.rule != NULL || r->o.pleas != NULL)
		return;
	r->taking = true;
	exchange(r);
	r->taking = false;
}

void
run_open(struct run *r, bool takeover)
{
	memset(r, 0, sizeof(*r));
	r->takeover = takeover;
	r->scenario.item = r->item;
	r->scenario.file = r->scenario.name = (char[]){ "simulated" };
	world_open(&r->w, &r->scenario);
	oracle_open(&r->o, &r->w);
	r->w.after = after_event;
	r->w.after_arg = r;
	r->w.step_max = STEP_MAX;
	if (takeover) {
		r->w.row = keep_row;
		r->w.row_arg = r;
	}
}

void
run_close(struct run *r)
{
	size_t i;

	oracle_close(&r->o);
	world_close(&r->w);
	while (r->rows > 0)
		free_row(&r->row[--r->rows]);
	free(r->row);
	for (i = 0; i < r->scenario.count; i++)
		item_free(&r->item[i]);
}

/* ---- lines ---- */

/* What is declared has a supervisor above it. */
static bool
is_declared(const struct run *r, const char *path, bool super)
{
	const struct path *p = world_find(&r->w, path);

	return p != NULL && p->declared != NULL && (!super || p->declared->kind == ITEM_SUPERVISOR);
}

static bool
has_place(const struct run *r, const char *path)
{
	const char *cut = strrchr(path, '/');
	char above[512];
	size_t i;

	if (cut == NULL)
		return strcmp(path, "root") == 0;
	snprintf(above, sizeof(above), "%.*s", (int)(cut - path), path);
	for (i = 0; i < r->scenario.count; i++) {
		if (r->item[i].kind == ITEM_SUPERVISOR && strcmp(r->item[i].word[0], above) == 0)
			return true;
	}
	return false;
}

/* A supervisor stays one: what its init says can't be a worker. */
static bool
was_another(const struct run *r, const struct item *it)
{
	size_t i;

	for (i = 0; i + 1 < r->scenario.count; i++) {
		if (r->item[i].kind <= ITEM_CHILD && r->item[i].kind != it->kind &&
		    strcmp(r->item[i].word[0], it->word[0]) == 0)
			return true;
	}
	return false;
}

static bool
is_simple(const struct run *r, const char *path)
{
	const struct path *p = world_find(&r->w, path);
	const char *strategy = p == NULL || p->declared == NULL ? NULL : item_option(p->declared, "strategy");

	return strategy != NULL && strcmp(strategy, "simple_one_for_one") == 0;
}

static bool
can_be(const struct run *r, const struct item *it)
{
	char *const *word = it->kind == ITEM_POST ? it->word + 1 : it->word;
	char path[512];

	if (it->kind == ITEM_SUPERVISOR || it->kind == ITEM_CHILD)
		return has_place(r, word[0]) && !was_another(r, it);
	if (strcmp(word[0], "start") == 0)
		return world_find(&r->w, "root") != NULL || r->scenario.count > 1;
	if (strcmp(word[0], "start_child") != 0)
		return true;
	snprintf(path, sizeof(path), "%s/%s", word[1], word[2]);
	return is_declared(r, word[1], true) &&
	    (is_simple(r, word[1]) || is_declared(r, path, false) || has_place(r, path));
}

/* A "do" that isn't answered in its step would stop whoever carries the scenario out elsewhere. */
static bool
waits(const struct run *r)
{
	const struct unanswered *a;

	for (a = r->w.asked; a != NULL; a = a->next) {
		if (a->tag == NULL)
			return true;
	}
	return false;
}

bool
run_line(struct run *r, const char *text)
{
	struct item *it = &r->item[r->scenario.count];

	if (r->o.rule != NULL || r->invalid || r->scenario.count == RUN_ITEMS)
		return false;
	if (!item_parse(it, text)) {
		r->invalid = true;
		return false;
	}
	r->scenario.count++;
	if (!can_be(r, it)) {
		r->invalid = true;
		return false;
	}
	if (r->line != NULL)
		r->line(r->line_arg, text);
	if (it->kind != ITEM_DO && it->kind != ITEM_POST)
		return true;
	if (strcmp(text, "do stop") == 0)
		oracle_stop_asked(&r->o);
	r->steps++;
	(void)world_step(&r->w);
	if (r->o.rule == NULL && (r->w.endless || waits(r)))
		r->invalid = true;
	return r->o.rule == NULL && !r->invalid;
}
