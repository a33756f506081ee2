/* SPDX-License-Identifier: ISC */
/*
 * Last states, their history, and waiting for a newer one. A slot is always at
 * least as new as the store: the store is asked only for names without one.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/name.h"
#include "reader/reader.h"

/* Between two looks while waiting: at first, and at most. */
#define LOOK_MIN_NS (STASH__NS_PER_MS / 2)
#define LOOK_MAX_NS (20 * STASH__NS_PER_MS)
/* How often the store is asked while there is no slot. */
#define ASK_NS (500 * STASH__NS_PER_MS)

void
stash_state_free(struct stash_state *state)
{
	if (state == NULL)
		return;
	free(state->data);
	memset(state, 0, sizeof *state);
}

/* ---- states out of rows ---- */

struct gathering {
	struct store_gather *gather;
	struct stash_state *state; /* the one that is wanted; NULL: all go to list */
	struct stored *list;
	size_t count, room;
};

struct stored {
	uint64_t number; /* how many were stored up to it */
	struct stash_state state;
};

static void
convert(const struct store_state *from, struct stash_state *to)
{
	memset(to, 0, sizeof *to);
	to->len = from->len;
	to->version = from->version;
	to->committed_ns = from->committed_ns;
	to->layout_version = from->layout_version;
	strlcpy(to->layout, from->layout, sizeof to->layout);
}

