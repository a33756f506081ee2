/* SPDX-License-Identifier: ISC */
/*
 * stashctl keep-slots and discard-slots: the operator's word on which is right
 * when slots and store don't belong together, since the store was exchanged or
 * restored. stashd refuses to start until it is given.
 */
#include <sysexits.h>

#include "stash/exchange.h"
#include "stashctl/restore.h"

void
ctl_tell_slots_back(FILE *out, const char *aside, const char *run_dir)
{
	fputs("  mv ", out);
	tool_path(out, aside);
	fputs("/* ", out);
	tool_path(out, run_dir);
	putc('\n', out);
}

static int
begin(struct restoring *r, struct tool *t)
{
	int status = ctl_offline_begin(r, t);

	if (status != 0)
		return status;
	if (!r->has_info) {
		ctl_offline_end(r);
		return tool_fail(t, EX_UNAVAILABLE, "%s: there is no store in %s", t->command->name, r->dir);
	}
	fprintf(t->out, "%u slots of this boot in %s\n", r->slots, r->info.run_dir);
	return 0;
}

static int
keep(struct tool *t, int argc, char **argv)
{
	struct restoring *r = tool_alloc(sizeof *r);
	int status = begin(r, t), code;

	(void)argc;
	(void)argv;
	if (status == 0) {
		code = stash__exchange_keep(r->info.run_dir, &r->origin);
		if (code < 0)
			status = tool_error(t, code, "keep-slots");
		else
			fprintf(t->out, "The next start of stashd stores what they hold, over what the store has.\n");
		ctl_offline_end(r);
	}
	free(r);
	return status;
}

static int
discard(struct tool *t, int argc, char **argv)
{
	struct restoring *r = tool_alloc(sizeof *r);
	int status = begin(r, t), code;
	char aside[PATH_MAX] = "";

	(void)argc;
	(void)argv;
	if (status == 0) {
		code = ctl_leftovers_show(r);
		status = code < 0 ? tool_error(t, code, "discard-slots") :
				    ctl_offline_confirm(r, "Discard them, and with them what is not in the store?");
		if (status == 0) {
			code = ctl_leftovers_end(r);
			if (code == STASH_OK)
				code = stash__exchange_discard(r->info.run_dir, aside);
			if (*aside != '\0') {
				fprintf(t->out,
				    "They are in %s until the next reboot. To undo it, before stashd is started:\n",
				    aside);
				ctl_tell_slots_back(t->out, aside, r->info.run_dir);
			}
			if (code < 0)
				status = tool_error(t, code, "discard-slots");
		}
		ctl_offline_end(r);
	}
	free(r);
	return status;
}

const struct tool_command ctl_keep_slots = {
	.name = "keep-slots",
	.usage = "",
	.help = "slots are right, not the store that was exchanged",
	.max = 0,
	.run = keep,
};

const struct tool_command ctl_discard_slots = {
	.name = "discard-slots",
	.usage = "",
	.help = "the store that was exchanged is right, not slots",
	.max = 0,
	.options = "y",
	.run = discard,
};
