/* SPDX-License-Identifier: ISC */
/*
 * A worker for tests: cells by key, as registers.h says, at the beginning of a state of a megabyte, of which the ring
 * of entries holds only a few.
 */
#include "registers.h"

struct large {
	struct registers registers;
	unsigned char rest[1 << 20];
};

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	return registers_call(w, &((struct large *)state)->registers, msg);
}

static const struct stash_behaviour registers_large = STASH_BEHAVIOUR(.name = "registers_large",
    .state_size = sizeof(struct large), .layout_version = 1, .handle_call = handle_call);

STASH_MODULE(&registers_large);
