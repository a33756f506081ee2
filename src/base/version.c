/* SPDX-License-Identifier: ISC */
/*
 * The library's version, in the one place where it is written.
 */
#include <stash/version.h>

const char *
stash_version(void)
{
	return "0.1.0";
}
