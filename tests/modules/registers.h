/* SPDX-License-Identifier: ISC */
/*
 * registers.h: what the worker of registers.c is asked, and the state that it keeps.
 */
#ifndef TESTS_MODULES_REGISTERS_H
#define TESTS_MODULES_REGISTERS_H

#include <stdint.h>

enum { REGISTERS = 8 };
struct registers {
	int64_t cell[REGISTERS];
};
/* The payload of each call; the answer is one int64_t. */
struct registers_ask {
	int64_t key, arg, expected;
};

#endif
