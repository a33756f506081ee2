/* SPDX-License-Identifier: ISC */
/*
 * What this process is. A worker must never have a handle on the store: its
 * loop says that it is one, before any code of a behaviour runs, and the
 * functions of store.h ask. A role is never given up.
 */
#ifndef BASE_ROLE_H
#define BASE_ROLE_H

enum stash__role {
	STASH__ROLE_NONE = 0, /* a client, a tool, any program */
	STASH__ROLE_WORKER = 1
};

void stash__role_set(enum stash__role role);
enum stash__role stash__role(void);

#endif
