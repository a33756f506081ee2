/* SPDX-License-Identifier: ISC */
/*
 * stashctl which-children: a supervisor's children in OTP's order, the last
 * started first.
 */
#include "stashctl/ctl.h"

struct listing {
	const struct tool *t;
	struct tool_table *table; /* NULL: JSON */
};

/* OTP's Child: a pid, undefined or restarting. */
static void
cell_child(struct tool_table *table, const struct stash_process *p)
{
	if (p->status == STASH_RESTARTING)
		tool_cell(table, "restarting");
	else if (p->pid > 0)
		tool_cell(table, "%d", (int)p->pid);
	else if (p->is_supervisor != 0 && p->status == STASH_RUNNING)
		tool_cell(table, "-");
	else
		tool_cell(table, "undefined");
}

static int
show(void *arg, const struct stash_process *p)
{
	struct listing *l = arg;

	if (l->table == NULL) {
		tool_json_line(l->t, tool_json_process(p));
		return 0;
	}
	tool_cell(l->table, "%s", p->id);
	cell_child(l->table, p);
	tool_cell(l->table, "%s", p->is_supervisor != 0 ? "supervisor" : "worker");
	tool_cell(l->table, "%s", tool_status_name(p->status));
	tool_cell(l->table, "%s", *p->name != '\0' ? p->name : "-");
	return 0;
}

static int
run(struct tool *t, int argc, char **argv)
{
	static const char *const titles[] = { "ID", ">CHILD", "TYPE", "STATUS", "NAME", NULL };
	const char *supervisor = argc > 1 ? argv[1] : "root";
	struct listing l = { t, NULL };
	struct stash_client *client;
	int status = tool_connect(t, &client), code;

	if (status != 0)
		return status;
	if (!t->json)
		l.table = tool_table_create(titles);
	code = stash_which_children(client, supervisor, show, &l, tool_timeout(t, STASH_TIMEOUT));
	if (code < 0)
		status = tool_error(t, code, "%s %s", argv[0], supervisor);
	else if (l.table != NULL)
		tool_table_print(l.table, t->out);
	tool_table_destroy(l.table);
	stash_client_close(client);
	return status;
}

const struct tool_command ctl_which_children = {
	.name = "which-children",
	.usage = "[SUPERVISOR]",
	.help = "list a supervisor's children; SUPERVISOR is a path, else root",
	.max = 1,
	.options = "j",
	.run = run,
};
