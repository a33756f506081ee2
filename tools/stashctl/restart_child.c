/* SPDX-License-Identifier: ISC */
/*
 * stashctl restart-child: OTP's request: starts a child that was terminated, or
 * has ended. What restart does is something else: it stops one that runs.
 */
#include "stashctl/ctl.h"

static int
restart(const struct tool *t, struct stash_client *client, const struct tool_child *child)
{
	struct stash_process process;
	int code = stash_restart_child(client, child->supervisor, child->id, &process, tool_timeout(t, CTL_LONG_MS));

	if (code >= 0)
		ctl_started(t, code, &process);
	return code;
}

static int
run(struct tool *t, int argc, char **argv)
{
	return ctl_child(t, argc, argv, restart);
}

const struct tool_command ctl_restart_child = {
	.name = "restart-child",
	.usage = "PATH | NAME | SUPERVISOR ID",
	.help = "start a child that was terminated",
	.min = 1,
	.max = 2,
	.options = "j",
	.run = run,
};
