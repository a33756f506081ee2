/* SPDX-License-Identifier: ISC */
/*
 * leftover.c: names that are in no tree any more, and behind which somebody who died was still clearing up: a slot that
 * isn't closed, or whose last incarnation isn't even retired; channels, of which the keeper has the descriptors.  Each
 * is taken for a child that has just gone: opening its slot retires, and what follows lets go (down.c, release.c).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "stashd/server.h"

/* What its specification would say: of its slot nothing is to change, nor of what the store has of it. */
static void
take_options(struct worker *w)
{
	int in = worker_file(w, "in", O_RDONLY), out = worker_file(w, "out", O_RDONLY);
	struct stash__in_page in_page;
	struct stash__out_page out_page;

	if (in >= 0 && stash__read_at(in, &in_page, sizeof(in_page), 0) == (ssize_t)sizeof(in_page)) {
		w->plan.no_persist = atomic_load(&in_page.no_persist) != 0;
		w->plan.history = atomic_load(&in_page.history);
	}
	if (out >= 0 && stash__read_at(out, &out_page, sizeof(out_page), 0) == (ssize_t)sizeof(out_page))
		w->plan.ack_disk = atomic_load(&out_page.ack_disk) != 0;
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
}

static bool
has_slot_file(const struct worker *w)
{
	char file[STASH__SLOT_FILE_MAX];

	stash__slot_file(file, w->name, "in");
	return faccessat(w->server->slot_fd, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
clear_up(struct worker *w)
{
	w->gone = true;
	w->status = STASH_STOPPED;
	w->down_due = true;
	if (has_slot_file(w))
		take_options(w);
	else if (LIST_EMPTY(&w->channels))
		return;
	takeover_expect(w);
}

/* The name of a slot that nobody else has spoken of. */
static int
find(struct server *s, const char *file)
{
	char name[STASH_NAME_MAX + 1];

	/* The in half is made last and deleted first: what has one is a slot. */
	return !stash__slot_name(name, file, "in") || worker_get(s, name) != NULL ? 0 : STASH_E_NOMEM;
}

int
leftover_find(struct server *s)
{
	int fd = fcntl(s->slot_fd, F_DUPFD_CLOEXEC, 3), result = 0;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	struct worker *w;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return stash__fail_errno("the slots can't be listed");
	}
	rewinddir(dir);
	while (result == 0 && (errno = 0, entry = readdir(dir)) != NULL)
		result = find(s, entry->d_name);
	if (result == 0 && errno != 0)
		result = stash__fail_errno("the slots can't be listed");
	closedir(dir);
	if (result < 0)
		return result;
	RB_FOREACH(w, worker_names, &s->names) {
		if (w->spec == NULL)
			clear_up(w);
	}
	return 0;
}
