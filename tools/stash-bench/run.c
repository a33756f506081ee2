/* SPDX-License-Identifier: ISC */
/*
 * A whole measurement as a command: options, report, exit status. What it
 * measures is in the file that is named after it.
 */
#include "stash-bench/bench.h"

int
bench_run(struct tool *tool, int (*measure)(const struct bench_setup *, struct bench_report *))
{
	struct bench_setup setup;
	struct bench_report report;
	int status = bench_setup(tool, &setup), error;

	if (status != 0)
		return status;
	bench_report_init(&report, tool, tool->command->name);
	error = measure(&setup, &report);
	/* What was measured before a failure is shown too. */
	status = bench_report_end(&report);
	return error != 0 || bench_interrupted() ? bench_failed(&setup, error) : status;
}
