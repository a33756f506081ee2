/* SPDX-License-Identifier: ISC */
/*
 * record_list.c: records of a slot, one behind the other: in entries and in bases.
 * What is read may have been written by anybody: every length is checked against the end.
 */
#include <string.h>

#include "base/error.h"
#include "shm/slot.h"

uint64_t
stash__record_bytes(size_t tag_len, size_t len)
{
	return sizeof(struct stash__record) + STASH__PAD8(tag_len + 1) + STASH__PAD8(len);
}

void
stash__record_put(unsigned char *at, struct stash__record *r, const char *tag, const void *data, size_t len)
{
	size_t tag_len = strlen(tag);

	r->bytes = (uint32_t)stash__record_bytes(tag_len, len);
	r->tag_len = (uint8_t)tag_len;
	r->len = (uint32_t)len;
	memset(at, 0, r->bytes);
	memcpy(at, r, sizeof *r);
	memcpy(at + sizeof *r, tag, tag_len + 1);
	if (len > 0)
		memcpy(at + sizeof *r + STASH__PAD8(tag_len + 1), data, len);
}

int
stash__record_next(const unsigned char **at, const unsigned char *end, struct stash__record *r, const char **tag,
    const unsigned char **data)
{
	size_t left = (size_t)(end - *at);

	if (left == 0)
		return 0;
	if (left < sizeof *r)
		return stash__fail(STASH_E_CORRUPT, "a record is cut off");
	memcpy(r, *at, sizeof *r);
	if (r->bytes > left || r->tag_len > STASH_TAG_MAX || r->len > STASH_DATA_MAX ||
	    r->bytes != stash__record_bytes(r->tag_len, r->len))
		return stash__fail(STASH_E_CORRUPT, "a record has lengths that cannot be");
	*tag = (const char *)*at + sizeof *r;
	if (strnlen(*tag, r->tag_len + (size_t)1) != r->tag_len)
		return stash__fail(STASH_E_CORRUPT, "a record's tag doesn't end where it should");
	*data = *at + sizeof *r + STASH__PAD8((uint64_t)r->tag_len + 1);
	*at += r->bytes;
	return 1;
}
