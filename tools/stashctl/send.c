/* SPDX-License-Identifier: ISC */
/*
 * stashctl send: as cast, to handle_info.
 */
#include "stashctl/post.h"

static int
run(struct tool *t, int argc, char **argv)
{
	return ctl_post(t, argc, argv, stash_send);
}

const struct tool_command ctl_send = {
	.name = "send",
	.usage = "NAME TAG [DATA...]",
	.help = "send a worker a plain message (handle_info)",
	.min = 2,
	.max = -1,
	.run = run,
};
