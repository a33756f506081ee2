/* SPDX-License-Identifier: ISC */
/*
 * stash-bench pipeline: processes that call one worker, each with many calls in
 * flight.
 */
#include "stash-bench/bench.h"

static void
report(struct bench_report *r, const struct bench_load *load, const struct bench_outcome *o)
{
	bench_value(r, BENCH_RATE, o->rate, "%u caller%s, %u calls in flight each", load->clients,
	    load->clients == 1 ? "" : "s", load->flight);
	bench_value(r, BENCH_RATE, o->mean, "  a caller, mean");
	bench_value(r, BENCH_RATE, o->least, "  the slowest caller");
	bench_report_once(r, o);
}

static int
measure(const struct bench_setup *s, struct bench_report *r)
{
	struct bench_tree tree = { .ack_disk = s->ack_disk, .spin_ns = s->spin_ns, .state = s->state };
	struct bench_load load = { .clients = s->clients > 0 ? s->clients : 1,
		.flight = s->flight > 0 ? s->flight : 64,
		.pin = s->pin,
		.run_ns = bench_run_ns(s, 2000) };
	struct bench_outcome outcome;
	int error = bench_load_run(s, &tree, &load, &outcome);

	if (error != 0)
		return error;
	report(r, &load, &outcome);
	bench_outcome_free(&outcome);
	return 0;
}

static int
run(struct tool *t, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return bench_run(t, measure);
}

const struct tool_command bench_pipeline = {
	.name = "pipeline",
	.usage = "",
	.help = "callers with many calls in flight each",
	.options = "abcfpsS",
	.run = run,
};
