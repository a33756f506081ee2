/* SPDX-License-Identifier: ISC */
/*
 * value.c: the values of the store's databases: checksums, a state's head, a cursor.  Pure; see row.h for the bytes.
 * Every value that was stored is verified here before anyone looks at it.
 */
#define XXH_INLINE_ALL
#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include <stash/error.h>

#include "base/assert.h"
#include "base/error.h"
#include "store/row.h"

static void
put16(unsigned char *at, uint16_t number)
{
	uint16_t little = htole16(number);

	memcpy(at, &little, sizeof(little));
}

static void
put32(unsigned char *at, uint32_t number)
{
	uint32_t little = htole32(number);

	memcpy(at, &little, sizeof(little));
}

static void
put64(unsigned char *at, uint64_t number)
{
	uint64_t little = htole64(number);

	memcpy(at, &little, sizeof(little));
}

static uint16_t
get16(const unsigned char *at)
{
	uint16_t little;

	memcpy(&little, at, sizeof(little));
	return le16toh(little);
}

static uint32_t
get32(const unsigned char *at)
{
	uint32_t little;

	memcpy(&little, at, sizeof(little));
	return le32toh(little);
}

static uint64_t
get64(const unsigned char *at)
{
	uint64_t little;

	memcpy(&little, at, sizeof(little));
	return le64toh(little);
}

/* A row that is whole but stands in another place (key or database) is as wrong as one with a flipped bit. */
static uint64_t
checksum(enum store_db db, const void *key, size_t klen, const void *rest, size_t len)
{
	uint64_t seed = XXH3_64bits_withSeed(key, klen, (uint64_t)db << 32 | (uint64_t)klen);

	return XXH3_64bits_withSeed(rest, len, seed);
}

void
store_value_seal(unsigned char *row, enum store_db db, const void *key, size_t klen, uint64_t seq, size_t plen)
{
	STASH_ASSERT(plen <= STORE_VALUE_MAX);
	put64(row + 8, seq);
	put64(row, checksum(db, key, klen, row + 8, plen + 8));
}

int
store_value_open(enum store_db db, const void *key, size_t klen, const void *value, size_t vlen, struct store_row *row)
{
	const unsigned char *bytes = value;
	char text[400];

	if (vlen < STORE_ROW_HEAD || vlen > STORE_ROW_MAX)
		return stash__fail(STASH_E_CORRUPT, "%s: damaged: %zu bytes long",
		    store_key_text(db, key, klen, text, sizeof(text)), vlen);
	if (checksum(db, key, klen, bytes + 8, vlen - 8) != get64(bytes))
		return stash__fail(STASH_E_CORRUPT, "%s: damaged: its checksum is wrong",
		    store_key_text(db, key, klen, text, sizeof(text)));
	row->key = key;
	row->klen = klen;
	row->seq = get64(bytes + 8);
	row->value = bytes + STORE_ROW_HEAD;
	row->vlen = vlen - STORE_ROW_HEAD;
	return 0;
}

static bool
fits_in_head(size_t layout_len, const struct store_state *state)
{
	return state->len <= STORE_VALUE_MAX - STORE_STATE_HEAD - layout_len - state->extra_len;
}

uint32_t
store_state_chunks(const struct store_state *state)
{
	if (fits_in_head(strlen(state->layout), state))
		return 0;
	return (uint32_t)((state->len + STORE_VALUE_MAX - 1) / STORE_VALUE_MAX);
}

