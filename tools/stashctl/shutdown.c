/* SPDX-License-Identifier: ISC */
/*
 * stashctl shutdown: the whole tree in reverse order, then stashd itself. It
 * returns when that is over, or when its time is; the stop goes on then.
 */
#include "stashctl/ctl.h"

static int
run(struct tool *t, int argc, char **argv)
{
	struct stash_client *client;
	int status = tool_connect(t, &client), code;

	(void)argc;
	if (status != 0)
		return status;
	code = stash_stop(client, tool_timeout(t, CTL_LONG_MS));
	if (code < 0)
		status = tool_error(t, code, "%s", argv[0]);
	stash_client_close(client);
	return status;
}

const struct tool_command ctl_shutdown = {
	.name = "shutdown",
	.usage = "",
	.help = "stop the whole tree in order, and stashd",
	.max = 0,
	.run = run,
};
