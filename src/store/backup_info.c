/* SPDX-License-Identifier: ISC */
/*
 * backup_info.c: the text file of a backup, "KEY = VALUE" on each line, and whether the backup is what it says.
 */
#include <sys/stat.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bsd/string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stash/error.h>

#include "base/clock.h"
#include "base/error.h"
#include "store/backup.h"
#include "store/env.h"

#define INFO_MAX 4096
#define BLOCK (256u << 10)
#define DATA_END ".mdb"
#define INFO_END ".info"

/* ---- checksum ---- */

static int
sum_blocks(int fd, const char *what, unsigned char *block, XXH3_state_t *state)
{
	off_t at = 0;
	ssize_t n;

	XXH3_128bits_reset(state);
	while ((n = pread(fd, block, BLOCK, at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stash__fail_errno("%s: can't be read", what);
		XXH3_128bits_update(state, block, (size_t)n);
		at += n;
	}
	return 0;
}

int
store_backup_sum(int fd, const char *what, char text[STORE_BACKUP_SUM])
{
	unsigned char *block = malloc(BLOCK);
	XXH3_state_t *state = XXH3_createState();
	XXH128_canonical_t sum;
	int rc;

	if (block == NULL || state == NULL)
		rc = stash__fail(STASH_E_NOMEM, "no memory to read %s", what);
	else
		rc = sum_blocks(fd, what, block, state);
	if (rc == 0) {
		XXH128_canonicalFromHash(&sum, XXH3_128bits_digest(state));
		for (size_t i = 0; i < sizeof(sum.digest); i++)
			snprintf(text + 2 * i, 3, "%02x", sum.digest[i]);
	}
	free(block);
	XXH3_freeState(state);
	return rc;
}

/* ---- names ---- */

static bool
ends_in(const char *path, const char *end)
{
	size_t len = strlen(path), n = strlen(end);

	return len > n && strcmp(path + len - n, end) == 0;
}

/* The same with another end. */
static int
other_end(char to[PATH_MAX], const char *path, const char *end, const char *other)
{
	int len = (int)(strlen(path) - strlen(end));

	if (snprintf(to, PATH_MAX, "%.*s%s", len, path, other) >= PATH_MAX)
		return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", path);
	return 0;
}

/* ---- write ---- */

static void
write_lines(FILE *out, const void *backup)
{
	const struct store_backup *b = backup;
	const char *file = strrchr(b->path, '/');

	fprintf(out, "# A backup of a store of stash. stashctl restore installs it.\nformat = %u\nstore = ", b->format);
	for (size_t i = 0; i < STORE_ID_LEN; i++)
		fprintf(out, "%02x", b->id[i]);
	fprintf(out, "\nmade = %s\nversion = %s\nfile = %s\nbytes = %llu\nxxh3 = %s\n", b->made, b->version,
	    file != NULL ? file + 1 : b->path, (unsigned long long)b->bytes, b->checksum);
	fprintf(out, "transaction = %llu\nstates = %llu\n", (unsigned long long)b->txn, (unsigned long long)b->states);
}

int
store_backup_write_info(const struct store_backup *b)
{
	char path[PATH_MAX];
	int rc = other_end(path, b->path, DATA_END, INFO_END);

	return rc == 0 ? store_text_replace(path, write_lines, b) : rc;
}

/* ---- read ---- */

static bool
parse_id(struct store_backup *b, const char *value)
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(value) != 2 * STORE_ID_LEN || strspn(value, digits) != 2 * STORE_ID_LEN)
		return false;
	for (size_t i = 0; i < STORE_ID_LEN; i++)
		b->id[i] = (uint8_t)((strchr(digits, value[2 * i]) - digits) << 4 |
		    (strchr(digits, value[2 * i + 1]) - digits));
	strlcpy(b->id_text, value, sizeof(b->id_text));
	return true;
}

static bool
parse_time(struct store_backup *b, const char *value)
{
	struct tm tm = { 0 };
	int ms = 0, end = 0;

	if (sscanf(value, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
		&tm.tm_min, &tm.tm_sec, &ms, &end) != 7 ||
	    end == 0 || value[end] != '\0')
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	b->made_ns = (int64_t)timegm(&tm) * STASH__NS_PER_S + ms * STASH__NS_PER_MS;
	strlcpy(b->made, value, sizeof(b->made));
	return true;
}

static bool
parse_number(const char *value, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(value, &end, 10);
	return isdigit((unsigned char)value[0]) && *end == '\0' && errno == 0;
}

