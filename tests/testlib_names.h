/* SPDX-License-Identifier: ISC */
/*
 * A stashd with workers of modules/names.c, for the tests of the registry and of monitors: what they are asked, and
 * their deaths.  Each function fails the running test by itself.
 */
#ifndef TESTS_TESTLIB_NAMES_H
#define TESTS_TESTLIB_NAMES_H

#include <stdint.h>

#include <stash/stash.h>

#include "testlib_live.h"

extern struct t_stashd tn_d;
extern struct stash_client *tn_c;

/* Workers a, b, c and what else the test wants, as tn_child() makes it. */
void tn_start(const char *more);
/* With crash points, for one of which the environment asks. */
void tn_start_dying(const char *more, const char *const *env);
/* ", { id = ID; module = ...; REST }"; good until the fourth call from here. */
const char *tn_child(const char *id, const char *rest);
void tn_stop(void);
/* A call that is answered by that text, at once or some time. */
void tn_expect(const char *name, const char *tag, const char *data, const char *text);
void tn_expect_soon(const char *name, const char *tag, const char *text);
/* other_than: a pid that it must not have. */
void tn_wait_status(const char *name, uint32_t status, int32_t other_than);
int32_t tn_pid_of(const char *name);
/* Kills a running worker, and returns when it is dead; or when the next one runs. */
void tn_kill_worker(const char *name);
void tn_kill_and_wait(const char *name);
/* Returns when there is another one. */
void tn_kill_supervisor(void);
/* Has `watcher' monitor `target': the reference. */
int64_t tn_monitor(const char *watcher, const char *target);

#endif
