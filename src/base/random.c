/* SPDX-License-Identifier: ISC */
/*
 * random.c: see random.h. So few bytes come whole, or not at all.
 */
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/error.h"

int
stash__random(void *to, size_t len)
{
	if (TEMP_FAILURE_RETRY(getrandom(to, len, 0)) != (ssize_t)len)
		return stash__fail_errno("no random numbers can be had");
	return 0;
}
