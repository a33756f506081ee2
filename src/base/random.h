/* SPDX-License-Identifier: ISC */
/*
 * Random bytes, for ids that nobody else has. arc4random() would end the process of whoever uses the library when it
 * has no memory.
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>

/* len: at most 256. 0 or STASH_E_SYSTEM. */
int stash__random(void *to, size_t len);

#endif
