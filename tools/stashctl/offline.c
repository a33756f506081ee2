/* SPDX-License-Identifier: ISC */
/*
 * A store that no stashd uses, for the commands that change it: nobody else may
 * begin meanwhile, so both locks are taken.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <bsd/libutil.h>
#include <bsd/string.h>

#include "base/boot.h"
#include "base/error.h"
#include "reader/reader.h"
#include "stash/exchange.h"
#include "stashctl/restore.h"
#include "stashd/supervise.h"

#define DEFAULT_DIR "/var/lib/stash"
#define LOCK_MS 1000

static int
count(void *arg, const char *name, const struct stash__base *base)
{
	struct restoring *r = arg;

	(void)name;
	(void)base;
	r->slots++;
	return 0;
}

static int
look(struct restoring *r)
{
	int code = stash__info_read(r->dir, &r->info);

	r->has_info = code == STASH_OK;
	if (code == STASH_E_NOENT)
		code = STASH_OK;
	if (code == STASH_OK)
		code = stash__boot_id(r->origin.boot_id);
	memcpy(r->origin.store_id, r->info.id, sizeof r->origin.store_id);
	if (code == STASH_OK && r->has_info)
		code = stash__exchange_each(r->info.run_dir, &r->origin, count, r);
	return code;
}

int
ctl_offline_begin(struct restoring *r, const struct tool *t)
{
	const char *dir = t->dir != NULL ? t->dir : getenv("STASH_DIR");
	int code;

	memset(r, 0, sizeof *r);
	r->t = t;
	r->store_lock = r->source_lock = -1;
	if (dir == NULL || *dir == '\0')
		dir = DEFAULT_DIR;
	if (realpath(dir, r->dir) == NULL)
		return tool_fail(t, errno == ENOENT ? EX_UNAVAILABLE : EX_OSERR, "%s: %s: %s%s", t->command->name, dir,
		    strerror(errno), errno == ENOENT ? "; make the directory first" : "");
	code = supervise_lock(r->dir, &r->pid_lock);
	if (code == STASH_E_BUSY)
		return tool_error(t, code, "%s: stashd has to be stopped first", t->command->name);
	if (code == STASH_OK)
		code = store_lock(r->dir, true, LOCK_MS, &r->store_lock);
	if (code == STASH_OK)
		code = look(r);
	if (code == STASH_OK)
		return 0;
	ctl_offline_end(r);
	return tool_error(t, code, "%s", t->command->name);
}

void
ctl_offline_end(struct restoring *r)
{
	if (r->store_lock >= 0)
		close(r->store_lock);
	if (r->source_lock >= 0)
		close(r->source_lock);
	r->store_lock = r->source_lock = -1;
	if (r->pid_lock != NULL)
		(void)pidfile_remove(r->pid_lock);
	r->pid_lock = NULL;
}

int
ctl_offline_confirm(const struct restoring *r, const char *question)
{
	const struct tool *t = r->t;
	char answer[16];

	if (tool_has(t, 'y'))
		return 0;
	if (!tool_terminal(t->in) || !tool_terminal(t->out))
		return tool_fail(
		    t, EX_USAGE, "%s: nothing was changed: this isn't a terminal, so it wants --yes", t->command->name);
	fprintf(t->out, "%s [yes/no] ", question);
	fflush(t->out);
	if (fgets(answer, sizeof answer, t->in) != NULL && strcmp(answer, "yes\n") == 0)
		return 0;
	return tool_fail(t, 1, "%s: nothing was changed", t->command->name);
}
