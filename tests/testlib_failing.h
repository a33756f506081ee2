/* SPDX-License-Identifier: ISC */
/*
 * Calls that fail on purpose, by tests/preload: the page that says which, the list of all calls that a run has made,
 * and the errors that each of them may have.
 */
#ifndef TESTS_TESTLIB_FAILING_H
#define TESTS_TESTLIB_FAILING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "preload/failing.h"

/* A page in t_dir(), nothing fails; and what to add to a program's environment, by which its calls may. */
struct failing_page *t_failing_make(const char *env[2]);
void t_failing_free(struct failing_page *);

/* Errors of a function, the likeliest first, 0 behind the last. */
const int *t_failing_errors(enum failing_function);
/* The table of all of them, eight for each function, for a helper. */
void t_failing_write_errors(const char *path);
const char *t_failing_error_name(int error);
/* Error by its name; 0: none. */
int t_failing_error(const char *name);
/* "supervisor openat rowset_read+0x1234", until the next eight calls. */
const char *t_failing_place_name(uint64_t place);
/* The function of stashd it is in; "": of a library; "all": no certain place. */
const char *t_failing_caller(uint64_t place);
/* "liblmdb"; "": the program itself. */
const char *t_failing_object(uint64_t place);

/* Places counted, in order, in memory of the caller's: how many. */
size_t t_failing_places(const struct failing_page *, struct failing_place *, size_t max);

/* One fault, from now on. */
void t_failing_begin(struct failing_page *, uint64_t what, int error, uint64_t at, bool for_good);
void t_failing_end(struct failing_page *);

#endif
