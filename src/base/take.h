/* SPDX-License-Identifier: ISC */
/*
 * Structs that a caller fills in and that begin with size_t size: callers built
 * against older headers give shorter ones, against newer ones longer ones.
 * Nobody else may look into such a struct before it was taken.
 */
#ifndef BASE_TAKE_H
#define BASE_TAKE_H

#include <stddef.h>

/*
 * Copies a caller's struct into one of ours of size bytes: what the caller
 * doesn't know is zero, to->size is ours. from NULL: all zero. what: its name,
 * for the message. Returns 0; STASH_E_INVAL if its size is none, or if it has
 * bytes that aren't zero and that this version doesn't know.
 */
int stash__take(void *to, size_t size, const void *from, const char *what);

/* Element number i of a caller's array of such structs: they lie array[0].size apart. NULL: the size is none. */
const void *stash__element(const void *array, size_t i);

#endif
