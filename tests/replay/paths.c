/* SPDX-License-Identifier: ISC */
/*
 * What a scenario declares: which children a supervisor starts with, their
 * specifications (wrong ones too), and how the processes of a path behave.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/inside.h"

/* A value that no flag has: how a wrong word gets into a specification. */
#define WRONG (-77)

struct path *
world_find(const struct world *w, const char *name)
{
	struct path *p;

	for (p = w->paths; p != NULL && strcmp(p->name, name) != 0; p = p->next)
		;
	return p;
}

struct path *
world_path(struct world *w, const char *name)
{
	struct path *p = world_find(w, name), **end;

	if (p != NULL)
		return p;
	p = world_alloc(sizeof(*p));
	p->name = strdup(name);
	for (end = &w->paths; *end != NULL; end = &(*end)->next)
		;
	*end = p;
	return p;
}

/* The supervisor above a path, if that is declared. */
static struct path *
path_above(const struct world *w, const char *name)
{
	const char *cut = strrchr(name, '/');
	struct path *above;
	char *copy;

	if (cut == NULL)
		return NULL;
	copy = strndup(name, (size_t)(cut - name));
	above = copy == NULL ? NULL : world_find(w, copy);
	free(copy);
	return above;
}

void
world_declare(struct world *w, const struct item *it)
{
	struct path *p = world_path(w, it->word[0]), *above = path_above(w, it->word[0]);

	p->declared = it;
	p->block = w->block;
	p->inits = 0;
	free(p->init);
	free(p->term);
	p->init = p->term = NULL;
	if (it->kind == ITEM_SUPERVISOR)
		lines_clear(&p->children);
	if (above != NULL && above->declared != NULL && above->block == w->block)
		lines_add(&above->children, "%s", p->name);
}

void
world_free_paths(struct world *w)
{
	struct path *p;

	while ((p = w->paths) != NULL) {
		w->paths = p->next;
		lines_clear(&p->children);
		free(p->init);
		free(p->term);
		free(p->name);
		free(p);
	}
}

/* ---- behaviour ---- */

/* The declaration that says how a path behaves: an instance begins with its template's. */
static const struct path *
model_of(const struct world *w, const struct path *p)
{
	const struct path *above;

	if (p->declared != NULL)
		return p;
	above = path_above(w, p->name);
	if (above == NULL || above->children.count == 0)
		return p;
	return world_find(w, above->children.line[0]);
}

static const char *
behaviour(const struct world *w, const struct path *p, const char *own, const char *key)
{
	const struct path *model = model_of(w, p);
	const char *value;

	if (own != NULL)
		return own;
	value = model->declared == NULL ? NULL : item_option(model->declared, key);
	return value == NULL ? "ok" : value;
}

const char *
path_term(struct world *w, const struct path *p)
{
	return behaviour(w, p, p->term, "term");
}

/* The outcome of the next start: the list is used up, the last one is repeated. */
const char *
path_next_init(struct world *w, struct path *p)
{
	static const char *const outcomes[] = { "ok", "error", "ignore", "hold" };
	const char *at = behaviour(w, p, p->init, "init"), *comma;
	size_t i, len;

	for (i = 0; i < p->inits && (comma = strchr(at, ',')) != NULL; i++)
		at = comma + 1;
	p->inits++;
	len = strcspn(at, ",");
	for (i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
		if (strlen(outcomes[i]) == len && strncmp(outcomes[i], at, len) == 0)
			return outcomes[i];
	}
	fprintf(stderr, "otp-replay: %s: %s starts with an unknown outcome: %s\n", w->scenario->file, p->name, at);
	abort();
}

void
path_set(struct path *p, const struct item *it)
{
	const char *init = item_option(it, "init"), *term = item_option(it, "term");

	if (init != NULL) {
		free(p->init);
		p->init = strdup(init);
		p->inits = 0;
	}
	if (term != NULL) {
		free(p->term);
		p->term = strdup(term);
	}
}

/* ---- specifications ---- */

static int32_t
word_number(const char *word, const char *const *names, int32_t fallback)
{
	int32_t i;

	if (word == NULL)
		return fallback;
	for (i = 0; names[i] != NULL; i++) {
		if (strcmp(names[i], word) == 0)
			return i;
	}
	return WRONG;
}

static int32_t
number(const char *word, int32_t fallback)
{
	char *end;
	long value;

	if (word == NULL)
		return fallback;
	value = strtol(word, &end, 10);
	return *end != '\0' || *word == '\0' ? WRONG : (int32_t)value;
}

static int32_t
shutdown_of(const char *word, int32_t type)
{
	int32_t ms;

	if (word == NULL)
		return type == SUP_SUPERVISOR ? STASH_INFINITY : 5000;
	if (strcmp(word, "infinity") == 0)
		return STASH_INFINITY;
	if (strcmp(word, "brutal_kill") == 0)
		return STASH_BRUTAL_KILL;
	ms = number(word, 0);
	return ms < 0 ? WRONG : ms;
}

static void
fill_spec(struct sup_spec *spec, const struct item *it)
{
	static const char *const restarts[] = { "permanent", "transient", "temporary", NULL };
	static const char *const strategies[] = { "one_for_one", "one_for_all", "rest_for_one", "simple_one_for_one",
		NULL };
	static const char *const autos[] = { "never", "any_significant", "all_significant", NULL };
	static const char *const types[] = { "", "worker", "supervisor", NULL };
	static const char *const truths[] = { "false", "true", NULL };

	spec->restart = word_number(item_option(it, "restart"), restarts, STASH_PERMANENT);
	spec->significant = word_number(item_option(it, "significant"), truths, 0);
	spec->type = word_number(item_option(it, "type"), types, (int32_t)spec->kind);
	spec->shutdown_ms = shutdown_of(item_option(it, "shutdown"), spec->type);
	spec->start_timeout_ms = STASH_INFINITY;
	spec->strategy = word_number(item_option(it, "strategy"), strategies, STASH_ONE_FOR_ONE);
	spec->auto_shutdown = word_number(item_option(it, "auto_shutdown"), autos, STASH_AUTO_NEVER);
	spec->intensity = number(item_option(it, "intensity"), 1);
	spec->period_s = number(item_option(it, "period"), 5);
}

/* Ids stand many times in a tree, which names must not: a worker is called by nobody here. */
struct sup_spec *
world_spec(struct world *w, const char *name)
{
	const struct path *p = world_find(w, name);
	const char *cut = strrchr(name, '/');
	struct sup_spec *spec;
	size_t i;

	if (p == NULL || p->declared == NULL)
		return NULL;
	spec = sup_spec_create(
	    p->declared->kind == ITEM_SUPERVISOR ? SUP_SUPERVISOR : SUP_WORKER, cut == NULL ? name : cut + 1, "");
	if (spec == NULL)
		abort();
	fill_spec(spec, p->declared);
	for (i = 0; p->declared->kind == ITEM_SUPERVISOR && i < p->children.count; i++) {
		if (sup_spec_add_child(spec, world_spec(w, p->children.line[i])) < 0)
			abort();
	}
	return spec;
}
