/* SPDX-License-Identifier: ISC */
/*
 * otp-replay [--machine | --processes] [-j JOBS] FILE...: carries out scenarios of tests/conformance, on the tree
 * machine in a simulated world, or on a real stashd with real workers, several at once. Prints what happened, in the
 * words of the scenarios, with a comment where that isn't what was expected; at last "N scenarios, M differ". Exits 0
 * if none differs, 1 if one does, 64 for a wrong command line, 65 for a file that can't be read.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "replay/jobs.h"
#include "replay/real.h"
#include "replay/world.h"

static void
print_step(const struct item *it, const struct lines *seen, bool same)
{
	size_t i;

	for (i = 0; i < seen->count; i++)
		printf("expect %s\n", seen->line[i]);
	if (same)
		return;
	printf("# differs, expected is:\n");
	for (i = 0; i < it->expect.count; i++)
		printf("#\t%s\n", it->expect.line[i]);
}

/* Whether everything was as expected. */
static bool
run(const struct scenario *s)
{
	struct world w;
	bool all = true, same;
	size_t printed = 0;
	int step;

	printf("scenario %s\n", s->name);
	world_open(&w, s);
	while ((step = world_step(&w)) >= 0) {
		for (; printed <= (size_t)step; printed++)
			printf("%s\n", s->item[printed].text);
		same = lines_agree(&s->item[step].expect, &w.seen);
		print_step(&s->item[step], &w.seen, same);
		all = all && same;
	}
	world_close(&w);
	return all;
}

/* How many differ; -1: a file can't be read. */
static int
run_all(char *const *files, int n)
{
	struct scenario s;
	int i, differ = 0;

	for (i = 0; i < n; i++) {
		if (scenario_read(&s, files[i]) < 0) {
			scenario_free(&s);
			return -1;
		}
		if (!run(&s)) {
			fprintf(stderr, "otp-replay: %s differs\n", s.name);
			differ++;
		}
		scenario_free(&s);
	}
	return differ;
}

static int
usage(void)
{
	fprintf(stderr, "usage: otp-replay [--machine | --processes] [-j JOBS] FILE...\n");
	return EX_USAGE;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = { { "machine", no_argument, NULL, 'm' },
		{ "processes", no_argument, NULL, 'p' }, { "jobs", required_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 } };
	bool processes = false;
	int c, jobs = 0, differ;

	if (argc > 1 && strcmp(argv[1], "--host") == 0)
		return real_host(argc, argv);
	while ((c = getopt_long(argc, argv, "j:", options, NULL)) != -1) {
		if (c == 'j' && (jobs = atoi(optarg)) < 1)
			return usage();
		if (c == '?')
			return usage();
		processes = c == 'p' || (processes && c != 'm');
	}
	if (optind == argc)
		return usage();
	differ = processes ? jobs_run(argv + optind, argc - optind, jobs) : run_all(argv + optind, argc - optind);
	if (differ < 0)
		return EX_DATAERR;
	printf("%d scenarios, %d differ\n", argc - optind, differ);
	return differ > 0;
}
