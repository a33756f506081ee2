/* SPDX-License-Identifier: ISC */
/*
 * main.c: workers that are programs of their own: stash_worker_main().
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/behaviour.h>

#include "base/error.h"
#include "shm/wire.h"
#include "worker/worker.h"

int
stash_worker_main(const struct stash_behaviour *behaviour, int argc, char **argv)
{
	const char *text = getenv(STASH__WORKER_ENV);
	static struct stash_behaviour taken;
	int64_t fd = -1;

	(void)argc; /* the spec's args come with START, as a module's do */
	(void)argv;
	if (stash__behaviour_take(&taken, behaviour) < 0)
		return EX_USAGE;
	if (text == NULL || stash_parse_int(text, 3, INT32_MAX, &fd) < 0 || fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
		(void)stash__fail(STASH_E_INVAL, "not started by a supervisor: %s names no socket", STASH__WORKER_ENV);
		return EX_USAGE;
	}
	(void)unsetenv(STASH__WORKER_ENV);
	return stash__worker_run(&taken, (int)fd);
}
