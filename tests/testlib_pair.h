/* SPDX-License-Identifier: ISC */
/*
 * Two workers of modules/pair.c, `a' and `b', that talk to each other under a stashd; what they have counted.
 */
#ifndef TESTS_TESTLIB_PAIR_H
#define TESTS_TESTLIB_PAIR_H

#include "testlib_live.h"

extern struct t_stashd tp_d;
extern struct stash_client *tp_client;

struct tp_counts {
	long told, heard, taken, asked, got, sum, refused, code, posted, handled, continues, continued;
};

const char *tp_config(const char *extra); /* keys of both */
void tp_begin(const char *extra);	  /* returns when both run */
void tp_finish(void);
struct tp_counts tp_counts(const char *name);
void tp_until(bool (*done)(void *), void *arg, int ms); /* fails the test after that time */
bool tp_until_both_run(void *arg);
/* What a has made was handled: casts by b, posts, continues, and answers by itself. */
bool tp_until_heard(void *arg);
bool tp_until_posted(void *arg);
bool tp_until_continued(void *arg);
bool tp_until_answered(void *arg);

#endif
