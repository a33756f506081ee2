/* SPDX-License-Identifier: ISC */
/*
 * stashctl call: a call, and its reply as it is. The worker's own error goes to
 * standard error in the worker's words.
 */
#include <stdlib.h>

#include "stashctl/ctl.h"

static int
show(const struct tool *t, const char *name, int code, const struct stash_reply *reply)
{
	const char *text = reply->data;

	if (code == STASH_E_APP)
		return tool_fail(
		    t, tool_exit(code), "%s says no: %s (code %d)", name, text != NULL ? text : "", (int)reply->code);
	if (code < 0)
		return tool_error(t, code, "call %s", name);
	if (reply->len > 0)
		tool_put(t->out, reply->data, reply->len);
	if (tool_terminal(t->out) && (reply->len == 0 || text[reply->len - 1] != '\n'))
		putc('\n', t->out);
	return 0;
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct stash_client *client;
	char name[STASH_NAME_MAX + 1];
	struct stash_reply reply;
	struct ctl_data data;
	int timeout_ms = tool_timeout(t, STASH_TIMEOUT), code, status;

	status = ctl_data(t, argc - 3, argv + 3, STASH_DATA_MAX, &data);
	if (status == 0)
		status = tool_connect(t, &client);
	if (status == 0) {
		code = tool_target(client, argv[1], name, timeout_ms);
		if (code < 0) {
			status = tool_error(t, code, "call %s", argv[1]);
		} else {
			code = stash_call(client, name, argv[2], data.bytes, data.len, &reply, timeout_ms);
			status = show(t, name, code, &reply);
			stash_reply_free(&reply);
		}
		stash_client_close(client);
	}
	free(data.bytes);
	return status;
}

const struct tool_command ctl_call = {
	.name = "call",
	.usage = "NAME TAG [DATA...]",
	.help = "call a worker and print its reply; DATA - is standard input",
	.min = 2,
	.max = -1,
	.run = run,
};
