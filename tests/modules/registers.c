/* SPDX-License-Identifier: ISC */
/*
 * A worker for tests: cells by key, as registers.h says.
 */
#include "registers.h"

static const struct stash_field fields[] = { STASH_FIELD_ARRAY(struct registers, cell), STASH_FIELD_END };

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	return registers_call(w, state, msg);
}

static const struct stash_behaviour registers = STASH_BEHAVIOUR(.name = "registers",
    .state_size = sizeof(struct registers), .layout_version = 1, .fields = fields, .handle_call = handle_call);

STASH_MODULE(&registers);
