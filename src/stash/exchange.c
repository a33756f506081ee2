/* SPDX-License-Identifier: ISC */
/*
 * exchange.c: the operator's word on slots whose store was exchanged; see exchange.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "shm/rows.h"
#include "shm/wire.h"
#include "stash/exchange.h"

#define NAMES_MAX 100

typedef int each_fn(void *arg, int dir, const char *name, int fd);

/* Whether an in half is of this boot and of this store. */
static bool
is_ours(int fd, const struct stash__origin *origin)
{
	struct stash__in_page page;

	return stash__read_at(fd, &page, sizeof page, 0) == (ssize_t)sizeof page && page.magic == STASH__MAGIC_IN &&
	    memcmp(page.boot_id, origin->boot_id, STASH__ID) == 0 &&
	    memcmp(page.store_id, origin->store_id, STASH__ID) == 0;
}

static int
each_file(DIR *dir, const struct stash__origin *origin, each_fn *fn, void *arg)
{
	char name[STASH_NAME_MAX + 1];
	struct dirent *d;
	int result = STASH_OK;

	while (result == STASH_OK && (d = readdir(dir)) != NULL) {
		int fd = stash__slot_name(name, d->d_name, "in") ? openat(dirfd(dir), d->d_name, O_RDWR | O_CLOEXEC) :
								   -1;

		if (fd < 0)
			continue;
		if (is_ours(fd, origin))
			result = fn(arg, dirfd(dir), name, fd);
		close(fd);
	}
	return result;
}

static int
each(const char *run_dir, const struct stash__origin *origin, each_fn *fn, void *arg)
{
	char path[PATH_MAX];
	int result;
	DIR *dir;

	if (snprintf(path, sizeof path, "%s/" STASH__SLOT_DIR, run_dir) >= (int)sizeof path)
		return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", run_dir);
	dir = opendir(path);
	if (dir == NULL)
		return errno == ENOENT ? STASH_OK : stash__fail_errno("%s", path);
	result = each_file(dir, origin, fn, arg);
	closedir(dir);
	return result;
}

/* ---- look ---- */

struct giving {
	int (*fn)(void *arg, const char *name, const struct stash__base *base);
	void *arg;
	const struct stash__origin *origin;
};

static int
give(void *arg, int dir, const char *name, int fd)
{
	struct giving *g = arg;
	struct stash__base *base = NULL;
	struct stash__in in;
	int result;

	(void)dir;
	if (stash__in_map(&in, fd, false, g->origin) == STASH_OK) {
		if (stash__base_copy(&in, &base) < 0)
			base = NULL;
		stash__in_unmap(&in);
	}
	result = g->fn(g->arg, name, base);
	free(base);
	return result;
}

int
stash__exchange_each(const char *run_dir, const struct stash__origin *origin,
    int (*fn)(void *arg, const char *name, const struct stash__base *base), void *arg)
{
	struct giving g = { fn, arg, origin };

	return each(run_dir, origin, give, &g);
}

/* ---- owners ---- */

struct naming {
	int (*fn)(void *arg, const char *name, const struct stash__slot_owner *);
	void *arg;
};

static int
name_owner(void *arg, int dir, const char *name, int fd)
{
	const struct naming *n = arg;
	char file[STASH__SLOT_FILE_MAX];
	struct stash__slot_owner owner;
	struct stash__out_page page;
	struct stat st;
	uint64_t pid = 0;
	int out;

	(void)fd;
	stash__slot_file(file, name, "out");
	out = openat(dir, file, O_RDONLY | O_CLOEXEC);
	if (out < 0)
		return STASH_OK;
	if (fstat(out, &st) == 0 && stash__read_at(out, &page, sizeof page, 0) == (ssize_t)sizeof page &&
	    page.magic == STASH__MAGIC_OUT)
		pid = atomic_load(&page.owner_pid);
	close(out);
	if (pid == 0 || pid > INT32_MAX)
		return STASH_OK;
	owner = (struct stash__slot_owner){ (pid_t)pid, st.st_uid, atomic_load(&page.owner_start) };
	return n->fn(n->arg, name, &owner);
}

int
stash__exchange_owners(const char *run_dir, const struct stash__origin *origin,
    int (*fn)(void *arg, const char *name, const struct stash__slot_owner *), void *arg)
{
	struct naming n = { fn, arg };

	return each(run_dir, origin, name_owner, &n);
}

/* ---- keep ---- */

/* The stash is the only one who writes this half, and there is none. */
static int
forget_durable(void *arg, int dir, const char *name, int fd)
{
	const uint64_t none = 0;

	(void)arg;
	(void)dir;
	if (pwrite(fd, &none, sizeof none, offsetof(struct stash__in_page, durable)) != (ssize_t)sizeof none)
		return stash__fail_errno("the slot of %s can't be written", name);
	return STASH_OK;
}

int
stash__exchange_keep(const char *run_dir, const struct stash__origin *origin)
{
	int result = each(run_dir, origin, forget_durable, NULL), fd;
	char path[PATH_MAX];

	if (result < 0)
		return result;
	if (snprintf(path, sizeof path, "%s/" STASH__ROWS_IN, run_dir) >= (int)sizeof path)
		return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", run_dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? STASH_OK : stash__fail_errno("%s", path);
	if (is_ours(fd, origin))
		result = forget_durable(NULL, -1, STASH__ROWS_NAME, fd);
	close(fd);
	return result;
}

/* ---- discard ---- */

static int
make_aside(const char *run_dir, char aside[PATH_MAX])
{
	time_t now = time(NULL);
	char day[24];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(day, sizeof day, "%Y%m%dT%H%M%SZ", &tm);
	for (int i = 0; i < NAMES_MAX; i++) {
		if (snprintf(aside, PATH_MAX, "%s.discarded-%s.%d", run_dir, day, i) >= PATH_MAX)
			return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", run_dir);
		if (mkdir(aside, 0700) == 0)
			return STASH_OK;
		if (errno != EEXIST)
			break;
	}
	return stash__fail_errno("%s: can't be made", aside);
}

int
stash__exchange_discard(const char *run_dir, char aside[PATH_MAX])
{
	/* The slots last: while they are there, a stash process refuses to start. */
	static const char *const things[] = { STASH__WAY_DIR, STASH__ROWS_NAME, STASH__ROWS_IN, STASH__STATUS_NAME,
		STASH__SLOT_DIR };
	int result = STASH_OK, from, to;
	bool moved = false;

	aside[0] = '\0';
	from = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (from < 0)
		return errno == ENOENT ? STASH_OK : stash__fail_errno("%s", run_dir);
	result = make_aside(run_dir, aside);
	if (result < 0)
		aside[0] = '\0';
	to = result == STASH_OK ? open(aside, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (result == STASH_OK && to < 0)
		result = stash__fail_errno("%s", aside);
	for (size_t i = 0; result == STASH_OK && i < sizeof things / sizeof *things; i++) {
		if (renameat(from, things[i], to, things[i]) == 0)
			moved = true;
		else if (errno != ENOENT)
			result = stash__fail_errno("%s/%s: can't be moved to %s", run_dir, things[i], aside);
	}
	if (!moved && to >= 0) {
		(void)rmdir(aside);
		aside[0] = '\0';
	}
	if (to >= 0)
		close(to);
	close(from);
	return result;
}
