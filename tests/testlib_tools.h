/* SPDX-License-Identifier: ISC */
/*
 * What the suites of reader and tools share: a tool run within the test, and slots made by hand beside the store of
 * testlib_store.h. Nothing here needs a stashd.
 */
#ifndef TESTS_TESTLIB_TOOLS_H
#define TESTS_TESTLIB_TOOLS_H

#include <jansson.h>

#include "common/tool.h"
#include "shm/slot.h"

struct tt_result {
	int status;
	char *out, *err;
	size_t len; /* of out */
};

/* Runs a tool on words that end with NULL; input NULL: empty. */
void tt_run(struct tt_result *result, const struct tool_program *program, const char *input, const char *const *words);
#define TT_RUN(result, program, ...) tt_run(result, program, NULL, (const char *const[]){ __VA_ARGS__, NULL })
void tt_free(struct tt_result *result);
/* Fails the test, with all that the tool has written, unless it is so. */
void tt_exits(const struct tt_result *result, int status);
void tt_says(const struct tt_result *result, const char *words);      /* on standard output */
void tt_complains(const struct tt_result *result, const char *words); /* on standard error */
/* Line number n of the output (from 0) as JSON, with "schema": 1; to be given back by json_decref(). */
json_t *tt_json(const struct tt_result *result, unsigned n);
unsigned tt_lines(const struct tt_result *result);

/* ---- slots ---- */

struct tt_slot {
	struct stash__out out;
	struct stash__in in;
	struct stash__base base;
};

/* The header of slots of this boot and of the test's store. */
struct stash__origin tt_origin(void);
/* A slot in the run directory of the test's store, without a base. */
void tt_slot_make(struct tt_slot *slot, const char *name, const struct stash__origin *origin);
/* The next base: this image under that version, layout "sequence" 1, as entry number `entry'. */
void tt_slot_base(struct tt_slot *slot, uint64_t entry, uint64_t version, const void *image, size_t len);
/* An entry of incarnation 1 that nobody has folded; image NULL: without one. */
void tt_slot_entry(struct tt_slot *slot, uint64_t number, uint64_t version, const void *image, size_t len);
void tt_slot_close(struct tt_slot *slot);

#endif
