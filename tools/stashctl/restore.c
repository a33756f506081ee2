/* SPDX-License-Identifier: ISC */
/*
 * stashctl restore: a backup takes the store's place, while no stashd runs. The
 * backup is verified before anything is touched; what is there is set aside,
 * never deleted; the slots of this boot are not believed over the backup
 * without the operator's word.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/error.h"
#include "reader/reader.h"
#include "stash/exchange.h"
#include "stashctl/restore.h"
#include "stashd/rundir.h"

/* ---- which backup ---- */

struct choosing {
	struct restoring *r;
	struct store_backup *best;
	bool found;
};

/* The newest that is good; those that aren't are told. */
static int
choose(void *arg, const struct store_backup *backup)
{
	struct store_options options = { .map_bytes = stash__reader_map_bytes };
	struct choosing *c = arg;

	*c->best = *backup;
	c->found = store_backup_verify(c->best, &options, NULL) == 0;
	if (!c->found)
		(void)tool_fail(c->r->t, 0, "restore: %s", stash_errmsg());
	return c->found;
}

static int
find_known(struct restoring *r)
{
	struct choosing c = { r, &r->backup, false };
	int code;

	if (!r->has_info)
		return stash__fail(STASH_E_NOENT, "%s: there is no store, and so no list of backups: name one", r->dir);
	code = store_backup_each(r->dir, r->info.id, choose, &c);
	if (code < 0)
		return code;
	return c.found ? 0 : stash__fail(STASH_E_NOENT, "%s: no good backup is known here: name one", r->dir);
}

/* Another store's own database: nobody may write to it until it is copied. */
static int
hold_source(struct restoring *r)
{
	char dir[PATH_MAX];
	int code;

	if (!store_backup_is_database(r->backup.path, dir))
		return 0;
	if (strcmp(dir, r->dir) == 0)
		return stash__fail(STASH_E_INVAL, "%s: is the database that is to be replaced", r->backup.path);
	code = store_lock(dir, false, 0, &r->source_lock);
	if (code == STASH_E_BUSY)
		code = stash__fail(STASH_E_BUSY,
		    "%s: is in use, and changes while it is read; make a backup of it: stash-inspect -d %s backup DIR",
		    r->backup.path, dir);
	return code;
}

static int
find_backup(struct restoring *r, const char *path)
{
	struct store_options options = { .map_bytes = stash__reader_map_bytes };
	int code = path == NULL ? find_known(r) : store_backup_read(path, r->has_info ? r->info.id : NULL, &r->backup);

	if (code == 0 && path != NULL)
		code = hold_source(r);
	if (code == 0 && path != NULL)
		code = store_backup_verify(&r->backup, &options, NULL);
	if (code == 0 && r->has_info && memcmp(r->backup.id, r->info.id, sizeof r->info.id) != 0)
		code = stash__fail(STASH_E_CORRUPT,
		    "%s: is a backup of the store %s, and %s holds the store %s; restore it in a directory of its own",
		    r->backup.path, r->backup.id_text, r->dir, r->info.id_text);
	return code < 0 ? code : 0;
}

/* ---- what is there ---- */

static int
look_at_store(struct restoring *r)
{
	struct store_options options = { .map_bytes = stash__reader_map_bytes };
	struct store_findings *f = tool_alloc(sizeof *f);
	uint8_t id[STORE_ID_LEN];
	char path[PATH_MAX + 16];
	int code;

	snprintf(path, sizeof path, "%s/data.mdb", r->dir);
	code = store_check_file(path, &options, f, NULL, id);
	r->has_data = code != STASH_E_NOENT;
	/* One that can't be looked at is none that can be compared. */
	r->damaged = r->has_data && code != 0;
	if (code == 1)
		strlcpy(r->why, f->text[0], sizeof r->why);
	else if (r->damaged)
		strlcpy(r->why, stash_errmsg(), sizeof r->why);
	free(f);
	return 0;
}

static int
show(struct restoring *r)
{
	bool keep = tool_has(r->t, 'k');
	char size[TOOL_TIME_MAX], when[TOOL_TIME_MAX];
	FILE *out = r->t->out;
	int code;

	fprintf(out, "Store:  %s%s%s\n", r->dir,
	    !r->has_data   ? ": no database" :
		r->damaged ? ": damaged: " :
			     "",
	    r->why);
	if (r->backup.path[0] != '\0')
		fprintf(out, "Backup: %s: of %s, %s, %llu states, good\n", r->backup.path,
		    tool_time_local(r->backup.made_ns, when), tool_bytes(r->backup.bytes, size),
		    (unsigned long long)r->backup.states);
	else
		fprintf(out, "Backup: none; the next start makes an empty store\n");
	if (r->slots > 0)
		fprintf(out, "Slots:  %u of this boot, %s\n", r->slots,
		    keep ? "kept: the next start stores what they hold, over the backup" : "discarded");
	code = ctl_compare(r, keep);
	if (code == 0 && r->slots > 0 && !keep)
		code = ctl_leftovers_show(r);
	if (code < 0)
		return tool_error(r->t, code, "restore");
	if (r->damaged)
		fprintf(out, "What else was stored since the backup was made can't be told from a damaged store.\n");
	return 0;
}

