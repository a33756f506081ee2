/* SPDX-License-Identifier: ISC */
/*
 * stashctl count-children: OTP's counts of a supervisor's children.
 */
#include "stashctl/ctl.h"

static void
show(const struct tool *t, const char *supervisor, const struct stash_child_counts *c)
{
	json_t *line;

	if (!t->json) {
		fprintf(t->out, "specs %llu, active %llu, supervisors %llu, workers %llu\n",
		    (unsigned long long)c->specs, (unsigned long long)c->active, (unsigned long long)c->supervisors,
		    (unsigned long long)c->workers);
		return;
	}
	line = tool_json();
	tool_json_set(line, "supervisor", tool_json_string(supervisor));
	tool_json_set(line, "specs", tool_json_number(c->specs));
	tool_json_set(line, "active", tool_json_number(c->active));
	tool_json_set(line, "supervisors", tool_json_number(c->supervisors));
	tool_json_set(line, "workers", tool_json_number(c->workers));
	tool_json_line(t, line);
}

static int
run(struct tool *t, int argc, char **argv)
{
	const char *supervisor = argc > 1 ? argv[1] : "root";
	struct stash_child_counts counts;
	struct stash_client *client;
	int status = tool_connect(t, &client), code;

	if (status != 0)
		return status;
	code = stash_count_children(client, supervisor, &counts, tool_timeout(t, STASH_TIMEOUT));
	if (code < 0)
		status = tool_error(t, code, "%s %s", argv[0], supervisor);
	else
		show(t, supervisor, &counts);
	stash_client_close(client);
	return status;
}

const struct tool_command ctl_count_children = {
	.name = "count-children",
	.usage = "[SUPERVISOR]",
	.help = "count a supervisor's children; SUPERVISOR is a path, else root",
	.max = 1,
	.options = "j",
	.run = run,
};
