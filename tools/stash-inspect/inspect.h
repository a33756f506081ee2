/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect's commands, one file each, and what they share. They only look
 * (and copy): nothing here writes to a store, a slot or a worker, and each works with and
 * without a running stashd, and says which it was.
 */
#ifndef STASH_INSPECT_INSPECT_H
#define STASH_INSPECT_INSPECT_H

#include <stash/store.h>

#include "common/out.h"
#include "common/tool.h"
#include "reader/reader.h"

extern const struct tool_program stash_inspect;

extern const struct tool_command inspect_backup, inspect_check, inspect_events, inspect_health, inspect_history,
    inspect_list, inspect_registry, inspect_show, inspect_stat, inspect_tree, inspect_whereis;

/* ---- look.c ---- */

/* What a command looks at. */
struct look {
	const struct tool *t;
	struct stash_store *store;
	bool online;	  /* a stashd answers */
	int64_t as_of_ns; /* if none does: when the newest of it was written */
};

/* Opens the store alone. 0, or the exit status of a failure, which it has told. */
int look_store(const struct tool *t, struct stash_store **store);
/*
 * Opens the store and finds out whether a stashd runs; for people it says so if none does. 0, or the exit status of a
 * failure, which it has told; else to be closed.
 */
int look_open(const struct tool *t, struct look *look);
void look_close(struct look *look);
/* An object with "online" and, offline, "as_of". */
json_t *look_json(const struct look *look);
/* The same added to another one. */
void look_mark(const struct look *look, json_t *object);

/* ---- offline.c ---- */

/* The processes of the tree as the last supervisor has left it, each supervisor before its children. */
int offline_tree(const struct look *look, stash_process_fn *fn, void *arg);

/* ---- find.c ---- */

/* The process of a name or a child path. STASH_E_NOENT names one that is near. */
int find_process(const struct look *look, const char *operand, struct stash_process *process);

/* Bound below which a share of the callbacks stayed, by the black box's bins: 0.5 is the median; 0: there were none. */
uint64_t bins_quantile(const stash__word bins[STASH__BOX_BINS], double share);

#endif
