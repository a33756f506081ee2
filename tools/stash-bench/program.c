/* SPDX-License-Identifier: ISC */
/*
 * stash-bench's tables: commands in the order of the manual, and options. A new
 * command is a file with its entry, and a line here.
 */
#include "stash-bench/bench.h"

static const struct tool_command *const commands[] = { &bench_limits, &bench_call, &bench_pipeline, &bench_durable,
	&bench_restart, &bench_start, &bench_scale, &bench_all, &bench_worker, NULL };

static const struct tool_option options[] = {
	{ 'a', "ack", "WHEN", "a reply waits until a transition survives a crash, or is on the disk: crash, disk" },
	{ 'b', "state", "BYTES", "size of the worker's state: 64, 4K, 1M" },
	{ 'c', "clients", "N", "processes that call" },
	{ 'd', "dir", "DIR", "where the temporary store is made; else $TMPDIR, else /tmp" },
	{ 'D', "stashd", "FILE", "the stashd to measure; else the one that belongs to this program" },
	{ 'f', "flight", "N", "calls that each of them has under way" },
	{ 'j', "json", NULL, "JSON, an object on each line" },
	{ 'k', "kills", "N", "how often the worker is killed" },
	{ 'm', "module", "FILE", "the bench worker's module; else the one that belongs to this program" },
	{ 'p', "pin", "HOW", "cores: none (any), one (all on the first), two (callers and worker apart)" },
	{ 'q', "quick", NULL, "shorter runs, rougher figures" },
	{ 's', "seconds", "SECONDS", "length of a run: 2, 0.5, 200ms" },
	{ 'S', "spin", "DURATION", "how long a waiting side looks before it sleeps: 50us, or 0" },
	{ 'w', "workers", "N", "workers, beside the one that is measured" },
	{ 0, NULL, NULL, NULL },
};

const struct tool_program stash_bench = {
	.name = "stash-bench",
	.about = "Measures calls, commits and restarts, and compares them with the machine's own limits.",
	.commands = commands,
	.options = options,
	.common = "dDjmq",
};
