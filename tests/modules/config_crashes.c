/* SPDX-License-Identifier: ISC */
/*
 * A module that aborts as soon as it is loaded: stashd -n must tell it, and live.
 */
#include <stdlib.h>

__attribute__((constructor)) static void
crash(void)
{
	abort();
}
