/* SPDX-License-Identifier: ISC */
/*
 * What the command line says, as numbers with their bounds, and the two files
 * that are needed: beside this program in a build tree, or where an
 * installation has them. Nothing is started here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <bsd/stdlib.h>
#include <bsd/string.h>

#include "base/parse.h"
#include "stash-bench/bench.h"

#define RUN_MS_MIN 10
#define RUN_MS_MAX 60000
#define WORKERS_MAX 20000
#define FLIGHT_MAX 4096
#define KILLS_MAX 10000

static int
take_count(const struct tool *t, char letter, const char *name, long long max, unsigned *count)
{
	const char *text = t->values[(unsigned char)letter], *wrong;

	if (text == NULL)
		return 0;
	*count = (unsigned)strtonum(text, 1, max, &wrong);
	return wrong == NULL ? 0 : tool_usage(t, "--%s %s: %s: give a number from 1 to %lld", name, text, wrong, max);
}

static int
take_counts(const struct tool *t, struct bench_setup *setup)
{
	int status = take_count(t, 'c', "clients", BENCH_CLIENTS_MAX, &setup->clients);

	if (status == 0)
		status = take_count(t, 'f', "flight", FLIGHT_MAX, &setup->flight);
	if (status == 0)
		status = take_count(t, 'w', "workers", WORKERS_MAX, &setup->workers);
	if (status == 0)
		status = take_count(t, 'k', "kills", KILLS_MAX, &setup->kills);
	return status;
}

static int
take_times(const struct tool *t, struct bench_setup *setup)
{
	const char *text = t->values['s'];
	int ms;

	if (text != NULL && (!tool_milliseconds(text, &ms) || ms < RUN_MS_MIN || ms > RUN_MS_MAX))
		return tool_usage(t, "--seconds %s: give 0.01 to 60, or 10ms to 1m", text);
	if (text != NULL)
		setup->run_ns = ms * STASH__NS_PER_MS;
	setup->spin_ns = -1;
	text = t->values['S'];
	if (text != NULL && strcmp(text, "0") == 0)
		setup->spin_ns = 0;
	else if (text != NULL && (stash__parse_ns(text, &setup->spin_ns) < 0 || setup->spin_ns > STASH__NS_PER_S))
		return tool_usage(t, "--spin %s: give a time up to 1s with its unit, like 50us, or 0", text);
	return 0;
}

/* Which of the words; -1: none of them. */
static int
word(const char *text, const char *const *words)
{
	for (int i = 0; words[i] != NULL; i++) {
		if (strcmp(text, words[i]) == 0)
			return i;
	}
	return -1;
}

static int
take_words(const struct tool *t, struct bench_setup *setup)
{
	static const char *const acks[] = { "crash", "disk", NULL }, *const pins[] = { "none", "one", "two", NULL };
	int ack = tool_has(t, 'a') ? word(t->values['a'], acks) : 0;
	int pin = tool_has(t, 'p') ? word(t->values['p'], pins) : BENCH_PIN_NONE;

	if (ack < 0)
		return tool_usage(t, "--ack %s: give crash or disk", t->values['a']);
	if (pin < 0)
		return tool_usage(t, "--pin %s: give none, one or two", t->values['p']);
	if (pin == BENCH_PIN_TWO && bench_cores() < 2)
		return tool_fail(t, EX_OSERR, "--pin two: there is one core only");
	setup->ack_disk = ack == 1;
	setup->pin = (enum bench_pin)pin;
	setup->state = BENCH_STATE;
	if (tool_has(t, 'b') &&
	    (stash__parse_size(t->values['b'], &setup->state) < 0 || setup->state < BENCH_STATE ||
		setup->state > STASH_STATE_MAX))
		return tool_usage(t, "--state %s: give %d to %d bytes", t->values['b'], BENCH_STATE, STASH_STATE_MAX);
	return 0;
}

/* The first of the places, relative to this program, at which the file is. */
static int
find_file(const struct tool *t, const struct bench_setup *setup, char option, const char *const *places, char *path)
{
	const char *given = t->values[(unsigned char)option];
	char at[PATH_MAX];
	size_t dir = (size_t)(strrchr(setup->self, '/') - setup->self);

	if (given != NULL) {
		if (realpath(given, path) == NULL)
			return tool_fail(t, EX_NOINPUT, "%s: %s", given, strerror(errno));
		return 0;
	}
	for (size_t i = 0; places[i] != NULL; i++) {
		if (snprintf(at, sizeof at, "%.*s/%s", (int)dir, setup->self, places[i]) < (int)sizeof at &&
		    realpath(at, path) != NULL)
			return 0;
	}
	return tool_fail(t, EX_NOINPUT, "%.*s/%s: not there; name it by --%s", (int)dir, setup->self, places[0],
	    option == 'D' ? "stashd" : "module");
}

static int
find_files(const struct tool *t, struct bench_setup *setup)
{
	static const char *const daemons[] = { "stashd", "../sbin/stashd", NULL };
	static const char *const modules[] = { "examples/bench.so", "../lib/stash/modules/bench.so", NULL };
	int status;

	if (realpath("/proc/self/exe", setup->self) == NULL)
		return tool_fail(t, EX_OSERR, "/proc/self/exe: %s", strerror(errno));
	status = find_file(t, setup, 'D', daemons, setup->stashd);
	return status != 0 ? status : find_file(t, setup, 'm', modules, setup->module);
}

static int
find_dir(const struct tool *t, struct bench_setup *setup)
{
	const char *dir = t->dir != NULL ? t->dir : getenv("TMPDIR");

	if (dir == NULL || *dir == '\0')
		dir = "/tmp";
	if (realpath(dir, setup->dir) == NULL || access(dir, W_OK | X_OK) != 0)
		return tool_fail(t, EX_CANTCREAT, "%s: %s; name another directory by --dir", dir, strerror(errno));
	return 0;
}

int
bench_setup(struct tool *tool, struct bench_setup *setup)
{
	int status;

	memset(setup, 0, sizeof *setup);
	setup->tool = tool;
	setup->quick = tool_has(tool, 'q');
	status = take_counts(tool, setup);
	if (status == 0)
		status = take_times(tool, setup);
	if (status == 0)
		status = take_words(tool, setup);
	if (status == 0)
		status = find_files(tool, setup);
	if (status == 0)
		status = find_dir(tool, setup);
	if (status == 0)
		bench_catch_signals();
	return status;
}

int64_t
bench_run_ns(const struct bench_setup *setup, int ms)
{
	if (setup->run_ns > 0)
		return setup->run_ns;
	return (setup->quick ? ms / 4 : ms) * STASH__NS_PER_MS;
}

void
bench_progress(const struct bench_setup *setup, const char *what)
{
	if (tool_terminal(setup->tool->err))
		fprintf(setup->tool->err, "stash-bench: %s ...\n", what);
}
