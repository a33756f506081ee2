/* SPDX-License-Identifier: ISC */
/*
 * modes.c: see modes.h.  Whoever may write in a directory may put his file, his link or his socket in the place of
 * ours; so it is the directory that is looked at first, and then what may have been planted while it was open.
 */
#include "stashd/modes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "shm/wire.h"

/* ---- one thing ---- */

static const char *
kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFLNK:
		return "a symbolic link, which stashd doesn't follow there";
	case S_IFSOCK:
		return "a socket";
	case S_IFIFO:
		return "a pipe";
	case S_IFDIR:
		return "a directory";
	case S_IFREG:
		return "a file";
	default:
		return "a device";
	}
}

/* Ours, and nobody else may write to it. */
static int
check_owner(const char *path, const struct stat *st)
{
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return stash__fail(STASH_E_ACCES,
		    "%s: belongs to user %u, and stashd runs as user %u: remove it, or give it to that user (chown)",
		    path, (unsigned)st->st_uid, (unsigned)geteuid());
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return stash__fail(STASH_E_ACCES,
		    "%s: others may write there (mode %o): look who has, then chmod go-w it", path,
		    (unsigned)st->st_mode & 07777);
	return 0;
}

int
modes_check_dir(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return stash__fail_errno("%s", path);
	if (!S_ISDIR(st.st_mode))
		return stash__fail(
		    STASH_E_ACCES, "%s: must be a directory, and is %s: remove it", path, kind_of(st.st_mode));
	return check_owner(path, &st);
}

/* What must be a file, or a socket; missing is fine. */
static int
check_entry(int dirfd, const char *dir, const char *name, mode_t type)
{
	char path[PATH_MAX + NAME_MAX + 2];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : stash__fail_errno("%s", path);
	if ((st.st_mode & S_IFMT) != type)
		return stash__fail(
		    STASH_E_ACCES, "%s: must be %s, and is %s: remove it", path, kind_of(type), kind_of(st.st_mode));
	/* Whoever may connect to a socket has to have the right to write to it. */
	if (type == S_IFSOCK)
		st.st_mode &= ~(mode_t)(S_IWGRP | S_IWOTH);
	return check_owner(path, &st);
}

static int
open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 ? fd : stash__fail_errno("%s: can't be opened", path);
}

/* ---- the store's directory ---- */

int
modes_check_store(const char *dir)
{
	static const char *const files[] = { "stash.info", "stashd.pid", "store.lock", "data.mdb", "lock.mdb",
		"data.mdb.new" };
	int fd, result = modes_check_dir(dir);

	if (result < 0)
		return result;
	fd = open_dir(dir);
	for (size_t i = 0; fd >= 0 && result == 0 && i < sizeof(files) / sizeof(files[0]); i++)
		result = check_entry(fd, dir, files[i], S_IFREG);
	if (fd < 0)
		return fd;
	close(fd);
	return result;
}

/* ---- the run directory ---- */

static bool
is_below(const char *name)
{
	return strcmp(name, STASH__SLOT_DIR) == 0 || strcmp(name, STASH__WAY_DIR) == 0;
}

/* The socket, and workers' bells, are none. */
static mode_t
type_of(const char *name)
{
	size_t len = strlen(name);

	if (strcmp(name, STASH__SOCKET_NAME) == 0)
		return S_IFSOCK;
	return len > 5 && strcmp(name + len - 5, ".fifo") == 0 ? S_IFIFO : S_IFREG;
}

/* All files in it; the directories below are looked at later. */
static int
check_files(const char *path)
{
	int fd = open_dir(path), result = 0;
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (dir == NULL) {
		result = stash__fail_errno("%s: can't be listed", path);
		close(fd);
		return result;
	}
	while (result == 0 && (entry = readdir(dir)) != NULL) {
		const char *name = entry->d_name;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || is_below(name))
			continue;
		result = check_entry(fd, path, name, type_of(name));
	}
	closedir(dir);
	return result;
}

int
modes_check_run(const char *run_dir)
{
	static const char *const below[] = { "", "/" STASH__SLOT_DIR, "/" STASH__WAY_DIR };
	char path[PATH_MAX + 16];
	struct stat st;
	int result = 0;

	for (size_t i = 0; result == 0 && i < sizeof(below) / sizeof(below[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", run_dir, below[i]);
		if (i > 0 && lstat(path, &st) < 0 && errno == ENOENT)
			continue;
		result = modes_check_dir(path);
		if (result == 0)
			result = check_files(path);
	}
	return result;
}
