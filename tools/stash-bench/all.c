/* SPDX-License-Identifier: ISC */
/*
 * stash-bench all: everything that is wanted of Stash's speed, each figure next
 * to what the machine can do, measured right before and after it.
 */
#include "stash-bench/prim.h"

#include <stdio.h>

#include "base/error.h"

#define ROUNDS 3
#define RING_CLIENTS 8

static unsigned
rounds_of(const struct bench_setup *s)
{
	return s->quick ? 1 : ROUNDS;
}

static const struct bench_tree awake = { .spin_ns = -1, .state = BENCH_STATE };
static const struct bench_tree asleep = { .spin_ns = 0, .state = BENCH_STATE };

static void
wanted_rate(struct bench_report *r, const struct bench_outcome *o, const char *name, double wanted)
{
	struct bench_figure f = { .unit = BENCH_RATE, .value = o->rate, .sense = BENCH_AT_LEAST, .wanted = wanted };

	snprintf(f.name, sizeof f.name, "%s", name);
	bench_figure(r, &f);
}

/* The best of some rounds: others use this machine, too. The one that went wrong counts, if there is one. */
static int
best_of(const struct bench_setup *s, const struct bench_tree *tree, const struct bench_load *load,
    struct bench_outcome *best)
{
	struct bench_outcome one;
	int error = bench_load_run(s, tree, load, best);

	for (unsigned i = 1; i < rounds_of(s) && error == 0 && best->once && best->errors == 0; i++) {
		error = bench_load_run(s, tree, load, &one);
		if (error == 0 && (one.rate > best->rate || !one.once || one.errors > 0)) {
			bench_outcome_free(best);
			*best = one;
		} else if (error == 0) {
			bench_outcome_free(&one);
		}
	}
	return error;
}

/* ---- one caller ---- */

static int
measure_awake(const struct bench_setup *s, struct bench_report *r)
{
	struct bench_load load = { .clients = 1, .flight = 1, .run_ns = bench_run_ns(s, 1000), .pin = BENCH_PIN_TWO };
	struct bench_outcome o;
	double ns = 0;
	int error;

	if (bench_cores() < 2)
		return 0;
	bench_progress(s, "one caller, both sides awake");
	error = best_of(s, &awake, &load, &o);
	if (error == 0)
		error = bench_prim_spin(bench_run_ns(s, 300), &ns);
	if (error != 0)
		return error;
	wanted_rate(r, &o, "one caller, both sides awake on two cores", 1500000);
	bench_value(r, BENCH_NS, (double)bench_times_at(o.times, 0.5), "  half of the calls within");
	bench_value(r, BENCH_NS, ns, "  spinning ping-pong on shared memory");
	bench_report_once(r, &o);
	bench_outcome_free(&o);
	return 0;
}

/* A round trip with both sides asleep, and the ping-pong before and after it. */
static int
measure_asleep_on(const struct bench_setup *s, struct bench_report *r, enum bench_pin pin)
{
	struct bench_load load = { .clients = 1, .flight = 1, .run_ns = bench_run_ns(s, 1000), .pin = pin };
	struct bench_figure f = {
		.unit = BENCH_NS, .floor_name = "eventfd ping-pong", .sense = BENCH_AT_MOST, .wanted = 1.3
	};
	double values[ROUNDS], floors[ROUNDS + 1];
	struct bench_outcome o = { 0 };
	unsigned n = 0;
	int error = bench_prim_pingpong(pin, load.run_ns / 2, &floors[0]);

	while (n < rounds_of(s) && error == 0 && !bench_interrupted()) {
		bench_outcome_free(&o);
		error = bench_load_run(s, &asleep, &load, &o);
		if (error != 0)
			return error;
		values[n++] = (double)bench_times_at(o.times, 0.5);
		error = bench_prim_pingpong(pin, load.run_ns / 2, &floors[n]);
		if (!o.once || o.errors > 0)
			break;
	}
	if (error != 0 || n == 0) {
		bench_outcome_free(&o);
		return error;
	}
	f.value = bench_median(values, n);
	f.floor = bench_median(floors, n + 1);
	snprintf(f.name, sizeof f.name, "one caller, both sides asleep, %s",
	    pin == BENCH_PIN_ONE ? "one core" : "two cores");
	bench_figure(r, &f);
	bench_report_once(r, &o);
	bench_outcome_free(&o);
	return error;
}

static int
measure_asleep(const struct bench_setup *s, struct bench_report *r)
{
	int error;

	bench_progress(s, "one caller, both sides asleep between calls");
	error = measure_asleep_on(s, r, BENCH_PIN_ONE);
	if (error == 0 && bench_cores() > 1 && !bench_interrupted())
		error = measure_asleep_on(s, r, BENCH_PIN_TWO);
	return error;
}

/* ---- nobody calls ---- */

