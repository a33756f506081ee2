/* SPDX-License-Identifier: ISC */
/*
 * group.c: groups of workers under one name.  A group is there as long as it has a member; its name has nothing to do
 * with the names of workers.
 */
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "base/error.h"
#include "stashd/server.h"

int
member_compare(const struct member *a, const struct member *b)
{
	int order = strcmp(a->group, b->group);

	return order != 0 ? order : strcmp(a->worker->name, b->worker->name);
}

RB_GENERATE(members, member, by_group, member_compare)

static struct member *
find(struct worker *w, const char *group)
{
	struct member key = { .worker = w };

	strlcpy(key.group, group, sizeof(key.group));
	return RB_FIND(members, &w->server->registry.members, &key);
}

static int
add(struct worker *w, const char *group, int64_t since_ns)
{
	struct member *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return stash__fail(STASH_E_NOMEM, "the supervisor has no memory for a member of a group");
	strlcpy(m->group, group, sizeof(m->group));
	m->worker = w;
	m->since_ns = since_ns;
	RB_INSERT(members, &w->server->registry.members, m);
	LIST_INSERT_HEAD(&w->has.members, m, of_worker);
	return 0;
}

static void
leave(struct member *m, bool row)
{
	struct server *s = m->worker->server;

	if (row)
		registry_row(s, STASH__NAME_MEMBER, m->group, m->worker->name, NULL);
	RB_REMOVE(members, &s->registry.members, m);
	LIST_REMOVE(m, of_worker);
	free(m);
}

int
group_join(struct worker *w, const char *group)
{
	struct stash__name_row row = { .since_ns = stash__time_ns() };
	int result = find(w, group) != NULL ? 1 : add(w, group, row.since_ns);

	if (result == 0)
		registry_row(w->server, STASH__NAME_MEMBER, group, w->name, &row);
	return result < 0 ? result : 0;
}

int
group_leave(struct worker *w, const char *group)
{
	struct member *m = find(w, group);

	if (m != NULL)
		leave(m, true);
	return 0;
}

void
group_over(struct worker *w)
{
	while (!LIST_EMPTY(&w->has.members))
		leave(LIST_FIRST(&w->has.members), true);
}

const struct member *
group_next(struct server *s, const char *group, const struct member *m)
{
	struct worker first = { .name = (char *)(uintptr_t) "" };
	struct member key = { .worker = &first };

	strlcpy(key.group, group, sizeof(key.group));
	m = m == NULL ? RB_NFIND(members, &s->registry.members, &key) :
			RB_NEXT(members, &s->registry.members, (struct member *)(uintptr_t)m);
	return m != NULL && strcmp(m->group, group) == 0 ? m : NULL;
}

int
group_load(struct worker *w, const char *group, const struct stash__name_row *row)
{
	return find(w, group) != NULL ? 0 : add(w, group, row->since_ns);
}

void
group_free(struct server *s)
{
	while (!RB_EMPTY(&s->registry.members))
		leave(RB_ROOT(&s->registry.members), false);
}
