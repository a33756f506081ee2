/* SPDX-License-Identifier: ISC */
/*
 * stash-bench limits: what this machine can do at best, without Stash.
 */
#include "stash-bench/prim.h"

#define RING_CLIENTS 8

static int
wake_limits(const struct bench_setup *s, struct bench_report *r)
{
	int64_t run_ns = bench_run_ns(s, 400);
	double ns = 0;
	int error = bench_prim_pingpong(BENCH_PIN_ONE, run_ns, &ns);

	if (error == 0)
		bench_value(r, BENCH_NS, ns, "eventfd ping-pong, both on one core");
	if (error != 0 || bench_cores() < 2)
		return error;
	error = bench_prim_pingpong(BENCH_PIN_TWO, run_ns, &ns);
	if (error != 0)
		return error;
	bench_value(r, BENCH_NS, ns, "eventfd ping-pong, a core each");
	error = bench_prim_spin(run_ns, &ns);
	if (error != 0)
		return error;
	bench_value(r, BENCH_NS, ns, "shared memory ping-pong, both spinning");
	error = bench_prim_wake(s->quick ? 50 : 200, &ns);
	if (error == 0)
		bench_value(r, BENCH_NS, ns, "idle wake-up of a process on the other core");
	return error;
}

static int
ring_limits(const struct bench_setup *s, struct bench_report *r)
{
	unsigned clients = s->clients > 0 ? s->clients : RING_CLIENTS;
	struct bench_ring ring;
	int error = bench_prim_ring(clients, bench_run_ns(s, 1000), &ring);

	if (error != 0)
		return error;
	bench_value(r, BENCH_RATE, ring.rate, "ring and futex prototype, %u clients (no checksums)", clients);
	bench_value(r, BENCH_NS, ring.p50, "  half of its calls within");
	bench_value(r, BENCH_NS, ring.p99, "  99 %% of them within");
	bench_value(r, BENCH_NS, ring.max, "  the longest");
	return 0;
}

static int
disk_limits(const struct bench_setup *s, struct bench_report *r)
{
	unsigned rounds = s->quick ? 100 : 500;
	int64_t before, after;
	double ns = 0;
	int error = bench_prim_flush(s->dir, rounds, &ns);

	if (error != 0)
		return error;
	bench_value(r, BENCH_NS, ns, "fdatasync of 4 KiB");
	before = bench_flushes(s->dir);
	error = bench_prim_commit(s->dir, rounds, &ns);
	after = bench_flushes(s->dir);
	if (error != 0)
		return error;
	bench_value(r, BENCH_NS, ns, "LMDB commit of 64 bytes, default sync");
	if (before >= 0 && after > before)
		bench_value(r, BENCH_COUNT, (double)(after - before) / rounds, "  flushes of the device for each");
	return 0;
}

static int
process_limits(const struct bench_setup *s, struct bench_report *r)
{
	unsigned rounds = s->quick ? 50 : 200;
	double ns = 0;
	int error = bench_prim_fork(rounds, &ns);

	if (error == 0)
		bench_value(r, BENCH_NS, ns, "fork, _exit, wait");
	if (error == 0)
		error = bench_prim_load(s->module, rounds, &ns);
	if (error == 0)
		bench_value(r, BENCH_NS, ns, "dlopen of the module in a child");
	if (error == 0)
		error = bench_prim_restart(s->module, rounds, &ns);
	if (error == 0)
		bench_value(r, BENCH_NS, ns, "raw restart, from SIGKILL to the next answer");
	return error;
}

static int
measure(const struct bench_setup *s, struct bench_report *r)
{
	static int (*const parts[])(const struct bench_setup *, struct bench_report *) = { wake_limits, ring_limits,
		disk_limits, process_limits };
	int error = 0;

	for (size_t i = 0; i < sizeof parts / sizeof parts[0] && error == 0 && !bench_interrupted(); i++)
		error = parts[i](s, r);
	return error;
}

static int
run(struct tool *t, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return bench_run(t, measure);
}

const struct tool_command bench_limits = {
	.name = "limits",
	.usage = "",
	.help = "what the machine can do at best, without Stash",
	.options = "cs",
	.run = run,
};
