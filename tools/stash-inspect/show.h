/* SPDX-License-Identifier: ISC */
/*
 * What show has gathered about one name, and the two ways to write it.
 */
#ifndef STASH_INSPECT_SHOW_H
#define STASH_INSPECT_SHOW_H

#include "stash-inspect/inspect.h"

struct shown {
	char name[STASH_NAME_MAX + 1];
	struct stash_process process; /* child is "" if it has no owner */
	bool has_state, has_slot;
	struct stash_state state;
	struct stash_field *fields; /* of the state; NULL: not known */
	char *words;		    /* the state as its behaviour says it; NULL: it doesn't, or isn't to be asked */
	uint64_t words_version;	    /* of that state */
	struct stash__look look;
	bool reported;	   /* there is an event for the end of the process that the look shows */
	bool start_failed; /* and the newest one of a start is that it failed */
	struct {	   /* seq 0: none is known */
		uint64_t seq;
		int64_t time_ns;
		uint32_t reason;
		char text[STASH__EVENT_TEXT_MAX + 1];
	} crash;
};

void show_text(const struct look *look, const struct shown *s); /* show_text.c */
void show_json(const struct look *look, const struct shown *s); /* show_json.c */
const char *phase_name(uint32_t phase);				/* of enum stash__phase */

#endif
