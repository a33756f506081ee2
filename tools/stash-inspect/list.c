/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect list: every name with a state or an owner.
 */
#include "stash-inspect/inspect.h"

struct listing {
	const struct look *look;
	struct tool_table *table; /* NULL: JSON */
};

static int
show(void *arg, const struct stash_process *p)
{
	struct listing *l = arg;
	json_t *line;

	if (l->table == NULL) {
		line = tool_json_process(p);
		look_mark(l->look, line);
		tool_json_line(l->look->t, line);
		return 0;
	}
	tool_cell(l->table, "%s", p->name);
	tool_cell(l->table, "%s", tool_status_word(p));
	tool_cell_count(l->table, (uint64_t)p->pid);
	tool_cell_count(l->table, p->version);
	tool_cell_count(l->table, p->restarts);
	tool_cell_count(l->table, p->incarnation);
	tool_cell(l->table, "%s", *p->child != '\0' ? p->child : "-");
	return 0;
}

static int
run(struct tool *t, int argc, char **argv)
{
	static const char *const titles[] = { "NAME", "STATUS", ">PID", ">VERSION", ">RESTARTS", ">INCARNATION",
		"CHILD", NULL };
	struct listing l = { NULL, NULL };
	struct look look;
	int status = look_open(t, &look), code;

	if (status != 0)
		return status;
	l.look = &look;
	if (!t->json)
		l.table = tool_table_create(titles);
	code = stash_store_list(look.store, argc > 1 ? argv[1] : NULL, show, &l);
	if (code < 0)
		status = tool_error(t, code, "list");
	else if (l.table != NULL)
		tool_table_print(l.table, t->out);
	tool_table_destroy(l.table);
	look_close(&look);
	return status;
}

const struct tool_command inspect_list = {
	.name = "list",
	.usage = "[PREFIX]",
	.help = "every name with a state or an owner",
	.max = 1,
	.run = run,
};
