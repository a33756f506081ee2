/* SPDX-License-Identifier: ISC */
/*
 * stashctl ping: whether the supervisor answers, and how soon.
 */
#include "base/clock.h"
#include "client/client.h"
#include "shm/wire.h"
#include "stashctl/ctl.h"

static void
show(const struct tool *t, int32_t pid, int64_t took_ns)
{
	char text[TOOL_TIME_MAX];
	json_t *line;

	if (!t->json) {
		fprintf(t->out, "the supervisor (pid %d) answers in %s\n", (int)pid, tool_duration(took_ns, text));
		return;
	}
	line = tool_json();
	tool_json_set(line, "pid", json_integer(pid));
	tool_json_set(line, "answer_ns", json_integer(took_ns));
	tool_json_line(t, line);
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct stash_client *client;
	int status = tool_connect(t, &client), code;
	int64_t began;

	(void)argc;
	if (status != 0)
		return status;
	began = stash__now_ns();
	code = ctl_request(client, STASH__B_PING, NULL, tool_timeout(t, STASH_TIMEOUT), NULL, NULL);
	if (code < 0)
		status = tool_error(t, code, "%s", argv[0]);
	else
		show(t, client->supervisor, stash__now_ns() - began);
	stash_client_close(client);
	return status;
}

const struct tool_command ctl_ping = {
	.name = "ping",
	.usage = "",
	.help = "ask whether stashd answers",
	.max = 0,
	.options = "j",
	.run = run,
};
