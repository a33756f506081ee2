/* SPDX-License-Identifier: ISC */
/*
 * stash-bench scale: what grows with the number of workers under one supervisor, and how. The same is measured
 * beside few, more and many of them. What one thing costs (a commit, a restart) may grow with the logarithm; what is
 * done for all of them (start, list, takeover, a new stash process) is shown for each, and may not grow.
 */
#include "stash-bench/prim.h"
#include "stash-bench/scale.h"
#include "stash-bench/status.h"

#include <sys/pidfd.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/supervisor.h>

#include "base/error.h"

#define FEW 10
#define MANY 4000
#define MANY_QUICK 400
#define COMMITS 51
#define ROUNDS 5
#define TAKEOVERS 3

/* What is found beside so many workers; times in ns. */
struct point {
	unsigned n;
	double start, commit, restart, list, takeover, stash;
	struct bench_usage workers, supervisor, keeper, stash_process;
};

/* ---- one measurement each ---- */

static int
median_of(double *times, unsigned n, int error, double *median)
{
	*median = bench_median(times, n);
	return error;
}

static int
measure_commit(struct stash_client *client, double *median)
{
	double times[COMMITS];
	uint64_t number;
	unsigned n = 0;
	int error = 0;

	for (; n < COMMITS && error == 0; n++) {
		int64_t start = stash__now_ns();

		error = bench_ask(client, BENCH_NAME, "add", &number);
		times[n] = (double)(stash__now_ns() - start);
	}
	return median_of(times, n, error, median);
}

static int
measure_restart(const struct bench_setup *s, struct stash_client *client, double *median)
{
	unsigned kills = s->kills > 0 ? s->kills : s->quick ? 15 : 51, n = 0;
	double *times = calloc(kills, sizeof *times);
	uint64_t last = 0;
	int error = times == NULL ? stash__fail(STASH_E_NOMEM, "no memory for %u times", kills) :
				    bench_ask(client, BENCH_NAME, "add", &last);

	for (; n < kills && error == 0; n++) {
		int64_t ns = 0;

		error = bench_kill_once(client, &last, &ns);
		if (error == 0)
			error = bench_stopped();
		times[n] = (double)ns;
	}
	error = median_of(times, n, error, median);
	free(times);
	return error;
}

/* "stash-inspect list", from fork to its end. */
static int
list_once(const struct bench_setup *s, const struct bench_daemon *daemon, double *ns)
{
	char store[PATH_MAX], program[PATH_MAX];
	size_t dir = (size_t)(strrchr(s->self, '/') - s->self);
	int64_t start = stash__now_ns();
	int status = 0;
	pid_t pid;

	if (snprintf(program, sizeof program, "%.*s/stash-inspect", (int)dir, s->self) >= (int)sizeof program)
		return stash__fail(STASH_E_TOOBIG, "%s: the path is too long", s->self);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (null < 0 || dup2(null, STDOUT_FILENO) < 0)
			_exit(127);
		execl(program, program, "-d", bench_daemon_store(daemon, store), "list", (char *)NULL);
		_exit(127);
	}
	if (pid < 0)
		return stash__fail_errno("cannot fork");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	*ns = (double)(stash__now_ns() - start);
	return status == 0 ? 0 : stash__fail(STASH_E_SYSTEM, "%s list: status %#x", program, (unsigned)status);
}

static int
measure_list(const struct bench_setup *s, const struct bench_daemon *daemon, double *median)
{
	double times[ROUNDS];
	unsigned n = 0;
	int error = 0;

	for (; n < ROUNDS && error == 0; n++)
		error = list_once(s, daemon, &times[n]);
	return median_of(times, n, error, median);
}

static int
count_running(void *arg, const struct stash_process *process)
{
	*(unsigned *)arg += process->status == STASH_RUNNING;
	return 0;
}

