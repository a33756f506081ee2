/* SPDX-License-Identifier: ISC */
/*
 * The command line: options anywhere, also behind the command and its operands,
 * until "--". A lone "-" and what looks like a negative number are operands, so
 * that "cast sequence increment_number -3" means what it says. Wrong ones are
 * refused before anything is done.
 */
#include <ctype.h>
#include <getopt.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/assert.h"
#include "base/parse.h"
#include "base/text.h"
#include "common/tool.h"

#define OPTIONS_MAX 32
#define COMMANDS_MAX 64
#define MS_PER_S 1000

bool
tool_milliseconds(const char *text, int *ms)
{
	int64_t whole;
	double seconds;
	char *end;

	if (strcmp(text, "infinity") == 0) {
		*ms = -1;
		return true;
	}
	if (!isdigit((unsigned char)*text) && *text != '.')
		return false;
	seconds = strtod(text, &end);
	if (*end == '\0' && isfinite(seconds) && seconds <= (double)(INT32_MAX / MS_PER_S)) {
		*ms = (int)ceil(seconds * MS_PER_S);
		return true;
	}
	if (stash__parse_ms(text, &whole) < 0 || whole > INT32_MAX)
		return false;
	*ms = (int)whole;
	return true;
}

int
tool_timeout(const struct tool *t, int otherwise_ms)
{
	return tool_has(t, 't') ? t->timeout_ms : otherwise_ms;
}

/* ---- help ---- */

static int
version(const struct tool *t)
{
	fprintf(t->out, "%s %s\n", t->program->name, stash_version());
	return tool_end(t, EX_OK);
}

static void
help_option(FILE *out, const struct tool_option *o)
{
	char text[80];

	snprintf(text, sizeof text, "-%c, --%s%s%s", o->letter, o->name, o->arg != NULL ? " " : "",
	    o->arg != NULL ? o->arg : "");
	fprintf(out, "  %-26s %s\n", text, o->help);
}

/* Whether a command, or every one, takes that option. */
static bool
takes(const struct tool *t, char letter)
{
	const struct tool_command *c = t->command;

	if (strchr(t->program->common, letter) != NULL)
		return true;
	return c == NULL || (c->options != NULL && strchr(c->options, letter) != NULL);
}

static int
help(const struct tool *t)
{
	static const struct tool_option own[] = { { 'h', "help", NULL, "say this, or what a command takes" },
		{ 'V', "version", NULL, "say which version this is" } };
	const struct tool_program *p = t->program;
	const struct tool_command *c = t->command;

	if (c != NULL)
		fprintf(t->out, "usage: %s [OPTION...] %s%s%s\n%s\n", p->name, c->name, *c->usage != '\0' ? " " : "",
		    c->usage, c->help);
	else
		fprintf(t->out, "usage: %s [OPTION...] %s [OPERAND...]\n%s\n\nCommands:\n", p->name,
		    p->first != NULL ? "[COMMAND]" : "COMMAND", p->about);
	for (size_t i = 0; c == NULL && p->commands[i] != NULL; i++) {
		char text[80];

		snprintf(text, sizeof text, "%s %s", p->commands[i]->name, p->commands[i]->usage);
		fprintf(t->out, "  %-26s %s\n", text, p->commands[i]->help);
	}
	fprintf(t->out, "\nOptions:\n");
	for (const struct tool_option *o = p->options; o->letter != 0; o++) {
		if (takes(t, o->letter))
			help_option(t->out, o);
	}
	help_option(t->out, &own[0]);
	help_option(t->out, &own[1]);
	fprintf(t->out, "\nMore in %s(1).\n", p->name);
	return tool_end(t, EX_OK);
}

/* ---- parse ---- */

/* The tables that getopt_long() wants. */
struct table {
	char letters[3 * OPTIONS_MAX];
	struct option longs[OPTIONS_MAX + 1];
	const char *names[OPTIONS_MAX + 1];
};

static void
fill_one(struct table *table, size_t i, size_t *at, char letter, const char *name, bool arg)
{
	table->letters[(*at)++] = letter;
	if (arg)
		table->letters[(*at)++] = ':';
	table->letters[*at] = '\0';
	table->longs[i] = (struct option){ name, arg ? required_argument : no_argument, NULL, letter };
	table->names[i] = name;
}

static void
fill(struct table *table, const struct tool_option *options)
{
	size_t n = 0, at = 2;

	memset(table, 0, sizeof *table);
	/* In the order of the command line; a missing argument is told from an unknown option. */
	memcpy(table->letters, "-:", 2);
	for (; options[n].letter != 0 && n < OPTIONS_MAX - 2; n++)
		fill_one(table, n, &at, options[n].letter, options[n].name, options[n].arg != NULL);
	fill_one(table, n, &at, 'h', "help", false);
	fill_one(table, n + 1, &at, 'V', "version", false);
}

