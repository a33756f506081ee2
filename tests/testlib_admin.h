/* SPDX-License-Identifier: ISC */
/*
 * What the suites about OTP's requests share: a stashd with a tree of its own, a client, and what is expected of it.
 */
#ifndef TESTS_TESTLIB_ADMIN_H
#define TESTS_TESTLIB_ADMIN_H

#include <stash/supervisor.h>

#include "testlib.h"
#include "testlib_live.h"

#define LONG_MS 30000

extern struct t_stashd stashd;
extern struct stash_client *client;

/* root: a (permanent), web (one_for_one: w), pool (simple_one_for_one: t, with the argument "first"). */
void admin_begin(void);
/* With crash points, for one of which the environment asks. */
void admin_begin_dying(const char *const *env);
void admin_end(void);

/* Of tests/modules/child.c; good until the next one is asked for. */
struct stash_child_spec admin_child(const char *id, const char *const *args);
#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* What a call gave, with the term of a failure. */
void admin_gives(int line, int result, int code, const char *term);
#define GIVES(call, code, term) admin_gives(__LINE__, call, code, term)

void admin_counts(
    int line, const char *supervisor, unsigned specs, unsigned active, unsigned supervisors, unsigned workers);
#define COUNTS(...) admin_counts(__LINE__, __VA_ARGS__)

/* How many files the slots are, with what a directory always has. */
int admin_slot_files(void);

/* which_children in a line: "ID,worker,running ...". */
void admin_children(const char *supervisor, const char *lines);

#endif
