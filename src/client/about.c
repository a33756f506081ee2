/* SPDX-License-Identifier: ISC */
/*
 * about.c: who runs the tree: supervisor and keeper, their versions; and asking for the binary that stands on the disk.
 */
#include <stdio.h>
#include <string.h>

#include <bsd/string.h>

#include "base/error.h"
#include "client/client.h"
#include "shm/wire.h"

static int
on_about(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	struct stash__about *about = arg;
	int result = stash__answer_error(v, type == STASH__B_DONE);

	(void)fds;
	(void)nfds;
	if (result < 0 || type != STASH__B_ABOUT_IS)
		return result < 0 ? result : stash__answer_garbled();
	strlcpy(about->version, stash_view_text(v), sizeof about->version);
	about->supervisor = stash__view_range(v, 1, INT32_MAX);
	about->starts = (uint64_t)stash__view_range(v, 0, INT64_MAX);
	about->generation = (uint64_t)stash__view_range(v, 0, INT64_MAX);
	strlcpy(about->keeper_version, stash_view_text(v), sizeof about->keeper_version);
	about->keeper = stash__view_range(v, 0, INT32_MAX);
	return stash_view_end(v) < 0 ? stash__answer_garbled() : STASH_OK;
}

int
stash__about(struct stash_client *c, struct stash__about *about, int timeout_ms)
{
	int result = stash__client_check(c, "stash__about");

	memset(about, 0, sizeof *about);
	return result < 0 ? result : stash__client_request(c, STASH__B_ABOUT, NULL, timeout_ms, on_about, about);
}

static int
on_reexeced(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	struct stash__about *next = arg;
	int result = stash__answer_error(v, type == STASH__B_DONE);

	(void)fds;
	(void)nfds;
	if (result < 0 || type != STASH__B_REEXECED)
		return result < 0 ? result : stash__answer_garbled();
	strlcpy(next->version, stash_view_text(v), sizeof next->version);
	next->generation = (uint64_t)stash__view_range(v, 0, INT64_MAX);
	return stash_view_end(v) < 0 ? stash__answer_garbled() : STASH_OK;
}

int
stash__reexec(struct stash_client *c, struct stash__about *next, int timeout_ms)
{
	int result = stash__client_check(c, "stash__reexec");

	memset(next, 0, sizeof *next);
	return result < 0 ? result : stash__client_request(c, STASH__B_REEXEC, NULL, timeout_ms, on_reexeced, next);
}
