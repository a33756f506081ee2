/* SPDX-License-Identifier: ISC */
/*
 * Client processes that take numbers from a worker "sequence" as fast as they can, while the test does something to its
 * stashd: each number has to come exactly once and no call may fail.  How long calls took is noted for each window of
 * time that the test opens.
 */
#ifndef TESTS_TESTLIB_LOAD_H
#define TESTS_TESTLIB_LOAD_H

#include "testlib_live.h"

enum { TL_CLIENTS = 8, TL_WINDOWS = 4096 };

/* What comes behind counts as the window of that number; the time of a call is noted for the one in which it ends. */
void tl_window(int window);
/* The longest call that ended in it, in ns; 0: none did. */
int64_t tl_longest(int window);
/* Starts the clients; the stashd is borrowed. */
void tl_begin(const struct t_stashd *);
/* How many numbers were taken so far. */
uint64_t tl_count(void);
/* Returns when that many more were taken; fails the test if they don't come. */
void tl_await(uint64_t more);
/* Ends the clients and checks the numbers; what: for the report. */
void tl_end(const char *what);

#endif
