/* SPDX-License-Identifier: ISC */
/*
 * reload.h: a changed config for the tree that runs (reload.c), and the process that reads it (reread.c).
 */
#ifndef STASHD_RELOAD_H
#define STASHD_RELOAD_H

#include <bsd/sys/queue.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "stashd/spawn.h"

struct server;
struct peer;
struct wait;
struct sup_action;
struct sup_spec;

/* ---- reading the config: foreign text and foreign modules, so in a process of its own ---- */

struct reread;
/*
 * What has been read. error: 0, or what is the matter, with text (lines), and there is no tree. later: keys that can't
 * change while stashd runs, as text, each ended by a newline. Borrowed for the call; a reference of tree is taken by
 * whoever keeps it.
 */
struct reread_result {
	int error;
	const char *text, *later;
	struct sup_spec *tree;
};
typedef void reread_fn(void *arg, const struct reread_result *result);
/* done is called once, never from here.  NULL: it can't be made, the thread's message says why. */
struct reread *reread_begin(struct server *, reread_fn *done, void *arg);
void reread_cancel(struct reread *);

/* ---- reloads, one after the other ---- */

struct reload;
STAILQ_HEAD(reloads, reload);

/* A client asks for one. */
void reload_ask(struct peer *, uint64_t number, bool dry_run);
/* SIGHUP; before the tree is there it is remembered. */
void reload_signal(struct server *);
void reload_up(struct server *); /* the tree is there now */
/* REPLY came out of the machine; false: it is of something else. */
bool reload_replied(struct server *, const struct sup_action *);
void reload_refused(struct server *, uint64_t request, int error, const char *text);
void reload_forget(struct server *, const struct wait *); /* nobody waits for it any more */
void reload_free(struct server *);

#endif
