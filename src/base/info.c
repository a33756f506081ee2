/* SPDX-License-Identifier: ISC */
/* stash.info; see info.h. */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/info.h"
#include "base/random.h"
#include "base/text.h"

#define INFO_NAME "stash.info"
#define INFO_MAX 8192

static void
hex(char text[STASH__STORE_ID_TEXT], const uint8_t id[STASH__STORE_ID_LEN])
{
	for (size_t i = 0; i < STASH__STORE_ID_LEN; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

static bool
unhex(uint8_t id[STASH__STORE_ID_LEN], const char *text)
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(text) != 2 * STASH__STORE_ID_LEN || strspn(text, digits) != 2 * STASH__STORE_ID_LEN)
		return false;
	for (size_t i = 0; i < STASH__STORE_ID_LEN; i++)
		id[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4 |
		    (strchr(digits, text[2 * i + 1]) - digits));
	return true;
}

/* One line must be able to hold it, and a tool to print it. */
static bool
good_run_dir(const char *path)
{
	const char *at = path;
	size_t left = strlen(path), n;
	uint32_t cp;

	if (path[0] != '/')
		return false;
	for (; left > 0; at += n, left -= n) {
		n = stash__utf8_next(at, left, &cp);
		if (n == 0 || stash__is_control(cp))
			return false;
	}
	return true;
}

/* A full disk is no mistake of anybody's: it has a code of its own. */
static int
fail_write(const char *path)
{
	if (errno == ENOSPC || errno == EDQUOT)
		return stash__fail(STASH_E_FULL, "%s: there is no room for it; make some", path);
	return stash__fail_errno("%s: can't be written", path);
}

static int
make_path(char path[PATH_MAX], const char *dir, const char *name)
{
	if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", dir);
	return 0;
}

static int
sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return stash__fail_errno("%s: can't be opened", dir);
	if (fsync(fd) != 0)
		rc = fail_write(dir);
	close(fd);
	return rc;
}

/* The directory may have been made a moment ago: its own name is of the one above, and lost with what is in it if
 * that isn't synced.  Whoever may not read that one can't do it. */
static int
sync_above(const char *dir)
{
	char path[PATH_MAX];
	int rc = make_path(path, dir, "..");

	if (rc == 0)
		rc = sync_dir(path);
	return rc == STASH_E_ACCES ? 0 : rc;
}

static int
write_all(int fd, const char *text, size_t len)
{
	ssize_t n;

	for (; len > 0; text += n, len -= (size_t)n) {
		n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return -1;
	}
	return 0;
}

/* The whole file under a temporary name: on the disk, and not yet in its place. */
static int
write_temporary(char temporary[PATH_MAX], const char *dir, const struct stash__info *info)
{
	char text[INFO_MAX], id[STASH__STORE_ID_TEXT];
	int fd, len, rc;

	if (!good_run_dir(info->run_dir))
		return stash__fail(
		    STASH_E_INVAL, "%s: the run directory isn't an absolute path of printable UTF-8", dir);
	rc = make_path(temporary, dir, INFO_NAME ".XXXXXX");
	if (rc != 0)
		return rc;
	hex(id, info->id);
	len = snprintf(text, sizeof(text),
	    "# The store in this directory. Written by stashd, not to be edited.\nformat = %u\nid = %s\nrun = %s\n",
	    info->format, id, info->run_dir);
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return stash__fail_errno("%s: nothing can be created in it", dir);
	rc = stash__give_to_owner(fd, temporary, dir);
	if (rc == 0 && (write_all(fd, text, (size_t)len) != 0 || fsync(fd) != 0))
		rc = fail_write(temporary);
	if (rc != 0)
		unlink(temporary);
	close(fd);
	return rc;
}

int
stash__info_new(struct stash__info *info)
{
	memset(info, 0, sizeof(*info));
	info->format = STASH__INFO_FORMAT;
	if (stash__random(info->id, sizeof(info->id)) < 0)
		return STASH_E_SYSTEM;
	hex(info->id_text, info->id);
	return 0;
}

int
stash__info_create(const char *dir, const struct stash__info *info)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	int rc = make_path(path, dir, INFO_NAME);

	if (rc == 0)
		rc = sync_above(dir);
	if (rc == 0)
		rc = write_temporary(temporary, dir, info);
	if (rc != 0)
		return rc;
	/* Not rename: an id that somebody relies on is never replaced. */
	if (link(temporary, path) != 0)
		rc = errno == EEXIST ? stash__fail(STASH_E_EXIST, "%s: is there already", path) : fail_write(path);
	unlink(temporary);
	return rc == 0 ? sync_dir(dir) : rc;
}

