/* SPDX-License-Identifier: ISC */
/*
 * LMDB opened read-only, while no stash process has it: one environment for all
 * handles of this process, as LMDB wants it, held under the shared lock of the
 * store for as long as a call takes. Never opened for writing.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/sys/queue.h>

#include "base/error.h"
#include "reader/reader.h"

struct shared {
	LIST_ENTRY(shared) entry;
	uint8_t id[STASH__STORE_ID_LEN];
	pid_t pid;
	unsigned users;
	struct store *store;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, shared) all = LIST_HEAD_INITIALIZER(all);

uint64_t stash__reader_map_bytes;

static int
open_shared(const char *dir, const struct stash__info *info, struct shared **shared)
{
	struct store_options options = { .map_bytes = stash__reader_map_bytes, .read_only = true };
	struct shared *s = calloc(1, sizeof *s);
	int result;

	if (s == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the store in %s", dir);
	result = store_open(&s->store, dir, &options);
	if (result < 0) {
		free(s);
		return result;
	}
	memcpy(s->id, info->id, sizeof s->id);
	s->pid = getpid();
	LIST_INSERT_HEAD(&all, s, entry);
	*shared = s;
	return STASH_OK;
}

int
stash__offline_get(const char *dir, const struct stash__info *info, struct store **store)
{
	struct shared *s;
	int result = STASH_OK;

	pthread_mutex_lock(&lock);
	LIST_FOREACH(s, &all, entry) {
		/* What a forked child has inherited isn't its own. */
		if (s->pid == getpid() && memcmp(s->id, info->id, sizeof s->id) == 0)
			break;
	}
	if (s == NULL)
		result = open_shared(dir, info, &s);
	if (result == STASH_OK) {
		s->users++;
		*store = s->store;
	}
	pthread_mutex_unlock(&lock);
	return result;
}

void
stash__offline_put(struct store *store)
{
	struct shared *s;

	if (store == NULL)
		return;
	pthread_mutex_lock(&lock);
	LIST_FOREACH(s, &all, entry) {
		if (s->store == store)
			break;
	}
	if (s != NULL && --s->users == 0) {
		LIST_REMOVE(s, entry);
		store_close(s->store);
		free(s);
	}
	pthread_mutex_unlock(&lock);
}
