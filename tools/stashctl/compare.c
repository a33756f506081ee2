/* SPDX-License-Identifier: ISC */
/*
 * What a restore costs: the newest state that is known of each name, from the
 * slots of this boot and from the database if that can be read, against the
 * backup's, and the slots' if they are kept.
 */
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "base/text.h"
#include "reader/reader.h"
#include "stash/exchange.h"
#include "stashctl/restore.h"

#define LINES 20 /* names that are told one by one */

struct known {
	char name[STASH_NAME_MAX + 1];
	uint64_t now, then; /* versions; 0: none */
};

struct table {
	struct known *list;
	size_t count, room;
	bool then; /* which one is being filled in */
};

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct known *)a)->name, ((const struct known *)b)->name);
}

static void
add(struct table *table, const char *name, uint64_t version)
{
	struct known *k;

	if (table->count == table->room) {
		table->room = table->room * 2 + 64;
		table->list = tool_realloc(table->list, table->room * sizeof *table->list);
	}
	k = &table->list[table->count++];
	memset(k, 0, sizeof *k);
	strlcpy(k->name, name, sizeof k->name);
	*(table->then ? &k->then : &k->now) = version;
}

/* One entry for each name, with the newest of each side. */
static void
merge(struct table *table)
{
	size_t n = 0;

	if (table->count > 0)
		qsort(table->list, table->count, sizeof *table->list, by_name);
	for (size_t i = 0; i < table->count; i++) {
		struct known *k = &table->list[i], *last = n > 0 ? &table->list[n - 1] : NULL;

		if (last == NULL || strcmp(last->name, k->name) != 0) {
			table->list[n++] = *k;
			continue;
		}
		last->now = k->now > last->now ? k->now : last->now;
		last->then = k->then > last->then ? k->then : last->then;
	}
	table->count = n;
}

static int
add_stored(void *arg, const struct store_state *state)
{
	add(arg, state->name, state->version);
	return 0;
}

static int
add_slot(void *arg, const char *name, const struct stash__base *base)
{
	if (base != NULL && base->version > 0)
		add(arg, name, base->version);
	return 0;
}

static void
print(const struct restoring *r, const struct table *table)
{
	FILE *out = r->t->out;
	size_t told = 0, all = 0;

	for (size_t i = 0; i < table->count; i++) {
		const struct known *k = &table->list[i];

		if (k->now <= k->then)
			continue;
		if (all++ == 0)
			fprintf(out, "What becomes older:\n");
		if (told == LINES)
			continue;
		told++;
		fputs("  ", out);
		stash__escape_to(out, k->name, strlen(k->name));
		if (k->then > 0)
			fprintf(out, ": version %llu instead of %llu\n", (unsigned long long)k->then,
			    (unsigned long long)k->now);
		else
			fprintf(out, ": no state instead of version %llu\n", (unsigned long long)k->now);
	}
	if (all > told)
		fprintf(out, "  and %zu more\n", all - told);
	if (all == 0 && !r->damaged)
		fprintf(out, "Nothing that is known becomes older.\n");
}

int
ctl_compare(const struct restoring *r, bool with_slots)
{
	struct store_options options = { .map_bytes = stash__reader_map_bytes };
	struct table table = { .list = NULL };
	char path[PATH_MAX + 16];
	int code = 0;

	snprintf(path, sizeof path, "%s/data.mdb", r->dir);
	if (r->has_data && !r->damaged)
		code = store_list_states(path, &options, add_stored, &table);
	if (code == 0 && r->has_info)
		code = stash__exchange_each(r->info.run_dir, &r->origin, add_slot, &table);
	table.then = true;
	if (code == 0 && r->backup.path[0] != '\0')
		code = store_list_states(r->backup.path, &options, add_stored, &table);
	if (code == 0 && with_slots && r->has_info)
		code = stash__exchange_each(r->info.run_dir, &r->origin, add_slot, &table);
	if (code == 0) {
		merge(&table);
		print(r, &table);
	}
	free(table.list);
	return code;
}
