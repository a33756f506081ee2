/* SPDX-License-Identifier: ISC */
/*
 * stashctl cast, and what it shares with send: a message without an answer. It
 * has left when the program ends well: the mailbox outlives the sender.
 */
#include <stdlib.h>

#include "stashctl/post.h"

int
ctl_post(struct tool *t, int argc, char **argv, ctl_post_fn *post)
{
	struct stash_client *client;
	char name[STASH_NAME_MAX + 1];
	struct ctl_data data;
	int code, status;

	status = ctl_data(t, argc - 3, argv + 3, STASH_DATA_MAX, &data);
	if (status == 0)
		status = tool_connect(t, &client);
	if (status == 0) {
		code = tool_target(client, argv[1], name, tool_timeout(t, STASH_TIMEOUT));
		if (code == STASH_OK)
			code = post(client, name, argv[2], data.bytes, data.len);
		if (code < 0)
			status = tool_error(t, code, "%s %s", argv[0], argv[1]);
		stash_client_close(client);
	}
	free(data.bytes);
	return status;
}

static int
run(struct tool *t, int argc, char **argv)
{
	return ctl_post(t, argc, argv, stash_cast);
}

const struct tool_command ctl_cast = {
	.name = "cast",
	.usage = "NAME TAG [DATA...]",
	.help = "send a worker a message that has no answer (handle_cast)",
	.min = 2,
	.max = -1,
	.run = run,
};
