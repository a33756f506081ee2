/* SPDX-License-Identifier: ISC */
/*
 * A scenario of tests/conformance as data: what it declares, its steps, and what
 * is expected of each. Knows nothing of a machine or of processes.
 */
#ifndef REPLAY_SCENARIO_H
#define REPLAY_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>

#define SCENARIO_WORDS 24

/* A growing list of texts, each its own. */
struct lines {
	char **line;
	size_t count;
};
void lines_add(struct lines *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void lines_clear(struct lines *l);

/* One line, cut into words. */
struct item {
	enum { ITEM_SUPERVISOR, ITEM_CHILD, ITEM_DO, ITEM_POST } kind;
	char *text;		    /* as it was written */
	char *buffer;		    /* what words point into */
	char *word[SCENARIO_WORDS]; /* behind the first one; ends with NULL */
	struct lines expect;	    /* of DO and POST: without the word "expect" */
};

struct scenario {
	char *file, *name;
	struct item *item;
	size_t count;
};

/* 0, or -1 with a message on standard error. */
int scenario_read(struct scenario *s, const char *file);
void scenario_free(struct scenario *s);

/* One line, neither "scenario" nor "expect". False: it is none, and there is nothing to be freed. */
bool item_parse(struct item *it, const char *line);
void item_free(struct item *it);

/* The value of KEY=VALUE among the words, or NULL. */
const char *item_option(const struct item *it, const char *key);

/*
 * Whether the lines seen are those expected, in the same order except between "{" and "}", and "unordered" answers as
 * sets.
 */
bool lines_agree(const struct lines *expected, const struct lines *seen);
/* The same for events and answers ("result", "reply"), each for themselves: who gets them by different ways. */
bool lines_agree_apart(const struct lines *expected, const struct lines *seen);

#endif
