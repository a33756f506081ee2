/* SPDX-License-Identifier: ISC */
/*
 * What the suites of the store share: a store in the test's directory, states to put and to compare, a damaged file.
 * The map is $STASH_TEST_MAP (4G under valgrind, which knows no larger one), else the store's constant.
 */
#ifndef TESTS_TESTLIB_STORE_H
#define TESTS_TESTLIB_STORE_H

#include <stdint.h>

#include "store/store.h"

/* Options with the map for tests; everything else is the default. */
struct store_options ts_options(void);
/* The store's directory, with a stash.info and nothing else in it after the first call of a test. */
const char *ts_dir(void);
/* A file of the store's directory. */
const char *ts_path(const char *file);
/* Opens it, and fails the test if that fails; NULL: ts_options(). */
struct store *ts_open(const struct store_options *);
/* Fails the test unless rc is 0, with the sentence; gives rc. */
#define ts_good(rc) ts_good_at(rc, #rc, __FILE__, __LINE__)
int ts_good_at(int rc, const char *call, const char *file, int line);
/* Fails the test unless the call gave this code, and a sentence that holds `words'. */
#define ts_bad(rc, code, words) ts_bad_at(rc, code, words, #rc, __FILE__, __LINE__)
void ts_bad_at(int rc, int code, const char *words, const char *call, const char *file, int line);

/* A state of len bytes, which follow from name and seq; version is 10 * seq. */
struct store_state ts_state(const char *name, uint64_t seq, size_t len);
/* Frees what ts_state() has made. */
void ts_state_done(struct store_state *);
/* Puts one in a batch of its own, with that history. */
void ts_put(struct store *, const char *name, uint64_t seq, size_t len, uint32_t history_n);
/* Fails the test unless this is what ts_state() made. */
void ts_is(const struct store_state *, const char *name, uint64_t seq, size_t len);
/* Fails the test unless that is what is stored. */
void ts_has(struct store *, const char *name, uint64_t seq, size_t len);

/* All of data.mdb, to be freed, and the same written back. */
unsigned char *ts_load(size_t *len);
void ts_save(const unsigned char *bytes, size_t len);
/* Where these bytes stand in data.mdb for the n-th time (from 0), in *at; fails the test if they don't. */
size_t ts_find(const unsigned char *file, size_t len, const void *bytes, size_t n, unsigned nth);

#endif
