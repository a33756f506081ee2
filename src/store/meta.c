/* SPDX-License-Identifier: ISC */
/*
 * meta.c: the rows of the database `meta': format, store id, boot and clean mark, the event ring.  The format is read
 * first, and nothing else is if it is another one.
 *	"format"	STORE_FORMAT (4)
 *	"store"		store id (16)
 *	"boot"		clean mark (1), boot id of the last user (16)
 *	"event"		next sequence number (8), places in the ring (4)
 */
#include <endian.h>
#include <string.h>

#include <stash/error.h>

#include "base/error.h"
#include "store/env.h"

static void
key_of(struct store_key *key, const char *name)
{
	key->len = 0;
	store_key_add(key, name, strlen(name));
}

static int
put(MDB_txn *txn, MDB_dbi dbi, const char *name, const void *payload, size_t plen)
{
	unsigned char row[STORE_ROW_HEAD + 64];
	struct store_key key;
	MDB_val k, v = { STORE_ROW_HEAD + plen, row };

	key_of(&key, name);
	memcpy(row + STORE_ROW_HEAD, payload, plen);
	store_value_seal(row, STORE_DB_META, key.bytes, key.len, mdb_txn_id(txn), plen);
	k.mv_size = key.len;
	k.mv_data = key.bytes;
	return mdb_put(txn, dbi, &k, &v, 0);
}

/* Copies the payload, which must be of that length. */
static int
get(MDB_txn *txn, MDB_dbi dbi, const char *name, void *payload, size_t plen)
{
	struct store_key key;
	struct store_row row;
	int rc;

	key_of(&key, name);
	rc = store_txn_get(txn, dbi, STORE_DB_META, &key, &row);
	if (rc == STASH_E_NOENT)
		return stash__fail(STASH_E_CORRUPT, "meta row \"%s\": missing", name);
	if (rc != 0)
		return rc;
	if (row.vlen != plen)
		return stash__fail(STASH_E_CORRUPT, "meta row \"%s\": damaged: %zu bytes long", name, row.vlen);
	memcpy(payload, row.value, plen);
	return 0;
}

int
store_meta_put_boot(MDB_txn *txn, MDB_dbi dbi, const uint8_t boot[STASH__BOOT_ID_LEN], bool clean)
{
	unsigned char payload[1 + STASH__BOOT_ID_LEN];

	payload[0] = clean;
	memcpy(payload + 1, boot, STASH__BOOT_ID_LEN);
	return put(txn, dbi, "boot", payload, sizeof(payload));
}

int
store_meta_put_events(MDB_txn *txn, MDB_dbi dbi, uint64_t next, uint32_t ring)
{
	unsigned char payload[12];
	uint64_t little_next = htole64(next);
	uint32_t little_ring = htole32(ring);

	memcpy(payload, &little_next, 8);
	memcpy(payload + 8, &little_ring, 4);
	return put(txn, dbi, "event", payload, sizeof(payload));
}

int
store_meta_events(MDB_txn *txn, MDB_dbi dbi, uint64_t *next, uint32_t *ring)
{
	unsigned char payload[12] = { 0 };
	uint64_t little_next;
	uint32_t little_ring;
	int rc = get(txn, dbi, "event", payload, sizeof(payload));

	if (rc != 0)
		return rc;
	memcpy(&little_next, payload, 8);
	memcpy(&little_ring, payload + 8, 4);
	*next = le64toh(little_next);
	*ring = le32toh(little_ring);
	if (*next == 0 || *ring == 0)
		return stash__fail(STASH_E_CORRUPT, "meta row \"event\": damaged: it makes no sense");
	return 0;
}

int
store_meta_create(MDB_txn *txn, MDB_dbi dbi, const struct store_meta *meta)
{
	uint32_t format = htole32(meta->format);
	int rc = put(txn, dbi, "format", &format, sizeof(format));

	if (rc == 0)
		rc = put(txn, dbi, "store", meta->id, sizeof(meta->id));
	if (rc == 0)
		rc = store_meta_put_boot(txn, dbi, meta->boot, meta->clean);
	if (rc == 0)
		rc = store_meta_put_events(txn, dbi, meta->next_event, meta->event_ring);
	return rc;
}

int
store_meta_read(MDB_txn *txn, MDB_dbi dbi, struct store_meta *meta)
{
	unsigned char boot[1 + STASH__BOOT_ID_LEN] = { 0 };
	uint32_t format = 0;
	int rc = get(txn, dbi, "format", &format, sizeof(format));

	if (rc != 0)
		return rc;
	meta->format = le32toh(format);
	if (meta->format != STORE_FORMAT)
		return stash__fail(STASH_E_FORMAT,
		    "the store has format %u, this program knows format %u only; nothing was changed", meta->format,
		    STORE_FORMAT);
	rc = get(txn, dbi, "store", meta->id, sizeof(meta->id));
	if (rc == 0)
		rc = get(txn, dbi, "boot", boot, sizeof(boot));
	if (rc != 0)
		return rc;
	meta->clean = boot[0] != 0;
	memcpy(meta->boot, boot + 1, STASH__BOOT_ID_LEN);
	return store_meta_events(txn, dbi, &meta->next_event, &meta->event_ring);
}
