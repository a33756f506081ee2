/* SPDX-License-Identifier: ISC */
/*
 * The functions of a program that was built here, static ones too: which one an offset is in.
 */
#ifndef TESTS_TESTLIB_SYMBOLS_H
#define TESTS_TESTLIB_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

/* Reads those of the program once; fails the test if it has none. */
void t_symbols_read(const char *program);
/* "rowset_read"; "?" if it is in none.  Lives as long as the process. */
const char *t_symbol(uint64_t offset);

#endif
