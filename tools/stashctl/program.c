/* SPDX-License-Identifier: ISC */
/*
 * stashctl's tables: commands in the order of the manual, and options. A new
 * command is a file with its entry, and a line here.
 */
#include "stashctl/ctl.h"

static const struct tool_command *const commands[] = { &ctl_call, &ctl_cast, &ctl_send, &ctl_wait, &ctl_ping, &ctl_put,
	&ctl_get, &ctl_restart, &ctl_kill, &ctl_start_child, &ctl_terminate_child, &ctl_restart_child,
	&ctl_delete_child, &ctl_which_children, &ctl_count_children, &ctl_get_childspec, &ctl_reload, &ctl_reexec,
	&ctl_shutdown, &ctl_restore, &ctl_keep_slots, &ctl_discard_slots, NULL };

static const struct tool_option options[] = {
	{ 'd', "dir", "DIR", "the store's directory; else $STASH_DIR, else /var/lib/stash" },
	{ 't', "timeout", "SECONDS", "how long to wait: 2, 0.5, 500ms, 2m, infinity" },
	{ 'n', "dry-run", NULL, "only tell what would be done" },
	{ 'j', "json", NULL, "JSON, an object on each line" },
	{ 'y', "yes", NULL, "don't ask" },
	{ 'k', "keep-slots", NULL, "restore: the slots' states go over the backup's" },
	{ 'D', "discard-slots", NULL, "restore: the slots are set aside" },
	{ 'e', "empty", NULL, "restore: set the store aside, begin with an empty one" },
	{ 0, NULL, NULL, NULL },
};

const struct tool_program stashctl = {
	.name = "stashctl",
	.about = "Talks to the workers of a running stashd, and controls them.",
	.commands = commands,
	.options = options,
	.common = "dt",
};
