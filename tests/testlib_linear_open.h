/* SPDX-License-Identifier: ISC */
/*
 * What may be said beforehand of the open operations on one cell, so that the search of testlib_linear.c need not
 * try each of them at each moment of a long history.  A verdict is the same with it and without.
 */
#ifndef TESTS_TESTLIB_LINEAR_OPEN_H
#define TESTS_TESTLIB_LINEAR_OPEN_H

#include "testlib_history.h"

/*
 * Voids open operations that nobody can have seen, and closes those that somebody has seen for certain.  The array
 * is changed and made smaller: its new length.
 */
size_t linear_settle_open(struct h_op *ops, size_t n, int64_t initial);

#endif
