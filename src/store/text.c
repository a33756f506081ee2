/* SPDX-License-Identifier: ISC */
/*
 * text.c: small text files beside a store and its backups, each replaced as a whole: who reads one finds the former or
 * the new one, also after a power failure.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>

#include <stash/error.h>

#include "base/error.h"
#include "base/file.h"
#include "store/env.h"

#define NEW_END ".new"

/* A new file, which belongs to whoever owns the directory. */
static int
make_temporary(const char *temporary, const char *dir)
{
	int fd, rc;

	/* Whoever began it before was killed; a link that somebody has put there isn't followed, nor given away. */
	if (unlink(temporary) != 0 && errno != ENOENT)
		return stash__fail_errno("%s: can't be removed", temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return store_fail(errno, "%s: can't be made", temporary);
	rc = stash__give_to_owner(fd, temporary, dir);
	if (rc == 0)
		return fd;
	close(fd);
	unlink(temporary);
	return rc;
}

/* The errno of what failed; 0: it is on the disk, under its temporary name.  Closes fd. */
static int
write_text(int fd, store_text_fn *fn, const void *arg)
{
	FILE *out = fdopen(fd, "w");
	int error = 0;

	if (out == NULL) {
		error = errno;
		close(fd);
		return error;
	}
	errno = 0;
	fn(out, arg);
	if (fflush(out) != 0 || ferror(out) || fsync(fileno(out)) != 0)
		error = errno != 0 ? errno : EIO;
	if (fclose(out) != 0 && error == 0)
		error = errno;
	return error;
}

int
store_text_replace(const char *path, store_text_fn *fn, const void *arg)
{
	char temporary[PATH_MAX], dir[PATH_MAX];
	int fd, error;

	if (snprintf(temporary, sizeof(temporary), "%s" NEW_END, path) >= (int)sizeof(temporary))
		return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", path);
	strlcpy(dir, path, sizeof(dir));
	*strrchr(dir, '/') = '\0';
	fd = make_temporary(temporary, dir);
	if (fd < 0)
		return fd;
	error = write_text(fd, fn, arg);
	if (error == 0 && rename(temporary, path) != 0)
		error = errno;
	if (error != 0) {
		unlink(temporary);
		return store_fail(error, "%s: can't be written", path);
	}
	return store_fsync_dir(dir);
}
