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
#include "store/env.h"

#define NEW_END ".new"

/* The errno of what failed; 0: it is on the disk, under its temporary name. */
static int
write_text(const char *temporary, store_text_fn *fn, const void *arg)
{
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600), error = 0;
	FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (out == NULL) {
		error = errno;
		if (fd >= 0)
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
	int error;

	if (snprintf(temporary, sizeof(temporary), "%s" NEW_END, path) >= (int)sizeof(temporary))
		return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", path);
	strlcpy(dir, path, sizeof(dir));
	*strrchr(dir, '/') = '\0';
	error = write_text(temporary, fn, arg);
	if (error == 0 && rename(temporary, path) != 0)
		error = errno;
	if (error != 0) {
		unlink(temporary);
		return store_fail(error, "%s: can't be written", path);
	}
	return store_fsync_dir(dir);
}
