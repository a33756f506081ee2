/* SPDX-License-Identifier: ISC */
/*
 * handover.h: what a supervisor of another binary has to know, as bytes in a memory file.  It begins with the numbers
 * of all formats in which the processes of this stashd speak, with each other, with workers and clients that live on,
 * and with the store, so that a binary that doesn't know one of them says so before it touches anything.
 *
 *	keeper --- fork --- handover_exec(): packs it --- exec --- main() --- stash__supervise_handed_over(): reads it
 *	                                                                `--> K_HELLO: its version, or what is wrong
 */
#ifndef STASHD_HANDOVER_H
#define STASHD_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <stash/buf.h>

#include "stashd/keeper.h"
#include "stashd/supervise.h"

struct server_job;

/* For struct keeper_job; arg: struct server_job. */
_Noreturn void handover_exec(void *arg, const struct keeper_other *);

/* What was read. */
struct handover {
	char *dir, *run_dir, *source, *keeper_version;
	uint8_t store_id[16];
	int lock_fd;
	sigset_t child_mask;
	uint64_t starts, generation;
	bool trial;
	struct stash__supervise_config config; /* the numbers in it */
	struct sup_spec *tree;
};
/* The bytes.  STASH_E_NOMEM, _TOOBIG. */
int handover_pack(const struct server_job *, const struct keeper_other *, struct stash_buf *);
/* STASH_E_FORMAT: it has a format that this binary doesn't know, or isn't one; STASH_E_NOMEM. */
int handover_read(const void *data, size_t len, struct handover *);
void handover_free(struct handover *);

#endif
