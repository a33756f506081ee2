/* SPDX-License-Identifier: ISC */
/*
 * stash-bench durable: replies that wait for the disk. One caller is compared
 * with what a commit and the wake-ups on its way cost here; many callers must
 * share their commits.
 */
#include "stash-bench/prim.h"

#include <stdio.h>

#include "stash-bench/status.h"

#define WAKE_UPS 5 /* caller to worker, worker to stash, its committing thread, and back to both */

/* What the stash process and the disk have done so far. */
struct done {
	struct bench_status stash;
	int64_t flushes;
};

static int
look(const struct bench_daemon *daemon, struct done *done)
{
	char path[PATH_MAX];

	done->flushes = bench_flushes(bench_daemon_store(daemon, path));
	return bench_status(daemon, &done->stash);
}

/* ---- one caller ---- */

static int
measure_floor(const struct bench_setup *s, double *floor, double *commit, double *wake)
{
	int error = bench_prim_commit(s->dir, s->quick ? 60 : 300, commit);

	if (error == 0 && bench_cores() > 1)
		error = bench_prim_wake(s->quick ? 50 : 200, wake);
	*floor = *commit + WAKE_UPS * *wake;
	return error;
}

static void
report_one(struct bench_report *r, const struct bench_outcome *o, double floor, double commit, double wake)
{
	struct bench_figure f = { .unit = BENCH_NS,
		.value = (double)bench_times_at(o->times, 0.5),
		.floor_name = "bare LMDB commit + 5 idle wake-ups",
		.floor = floor,
		.sense = BENCH_AT_MOST,
		.wanted = 1.2 };

	bench_value(r, BENCH_NS, commit, "a bare LMDB commit of 64 bytes");
	bench_value(r, BENCH_NS, wake, "an idle wake-up");
	snprintf(f.name, sizeof f.name, "ack = disk, one caller, half of its calls within");
	bench_figure(r, &f);
	bench_value(r, BENCH_NS, (double)bench_times_at(o->times, 0.99), "  99 %% of them within");
	bench_value(r, BENCH_NS, (double)o->times->max, "  the longest");
	bench_report_once(r, o);
}

static int
one_caller(const struct bench_setup *s, struct bench_report *r, const struct bench_tree *tree)
{
	struct bench_load load = { .clients = 1, .flight = 1, .run_ns = bench_run_ns(s, 2000), .pin = s->pin };
	double before = 0, after = 0, commit = 0, wake = 0;
	struct bench_outcome outcome;
	int error = measure_floor(s, &before, &commit, &wake);

	if (error == 0)
		error = bench_load_run(s, tree, &load, &outcome);
	if (error != 0)
		return error;
	/* The disk's mood changes: the floor is taken on both sides. */
	error = measure_floor(s, &after, &commit, &wake);
	if (error == 0)
		report_one(r, &outcome, (before + after) / 2, commit, wake);
	bench_outcome_free(&outcome);
	return error;
}

/* ---- many ---- */

static void
report_many(struct bench_report *r, const struct bench_load *load, const struct bench_outcome *o,
    const struct done *from, const struct done *to)
{
	struct bench_figure f = { .unit = BENCH_RATE, .value = o->rate, .sense = BENCH_AT_LEAST, .wanted = 500000 };
	double commits = (double)(to->stash.commits - from->stash.commits);

	snprintf(f.name, sizeof f.name, "ack = disk, %u callers, %u calls in flight each", load->clients, load->flight);
	bench_figure(r, &f);
	bench_report_once(r, o);
	if (commits <= 0)
		return;
	bench_value(r, BENCH_COUNT, (double)o->calls / commits, "  transitions in a commit");
	bench_value(r, BENCH_NS, (double)(to->stash.commit_ns - from->stash.commit_ns) / commits, "  time of a commit");
	if (from->flushes < 0 || to->flushes <= from->flushes)
		return;
	/* Of the whole device: what else writes there counts, too; so a tenth more is none. */
	f = (struct bench_figure){ .unit = BENCH_COUNT, .sense = BENCH_AT_MOST, .wanted = 2.1 };
	f.value = (double)(to->flushes - from->flushes) / commits;
	snprintf(f.name, sizeof f.name, "  flushes of the device for a commit");
	bench_figure(r, &f);
}

static int
many_callers(const struct bench_setup *s, struct bench_report *r, const struct bench_tree *tree)
{
	struct bench_load load = { .clients = s->clients > 0 ? s->clients : 8,
		.flight = s->flight > 0 ? s->flight : 64,
		.run_ns = bench_run_ns(s, 2000),
		.pin = s->pin };
	struct bench_outcome outcome = { 0 };
	struct bench_daemon daemon;
	struct done from = { 0 }, to = { 0 };
	int error = bench_daemon_start(s, tree, &daemon);

	if (error != 0)
		return error;
	error = look(&daemon, &from);
	if (error == 0)
		error = bench_load(&daemon, &load, &outcome);
	if (error == 0)
		error = look(&daemon, &to);
	error = bench_daemon_end(&daemon, error);
	if (error == 0)
		report_many(r, &load, &outcome, &from, &to);
	bench_outcome_free(&outcome);
	return error;
}

int
bench_measure_durable(const struct bench_setup *s, struct bench_report *r)
{
	struct bench_tree tree = { .ack_disk = true, .spin_ns = s->spin_ns, .state = s->state };
	int error;

	bench_progress(s, "ack = disk, one caller");
	error = one_caller(s, r, &tree);
	if (error != 0 || bench_interrupted())
		return error;
	bench_progress(s, "ack = disk, many callers");
	return many_callers(s, r, &tree);
}

static int
run(struct tool *t, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return bench_run(t, bench_measure_durable);
}

const struct tool_command bench_durable = {
	.name = "durable",
	.usage = "",
	.help = "replies that wait for the disk",
	.options = "bcfpsS",
	.run = run,
};
