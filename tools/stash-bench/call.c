/* SPDX-License-Identifier: ISC */
/*
 * stash-bench call: processes that call one worker, each with one call in
 * flight.
 */
#include "stash-bench/bench.h"

static void
report(struct bench_report *r, const struct bench_load *load, const struct bench_outcome *o)
{
	bench_value(
	    r, BENCH_RATE, o->rate, "%u caller%s, one call in flight", load->clients, load->clients == 1 ? "" : "s");
	bench_value(r, BENCH_NS, (double)bench_times_at(o->times, 0.5), "  half of the calls within");
	bench_value(r, BENCH_NS, (double)bench_times_at(o->times, 0.99), "  99 %% of them within");
	bench_value(r, BENCH_NS, (double)o->times->max, "  the longest");
	bench_report_once(r, o);
}

static int
measure(const struct bench_setup *s, struct bench_report *r)
{
	struct bench_tree tree = { .ack_disk = s->ack_disk, .spin_ns = s->spin_ns, .state = s->state };
	struct bench_load load = {
		.clients = s->clients > 0 ? s->clients : 1, .flight = 1, .pin = s->pin, .run_ns = bench_run_ns(s, 2000)
	};
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

const struct tool_command bench_call = {
	.name = "call",
	.usage = "",
	.help = "callers with one call in flight each",
	.options = "abcpsS",
	.run = run,
};
