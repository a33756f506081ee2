/* SPDX-License-Identifier: ISC */
/*
 * stashctl restart: stops a worker in order and starts it again. It counts as
 * no restart of its supervisor.
 */
#include "stashctl/ctl.h"

static int
run(struct tool *t, int argc, char **argv)
{
	int timeout_ms = tool_timeout(t, CTL_LONG_MS), code;
	char name[STASH_NAME_MAX + 1];
	struct stash_client *client;
	int status = tool_connect(t, &client);

	if (status != 0)
		return status;
	code = tool_target_words(client, argc - 1, argv + 1, name, timeout_ms);
	if (code == STASH_OK)
		code = stash_bounce(client, name, timeout_ms);
	if (code < 0)
		status = tool_error(t, code, "%s %s", argv[0], argv[1]);
	stash_client_close(client);
	return status;
}

const struct tool_command ctl_restart = {
	.name = "restart",
	.usage = "NAME | SUPERVISOR ID",
	.help = "stop a worker in order and start it again",
	.min = 1,
	.max = 2,
	.run = run,
};
