/* SPDX-License-Identifier: ISC */
/*
 * What the suites of the store share; testlib_store.h says what each call promises.
 */
#include "testlib_store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/info.h"
#include "base/parse.h"
#include "testlib.h"

struct store_options
ts_options(void)
{
	struct store_options options = { 0 };
	const char *map = getenv("STASH_TEST_MAP");

	if (map != NULL)
		ck_assert_int_eq(stash__parse_size(map, &options.map_bytes), 0);
	return options;
}

const char *
ts_dir(void)
{
	const char *dir = t_path("store");
	struct stash__info info;

	if (access(dir, F_OK) == 0)
		return dir;
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	ck_assert_int_eq(stash__info_new(&info), 0);
	ck_assert_int_lt(snprintf(info.run_dir, sizeof(info.run_dir), "%s/%s", t_run_dir(), info.id_text),
	    (int)sizeof(info.run_dir));
	ts_good(stash__info_create(dir, &info));
	return dir;
}

const char *
ts_path(const char *file)
{
	return t_path("store/%s", file);
}

struct store *
ts_open(const struct store_options *options)
{
	struct store_options usual = ts_options();
	struct store *store = NULL;

	ts_good(store_open(&store, ts_dir(), options != NULL ? options : &usual));
	ck_assert_ptr_nonnull(store);
	return store;
}

int
ts_good_at(int rc, const char *call, const char *file, int line)
{
	ck_assert_msg(rc == 0, "%s:%d: %s: %s: %s", file, line, call, stash_errname(rc), stash_errmsg());
	return rc;
}

void
ts_bad_at(int rc, int code, const char *words, const char *call, const char *file, int line)
{
	ck_assert_msg(rc == code, "%s:%d: %s: gave %s, not %s; %s", file, line, call, stash_errname(rc),
	    stash_errname(code), stash_errmsg());
	ck_assert_msg(strstr(stash_errmsg(), words) != NULL, "%s:%d: %s: no \"%s\" in \"%s\"", file, line, call, words,
	    stash_errmsg());
}

/* No stretch of one state is found in another. */
static unsigned char
byte_of(const char *name, uint64_t seq, size_t at)
{
	uint64_t x = at + seq * 1000003 + (unsigned char)name[0] * 7919u + strlen(name) * 104729u;

	x *= 0x9e3779b97f4a7c15u;
	return (unsigned char)(x >> 32 ^ x >> 56);
}

struct store_state
ts_state(const char *name, uint64_t seq, size_t len)
{
	struct store_state state = { .name = name,
		.seq = seq,
		.version = 10 * seq,
		.committed_ns = 1000 + (int64_t)seq,
		.layout_version = 3,
		.flags = 5,
		.layout = "layout",
		.extra = "extra",
		.extra_len = 5,
		.len = len };
	unsigned char *bytes = malloc(len + 1);

	ck_assert_ptr_nonnull(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = byte_of(name, seq, i);
	state.data = state.owned = bytes;
	return state;
}

void
ts_state_done(struct store_state *state)
{
	free(state->owned);
}

void
ts_put(struct store *store, const char *name, uint64_t seq, size_t len, uint32_t history_n)
{
	struct store_state state = ts_state(name, seq, len);
	struct store_batch *batch;

	ts_good(store_begin(store, &batch));
	ts_good(store_put_state(batch, &state, history_n));
	ts_good(store_commit(batch));
	ts_state_done(&state);
}

void
ts_is(const struct store_state *state, const char *name, uint64_t seq, size_t len)
{
	const unsigned char *bytes = state->data;

	ck_assert_str_eq(state->name, name);
	ck_assert_uint_eq(state->seq, seq);
	ck_assert_uint_eq(state->len, len);
	ck_assert_uint_eq(state->version, 10 * seq);
	ck_assert_int_eq(state->committed_ns, 1000 + (int64_t)seq);
	ck_assert_uint_eq(state->layout_version, 3);
	ck_assert_uint_eq(state->flags, 5);
	ck_assert_str_eq(state->layout, "layout");
	ck_assert_uint_eq(state->extra_len, 5);
	ck_assert_mem_eq(state->extra, "extra", 5);
	ck_assert_ptr_nonnull(bytes);
	ck_assert_uint_eq((uintptr_t)bytes % 16, 0);
	ck_assert_uint_eq(bytes[len], 0);
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != byte_of(name, seq, i))
			ck_abort_msg("%s, entry %llu: byte %zu differs", name, (unsigned long long)seq, i);
	}
}

void
ts_has(struct store *store, const char *name, uint64_t seq, size_t len)
{
	struct store_state state;

	ts_good(store_get_state(store, name, &state));
	ts_is(&state, name, seq, len);
	store_state_free(&state);
}

unsigned char *
ts_load(size_t *len)
{
	return (unsigned char *)t_read_file(ts_path("data.mdb"), len);
}

void
ts_save(const unsigned char *bytes, size_t len)
{
	FILE *file = fopen(ts_path("data.mdb"), "we");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
}

size_t
ts_find(const unsigned char *file, size_t len, const void *bytes, size_t n, unsigned nth)
{
	const unsigned char *at = file;

	for (;;) {
		at = memmem(at, len - (size_t)(at - file), bytes, n);
		ck_assert_msg(at != NULL, "%zu bytes aren't in the file", n);
		if (nth-- == 0)
			return (size_t)(at - file);
		at++;
	}
}
