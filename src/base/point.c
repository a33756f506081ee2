/* SPDX-License-Identifier: ISC */
/*
 * Dying at a chosen point, for the search of crash points; see point.h. Empty
 * in a normal build. A wrong $STASH_CRASH stops the process at once, lest a
 * test passes because nobody died.
 */
#include "base/point.h"

#ifdef STASH_POINTS

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>

#include <stash/message.h>

#include "base/assert.h"

static struct {
	char text[512];	      /* of $STASH_CRASH; what follows points into it */
	const char *point;    /* NULL: nobody dies */
	const char *process;  /* NULL: whoever passes */
	int64_t at;	      /* the passing at which to die, from 1 */
	char fired[PATH_MAX]; /* "": no file */
} crash;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic int64_t passed;
static const char *kind_of_process = "client";
static char name_of_worker[STASH_NAME_MAX + 1];

static void
read_environment(void)
{
	const char *text = getenv("STASH_CRASH"), *dir = getenv("STASH_CRASH_DIR");
	char *count, *process;

	if (text == NULL || text[0] == '\0')
		return;
	STASH_ASSERT(strlcpy(crash.text, text, sizeof(crash.text)) < sizeof(crash.text));
	count = strchr(crash.text, ':');
	STASH_ASSERT(count != NULL && count > crash.text);
	*count++ = '\0';
	process = strchr(count, ':');
	if (process != NULL)
		*process++ = '\0';
	STASH_ASSERT(stash_parse_int(count, 1, INT64_MAX, &crash.at) == 0);
	if (dir != NULL)
		STASH_ASSERT((size_t)snprintf(crash.fired, sizeof(crash.fired), "%s/fired", dir) < sizeof(crash.fired));
	crash.process = process;
	crash.point = crash.text;
}

/* Makes the file by which only one dies; false: somebody has. */
static bool
first_to_die(void)
{
	char text[STASH_NAME_MAX + 600];
	int fd, len;

	if (crash.fired[0] == '\0')
		return true;
	fd = open(crash.fired, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd == -1) {
		STASH_ASSERT(errno == EEXIST);
		return false;
	}
	len = snprintf(
	    text, sizeof(text), "%s %ld %s %s\n", crash.point, (long)getpid(), kind_of_process, name_of_worker);
	STASH_ASSERT(write(fd, text, (size_t)len) == len);
	close(fd);
	return true;
}

void
stash__point(const char *point)
{
	int saved = errno;

	pthread_once(&once, read_environment);
	if (crash.point == NULL || strcmp(crash.point, point) != 0)
		return;
	if (crash.process != NULL && strcmp(crash.process, kind_of_process) != 0 &&
	    (name_of_worker[0] == '\0' || strcmp(crash.process, name_of_worker) != 0))
		return;
	if (atomic_fetch_add(&passed, 1) + 1 == crash.at && first_to_die()) {
		kill(getpid(), SIGKILL);
		for (;;)
			pause();
	}
	errno = saved;
}

void
stash__point_process(const char *kind, const char *name)
{
	kind_of_process = kind;
	strlcpy(name_of_worker, name == NULL ? "" : name, sizeof(name_of_worker));
	atomic_store(&passed, 0);
}

#endif