/* Until the next supervisor has them all and says so. */
static int
take_over_once(const struct bench_daemon *daemon, unsigned expected, double *ns)
{
	pid_t pid = bench_supervisor(daemon);
	int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1, error = 0;
	struct stash_client *client = NULL;
	int64_t start = stash__now_ns();
	unsigned running = 0;

	if (pidfd < 0 || pidfd_send_signal(pidfd, SIGKILL, NULL, 0) != 0)
		error = stash__fail_errno("cannot kill the supervisor");
	else if (!bench_await_end(pidfd, daemon->patience_ns))
		error = stash__fail(STASH_E_TIMEDOUT, "the supervisor doesn't die");
	if (error == 0)
		error = bench_client(daemon, &client);
	if (error == 0)
		error = stash_which_children(
		    client, "root", count_running, &running, (int)(daemon->patience_ns / STASH__NS_PER_MS));
	*ns = (double)(stash__now_ns() - start);
	stash_client_close(client);
	if (pidfd >= 0)
		close(pidfd);
	if (error == 0 && running != expected)
		error = stash__fail(STASH_E_DOWN, "of %u workers %u run after a takeover", expected, running);
	return error;
}

static int
measure_takeover(const struct bench_daemon *daemon, unsigned workers, double *median)
{
	double times[TAKEOVERS];
	unsigned n = 0;
	int error = 0;

	for (; n < TAKEOVERS && error == 0; n++) {
		error = take_over_once(daemon, workers, &times[n]);
		if (error == 0)
			error = bench_settle(daemon);
	}
	return median_of(times, n, error, median);
}

/* From its death until something is on the disk again. */
static int
measure_stash(const struct bench_daemon *daemon, struct stash_client *client, double *median)
{
	double times[TAKEOVERS];
	unsigned n = 0;
	int error = 0;

	for (; n < TAKEOVERS && error == 0; n++) {
		struct bench_status status;
		int64_t start;
		uint64_t number;
		int pidfd;

		error = bench_status(daemon, &status);
		pidfd = error == 0 ? pidfd_open(status.pid, 0) : -1;
		start = stash__now_ns();
		if (error == 0 && (pidfd < 0 || pidfd_send_signal(pidfd, SIGKILL, NULL, 0) != 0))
			error = stash__fail_errno("cannot kill the stash process");
		if (error == 0)
			error = bench_ask(client, BENCH_NAME, "add", &number);
		times[n] = (double)(stash__now_ns() - start);
		if (pidfd >= 0)
			close(pidfd);
		if (error == 0)
			error = bench_settle(daemon);
	}
	return median_of(times, n, error, median);
}

/* ---- all of them, beside so many ---- */

static int
measure_living(const struct bench_setup *s, const struct bench_daemon *daemon, struct point *p)
{
	struct stash_client *client = NULL;
	struct bench_status status;
	int error = bench_settle(daemon);

	if (error == 0)
		error = bench_status(daemon, &status);
	if (error == 0)
		error = bench_client(daemon, &client);
	if (error == 0)
		error = bench_workers_use(client, &p->workers);
	if (error == 0) {
		p->supervisor = bench_uses(bench_supervisor(daemon));
		p->keeper = bench_uses(daemon->pid);
		p->stash_process = bench_uses(status.pid);
		error = measure_commit(client, &p->commit);
	}
	if (error == 0)
		error = measure_restart(s, client, &p->restart);
	if (error == 0)
		error = measure_list(s, daemon, &p->list);
	if (error == 0)
		error = measure_stash(daemon, client, &p->stash);
	if (error == 0)
		error = measure_takeover(daemon, p->n + 1, &p->takeover);
	stash_client_close(client);
	return error;
}

static int
measure_point(const struct bench_setup *s, unsigned n, struct point *p)
{
	struct bench_tree tree = { .others = n, .ack_disk = true, .spin_ns = -1, .state = BENCH_STATE };
	struct bench_daemon daemon;
	char words[40];
	int error;

	*p = (struct point){ .n = n };
	snprintf(words, sizeof words, "everything beside %u workers", n);
	bench_progress(s, words);
	error = bench_daemon_start(s, &tree, &daemon);
	if (error != 0)
		return error;
	p->start = (double)daemon.start_ns;
	error = measure_living(s, &daemon, p);
	if (error == 0)
		error = bench_stopped();
	return bench_daemon_end(&daemon, error);
}

/* ---- the curve ---- */

enum { POINTS = 3 };

