/* SPDX-License-Identifier: ISC */
/*
 * Is a history of operations on cells linearizable?  That is: can each operation be given one moment between its
 * invocation and its answer, so that in the order of these moments every result is what one lonely cell would have
 * given?  An open operation may have its moment at any time after its invocation, or none.  Cells are independent
 * of each other, so each key is decided alone.
 */
#ifndef TESTS_TESTLIB_LINEAR_H
#define TESTS_TESTLIB_LINEAR_H

#include <stdbool.h>

#include "testlib_history.h"

enum linear_verdict { LINEAR_YES = 1, LINEAR_NO = 0, LINEAR_UNDECIDED = -1 };

/* All cells begin with that value.  Anything but LINEAR_YES is explained on `why' (may be NULL). */
enum linear_verdict linear_check(const struct h_op *ops, size_t n, int64_t initial, FILE *why);

/* What one operation does: false if it can't have this result on a cell with *value, which stays as it is then. */
bool linear_step(const struct h_op *op, int64_t *value);

#endif
