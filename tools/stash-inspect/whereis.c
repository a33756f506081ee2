/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect whereis: the process that has a name, or that is at a child's
 * path. A name with a state and without an owner is not there.
 */
#include "stash-inspect/inspect.h"

static void
print(const struct tool *t, const struct stash_process *p)
{
	static const char *const titles[] = { "NAME", ">PID", "STATUS", ">INCARNATION", "CHILD", NULL };
	struct tool_table *table = tool_table_create(titles);

	tool_cell(table, "%s", *p->name != '\0' ? p->name : "-");
	tool_cell_count(table, (uint64_t)p->pid);
	tool_cell(table, "%s", tool_status_word(p));
	tool_cell_count(table, p->incarnation);
	tool_cell(table, "%s", p->child);
	tool_table_print(table, t->out);
	tool_table_destroy(table);
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct stash_process process;
	struct look look;
	int status = look_open(t, &look), code;
	char path[STASH_PATH_MAX + 1];
	json_t *line;

	if (status != 0)
		return status;
	snprintf(path, sizeof path, "%s%s%s", argv[1], argc > 2 ? "/" : "", argc > 2 ? argv[2] : "");
	code = find_process(&look, path, &process);
	if (code < 0) {
		status = tool_error(t, code, "whereis");
	} else if (*process.child == '\0') {
		status = tool_fail(t, tool_exit(STASH_E_NOENT),
		    "whereis: \"%s\" has a state, but no child of that name is known", process.name);
	} else if (t->json) {
		line = tool_json_process(&process);
		look_mark(&look, line);
		tool_json_line(t, line);
	} else {
		print(t, &process);
	}
	look_close(&look);
	return status;
}

const struct tool_command inspect_whereis = {
	.name = "whereis",
	.usage = "NAME | SUPERVISOR ID",
	.help = "the process that has a name, or is that child",
	.min = 1,
	.max = 2,
	.run = run,
};
