/* SPDX-License-Identifier: ISC */
/*
 * rundir.c: finding a place for what has to outlive processes, and not a reboot.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/error.h"
#include "base/log.h"
#include "shm/wire.h"
#include "stashd/modes.h"
#include "stashd/rundir.h"

/* ---- bases ---- */

/* A directory of ours, made if need be; nobody else may write there, or he could put his files in place of ours. */
static int
have_dir(const char *path, mode_t mode)
{
	int result;

	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return stash__fail_errno("%s: can't be made", path);
	result = modes_check_dir(path);
	if (result == 0 && access(path, R_OK | W_OK | X_OK) < 0)
		result = stash__fail_errno("%s", path);
	return result;
}

/* The same of a base. Where it is the operator who has said so, it may be a link, as systemd makes them. */
static int
have_base(const char *path, mode_t mode, bool told)
{
	char real[PATH_MAX];

	if (told && realpath(path, real) != NULL)
		return have_dir(real, mode);
	return have_dir(path, mode);
}

static bool
on_tmpfs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* Candidate i; false: there are no more.  "" if it isn't set. */
static bool
candidate(int i, char path[PATH_MAX], mode_t *mode)
{
	const char *value;

	path[0] = '\0';
	*mode = 0755;
	switch (i) {
	case 0:
		value = getenv("RUNTIME_DIRECTORY");
		if (value != NULL && value[0] == '/')
			snprintf(path, PATH_MAX, "%.*s", (int)strcspn(value, ":"), value);
		return true;
	case 1:
		strlcpy(path, "/run/stash", PATH_MAX);
		return true;
	case 2:
		value = getenv("XDG_RUNTIME_DIR");
		if (value != NULL && value[0] == '/')
			snprintf(path, PATH_MAX, "%s/stash", value);
		return true;
	case 3:
		*mode = 0700;
		snprintf(path, PATH_MAX, "/dev/shm/stash-%u", (unsigned)geteuid());
		return true;
	default:
		return false;
	}
}

int
rundir_base(char base[PATH_MAX])
{
	char path[PATH_MAX];
	mode_t mode;

	base[0] = '\0';
	for (int i = 0; candidate(i, path, &mode); i++) {
		if (path[0] == '\0' || have_base(path, mode, i <= 1) < 0)
			continue;
		if (on_tmpfs(path)) {
			strlcpy(base, path, PATH_MAX);
			return 0;
		}
		if (base[0] == '\0')
			strlcpy(base, path, PATH_MAX);
	}
	if (base[0] != '\0')
		return 0;
	return stash__fail(
	    STASH_E_SYSTEM, "no directory for slots and socket can be had; the last one tried: %s", stash_errmsg());
}

/* ---- one run directory ---- */

bool
rundir_has_slots(const char *run_dir)
{
	char path[PATH_MAX];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	if (snprintf(path, sizeof(path), "%s/" STASH__SLOT_DIR, run_dir) >= (int)sizeof(path) ||
	    (dir = opendir(path)) == NULL)
		return false;
	while (!found && (entry = readdir(dir)) != NULL)
		found = entry->d_name[0] != '.';
	closedir(dir);
	return found;
}

int
rundir_make(const char *run_dir)
{
	static const char *const below[] = { STASH__SLOT_DIR, STASH__WAY_DIR };
	char path[PATH_MAX];
	int result = have_dir(run_dir, 0700);

	for (size_t i = 0; result == 0 && i < sizeof(below) / sizeof(below[0]); i++) {
		if (snprintf(path, sizeof(path), "%s/%s", run_dir, below[i]) >= (int)sizeof(path))
			return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", run_dir);
		result = have_dir(path, 0700);
	}
	return result == 0 ? modes_check_run(run_dir) : result;
}

/* Where it is to be from now on. */
static int
choose(const char *asked, struct stash__info *info)
{
	char base[PATH_MAX], chosen[PATH_MAX];
	int result = 0;

	if (asked != NULL && asked[0] != '/')
		return stash__fail(STASH_E_INVAL, "%s: the run directory has to be an absolute path", asked);
	if (asked != NULL) {
		strlcpy(chosen, asked, sizeof(chosen));
	} else {
		result = rundir_base(base);
		if (result == 0 &&
		    snprintf(chosen, sizeof(chosen), "%s/%s", base, info->id_text) >= (int)sizeof(chosen))
			result = stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", base);
	}
	if (result == 0)
		strlcpy(info->run_dir, chosen, sizeof(info->run_dir));
	return result;
}

int
rundir_prepare(const char *dir, const char *asked, struct stash__info *info)
{
	char noted[PATH_MAX];
	int result = stash__info_read(dir, info);
	bool is_new = result == STASH_E_NOENT;

	if (result < 0 && !is_new)
		return result;
	if (is_new && stash__info_new(info) < 0)
		return STASH_E_SYSTEM;
	strlcpy(noted, info->run_dir, sizeof(noted));
	result = choose(asked, info);
	if (result < 0)
		return result;
	if (!is_new && strcmp(noted, info->run_dir) != 0 && rundir_has_slots(noted)) {
		stash__log(
		    LOG_WARNING, "%s: holds what was left there: used once more, in place of %s", noted, info->run_dir);
		strlcpy(info->run_dir, noted, sizeof(info->run_dir));
	}
	/* Noted before it is made: nobody would find it again, after a death in between. */
	if (is_new)
		result = stash__info_create(dir, info);
	else if (strcmp(noted, info->run_dir) != 0)
		result = stash__info_replace(dir, info);
	return result == 0 ? rundir_make(info->run_dir) : result;
}

/* Files between workers, which mean nothing without the slots. */
static void
clean_ways(const char *run_dir)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	if (snprintf(path, sizeof(path), "%s/" STASH__WAY_DIR, run_dir) >= (int)sizeof(path) ||
	    (dir = opendir(path)) == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	(void)rmdir(path);
}

void
rundir_clean(const char *run_dir)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/" STASH__SOCKET_NAME, run_dir) < (int)sizeof(path))
		(void)unlink(path);
	/* What isn't stored is in there. */
	if (snprintf(path, sizeof(path), "%s/" STASH__SLOT_DIR, run_dir) < (int)sizeof(path) && rmdir(path) < 0 &&
	    errno != ENOENT)
		return;
	clean_ways(run_dir);
	(void)rmdir(run_dir);
}
