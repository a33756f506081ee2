/* SPDX-License-Identifier: ISC */
/* Files that root makes in a directory of somebody else's; see file.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

/* Whether the directory is another user's, and this is root. */
static bool
is_anothers(const char *dir, struct stat *st)
{
	return geteuid() == 0 && stat(dir, st) == 0 && st->st_uid != 0;
}

int
stash__give_to_owner(int fd, const char *path, const char *dir)
{
	struct stat owner, file;

	if (!is_anothers(dir, &owner))
		return 0;
	/* Where a file system has one owner for all its files, nothing can be given, nor needs to be. */
	if (fstat(fd, &file) == 0 && file.st_uid == owner.st_uid)
		return 0;
	if (fchown(fd, owner.st_uid, owner.st_gid) == 0)
		return 0;
	return stash__fail_errno("%s: can't be given to user %u, whose the directory is", path, (unsigned)owner.st_uid);
}

int
stash__make_for_owner(const char *dir, const char *name)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	struct stat st;
	int fd, result;

	if (!is_anothers(dir, &st))
		return 0;
	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path) ||
	    snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
		return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", dir);
	if (lstat(path, &st) == 0)
		return 0;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return stash__fail_errno("%s: nothing can be created in it", dir);
	result = stash__give_to_owner(fd, path, dir);
	/* Not rename: somebody may have made it meanwhile, and locked it. */
	if (result == 0 && link(temporary, path) < 0 && errno != EEXIST)
		result = stash__fail_errno("%s: can't be made", path);
	unlink(temporary);
	close(fd);
	return result;
}
