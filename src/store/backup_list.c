/* SPDX-License-Identifier: ISC */
/*
 * backup_list.c: the list of a store's backups, in its directory: a line for each, "TIME PATH", the newest last.  It is
 * written as a whole under another name; what isn't there any more is left out then.  It is for finding them only:
 * whether one is good is asked of the backup itself.
 */
#include <sys/file.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>

#include <stash/error.h>

#include "base/error.h"
#include "base/text.h"
#include "store/backup.h"
#include "store/env.h"

#define KEPT 100 /* the newest so many are noted */

struct list {
	char *paths[KEPT];
	char *times[KEPT];
	size_t count;
};

static void
list_free(struct list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->paths[i]);
		free(list->times[i]);
	}
	list->count = 0;
}

static int
list_add(struct list *list, const char *time, const char *path)
{
	if (list->count == KEPT) {
		free(list->paths[0]);
		free(list->times[0]);
		memmove(list->paths, list->paths + 1, (KEPT - 1) * sizeof(list->paths[0]));
		memmove(list->times, list->times + 1, (KEPT - 1) * sizeof(list->times[0]));
		list->count--;
	}
	list->paths[list->count] = strdup(path);
	list->times[list->count] = strdup(time);
	if (list->paths[list->count] == NULL || list->times[list->count] == NULL) {
		free(list->paths[list->count]);
		free(list->times[list->count]);
		return stash__fail(STASH_E_NOMEM, "no memory for the list of backups");
	}
	list->count++;
	return 0;
}

/* Not there any more, as against: where this user may not look. */
static bool
is_gone(const char *path)
{
	return access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

static int
list_lines(FILE *file, const char *path, struct list *list)
{
	char line[PATH_MAX + STORE_BACKUP_TIME + 2], *space;
	int rc = 0;

	while (rc == 0 && fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		space = strchr(line, ' ');
		if (line[0] == '#' || space == NULL || space[1] != '/')
			continue;
		*space = '\0';
		if (strlen(line) < STORE_BACKUP_TIME && !is_gone(space + 1))
			rc = list_add(list, line, space + 1);
	}
	return rc == 0 && ferror(file) ? stash__fail_errno("%s: can't be read", path) : rc;
}

/* Those whose files are there.  Without a list there are none; one that can't be read may have some.  After a failure
 * there is nothing to be freed. */
static int
list_read(const char *dir, struct list *list)
{
	char path[STORE_PATH_ROOM];
	FILE *file;
	int rc = store_path(path, dir, STORE_BACKUP_LIST);

	memset(list, 0, sizeof(*list));
	if (rc != 0)
		return rc;
	file = fopen(path, "re");
	if (file == NULL)
		return errno == ENOENT ? 0 : stash__fail_errno("%s: can't be read", path);
	rc = list_lines(file, path, list);
	fclose(file);
	if (rc != 0)
		list_free(list);
	return rc;
}

static void
write_lines(FILE *out, const void *arg)
{
	const struct list *list = arg;

	fputs("# Backups of this store. Written by stash-inspect backup.\n", out);
	for (size_t i = 0; i < list->count; i++)
		fprintf(out, "%s %s\n", list->times[i], list->paths[i]);
}

static int
list_write(const char *dir, const struct list *list)
{
	char path[STORE_PATH_ROOM];
	int rc = store_path(path, dir, STORE_BACKUP_LIST);

	return rc == 0 ? store_text_replace(path, write_lines, list) : rc;
}

int
store_backup_note(const char *dir, const struct store_backup *backup)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	struct list list;

	if (fd < 0)
		return stash__fail_errno("%s", dir);
	/* Two backups at once: one after the other writes the list. */
	if (flock(fd, LOCK_EX) != 0) {
		rc = stash__fail_errno("%s: can't be locked", dir);
	} else {
		/* What can't be read isn't replaced: the backups in it would be forgotten. */
		rc = list_read(dir, &list);
		if (rc == 0)
			rc = list_add(&list, backup->made, backup->path);
		if (rc == 0)
			rc = list_write(dir, &list);
		list_free(&list);
	}
	close(fd);
	return rc;
}

int
store_backup_each(
    const char *dir, const uint8_t id[STORE_ID_LEN], int (*fn)(void *arg, const struct store_backup *), void *arg)
{
	struct store_backup *backup = malloc(sizeof(*backup));
	struct list list;
	struct stat st;
	int rc;

	if (backup == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a backup");
	rc = list_read(dir, &list);
	for (size_t i = list.count; i > 0 && rc == 0; i--) {
		if (store_backup_read(list.paths[i - 1], NULL, backup) == 0 && backup->has_info &&
		    memcmp(backup->id, id, STORE_ID_LEN) == 0 && stat(backup->path, &st) == 0 &&
		    (uint64_t)st.st_size == backup->bytes)
			rc = fn(arg, backup);
	}
	list_free(&list);
	free(backup);
	return rc;
}

static int
take(void *arg, const struct store_backup *backup)
{
	*(struct store_backup *)arg = *backup;
	return 1;
}

/* Without what would change the line that it stands in. */
static void
quote(char *to, size_t size, const char *path)
{
	stash__escape(to, size, path, strlen(path));
}

/* Whether there are some that another user may look at. */
static bool
are_hidden(const char *dir)
{
	struct list list;
	bool hidden = false;

	if (list_read(dir, &list) != 0)
		return false;
	for (size_t i = 0; i < list.count; i++)
		hidden = hidden || (access(list.paths[i], R_OK) != 0 && errno == EACCES);
	list_free(&list);
	return hidden;
}

/* None was found: rc says why, or there is none.  Whoever may look at them is sent to the list, not past it. */
static void
advise_without(const char *dir, int rc, char text[STORE_ADVICE_MAX])
{
	char where[160], why[200];

	quote(where, sizeof(where), dir);
	quote(why, sizeof(why), stash_errmsg());
	if (rc < 0)
		snprintf(text, STORE_ADVICE_MAX,
		    "Which backups there are can't be told: %s. As root, restore the newest: stashctl -d %s restore",
		    why, where);
	else if (are_hidden(dir))
		snprintf(text, STORE_ADVICE_MAX,
		    "There are backups that user %u may not read. As root, restore the newest: stashctl -d %s restore",
		    (unsigned)geteuid(), where);
	else
		snprintf(text, STORE_ADVICE_MAX,
		    "There is no backup that is known here; restore another one: stashctl -d %s restore BACKUP; "
		    "or have it set aside and begin with an empty store: stashctl -d %s restore --empty",
		    where, where);
}

const char *
store_backup_advice(const char *dir, char text[STORE_ADVICE_MAX])
{
	struct store_backup *newest = calloc(1, sizeof(*newest));
	struct stash__info info;
	int rc = newest == NULL ? stash__fail(STASH_E_NOMEM, "no memory for a backup") : stash__info_read(dir, &info);

	if (rc == 0)
		rc = store_backup_each(dir, info.id, take, newest);
	if (rc == 1) {
		char where[160], path[250];

		quote(where, sizeof(where), dir);
		quote(path, sizeof(path), newest->path);
		snprintf(text, STORE_ADVICE_MAX, "Restore the newest backup, of %s: stashctl -d %s restore %s",
		    newest->made, where, path);
	} else {
		advise_without(dir, rc, text);
	}
	free(newest);
	return text;
}
