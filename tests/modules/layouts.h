/* SPDX-License-Identifier: ISC */
/*
 * The layouts of one worker, in the order in which it was changed, and what it answers in all of them.
 */
#ifndef TESTS_MODULES_LAYOUTS_H
#define TESTS_MODULES_LAYOUTS_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stash/stash.h>

struct layout_1 {
	int64_t next;
	char note[16];
};

struct layout_2 {
	uint32_t calls;
	char note[40];
	uint64_t next;
};

struct layout_3 {
	char note[24];
	uint32_t changed; /* by code_change */
	int32_t unused;
	int64_t next;
};

static inline int
layouts_call(
    struct stash_worker *w, const struct stash_msg *msg, uint32_t layout, int64_t *next, char *note, size_t size)
{
	if (stash_msg_is(msg, "next_number"))
		return stash_replyf(w, "%" PRId64, (*next)++);
	if (stash_msg_is(msg, "note"))
		(void)snprintf(note, size, "%s", stash_msg_text(msg));
	else if (!stash_msg_is(msg, "look"))
		return STASH_E_UNKNOWN;
	return stash_replyf(w, "layout %" PRIu32 ": %" PRId64 " %s", layout, *next, note);
}

#endif
