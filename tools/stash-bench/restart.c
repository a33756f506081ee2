/* SPDX-License-Identifier: ISC */
/*
 * stash-bench restart: from the SIGKILL of a worker to the next answer, while
 * many others run and while few do. The numbers that come back must go on
 * without a gap or a repeat.
 */
#include "stash-bench/prim.h"
#include "stash-bench/status.h"

#include <sys/pidfd.h>

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"

#define FEW 10
#define MANY 4000
#define MANY_QUICK 400
#define SETTLE_NS (3 * STASH__NS_PER_MS) /* until everybody sleeps again */

static unsigned
kills_of(const struct bench_setup *s)
{
	if (s->kills > 0)
		return s->kills;
	return s->quick ? 15 : 51;
}

static int
kill_and_ask(struct stash_client *client, uint64_t pid, uint64_t *number, int64_t *ns)
{
	int pidfd = pidfd_open((pid_t)pid, 0), error;
	int64_t start;

	if (pidfd < 0)
		return stash__fail_errno("the worker, process %" PRIu64, pid);
	start = stash__now_ns();
	if (pidfd_send_signal(pidfd, SIGKILL, NULL, 0) != 0)
		error = stash__fail_errno("cannot kill process %" PRIu64, pid);
	else
		error = bench_ask(client, BENCH_NAME, "add", number);
	*ns = stash__now_ns() - start;
	close(pidfd);
	return error;
}

int
bench_kill_once(struct stash_client *client, uint64_t *last, int64_t *ns)
{
	uint64_t before = 0, after = 0, number = 0;
	int error = bench_ask(client, BENCH_NAME, "pid", &before);

	if (error != 0)
		return error;
	bench_sleep_ns(SETTLE_NS);
	error = kill_and_ask(client, before, &number, ns);
	if (error == 0)
		error = bench_ask(client, BENCH_NAME, "pid", &after);
	if (error != 0)
		return error;
	if (after == before)
		return stash__fail(STASH_E_PROTO, "process %" PRIu64 " was killed and goes on", before);
	if (number != *last + 1)
		return stash__fail(STASH_E_PROTO, "not exactly once: %" PRIu64 " after %" PRIu64, number, *last);
	*last = number;
	return 0;
}

/* Beside so many others: the median, and the longest. */
static int
kill_beside(const struct bench_setup *s, unsigned others, double *median, double *longest)
{
	struct bench_tree tree = {
		.others = others, .ack_disk = s->ack_disk, .spin_ns = s->spin_ns, .state = s->state
	};
	unsigned kills = kills_of(s), i;
	int64_t *ns = calloc(kills, sizeof *ns);
	struct stash_client *client = NULL;
	struct bench_daemon daemon;
	uint64_t last = 0;
	int error;

	if (ns == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for %u times", kills);
	error = bench_daemon_start(s, &tree, &daemon);
	if (error != 0) {
		free(ns);
		return error;
	}
	error = bench_settle(&daemon);
	if (error == 0)
		error = bench_client(&daemon, &client);
	for (i = 0; i < kills && error == 0; i++) {
		error = bench_kill_once(client, &last, &ns[i]);
		if (error == 0)
			error = bench_stopped();
	}
	stash_client_close(client);
	error = bench_daemon_end(&daemon, error);
	*median = (double)bench_median_ns(ns, i);
	*longest = i > 0 ? (double)ns[i - 1] : 0;
	free(ns);
	return error;
}

static int
measure_beside(const struct bench_setup *s, struct bench_report *r, unsigned others, double *median)
{
	struct bench_figure f = {
		.unit = BENCH_NS, .floor_name = "raw restart", .sense = BENCH_AT_MOST, .wanted = 1.5
	};
	double before = 0, after = 0, longest = 0;
	int error = bench_prim_restart(s->module, s->quick ? 20 : 50, &before);

	if (error == 0)
		error = kill_beside(s, others, median, &longest);
	if (error == 0)
		error = bench_prim_restart(s->module, s->quick ? 20 : 50, &after);
	if (error != 0)
		return error;
	f.value = *median;
	f.floor = (before + after) / 2;
	snprintf(f.name, sizeof f.name, "SIGKILL to the next answer, %u other workers, median", others);
	bench_figure(r, &f);
	bench_value(r, BENCH_NS, longest, "  the longest of %u", kills_of(s));
	return 0;
}

int
bench_measure_restart(const struct bench_setup *s, struct bench_report *r)
{
	struct bench_figure f = { .unit = BENCH_NS, .floor_name = "with few", .sense = BENCH_AT_MOST, .wanted = 1.1 };
	unsigned many = s->workers > 0 ? s->workers : s->quick ? MANY_QUICK : MANY;
	int error;

	bench_progress(s, "restarts beside few workers");
	error = measure_beside(s, r, FEW, &f.floor);
	if (error != 0 || bench_interrupted())
		return error;
	bench_progress(s, "restarts beside many workers");
	error = measure_beside(s, r, many, &f.value);
	if (error != 0)
		return error;
	snprintf(f.name, sizeof f.name, "the same with %u, and with %u", many, FEW);
	bench_figure(r, &f);
	return 0;
}

static int
run(struct tool *t, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return bench_run(t, bench_measure_restart);
}

const struct tool_command bench_restart = {
	.name = "restart",
	.usage = "",
	.help = "from a worker's SIGKILL to the next answer",
	.options = "abkSw",
	.run = run,
};
