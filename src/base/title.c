/* SPDX-License-Identifier: ISC */
/*
 * title.c: see title.h. libbsd complains on standard error when it was not prepared, so it isn't asked then.
 */
#include "base/title.h"

#include <stdbool.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <bsd/unistd.h>

static bool prepared;

void
stash__title_init(int argc, char **argv)
{
	setproctitle_init(argc, argv, environ);
	prepared = true;
}

void
stash__title(const char *title)
{
	if (prepared)
		setproctitle("-%s", title);
	(void)prctl(PR_SET_NAME, title);
}
