/* SPDX-License-Identifier: ISC */
/*
 * Figures as a table for people, and as JSON lines, each as soon as it is there.
 * A figure that has something to be compared with is judged here and nowhere
 * else.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/out.h"
#include "stash-bench/bench.h"

#define SAID_NO 1

void
bench_report_init(struct bench_report *report, const struct tool *tool, const char *bench)
{
	*report = (struct bench_report){ .tool = tool, .bench = bench };
}

static double
judged(const struct bench_figure *figure)
{
	if (figure->floor_name == NULL)
		return figure->value;
	return figure->floor > 0 ? figure->value / figure->floor : 0;
}

bool
bench_figure_ok(const struct bench_figure *figure)
{
	switch (figure->sense) {
	case BENCH_AT_LEAST:
		return judged(figure) >= figure->wanted;
	case BENCH_AT_MOST:
		/* A floor that couldn't be measured proves nothing. */
		return judged(figure) <= figure->wanted && (figure->floor_name == NULL || figure->floor > 0);
	case BENCH_ANY:
		break;
	}
	return true;
}

/* ---- JSON ---- */

static const char *
unit_name(enum bench_unit unit)
{
	switch (unit) {
	case BENCH_NS:
		return "ns";
	case BENCH_RATE:
		return "1/s";
	case BENCH_BYTES:
		return "bytes";
	case BENCH_COUNT:
		break;
	}
	return "1";
}

/* Two spaces before a name: it belongs to the figure above. */
static bool
is_part(const struct bench_figure *figure)
{
	return strncmp(figure->name, "  ", 2) == 0;
}

/* Figure number i, the last one so far. */
static void
print_json(const struct bench_report *report, size_t i)
{
	const struct bench_figure *figure = &report->figures[i];
	json_t *line = tool_json();

	tool_json_set(line, "bench", tool_json_string(report->bench));
	tool_json_set(line, "figure", tool_json_string(figure->name + (is_part(figure) ? 2 : 0)));
	while (i > 0 && is_part(&report->figures[i]))
		i--;
	if (figure != &report->figures[i])
		tool_json_set(line, "of", tool_json_string(report->figures[i].name));
	tool_json_set(line, "value", json_real(figure->value));
	tool_json_set(line, "unit", tool_json_string(unit_name(figure->unit)));
	if (figure->floor_name != NULL) {
		tool_json_set(line, "floor_name", tool_json_string(figure->floor_name));
		tool_json_set(line, "floor", json_real(figure->floor));
		tool_json_set(line, "ratio", json_real(judged(figure)));
	}
	if (figure->sense != BENCH_ANY) {
		tool_json_set(
		    line, figure->sense == BENCH_AT_LEAST ? "at_least" : "at_most", json_real(figure->wanted));
		tool_json_set(line, "ok", json_boolean(bench_figure_ok(figure)));
	}
	tool_json_line(report->tool, line);
	fflush(report->tool->out);
}

/* ---- the table ---- */

static const char *
show(enum bench_unit unit, double value, char text[TOOL_TIME_MAX])
{
	if (unit == BENCH_NS)
		return tool_duration((int64_t)(value + 0.5), text);
	if (unit == BENCH_BYTES)
		return tool_bytes((uint64_t)value, text);
	if (value >= 1e6)
		snprintf(text, TOOL_TIME_MAX, "%.2f M", value / 1e6);
	else if (value >= 1e4)
		snprintf(text, TOOL_TIME_MAX, "%.1f k", value / 1e3);
	else
		snprintf(text, TOOL_TIME_MAX, value < 100 && value != (double)(int)value ? "%.2f" : "%.0f", value);
	if (unit == BENCH_RATE)
		strncat(text, "/s", TOOL_TIME_MAX - strlen(text) - 1);
	return text;
}

static void
row(struct tool_table *table, const struct bench_figure *figure, bool compared)
{
	char text[TOOL_TIME_MAX], wanted[TOOL_TIME_MAX];

	tool_cell(table, "%s", figure->name);
	tool_cell(table, "%s", show(figure->unit, figure->value, text));
	if (!compared)
		return;
	if (figure->floor_name != NULL) {
		tool_cell(table, "%s", figure->floor_name);
		tool_cell(table, "%s", show(figure->unit, figure->floor, text));
		tool_cell(table, "%.2f", judged(figure));
	} else {
		for (int i = 0; i < 3; i++)
			tool_cell(table, "%s", "");
	}
	if (figure->floor_name != NULL)
		snprintf(wanted, sizeof wanted, "%.2f", figure->wanted);
	else
		show(figure->unit, figure->wanted, wanted);
	if (figure->sense == BENCH_ANY)
		tool_cell(table, "%s", "");
	else
		tool_cell(table, "%s %s", figure->sense == BENCH_AT_LEAST ? ">=" : "<=", wanted);
	tool_cell(table, "%s", figure->sense == BENCH_ANY ? "" : bench_figure_ok(figure) ? "ok" : "MISSED");
}

static void
print_table(const struct bench_report *report)
{
	static const char *const plain[] = { "FIGURE", ">VALUE", NULL };
	static const char *const full[] = { "FIGURE", ">VALUE", "COMPARED WITH", ">ITS VALUE", ">RATIO", ">WANTED", "",
		NULL };
	struct tool_table *table;
	bool compared = false;

	for (size_t i = 0; i < report->n; i++)
		compared = compared || report->figures[i].floor_name != NULL || report->figures[i].sense != BENCH_ANY;
	table = tool_table_create(compared ? full : plain);
	for (size_t i = 0; i < report->n; i++)
		row(table, &report->figures[i], compared);
	tool_table_print(table, report->tool->out);
	tool_table_destroy(table);
}

/* ---- adding figures ---- */

void
bench_figure(struct bench_report *report, const struct bench_figure *figure)
{
	report->figures = tool_realloc(report->figures, (report->n + 1) * sizeof *report->figures);
	report->figures[report->n++] = *figure;
	report->missed = report->missed || !bench_figure_ok(figure);
	if (report->tool->json)
		print_json(report, report->n - 1);
}

void
bench_value(struct bench_report *report, enum bench_unit unit, double value, const char *fmt, ...)
{
	struct bench_figure figure = { .unit = unit, .value = value };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(figure.name, sizeof figure.name, fmt, ap);
	va_end(ap);
	bench_figure(report, &figure);
}

int
bench_report_end(struct bench_report *report)
{
	if (!report->tool->json && report->n > 0)
		print_table(report);
	free(report->figures);
	report->figures = NULL;
	report->n = 0;
	return report->missed ? SAID_NO : EX_OK;
}

int
bench_failed(const struct bench_setup *setup, int error)
{
	if (bench_interrupted())
		return tool_fail(setup->tool, EX_TEMPFAIL, "stopped by a signal");
	return tool_error(setup->tool, error, "%s", setup->tool->command->name);
}
