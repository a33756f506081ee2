/* SPDX-License-Identifier: ISC */
/*
 * checksum.h: XXH3-64 as everything in shared memory uses it: over what follows the checksum's own field, seeded with
 * the place where it stands, so that a frame of an earlier turn of the ring is not taken for one of this turn.
 */
#ifndef STASH_SHM_CHECKSUM_H
#define STASH_SHM_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Over bytes [8, bytes) of an object that begins with its checksum. */
static inline uint64_t
stash__checksum(const void *object, size_t bytes, uint64_t seed)
{
	return XXH3_64bits_withSeed((const unsigned char *)object + sizeof(uint64_t), bytes - sizeof(uint64_t), seed);
}

/* Of a layout's name, in a field of `size' bytes, and its version; never 0. */
static inline uint32_t
stash__layout_sum(const char *layout, size_t size, uint64_t version)
{
	uint32_t sum = (uint32_t)XXH3_64bits_withSeed(layout, strnlen(layout, size), version);

	return sum != 0 ? sum : 1;
}

#endif
