/* SPDX-License-Identifier: ISC */
/*
 * vault.c: descriptors under keys.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "stashd/vault.h"

static int
compare(const struct vault_item *a, const struct vault_item *b)
{
	return strcmp(a->key, b->key);
}

RB_PROTOTYPE(vault, vault_item, link, compare)
RB_GENERATE(vault, vault_item, link, compare)

static void
close_all(const int *fds, int nfds)
{
	for (int i = 0; i < nfds; i++)
		close(fds[i]);
}

static void
item_free(struct vault *v, struct vault_item *item)
{
	RB_REMOVE(vault, v, item);
	close_all(item->fds, item->nfds);
	free(item);
}

struct vault_item *
vault_find(struct vault *v, const char *key)
{
	struct vault_item *item = RB_ROOT(v);
	int order;

	while (item != NULL && (order = strcmp(key, item->key)) != 0)
		item = order < 0 ? RB_LEFT(item, link) : RB_RIGHT(item, link);
	return item;
}

void
vault_init(struct vault *v)
{
	RB_INIT(v);
}

int
vault_store(struct vault *v, const char *key, pid_t pid, const int *fds, int nfds)
{
	struct vault_item *item;
	size_t len = strlen(key);

	if (len == 0 || len > VAULT_KEY_MAX || nfds < 0 || nfds > VAULT_FDS) {
		close_all(fds, nfds);
		return stash__fail(STASH_E_INVAL, "a key of %zu bytes with %d descriptors can't be kept", len, nfds);
	}
	item = malloc(sizeof(*item) + len + 1);
	if (item == NULL) {
		close_all(fds, nfds);
		return stash__fail(STASH_E_NOMEM, "no memory to keep descriptors");
	}
	vault_drop(v, key);
	memcpy(item->key, key, len + 1);
	item->pid = pid;
	item->nfds = nfds;
	for (int i = 0; i < nfds; i++)
		item->fds[i] = fds[i];
	RB_INSERT(vault, v, item);
	return 0;
}

void
vault_drop(struct vault *v, const char *key)
{
	struct vault_item *item = vault_find(v, key);

	if (item != NULL)
		item_free(v, item);
}

void
vault_clear(struct vault *v)
{
	while (!RB_EMPTY(v))
		item_free(v, RB_ROOT(v));
}

struct vault_item *
vault_next(struct vault *v, struct vault_item *item)
{
	return item == NULL ? RB_MIN(vault, v) : RB_NEXT(vault, v, item);
}

static int
compare_pids(const void *a, const void *b)
{
	const pid_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

pid_t *
vault_pids(struct vault *v, int *n)
{
	struct vault_item *item;
	pid_t *pids;
	size_t count = 0, i = 0;

	RB_FOREACH(item, vault, v)
		count += item->pid > 0;
	*n = 0;
	if (count == 0)
		return NULL;
	pids = calloc(count, sizeof(*pids));
	if (pids == NULL) {
		*n = -1;
		return NULL;
	}
	RB_FOREACH(item, vault, v) {
		if (item->pid > 0)
			pids[i++] = item->pid;
	}
	qsort(pids, count, sizeof(*pids), compare_pids);
	*n = (int)count;
	return pids;
}
