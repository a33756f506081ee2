/* SPDX-License-Identifier: ISC */
/*
 * stashctl put: the state of a program that isn't linked with the library. It is
 * as safe as the child's ack says when this ends well.
 */
#include <stdlib.h>

#include <stash/supervisor.h>

#include "stashctl/ctl.h"

static int
run(struct tool *t, int argc, char **argv)
{
	struct stash_client *client;
	char name[STASH_NAME_MAX + 1];
	struct ctl_data data;
	int timeout_ms = tool_timeout(t, STASH_TIMEOUT), code, status;

	status = ctl_data(t, argc - 2, argv + 2, STASH_STATE_MAX, &data);
	if (status == 0)
		status = tool_connect(t, &client);
	if (status == 0) {
		code = tool_target(client, argv[1], name, timeout_ms);
		if (code == STASH_OK)
			code = stash_state_put(client, name, data.bytes, data.len, timeout_ms);
		if (code < 0)
			status = tool_error(t, code, "put %s", argv[1]);
		stash_client_close(client);
	}
	free(data.bytes);
	return status;
}

const struct tool_command ctl_put = {
	.name = "put",
	.usage = "NAME [DATA...]",
	.help = "set the state of a program that isn't linked; DATA - is standard input",
	.min = 1,
	.max = -1,
	.run = run,
};
