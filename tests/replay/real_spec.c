/* SPDX-License-Identifier: ISC */
/*
 * What a scenario declares, for a real stashd: as its config file, as the specifications that start_child() takes, and
 * as those of a machine where a config couldn't say it. Names must be unique, which ids aren't: a worker's name is its
 * path with dots.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/jobs.h"
#include "replay/real.h"
#include "stashd/plan.h"

/* ---- names ---- */

static char *
dotted(const char *path)
{
	char *name = strdup(path), *at;

	if (name == NULL)
		abort();
	for (at = name; (at = strchr(at, '/')) != NULL;)
		*at = '.';
	return name;
}

const char *
real_label(const char *path, char *buf, size_t size)
{
	const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
	int above = slash == NULL ? 0 : (int)(slash - path + 1);

	if (dot == NULL)
		return path;
	snprintf(buf, size, "%.*s%s", above, path, dot + 1);
	return buf;
}

const char *
real_id(struct real *r, const char *above, const char *label, char *buf, size_t size)
{
	const struct path *p;
	char *name;

	snprintf(buf, size, "%s/%s", above, label);
	p = world_find(&r->w, buf);
	if (!real_is_simple(r, above) || p == NULL || p->declared != NULL || !p->was_up)
		return label;
	name = dotted(buf);
	snprintf(buf, size, "%s", name);
	free(name);
	return buf;
}

bool
real_is_simple(struct real *r, const char *path)
{
	const struct path *p = world_find(&r->w, path);
	const char *strategy = p == NULL || p->declared == NULL ? NULL : item_option(p->declared, "strategy");

	return strategy != NULL && strcmp(strategy, "simple_one_for_one") == 0;
}

/* ---- times ---- */

static int32_t
factor(void)
{
	const char *patience = getenv("STASH_TEST_PATIENCE");

	return patience != NULL && atoi(patience) > 1 ? 21 : 7;
}

int32_t
real_stretch(int32_t ms)
{
	return ms > 0 ? ms * factor() : ms;
}

int32_t
real_unstretch(int32_t ms)
{
	return ms > 0 && ms % factor() == 0 ? ms / factor() : ms;
}

/* ---- public specifications ---- */

struct real_child {
	struct stash_child_spec spec;
	struct stash_supervisor_spec supervisor;
	struct stash_child_spec *children;
	struct real_child **below;
	size_t nbelow;
	char *name, *socket, *path;
	const char *args[4];
};

static char *
print(const char *fmt, const char *a, const char *b)
{
	char *text;

	if (asprintf(&text, fmt, a, b) < 0)
		abort();
	return text;
}

void
real_child_free(struct real_child *c)
{
	size_t i;

	if (c == NULL)
		return;
	for (i = 0; i < c->nbelow; i++)
		real_child_free(c->below[i]);
	free(c->below);
	free(c->children);
	free(c->name);
	free(c->socket);
	free(c->path);
	free(c);
}

static void
fill_worker(struct real *r, struct real_child *c, const char *path, bool template)
{
	const char *cut = strrchr(path, '/');

	c->name = dotted(path);
	c->socket = print("%s/w%s", r->dir, "");
	c->path = strndup(path, template ? (size_t)(cut - path) : strlen(path));
	c->args[0] = c->socket;
	c->args[1] = c->path;
	c->spec.name = c->name;
	c->spec.module = jobs_module;
	c->spec.args = c->args;
	c->spec.start_timeout_ms = STASH_INFINITY;
}

static struct real_child *make_child(struct real *r, const struct path *p, bool template);

static void
fill_supervisor(struct real *r, struct real_child *c, const struct path *p, const struct sup_spec *flags)
{
	bool simple = real_is_simple(r, p->name);
	size_t i;

	c->supervisor.size = sizeof(c->supervisor);
	c->supervisor.strategy = (uint32_t)flags->strategy;
	c->supervisor.auto_shutdown = (uint32_t)flags->auto_shutdown;
	c->supervisor.intensity = flags->intensity == 0 ? STASH_NO_RESTARTS : flags->intensity;
	c->supervisor.period_s = (uint32_t)flags->period_s;
	c->nbelow = c->supervisor.nchildren = p->children.count;
	c->below = calloc(c->nbelow + 1, sizeof(struct real_child *));
	c->children = calloc(c->nbelow + 1, sizeof(struct stash_child_spec));
	if (c->below == NULL || c->children == NULL)
		abort();
	for (i = 0; i < c->nbelow; i++) {
		c->below[i] = make_child(r, world_find(&r->w, p->children.line[i]), simple);
		c->children[i] = c->below[i]->spec;
	}
	c->supervisor.children = c->children;
	c->spec.supervisor = &c->supervisor;
}