static bool
parse_sum(struct store_backup *b, const char *value)
{
	return strspn(value, "0123456789abcdef") == STORE_BACKUP_SUM - 1 &&
	    strlcpy(b->checksum, value, sizeof(b->checksum)) == STORE_BACKUP_SUM - 1;
}

enum { SEEN_FORMAT = 1, SEEN_STORE = 2, SEEN_MADE = 4, SEEN_BYTES = 8, SEEN_SUM = 16, SEEN_ALL = 31 };

/* One line; false: it can't be parsed.  A key that isn't known is a later version's. */
static bool
parse_line(char *line, struct store_backup *b, unsigned *seen)
{
	char *value = strstr(line, " = ");
	uint64_t number;

	if (line[0] == '#' || line[0] == '\0')
		return true;
	if (value == NULL)
		return false;
	*value = '\0';
	value += 3;
	if (strcmp(line, "format") == 0) {
		*seen |= SEEN_FORMAT;
		if (!parse_number(value, &number) || number == 0 || number > UINT32_MAX)
			return false;
		b->format = (uint32_t)number;
		return true;
	}
	if (strcmp(line, "store") == 0) {
		*seen |= SEEN_STORE;
		return parse_id(b, value);
	}
	if (strcmp(line, "made") == 0) {
		*seen |= SEEN_MADE;
		return parse_time(b, value);
	}
	if (strcmp(line, "bytes") == 0) {
		*seen |= SEEN_BYTES;
		return parse_number(value, &b->bytes);
	}
	if (strcmp(line, "xxh3") == 0) {
		*seen |= SEEN_SUM;
		return parse_sum(b, value);
	}
	if (strcmp(line, "version") == 0)
		strlcpy(b->version, value, sizeof(b->version));
	if (strcmp(line, "transaction") == 0)
		return parse_number(value, &b->txn);
	if (strcmp(line, "states") == 0)
		return parse_number(value, &b->states);
	return true;
}

static int
parse(const char *path, char *text, struct store_backup *b)
{
	unsigned seen = 0;
	int number = 0;
	char *line;

	while ((line = strsep(&text, "\n")) != NULL) {
		number++;
		if (!parse_line(line, b, &seen))
			return stash__fail(STASH_E_FORMAT, "%s: line %d can't be parsed", path, number);
		if ((seen & SEEN_FORMAT) != 0 && b->format != STORE_FORMAT)
			return stash__fail(STASH_E_FORMAT,
			    "%s: the backup has format %u, this program knows format %u only", path, b->format,
			    STORE_FORMAT);
	}
	return seen == SEEN_ALL ? 0 : stash__fail(STASH_E_FORMAT, "%s: isn't the text file of a backup", path);
}

/* STASH_E_NOENT without a sentence: there is no such file. */
static int
read_info(const char *path, struct store_backup *b)
{
	char text[INFO_MAX];
	FILE *file = fopen(path, "re");
	size_t len;
	bool failed;

	if (file == NULL)
		return errno == ENOENT ? STASH_E_NOENT : stash__fail_errno("%s: can't be opened", path);
	len = fread(text, 1, sizeof(text) - 1, file);
	failed = ferror(file) != 0;
	fclose(file);
	if (failed)
		return stash__fail(STASH_E_SYSTEM, "%s: can't be read", path);
	text[len] = '\0';
	return parse(path, text, b);
}

/* The newest in a directory: names are in the order of times. */
static int
newest_in(const char *dir, const uint8_t *id, char path[PATH_MAX])
{
	struct store_backup b;
	struct dirent **list;
	int n = scandir(dir, &list, NULL, alphasort), rc = STASH_E_NOENT;

	if (n < 0)
		return stash__fail_errno("%s: can't be read", dir);
	for (int i = n - 1; i >= 0; i--) {
		if (rc == STASH_E_NOENT && strncmp(list[i]->d_name, "stash-", 6) == 0 &&
		    ends_in(list[i]->d_name, INFO_END) &&
		    snprintf(path, PATH_MAX, "%s/%s", dir, list[i]->d_name) < PATH_MAX && read_info(path, &b) == 0 &&
		    (id == NULL || memcmp(b.id, id, STORE_ID_LEN) == 0))
			rc = 0;
		free(list[i]);
	}
	free(list);
	return rc == 0 ? 0 : stash__fail(rc, "%s: there is no backup%s in it", dir, id != NULL ? " of this store" : "");
}

