/* SPDX-License-Identifier: ISC */
/*
 * A child's public specification as bytes: for requests to the supervisor and
 * its answers. Nothing is judged in here but whether the bytes can be read:
 * numbers come out as they went in, also wrong ones.
 */
#ifndef SHM_SPEC_H
#define SHM_SPEC_H

#include <stash/buf.h>
#include <stash/supervisor.h>

/*
 * Adds a child with everything below it; the structs may be those of an older or newer caller. STASH_E_INVAL: the
 * size of a struct, a behaviour that is given by pointer, a text that isn't UTF-8; _TOOBIG, _NOMEM: the buffer's.
 */
int stash__pack_child(struct stash_buf *buf, const struct stash_child_spec *spec);

struct stash__spec_block;
/* A child that was read; its texts lie in the bytes that it was read from. */
struct stash__child {
	struct stash_child_spec spec;
	struct stash__spec_block *memory; /* of all below it */
};
/* Reads one. STASH_E_FORMAT, _NOMEM; to be freed by stash__child_free(), also after a failure. */
int stash__view_child(struct stash_view *view, struct stash__child *child);
void stash__child_free(struct stash__child *child);

#endif
