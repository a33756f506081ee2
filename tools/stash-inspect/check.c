/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect check: whether a store, or a backup, is whole: everything is
 * read, in a process that may die of it, and all that is wrong is told. Of a
 * store that a stashd uses it is a copy that is looked at.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/error.h"
#include "base/text.h"
#include "stash-inspect/inspect.h"
#include "store/backup.h"

#define WAIT_MS 3600000
#define SOME 1 /* something was found, and the data are whole */

struct checking {
	const struct tool *t;
	struct stash_store *store; /* NULL: a backup is looked at */
	bool online;
	struct store_findings findings;
	struct store_report report;
	struct store_backup backup; /* that is looked at; of a store: the newest */
	char dir[PATH_MAX];	    /* of a store whose database was named */
	unsigned slots, backups;
	int status;
};

/* ---- what is said ---- */

static void
worse(struct checking *c, int status)
{
	if (c->status != EX_DATAERR && status != 0)
		c->status = status;
}

/* "WHAT: TEXT", and in JSON what it was. */
static void STASH_PRINTF(4, 5) tell(struct checking *c, const char *what, bool good, const char *fmt, ...)
{
	char text[1200];
	json_t *line;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (!c->t->json) {
		fprintf(c->t->out, "%-8s ", what);
		stash__escape_to(c->t->out, text, strlen(text));
		putc('\n', c->t->out);
		return;
	}
	line = tool_json();
	tool_json_set(line, "what", json_string(what));
	tool_json_set(line, "good", json_boolean(good));
	tool_json_set(line, "text", tool_json_string(text));
	tool_json_line(c->t, line);
}

static void
tell_good(struct checking *c, const char *what, const char *path)
{
	char size[TOOL_TIME_MAX], when[TOOL_TIME_MAX];
	uint64_t rows = 0;

	for (int db = 0; db < STORE_DB_COUNT; db++)
		rows += c->report.rows[db];
	tell(c, what, true, "good: %s: %s, %llu rows, %llu states, the newest of %s, transaction %llu", path,
	    tool_bytes(c->report.bytes, size), (unsigned long long)rows, (unsigned long long)c->report.states,
	    tool_time_local(c->report.newest_ns, when), (unsigned long long)c->report.txn);
}

static void
tell_findings(struct checking *c, const char *what)
{
	const struct store_findings *f = &c->findings;

	for (uint32_t i = 0; i < f->count && i < STORE_FINDINGS_MAX; i++)
		tell(c, what, false, "%s", f->text[i]);
	if (f->count > STORE_FINDINGS_MAX)
		tell(c, what, false, "and %u more", f->count - STORE_FINDINGS_MAX);
}

/* ---- the store ---- */

/* A file without a name, so that nothing of it is left when this process is over, however it ends; its directory: where
 * large files may be. */
static int
temporary(void)
{
	const char *dir = getenv("TMPDIR");
	char path[PATH_MAX];
	int fd, code;

	snprintf(path, sizeof path, "%s/stash-check.XXXXXX", dir != NULL && *dir == '/' ? dir : "/var/tmp");
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return stash__fail_errno("%s: a copy of the store can't be made there", path);
	if (unlink(path) == 0)
		return fd;
	code = stash__fail_errno("%s: can't be removed", path);
	close(fd);
	return code;
}

/* The thread's message, with the path that people know in place of the file's. */
static int
fail_as(int code, const char *file, const char *path)
{
	const char *text = stash_errmsg(), *at = strstr(text, file);

	if (at == NULL || strcmp(file, path) == 0)
		return code;
	return stash__fail(code, "%.*s%s%s", (int)(at - text), text, path, at + strlen(file));
}

/* Looks at a file; path: as people are to see it. */
static int
check_file(struct checking *c, const char *file, const char *what, const char *path, const uint8_t *id)
{
	struct store_options options = { .map_bytes = stash__reader_map_bytes };
	uint8_t found[STORE_ID_LEN];
	int code = store_check_file(file, &options, &c->findings, &c->report, found);

	if (code == 0 && id != NULL && memcmp(found, id, sizeof found) != 0) {
		tell(c, what, false, "%s: is of another store than its text file says", path);
		worse(c, EX_DATAERR);
	} else if (code == 0) {
		tell_good(c, what, path);
	} else if (code == 1) {
		tell_findings(c, what);
		worse(c, EX_DATAERR);
	}
	return code < 0 ? fail_as(code, file, path) : 0;
}

static int
check_copy(struct checking *c)
{
	char file[STORE_FD_PATH];
	int fd = temporary(), code;

	if (fd < 0)
		return fd;
	code = stash__store_copy(c->store, fd, tool_timeout(c->t, WAIT_MS), &c->online);
	if (code == 0)
		code = check_file(
		    c, store_fd_path(fd, file), "store", stash__store_dir(c->store), stash__store_info(c->store)->id);
	close(fd);
	return code;
}

