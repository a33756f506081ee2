/* SPDX-License-Identifier: ISC */
/*
 * Who there is: names with a state or an owner, the registry, and the tree. It is
 * gathered from slots, from the store and, while a stashd runs, from the
 * supervisor; offline nothing is said to run whose process isn't there.
 */
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "base/error.h"
#include "base/name.h"
#include "reader/reader.h"
#include "store/row.h"

/* How slots of workers without a name begin, in src/stashd. */
#define UNNAMED "unnamed~"

struct listing {
	struct stash_store *store;
	const char *prefix;
	struct stash_process *list;
	size_t count, room;
};

static int
append(struct listing *l, const struct stash_process *process)
{
	if (l->count == l->room) {
		size_t room = l->room * 2 + 16;
		struct stash_process *list = reallocarray(l->list, room, sizeof *list);

		if (list == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for a list of %zu processes", room);
		l->list = list;
		l->room = room;
	}
	l->list[l->count++] = *process;
	return STASH_OK;
}

static int
give_all(const struct listing *l, stash_process_fn *fn, void *arg)
{
	int result = 0;

	for (size_t i = 0; i < l->count && result == 0; i++)
		result = fn(arg, &l->list[i]);
	return result;
}

/* ---- registry ---- */

struct registry {
	struct stash_store *store;
	int online;
	int (*fn)(void *arg, const struct stash__registry_row *row);
	void *arg;
};

/* What a row says of a process is true only while that process is there. */
static void
correct(const struct registry *r, struct stash__registry_row *row)
{
	struct stash_process *p = &row->process;
	bool same_boot = memcmp(row->boot_id, r->store->boot_id, sizeof row->boot_id) == 0;

	if (r->online)
		return;
	if (!same_boot || !stash__reader_alive((uint64_t)p->pid, p->start_time)) {
		p->pid = 0;
		p->start_time = 0;
		p->status = STASH_STOPPED;
	}
}

static int
give_registry(void *arg, const struct store_row *row)
{
	struct registry *r = arg;
	struct stash__registry_row registry;
	struct stash__name_key key;
	int result = stash__name_key_split(row->key, row->klen, &key);

	/* Aliases and the like are no child's own names. */
	if (result < 0 || key.kind != STASH__NAME_OWN)
		return result;
	result = stash__unpack_registry(row->value, row->vlen, &registry);
	if (result < 0)
		return result;
	correct(r, &registry);
	return r->fn(r->arg, &registry);
}

static int
scan_registry(struct stash_store *store, int (*fn)(void *arg, const struct stash__registry_row *row), void *arg)
{
	struct store_scan scan = { .db = STORE_DB_REGISTRY };
	struct registry r = { .store = store, .fn = fn, .arg = arg };

	r.online = stash__reader_online(store);
	return r.online < 0 ? r.online : stash__reader_scan(store, &scan, give_registry, &r);
}

int
stash__store_registry(struct stash_store *store, int (*fn)(void *arg, const struct stash__registry_row *row), void *arg)
{
	int result = stash__reader_enter(store);

	if (result < 0)
		return result;
	result = scan_registry(store, fn, arg);
	stash__reader_leave(store);
	return result;
}

/* ---- names ---- */

static bool
wanted(const struct listing *l, const char *name)
{
	return *name != '\0' && (l->prefix == NULL || strncmp(name, l->prefix, strlen(l->prefix)) == 0);
}

static int
add_process(void *arg, const struct stash_process *process)
{
	return wanted(arg, process->name) ? append(arg, process) : STASH_OK;
}

static int
add_owner(void *arg, const struct stash__registry_row *row)
{
	return add_process(arg, &row->process);
}

/* A name of which nothing is known but that it has a state. */
static int
add_name(struct listing *l, const char *name, uint64_t version)
{
	struct stash_process process = { .version = version };

	strlcpy(process.name, name, sizeof process.name);
	return append(l, &process);
}

static int
add_state(void *arg, const struct store_row *row)
{
	struct store_state state;
	char name[STASH_NAME_MAX + 1];
	uint32_t top;
	int result;

	if (store_key_split(row->key, row->klen, sizeof(uint32_t), name) == 0 || !wanted(arg, name))
		return STASH_OK;
	result = store_head_read(STORE_DB_STATE, row, &state, &top);
	return result < 0 ? result : add_name(arg, name, state.version);
}

static int
add_slot(void *arg, const char *name)
{
	struct listing *l = arg;
	struct stash_state state;

	/* One that is just being made or taken away is none; a worker without a name has a slot, but no name. */
	if (!wanted(l, name) || strncmp(name, UNNAMED, strlen(UNNAMED)) == 0 ||
	    stash__slot_read(l->store, name, true, &state, NULL) < 0)
		return STASH_OK;
	return add_name(l, name, state.version);
}

static int
collect(struct listing *l)
{
	struct store_scan states = { .db = STORE_DB_STATE, .flags = STORE_SCAN_HEADS };
	int online = stash__reader_online(l->store), result;

	if (online < 0)
		return online;
	if (l->prefix != NULL && *l->prefix != '\0') {
		states.prefix = l->prefix;
		states.prefix_len = strlen(l->prefix);
	}
	result = online ? stash__ask_processes(l->store, add_process, l) : scan_registry(l->store, add_owner, l);
	if (result == STASH_OK)
		result = stash__reader_scan(l->store, &states, add_state, l);
	if (result == STASH_OK)
		result = stash__slot_names(l->store, add_slot, l);
	return result;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct stash_process *)a)->name, ((const struct stash_process *)b)->name);
}