/* Slots that are left alone would be believed over the backup, or keep stashd from starting. */
static int
ask_about_slots(const struct restoring *r)
{
	const struct tool *t = r->t;

	if (r->slots == 0 || tool_has(t, 'k') || tool_has(t, 'D'))
		return 0;
	(void)tool_fail(t, 0,
	    "restore: stashd didn't end in order, and %u slots of this boot are in %s: say which is right", r->slots,
	    r->info.run_dir);
	(void)tool_fail(t, 0, "  --keep-slots     the workers' last states, over what the backup has of them");
	(void)tool_fail(t, 0, "  --discard-slots  the backup alone, as of when it was made");
	return tool_fail(t, EX_USAGE, "restore: nothing was changed");
}

/* ---- doing it ---- */

/* A directory without a store: it gets the backup's name. */
static int
make_info(struct restoring *r)
{
	char base[PATH_MAX];
	int code = rundir_base(base);

	if (code < 0)
		return code;
	stash__info_new(&r->info);
	memcpy(r->info.id, r->backup.id, sizeof r->info.id);
	strlcpy(r->info.id_text, r->backup.id_text, sizeof r->info.id_text);
	if (snprintf(r->info.run_dir, sizeof r->info.run_dir, "%s/%s", base, r->info.id_text) >=
	    (int)sizeof r->info.run_dir)
		return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", base);
	return stash__info_create(r->dir, &r->info);
}

/* The commands that undo it, in the order in which they are to be run. */
static void
tell_undo(const struct restoring *r, const char *aside, const char *slots)
{
	bool keep = r->slots > 0; /* they are there, or come back */
	FILE *out = r->t->out;
	char path[PATH_MAX + 64];

	snprintf(path, sizeof path, "%s/%s", r->dir, aside);
	fprintf(out, "To undo it, before stashd is started:\n");
	if (*slots != '\0')
		ctl_tell_slots_back(out, slots, r->info.run_dir);
	fprintf(out, r->damaged ? "  mv " : "  stashctl -d ");
	tool_path(out, r->damaged ? path : r->dir);
	fprintf(out, r->damaged ? " " : keep ? " restore --yes --keep-slots " : " restore --yes ");
	if (r->damaged)
		snprintf(path, sizeof path, "%s/data.mdb", r->dir);
	tool_path(out, path);
	putc('\n', out);
}

static void
tell(const struct restoring *r, const char *aside, const char *slots)
{
	FILE *out = r->t->out;

	if (r->backup.path[0] != '\0')
		fprintf(out, "Restored. ");
	if (*aside == '\0')
		fprintf(out, "There was no database before.\n");
	else
		fprintf(out, "What was there is %s/%s.\n", r->dir, aside);
	if (*slots != '\0')
		fprintf(out, "The slots are in %s until the next reboot.\n", slots);
	if (*aside != '\0')
		tell_undo(r, aside, slots);
}

static int
carry_out(struct restoring *r)
{
	bool empty = tool_has(r->t, 'e'), keep = tool_has(r->t, 'k'), done;
	char aside[64] = "", slots[PATH_MAX] = "";
	int code = r->has_info || empty ? 0 : make_info(r);

	/* Slots are kept before the exchange and discarded after it: whoever is killed in between has lost nothing. */
	if (code == 0 && r->slots > 0)
		code = keep ? stash__exchange_keep(r->info.run_dir, &r->origin) : ctl_leftovers_end(r);
	if (code == 0)
		code = store_restore(r->dir, empty ? NULL : &r->backup, r->damaged, aside);
	done = code == 0;
	if (done && r->slots > 0 && !keep)
		code = stash__exchange_discard(r->info.run_dir, slots);
	if (done)
		tell(r, aside, slots);
	return code < 0 ? tool_error(r->t, code, done ? "restore: the slots" : "restore") : 0;
}

static int
check_options(const struct tool *t, int argc)
{
	if (tool_has(t, 'k') && tool_has(t, 'D'))
		return tool_usage(t, "restore: --keep-slots and --discard-slots are each other's opposite");
	if (tool_has(t, 'e') && argc > 1)
		return tool_usage(t, "restore: --empty takes no backup");
	return 0;
}

static int
prepare(struct restoring *r, const char *path)
{
	int code = tool_has(r->t, 'e') ? 0 : find_backup(r, path), status;

	if (code < 0)
		return tool_error(r->t, code, "restore");
	look_at_store(r);
	status = ask_about_slots(r);
	if (status == 0)
		status = show(r);
	return status == 0 ? ctl_offline_confirm(r, "Go on?") : status;
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct restoring *r = tool_alloc(sizeof *r);
	int status = check_options(t, argc);

	if (status == 0)
		status = ctl_offline_begin(r, t);
	if (status == 0) {
		status = prepare(r, argc > 1 ? argv[1] : NULL);
		if (status == 0)
			status = carry_out(r);
		ctl_offline_end(r);
	}
	free(r);
	return status;
}

const struct tool_command ctl_restore = {
	.name = "restore",
	.usage = "[BACKUP]",
	.help = "put a backup in the store's place, while no stashd runs",
	.max = 1,
	.options = "ykDe",
	.run = run,
};
