/* SPDX-License-Identifier: ISC */
/*
 * A worker for tests: cells by key.
 *
 *	call read	the value
 *	call write	arg from now on; answers 0
 *	call cas	the value before; if that was `expected', it is arg from now on
 *	call add	the value after arg was added
 */
#include <stash/stash.h>

#include "registers.h"

static const struct stash_field fields[] = { STASH_FIELD_ARRAY(struct registers, cell), STASH_FIELD_END };

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	const struct registers_ask *ask = STASH_AS(msg, struct registers_ask);
	struct registers *r = state;
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

static const struct stash_behaviour registers = STASH_BEHAVIOUR(.name = "registers",
    .state_size = sizeof(struct registers), .layout_version = 1, .fields = fields, .handle_call = handle_call);

STASH_MODULE(&registers);
