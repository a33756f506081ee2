/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect registry: who has which name, a child's own or a further one, how long its value is, and since when;
 * and who is in which group.
 */
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "stash-inspect/inspect.h"

/* A name; of a further one `process' is its owner. */
struct entry {
	char name[STASH_NAME_MAX + 1];
	char owner[STASH_NAME_MAX + 1]; /* "": the name is the child's own */
	struct stash_process process;
	int64_t since_ns;
	int64_t value; /* its length; -1: none */
};

struct member {
	char group[STASH_NAME_MAX + 1], name[STASH_NAME_MAX + 1];
};

struct listing {
	const struct look *look;
	const char *prefix;
	struct entry *entries;
	size_t nentries, nown; /* own names come first, in order */
	struct member *members;
	size_t nmembers;
};

static bool
wanted(const struct listing *l, const char *name)
{
	return strncmp(name, l->prefix, strlen(l->prefix)) == 0;
}

static struct entry *
add(struct listing *l, const char *name)
{
	struct entry *e;

	l->entries = tool_realloc(l->entries, (l->nentries + 1) * sizeof *l->entries);
	e = &l->entries[l->nentries++];
	memset(e, 0, sizeof *e);
	strlcpy(e->name, name, sizeof e->name);
	e->value = -1;
	return e;
}

static int
take_own(void *arg, const struct stash__registry_row *row)
{
	struct entry *e = add(arg, row->process.name);

	e->process = row->process;
	e->since_ns = row->since_ns;
	return 0;
}

static int
compare(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static struct entry *
find(const struct listing *l, size_t count, const char *name)
{
	struct entry key;

	strlcpy(key.name, name, sizeof key.name);
	return count == 0 ? NULL : bsearch(&key, l->entries, count, sizeof key, compare);
}

static int
take_further(void *arg, const struct stash__name_key *key, const struct stash__name_row *row)
{
	struct listing *l = arg;
	const struct entry *owner;
	struct entry *e;

	if (key->kind == STASH__NAME_MEMBER && wanted(l, key->name)) {
		l->members = tool_realloc(l->members, (l->nmembers + 1) * sizeof *l->members);
		strlcpy(l->members[l->nmembers].group, key->name, sizeof l->members->group);
		strlcpy(l->members[l->nmembers++].name, key->other, sizeof l->members->name);
	}
	if (key->kind != STASH__NAME_ALIAS)
		return 0;
	e = add(l, key->name);
	owner = find(l, l->nown, row->owner);
	if (owner != NULL)
		e->process = owner->process;
	strlcpy(e->owner, row->owner, sizeof e->owner);
	e->since_ns = row->since_ns;
	return 0;
}

static int
take_value(void *arg, const struct stash__name_key *key, const struct stash__name_row *row)
{
	struct listing *l = arg;
	struct entry *e = key->kind == STASH__NAME_VALUE ? find(l, l->nentries, key->name) : NULL;

	if (e != NULL)
		e->value = (int64_t)row->total;
	return 0;
}

static int
collect(struct listing *l)
{
	int code = stash__store_registry(l->look->store, take_own, l);

	/* In the store they stand by their bytes, of which no sign matters. */
	if (l->nentries > 1)
		qsort(l->entries, l->nentries, sizeof *l->entries, compare);
	l->nown = l->nentries;
	if (code >= 0)
		code = stash__store_names(l->look->store, take_further, l);
	if (l->nentries > 1)
		qsort(l->entries, l->nentries, sizeof *l->entries, compare);
	return code < 0 ? code : stash__store_names(l->look->store, take_value, l);
}

/* ---- as a table ---- */

static void
print_names(const struct listing *l, FILE *out)
{
	static const char *const titles[] = { "NAME", "CHILD", "STATUS", ">PID", ">INCARNATION", "OF", ">VALUE",
		"SINCE", NULL };
	struct tool_table *table = tool_table_create(titles);
	char text[TOOL_TIME_MAX];

	for (size_t i = 0; i < l->nentries; i++) {
		const struct entry *e = &l->entries[i];

		if (!wanted(l, e->name))
			continue;
		tool_cell(table, "%s", e->name);
		tool_cell(table, "%s", *e->process.child != '\0' ? e->process.child : "-");
		tool_cell(table, "%s", tool_status_word(&e->process));
		tool_cell_count(table, (uint64_t)e->process.pid);
		tool_cell_count(table, e->process.incarnation);
		tool_cell(table, "%s", *e->owner != '\0' ? e->owner : "-");
		if (e->value >= 0)
			tool_cell(table, "%lld", (long long)e->value);
		else
			tool_cell(table, "-");
		tool_cell(table, "%s", tool_time_local(e->since_ns, text));
	}
	tool_table_print(table, out);
	tool_table_destroy(table);
}

static void
print_groups(const struct listing *l, FILE *out)
{
	static const char *const titles[] = { "GROUP", "MEMBER", NULL };
	struct tool_table *table;

	if (l->nmembers == 0)
		return;
	table = tool_table_create(titles);
	for (size_t i = 0; i < l->nmembers; i++) {
		tool_cell(table, "%s", l->members[i].group);
		tool_cell(table, "%s", l->members[i].name);
	}
	fputc('\n', out);
	tool_table_print(table, out);
	tool_table_destroy(table);
}

/* ---- as JSON ---- */

static void
json_names(const struct listing *l)
{
	for (size_t i = 0; i < l->nentries; i++) {
		const struct entry *e = &l->entries[i];
		json_t *line;

		if (!wanted(l, e->name))
			continue;
		line = tool_json_process(&e->process);
		tool_json_set(line, "name", tool_json_string(e->name));
		tool_json_set(line, "of", *e->owner != '\0' ? tool_json_string(e->owner) : json_null());
		tool_json_set(line, "value_bytes", e->value >= 0 ? json_integer(e->value) : json_null());
		tool_json_set(line, "since", tool_json_time(e->since_ns));
		look_mark(l->look, line);
		tool_json_line(l->look->t, line);
	}
}

static void
json_groups(const struct listing *l)
{
	for (size_t i = 0, n; i < l->nmembers; i += n) {
		json_t *line = tool_json(), *members = json_array();

		for (n = 0; i + n < l->nmembers && strcmp(l->members[i + n].group, l->members[i].group) == 0; n++)
			(void)json_array_append_new(members, tool_json_string(l->members[i + n].name));
		tool_json_set(line, "group", tool_json_string(l->members[i].group));
		tool_json_set(line, "members", members);
		look_mark(l->look, line);
		tool_json_line(l->look->t, line);
	}
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct listing l = { .prefix = argc > 1 ? argv[1] : "" };
	struct look look;
	int status = look_open(t, &look), code;

	if (status != 0)
		return status;
	l.look = &look;
	code = collect(&l);
	if (code < 0) {
		status = tool_error(t, code, "registry");
	} else if (t->json) {
		json_names(&l);
		json_groups(&l);
	} else {
		print_names(&l, t->out);
		print_groups(&l, t->out);
	}
	free(l.entries);
	free(l.members);
	look_close(&look);
	return status;
}

const struct tool_command inspect_registry = {
	.name = "registry",
	.usage = "[PREFIX]",
	.help = "who has which name, and who is in which group",
	.max = 1,
	.run = run,
};
