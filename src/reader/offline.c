/* SPDX-License-Identifier: ISC */
/*
 * LMDB opened read-only, while no stash process has it: one environment for all
 * handles of this process, as LMDB wants it, held under the shared lock of the
 * store for as long as a call takes. Never opened for writing, and never before a
 * child has looked through the file as it is now: a map of a damaged one kills
 * whoever reads it.
 */
#include <sys/stat.h>

#include <pthread.h>
#include <stdio.h>
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

/* The file that was found good last: while it is that one, it needn't be looked through again. */
static struct {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed, modified;
} good;

static bool
look_up(const char *dir, struct stat *st)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof path, "%s/data.mdb", dir) < (int)sizeof path && stat(path, st) == 0;
}

static bool
is_good(const struct stat *st)
{
	return st->st_dev == good.dev && st->st_ino == good.ino && st->st_size == good.size &&
	    memcmp(&st->st_ctim, &good.changed, sizeof good.changed) == 0 &&
	    memcmp(&st->st_mtim, &good.modified, sizeof good.modified) == 0;
}

static void
note_good(const struct stat *st)
{
	good.dev = st->st_dev;
	good.ino = st->st_ino;
	good.size = st->st_size;
	good.changed = st->st_ctim;
	good.modified = st->st_mtim;
}

static int
open_shared(const char *dir, const struct stash__info *info, struct shared **shared)
{
	struct store_options options = { .map_bytes = stash__reader_map_bytes, .read_only = true };
	struct shared *s = calloc(1, sizeof *s);
	struct stat before, after;
	bool there = look_up(dir, &before);
	int result;

	options.validate = !there || !is_good(&before);
	if (s == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the store in %s", dir);
	result = store_open(&s->store, dir, &options);
	if (result < 0) {
		free(s);
		return result;
	}
	/* Not if it was exchanged between the two looks. */
	if (there && look_up(dir, &after) && memcmp(&after.st_ctim, &before.st_ctim, sizeof after.st_ctim) == 0)
		note_good(&before);
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
