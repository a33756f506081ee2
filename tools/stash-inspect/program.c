/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect's tables: commands in the order of the manual, and options. A
 * new command is a file with its entry, and a line here.
 */
#include "stash-inspect/inspect.h"

static const struct tool_command *const commands[] = { &inspect_list, &inspect_tree, &inspect_show, &inspect_history,
	&inspect_events, &inspect_registry, &inspect_whereis, &inspect_stat, &inspect_health, &inspect_check,
	&inspect_backup, NULL };

static const struct tool_option options[] = {
	{ 'd', "dir", "DIR", "the store's directory; else $STASH_DIR, else /var/lib/stash" },
	{ 't', "timeout", "SECONDS", "backup, check: how long stashd may take: 30, 10m, infinity" },
	{ 'j', "json", NULL, "JSON, an object on each line" },
	{ 'n', "lines", "N", "events: the newest N, 0 for all; else 50" },
	{ 's', "since", "TIME", "events: of that long, as 10m" },
	{ 'f', "follow", NULL, "events: go on with new ones" },
	{ 'F', "field", "FIELD", "show: only that field of the state" },
	{ 'r', "raw", NULL, "show: the state's bytes as they are" },
	{ 0, NULL, NULL, NULL },
};

const struct tool_program stash_inspect = {
	.name = "stash-inspect",
	.about = "Shows what is in a store and what its workers do. Without a command: tree.",
	.commands = commands,
	.first = &inspect_tree,
	.options = options,
	.common = "dj",
};
