/* SPDX-License-Identifier: ISC */
/*
 * registry.c: aliases and values, and the way of all that a worker has: from the rows of an earlier supervisor to the
 * end of the child for good.  A name is unique among the children's own names and the aliases; a child's own name wins
 * where both come together.
 */
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/name.h"
#include "shm/checksum.h"
#include "stashd/rowset.h"
#include "stashd/server.h"

int
alias_compare(const struct alias *a, const struct alias *b)
{
	return strcmp(a->name, b->name);
}

int
value_compare(const struct value *a, const struct value *b)
{
	return strcmp(a->name, b->name);
}

RB_GENERATE(aliases, alias, by_name, alias_compare)
RB_GENERATE(values, value, by_name, value_compare)

/* ---- looking ---- */

static struct alias *
find_alias(struct server *s, const char *name)
{
	struct alias key;

	strlcpy(key.name, name, sizeof(key.name));
	return strlen(name) <= STASH_NAME_MAX ? RB_FIND(aliases, &s->registry.aliases, &key) : NULL;
}

static struct value *
find_value(struct server *s, const char *name)
{
	struct value key;

	strlcpy(key.name, name, sizeof(key.name));
	return strlen(name) <= STASH_NAME_MAX ? RB_FIND(values, &s->registry.values, &key) : NULL;
}

const struct alias *
registry_alias(struct server *s, const char *name)
{
	return find_alias(s, name);
}

const struct alias *
registry_next(struct server *s, const struct alias *from, const char *prefix)
{
	struct alias key, *a;

	strlcpy(key.name, prefix, sizeof(key.name));
	a = from == NULL ? RB_NFIND(aliases, &s->registry.aliases, &key) :
			   RB_NEXT(aliases, &s->registry.aliases, (struct alias *)(uintptr_t)from);
	return a != NULL && strncmp(a->name, prefix, strlen(prefix)) == 0 ? a : NULL;
}

const struct value *
registry_value(struct server *s, const char *name)
{
	return find_value(s, name);
}

const struct sup_node *
registry_node(struct server *s, const char *name)
{
	const struct sup_node *node = sup_find_name(s->machine, name);
	const struct alias *a = node == NULL ? find_alias(s, name) : NULL;

	return a != NULL && a->owner->listed != 0 ? sup_find(s->machine, a->owner->listed) : node;
}

struct worker *
registry_worker(struct server *s, const char *name)
{
	const struct alias *a;

	if (sup_find_name(s->machine, name) != NULL)
		return worker_get(s, name);
	a = find_alias(s, name);
	return a != NULL ? a->owner : worker_expected(s, name);
}

/* ---- rows ---- */

void
registry_row(struct server *s, enum stash__name_kind kind, const char *name, const char *other,
    const struct stash__name_row *row)
{
	struct stash_buf *buf = &s->records.scratch;
	char key[STASH__NAME_KEY_MAX];
	size_t key_len = stash__name_key(key, kind, name, other, 0), len;
	const void *data;

	if (row == NULL) {
		records_del(s, STASH__SCAN_REGISTRY, key, key_len);
		return;
	}
	stash__buf_reset(buf);
	if (stash__name_pack(buf, kind, row) == 0 && stash_buf_data(buf, &data, &len) == 0)
		records_put(s, STASH__SCAN_REGISTRY, key, key_len, data, len);
}

static unsigned
parts(size_t len)
{
	return len == 0 ? 1 : (unsigned)((len + STASH__VALUE_PART - 1) / STASH__VALUE_PART);
}

/* All parts of a value; those that the one before had beyond them go. */
static void
put_value_rows(struct server *s, const struct value *v, unsigned before)
{
	struct stash__name_row row = {
		.owner = v->owner->name, .since_ns = v->since_ns, .total = v->len, .data = v->data
	};
	char key[STASH__NAME_KEY_MAX];
	size_t key_len;

	row.len = v->len < STASH__VALUE_PART ? v->len : STASH__VALUE_PART;
	row.sum = XXH3_64bits(v->data, v->len);
	registry_row(s, STASH__NAME_VALUE, v->name, NULL, &row);
	for (unsigned i = 1; i < parts(v->len) || i < before; i++) {
		key_len = stash__name_key(key, STASH__NAME_VALUE, v->name, NULL, i);
		if (i < parts(v->len))
			records_put(s, STASH__SCAN_REGISTRY, key, key_len, v->data + (size_t)i * STASH__VALUE_PART,
			    i + 1 < parts(v->len) ? STASH__VALUE_PART : v->len - (size_t)i * STASH__VALUE_PART);
		else
			records_del(s, STASH__SCAN_REGISTRY, key, key_len);
	}
}

static void
delete_value_rows(struct server *s, const struct value *v)
{
	char key[STASH__NAME_KEY_MAX];

	for (unsigned i = 0; i < parts(v->len); i++)
		records_del(s, STASH__SCAN_REGISTRY, key, stash__name_key(key, STASH__NAME_VALUE, v->name, NULL, i));
}

