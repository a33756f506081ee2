/* SPDX-License-Identifier: ISC */
/*
 * vault.h: the descriptors that the keeper holds for the next supervisor, each set under a key, perhaps with the pid
 * of the child that it belongs to.  It never looks at what they are.
 */
#ifndef STASHD_VAULT_H
#define STASHD_VAULT_H

#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { VAULT_FDS = 4, VAULT_KEY_MAX = 255 };

struct vault_item {
	RB_ENTRY(vault_item) link;
	pid_t pid; /* 0: none */
	int fds[VAULT_FDS];
	int nfds;
	char key[];
};
RB_HEAD(vault, vault_item);

void vault_init(struct vault *);
/* Takes the descriptors, also on failure; replaces what stands under the key.  STASH_E_INVAL, _NOMEM. */
int vault_store(struct vault *, const char *key, pid_t pid, const int *fds, int nfds);
struct vault_item *vault_find(struct vault *, const char *key); /* NULL: none */
void vault_drop(struct vault *, const char *key);		/* none there is fine */
void vault_clear(struct vault *);
/* In the order of keys; NULL begins, NULL ends. */
struct vault_item *vault_next(struct vault *, struct vault_item *);
/* All pids, sorted, in an array to be freed; NULL and *n = 0: none, or no memory (then *n is -1). */
pid_t *vault_pids(struct vault *, int *n);

#endif
