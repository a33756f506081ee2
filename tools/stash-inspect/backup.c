/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect backup: a copy of the store, verified, in a directory of the
 * operator's. It is the one command here that writes something: the backup, and
 * a line in the store's list of backups, by which a damaged store names it.
 */
#include <stdlib.h>
#include <string.h>

#include "stash-inspect/inspect.h"
#include "store/backup.h"

#define WAIT_MS 3600000

struct making {
	const struct tool *t;
	struct stash_store *store;
	struct store_backup backup;
	bool online;
};

static int
make(struct making *m, const char *to)
{
	const char *dir = stash__store_dir(m->store);
	const struct stash__info *info = stash__store_info(m->store);
	struct store_options options = { .map_bytes = stash__reader_map_bytes };
	struct store_backup_file file;
	int code = store_backup_begin(&file, dir, to);

	if (code < 0)
		return code;
	code = stash__store_copy(m->store, file.fd, tool_timeout(m->t, WAIT_MS), &m->online);
	if (code < 0) {
		store_backup_abort(&file);
		return code;
	}
	return store_backup_finish(&file, info->id, &options, &m->backup);
}

static void
print(const struct making *m)
{
	const struct store_backup *b = &m->backup;
	char size[TOOL_TIME_MAX];
	json_t *line;

	if (!m->t->json) {
		fprintf(m->t->out, "%s: %s, %llu states, verified\n", b->path, tool_bytes(b->bytes, size),
		    (unsigned long long)b->states);
		return;
	}
	line = tool_json();
	tool_json_set(line, "online", json_boolean(m->online));
	tool_json_set(line, "path", tool_json_string(b->path));
	tool_json_set(line, "made", tool_json_time(b->made_ns));
	tool_json_set(line, "bytes", tool_json_number(b->bytes));
	tool_json_set(line, "states", tool_json_number(b->states));
	tool_json_set(line, "transaction", tool_json_number(b->txn));
	tool_json_set(line, "xxh3", tool_json_string(b->checksum));
	tool_json_line(m->t, line);
}

/* Then what was folded since the last good commit isn't in any copy. */
static bool
is_full(struct stash_store *store)
{
	struct stash__status_page page;

	return stash__store_status(store, &page) == STASH_OK && page.store_full != 0;
}

/* What the backup hasn't got, and what finds it later. */
static int
afterwards(const struct making *m)
{
	unsigned unsaved = 0;
	int code = m->online && !is_full(m->store) ? 0 : stash__store_unsaved(m->store, &unsaved);

	if (code == 0 && unsaved > 0)
		(void)tool_fail(m->t, 0,
		    "backup: %u slots hold later states, which are not in the backup: %s, and make another one",
		    unsaved, m->online ? "the store is full; make room" : "start stashd");
	code = store_backup_note(stash__store_dir(m->store), &m->backup);
	if (code < 0)
		return tool_error(m->t, code, "backup: it was made, but can't be noted in the store's list");
	return 0;
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct making *m = tool_alloc(sizeof *m);
	int status, code;

	(void)argc;
	memset(m, 0, sizeof *m);
	m->t = t;
	status = look_store(t, &m->store);
	if (status == 0) {
		code = make(m, argv[1]);
		if (code < 0) {
			status = tool_error(t, code, "backup");
		} else {
			print(m);
			status = afterwards(m);
		}
	}
	stash_store_close(m->store);
	free(m);
	return status;
}

const struct tool_command inspect_backup = {
	.name = "backup",
	.usage = "DIR",
	.help = "a verified copy of the store in DIR",
	.min = 1,
	.max = 1,
	.options = "t",
	.run = run,
};
