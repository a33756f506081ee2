/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect tree: the supervision tree, drawn. Supervisors of which nobody
 * tells are drawn from their children's paths.
 */
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "stash-inspect/inspect.h"

struct drawing {
	const struct look *look;
	struct stash_process *list;
	size_t count;
	bool more[STASH_PATH_MAX + 1]; /* by depth: a sibling comes below */
};

struct lines {
	const char *more, *none, *branch, *last;
};

static void
append(struct drawing *d, const struct stash_process *p)
{
	d->list = tool_realloc(d->list, (d->count + 1) * sizeof *d->list);
	d->list[d->count++] = *p;
}

/* Whether path is above, or is, what stands last in the list. */
static bool
is_there(const struct drawing *d, const char *path, size_t len)
{
	const char *last = d->count > 0 ? d->list[d->count - 1].child : "";

	return strncmp(last, path, len) == 0 && (last[len] == '/' || last[len] == '\0');
}

/* The supervisors above a process, where nobody has told of them. */
static void
append_above(struct drawing *d, const char *path)
{
	struct stash_process above = { .is_supervisor = 1 };
	const char *begin = path, *slash;

	for (; (slash = strchr(begin, '/')) != NULL; begin = slash + 1) {
		if (is_there(d, path, (size_t)(slash - path)))
			continue;
		strlcpy(above.id, begin, (size_t)(slash - begin) + 1);
		strlcpy(above.child, path, (size_t)(slash - path) + 1);
		append(d, &above);
	}
}

static int
add(void *arg, const struct stash_process *p)
{
	struct drawing *d = arg;

	if (*p->child == '\0')
		return 0;
	append_above(d, p->child);
	append(d, p);
	return 0;
}

static size_t
depth_of(const char *path)
{
	size_t n = 0;

	for (; *path != '\0'; path++)
		n += *path == '/';
	return n;
}

/* Whether another child of the same supervisor comes behind number i. */
static bool
has_sibling(const struct drawing *d, size_t i)
{
	size_t depth = depth_of(d->list[i].child), other;

	for (i++; i < d->count; i++) {
		other = depth_of(d->list[i].child);
		if (other <= depth)
			return other == depth && depth > 0;
	}
	return false;
}

static void
draw(struct drawing *d, size_t i, const struct lines *lines, char *text, size_t size)
{
	const struct stash_process *p = &d->list[i];
	size_t depth = depth_of(p->child);

	d->more[depth] = has_sibling(d, i);
	text[0] = '\0';
	for (size_t level = 1; level < depth; level++)
		strlcat(text, d->more[level] ? lines->more : lines->none, size);
	if (depth > 0)
		strlcat(text, d->more[depth] ? lines->branch : lines->last, size);
	strlcat(text, p->id, size);
	if (*p->name != '\0' && strcmp(p->name, p->id) != 0) {
		strlcat(text, " = ", size);
		strlcat(text, p->name, size);
	}
}

static void
print(struct drawing *d, FILE *out)
{
	static const char *const titles[] = { "CHILD", "STATUS", ">PID", ">RESTARTS", ">VERSION", ">INCARNATION",
		NULL };
	static const struct lines ascii = { "|  ", "   ", "|- ", "`- " };
	static const struct lines boxes = { "│  ", "   ", "├─ ", "└─ " };
	const struct lines *lines = strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? &boxes : &ascii;
	struct tool_table *table = tool_table_create(titles);
	/* A path has as many levels as it has slashes, and a box takes 3 + 2 bytes at most. */
	char text[8 * STASH_PATH_MAX + 2 * STASH_NAME_MAX];

	for (size_t i = 0; i < d->count; i++) {
		const struct stash_process *p = &d->list[i];

		draw(d, i, lines, text, sizeof text);
		tool_cell(table, "%s", text);
		tool_cell(table, "%s", tool_status_word(p));
		tool_cell_count(table, (uint64_t)p->pid);
		tool_cell_count(table, p->restarts);
		tool_cell_count(table, p->version);
		tool_cell_count(table, p->incarnation);
	}
	tool_table_print(table, out);
	tool_table_destroy(table);
}

static void
print_json(const struct drawing *d)
{
	json_t *line;

	for (size_t i = 0; i < d->count; i++) {
		line = tool_json_process(&d->list[i]);
		tool_json_set(line, "depth", json_integer((json_int_t)depth_of(d->list[i].child)));
		look_mark(d->look, line);
		tool_json_line(d->look->t, line);
	}
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct drawing d = { .list = NULL };
	struct look look;
	int status = look_open(t, &look), code;

	(void)argc;
	(void)argv;
	if (status != 0)
		return status;
	d.look = &look;
	code = look.online ? stash__store_processes(look.store, add, &d) : offline_tree(&look, add, &d);
	if (code < 0)
		status = tool_error(t, code, "tree");
	else if (t->json)
		print_json(&d);
	else
		print(&d, t->out);
	free(d.list);
	look_close(&look);
	return status;
}

const struct tool_command inspect_tree = {
	.name = "tree",
	.usage = "",
	.help = "the supervision tree",
	.max = 0,
	.run = run,
};