static int
wrong_option(const struct tool *t, const struct table *table, const char *word, int letter)
{
	const char *near;

	if (strncmp(word, "--", 2) != 0)
		return tool_usage(t, "unknown option -%c", letter);
	near = stash__nearest(word + 2, table->names);
	if (near == NULL)
		return tool_usage(t, "unknown option %s", word);
	return tool_usage(t, "unknown option %s: did you mean --%s?", word, near);
}

static bool
is_operand(const char *word)
{
	return word[0] == '-' &&
	    (word[1] == '\0' || isdigit((unsigned char)word[1]) || (word[1] == '.' && isdigit((unsigned char)word[2])));
}

/*
 * Sorts the words: options into t->values, operands to the front of argv, whose
 * number is returned; or -EX_USAGE.
 */
static int
sort_words(struct tool *t, int argc, char **argv)
{
	struct table table;
	int n = 1, c;

	fill(&table, t->program->options);
	opterr = 0;
	optind = 0; /* GNU: begin anew */
	for (;;) {
		const char *word = argc > 1 ? argv[optind > 0 ? optind : 1] : NULL;

		if (optind > 0 && word != NULL && is_operand(word)) {
			argv[n++] = argv[optind++];
			continue;
		}
		c = getopt_long(argc, argv, table.letters, table.longs, NULL);
		if (c == -1)
			break;
		if (c == 1)
			argv[n++] = optarg;
		else if (c == ':')
			return -tool_usage(t, "option %s needs an argument", word);
		else if (c == '?')
			return -wrong_option(t, &table, word != NULL ? word : "", optopt);
		else
			t->values[c] = optarg != NULL ? optarg : "";
	}
	while (optind < argc)
		argv[n++] = argv[optind++];
	return n;
}

static int
unknown_command(const struct tool *t, const char *word)
{
	const char *names[COMMANDS_MAX] = { NULL }, *near;

	for (size_t i = 0; i < COMMANDS_MAX - 1 && t->program->commands[i] != NULL; i++)
		names[i] = t->program->commands[i]->name;
	near = stash__nearest(word, names);
	if (near != NULL)
		return tool_usage(t, "unknown command %s: did you mean %s?", word, near);
	return tool_usage(t, "unknown command %s", word);
}

static int
find_command(struct tool *t, const char *word)
{
	if (word == NULL) {
		t->command = t->program->first;
		return t->command != NULL ? 0 : tool_usage(t, "no command is given");
	}
	for (size_t i = 0; t->program->commands[i] != NULL; i++) {
		if (strcmp(t->program->commands[i]->name, word) == 0)
			t->command = t->program->commands[i];
	}
	return t->command != NULL ? 0 : unknown_command(t, word);
}

/* The options' values, and whether they go with the command. */
static int
take_options(struct tool *t)
{
	for (const struct tool_option *o = t->program->options; o->letter != 0; o++) {
		if (tool_has(t, o->letter) && !takes(t, o->letter))
			return tool_usage(t, "option --%s is not for %s", o->name, t->command->name);
	}
	t->dir = t->values['d'];
	t->json = tool_has(t, 'j');
	if (tool_has(t, 't') && !tool_milliseconds(t->values['t'], &t->timeout_ms))
		return tool_usage(
		    t, "-t %s: not a time: give seconds (2, 0.5), or 500ms, 2m, infinity", t->values['t']);
	return 0;
}

static int
check_operands(const struct tool *t, int n, char **words)
{
	const struct tool_command *c = t->command;

	STASH_ASSERT(c != NULL);
	if (n < c->min)
		return tool_usage(t, "%s: operands are missing", c->name);
	if (c->max >= 0 && n > c->max)
		return tool_usage(t, "%s: \"%s\" is too much", c->name, words[c->max]);
	return 0;
}

int
tool_run(const struct tool_program *program, int argc, char **argv, FILE *in, FILE *out, FILE *err)
{
	struct tool t = { .program = program, .in = in, .out = out, .err = err };
	int n = sort_words(&t, argc, argv), status;
	char *none[2] = { NULL, NULL };

	if (n < 0)
		return -n;
	if (tool_has(&t, 'V'))
		return version(&t);
	if (n == 1 && tool_has(&t, 'h'))
		return help(&t);
	status = find_command(&t, n > 1 ? argv[1] : NULL);
	if (status == 0 && tool_has(&t, 'h'))
		return help(&t);
	if (status == 0)
		status = take_options(&t);
	if (status == 0 && n > 1)
		status = check_operands(&t, n - 2, argv + 2);
	if (status != 0)
		return status;
	if (n > 1)
		return tool_end(&t, t.command->run(&t, n - 1, argv + 1));
	return tool_end(&t, t.command->run(&t, 1, none));
}

int
tool_main(const struct tool_program *program, int argc, char **argv)
{
	setlocale(LC_ALL, "");
	/* Numbers are written for programs too: always with a point. */
	setlocale(LC_NUMERIC, "C");
	return tool_run(program, argc, argv, stdin, stdout, stderr);
}
