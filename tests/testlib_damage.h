/* SPDX-License-Identifier: ISC */
/*
 * What the suites of damage and restore share: a store that a real stashd has made, with a backup, and the tools on it.
 */
#ifndef TESTS_TESTLIB_DAMAGE_H
#define TESTS_TESTLIB_DAMAGE_H

#include "testlib_live.h"

#define TD_PAGE 4096u

extern struct t_stashd td_stashd;
extern unsigned char *td_whole; /* the store before any damage */
extern size_t td_whole_len;

const char *td_config(void); /* a sequence and an agent */
void td_start(void);
/* The numbers from..to, each once, and as many values. */
void td_take(int from, int to);
void td_take_with(struct stash_client *, int from, int to);
/* Returns when the last of them is in the store, and not only in a slot. */
void td_await_stored(void);
const char *td_data(void); /* the database's path */
void td_save(const unsigned char *bytes, size_t len);
/* A store with a backup at number 20 in t_path("backups"), and ten more numbers; stopped in order. */
void td_begin(void);
void td_end(void);
/* A tool's exit status, and what it says somewhere; NULL: anything. */
void td_inspect(int status, const char *says, const char *const *words);
void td_ctl(int status, const char *says, const char *const *words);
#define INSPECT(status, says, ...) td_inspect(status, says, (const char *const[]){ __VA_ARGS__, NULL })
#define CTL(status, says, ...) td_ctl(status, says, (const char *const[]){ __VA_ARGS__, NULL })

#endif
