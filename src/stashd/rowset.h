/* SPDX-License-Identifier: ISC */
/*
 * rowset.h: the supervisor's rows as the stash has handed them over: the last of each key, long ones put together.
 */
#ifndef STASHD_ROWSET_H
#define STASHD_ROWSET_H

#include <stddef.h>
#include <stdint.h>

#include "supervisor/machine.h"

struct server;
struct rowset_item;

struct rowset {
	unsigned char *data; /* the file */
	size_t len;
	struct rowset_item *items;
	size_t nitems;
	struct sup_row *tree;
	unsigned *parts; /* of each row of the tree */
	size_t ntree;
	void **joined; /* values that were put together */
	size_t njoined;
};

/* fd: as in the answer to DUMP.  What can't be read is STASH_E_FORMAT, _CORRUPT; *rows is to be freed in any case. */
int rowset_read(struct rowset *rows, int fd);
void rowset_free(struct rowset *rows);
/* The last incarnation of a name; 0: none is known. */
uint64_t rowset_incarnation(const struct rowset *rows, const char *name);
/* The incarnation that ran when its row was written; 0: none did. */
uint64_t rowset_ran(const struct rowset *rows, const char *name);
/* A row of the registry; NULL: none. */
const void *rowset_registry(const struct rowset *rows, const char *key, size_t *len);
/* Each of them; fn's first result that isn't 0. */
int rowset_each_registry(
    const struct rowset *rows, int (*fn)(void *arg, const char *key, const void *value, size_t len), void *arg);
unsigned rowset_parts(const struct rowset *rows, size_t i);
/* Tells the writer of rows which ones have several parts. */
void rowset_note_parts(const struct rowset *rows, struct server *s);
/* Tells what layouts there are. */
void rowset_layouts(const struct rowset *rows, struct server *s);

#endif