static int
take_whole(void *arg, const struct store_state *found)
{
	struct gathering *g = arg;
	unsigned char *copy = malloc(found->len + 1);

	if (copy == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a state of %zu bytes", found->len);
	if (found->len > 0)
		memcpy(copy, found->data, found->len);
	copy[found->len] = '\0';
	free(g->state->data);
	convert(found, g->state);
	g->state->data = copy;
	return STASH_OK;
}

static int
take_head(void *arg, const struct store_state *found)
{
	struct gathering *g = arg;

	if (g->count == g->room) {
		size_t room = g->room * 2 + 32;
		struct stored *list = reallocarray(g->list, room, sizeof *list);

		if (list == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for the history of a state");
		g->list = list;
		g->room = room;
	}
	g->list[g->count].number = found->stored;
	convert(found, &g->list[g->count].state);
	g->count++;
	return STASH_OK;
}

static int
feed(void *arg, const struct store_row *row)
{
	struct gathering *g = arg;

	return store_gather_row(g->gather, row);
}

/* All states of a name in one database. */
static int
gather(struct stash_store *store, enum store_db db, const char *name, bool heads, struct gathering *g)
{
	unsigned char prefix[STORE_PREFIX_MAX];
	struct store_scan scan = { .db = db, .prefix = prefix, .flags = heads ? STORE_SCAN_HEADS : 0 };
	int result = store_key_prefix(name, prefix);

	if (result < 0)
		return result;
	scan.prefix_len = (size_t)result;
	g->gather = store_gather_create(db, heads, heads ? take_head : take_whole, g);
	if (g->gather == NULL)
		return STASH_E_NOMEM;
	result = stash__reader_scan(store, &scan, feed, g);
	if (result == STASH_OK)
		result = store_gather_end(g->gather);
	store_gather_destroy(g->gather);
	return result;
}

/* ---- read ---- */

static int
nothing(const char *name)
{
	return stash__fail(STASH_E_NOENT, "\"%s\" has no state: nothing of that name was ever committed", name);
}

static int
read_stored(struct stash_store *store, const char *name, struct stash_state *state)
{
	struct gathering g = { .state = state };
	int result = gather(store, STORE_DB_STATE, name, false, &g);

	if (result == STASH_OK && state->version == 0)
		result = nothing(name);
	return result;
}

int
stash_store_read(struct stash_store *store, const char *name, struct stash_state *state)
{
	int result;

	if (state == NULL)
		return stash__fail(STASH_E_INVAL, "stash_store_read: state is NULL");
	memset(state, 0, sizeof *state);
	result = stash__reader_enter(store);
	if (result < 0)
		return result;
	result = stash__check_name(name);
	if (result == STASH_OK) {
		result = stash__slot_read(store, name, false, state, NULL);
		if (result == STASH_E_NOENT || (result == STASH_OK && state->version == 0)) {
			stash_state_free(state);
			result = read_stored(store, name, state);
		}
	}
	stash__reader_leave(store);
	if (result < 0)
		stash_state_free(state);
	return result;
}

/* ---- history ---- */

static int
newest_first(const void *a, const void *b)
{
	const struct stored *x = a, *y = b;

	return x->number < y->number ? 1 : x->number > y->number ? -1 : 0;
}

/* The current state may stand among the earlier ones too. */
static int
give_history(const struct gathering *g, int (*fn)(void *arg, const struct stash_state *state), void *arg)
{
	int result = 0;

	if (g->count > 0)
		qsort(g->list, g->count, sizeof *g->list, newest_first);
	for (size_t i = 0; i < g->count && result == 0; i++) {
		if (i == 0 || g->list[i].number != g->list[i - 1].number)
			result = fn(arg, &g->list[i].state);
	}
	return result;
}

int
stash_store_history(
    struct stash_store *store, const char *name, int (*fn)(void *arg, const struct stash_state *state), void *arg)
{
	struct gathering g = { .state = NULL };
	int result;

	if (fn == NULL)
		return stash__fail(STASH_E_INVAL, "stash_store_history: fn is NULL");
	result = stash__reader_enter(store);
	if (result < 0)
		return result;
	result = stash__check_name(name);
	if (result == STASH_OK)
		result = gather(store, STORE_DB_STATE, name, true, &g);
	if (result == STASH_OK)
		result = gather(store, STORE_DB_HISTORY, name, true, &g);
	if (result == STASH_OK && g.count == 0)
		result = stash__fail(STASH_E_NOENT, "\"%s\" has no stored states", name);
	if (result == STASH_OK)
		result = give_history(&g, fn, arg);
	free(g.list);
	stash__reader_leave(store);
	return result;
}

/* ---- wait ---- */

/* The newest version there is; 0: none. The store is asked only now and then. */
static int
look_version(struct stash_store *store, const char *name, int64_t *ask_at, uint64_t *version)
{
	struct gathering g = { .state = NULL };
	struct stash_state head;
	int result = stash__slot_read(store, name, true, &head, NULL);

	*version = result == STASH_OK ? head.version : 0;
	if (result < 0 && result != STASH_E_NOENT)
		return result;
	if (*version > 0 || stash__now_ns() < *ask_at)
		return STASH_OK;
	result = gather(store, STORE_DB_STATE, name, true, &g);
	if (result == STASH_OK && g.count > 0)
		*version = g.list[0].state.version;
	free(g.list);
	*ask_at = stash__now_ns() + ASK_NS;
	return result;
}

static void
nap(int64_t ns, int64_t deadline)
{
	int64_t until = stash__now_ns() + ns;
	struct timespec at;

	if (until > deadline)
		until = deadline;
	at = (struct timespec){ .tv_sec = until / STASH__NS_PER_S, .tv_nsec = until % STASH__NS_PER_S };
	/* A signal doesn't end the wait. */
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) != 0)
		continue;
}

static int
wait_newer(struct stash_store *store, const char *name, uint64_t after_version, int timeout_ms)
{
	int64_t deadline = stash__deadline_ns(timeout_ms), pause = LOOK_MIN_NS, ask_at = 0;
	uint64_t version;
	int result;

	for (;;) {
		result = look_version(store, name, &ask_at, &version);
		if (result < 0 || version > after_version)
			return result;
		if (stash__now_ns() >= deadline)
			return stash__fail(
			    STASH_E_TIMEDOUT, "\"%s\" is at version %llu still", name, (unsigned long long)version);
		/* No other process is kept from the store while this one sleeps. */
		stash__reader_release(store);
		nap(pause, deadline);
		pause = pause * 2 > LOOK_MAX_NS ? LOOK_MAX_NS : pause * 2;
	}
}

int
stash_store_wait(struct stash_store *store, const char *name, uint64_t after_version, int timeout_ms)
{
	int result = stash__reader_enter(store);

	if (result < 0)
		return result;
	result = stash__check_name(name);
	if (result == STASH_OK)
		result = wait_newer(store, name, after_version, timeout_ms);
	stash__reader_leave(store);
	return result;
}
