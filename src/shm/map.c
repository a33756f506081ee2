/* SPDX-License-Identifier: ISC */
/*
 * map.c: mapping shared memory, and the files that are mapped.
 * A file gets its name only when it is complete, and is allocated in full before anyone maps it: a store into a map
 * can never meet a full file system (SIGBUS).
 */
#include "shm/map.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "shm/format.h"

static int
protection(bool writable)
{
	return writable ? PROT_READ | PROT_WRITE : PROT_READ;
}

void *
stash__map(int fd, uint64_t offset, uint64_t bytes, bool writable, const char *what)
{
	void *at = mmap(NULL, bytes, protection(writable), MAP_SHARED, fd, (off_t)offset);

	if (at == MAP_FAILED) {
		stash__fail_errno("cannot map %s", what);
		return NULL;
	}
	(void)madvise(at, bytes, MADV_DONTFORK);
	return at;
}

void *
stash__map_ring(int fd, uint64_t offset, uint64_t bytes, bool writable, const char *what)
{
	unsigned char *at = mmap(NULL, bytes * 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED) {
		stash__fail_errno("cannot reserve addresses for %s", what);
		return NULL;
	}
	for (int half = 0; half < 2; half++) {
		if (mmap(at + (uint64_t)half * bytes, bytes, protection(writable), MAP_SHARED | MAP_FIXED, fd,
			(off_t)offset) == MAP_FAILED) {
			stash__fail_errno("cannot map %s", what);
			munmap(at, bytes * 2);
			return NULL;
		}
	}
	(void)madvise(at, bytes * 2, MADV_DONTFORK);
	return at;
}

void
stash__unmap(void *at, uint64_t bytes)
{
	if (at != NULL)
		munmap(at, bytes);
}

void
stash__unmap_ring(void *at, uint64_t bytes)
{
	if (at != NULL)
		munmap(at, bytes * 2);
}

/* The name that a file has until it is complete. */
static void
unfinished(char temp[NAME_MAX + 1], const char *name)
{
	snprintf(temp, NAME_MAX + 1, ".%s.new", name);
}

static int
allocate(int fd, uint64_t bytes, const char *name)
{
	int error = posix_fallocate(fd, 0, (off_t)bytes);

	if (error == ENOSPC)
		return stash__fail(STASH_E_FULL,
		    "no room for %llu bytes of %s in the run directory's file system: free some memory or space",
		    (unsigned long long)bytes, name);
	if (error != 0) {
		errno = error;
		return stash__fail_errno("cannot allocate %llu bytes for %s", (unsigned long long)bytes, name);
	}
	return STASH_OK;
}

/* A directory with a default list says by it who may read what is made there; the mode must not take it back. */
static int
share(int fd, int dirfd, const char *name)
{
	if (fgetxattr(dirfd, "system.posix_acl_default", NULL, 0) <= 0)
		return STASH_OK;
	return fchmod(fd, 0640) == 0 ? STASH_OK : stash__fail_errno("cannot set the mode of %s", name);
}

int
stash__file_make(int dirfd, const char *name, uint64_t bytes)
{
	char temp[NAME_MAX + 1];
	int fd, result;

	unfinished(temp, name);
	(void)unlinkat(dirfd, temp, 0);
	fd = openat(dirfd, temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return stash__fail_errno("cannot create %s in the run directory", temp);
	result = allocate(fd, bytes, name);
	if (result == STASH_OK)
		result = share(fd, dirfd, name);
	if (result < 0) {
		(void)unlinkat(dirfd, temp, 0);
		close(fd);
		return result;
	}
	return fd;
}

int
stash__file_name(int dirfd, const char *name)
{
	char temp[NAME_MAX + 1];

	unfinished(temp, name);
	if (renameat(dirfd, temp, dirfd, name) < 0)
		return stash__fail_errno("cannot rename %s to %s in the run directory", temp, name);
	return STASH_OK;
}

int
stash__file_grow(int fd, uint64_t bytes, const char *name)
{
	uint64_t now = 0;
	int result = stash__file_bytes(fd, &now, name);

	if (result < 0 || bytes <= now)
		return result;
	return allocate(fd, bytes, name);
}

int
stash__file_bytes(int fd, uint64_t *bytes, const char *name)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return stash__fail_errno("cannot look at %s", name);
	*bytes = (uint64_t)st.st_size;
	return STASH_OK;
}
