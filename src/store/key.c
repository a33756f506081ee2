/* SPDX-License-Identifier: ISC */
/*
 * key.c: the keys of the store's databases, made and read.  Pure; see row.h for what they look like.
 */
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include <stash/error.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/name.h"
#include "base/text.h"
#include "store/row.h"

static const char *const db_names[STORE_DB_COUNT] = {
	[STORE_DB_META] = "meta",
	[STORE_DB_STATE] = "state",
	[STORE_DB_HISTORY] = "history",
	[STORE_DB_CURSOR] = "cursor",
	[STORE_DB_REGISTRY] = "registry",
	[STORE_DB_TREE] = "tree",
	[STORE_DB_EVENT] = "event",
	[STORE_DB_SCHEMA] = "schema",
};

const char *
store_db_name(enum store_db db)
{
	if ((unsigned)db >= STORE_DB_COUNT)
		return NULL;
	return db_names[db];
}

void
store_key_add(struct store_key *key, const void *bytes, size_t len)
{
	STASH_ASSERT(len <= sizeof(key->bytes) - key->len);
	if (len > 0)
		memcpy(key->bytes + key->len, bytes, len);
	key->len += len;
}

void
store_key_add32(struct store_key *key, uint32_t number)
{
	uint32_t big = htobe32(number);

	store_key_add(key, &big, sizeof(big));
}

void
store_key_add64(struct store_key *key, uint64_t number)
{
	uint64_t big = htobe64(number);

	store_key_add(key, &big, sizeof(big));
}

int
store_key_name(struct store_key *key, const char *name)
{
	int rc = stash__check_name(name);

	key->len = 0;
	if (rc != 0)
		return rc;
	store_key_add(key, name, strlen(name) + 1);
	return 0;
}

int
store_key_prefix(const char *name, unsigned char prefix[STORE_PREFIX_MAX])
{
	struct store_key key;
	int rc = store_key_name(&key, name);

	if (rc != 0)
		return rc;
	memcpy(prefix, key.bytes, key.len);
	return (int)key.len;
}

uint32_t
store_key_last32(const void *key, size_t klen)
{
	uint32_t big;

	if (klen < sizeof(big))
		return 0;
	memcpy(&big, (const unsigned char *)key + klen - sizeof(big), sizeof(big));
	return be32toh(big);
}

uint64_t
store_key_last64(const void *key, size_t klen)
{
	uint64_t big;

	if (klen < sizeof(big))
		return 0;
	memcpy(&big, (const unsigned char *)key + klen - sizeof(big), sizeof(big));
	return be64toh(big);
}

size_t
store_key_split(const void *key, size_t klen, size_t rest, char name[STASH_NAME_MAX + 1])
{
	const char *nul = memchr(key, '\0', klen);
	size_t len;

	if (nul == NULL)
		return 0;
	len = (size_t)(nul - (const char *)key);
	if (len == 0 || len > STASH_NAME_MAX || klen - len - 1 != rest)
		return 0;
	memcpy(name, key, len + 1);
	return len + 1;
}

const char *
store_key_text(enum store_db db, const void *key, size_t klen, char *text, size_t size)
{
	char name[STASH_NAME_MAX + 1], other[320];

	if (db == STORE_DB_STATE && store_key_split(key, klen, 4, name) > 0) {
		snprintf(text, size, "state of %s, chunk %u", name, store_key_last32(key, klen));
	} else if (db == STORE_DB_HISTORY && store_key_split(key, klen, 8, name) > 0) {
		snprintf(text, size, "history of %s, place %u, chunk %u", name, store_key_last32(key, klen - 4),
		    store_key_last32(key, klen));
	} else if (db == STORE_DB_CURSOR && store_key_split(key, klen, STORE_CHANNEL_LEN, name) > 0) {
		snprintf(text, size, "cursor of %s, channel %016llx...", name,
		    (unsigned long long)store_key_last64(key, klen - 8));
	} else if (db == STORE_DB_EVENT && klen == 8) {
		snprintf(text, size, "event at place %llu", (unsigned long long)store_key_last64(key, klen));
	} else {
		stash__escape(other, sizeof(other), key, klen);
		snprintf(text, size, "%s row \"%s\"", store_db_name(db), other);
	}
	return text;
}
