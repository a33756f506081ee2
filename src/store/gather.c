/* SPDX-License-Identifier: ISC */
/*
 * gather.c: rows of state and history put together to states again.  The rows come from a transaction, or from a slice
 * that another process has read; each is verified or trusted by whoever feeds it, and what they say of each other is
 * checked here.  Rows with more data but no head before them are left from a removal in steps, and are no state.
 */
#include <stdlib.h>
#include <string.h>

#include <stash/error.h>

#include "base/error.h"
#include "base/name.h"
#include "store/env.h"

struct store_gather *
store_gather_create(enum store_db db, bool heads, int (*fn)(void *arg, const struct store_state *), void *arg)
{
	struct store_gather *gather = calloc(1, sizeof(*gather));

	if (gather == NULL) {
		stash__fail(STASH_E_NOMEM, "no memory for a state");
		return NULL;
	}
	gather->db = db;
	gather->heads = heads;
	gather->fn = fn;
	gather->arg = arg;
	return gather;
}

void
store_gather_destroy(struct store_gather *gather)
{
	if (gather == NULL)
		return;
	store_state_free(&gather->state);
	free(gather);
}

void
store_state_free(struct store_state *state)
{
	if (state == NULL)
		return;
	free(state->owned);
	memset(state, 0, sizeof(*state));
}

static int
broken(const struct store_gather *gather, const struct store_row *row, const char *why)
{
	char text[400];

	return stash__fail(STASH_E_CORRUPT, "%s: damaged: %s",
	    store_key_text(gather->db, row->key, row->klen, text, sizeof(text)), why);
}

/* Memory for the image, its NUL, extra and the name: everything that state points to. */
static int
take_head(struct store_gather *gather, const struct store_row *row)
{
	struct store_state *state = &gather->state;
	const char *name = row->key;
	size_t room, name_len = strlen(name) + 1;
	unsigned char *owned;

	room = gather->heads ? 0 : state->len + 1;
	owned = malloc(room + state->extra_len + name_len);
	if (owned == NULL) {
		memset(state, 0, sizeof(*state));
		return stash__fail(STASH_E_NOMEM, "no memory for a state of %zu bytes", state->len);
	}
	if (!gather->heads) {
		if (gather->chunks == 0 && state->len > 0)
			memcpy(owned, state->data, state->len);
		owned[state->len] = '\0';
	}
	if (state->extra_len > 0)
		memcpy(owned + room, state->extra, state->extra_len);
	memcpy(owned + room + state->extra_len, name, name_len);
	state->data = gather->heads ? NULL : owned;
	state->extra = owned + room;
	state->name = (const char *)owned + room + state->extra_len;
	state->owned = owned;
	return 0;
}

static int
feed_head(struct store_gather *gather, const struct store_row *row)
{
	int rc;

	if (gather->open)
		return broken(gather, row, "the state before it isn't whole");
	store_state_free(&gather->state);
	rc = store_head_read(gather->db, row, &gather->state, &gather->history_top);
	if (rc != 0)
		return rc;
	gather->chunks = store_state_chunks(&gather->state);
	gather->next = 1;
	rc = take_head(gather, row);
	if (rc != 0)
		return rc;
	gather->prefix.len = 0;
	store_key_add(&gather->prefix, row->key, row->klen - 4);
	gather->open = gather->chunks > 0 && !gather->heads;
	return gather->open ? 0 : 1;
}

static int
feed_chunk(struct store_gather *gather, const struct store_row *row, uint32_t chunk)
{
	struct store_state *state = &gather->state;
	size_t at = (size_t)(chunk - 1) * STORE_VALUE_MAX, want;

	if (row->klen - 4 != gather->prefix.len || memcmp(row->key, gather->prefix.bytes, gather->prefix.len) != 0)
		return broken(gather, row, "the state before it isn't whole");
	if (chunk != gather->next || row->seq != state->seq)
		return broken(gather, row, "it doesn't go with its state");
	want = state->len - at < STORE_VALUE_MAX ? state->len - at : STORE_VALUE_MAX;
	if (row->vlen != want)
		return broken(gather, row, "it has a wrong length");
	memcpy((unsigned char *)state->owned + at, row->value, want);
	gather->next++;
	if (gather->next <= gather->chunks)
		return 0;
	gather->open = false;
	return 1;
}

int
store_gather_feed(struct store_gather *gather, const struct store_row *row)
{
	char name[STASH_NAME_MAX + 1];
	uint32_t chunk;

	if (store_key_split(row->key, row->klen, gather->db == STORE_DB_STATE ? 4 : 8, name) == 0 ||
	    stash__check_name(name) != 0)
		return broken(gather, row, "its key is none");
	chunk = store_key_last32(row->key, row->klen);
	if (chunk == 0)
		return feed_head(gather, row);
	if (gather->open)
		return feed_chunk(gather, row, chunk);
	if (gather->heads)
		return 0;
	/* A chunk behind those that its head counts was not removed when it should have been. */
	if (row->klen - 4 == gather->prefix.len && memcmp(row->key, gather->prefix.bytes, gather->prefix.len) == 0)
		return broken(gather, row, "there is too much of its state");
	gather->orphans++;
	return 0;
}

int
store_gather_row(struct store_gather *gather, const struct store_row *row)
{
	int rc = store_gather_feed(gather, row);

	if (rc != 1)
		return rc;
	gather->states++;
	return gather->fn(gather->arg, &gather->state);
}

int
store_gather_end(struct store_gather *gather)
{
	if (gather->open)
		return stash__fail(STASH_E_CORRUPT, "%s of %s: damaged: its end is missing", store_db_name(gather->db),
		    gather->state.name);
	return 0;
}
