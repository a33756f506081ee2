/* SPDX-License-Identifier: ISC */
/*
 * A supervisor within this process, for fuzzers: as loop.c has it, without processes: no keeper, no stash, no store,
 * nothing on disk. Its tree is small: root/pool, a simple_one_for_one, and root/a; workers never get a process.
 */
#ifndef TESTS_TESTLIB_SERVER_H
#define TESTS_TESTLIB_SERVER_H

#include "stashd/server.h"

struct server *t_server_begin(void);
void t_server_end(struct server *);
/* Once round its event loop. */
void t_server_turn(struct server *);

#endif