static struct real_child *
make_child(struct real *r, const struct path *p, bool template)
{
	struct sup_spec *flags = world_spec(&r->w, p->name);
	struct real_child *c = world_alloc(sizeof(*c));
	const char *cut = strrchr(p->name, '/');

	c->spec.size = sizeof(c->spec);
	c->spec.id = cut == NULL ? p->name : cut + 1;
	c->spec.restart = (uint32_t)flags->restart;
	c->spec.significant = (uint32_t)flags->significant;
	c->spec.shutdown_ms = item_option(p->declared, "shutdown") != NULL ? real_stretch(flags->shutdown_ms) :
									     flags->shutdown_ms;
	c->spec.type = (uint32_t)flags->type;
	if (p->declared->kind == ITEM_CHILD)
		fill_worker(r, c, p->name, template);
	else
		fill_supervisor(r, c, p, flags);
	sup_spec_unref(flags);
	return c;
}

const struct stash_child_spec *
real_child_spec(struct real *r, const char *path, struct real_child **child)
{
	const struct path *p = world_find(&r->w, path);

	*child = NULL;
	if (p == NULL || p->declared == NULL)
		return NULL;
	*child = make_child(r, p, false);
	return &(*child)->spec;
}

const struct stash_child_spec *
real_instance_spec(struct real *r, const char *above, const char *label, struct real_child **child)
{
	struct real_child *c = world_alloc(sizeof(*c));
	char *path = print("%s/%s", above, label);

	(void)r;
	c->spec.size = sizeof(c->spec);
	c->name = dotted(path);
	c->path = strdup(label);
	c->args[0] = c->path;
	c->spec.name = c->name;
	c->spec.args = c->args;
	free(path);
	*child = c;
	return &c->spec;
}

const struct stash_child_spec *
real_request_spec(struct real *r, char *const *word, struct real_child **child)
{
	char path[STASH_PATH_MAX + 1];

	*child = NULL;
	if (strcmp(word[0], "start_child") != 0)
		return NULL;
	if (real_is_simple(r, word[1]))
		return real_instance_spec(r, word[1], word[2], child);
	snprintf(path, sizeof(path), "%s/%s", word[1], word[2]);
	return real_child_spec(r, path, child);
}

/* ---- a machine's specifications ---- */

/* The payload that stashd would have made of it. */
static void
add_plans(struct real *r, struct sup_spec *spec, const char *path, bool template)
{
	struct plan_table table = { .ack = STASH_ACK_CRASH };
	struct stash_buf *buf = stash_buf_create();
	struct real_child *c;
	const void *data;
	size_t len, i;

	if (buf == NULL)
		abort();
	c = make_child(r, world_find(&r->w, path), template);
	spec->shutdown_ms = c->spec.shutdown_ms;
	if (spec->kind == SUP_WORKER) {
		free(spec->name);
		spec->name = strdup(c->name);
		if (plan_pack(&table, &c->spec, buf) < 0 || stash_buf_data(buf, &data, &len) < 0 ||
		    sup_spec_set_payload(spec, data, len) < 0)
			abort();
	}
	real_child_free(c);
	for (i = 0; i < spec->nchildren; i++) {
		char *below = print("%s/%s", path, spec->children[i]->id);

		add_plans(r, spec->children[i], below, real_is_simple(r, path));
		free(below);
	}
	stash_buf_destroy(buf);
}

struct sup_spec *
real_sup_spec(struct real *r, const char *path)
{
	struct sup_spec *spec = world_spec(&r->w, path);

	if (spec != NULL)
		add_plans(r, spec, path, false);
	return spec;
}

/* ---- the config file ---- */

static void
put_word(FILE *f, const struct item *it, const char *key)
{
	const char *value = item_option(it, key);

	if (value != NULL)
		fprintf(f, " %s = \"%s\";", key, value);
}

static void
put_number(FILE *f, const struct item *it, const char *key)
{
	const char *value = item_option(it, key);

	if (value != NULL && strspn(value, "0123456789") == strlen(value))
		fprintf(f, " %s = %s;", key, value);
	else
		put_word(f, it, key);
}

static void put_children(struct real *r, FILE *f, const struct path *p);