int
store_backup_read(const char *given, const uint8_t *id, struct store_backup *b)
{
	char path[PATH_MAX], info[PATH_MAX];
	struct stat st;
	int rc = 0;

	memset(b, 0, sizeof(*b));
	if (realpath(given, path) == NULL || stat(path, &st) != 0)
		return errno == ENOENT ? stash__fail(STASH_E_NOENT, "%s: there is no such backup", given) :
					 stash__fail_errno("%s", given);
	if (S_ISDIR(st.st_mode)) {
		strlcpy(info, path, sizeof(info));
		rc = newest_in(info, id, path);
	}
	if (rc != 0)
		return rc;
	if (ends_in(path, INFO_END))
		rc = other_end(b->path, path, INFO_END, DATA_END);
	else
		strlcpy(b->path, path, sizeof(b->path));
	if (rc == 0 && stat(b->path, &st) != 0)
		rc = errno == ENOENT ? stash__fail(STASH_E_NOENT, "%s: the backup's database is missing", b->path) :
				       stash__fail_errno("%s", b->path);
	if (rc == 0 && !S_ISREG(st.st_mode))
		rc = stash__fail(STASH_E_FORMAT, "%s: isn't a backup", b->path);
	if (rc != 0)
		return rc;
	rc = ends_in(b->path, DATA_END) ? other_end(info, b->path, DATA_END, INFO_END) : STASH_E_NOENT;
	if (rc == 0)
		rc = read_info(info, b);
	b->has_info = rc == 0;
	if (rc != STASH_E_NOENT)
		return rc;
	/* A database alone: a store that was set aside, a copy of somebody's. */
	b->bytes = (uint64_t)st.st_size;
	b->made_ns = st.st_mtim.tv_sec * STASH__NS_PER_S + st.st_mtim.tv_nsec;
	return 0;
}

bool
store_backup_is_database(const char *path, char dir[PATH_MAX])
{
	char real[PATH_MAX], info[STORE_PATH_ROOM];
	char *name = realpath(path, real) != NULL ? strrchr(real, '/') : NULL;

	if (name == NULL || strcmp(name + 1, STORE_DATA) != 0)
		return false;
	*name = '\0';
	if (store_path(info, real, "stash.info") != 0 || access(info, F_OK) != 0)
		return false;
	strlcpy(dir, real, PATH_MAX);
	return true;
}

/* ---- verify ---- */

static int
verify_bytes(const struct store_backup *b)
{
	char sum[STORE_BACKUP_SUM];
	struct stat st;
	int fd = open(b->path, O_RDONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return stash__fail_errno("%s", b->path);
	if (fstat(fd, &st) != 0)
		rc = stash__fail_errno("%s", b->path);
	else if ((uint64_t)st.st_size != b->bytes)
		rc = stash__fail(STASH_E_CORRUPT, "%s: damaged: it has %llu bytes, and had %llu when it was made",
		    b->path, (unsigned long long)st.st_size, (unsigned long long)b->bytes);
	if (rc == 0)
		rc = store_backup_sum(fd, b->path, sum);
	close(fd);
	if (rc == 0 && strcmp(sum, b->checksum) != 0)
		rc = stash__fail(
		    STASH_E_CORRUPT, "%s: damaged: its checksum isn't what it was when it was made", b->path);
	return rc;
}

int
store_backup_verify(struct store_backup *b, const struct store_options *given, struct store_report *report)
{
	struct store_options options = given != NULL ? *given : (struct store_options){ 0 };
	struct store_child_result result = { 0 };
	int rc = b->has_info ? verify_bytes(b) : 0;

	if (options.map_bytes == 0)
		options.map_bytes = STORE_MAP_BYTES;
	if (rc == 0)
		rc = store_probe_file(b->path, &options, NULL, &result);
	if (rc != 0)
		return rc;
	if (b->has_info && memcmp(result.meta.id, b->id, STORE_ID_LEN) != 0)
		return stash__fail(STASH_E_CORRUPT, "%s: is of another store than its text file says", b->path);
	memcpy(b->id, result.meta.id, STORE_ID_LEN);
	for (size_t i = 0; i < STORE_ID_LEN; i++)
		snprintf(b->id_text + 2 * i, 3, "%02x", b->id[i]);
	b->states = result.report.states;
	b->txn = result.report.txn;
	if (report != NULL)
		*report = result.report;
	return 0;
}
