/* SPDX-License-Identifier: ISC */
/*
 * Rows of the store as a disk, or an answer of another process, may give them: slices, sealed values, heads and chunks
 * of states, cursors, events, registry, schema, the supervisor's batches, and stash.info. LMDB itself isn't meant. The
 * first byte says what the rest is; checksums are made right, so that what lies behind them is reached. What is
 * accepted must be within its limits.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/info.h"
#include "base/name.h"
#include "base/text.h"
#include "shm/fields.h"
#include "shm/names.h"
#include "shm/record.h"
#include "shm/rows.h"
#include "store/row.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
take_state(void *arg, const struct store_state *state)
{
	size_t *states = arg;

	STASH_ASSERT(strlen(state->name) <= STASH_NAME_MAX && state->len <= STASH_STATE_MAX);
	STASH_ASSERT(strlen(state->layout) <= STASH_NAME_MAX && state->extra_len <= STORE_EXTRA_MAX);
	if (state->data != NULL)
		STASH_ASSERT(((const char *)state->data)[state->len] == '\0');
	return ++*states > 1000 ? 1 : 0;
}

/* ---- one row, as every database may have it ---- */

static void
read_registry(const struct store_row *row)
{
	struct stash__registry_row registry;
	struct stash__name_key key;
	struct stash__name_row name;
	char again[STASH__NAME_KEY_MAX];

	if (stash__unpack_registry(row->value, row->vlen, &registry) == 0)
		STASH_ASSERT(strlen(registry.process.name) <= STASH_NAME_MAX &&
		    strlen(registry.process.child) <= STASH_PATH_MAX);
	if (stash__name_key_split(row->key, row->klen, &key) < 0 || key.kind == STASH__NAME_OWN)
		return;
	STASH_ASSERT(stash__name_key(again, key.kind, key.name, key.other[0] != '\0' ? key.other : NULL, key.part) <=
	    sizeof again);
	if (stash__name_unpack(row->value, row->vlen, key.kind, &name) == 0 && key.kind == STASH__NAME_MONITOR)
		for (size_t i = 0; i + STASH__DOWN_BYTES <= name.len; i += STASH__DOWN_BYTES) {
			enum stash_reason reason;
			uint64_t number;

			stash__down_get((const unsigned char *)name.data + i, &number, &reason);
		}
}

static void
read_row(const struct store_row *row)
{
	struct stash_field *fields = NULL;
	char name[STASH_NAME_MAX + 1], text[400];
	struct store_cursor cursor;
	struct stash_event event;
	struct store_state state;
	uint64_t image_len;
	uint32_t top;

	for (int db = 0; db < STORE_DB_COUNT; db++)
		STASH_ASSERT(strlen(store_key_text((enum store_db)db, row->key, row->klen, text, sizeof text)) < 400);
	if (store_head_read(STORE_DB_STATE, row, &state, &top) == 0)
		STASH_ASSERT(state.data == NULL ||
		    (const unsigned char *)state.data + state.len <= (const unsigned char *)row->value + row->vlen);
	if (store_row_cursor(row, name, &cursor) == 0)
		STASH_ASSERT(strlen(name) > 0);
	if (stash__unpack_event(row->seq, row->value, row->vlen, &event) == 0)
		STASH_ASSERT(stash__utf8_ok(event.text, strlen(event.text)));
	read_registry(row);
	if (stash__unpack_schema(row->value, row->vlen, &image_len, &fields) == 0)
		STASH_ASSERT(stash__fields_check(fields, image_len) == 0);
	stash__fields_free(fields);
}

/* ---- what they come in ---- */

static void
read_slice(const uint8_t *data, size_t size, uint8_t how)
{
	enum store_db db = how & 1 ? STORE_DB_HISTORY : STORE_DB_STATE;
	size_t states = 0;
	struct store_gather *gather = store_gather_create(db, how & 2, take_state, &states);
	struct stash_view view;
	struct store_row row;
	int result = 0;

	STASH_ASSERT(gather != NULL);
	stash_view_init(&view, data, size);
	while (result == 0 && store_row_next(&view, &row) == 1) {
		STASH_ASSERT((const uint8_t *)row.value + row.vlen <= data + size);
		read_row(&row);
		result = store_gather_row(gather, &row);
	}
	(void)store_gather_end(gather);
	store_gather_destroy(gather);
}

