/* SPDX-License-Identifier: ISC */
/*
 * tree-simulate [-n HISTORIES] [-s SEED] [-o FILE]: random histories on the tree
 * machine, judged by the oracle after each event; history number i has the seed
 * SEED + i, and in one of eight the machine is exchanged for one out of its rows at
 * each event. What breaks a rule is made small and printed as a scenario, on
 * standard output or in FILE. tree-simulate FILE...: judges scenarios. Exits 0 if
 * no rule is broken, 1 if one is, 64 for a wrong command line, 65 for a file that
 * can't be read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "simulate/shrink.h"

#define PATIENCE 10 /* seconds for one history */

struct order {
	uint64_t first, count;
};

static void
note_line(void *arg, const char *text)
{
	struct verdict *v = arg;
	size_t room = sizeof(v->text) - v->len;
	int len = snprintf(v->text + v->len, room, "%s\n", text);

	if (len > 0 && (size_t)len < room)
		v->len += (size_t)len;
}

static void
one_history(struct verdict *v, uint64_t seed)
{
	static struct run r;

	v->seed = seed;
	v->takeover = seed % 8 == 7;
	v->len = 0;
	v->text[0] = '\0';
	alarm(PATIENCE);
	run_open(&r, v->takeover);
	r.line = note_line;
	r.line_arg = v;
	history_run(&r, seed);
	v->histories++;
	v->takeovers += v->takeover;
	verdict_of(v, &r);
	run_close(&r);
}

static void
all_histories(struct verdict *v, void *arg)
{
	const struct order *order = arg;
	uint64_t i;

	for (i = 0; i < order->count && v->rule[0] == '\0'; i++)
		one_history(v, order->first + i);
}

static int
tell_broken(const struct verdict *v, const char *file)
{
	FILE *out = file == NULL ? stdout : fopen(file, "w");
	struct story story;
	char name[64];

	fprintf(stderr, "tree-simulate: seed %" PRIu64 " (again: -s %" PRIu64 " -n 1): %s: %s\n", v->seed, v->seed,
	    v->rule, v->detail);
	if (out == NULL) {
		fprintf(stderr, "tree-simulate: %s: %s\n", file, strerror(errno));
		return EX_CANTCREAT;
	}
	story_read(&story, v->text);
	story_shrink(&story, v->takeover, v->rule);
	snprintf(name, sizeof(name), "simulated_%" PRIu64, v->seed);
	story_print(&story, v->takeover, name, out);
	story_free(&story);
	if (out != stdout && fclose(out) != 0)
		return EX_CANTCREAT;
	return 1;
}

static int
simulate(const struct order *order, const char *file)
{
	struct verdict *v = verdict_create();
	int64_t began = stash__now_ns();
	double took;

	verdict_by(v, all_histories, (void *)(uintptr_t)order, PATIENCE);
	took = (double)(stash__now_ns() - began) / 1e9;
	if (v->rule[0] != '\0')
		return tell_broken(v, file);
	printf("seed %" PRIu64 ": %" PRIu64 " histories (%" PRIu64 " with takeovers, %" PRIu64 " left early), %" PRIu64
	       " steps, %" PRIu64 " events, %" PRIu64 " actions, %.1f s, %.0f events/s\n",
	    order->first, v->histories, v->takeovers, v->invalid, v->steps, v->events, v->actions, took,
	    (double)v->events / (took > 0 ? took : 1));
	return 0;
}

/* ---- scenarios ---- */

struct reading {
	const struct scenario *scenario;
	bool takeover;
};

static void
judge_scenario(struct verdict *v, void *arg)
{
	static struct run r;
	const struct reading *reading = arg;
	size_t i;

	run_open(&r, reading->takeover);
	for (i = 0; i < reading->scenario->count && run_line(&r, reading->scenario->item[i].text); i++)
		;
	verdict_of(v, &r);
}

static int
judge_file(const char *file)
{
	struct verdict *v = verdict_create();
	struct reading reading;
	struct scenario s;
	int i, result = 0;

	if (scenario_read(&s, file) < 0)
		return EX_DATAERR;
	for (i = 0; i < 2 && result == 0; i++) {
		reading = (struct reading){ .scenario = &s, .takeover = i == 1 };
		verdict_by(v, judge_scenario, &reading, PATIENCE);
		if (v->rule[0] == '\0' && v->invalid == 0)
			continue;
		fprintf(stderr, "tree-simulate: %s%s: %s: %s\n", s.name, i == 1 ? " (taken over)" : "",
		    v->invalid != 0 ? "can't be carried out" : v->rule, v->detail);
		result = 1;
	}
	scenario_free(&s);
	return result;
}

/* ---- the command line ---- */

static bool
take_number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno == 0 && end != text && *end == '\0';
}

static int
usage(void)
{
	fprintf(stderr, "usage: tree-simulate [-n HISTORIES] [-s SEED] [-o FILE]\n       tree-simulate FILE...\n");
	return EX_USAGE;
}

int
main(int argc, char **argv)
{
	struct order order = { .first = (uint64_t)time(NULL) * 1000000, .count = 10000 };
	const char *file = NULL;
	int option, result = 0, one;

	while ((option = getopt(argc, argv, "n:s:o:")) != -1) {
		if (option == 'o')
			file = optarg;
		else if ((option != 'n' && option != 's') ||
		    !take_number(optarg, option == 'n' ? &order.count : &order.first))
			return usage();
	}
	if (optind == argc)
		return simulate(&order, file);
	for (; optind < argc; optind++) {
		if ((one = judge_file(argv[optind])) > result)
			result = one;
	}
	return result;
}
