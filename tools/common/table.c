/* SPDX-License-Identifier: ISC */
/*
 * Tables for people: cells are gathered, then each column gets the width of its
 * widest cell. Must not let a cell's content break a line.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "common/out.h"

struct tool_table {
	const char *const *titles;
	size_t columns, cells, room;
	char **cell;
};

struct tool_table *
tool_table_create(const char *const *titles)
{
	struct tool_table *table = tool_alloc(sizeof *table);

	*table = (struct tool_table){ .titles = titles };
	while (titles[table->columns] != NULL)
		table->columns++;
	return table;
}

void
tool_table_destroy(struct tool_table *table)
{
	if (table == NULL)
		return;
	for (size_t i = 0; i < table->cells; i++)
		free(table->cell[i]);
	free(table->cell);
	free(table);
}

void
tool_cell(struct tool_table *table, const char *fmt, ...)
{
	char *text = NULL, *safe;
	size_t need;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		text = NULL;
	need = len < 0 ? 0 : stash__escape(NULL, 0, text, (size_t)len);
	safe = tool_alloc(need + 1);
	safe[0] = '\0';
	if (len > 0)
		stash__escape(safe, need + 1, text, (size_t)len);
	free(text);
	if (table->cells == table->room) {
		table->room = table->room * 2 + 8 * table->columns;
		table->cell = tool_realloc(table->cell, table->room * sizeof *table->cell);
	}
	table->cell[table->cells++] = safe;
}

void
tool_cell_count(struct tool_table *table, uint64_t value)
{
	if (value == 0)
		tool_cell(table, "-");
	else
		tool_cell(table, "%llu", (unsigned long long)value);
}

size_t
tool_table_rows(const struct tool_table *table)
{
	return table->cells / table->columns;
}

/* Characters, not bytes. */
static size_t
width(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void
print_cell(FILE *out, const char *text, size_t wide, bool number, bool last)
{
	int fill = (int)(wide - width(text));

	if (number)
		fprintf(out, "%*s%s", fill, "", text);
	else
		fprintf(out, "%s%*s", text, last ? 0 : fill, "");
	fputs(last ? "\n" : "  ", out);
}

void
tool_table_print(const struct tool_table *table, FILE *out)
{
	size_t n = table->columns, *wide = tool_alloc(n * sizeof *wide);

	STASH_ASSERT(n > 0);
	for (size_t i = 0; i < n; i++)
		wide[i] = width(table->titles[i] + (table->titles[i][0] == '>'));
	for (size_t i = 0; i < table->cells; i++) {
		if (width(table->cell[i]) > wide[i % n])
			wide[i % n] = width(table->cell[i]);
	}
	for (size_t i = 0; i < n; i++) {
		bool number = table->titles[i][0] == '>';

		print_cell(out, table->titles[i] + number, wide[i], number, i == n - 1);
	}
	for (size_t i = 0; i < table->cells; i++)
		print_cell(out, table->cell[i], wide[i % n], table->titles[i % n][0] == '>', i % n == n - 1);
	free(wide);
}
