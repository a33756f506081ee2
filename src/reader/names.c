/* SPDX-License-Identifier: ISC */
/*
 * The further rows of the registry: aliases, values, members of groups, monitors, as they are stored. Who is behind a
 * name is in the registry's other rows.
 */
#include "base/error.h"
#include "reader/reader.h"
#include "store/row.h"

struct giving {
	int (*fn)(void *arg, const struct stash__name_key *key, const struct stash__name_row *row);
	void *arg;
};

static int
give(void *arg, const struct store_row *row)
{
	const struct giving *g = arg;
	struct stash__name_key key;
	struct stash__name_row name;
	int result = stash__name_key_split(row->key, row->klen, &key);

	if (result < 0)
		return result;
	if (key.kind == STASH__NAME_OWN || key.part > 0)
		return STASH_OK;
	result = stash__name_unpack(row->value, row->vlen, key.kind, &name);
	return result < 0 ? result : g->fn(g->arg, &key, &name);
}

int
stash__store_names(struct stash_store *store,
    int (*fn)(void *arg, const struct stash__name_key *key, const struct stash__name_row *row), void *arg)
{
	struct store_scan scan = { .db = STORE_DB_REGISTRY, .prefix = "\x01", .prefix_len = 1 };
	struct giving g = { fn, arg };
	int result = stash__reader_enter(store);

	if (result < 0)
		return result;
	result = stash__reader_scan(store, &scan, give, &g);
	stash__reader_leave(store);
	return result;
}
