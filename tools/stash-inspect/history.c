/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect history: the states of a name that reached the store, the newest
 * first.
 */
#include "stash-inspect/inspect.h"

struct listing {
	const struct look *look;
	const char *name;
	struct tool_table *table; /* NULL: JSON */
};

static int
show(void *arg, const struct stash_state *s)
{
	struct listing *l = arg;
	char text[TOOL_TIME_MAX];
	json_t *line;

	if (l->table != NULL) {
		tool_cell(l->table, "%llu", (unsigned long long)s->version);
		tool_cell(l->table, "%s", tool_time_local(s->committed_ns, text));
		tool_cell(l->table, "%zu", s->len);
		tool_cell(l->table, "%s %u", *s->layout != '\0' ? s->layout : "-", (unsigned)s->layout_version);
		return 0;
	}
	line = look_json(l->look);
	tool_json_set(line, "name", tool_json_string(l->name));
	tool_json_set(line, "version", tool_json_number(s->version));
	tool_json_set(line, "committed", tool_json_time(s->committed_ns));
	tool_json_set(line, "bytes", tool_json_number(s->len));
	tool_json_set(line, "layout", tool_json_string(s->layout));
	tool_json_set(line, "layout_version", json_integer((json_int_t)s->layout_version));
	tool_json_line(l->look->t, line);
	return 0;
}

static int
run(struct tool *t, int argc, char **argv)
{
	static const char *const titles[] = { ">VERSION", "COMMITTED", ">BYTES", "LAYOUT", NULL };
	struct listing l = { NULL, NULL, NULL };
	struct stash_process process;
	struct look look;
	int status = look_open(t, &look), code;

	(void)argc;
	if (status != 0)
		return status;
	l.look = &look;
	if (!t->json)
		l.table = tool_table_create(titles);
	code = find_process(&look, argv[1], &process);
	if (code == STASH_OK) {
		l.name = process.name;
		code = stash_store_history(look.store, process.name, show, &l);
	}
	if (code < 0)
		status = tool_error(t, code, "history");
	else if (l.table != NULL)
		tool_table_print(l.table, t->out);
	tool_table_destroy(l.table);
	look_close(&look);
	return status;
}

const struct tool_command inspect_history = {
	.name = "history",
	.usage = "NAME",
	.help = "a name's stored states, newest first",
	.min = 1,
	.max = 1,
	.run = run,
};