int
stash__info_replace(const char *dir, const struct stash__info *info)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	int rc = make_path(path, dir, INFO_NAME);

	if (rc == 0)
		rc = write_temporary(temporary, dir, info);
	if (rc != 0)
		return rc;
	if (rename(temporary, path) != 0) {
		rc = fail_write(path);
		unlink(temporary);
		return rc;
	}
	return sync_dir(dir);
}

enum { SEEN_FORMAT = 1, SEEN_ID = 2, SEEN_RUN = 4, SEEN_ALL = 7 };

/* One line, "KEY = VALUE". False: can't be parsed. */
static bool
parse_line(char *line, struct stash__info *info, unsigned *seen)
{
	char *equals = strstr(line, " = "), *value, *end;
	unsigned long format;

	if (line[0] == '#' || line[0] == '\0')
		return true;
	if (equals == NULL)
		return false;
	*equals = '\0';
	value = equals + 3;
	if (strcmp(line, "format") == 0) {
		format = strtoul(value, &end, 10);
		*seen |= SEEN_FORMAT;
		info->format = (uint32_t)format;
		return value[0] >= '1' && value[0] <= '9' && *end == '\0' && format <= UINT32_MAX;
	}
	if (strcmp(line, "id") == 0) {
		*seen |= SEEN_ID;
		strlcpy(info->id_text, value, sizeof(info->id_text));
		return unhex(info->id, value);
	}
	if (strcmp(line, "run") == 0) {
		*seen |= SEEN_RUN;
		return good_run_dir(value) &&
		    strlcpy(info->run_dir, value, sizeof(info->run_dir)) < sizeof(info->run_dir);
	}
	/* A key that a later version adds without changing the format. */
	return true;
}

static int
parse(const char *path, char *text, struct stash__info *info)
{
	unsigned seen = 0;
	int number = 0;
	char *line;

	while ((line = strsep(&text, "\n")) != NULL) {
		number++;
		if (!parse_line(line, info, &seen))
			return stash__fail(
			    STASH_E_FORMAT, "%s: line %d can't be parsed; put back the original file", path, number);
		if ((seen & SEEN_FORMAT) != 0 && info->format != STASH__INFO_FORMAT)
			return stash__fail(STASH_E_FORMAT,
			    "%s: the store has format %u, this program knows format %u only", path, info->format,
			    STASH__INFO_FORMAT);
	}
	if (seen != SEEN_ALL)
		return stash__fail(STASH_E_FORMAT, "%s: has no line for %s; put back the original file", path,
		    (seen & SEEN_FORMAT) == 0 ? "format" :
			(seen & SEEN_ID) == 0 ? "id" :
						"run");
	return 0;
}

/* A file and nothing else: neither a link, nor a pipe that would be waited for.  NULL: the thread's message. */
static FILE *
open_info(const char *path, int *rc)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	FILE *file;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
		*rc = stash__fail(
		    STASH_E_NOENT, "%s: there is none: no store in this directory; stashd makes it", path);
		return NULL;
	}
	if (fd < 0 && errno != ELOOP) {
		*rc = stash__fail_errno("%s: can't be opened", path);
		return NULL;
	}
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		*rc = stash__fail(STASH_E_ACCES, "%s: isn't a file: somebody has put %s in its place; put it back",
		    path, fd < 0 ? "a symbolic link" : "something else");
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	file = fdopen(fd, "r");
	if (file == NULL) {
		*rc = stash__fail(STASH_E_NOMEM, "%s: no memory to read it", path);
		close(fd);
	}
	return file;
}

int
stash__info_read(const char *dir, struct stash__info *info)
{
	char path[PATH_MAX], text[INFO_MAX];
	size_t len;
	FILE *file;
	bool failed;
	int rc = make_path(path, dir, INFO_NAME);

	memset(info, 0, sizeof(*info));
	if (rc != 0)
		return rc;
	file = open_info(path, &rc);
	if (file == NULL)
		return rc;
	len = fread(text, 1, sizeof(text) - 1, file);
	failed = ferror(file) != 0;
	fclose(file);
	if (failed)
		return stash__fail(STASH_E_SYSTEM, "%s: can't be read", path);
	text[len] = '\0';
	if (strlen(text) != len)
		return stash__fail(STASH_E_FORMAT, "%s: isn't text; put back the original file", path);
	return parse(path, text, info);
}
