/* SPDX-License-Identifier: ISC */
/*
 * migrate.h: a state of one layout made of an image of another, field by field, by their names.  Pure.
 */
#ifndef STASH_WORKER_MIGRATE_H
#define STASH_WORKER_MIGRATE_H

#include <stddef.h>

#include <stash/field.h>

/*
 * Both tables are checked first, and no look goes beyond the image or the state.  state is all zero before; what no
 * field of the image names stays so.  STASH_E_LAYOUT: a value doesn't fit, or is of another kind, the sentence has the
 * field; the state is then half done.  STASH_E_FORMAT: a table is none for its bytes.
 */
int stash__migrate(const struct stash_field *from, const void *image, size_t len, const struct stash_field *to,
    void *state, size_t size);

#endif