/* A cost by itself: with the logarithm at most. */
static void
figure_alone(struct bench_report *r, const struct point *points, const char *what, size_t member)
{
	struct bench_figure f = { .unit = BENCH_NS, .floor_name = "with few", .sense = BENCH_AT_MOST };

	for (int i = 0; i < POINTS; i++) {
		double value = *(const double *)((const char *)&points[i] + member);

		if (i == 0) {
			bench_value(r, BENCH_NS, value, "%s, beside %u workers", what, points[i].n);
			f.floor = value;
			continue;
		}
		f.value = value;
		f.wanted = log(points[i].n) / log(points[0].n);
		snprintf(f.name, sizeof f.name, "%s, beside %u workers", what, points[i].n);
		bench_figure(r, &f);
	}
}

/* What is done for all: for each of them; few of them show what it costs besides. */
static void
figure_each(struct bench_report *r, const struct point *points, const char *what, size_t member)
{
	struct bench_figure f = { .unit = BENCH_NS, .floor_name = "with fewer", .sense = BENCH_AT_MOST, .wanted = 1.5 };

	for (int i = 0; i < POINTS; i++) {
		double value = *(const double *)((const char *)&points[i] + member);

		if (i < POINTS - 1)
			bench_value(r, BENCH_NS, value, "%s with %u workers", what, points[i].n);
		f.floor = f.value;
		f.value = value / points[i].n;
	}
	bench_value(r, BENCH_NS, *(const double *)((const char *)&points[POINTS - 1] + member), "%s with %u workers",
	    what, points[POINTS - 1].n);
	snprintf(f.name, sizeof f.name, "  for each of %u", points[POINTS - 1].n);
	bench_figure(r, &f);
}

static double
grown(double few, double many, const struct point *points)
{
	return (many - few) / (points[POINTS - 1].n - points[0].n);
}

/* What one worker more takes of a process. */
static void
figure_usage(struct bench_report *r, const struct point *points, const char *who, size_t member, double fds)
{
	const struct bench_usage *few = (const void *)((const char *)&points[0] + member);
	const struct bench_usage *many = (const void *)((const char *)&points[POINTS - 1] + member);
	struct bench_figure f = { .unit = BENCH_COUNT, .sense = BENCH_AT_MOST, .wanted = fds };

	f.value = grown(few->fds, many->fds, points);
	snprintf(f.name, sizeof f.name, "descriptors of the %s for each worker", who);
	bench_figure(r, &f);
	bench_value(r, BENCH_BYTES, grown(few->pss, many->pss, points), "  its memory for each worker (PSS)");
	bench_value(r, BENCH_BYTES, many->pss, "  and in all, with %u workers", points[POINTS - 1].n);
}

int
bench_measure_scale(const struct bench_setup *s, struct bench_report *r)
{
	unsigned many = s->workers > 0 ? s->workers : s->quick ? MANY_QUICK : MANY;
	struct point points[POINTS];
	int error = 0;

	if (many < 4 * FEW)
		many = 4 * FEW;
	for (int i = 0; i < POINTS && error == 0; i++)
		error = measure_point(s, i == 0 ? FEW : i == 1 ? many / 4 : many, &points[i]);
	if (error != 0)
		return error;
	figure_alone(r, points, "a commit (ack = disk)", offsetof(struct point, commit));
	figure_alone(r, points, "SIGKILL to the next answer (ack = disk)", offsetof(struct point, restart));
	figure_each(r, points, "start", offsetof(struct point, start));
	figure_each(r, points, "stash-inspect list", offsetof(struct point, list));
	figure_each(r, points, "a new stash process", offsetof(struct point, stash));
	figure_each(r, points, "a takeover", offsetof(struct point, takeover));
	for (int i = 0; i < POINTS; i++)
		bench_value(r, BENCH_BYTES, points[i].workers.pss / (points[i].n + 1),
		    "memory of a worker (PSS), beside %u", points[i].n);
	figure_usage(r, points, "supervisor", offsetof(struct point, supervisor), BENCH_SCALE_FDS);
	figure_usage(r, points, "keeper", offsetof(struct point, keeper), BENCH_SCALE_FDS);
	figure_usage(r, points, "stash process", offsetof(struct point, stash_process), BENCH_SCALE_FDS);
	return 0;
}

static int
run(struct tool *t, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return bench_run(t, bench_measure_scale);
}

const struct tool_command bench_scale = {
	.name = "scale",
	.usage = "",
	.help = "what grows with the number of workers, and how",
	.options = "kw",
	.run = run,
};
