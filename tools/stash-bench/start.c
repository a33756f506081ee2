/* SPDX-License-Identifier: ISC */
/*
 * stash-bench start: a tree of many workers that all have a state already, from
 * the fork of stashd until the last one runs, compared with as many bare forks;
 * and who used the processor meanwhile.
 */
#include "stash-bench/prim.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/supervisor.h>

#include "base/error.h"
#include "base/info.h"
#include "shm/slot.h"
#include "stash-bench/status.h"

#define WORKERS 1000
#define WORKERS_QUICK 200
#define ROUNDS 3

/* Processor time until the tree was up. */
struct spent {
	double workers, stash, others; /* all workers together; the stash process; keeper and supervisor */
	unsigned n;
};

/* ---- parts that can be measured alone ---- */

/* The files of a slot, as the stash makes them. */
static int
make_files(int dir, unsigned i)
{
	static const struct stash__origin origin;
	char name[32], file[STASH__SLOT_FILE_MAX];
	int fds[3] = { -1, -1, -1 }, error;

	snprintf(name, sizeof name, "w%u", i);
	stash__slot_file(file, name, "out");
	error = stash__out_make(dir, file, &origin, STASH__ENTRIES_MIN, &fds[0]);
	stash__slot_file(file, name, "in");
	if (error == 0)
		error = stash__in_make(dir, file, &origin, STASH__ROWS_MIN, BENCH_STATE, &fds[1]);
	stash__slot_file(file, name, "bell");
	if (error == 0)
		error = stash__bell_page_make(dir, file, &fds[2]);
	for (int k = 0; k < 3; k++) {
		if (fds[k] >= 0)
			close(fds[k]);
	}
	return error;
}

static int
make_slots(const char *path, unsigned n)
{
	DIR *dir = opendir(path);
	int error = 0;

	if (dir == NULL)
		return stash__fail_errno("%s", path);
	for (unsigned i = 0; i < n && error == 0; i++)
		error = make_files(dirfd(dir), i);
	closedir(dir);
	return error;
}

static int
measure_slots(unsigned n, double *ns)
{
	char path[PATH_MAX];
	int error = bench_temporary("/dev/shm", path);
	int64_t start = stash__now_ns();

	if (error != 0)
		return error;
	error = make_slots(path, n);
	*ns = (double)(stash__now_ns() - start);
	bench_remove(path);
	return error;
}

/* ---- the whole ---- */

static int
add_worker(void *arg, const struct stash_process *process)
{
	struct spent *spent = arg;
	int64_t ns = process->pid > 0 ? bench_cpu_ns(process->pid) : -1;

	if (ns >= 0)
		spent->workers += (double)ns;
	spent->n += process->status == STASH_RUNNING;
	return 0;
}

/* The time of a process and of all that descends from it. */
static double
family_ns(pid_t pid)
{
	char path[64];
	double ns = (double)bench_cpu_ns(pid);
	long child;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)pid, (long)pid);
	f = fopen(path, "re");
	while (f != NULL && fscanf(f, "%ld", &child) == 1)
		ns += family_ns((pid_t)child);
	if (f != NULL)
		fclose(f);
	return ns > 0 ? ns : 0;
}

static int
account(const struct bench_daemon *daemon, struct spent *spent)
{
	struct stash_client *client;
	struct bench_status status;
	int code = bench_status(daemon, &status);

	*spent = (struct spent){ 0 };
	if (code == 0)
		code = bench_client(daemon, &client);
	if (code != 0)
		return code;
	code = stash_which_children(client, "root", add_worker, spent, STASH_TIMEOUT);
	stash_client_close(client);
	spent->stash = (double)bench_cpu_ns(status.pid);
	spent->others = family_ns(daemon->pid) - spent->workers - spent->stash;
	return code;
}

/* Starts a tree, stops it, starts it again with what it has stored; both times, and what the second one took. */
static int
start_twice(
    const struct bench_setup *s, const struct bench_tree *tree, double *fresh, double *again, struct spent *spent)
{
	struct bench_daemon daemon;
	double times[ROUNDS];
	int error = bench_daemon_start(s, tree, &daemon);
	unsigned n = 0;

	if (error != 0)
		return error;
	*fresh = (double)daemon.start_ns;
	for (; n < (s->quick ? 1 : ROUNDS) && error == 0; n++) {
		error = bench_daemon_halt(&daemon);
		if (error == 0)
			error = bench_daemon_again(s, &daemon);
		times[n] = (double)daemon.start_ns;
		if (error == 0)
			error = account(&daemon, spent);
		if (error == 0)
			error = bench_stopped();
	}
	if (error == 0 && spent->n != tree->others)
		error = stash__fail(STASH_E_START, "of %u workers %u run", tree->others, spent->n);
	*again = bench_median(times, n);
	return bench_daemon_end(&daemon, error);
}

static int
report_parts(const struct bench_setup *s, struct bench_report *r, unsigned n, double fork_ns, const struct spent *spent)
{
	double load_ns = 0, slots_ns = 0;
	int error = bench_prim_load(s->module, s->quick ? 50 : 200, &load_ns);

	if (error == 0)
		error = measure_slots(n, &slots_ns);
	if (error != 0)
		return error;
	bench_value(r, BENCH_NS, spent->others, "  processor time of supervisor and keeper");
	bench_value(r, BENCH_NS, spent->stash, "  processor time of the stash");
	bench_value(r, BENCH_NS, spent->workers, "  processor time of the workers");
	bench_value(r, BENCH_NS, n * fork_ns, "  alone: %u forks, _exit, wait", n);
	bench_value(r, BENCH_NS, n * load_ns, "  alone: %u times dlopen", n);
	bench_value(r, BENCH_NS, slots_ns, "  alone: the files of %u slots", n);
	return 0;
}

int
bench_measure_start(const struct bench_setup *s, struct bench_report *r)
{
	unsigned n = s->workers > 0 ? s->workers : s->quick ? WORKERS_QUICK : WORKERS;
	struct bench_tree none = { .empty = true, .spin_ns = -1, .state = BENCH_STATE }, many = none;
	struct bench_figure f = {
		.unit = BENCH_NS, .floor_name = "as many bare forks", .sense = BENCH_AT_MOST, .wanted = 2.5
	};
	double empty = 0, fresh = 0, again = 0, ignored, fork_ns = 0;
	struct spent spent = { 0 };
	int error;

	many.others = n;
	bench_progress(s, "the start of many workers");
	error = start_twice(s, &none, &ignored, &empty, &spent);
	if (error == 0)
		error = start_twice(s, &many, &fresh, &again, &spent);
	if (error == 0)
		error = bench_prim_fork(s->quick ? 100 : 500, &fork_ns);
	if (error != 0)
		return error;
	f.value = again - empty;
	f.floor = n * fork_ns;
	snprintf(f.name, sizeof f.name, "start of %u workers with state", n);
	bench_figure(r, &f);
	bench_value(r, BENCH_NS, empty, "  besides: of stashd with an empty tree");
	bench_value(r, BENCH_NS, fresh - empty, "  the very first start, without state");
	return report_parts(s, r, n, fork_ns, &spent);
}

static int
run(struct tool *t, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return bench_run(t, bench_measure_start);
}

const struct tool_command bench_start = {
	.name = "start",
	.usage = "",
	.help = "the start of many workers that have a state",
	.options = "w",
	.run = run,
};
