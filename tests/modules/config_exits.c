/* SPDX-License-Identifier: ISC */
/*
 * A module that ends its process as soon as it is loaded.
 */
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void
leave(void)
{
	_exit(EXIT_FAILURE);
}
