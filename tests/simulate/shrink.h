/* SPDX-License-Identifier: ISC */
/*
 * Histories as lines of text, carried out in processes of their own, since a
 * machine that is wrong may also abort or hang; and how one that breaks a rule is
 * made smaller while it still breaks the same.
 */
#ifndef SIMULATE_SHRINK_H
#define SIMULATE_SHRINK_H

#include <stdio.h>

#include "simulate/run.h"

#define RULE_MAX 96

struct story {
	char *line[RUN_ITEMS];
	size_t count;
};

/* What a process that runs histories leaves behind, in shared memory. */
struct verdict {
	uint64_t histories, takeovers, steps, events, actions, invalid;
	uint64_t seed; /* of the one in hand */
	bool takeover;
	char rule[RULE_MAX]; /* "": none was broken */
	char detail[512];
	size_t len;
	char text[RUN_ITEMS * 256]; /* its lines so far */
};

/* Shared memory; aborts if there is none. */
struct verdict *verdict_create(void);
/* work() in a child, with a limit in seconds for it to say something; how the child died is a broken rule, too. */
void verdict_by(struct verdict *v, void (*work)(struct verdict *v, void *arg), void *arg, unsigned limit);
/* Within work(): what the run has come to. */
void verdict_of(struct verdict *v, const struct run *r);

void story_read(struct story *s, const char *text);
void story_free(struct story *s);
/* Makes it smaller; it has to break that rule. */
void story_shrink(struct story *s, bool takeover, const char *rule);
/* As a scenario, with what was seen; "expect" lines end where the machine died. */
void story_print(const struct story *s, bool takeover, const char *name, FILE *out);

#endif
