/* SPDX-License-Identifier: ISC */
/*
 * map.h: mapping shared memory.  Every mapping is MADV_DONTFORK, so that a child that some process forks
 * has none of it, and rings are mapped twice in a row, so that a frame is contiguous wherever it stands.
 */
#ifndef STASH_SHM_MAP_H
#define STASH_SHM_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Maps `bytes' of fd from `offset'; NULL with the message set.  `what' names it in messages. */
void *stash__map(int fd, uint64_t offset, uint64_t bytes, bool writable, const char *what);
/* The same bytes twice in a row: at[i] and at[bytes + i] are one.  bytes and offset are multiples of the page size. */
void *stash__map_ring(int fd, uint64_t offset, uint64_t bytes, bool writable, const char *what);
void stash__unmap(void *at, uint64_t bytes);	  /* NULL is fine */
void stash__unmap_ring(void *at, uint64_t bytes); /* NULL is fine */
/* Makes dirfd/name a file of `bytes' zero bytes, allocated in full, mode 0600, without giving it the name yet:
 * returns a descriptor to be filled and handed to stash__file_name().  A full file system is STASH_E_FULL. */
int stash__file_make(int dirfd, const char *name, uint64_t bytes);
/* Renames what stash__file_make() made into place. */
int stash__file_name(int dirfd, const char *name);
/* Grows an allocated file; never shrinks it. */
int stash__file_grow(int fd, uint64_t bytes, const char *name);
/* The file's size; STASH_E_SYSTEM. */
int stash__file_bytes(int fd, uint64_t *bytes, const char *name);

#endif
