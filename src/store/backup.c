/* SPDX-License-Identifier: ISC */
/*
 * backup.c: making a backup.  The copy is written under a name that nobody looks for, verified by a child, synced, and
 * only then named; its text file comes last.  Whatever ends this in between leaves the directory's backups as they
 * were.
 */
#include <sys/file.h>
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bsd/string.h>

#include <stash/error.h>
#include <stash/version.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "store/backup.h"
#include "store/env.h"

#define BLOCK (256u << 10)
#define TEMPORARY ".stash-backup."
#define NAMES_MAX 100 /* that are tried when several are made at once */

static int
same_dir(const char *a, const char *b)
{
	struct stat one, two;

	if (stat(a, &one) != 0)
		return stash__fail_errno("%s", a);
	if (stat(b, &two) != 0)
		return stash__fail_errno("%s", b);
	return one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

/* ---- the file that has no name yet ---- */

/* What somebody left there who was killed: nobody has its lock.  What can't be removed is only in the way. */
static void
sweep(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		int fd;

		if (strncmp(e->d_name, TEMPORARY, sizeof(TEMPORARY) - 1) != 0)
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			(void)unlinkat(dirfd(d), e->d_name, 0);
		if (fd >= 0)
			close(fd);
	}
	if (d != NULL)
		closedir(d);
}

/* Made and locked; one that was swept away before it had its lock is made again. */
static int
make_temporary(struct store_backup_file *file)
{
	struct stat st = { 0 };

	for (int i = 0; i < NAMES_MAX; i++) {
		snprintf(file->temporary, sizeof(file->temporary), "%s/" TEMPORARY "XXXXXX", file->dir);
		file->fd = mkostemp(file->temporary, O_CLOEXEC);
		if (file->fd < 0)
			break;
		/* Where there are no locks nobody sweeps either. */
		if (flock(file->fd, LOCK_EX) != 0 || (fstat(file->fd, &st) == 0 && st.st_nlink > 0))
			return 0;
		store_backup_abort(file);
	}
	return stash__fail_errno("%s: nothing can be created in it", file->dir);
}

int
store_backup_begin(struct store_backup_file *file, const char *dir, const char *to_dir)
{
	int same = same_dir(dir, to_dir);

	file->fd = -1;
	if (same < 0)
		return same;
	if (same)
		return stash__fail(STASH_E_INVAL,
		    "%s: is the store's own directory: what takes one of them would take both; name another one",
		    to_dir);
	if (realpath(to_dir, file->dir) == NULL)
		return stash__fail_errno("%s", to_dir);
	sweep(file->dir);
	return make_temporary(file);
}

void
store_backup_abort(struct store_backup_file *file)
{
	if (file->fd < 0)
		return;
	close(file->fd);
	unlink(file->temporary);
	file->fd = -1;
}

/* A time in the form of RFC 3339, and without what may not be in file names. */
static void
write_times(int64_t ns, char made[STORE_BACKUP_TIME], char name[STORE_BACKUP_TIME])
{
	time_t seconds = ns / STASH__NS_PER_S;
	int ms = (int)(ns % STASH__NS_PER_S / STASH__NS_PER_MS);
	char day[24];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(made, STORE_BACKUP_TIME, "%s.%03dZ", day, ms);
	strftime(day, sizeof(day), "%Y%m%dT%H%M%S", &tm);
	snprintf(name, STORE_BACKUP_TIME, "%s.%03dZ", day, ms);
}

/* Its name, which nothing had before. */
static int
give_name(const struct store_backup_file *file, struct store_backup *backup)
{
	char name[STORE_BACKUP_TIME];

	backup->made_ns = stash__time_ns();
	for (int i = 0; i < NAMES_MAX; i++, backup->made_ns += STASH__NS_PER_MS) {
		write_times(backup->made_ns, backup->made, name);
		if (snprintf(backup->path, sizeof(backup->path), "%s/stash-%s.mdb", file->dir, name) >=
		    (int)sizeof(backup->path))
			return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", file->dir);
		if (link(file->temporary, backup->path) == 0)
			return 0;
		if (errno != EEXIST)
			break;
	}
	return stash__fail_errno("%s: can't be made", backup->path);
}

