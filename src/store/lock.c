/* SPDX-License-Identifier: ISC */
/*
 * lock.c: store.lock, which keeps the store's users apart: one stash process, or any number of offline readers.  The
 * lock (flock) belongs to the open file, so it ends with the last descriptor of it, and never just because a process
 * fell silent.  Its file is never removed: a second file of the name would be a second lock.
 */
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <bsd/string.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "store/env.h"

#define LOCK_NAME "store.lock"
#define HOLDERS_MAX 4
#define RETRY_NS 5000000

static void
add_holder(char *text, size_t size, long pid)
{
	char path[64], comm[64] = "";
	size_t len = strlen(text);
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	file = fopen(path, "re");
	if (file != NULL) {
		if (fgets(comm, sizeof(comm), file) != NULL)
			comm[strcspn(comm, "\n")] = '\0';
		fclose(file);
	}
	snprintf(text + len, size - len, "%sprocess %ld%s%s%s", len > 0 ? ", " : "", pid, comm[0] != '\0' ? " (" : "",
	    comm, comm[0] != '\0' ? ")" : "");
}

/* What /proc/locks says about this file. */
static void
holders_by_kernel(int fd, char *text, size_t size)
{
	unsigned long inode;
	unsigned major_nr, minor_nr;
	int found = 0;
	char line[256];
	struct stat st;
	long pid;
	FILE *file;

	if (fstat(fd, &st) != 0 || (file = fopen("/proc/locks", "re")) == NULL)
		return;
	while (found < HOLDERS_MAX && fgets(line, sizeof(line), file) != NULL) {
		/* Those that wait have an arrow behind the number, and no match. */
		if (sscanf(line, "%*d: FLOCK %*s %*s %ld %x:%x:%lu", &pid, &major_nr, &minor_nr, &inode) != 4)
			continue;
		if (pid <= 0 || inode != st.st_ino || major_nr != major(st.st_dev) || minor_nr != minor(st.st_dev))
			continue;
		add_holder(text, size, pid);
		found++;
	}
	fclose(file);
}

static int
busy(int fd, const char *path, bool exclusive)
{
	char holders[400] = "", pid[32] = "";

	holders_by_kernel(fd, holders, sizeof(holders));
	/* Without it there is what the last exclusive holder wrote, who a reader waits for. */
	if (holders[0] == '\0' && !exclusive && pread(fd, pid, sizeof(pid) - 1, 0) > 0 && atol(pid) > 0)
		add_holder(holders, sizeof(holders), atol(pid));
	return stash__fail(STASH_E_BUSY, "%s: the store is in use by %s; wait for it or end it", path,
	    holders[0] != '\0' ? holders : "another process");
}

static int
wait_for(int fd, const char *path, bool exclusive, int timeout_ms)
{
	int64_t deadline = stash__deadline_ns(timeout_ms);
	struct timespec pause = { .tv_nsec = RETRY_NS };

	while (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return stash__fail_errno("%s: can't be locked", path);
		if (stash__now_ns() >= deadline)
			return busy(fd, path, exclusive);
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* For people, and for where /proc/locks can't be read; the lock is good without, so a full disk is no error. */
static void
write_pid(int fd)
{
	char pid[32];
	int len = snprintf(pid, sizeof(pid), "%-10ld\n", (long)getpid());
	ssize_t written = pwrite(fd, pid, (size_t)len, 0);

	(void)written;
}

static int
open_lock_file(const char *path, bool exclusive)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	/* Whoever may only read can still take a shared lock, if the file is there. */
	if (fd < 0 && !exclusive && (errno == EACCES || errno == EROFS))
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd;
}

int
store_lock(const char *dir, bool exclusive, int timeout_ms, int *result)
{
	char path[STORE_PATH_ROOM];
	int fd, rc = store_path(path, dir, LOCK_NAME);

	if (rc == 0)
		rc = stash__make_for_owner(dir, LOCK_NAME);
	if (rc != 0)
		return rc;
	fd = open_lock_file(path, exclusive);
	if (fd < 0)
		return stash__fail_errno("%s: can't be opened", path);
	rc = wait_for(fd, path, exclusive, timeout_ms);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	if (exclusive)
		write_pid(fd);
	*result = fd;
	return 0;
}