/* A value with its key in front; sealed: as the store would have written it. */
static void
read_value(const uint8_t *data, size_t size, bool sealed, enum store_db db)
{
	static unsigned char value[STORE_ROW_MAX + 64];
	size_t klen = size > 0 ? data[0] : 0, vlen;
	struct store_row row;

	if (size < 1 || klen == 0 || klen > size - 1)
		return;
	vlen = size - 1 - klen;
	if (vlen > sizeof value || (sealed && (vlen < STORE_ROW_HEAD || vlen > STORE_ROW_MAX)))
		return;
	memcpy(value, data + 1 + klen, vlen);
	if (sealed)
		store_value_seal(value, db, data + 1, klen, vlen, vlen - STORE_ROW_HEAD);
	if (store_value_open(db, data + 1, klen, value, vlen, &row) == 0)
		read_row(&row);
	else
		STASH_ASSERT(!sealed);
}

/* Rows of one name: a head made of small numbers, then chunks, each with its number off by what the input says. */
static void
read_chunks(const uint8_t *data, size_t size)
{
	static unsigned char head[STORE_VALUE_MAX], chunk[STORE_VALUE_MAX];
	size_t states = 0, plen;
	struct store_gather *gather = store_gather_create(STORE_DB_STATE, false, take_state, &states);
	struct store_state state = { .version = 1, .layout = "l" };
	struct store_key key;
	struct store_row row = { .key = key.bytes };
	int result = 0;

	STASH_ASSERT(gather != NULL);
	for (; size >= 8 && result == 0; data += 8, size -= 8) {
		state.len = (size_t)data[1] << 8 | data[2];
		state.data = chunk;
		STASH_ASSERT(store_key_name(&key, data[0] & 1 ? "a" : "b") == 0);
		store_key_add32(&key, data[3] % 8);
		if (data[3] % 8 == 0) {
			plen = store_head_write(head, &state, data[4]);
			if (data[5] > 200)
				head[data[6] % 64] ^= data[7];
			row.value = head;
			row.vlen = data[5] > 250 ? plen / 2 : plen;
		} else {
			row.value = chunk;
			row.vlen = data[4] < 128 ? STORE_VALUE_MAX : (size_t)data[5] << 4;
			if (row.vlen > STORE_VALUE_MAX)
				row.vlen = STORE_VALUE_MAX;
		}
		row.klen = key.len;
		row.seq = data[0] >> 7;
		result = store_gather_row(gather, &row);
	}
	(void)store_gather_end(gather);
	store_gather_destroy(gather);
}

static void
read_batch(const uint8_t *data, size_t size)
{
	struct stash__rows_row row;
	struct stash_view view;

	stash_view_init(&view, data, size);
	while (stash__rows_next(&view, &row) == 1) {
		struct store_row stored = {
			.key = row.key, .klen = row.key_len, .value = row.value, .vlen = row.value_len
		};

		STASH_ASSERT(row.value == NULL || (const uint8_t *)row.value + row.value_len <= data + size);
		if (row.key_len > 0)
			read_row(&stored);
	}
}

static char info_dir[] = "/dev/shm/fuzz-store.XXXXXX";

static void
remove_info(void)
{
	char path[sizeof info_dir + 16];

	snprintf(path, sizeof path, "%s/stash.info", info_dir);
	(void)unlink(path);
	(void)rmdir(info_dir);
}

static void
read_info(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct stash__info info;
	char path[sizeof info_dir + 16];

	if (fd < 0) {
		STASH_ASSERT(mkdtemp(info_dir) != NULL && atexit(remove_info) == 0);
		snprintf(path, sizeof path, "%s/stash.info", info_dir);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	}
	STASH_ASSERT(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	if (stash__info_read(info_dir, &info) == 0)
		STASH_ASSERT(info.run_dir[0] == '/' && stash__utf8_ok(info.run_dir, strlen(info.run_dir)) &&
		    strlen(info.id_text) == STASH__STORE_ID_TEXT - 1 && info.format == STASH__INFO_FORMAT);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	switch (data[0] % 6) {
	case 0:
		read_slice(data + 2, size - 2, data[1]);
		break;
	case 1:
		read_value(data + 2, size - 2, false, (enum store_db)(data[1] % STORE_DB_COUNT));
		break;
	case 2:
		read_value(data + 2, size - 2, true, (enum store_db)(data[1] % STORE_DB_COUNT));
		break;
	case 3:
		read_chunks(data + 2, size - 2);
		break;
	case 4:
		read_batch(data + 2, size - 2);
		break;
	default:
		read_info(data + 2, size - 2);
	}
	return 0;
}