static void
put_child(struct real *r, FILE *f, const struct path *p, bool template)
{
	struct real_child *c = make_child(r, p, template);
	const char *significant = item_option(p->declared, "significant");

	fprintf(f, "{ id = \"%s\";", c->spec.id);
	put_word(f, p->declared, "restart");
	put_word(f, p->declared, "type");
	if (c->spec.shutdown_ms > 0 && item_option(p->declared, "shutdown") != NULL)
		fprintf(f, " shutdown = %d;", (int)c->spec.shutdown_ms);
	else
		put_word(f, p->declared, "shutdown");
	if (significant != NULL)
		fprintf(f, " significant = %s;", significant);
	if (p->declared->kind == ITEM_CHILD)
		fprintf(f, " name = \"%s\"; module = \"%s\"; args = [\"%s\", \"%s\"]; start_timeout = \"infinity\"; }",
		    c->spec.name, c->spec.module, c->args[0], c->args[1]);
	else
		put_children(r, f, p);
	real_child_free(c);
}

/* The supervisor's own keys, and the end of its group. */
static void
put_children(struct real *r, FILE *f, const struct path *p)
{
	size_t i;

	put_word(f, p->declared, "strategy");
	put_word(f, p->declared, "auto_shutdown");
	put_number(f, p->declared, "intensity");
	put_number(f, p->declared, "period");
	fprintf(f, " children = (");
	for (i = 0; i < p->children.count; i++) {
		fprintf(f, "%s\n", i == 0 ? "" : ",");
		put_child(r, f, world_find(&r->w, p->children.line[i]), real_is_simple(r, p->name));
	}
	fprintf(f, "); }");
}

int
real_write_config(struct real *r, const char *file)
{
	FILE *f = fopen(file, "w");
	const struct path *root = world_find(&r->w, "root");

	if (f == NULL)
		return -1;
	fprintf(f, "tree = {");
	put_children(r, f, root);
	fprintf(f, ";\n");
	return fclose(f);
}

/* ---- what a config can't say ---- */

static bool
is_wrong(const struct item *it)
{
	struct scenario one = { .item = (struct item *)(uintptr_t)it, .count = 1 };
	struct world w = { .scenario = &one };
	struct sup_spec *spec;
	bool wrong;

	world_declare(&w, it);
	spec = world_spec(&w, it->word[0]);
	wrong = sup_spec_check_flags(spec) != NULL || sup_spec_check_child(spec, STASH_AUTO_ANY_SIGNIFICANT) != NULL;
	sup_spec_unref(spec);
	world_free_paths(&w);
	return wrong;
}

static size_t
depth(const char *path)
{
	size_t n = 0;

	for (; *path != '\0'; path++)
		n += *path == '/';
	return n;
}

/* The children that a supervisor would be started with, as declared here. */
static bool
has_wrong_children(const struct world *w, const struct path *p)
{
	struct path *other;
	const char *strategy = item_option(p->declared, "strategy"), *never = item_option(p->declared, "auto_shutdown");
	size_t i, j;

	if (strategy != NULL && strcmp(strategy, "simple_one_for_one") == 0 && p->children.count != 1)
		return true;
	for (i = 0; i < p->children.count; i++) {
		other = world_find(w, p->children.line[i]);
		if ((never == NULL || strcmp(never, "never") == 0) &&
		    item_option(other->declared, "significant") != NULL &&
		    strcmp(item_option(other->declared, "significant"), "true") == 0)
			return true;
		for (j = 0; j < i; j++) {
			if (strcmp(p->children.line[i], p->children.line[j]) == 0)
				return true;
		}
	}
	return false;
}

/* One declaration, and what was declared before it. */
static bool
is_beyond_config(struct world *w, const struct item *it)
{
	const struct path *before = world_find(w, it->word[0]);
	const char *init = item_option(it, "init");
	bool again = before != NULL && before->block != w->block;

	if (is_wrong(it) || (it->kind == ITEM_SUPERVISOR && init != NULL && strcmp(init, "ok") != 0))
		return true;
	/* A restart of the supervisor above would use what is declared then. */
	return again && (it->kind == ITEM_SUPERVISOR || depth(it->word[0]) > 1);
}

bool
real_needs_host(const struct scenario *s)
{
	struct world w = { .scenario = s };
	struct path *p;
	bool needs = false;
	size_t i;

	for (i = 0; i < s->count && !needs; i++) {
		if (s->item[i].kind > ITEM_CHILD) {
			w.block++;
			continue;
		}
		needs = is_beyond_config(&w, &s->item[i]);
		world_declare(&w, &s->item[i]);
	}
	for (p = w.paths; p != NULL && !needs; p = p->next)
		needs = p->declared->kind == ITEM_SUPERVISOR && has_wrong_children(&w, p);
	world_free_paths(&w);
	return needs;
}