static int
put_in_place(struct store_backup_file *file, struct store_backup *backup)
{
	int rc;

	/* Not before it is known what is in it. */
	rc = stash__give_to_owner(file->fd, file->temporary, file->dir);
	if (rc != 0)
		return rc;
	if (fchmod(file->fd, 0600) != 0 || fsync(file->fd) != 0)
		return store_fail(errno, "%s: the copy can't be synced", file->dir);
	rc = give_name(file, backup);
	if (rc != 0)
		return rc;
	unlink(file->temporary);
	close(file->fd);
	file->fd = -1;
	rc = store_fsync_dir(file->dir);
	if (rc == 0)
		rc = store_backup_write_info(backup);
	if (rc != 0)
		unlink(backup->path);
	return rc;
}

/* A copy that can't be read is a store that can't: it says so in words that don't send anybody to the copy. */
static int
fail_damaged(const struct store_child_result *result)
{
	return stash__fail(STASH_E_CORRUPT,
	    "the copy of the store is damaged, and so the store is: %s. No backup was made", result->text);
}

int
store_backup_finish(struct store_backup_file *file, const uint8_t id[STORE_ID_LEN], const struct store_options *given,
    struct store_backup *backup)
{
	struct store_options options = given != NULL ? *given : (struct store_options){ 0 };
	struct store_child_result result = { 0 };
	char path[STORE_FD_PATH];
	int rc;

	memset(backup, 0, sizeof(*backup));
	if (options.map_bytes == 0)
		options.map_bytes = STORE_MAP_BYTES;
	/* By its descriptor: its name is in somebody's directory. */
	rc = store_probe_file(store_fd_path(file->fd, path), &options, NULL, &result);
	if (rc == STASH_E_CORRUPT)
		rc = fail_damaged(&result);
	else if (result.code != 0)
		rc = stash__fail(rc, "%s: the copy can't be looked at: %s", file->dir, result.text);
	if (rc == 0 && memcmp(result.meta.id, id, STORE_ID_LEN) != 0)
		rc = stash__fail(STASH_E_CORRUPT, "the copy is of another store than stash.info says");
	if (rc == 0)
		rc = store_backup_sum(file->fd, file->dir, backup->checksum);
	if (rc == 0) {
		backup->has_info = true;
		backup->format = STORE_FORMAT;
		memcpy(backup->id, id, STORE_ID_LEN);
		strlcpy(backup->version, stash_version(), sizeof(backup->version));
		backup->bytes = result.report.bytes;
		backup->txn = result.report.txn;
		backup->states = result.report.states;
		rc = put_in_place(file, backup);
	}
	store_backup_abort(file);
	return rc;
}

static int
copy_bytes(int from, int to, const char *path, unsigned char *block)
{
	ssize_t n, done;

	while ((n = read(from, block, BLOCK)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stash__fail_errno("%s: can't be read", path);
		for (ssize_t at = 0; at < n; at += done) {
			done = write(to, block + at, (size_t)(n - at));
			if (done < 0 && errno == EINTR)
				done = 0;
			else if (done < 0)
				return store_fail(errno, "the copy of %s can't be written", path);
		}
	}
	return 0;
}

int
store_copy_bytes(const char *path, int fd)
{
	unsigned char *block;
	int from = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (from < 0)
		return errno == ENOENT ?
		    stash__fail(STASH_E_NOENT, "%s: there is none: no database was made yet", path) :
		    stash__fail_errno("%s", path);
	block = malloc(BLOCK);
	rc = block == NULL ? stash__fail(STASH_E_NOMEM, "no memory to copy %s", path) :
			     copy_bytes(from, fd, path, block);
	free(block);
	close(from);
	return rc;
}

int
store_backup_copy_file(const char *dir, int fd)
{
	char path[STORE_PATH_ROOM];
	int rc = store_path(path, dir, STORE_DATA);

	return rc == 0 ? store_copy_bytes(path, fd) : rc;
}
