/* SPDX-License-Identifier: ISC */
/*
 * registers.h: what the workers of registers.c and registers_large.c are asked, and the state that they keep.
 *
 *	call read	the value
 *	call write	arg from now on; answers 0
 *	call cas	the value before; if that was `expected', it is arg from now on
 *	call add	the value after arg was added
 */
#ifndef TESTS_MODULES_REGISTERS_H
#define TESTS_MODULES_REGISTERS_H

#include <stdint.h>

#include <stash/stash.h>

enum { REGISTERS = 8 };
struct registers {
	int64_t cell[REGISTERS];
};
/* The payload of each call; the answer is one int64_t. */
struct registers_ask {
	int64_t key, arg, expected;
};

static inline int
registers_call(struct stash_worker *w, struct registers *r, const struct stash_msg *msg)
{
	const struct registers_ask *ask = STASH_AS(msg, struct registers_ask);
	int64_t *cell, answer;

	if (ask == NULL || ask->key < 0 || ask->key >= REGISTERS)
		return STASH_E_UNKNOWN;
	cell = &r->cell[ask->key];
	answer = *cell;
	if (stash_msg_is(msg, "write")) {
		*cell = ask->arg;
		answer = 0;
	} else if (stash_msg_is(msg, "cas")) {
		if (*cell == ask->expected)
			*cell = ask->arg;
	} else if (stash_msg_is(msg, "add")) {
		answer = *cell += ask->arg;
	} else if (!stash_msg_is(msg, "read")) {
		return STASH_E_UNKNOWN;
	}
	return stash_reply(w, &answer, sizeof answer);
}

#endif
