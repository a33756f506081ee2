/* SPDX-License-Identifier: ISC */
/*
 * share.c: modes for users whom the config lets in (modes.h).  To call, one has to get through both directories, read
 * stash.info, which has no secrets, and connect; so these have mode bits, and the broker looks at credentials.  Slots
 * hold states: they are opened by name, in access control lists, to readers alone.  New slot files take theirs from
 * the directory's default list.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "shm/wire.h"
#include "stashd/modes.h"

#define ACL_FILE "system.posix_acl_access"
#define ACL_NEW_FILES "system.posix_acl_default"
#define ACL_VERSION 2
#define SHM_BASE "/dev/shm/stash-" /* rundir.c's last resort, which is this user's alone */

/* ---- access control lists, as the kernel has them in an attribute ---- */

enum { ACL_OWNER = 0x01, ACL_USER = 0x02, ACL_GROUP = 0x04, ACL_MASK = 0x10, ACL_OTHER = 0x20 };

struct acl_entry {
	uint16_t tag, perm;
	uint32_t id;
};

struct acl {
	uint32_t version;
	struct acl_entry entries[];
};

static struct acl_entry
entry(unsigned tag, unsigned perm, uint32_t id)
{
	return (struct acl_entry){ htole16((uint16_t)tag), htole16((uint16_t)perm), htole32(id) };
}

static int
compare_ids(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The owner all of `owner', each reader all of `reader', nobody else anything.  NULL: no memory. */
static struct acl *
make_acl(const struct access_ids *readers, unsigned owner, unsigned reader, size_t *len)
{
	struct acl *acl = malloc(sizeof(*acl) + (readers->n + 4) * sizeof(struct acl_entry));
	uint32_t *ids = malloc((readers->n + 1) * sizeof(*ids));
	size_t n = 0;

	if (acl == NULL || ids == NULL) {
		free(acl);
		free(ids);
		return NULL;
	}
	if (readers->n > 0)
		memcpy(ids, readers->ids, readers->n * sizeof(*ids));
	qsort(ids, readers->n, sizeof(*ids), compare_ids);
	acl->version = htole32(ACL_VERSION);
	acl->entries[n++] = entry(ACL_OWNER, owner, UINT32_MAX);
	for (size_t i = 0; i < readers->n; i++)
		if (i == 0 || ids[i] != ids[i - 1])
			acl->entries[n++] = entry(ACL_USER, reader, ids[i]);
	acl->entries[n++] = entry(ACL_GROUP, 0, UINT32_MAX);
	acl->entries[n++] = entry(ACL_MASK, reader, UINT32_MAX);
	acl->entries[n++] = entry(ACL_OTHER, 0, UINT32_MAX);
	free(ids);
	*len = sizeof(*acl) + n * sizeof(struct acl_entry);
	return acl;
}

static int
set_acl(
    int fd, const char *path, const char *attribute, const struct access_ids *readers, unsigned owner, unsigned reader)
{
	size_t len;
	struct acl *acl = make_acl(readers, owner, reader, &len);
	int result = 0;

	if (acl == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for an access control list");
	if (fsetxattr(fd, attribute, acl, len, 0) < 0)
		result = errno == EOPNOTSUPP ?
		    stash__fail(STASH_E_SYSTEM,
			"%s: read_only_users need a file system with access control lists there, as tmpfs has them: "
			"take another run_dir",
			path) :
		    stash__fail_errno("%s: read_only_users can't be let in", path);
	free(acl);
	return result;
}

static int
drop_acl(int fd, const char *path, const char *attribute)
{
	if (fremovexattr(fd, attribute) < 0 && errno != ENODATA && errno != EOPNOTSUPP)
		return stash__fail_errno("%s: its access control list can't be removed", path);
	return 0;
}

/* ---- slots ---- */

static int
share_file(int dirfd, const char *name, const struct access_ids *readers)
{
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), result = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		(void)stash__fail_errno(STASH__SLOT_DIR "/%s", name);
		if (fd >= 0)
			close(fd);
		return STASH_E_SYSTEM;
	}
	if (S_ISFIFO(st.st_mode)) {
		close(fd); /* a worker's bell: whoever may read it may take its rings */
		return 0;
	}
	if (readers->n > 0)
		result = set_acl(fd, name, ACL_FILE, readers, 6, 4);
	else
		result = drop_acl(fd, name, ACL_FILE);
	if (result == 0 && readers->n == 0 && fchmod(fd, 0600) < 0)
		result = stash__fail_errno(STASH__SLOT_DIR "/%s: its mode can't be changed", name);
	close(fd);
	return result;
}

