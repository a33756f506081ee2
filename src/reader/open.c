/* SPDX-License-Identifier: ISC */
/*
 * Opening and closing a handle, and the check with which each call begins. A
 * handle holds no lock, no map and no connection between calls: it never keeps a
 * stashd from starting for longer than one call takes.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/error.h"
#include "base/role.h"
#include "reader/reader.h"

#define DEFAULT_DIR "/var/lib/stash"

static int
check_role(void)
{
	if (stash__role() != STASH__ROLE_WORKER)
		return STASH_OK;
	return stash__fail(STASH_E_ACCES,
	    "a worker may not look at the store: no handle on it must be where user code "
	    "crashes; ask another process");
}

static int
fill(struct stash_store *store, const char *dir)
{
	int result;

	store->pid = getpid();
	store->dir = strdup(dir);
	if (store->dir == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a handle on %s", dir);
	result = stash__info_read(dir, &store->info);
	if (result == STASH_OK)
		result = stash__boot_id(store->boot_id);
	return result;
}

int
stash_store_open(struct stash_store **store, const char *dir, const struct stash_store_options *options)
{
	int result;

	if (store == NULL)
		return stash__fail(STASH_E_INVAL, "stash_store_open: store is NULL");
	*store = NULL;
	if (options != NULL)
		return stash__fail(STASH_E_INVAL, "stash_store_open: options must be NULL: there are none yet");
	result = check_role();
	if (result < 0)
		return result;
	if (dir == NULL)
		dir = getenv("STASH_DIR");
	if (dir == NULL || *dir == '\0')
		dir = DEFAULT_DIR;
	*store = calloc(1, sizeof **store);
	if (*store == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a handle on %s", dir);
	result = fill(*store, dir);
	if (result < 0) {
		stash_store_close(*store);
		*store = NULL;
	}
	return result;
}

void
stash_store_close(struct stash_store *store)
{
	if (store == NULL)
		return;
	stash_client_close(store->client);
	/* Open only if it is closed from within a callback, or in a child forked there, whose copy isn't its own. */
	if (store->pid == getpid())
		stash__offline_put(store->offline);
	free(store->dir);
	free(store);
}

int
stash__reader_enter(struct stash_store *store)
{
	int result;

	if (store == NULL)
		return stash__fail(STASH_E_INVAL, "the handle of a store is NULL");
	if (store->pid != getpid())
		return stash__fail(STASH_E_FORKED, "this handle on %s was opened by process %d: open one of your own",
		    store->dir, (int)store->pid);
	result = check_role();
	if (result == STASH_OK)
		store->depth++;
	return result;
}

void
stash__reader_leave(struct stash_store *store)
{
	if (--store->depth == 0)
		stash__reader_release(store);
}

void
stash__reader_release(struct stash_store *store)
{
	stash_client_close(store->client);
	store->client = NULL;
	stash__offline_put(store->offline);
	store->offline = NULL;
}

const char *
stash__store_dir(const struct stash_store *store)
{
	return store->dir;
}

const struct stash__info *
stash__store_info(const struct stash_store *store)
{
	return &store->info;
}
