/* SPDX-License-Identifier: ISC */
/*
 * Histories of concurrent operations on cells (numbers by key), as client processes saw them: when each was asked,
 * when it was answered, and what.  They are in shared memory, so that a client may be killed at any moment; what
 * it had asked is open then, as is every call of which nobody knows whether it took effect.
 */
#ifndef TESTS_TESTLIB_HISTORY_H
#define TESTS_TESTLIB_HISTORY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum h_kind {
	H_READ = 1,  /* result: the value */
	H_WRITE = 2, /* arg: the value from now on */
	H_CAS = 3,   /* result: the value before; if it was `expected', it is arg from now on */
	H_ADD = 4    /* result: the value after arg was added */
};
enum h_fate {
	H_OPEN = 0, /* took effect at some time after `invoked', or never will */
	H_DONE = 1, /* took effect between `invoked' and `returned' */
	H_VOID = 2  /* had no effect, for certain */
};
struct h_op {
	int64_t invoked, returned; /* any clock that all clients share */
	int64_t arg, expected, result;
	uint32_t key, client;
	uint8_t kind;
	_Atomic uint8_t fate;
};
#define H_FOREVER INT64_MAX

/* ---- recording ---- */

enum { H_CLIENTS = 256 };
struct history {
	size_t room; /* operations for each client */
	_Atomic size_t count[H_CLIENTS];
	struct h_op ops[]; /* of client c: from c * room */
};
/* In memory that forked processes share. */
struct history *h_make(size_t room);
void h_free(struct history *history);
/* A client asks now: the operation to be answered; NULL: its room is used up.  One process writes for one client. */
struct h_op *h_ask(
    struct history *history, unsigned client, enum h_kind kind, uint32_t key, int64_t arg, int64_t expected);
/* It is answered now. */
void h_answer(struct h_op *op, int64_t result);
/* It is known to have had no effect. */
void h_void(struct h_op *op);
/* All of them one after the other, to be freed; once nobody writes any more. */
struct h_op *h_all(const struct history *history, size_t *n);
/* How many of that fate. */
size_t h_count(const struct h_op *ops, size_t n, enum h_fate fate);
void h_print(FILE *out, const struct h_op *op);

#endif
