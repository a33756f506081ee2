/* SPDX-License-Identifier: ISC */
/*
 * Reading from files at a place.
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

#endif
