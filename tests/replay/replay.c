/* SPDX-License-Identifier: ISC */
/*
 * otp-replay --machine FILE...: carries out scenarios of tests/conformance on the
 * tree machine, in a simulated world. Prints what happened, in the words of the
 * scenarios, with a comment where that isn't what was expected; at last "N
 * scenarios, M differ". Exits 0 if none differs, 1 if one does, 64 for a wrong
 * command line, 65 for a file that can't be read.
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

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

int
main(int argc, char **argv)
{
	int i, differ = 0;

	if (argc < 3 || strcmp(argv[1], "--machine") != 0) {
		fprintf(stderr, "usage: otp-replay --machine FILE...\n");
		return EX_USAGE;
	}
	for (i = 2; i < argc; i++) {
		struct scenario s;

		if (scenario_read(&s, argv[i]) < 0) {
			scenario_free(&s);
			return EX_DATAERR;
		}
		if (!run(&s)) {
			fprintf(stderr, "otp-replay: %s differs\n", s.name);
			differ++;
		}
		scenario_free(&s);
	}
	printf("%d scenarios, %d differ\n", argc - 2, differ);
	return differ > 0;
}