/* ---- aliases ---- */

static struct alias *
add_alias(struct worker *w, const char *name, int64_t since_ns)
{
	struct alias *a = calloc(1, sizeof(*a));

	if (a == NULL) {
		(void)stash__fail(STASH_E_NOMEM, "the supervisor has no memory for a name");
		return NULL;
	}
	strlcpy(a->name, name, sizeof(a->name));
	a->owner = w;
	a->since_ns = since_ns;
	RB_INSERT(aliases, &w->server->registry.aliases, a);
	LIST_INSERT_HEAD(&w->has.aliases, a, of_owner);
	return a;
}

static void
remove_alias(struct server *s, struct alias *a)
{
	RB_REMOVE(aliases, &s->registry.aliases, a);
	LIST_REMOVE(a, of_owner);
	free(a);
}

int
registry_register(struct worker *w, const char *alias)
{
	struct server *s = w->server;
	const struct alias *a = find_alias(s, alias);
	const struct sup_node *node = sup_find_name(s->machine, alias);
	const struct worker *other = node == NULL ? worker_expected(s, alias) : NULL;
	struct stash__name_row row = { .owner = w->name, .since_ns = stash__time_ns() };

	if (strcmp(alias, w->name) == 0 || (a != NULL && a->owner == w))
		return 0;
	if (node != NULL || other != NULL)
		return stash__fail(STASH_E_EXIST, "the name %s is a child's own", alias);
	if (a != NULL)
		return stash__fail(STASH_E_EXIST, "the name %s is taken by %s", alias, a->owner->name);
	if (add_alias(w, alias, row.since_ns) == NULL)
		return STASH_E_NOMEM;
	registry_row(s, STASH__NAME_ALIAS, alias, NULL, &row);
	return 0;
}

static void
drop_value(struct server *s, struct value *v, bool row)
{
	if (row)
		delete_value_rows(s, v);
	RB_REMOVE(values, &s->registry.values, v);
	LIST_REMOVE(v, of_owner);
	free(v->data);
	free(v);
}

/* With its value.  Clients that know it are told. */
static void
free_alias(struct server *s, struct alias *a)
{
	struct value *v = find_value(s, a->name);

	if (v != NULL && v->owner == a->owner)
		drop_value(s, v, true);
	registry_row(s, STASH__NAME_ALIAS, a->name, NULL, NULL);
	query_freed(a->owner, a->name);
	remove_alias(s, a);
}

void
registry_claim(struct worker *w)
{
	struct alias *a = find_alias(w->server, w->name);

	if (a == NULL || w->spec == NULL || w->spec->name[0] == '\0')
		return;
	stash__log(LOG_WARNING, "the name %s, which %s had, is a child's own now", a->name, a->owner->name);
	free_alias(w->server, a);
}

int
registry_unregister(struct worker *w, const char *alias)
{
	struct alias *a = find_alias(w->server, alias);

	if (strcmp(alias, w->name) == 0)
		return stash__fail(STASH_E_INVAL, "%s is the child's own name: it goes with the child", alias);
	if (a == NULL)
		return 0; /* it may have been asked for before */
	if (a->owner != w)
		return stash__fail(STASH_E_EXIST, "the name %s is %s's", alias, a->owner->name);
	free_alias(w->server, a);
	return 0;
}

/* ---- values ---- */

static struct value *
add_value(struct worker *w, const char *name)
{
	struct value *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return NULL;
	strlcpy(v->name, name, sizeof(v->name));
	v->owner = w;
	RB_INSERT(values, &w->server->registry.values, v);
	LIST_INSERT_HEAD(&w->has.values, v, of_owner);
	return v;
}

static bool
is_own(struct worker *w, const char *name)
{
	const struct alias *a = find_alias(w->server, name);

	return strcmp(name, w->name) == 0 || (a != NULL && a->owner == w);
}

int
registry_put(struct worker *w, const char *name, const void *data, size_t len)
{
	struct server *s = w->server;
	struct value *v = find_value(s, name);
	unsigned before = v != NULL ? parts(v->len) : 0;
	unsigned char *copy;

	if (!is_own(w, name))
		return registry_node(s, name) != NULL ?
		    stash__fail(STASH_E_EXIST, "the name %s is somebody else's", name) :
		    stash__fail(STASH_E_NOENT, "%s has no name %s: it is to be registered first", w->name, name);
	if (len > STASH_VALUE_MAX)
		return stash__fail(
		    STASH_E_TOOBIG, "a value of %zu bytes is over the limit of %d", len, STASH_VALUE_MAX);
	if (v != NULL && v->owner == w && v->len == len && (len == 0 || memcmp(v->data, data, len) == 0))
		return 0;
	copy = malloc(len + 1);
	if (copy == NULL || (v == NULL && (v = add_value(w, name)) == NULL)) {
		free(copy);
		return stash__fail(STASH_E_NOMEM, "the supervisor has no memory for a value");
	}
	if (len > 0)
		memcpy(copy, data, len);
	free(v->data);
	v->data = copy;
	v->len = len;
	v->since_ns = stash__time_ns();
	records_submit(s); /* so that all parts of it go into one entry */
	put_value_rows(s, v, before);
	return 0;
}

