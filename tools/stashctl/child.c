/* SPDX-License-Identifier: ISC */
/*
 * What OTP's commands about one child have in common: how it is named, and what
 * is said of one that was started.
 */
#include <string.h>

#include "stashctl/ctl.h"

void
ctl_started(const struct tool *t, int code, const struct stash_process *process)
{
	json_t *line;

	if (t->json) {
		line = tool_json_process(process);
		tool_json_set(line, "ignored", json_boolean(code == STASH_IGNORE));
		tool_json_line(t, line);
		return;
	}
	tool_put(t->out, process->child, strlen(process->child));
	if (code == STASH_IGNORE)
		fputs(*process->child != '\0' ? ": has nothing to run\n" : "it has nothing to run\n", t->out);
	else if (process->pid > 0)
		fprintf(t->out, ": started, process %d\n", (int)process->pid);
	else
		fputs(": started\n", t->out);
}

int
ctl_child(struct tool *t, int argc, char **argv, ctl_child_fn *fn)
{
	struct stash_client *client;
	struct tool_child child;
	int status = tool_connect(t, &client), code;

	if (status != 0)
		return status;
	code = tool_child(client, argc - 1, argv + 1, &child);
	if (code == STASH_OK)
		code = fn(t, client, &child);
	if (code < 0)
		status = tool_error(
		    t, code, "%s %s%s%s", argv[0], argv[1], argc > 2 ? " " : "", argc > 2 ? argv[2] : "");
	stash_client_close(client);
	return status;
}
