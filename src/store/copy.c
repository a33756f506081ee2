/* SPDX-License-Identifier: ISC */
/*
 * copy.c: a copy of the live database, page by page, as of one moment.  It never looks into a page, so damage can't
 * kill the process that writes the store; whoever gets the copy looks into it, in a process that may die.  LMDB keeps
 * batches out only while it writes the first two pages.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/error.h"
#include "store/env.h"

void
store_copy_init(struct store *store)
{
	pthread_mutex_init(&store->copy_lock, NULL);
	store->copy_fd = -1;
}

void
store_copy_done(struct store *store)
{
	pthread_mutex_destroy(&store->copy_lock);
}

/* LMDB knows no way to end a copy but a write that fails: the descriptor becomes one that takes none. */
void
store_copy_stop(struct store *store)
{
	int null_fd;

	pthread_mutex_lock(&store->copy_lock);
	if (store->copy_fd >= 0 && (null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
		(void)dup3(null_fd, store->copy_fd, O_CLOEXEC);
		close(null_fd);
	}
	pthread_mutex_unlock(&store->copy_lock);
}

/* A regular file, and not the one that is to be copied. */
static int
check_target(const struct store *store, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return stash__fail_errno("%s: the file for a copy of it", store->dir);
	if (!S_ISREG(st.st_mode))
		return stash__fail(STASH_E_INVAL, "%s: a copy of it goes to a regular file only", store->dir);
	if (st.st_dev == store->dev && st.st_ino == store->ino)
		return stash__fail(STASH_E_INVAL, "%s: it can't be copied onto itself", store->dir);
	/* It may hold the beginning that a process that died has written. */
	if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0)
		return stash__fail_errno("%s: the file for a copy of it", store->dir);
	return 0;
}

static int
begin(struct store *store, int fd, int *own)
{
	int rc = 0;

	pthread_mutex_lock(&store->copy_lock);
	if (store->copy_fd >= 0)
		rc = stash__fail(STASH_E_BUSY, "%s: another copy of it is being made; try again later", store->dir);
	else if ((*own = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0)
		rc = stash__fail_errno("%s: no descriptor for a copy of it", store->dir);
	else
		store->copy_fd = *own;
	pthread_mutex_unlock(&store->copy_lock);
	return rc;
}

static int
copy(struct store *store, int own)
{
	int rc;

	pthread_rwlock_rdlock(&store->lock);
	if (store->env == NULL || store->failed) {
		pthread_rwlock_unlock(&store->lock);
		return stash__fail(
		    STASH_E_BUSY, "%s: a commit failed, the store is about to be opened anew; try again", store->dir);
	}
	rc = mdb_env_copyfd2(store->env, own, 0);
	pthread_rwlock_unlock(&store->lock);
	if (rc == EBADF)
		return stash__fail(
		    STASH_E_BUSY, "%s: the copy was interrupted: the store is being closed or opened anew", store->dir);
	/* The map ends where the file does: it is shorter than what is written in it. */
	if (rc == EFAULT)
		return stash__fail(STASH_E_CORRUPT, "%s: damaged: data.mdb is cut short", store->dir);
	return rc == 0 ? 0 : store_fail(rc, "%s: it can't be copied", store->dir);
}

int
store_copy(struct store *store, int fd)
{
	int own = -1, rc;

	if (store->pid != getpid())
		return stash__fail(STASH_E_FORKED, "%s: the store belongs to process %ld, which forked this one",
		    store->dir, (long)store->pid);
	rc = check_target(store, fd);
	if (rc == 0)
		rc = begin(store, fd, &own);
	if (rc != 0)
		return rc;
	rc = copy(store, own);
	pthread_mutex_lock(&store->copy_lock);
	store->copy_fd = -1;
	close(own);
	pthread_mutex_unlock(&store->copy_lock);
	return rc;
}
