/* SPDX-License-Identifier: ISC */
/*
 * namequery.c: what clients ask about the registry, and what they are told of it unasked.
 */
#include <string.h>

#include <bsd/string.h>

#include "base/error.h"
#include "stashd/server.h"

/* ---- names by prefix ---- */

static bool
begins(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* The next child's own name behind one, by name; NULL begins, NULL ends. */
static struct worker *
next_own(struct server *s, struct worker *w, const char *prefix)
{
	struct worker key = { .name = (char *)(uintptr_t)prefix };

	w = w == NULL ? RB_NFIND(worker_names, &s->names, &key) : RB_NEXT(worker_names, &s->names, w);
	while (w != NULL && begins(w->name, prefix) && sup_find_name(s->machine, w->name) == NULL)
		w = RB_NEXT(worker_names, &s->names, w);
	return w != NULL && begins(w->name, prefix) ? w : NULL;
}

static void
add(struct server *s, struct query_list *list, const char *name)
{
	const struct sup_node *node = registry_node(s, name);
	struct stash_process process;

	if (node == NULL)
		return;
	query_fill(s, node, &process);
	strlcpy(process.name, name, sizeof(process.name));
	query_list_add(list, &process);
}

void
query_names(struct peer *p, uint64_t number, const char *prefix)
{
	struct server *s = p->server;
	struct query_list list;
	struct worker *w = next_own(s, NULL, prefix);
	const struct alias *a = registry_next(s, NULL, prefix);

	query_list_begin(&list, p, number);
	while (w != NULL || a != NULL) {
		if (a == NULL || (w != NULL && strcmp(w->name, a->name) <= 0)) {
			add(s, &list, w->name);
			w = next_own(s, w, prefix);
		} else {
			add(s, &list, a->name);
			a = registry_next(s, a, prefix);
		}
	}
	query_list_end(&list);
}

/* ---- values, groups ---- */

void
query_value(struct peer *p, uint64_t number, const char *name)
{
	struct server *s = p->server;
	const struct value *v = registry_value(s, name);
	struct stash_buf *buf;

	if (v == NULL) {
		peer_result(p, STASH__B_VALUE_OF, number, STASH_E_NOENT,
		    registry_node(s, name) != NULL ? "the name has no value" : "there is no such name");
		return;
	}
	buf = mail_begin(STASH__B_VALUE_OF, number);
	stash_buf_add_int(buf, 0);
	stash_buf_add_text(buf, "");
	stash_buf_add_bytes(buf, v->data, v->len);
	peer_send(p, buf, NULL, 0);
}

void
query_group(struct peer *p, uint64_t number, const char *group)
{
	struct server *s = p->server;
	const struct member *m = NULL;
	struct query_list list;

	query_list_begin(&list, p, number);
	while ((m = group_next(s, group, m)) != NULL)
		add(s, &list, m->worker->name);
	query_list_end(&list);
}

/* ---- unasked ---- */

void
query_freed(struct worker *before, const char *alias)
{
	const struct channel *c;
	const struct peer *last = NULL;
	struct stash_buf *buf;

	LIST_FOREACH(c, &before->channels, of_worker) {
		if (c->peer == NULL || c->peer == last)
			continue;
		last = c->peer;
		buf = mail_begin(STASH__B_FREED, 0);
		stash_buf_add_text(buf, alias);
		peer_send(c->peer, buf, NULL, 0);
	}
}
