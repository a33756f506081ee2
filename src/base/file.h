/* SPDX-License-Identifier: ISC */
/*
 * Reading from files at a place, and whose files are that root makes.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

/* As pread(), and on after a signal and after a part of it: fewer bytes only where the file ends.  -1: errno. */
static inline ssize_t
stash__read_at(int fd, void *to, size_t len, off_t at)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)to + done, len - done, at + (off_t)done);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			done += (size_t)n;
	}
	return (ssize_t)done;
}

/*
 * What root makes in a directory of another user's would be root's, and that user's stashd couldn't open it.  So it is
 * given to the owner of the directory (user and group), before it has its name, and when it is known what is in it.
 * Only what was made by the caller is: whoever owns the directory may have put there a link to something else.  0, also
 * for everybody but root and where root owns the directory, or STASH_E_* with a sentence; path: of the file, for it.
 */
int stash__give_to_owner(int fd, const char *path, const char *dir);
/* Makes an empty file (0600) for that owner, for a function that opens it or makes it, unless there is one; does
 * nothing where nothing has to be given. */
int stash__make_for_owner(const char *dir, const char *name);

#endif
