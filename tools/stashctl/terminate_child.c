/* SPDX-License-Identifier: ISC */
/*
 * stashctl terminate-child: OTP's request. The child stays in the tree,
 * unless it is temporary; restart-child starts it again.
 */
#include "stashctl/ctl.h"

static int
terminate(const struct tool *t, struct stash_client *client, const struct tool_child *child)
{
	return stash_terminate_child(client, child->supervisor, child->id, tool_timeout(t, CTL_LONG_MS));
}

static int
run(struct tool *t, int argc, char **argv)
{
	return ctl_child(t, argc, argv, terminate);
}

const struct tool_command ctl_terminate_child = {
	.name = "terminate-child",
	.usage = "PATH | NAME | SUPERVISOR ID",
	.help = "stop a child in order; it stays in the tree",
	.min = 1,
	.max = 2,
	.run = run,
};