/* Under the lock that keeps a starting stashd away. */
static int
check_in_place(struct checking *c)
{
	const char *dir = stash__store_dir(c->store);
	char path[PATH_MAX];
	int lock, code = store_lock(dir, false, 1000, &lock);

	if (code < 0)
		return code;
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	code = check_file(c, path, "store", dir, stash__store_info(c->store)->id);
	close(lock);
	return code;
}

static int
check_slot(void *arg, const char *name)
{
	struct checking *c = arg;
	struct stash_state state;
	int code = stash__slot_read(c->store, name, true, &state, NULL);

	/* One that is gone meanwhile is no finding. */
	if (code == STASH_E_CORRUPT || code == STASH_E_FORMAT) {
		tell(c, "slot", false, "%s: %s", name, stash_errmsg());
		worse(c, SOME);
	}
	c->slots += code == 0;
	return 0;
}

static int
check_slots(struct checking *c)
{
	int code = stash__reader_enter(c->store);

	if (code < 0)
		return code;
	code = stash__slot_names(c->store, check_slot, c);
	stash__reader_leave(c->store);
	if (code == 0)
		tell(c, "slots", true, "%u are whole", c->slots);
	return code;
}

static int
count_backup(void *arg, const struct store_backup *backup)
{
	struct checking *c = arg;

	if (c->backups++ == 0)
		c->backup = *backup;
	return 0;
}

/* The newest one only: the others are looked at when they are named. */
static int
check_backups(struct checking *c)
{
	const struct stash__info *info = stash__store_info(c->store);
	struct store_options options = { .map_bytes = stash__reader_map_bytes };
	int code = store_backup_each(stash__store_dir(c->store), info->id, count_backup, c);

	if (code < 0) {
		tell(c, "backups", false, "%s", stash_errmsg());
		worse(c, SOME);
		return 0;
	}
	if (c->backups == 0) {
		tell(c, "backups", true, "none is known");
		return 0;
	}
	code = store_backup_verify(&c->backup, &options, NULL);
	if (code < 0) {
		tell(c, "backups", false, "%s", stash_errmsg());
		worse(c, SOME);
		return 0;
	}
	tell(c, "backups", true, "%u are known; the newest is good: %s", c->backups, c->backup.path);
	return 0;
}

static int
check_store(struct checking *c)
{
	int code = stash__store_online(c->store);

	if (code < 0)
		return code;
	c->online = code > 0;
	code = c->online ? check_copy(c) : check_in_place(c);
	/* A directory that has a name, and no database yet. */
	if (code == STASH_E_NOENT && !c->online) {
		tell(c, "store", true, "%s", stash_errmsg());
		code = 0;
	}
	if (code == 0)
		code = check_slots(c);
	return code == 0 ? check_backups(c) : code;
}

/* ---- a backup ---- */

static int
check_backup(struct checking *c, const char *path)
{
	struct store_options options = { .map_bytes = stash__reader_map_bytes };
	int code = store_backup_read(path, NULL, &c->backup), checked;

	if (code < 0)
		return code;
	/* All that is wrong with it, then whether it is what it was. */
	code = check_file(c, c->backup.path, "backup", c->backup.path, c->backup.has_info ? c->backup.id : NULL);
	if (code < 0 || c->status != 0)
		return code;
	checked = store_backup_verify(&c->backup, &options, NULL);
	if (checked == STASH_E_CORRUPT) {
		tell(c, "backup", false, "%s", stash_errmsg());
		worse(c, EX_DATAERR);
		return 0;
	}
	if (checked == 0 && c->backup.has_info)
		tell(c, "backup", true, "made %s by version %s, of the store %s", c->backup.made, c->backup.version,
		    c->backup.id_text);
	return checked;
}

/* Whether the operand is the directory of a store. */
static bool
is_store(const char *path)
{
	char info[PATH_MAX];

	return snprintf(info, sizeof info, "%s/stash.info", path) < (int)sizeof info && access(info, F_OK) == 0;
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct checking *c = tool_alloc(sizeof *c);
	const char *path = argc > 1 ? argv[1] : NULL;
	int status = 0, code = 0;

	memset(c, 0, sizeof *c);
	c->t = t;
	/* A store's database is looked at as the store: somebody may write to it meanwhile. */
	if (path == NULL || is_store(path) || store_backup_is_database(path, c->dir)) {
		if (path != NULL)
			t->dir = *c->dir != '\0' ? c->dir : path;
		status = look_store(t, &c->store);
		if (status == 0)
			code = check_store(c);
	} else {
		code = check_backup(c, path);
	}
	if (code < 0)
		status = tool_error(t, code, "check");
	else if (status == 0)
		status = c->status;
	stash_store_close(c->store);
	free(c);
	return status;
}

const struct tool_command inspect_check = {
	.name = "check",
	.usage = "[DIR | BACKUP]",
	.help = "look at all of a store or backup, tell all that is wrong",
	.max = 1,
	.options = "t",
	.run = run,
};