/* ---- the end ---- */

void
registry_over(struct worker *w)
{
	struct server *s = w->server;

	while (!LIST_EMPTY(&w->has.aliases))
		free_alias(s, LIST_FIRST(&w->has.aliases));
	while (!LIST_EMPTY(&w->has.values))
		drop_value(s, LIST_FIRST(&w->has.values), true);
	group_over(w);
	monitor_over(w);
}

void
registry_free(struct server *s)
{
	while (!RB_EMPTY(&s->registry.aliases))
		remove_alias(s, RB_ROOT(&s->registry.aliases));
	while (!RB_EMPTY(&s->registry.values))
		drop_value(s, RB_ROOT(&s->registry.values), false);
	group_free(s);
	monitor_free(s);
}

/* ---- what an earlier supervisor has left ---- */

/* The parts of a value, which stand in the rows behind the first. */
static int
load_value(struct worker *w, const char *name, const struct stash__name_row *row, const struct rowset *rows)
{
	struct value *v = find_value(w->server, name) == NULL ? add_value(w, name) : NULL;
	size_t at = row->len;

	if (v == NULL || (v->data = malloc(row->total + 1)) == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the value of %s", name);
	v->len = row->total;
	v->since_ns = row->since_ns;
	memcpy(v->data, row->data, row->len);
	for (unsigned i = 1; at < v->len; i++) {
		char key[STASH__NAME_KEY_MAX];
		size_t n;
		const void *part;

		(void)stash__name_key(key, STASH__NAME_VALUE, name, NULL, i);
		part = rowset_registry(rows, key, &n);
		if (part == NULL || n == 0 || n > v->len - at)
			break;
		memcpy(v->data + at, part, n);
		at += n;
	}
	if (at == v->len && XXH3_64bits(v->data, v->len) == row->sum)
		return 0;
	stash__log(LOG_ERR, "the value of the name %s can't be read: it is dropped", name);
	drop_value(w->server, v, true);
	return 0;
}

struct loading {
	struct server *server;
	const struct rowset *rows;
};

static int
load_row(void *arg, const char *key, const void *data, size_t len)
{
	const struct loading *l = arg;
	struct stash__name_key k;
	struct stash__name_row row;
	struct worker *w;

	if (stash__name_key_split(key, strlen(key), &k) < 0 || k.kind == STASH__NAME_OWN || k.part > 0)
		return 0;
	if (stash__name_unpack(data, len, k.kind, &row) < 0) {
		stash__log(LOG_ERR, "of %s: %s", k.name, stash_errmsg());
		return 0;
	}
	w = worker_get(l->server,
	    k.kind == STASH__NAME_MEMBER      ? k.other :
		k.kind == STASH__NAME_MONITOR ? k.name :
		k.kind == STASH__NAME_STUCK   ? k.name :
						row.owner);
	if (w == NULL)
		return STASH_E_NOMEM;
	switch (k.kind) {
	case STASH__NAME_ALIAS:
		return find_alias(l->server, k.name) != NULL || add_alias(w, k.name, row.since_ns) != NULL ?
		    0 :
		    STASH_E_NOMEM;
	case STASH__NAME_VALUE:
		return load_value(w, k.name, &row, l->rows);
	case STASH__NAME_MEMBER:
		return group_load(w, k.name, &row);
	case STASH__NAME_MONITOR:
		/* A target that ran, and that this tree doesn't have any more, has ended. */
		if (rowset_ran(l->rows, k.other) != 0 && worker_get(l->server, k.other) == NULL)
			return STASH_E_NOMEM;
		return monitor_load(w, k.other, &row);
	case STASH__NAME_STUCK:
		stuck_load(w, &row.stuck);
		return 0;
	case STASH__NAME_OWN:
		break;
	}
	return 0;
}

int
registry_load(struct server *s, const struct rowset *rows)
{
	struct loading l = { s, rows };

	return rowset_each_registry(rows, load_row, &l);
}

void
registry_settle(struct server *s)
{
	struct worker *w;

	stuck_settle(s);
	RB_FOREACH(w, worker_names, &s->names) {
		if (w->spec != NULL && w->status != STASH_STOPPED)
			continue;
		monitor_lost(w);
		registry_over(w);
	}
	RB_FOREACH(w, worker_names, &s->names) {
		if (w->spec != NULL)
			registry_claim(w);
	}
	records_submit(s);
}
