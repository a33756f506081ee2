/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect registry: who has which name, and since when.
 */
#include "stash-inspect/inspect.h"

struct listing {
	const struct look *look;
	struct tool_table *table; /* NULL: JSON */
};

static int
show(void *arg, const struct stash__registry_row *row)
{
	const struct stash_process *p = &row->process;
	struct listing *l = arg;
	char text[TOOL_TIME_MAX];
	json_t *line;

	if (l->table == NULL) {
		line = tool_json_process(p);
		tool_json_set(line, "since", tool_json_time(row->since_ns));
		look_mark(l->look, line);
		tool_json_line(l->look->t, line);
		return 0;
	}
	tool_cell(l->table, "%s", p->name);
	tool_cell(l->table, "%s", *p->child != '\0' ? p->child : "-");
	tool_cell(l->table, "%s", tool_status_name(p->status));
	tool_cell_count(l->table, (uint64_t)p->pid);
	tool_cell_count(l->table, p->incarnation);
	tool_cell(l->table, "%s", tool_time_local(row->since_ns, text));
	return 0;
}

static int
run(struct tool *t, int argc, char **argv)
{
	static const char *const titles[] = { "NAME", "CHILD", "STATUS", ">PID", ">INCARNATION", "SINCE", NULL };
	struct listing l = { NULL, NULL };
	struct look look;
	int status = look_open(t, &look), code;

	(void)argc;
	(void)argv;
	if (status != 0)
		return status;
	l.look = &look;
	if (!t->json)
		l.table = tool_table_create(titles);
	code = stash__store_registry(look.store, show, &l);
	if (code < 0)
		status = tool_error(t, code, "registry");
	else if (l.table != NULL)
		tool_table_print(l.table, t->out);
	tool_table_destroy(l.table);
	look_close(&look);
	return status;
}

const struct tool_command inspect_registry = {
	.name = "registry",
	.usage = "",
	.help = "who has which name",
	.max = 0,
	.run = run,
};
