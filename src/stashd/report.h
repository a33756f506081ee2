/* SPDX-License-Identifier: ISC */
/*
 * report.h: what is told about a death, and a state in words: for that, and for tools.
 */
#ifndef STASHD_REPORT_H
#define STASHD_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/error.h>
#include <stash/version.h>

#include "shm/format.h"
#include "shm/wire.h"
#include "stashd/plan.h"

struct life;
struct peer;
struct server;
struct worker;

/* ---- crash reports (report.c) ---- */

/* How it died, in words; to be freed.  NULL: no memory. */
char *report_death(const struct life *);

/* The stash's word on a death. */
struct verdict {
	enum stash__verdict verdict;
	uint32_t place, attempts, kind, phase;
	uint64_t number, len, version, crashes;
	bool own_fault;
	char tag[STASH_TAG_MAX + 1];
};
struct report;
/* Copies what the next incarnation may overwrite; NULL: nothing more is to be told. */
struct report *report_begin(struct life *, const struct verdict *);
/* Writes it, as soon as the state is there as text; takes the report. */
void report_write(struct report *);
/* Whether one is under way that names that worker. */
bool report_is_about(const struct worker *);
void reports_free(struct server *); /* those under way are dropped */

/* status.c: a state as text, by a process of its own. */
struct status;
/* How it is written where the behaviour has no format_status: by packed fields; NULL: in hex. */
struct plainly {
	const void *fields;
	size_t len;
};
/* plainly NULL: in the behaviour's own words or not at all.  base is borrowed for the call.  done is called once, never
 * from here, with what was written within a second, or with "".  NULL: no process can be made. */
struct status *status_begin(struct server *, const struct plan *, const struct stash__base *, const struct plainly *,
    void (*done)(void *arg, const char *text), void *arg);
void status_cancel(struct status *);
/* showing.c: SHOW of a tool: a state in its behaviour's own words. */
void showing_ask(struct peer *, uint64_t number, const char *name);

#endif
