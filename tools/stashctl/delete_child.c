/* SPDX-License-Identifier: ISC */
/*
 * stashctl delete-child: OTP's request: a child that was terminated leaves the
 * tree. Its stored state stays.
 */
#include "stashctl/ctl.h"

static int delete (const struct tool *t, struct stash_client *client, const struct tool_child *child)
{
	return stash_delete_child(client, child->supervisor, child->id, tool_timeout(t, STASH_TIMEOUT));
}

static int
run(struct tool *t, int argc, char **argv)
{
	return ctl_child(t, argc, argv, delete);
}

const struct tool_command ctl_delete_child = {
	.name = "delete-child",
	.usage = "PATH | NAME | SUPERVISOR ID",
	.help = "remove a child that doesn't run; its state stays",
	.min = 1,
	.max = 2,
	.run = run,
};
