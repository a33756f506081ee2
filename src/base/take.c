/* SPDX-License-Identifier: ISC */
/*
 * Structs of callers that may be older or newer than this library; see take.h.
 * A size that no version can have is refused before anything behind it is read.
 */
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/take.h"

/* No struct of the interface comes near to this. */
#define SIZE_LIMIT 4096

/* The size that a caller's struct says it has; 0: it can't be one. */
static size_t
size_of(const void *from)
{
	size_t size;

	memcpy(&size, from, sizeof(size));
	if (size < sizeof(size) || size > SIZE_LIMIT || size % sizeof(size) != 0)
		return 0;
	return size;
}

static bool
all_zero(const unsigned char *bytes, size_t len)
{
	while (len > 0 && bytes[len - 1] == 0)
		len--;
	return len == 0;
}

int
stash__take(void *to, size_t size, const void *from, const char *what)
{
	size_t theirs = from == NULL ? 0 : size_of(from);

	memset(to, 0, size);
	if (from != NULL && theirs == 0)
		return stash__fail(STASH_E_INVAL, "%s: its first member, size, must be sizeof of the struct", what);
	if (theirs > size && !all_zero((const unsigned char *)from + size, theirs - size))
		return stash__fail(STASH_E_INVAL, "%s: sets what libstash %s doesn't know", what, stash_version());
	if (from != NULL)
		memcpy(to, from, theirs < size ? theirs : size);
	memcpy(to, &size, sizeof(size));
	return 0;
}

const void *
stash__element(const void *array, size_t i)
{
	size_t stride = size_of(array);

	return stride == 0 ? NULL : (const unsigned char *)array + i * stride;
}
