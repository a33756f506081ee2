/* SPDX-License-Identifier: ISC */
/*
 * reexec.h: the next supervisor and stash by another binary, as the one that runs sees it.
 */
#ifndef STASHD_REEXEC_H
#define STASHD_REEXEC_H

#include <stdint.h>

struct peer;
struct server;
struct wait;

void reexec_ask(struct peer *, uint64_t number);
void reexec_answered(
    struct server *, uint64_t number, int error, const char *text, const char *version, uint64_t generation);
void reexec_keeper_lost(struct server *);
void reexec_forget(struct server *, const struct wait *); /* nobody waits for the answer any more */
void reexec_about(struct peer *, uint64_t number);

#endif