/* The lists of the directory: its own, and that of files to come. */
static int
share_slot_dir(int fd, const char *path, const struct access_ids *readers)
{
	int result;

	if (readers->n > 0) {
		result = set_acl(fd, path, ACL_FILE, readers, 7, 5);
		return result == 0 ? set_acl(fd, path, ACL_NEW_FILES, readers, 7, 4) : result;
	}
	result = drop_acl(fd, path, ACL_FILE);
	if (result == 0)
		result = drop_acl(fd, path, ACL_NEW_FILES);
	if (result == 0 && fchmod(fd, 0700) < 0)
		result = stash__fail_errno("%s: its mode can't be changed", path);
	return result;
}

static int
share_slots(const char *run_dir, const struct access_ids *readers)
{
	char path[PATH_MAX + sizeof(STASH__SLOT_DIR) + 1];
	struct dirent *entry;
	int fd, result;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/" STASH__SLOT_DIR, run_dir);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (dir == NULL) {
		result = stash__fail_errno("%s: can't be opened", path);
		if (fd >= 0)
			close(fd);
		return result;
	}
	result = share_slot_dir(fd, path, readers);
	while (result == 0 && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			result = share_file(fd, entry->d_name, readers);
	closedir(dir);
	return result;
}

/* ---- directories ---- */

static int
set_mode(const char *path, mode_t clear, mode_t set)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), result = 0;
	struct stat st;
	mode_t mode;

	if (fd < 0)
		return stash__fail_errno("%s: can't be opened", path);
	if (fstat(fd, &st) < 0)
		result = stash__fail_errno("%s", path);
	mode = (st.st_mode & 07777 & ~clear) | set;
	if (result == 0 && mode != (st.st_mode & 07777) && fchmod(fd, mode) < 0)
		result = stash__fail_errno("%s: its mode can't be changed to %o", path, (unsigned)mode);
	close(fd);
	return result;
}

/* A directory above through which not everybody gets: said once for each path. */
static void
warn_closed(const char *path)
{
	char above[PATH_MAX];
	char *slash;
	struct stat st;

	snprintf(above, sizeof(above), "%s", path);
	while ((slash = strrchr(above, '/')) != NULL && slash != above) {
		*slash = '\0';
		if (stat(above, &st) < 0 || (st.st_mode & S_IXOTH) != 0)
			continue;
		stash__log(LOG_WARNING,
		    "%s: not everybody gets through it (mode %o): users who are let in by allow_users, allow_groups or "
		    "read_only_users may be kept out of %s; chmod o+x it, or take another directory",
		    above, (unsigned)st.st_mode & 07777, path);
		return;
	}
}

/* The run directory's base, where it is one that nobody else uses. */
static int
share_base(const char *run_dir)
{
	char base[PATH_MAX];
	char *slash;
	struct stat st;

	snprintf(base, sizeof(base), "%s", run_dir);
	slash = strrchr(base, '/');
	if (slash == NULL || strncmp(base, SHM_BASE, sizeof(SHM_BASE) - 1) != 0)
		return 0;
	*slash = '\0';
	if (strchr(base + sizeof(SHM_BASE) - 1, '/') != NULL || lstat(base, &st) < 0 || st.st_uid != geteuid())
		return 0;
	return set_mode(base, 0, 0011);
}

int
modes_share(const char *dir, const char *run_dir, const struct access_rules *rules)
{
	char info[PATH_MAX + 16];
	bool any = access_any(rules);
	int result = share_slots(run_dir, &rules->readers);

	snprintf(info, sizeof(info), "%s/stash.info", dir);
	if (result == 0)
		result = set_mode(run_dir, 07777, any ? 0711 : 0700);
	if (result == 0)
		result = set_mode(info, 07777, any ? 0644 : 0600);
	if (result < 0 || !any)
		return result;
	/* The store's directory stays as it is else: it is the operator's. */
	result = set_mode(dir, 0, 0011);
	if (result == 0)
		result = share_base(run_dir);
	if (result == 0) {
		warn_closed(dir);
		warn_closed(run_dir);
	}
	return result;
}