static int
measure_idle(const struct bench_setup *s, struct bench_report *r)
{
	struct bench_figure f = { .unit = BENCH_NS, .sense = BENCH_AT_MOST, .wanted = 0 };
	int64_t wait_ns = s->quick ? STASH__NS_PER_S / 2 : STASH__NS_PER_S, before = -1, after = -1;
	struct bench_daemon daemon;
	uint64_t pid = 0, number;
	int error;

	bench_progress(s, "a worker that waits");
	error = bench_daemon_start(s, &awake, &daemon);
	if (error != 0)
		return error;
	error = bench_ask_once(&daemon, BENCH_NAME, "add", &number);
	if (error == 0)
		error = bench_ask_once(&daemon, BENCH_NAME, "pid", &pid);
	bench_sleep_ns(wait_ns / 4); /* it looks a moment before it sleeps, and its client's end is told to it */
	if (error == 0)
		before = bench_cpu_ns((pid_t)pid);
	bench_sleep_ns(wait_ns);
	if (error == 0)
		after = bench_cpu_ns((pid_t)pid);
	error = bench_daemon_end(&daemon, error);
	if (error != 0 || before < 0 || after < 0)
		return error != 0 ? error : stash__fail(STASH_E_SYSTEM, "the worker's processor time can't be read");
	f.value = (double)(after - before);
	snprintf(f.name, sizeof f.name, "processor time of a worker that waits %s", s->quick ? "0.5 s" : "1 s");
	bench_figure(r, &f);
	return 0;
}

/* ---- many calls ---- */

static int
measure_pipeline(const struct bench_setup *s, struct bench_report *r)
{
	struct bench_load load = { .clients = 1, .flight = 64, .run_ns = bench_run_ns(s, 1000), .pin = BENCH_PIN_TWO };
	struct bench_outcome o;
	int error;

	if (bench_cores() < 2)
		load.pin = BENCH_PIN_NONE;
	bench_progress(s, "one caller, 64 calls in flight");
	error = best_of(s, &awake, &load, &o);
	if (error != 0)
		return error;
	wanted_rate(r, &o, "one worker, 64 calls in flight", 5000000);
	bench_report_once(r, &o);
	bench_outcome_free(&o);
	return 0;
}

static void
report_callers(struct bench_report *r, const struct bench_outcome *o, double rate, double floor)
{
	struct bench_figure f = { .unit = BENCH_RATE,
		.value = rate,
		.floor_name = "ring and futex prototype",
		.floor = floor,
		.sense = BENCH_AT_LEAST,
		.wanted = 0.7 };

	snprintf(f.name, sizeof f.name, "8 callers, one call in flight each");
	bench_figure(r, &f);
	bench_value(r, BENCH_NS, (double)bench_times_at(o->times, 0.99), "  99 %% of the calls within");
	bench_value(r, BENCH_NS, (double)o->times->max, "  the longest");
	bench_report_once(r, o);
}

static int
measure_callers(const struct bench_setup *s, struct bench_report *r)
{
	struct bench_load load = { .clients = RING_CLIENTS, .flight = 1, .run_ns = bench_run_ns(s, 1000) };
	double rates[ROUNDS], floors[ROUNDS + 1];
	struct bench_outcome o = { 0 };
	struct bench_ring ring = { 0 };
	unsigned n = 0;
	int error;

	bench_progress(s, "8 callers");
	error = bench_prim_ring(RING_CLIENTS, load.run_ns, &ring);
	floors[0] = ring.rate;
	while (n < rounds_of(s) && error == 0 && !bench_interrupted()) {
		bench_outcome_free(&o);
		error = bench_load_run(s, &awake, &load, &o);
		if (error != 0)
			return error;
		rates[n++] = o.rate;
		error = bench_prim_ring(RING_CLIENTS, load.run_ns, &ring);
		floors[n] = ring.rate;
		if (!o.once || o.errors > 0)
			break;
	}
	if (error != 0 || o.times == NULL) {
		bench_outcome_free(&o);
		return error;
	}
	report_callers(r, &o, bench_median(rates, n), bench_median(floors, n + 1));
	bench_value(r, BENCH_NS, ring.p99, "  99 %% of the prototype's within");
	bench_value(r, BENCH_NS, ring.max, "  the prototype's longest");
	bench_outcome_free(&o);
	return error;
}

static int
measure_crowd(const struct bench_setup *s, struct bench_report *r)
{
	struct bench_load load = { .clients = 8, .flight = 16, .run_ns = bench_run_ns(s, 1000) };
	struct bench_figure f = {
		.unit = BENCH_RATE, .floor_name = "the mean", .sense = BENCH_AT_LEAST, .wanted = 0.5
	};
	struct bench_outcome o;
	int error;

	bench_progress(s, "8 callers, 16 calls in flight each");
	error = best_of(s, &awake, &load, &o);
	if (error != 0)
		return error;
	wanted_rate(r, &o, "8 callers, 16 calls in flight each", 1000000);
	f.value = o.least;
	f.floor = o.mean;
	snprintf(f.name, sizeof f.name, "  the slowest caller");
	bench_figure(r, &f);
	bench_report_once(r, &o);
	bench_outcome_free(&o);
	return 0;
}

static int
measure(const struct bench_setup *s, struct bench_report *r)
{
	static int (*const parts[])(const struct bench_setup *, struct bench_report *) = { measure_awake,
		measure_asleep, measure_idle, measure_pipeline, measure_callers, measure_crowd, bench_measure_restart,
		bench_measure_durable, bench_measure_start };
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

const struct tool_command bench_all = {
	.name = "all",
	.usage = "",
	.help = "all that is wanted of Stash's speed, next to the machine's limits",
	.options = "s",
	.run = run,
};
