/* SPDX-License-Identifier: ISC */
/*
 * A store for stash-inspect to look at: states, owners, events, a schema, further names.
 */
#ifndef TESTS_TESTLIB_INSPECT_H
#define TESTS_TESTLIB_INSPECT_H

#include <stdint.h>

struct ti_state {
	int64_t next;
	char note[16];
};

/* Three workers, one of them alive (this process), one without an owner; a crash that was noted.  Sets STASH_DIR. */
void ti_make_store(void);
/* Adds a further name of `sequence' with a value, a group, a monitor. */
void ti_put_names(void);
/* Adds an event of `sequence', a crash. */
void ti_put_event(uint32_t type, const char *text);

#endif
