/* SPDX-License-Identifier: ISC */
/*
 * testlib_reader.c: see testlib_reader.h.
 */
#include "testlib_reader.h"

#include <string.h>

#include "base/clock.h"
#include "reader/reader.h"
#include "testlib.h"
#include "testlib_store.h"

struct stash_store *
tr_look(void)
{
	struct stash_store *store;

	store_close(ts_open(NULL));
	stash__reader_map_bytes = ts_options().map_bytes;
	ts_good(stash_store_open(&store, ts_dir(), NULL));
	return store;
}

void
tr_expect(struct stash_store *store, const char *name, uint64_t version, int64_t next)
{
	struct stash_state state;
	int64_t value;

	ts_good(stash_store_read(store, name, &state));
	ck_assert_uint_eq(state.version, version);
	ck_assert_uint_eq(state.len, sizeof value);
	memcpy(&value, state.data, sizeof value);
	ck_assert_int_eq(value, next);
	ck_assert_int_eq(((char *)state.data)[state.len], 0);
	ck_assert_uint_eq((uintptr_t)state.data % 16, 0);
	stash_state_free(&state);
	ck_assert_ptr_null(state.data);
}

void
tr_nothing(struct stash_store *store, const char *name)
{
	struct stash_state state;

	ts_bad(stash_store_read(store, name, &state), STASH_E_NOENT, name);
	ck_assert_ptr_null(state.data);
	stash_state_free(&state);
}

void
tr_put(const char *name, uint64_t seq, int64_t next)
{
	struct store_state state = { .name = name,
		.seq = seq,
		.version = seq,
		.committed_ns = (int64_t)seq * STASH__NS_PER_S,
		.layout_version = 1,
		.layout = "sequence",
		.data = &next,
		.len = sizeof next };
	struct store *store = ts_open(NULL);
	struct store_batch *batch;

	ts_good(store_begin(store, &batch));
	ts_good(store_put_state(batch, &state, 4));
	ts_good(store_commit(batch));
	store_close(store);
}
