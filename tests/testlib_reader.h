/* SPDX-License-Identifier: ISC */
/*
 * What the suites of the reader share: the store of testlib_store.h, opened for looking, and states in it.
 */
#ifndef TESTS_TESTLIB_READER_H
#define TESTS_TESTLIB_READER_H

#include <stdint.h>

#include <stash/store.h>

/* The test's store with its database; nothing is in it. */
struct stash_store *tr_look(void);
/* The state of a sequence, and that there is none. */
void tr_expect(struct stash_store *, const char *name, uint64_t version, int64_t next);
void tr_nothing(struct stash_store *, const char *name);
/* Stores a state as the stash does. */
void tr_put(const char *name, uint64_t seq, int64_t next);

#endif