size_t
store_head_write(unsigned char *payload, const struct store_state *state, uint32_t history_top)
{
	size_t layout_len = strlen(state->layout);
	unsigned char *at = payload + STORE_STATE_HEAD;

	STASH_ASSERT(layout_len <= STASH_NAME_MAX && state->extra_len <= STORE_EXTRA_MAX);
	put64(payload, state->version);
	put64(payload + 8, state->stored);
	put64(payload + 16, (uint64_t)state->committed_ns);
	put64(payload + 24, state->len);
	put32(payload + 32, state->layout_version);
	put32(payload + 36, state->flags);
	put32(payload + 40, history_top);
	put16(payload + 44, (uint16_t)state->extra_len);
	payload[46] = (unsigned char)layout_len;
	payload[47] = 0;
	memcpy(at, state->layout, layout_len);
	at += layout_len;
	if (state->extra_len > 0)
		memcpy(at, state->extra, state->extra_len);
	at += state->extra_len;
	if (fits_in_head(layout_len, state)) {
		if (state->len > 0)
			memcpy(at, state->data, state->len);
		at += state->len;
	}
	return (size_t)(at - payload);
}

/* The checksum was right, so what is wrong here was written wrong; all lengths are checked none the less. */
int
store_head_read(enum store_db db, const struct store_row *row, struct store_state *state, uint32_t *history_top)
{
	const unsigned char *payload = row->value;
	size_t layout_len, left;
	char text[400];

	memset(state, 0, sizeof(*state));
	if (row->vlen < STORE_STATE_HEAD)
		goto wrong;
	state->seq = row->seq;
	state->version = get64(payload);
	state->stored = get64(payload + 8);
	state->committed_ns = (int64_t)get64(payload + 16);
	state->len = get64(payload + 24);
	state->layout_version = get32(payload + 32);
	state->flags = get32(payload + 36);
	*history_top = get32(payload + 40);
	state->extra_len = get16(payload + 44);
	layout_len = payload[46];
	left = row->vlen - STORE_STATE_HEAD;
	if (layout_len > STASH_NAME_MAX || state->extra_len > STORE_EXTRA_MAX || layout_len + state->extra_len > left ||
	    state->len > STASH_STATE_MAX)
		goto wrong;
	left -= layout_len + state->extra_len;
	if (left != (fits_in_head(layout_len, state) ? state->len : 0))
		goto wrong;
	memcpy(state->layout, payload + STORE_STATE_HEAD, layout_len);
	if (strlen(state->layout) != layout_len)
		goto wrong;
	state->extra = payload + STORE_STATE_HEAD + layout_len;
	if (fits_in_head(layout_len, state))
		state->data = (const unsigned char *)state->extra + state->extra_len;
	return 0;
wrong:
	memset(state, 0, sizeof(*state));
	return stash__fail(STASH_E_CORRUPT, "%s: damaged: its head makes no sense",
	    store_key_text(db, row->key, row->klen, text, sizeof(text)));
}

size_t
store_cursor_write(unsigned char *payload, const struct store_cursor *cursor)
{
	put64(payload, cursor->req_bytes);
	put64(payload + 8, cursor->req_count);
	put64(payload + 16, cursor->rep_bytes);
	put64(payload + 24, cursor->rep_count);
	put32(payload + 32, cursor->flags);
	put32(payload + 36, cursor->uid);
	return STORE_CURSOR_BYTES;
}

int
store_row_cursor(const struct store_row *row, char *name, struct store_cursor *cursor)
{
	const unsigned char *payload = row->value;
	size_t prefix = store_key_split(row->key, row->klen, STORE_CHANNEL_LEN, name);

	if (prefix == 0 || row->vlen != STORE_CURSOR_BYTES)
		return stash__fail(STASH_E_FORMAT, "a row of %zu and %zu bytes is no cursor", row->klen, row->vlen);
	memcpy(cursor->channel, (const unsigned char *)row->key + prefix, STORE_CHANNEL_LEN);
	cursor->seq = row->seq;
	cursor->req_bytes = get64(payload);
	cursor->req_count = get64(payload + 8);
	cursor->rep_bytes = get64(payload + 16);
	cursor->rep_count = get64(payload + 24);
	cursor->flags = get32(payload + 32);
	cursor->uid = get32(payload + 36);
	return 0;
}