/* What was found at several places becomes one: the newest version, and whose child it is. */
static void
merge(struct listing *l)
{
	struct stash_process *to, *p;
	size_t n = 0;

	if (l->count > 0)
		qsort(l->list, l->count, sizeof *l->list, by_name);
	for (size_t i = 0; i < l->count; i++) {
		p = &l->list[i];
		if (n == 0 || strcmp(l->list[n - 1].name, p->name) != 0) {
			l->list[n++] = *p;
			continue;
		}
		to = &l->list[n - 1];
		if (p->version < to->version)
			p->version = to->version;
		to->version = p->version;
		if (*p->child != '\0')
			*to = *p;
	}
	l->count = n;
}

int
stash_store_list(struct stash_store *store, const char *prefix, stash_process_fn *fn, void *arg)
{
	struct listing l = { .store = store, .prefix = prefix };
	int result;

	if (fn == NULL)
		return stash__fail(STASH_E_INVAL, "stash_store_list: fn is NULL");
	result = stash__reader_enter(store);
	if (result < 0)
		return result;
	result = collect(&l);
	if (result == STASH_OK) {
		merge(&l);
		result = give_all(&l, fn, arg);
	}
	free(l.list);
	stash__reader_leave(store);
	return result;
}

/* ---- the tree ---- */

static int
add_any(void *arg, const struct stash_process *process)
{
	struct listing *l = arg;

	/* The next supervisor, asked again, begins again. */
	if (l->count > 0 && strcmp(l->list[0].child, process->child) == 0)
		l->count = 0;
	return append(l, process);
}

static int
add_row(void *arg, const struct stash__registry_row *row)
{
	return append(arg, &row->process);
}

/* By path, '/' before every other character, so that what is below stands right behind. */
static int
by_path(const void *a, const void *b)
{
	const unsigned char *x = (const unsigned char *)((const struct stash_process *)a)->child;
	const unsigned char *y = (const unsigned char *)((const struct stash_process *)b)->child;

	while (*x != '\0' && *x == *y) {
		x++;
		y++;
	}
	return (*x == '/' ? 1 : *x) - (*y == '/' ? 1 : *y);
}

/* Asked first and told then, so that fn may take its time. */
static int
collect_tree(struct listing *l)
{
	int online = stash__reader_online(l->store), result;

	if (online != 0)
		return online < 0 ? online : stash__ask_processes(l->store, add_any, l);
	result = scan_registry(l->store, add_row, l);
	if (result == STASH_OK && l->count > 0)
		qsort(l->list, l->count, sizeof *l->list, by_path);
	return result;
}

/* The supervisor doesn't look into slots: how far a worker is they alone know. */
static void
add_versions(struct listing *l)
{
	struct stash_state state;

	for (size_t i = 0; i < l->count; i++) {
		if (*l->list[i].name != '\0' &&
		    stash__slot_read(l->store, l->list[i].name, true, &state, NULL) == STASH_OK)
			l->list[i].version = state.version;
	}
}

int
stash__store_processes(struct stash_store *store, stash_process_fn *fn, void *arg)
{
	struct listing l = { .store = store };
	int result = stash__reader_enter(store);

	if (result < 0)
		return result;
	result = collect_tree(&l);
	if (result == STASH_OK) {
		add_versions(&l);
		result = give_all(&l, fn, arg);
	}
	free(l.list);
	stash__reader_leave(store);
	return result;
}
