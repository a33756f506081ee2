/* SPDX-License-Identifier: ISC */
/*
 * Which names, tags and child paths are allowed. Each check gives 0,
 * STASH_E_TOOBIG if it is too long, STASH_E_INVAL if it is empty or has a
 * character that may not be in it; the message shows it escaped.
 */
#ifndef BASE_NAME_H
#define BASE_NAME_H

#include <stddef.h>

/* A name, alias, group or id: UTF-8, 1 to 200 bytes, no control character, no '/'. */
int stash__check_name(const char *name);

/* A tag or table: the same with 1 to 63 bytes and without a space. */
int stash__check_tag(const char *tag);

/* The same for a tag of len bytes that need not end with a NUL: out of a ring. */
int stash__check_tag_bytes(const void *tag, size_t len);

/* A child path: ids joined by '/', 1 to 500 bytes. */
int stash__check_path(const char *path);

#endif
