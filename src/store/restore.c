/* SPDX-License-Identifier: ISC */
/*
 * restore.c: a backup takes the store's place.  It is copied beside the present database and synced; then the present
 * one gets a second name, under which it stays, and is replaced by one rename.  Whoever is killed in the midst of it
 * leaves either the old database in its place or the new one.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bsd/string.h>

#include <stash/error.h>

#include "base/error.h"
#include "base/file.h"
#include "store/backup.h"
#include "store/env.h"

#define NAMES_MAX 100

/* What was read is what was verified before: by its checksum; without one it is looked through, again. */
static int
is_the_same(const struct store_backup *backup, int fd, const char *temporary)
{
	struct store_options options = { .map_bytes = STORE_MAP_BYTES };
	struct store_child_result result = { 0 };
	char sum[STORE_BACKUP_SUM], path[STORE_FD_PATH];
	int rc;

	if (!backup->has_info) {
		rc = store_probe_file(store_fd_path(fd, path), &options, NULL, &result);
		return result.code == 0 ? rc : stash__fail(rc, "%s: its copy: %s", backup->path, result.text);
	}
	rc = store_backup_sum(fd, temporary, sum);
	if (rc == 0 && strcmp(sum, backup->checksum) != 0)
		rc = stash__fail(STASH_E_CORRUPT, "%s: it changed while it was copied", backup->path);
	return rc;
}

/* Copies and syncs it. */
static int
copy_in(const char *dir, const struct store_backup *backup, const char *temporary)
{
	int to = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc;

	if (to < 0)
		return stash__fail_errno("%s: can't be made", temporary);
	rc = store_copy_bytes(backup->path, to);
	if (rc == 0)
		rc = is_the_same(backup, to, temporary);
	/* Root restores it for the user whose stashd this is: not before it is known what was read. */
	if (rc == 0)
		rc = stash__give_to_owner(to, temporary, dir);
	if (rc == 0 && fsync(to) != 0)
		rc = store_fail(errno, "%s: can't be synced", temporary);
	close(to);
	return rc;
}

/* A second name for what is there; 1: nothing is. */
static int
name_aside(const char *dir, const char *path, bool damaged, char aside[64])
{
	time_t now = time(NULL);
	char to[STORE_PATH_ROOM], day[24];
	struct tm tm;
	int rc;

	gmtime_r(&now, &tm);
	strftime(day, sizeof(day), "%Y%m%dT%H%M%SZ", &tm);
	for (int i = 0; i < NAMES_MAX; i++) {
		snprintf(aside, 64, STORE_DATA ".%s-%s", damaged ? "damaged" : "replaced", day);
		if (i > 0)
			snprintf(aside + strlen(aside), 64 - strlen(aside), ".%d", i);
		rc = store_path(to, dir, aside);
		if (rc != 0)
			return rc;
		if (link(path, to) == 0)
			return store_fsync_dir(dir);
		if (errno == ENOENT) {
			aside[0] = '\0';
			return 1;
		}
		if (errno != EEXIST)
			break;
	}
	return stash__fail_errno("%s: can't be set aside as %s", path, aside);
}

/* The new one, or none, in its place; LMDB's lock file belongs to the old one. */
static int
exchange(const char *dir, const char *path, const char *temporary, bool install)
{
	char lock[STORE_PATH_ROOM];
	int rc = store_path(lock, dir, STORE_LOCK_FILE);

	if (rc != 0)
		return rc;
	if (install ? rename(temporary, path) != 0 : unlink(path) != 0 && errno != ENOENT)
		return stash__fail_errno("%s: can't be replaced", path);
	if (unlink(lock) != 0 && errno != ENOENT)
		return stash__fail_errno("%s: can't be removed", lock);
	return store_fsync_dir(dir);
}

int
store_restore(const char *dir, const struct store_backup *backup, bool damaged, char aside[64])
{
	char path[STORE_PATH_ROOM], temporary[STORE_PATH_ROOM];
	int rc = store_path(path, dir, STORE_DATA);

	if (rc == 0)
		rc = store_path(temporary, dir, STORE_DATA ".restored");
	if (rc != 0)
		return rc;
	/* Whoever began it before was killed. */
	if (unlink(temporary) != 0 && errno != ENOENT)
		return stash__fail_errno("%s: can't be removed", temporary);
	if (backup != NULL)
		rc = copy_in(dir, backup, temporary);
	if (rc == 0)
		rc = name_aside(dir, path, damaged, aside);
	if (rc >= 0)
		rc = exchange(dir, path, temporary, backup != NULL);
	if (rc != 0)
		unlink(temporary);
	return rc;
}
