/* SPDX-License-Identifier: ISC */
/*
 * A living stashd seen from a test: who its processes are, killing them by pidfd, clients of its own, and the
 * check that every number of a sequence was handed out exactly once.
 */
#ifndef TESTS_TESTLIB_LIVE_H
#define TESTS_TESTLIB_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <stash/client.h>

#include "testlib.h"

/* "{ id = NAME; module = .../MODULE.so; args = [ARGS]; EXTRA }" in a tree that never gives up. */
const char *t_config(const char *name, const char *module, const char *args, const char *extra, const char *store);
/* The store's directory of a stashd. */
const char *t_store(const struct t_stashd *);
/* The run directory that stash.info names; "" if there is none. */
const char *t_run_of(const struct t_stashd *);

enum t_who { T_WORKER = 1, T_STASH = 2, T_SUPERVISOR = 4, T_KEEPER = 8 };
/* The pid, 0: none at this moment.  name: of the worker. */
pid_t t_pid(const struct t_stashd *, enum t_who, const char *name);
/* SIGKILL, to exactly that process; false: it was gone. */
bool t_murder(const struct t_stashd *, enum t_who, const char *name);
/* Everything that the test has started, at once; waits until all are dead. */
void t_murder_all(struct t_stashd *);
/* Keeper, supervisor and stash process, which are dead then; workers are left to themselves. */
void t_murder_stashd(struct t_stashd *);

/* Its own memory, in KiB; not the store's pages, which are the system's cache. */
unsigned long t_memory(pid_t);

struct stash_client *t_client(const struct t_stashd *);
/* A call that must be answered with that text. */
void t_expect_call(struct stash_client *, const char *name, const char *tag, const char *data, const char *text);
/* A call that must fail so. */
void t_expect_error(struct stash_client *, const char *name, const char *tag, const char *data, int error);

/* ---- numbers that many processes are given ---- */
struct t_numbers {
	_Atomic uint64_t count, errors, twice;
	_Atomic bool stop;
	_Atomic int last_error;
	char message[256];
	_Atomic uint64_t first, last, longest_ns;
	_Atomic uint8_t seen[64 * 1024 * 1024];
};
struct t_numbers *t_numbers_make(void);
void t_numbers_free(struct t_numbers *);
void t_numbers_add(struct t_numbers *, int64_t number);
/* Exactly once, without a gap, no error; the text is for the report. */
void t_numbers_check(const struct t_numbers *, const char *what);

#endif
