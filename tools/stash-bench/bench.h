/* SPDX-License-Identifier: ISC */
/*
 * stash-bench's commands, one file each, and what they share. Every process
 * that is measured is started here and ended here; every wait has a bound; what
 * was made in temporary directories is removed. Functions that can fail return
 * 0 or a STASH_E_* with the thread's message, unless they say otherwise.
 */
#ifndef STASH_BENCH_BENCH_H
#define STASH_BENCH_BENCH_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include <stash/client.h>

#include "base/clock.h"
#include "common/tool.h"
#include "stash-bench/stats.h"

extern const struct tool_program stash_bench;

extern const struct tool_command bench_all, bench_call, bench_durable, bench_limits, bench_pipeline, bench_restart,
    bench_scale, bench_start, bench_worker;

/* ---- what the command line says (setup.c) ---- */

/* On which cores the processes run: anywhere; all on the first; callers on the first, the worker on the second. */
enum bench_pin { BENCH_PIN_NONE = 0, BENCH_PIN_ONE = 1, BENCH_PIN_TWO = 2 };

#define BENCH_STATE 64		/* bytes of the module's own state */
#define BENCH_CLIENTS_MAX 1000u /* processes; as many have a ledger each */

struct bench_setup {
	const struct tool *tool;
	char self[PATH_MAX], stashd[PATH_MAX], module[PATH_MAX];
	char dir[PATH_MAX]; /* where the temporary directory is made */
	bool quick;
	/* 0: the command's default */
	unsigned clients, flight, workers, kills;
	int64_t run_ns;
	int64_t spin_ns; /* -1: stashd's default */
	enum bench_pin pin;
	bool ack_disk;
	uint64_t state; /* bytes */
};

/* 0, or the exit status of a failure that was told. */
int bench_setup(struct tool *tool, struct bench_setup *setup);
/* A run's length: as asked for, else ms, and a quarter of it with --quick. */
int64_t bench_run_ns(const struct bench_setup *setup, int ms);
/* Says on standard error what is being measured, if that is a terminal. */
void bench_progress(const struct bench_setup *setup, const char *what);

/* ---- what is reported (report.c) ---- */

enum bench_unit { BENCH_NS, BENCH_RATE, BENCH_COUNT, BENCH_BYTES };
enum bench_sense { BENCH_ANY = 0, BENCH_AT_LEAST, BENCH_AT_MOST };

struct bench_figure {
	char name[80];
	enum bench_unit unit;
	double value;
	const char *floor_name; /* NULL: compared with nothing */
	double floor;
	/* what is wanted of the ratio, or, without a floor, of the value */
	enum bench_sense sense;
	double wanted;
};

struct bench_report {
	const struct tool *tool;
	const char *bench; /* the command, or its part */
	struct bench_figure *figures;
	size_t n;
	bool missed; /* a figure was */
};

void bench_report_init(struct bench_report *report, const struct tool *tool, const char *bench);
/* A figure by itself; one against a floor; one that is wanted. */
void bench_value(struct bench_report *report, enum bench_unit unit, double value, const char *fmt, ...)
    STASH_PRINTF(4, 5);
void bench_figure(struct bench_report *report, const struct bench_figure *figure);
/* Prints a table (JSON lines went out one by one) and frees; the exit status. */
int bench_report_end(struct bench_report *report);
/* Whether the value, or its ratio, is as wanted. */
bool bench_figure_ok(const struct bench_figure *figure);
/* The exit status for an error of a measurement, told on standard error. */
int bench_failed(const struct bench_setup *setup, int error);

/* ---- cores and processes (process.c) ---- */

/* How many cores this process may use: 1, or 2 for more. */
unsigned bench_cores(void);
/* Puts a process (0: this one) on the first or second of them; true if it could. */
bool bench_pin(pid_t pid, unsigned core);
/* Lets it run anywhere again. */
void bench_unpin(pid_t pid);
/* Processor time that it has used, ns; -1: unknown. */
int64_t bench_cpu_ns(pid_t pid);
void bench_sleep_ns(int64_t ns);
/* Ends as soon as the process has ended (true; it stays to be reaped) or the time is over. */
bool bench_await_end(int pidfd, int64_t within_ns);
/* Kills and reaps whatever descends from this process and is left; how many there were. */
unsigned bench_reap_all(void);
/* SIGINT and SIGTERM end the run after what is being measured; whether one came. */
void bench_catch_signals(void);
bool bench_interrupted(void);
/* The same as an error; 0 if none came. */
int bench_stopped(void);

/* Memory that is shared with children, zero; only what is touched is taken. NULL: none. */
void *bench_share(size_t bytes);
void bench_unshare(void *memory, size_t bytes);

/* ---- a crew: processes that measure, all begun at one moment (crew.c) ---- */

struct bench_gate {
	_Atomic uint32_t ready, open;
};

struct bench_crew {
	struct bench_gate *gate;
	pid_t *pids;
	int *pidfds;
	unsigned n;
};

/* number counts from 0. Goes through the gate by bench_gate_pass(); returns 0, or 1 to 127 for a failure. */
typedef int bench_job(void *arg, unsigned number, struct bench_gate *gate);

/* Forks n processes that do the job. After a failure there is nothing to end. */
int bench_crew_start(struct bench_crew *crew, unsigned n, bench_job *job, void *arg);
void bench_gate_pass(struct bench_gate *gate);
/* Opens the gate when all stand before it. */
int bench_crew_go(struct bench_crew *crew, int64_t within_ns);
/* Waits until all have ended, kills those that don't, and frees; an error if one failed. */
int bench_crew_end(struct bench_crew *crew, int64_t within_ns);
/* All three, for a job that takes run_ns. */
int bench_crew_run(unsigned n, bench_job *job, void *arg, int64_t run_ns);

/* ---- a stashd of its own (daemon.c) ---- */

#define BENCH_NAME "bench" /* the worker that is measured; others are "w0", "w1", ... */

struct bench_tree {
	bool empty;	 /* no worker at all */
	unsigned others; /* workers beside the measured one */
	bool ack_disk;
	int64_t spin_ns; /* -1: the default */
	uint64_t state;
};

struct bench_daemon {
	char dir[PATH_MAX], run[PATH_MAX]; /* temporary: store, config, log; what is in memory */
	pid_t pid;			   /* 0: it doesn't run */
	int pidfd;
	int64_t patience_ns; /* for its start and its end */
	int64_t start_ns;    /* from fork to a tree that is up */
};

/* Makes the directories and starts it; returns when the tree is up. After a failure everything is cleaned up. */
int bench_daemon_start(const struct bench_setup *setup, const struct bench_tree *tree, struct bench_daemon *daemon);
/* On the same directories again, after bench_daemon_halt(). */
int bench_daemon_again(const struct bench_setup *setup, struct bench_daemon *daemon);
/* Stops it in order; an error if it doesn't stop, or leaves a process. */
int bench_daemon_halt(struct bench_daemon *daemon);
/* The same, and removes the directories; returns error, or its own if that is 0. */
int bench_daemon_end(struct bench_daemon *daemon, int error);
const char *bench_daemon_store(const struct bench_daemon *daemon, char path[PATH_MAX]);
int bench_client(const struct bench_daemon *daemon, struct stash_client **client);
/* A call that replies a number. */
int bench_ask(struct stash_client *client, const char *name, const char *tag, uint64_t *number);
/* The same with a client of its own. */
int bench_ask_once(const struct bench_daemon *daemon, const char *name, const char *tag, uint64_t *number);
/* Kills the measured worker and asks it: the number that comes back is the next one, and comes from another process. */
int bench_kill_once(struct stash_client *client, uint64_t *last, int64_t *ns);
/* Removes a temporary directory and all that is in it. */
void bench_remove(const char *path);
/* "DIR/stash-bench.XXXXXX", made. */
int bench_temporary(const char *dir, char path[PATH_MAX]);

/* ---- load: processes that call one worker (load.c) ---- */

struct bench_load {
	unsigned clients, flight;
	int64_t run_ns;
	int64_t pause_ns; /* between two calls of one caller */
	enum bench_pin pin;
};

struct bench_outcome {
	double rate;		   /* calls answered in a second, all clients */
	double least, mean;	   /* of one client */
	struct bench_times *times; /* of each call with one in flight; to be freed by bench_outcome_free() */
	uint64_t calls;		   /* answered in all, warm-up included */
	uint64_t errors;	   /* calls that ended by an error */
	struct bench_audit audit;
	bool once;     /* every number was given to one caller, once, and the counter agrees */
	char why[256]; /* the first error's words */
};

int bench_load(const struct bench_daemon *daemon, const struct bench_load *load, struct bench_outcome *outcome);
void bench_outcome_free(struct bench_outcome *outcome);
/* The line that says whether everything was done exactly once, wanted to be 0. */
void bench_report_once(struct bench_report *report, const struct bench_outcome *outcome);
/* Starts a stashd, puts the load on it, stops it. */
int bench_load_run(const struct bench_setup *setup, const struct bench_tree *tree, const struct bench_load *load,
    struct bench_outcome *outcome);

/* ---- whole measurements, with what is wanted of them: commands of their own, and parts of "all" ---- */

int bench_measure_durable(const struct bench_setup *setup, struct bench_report *report);
int bench_measure_restart(const struct bench_setup *setup, struct bench_report *report);
int bench_measure_scale(const struct bench_setup *setup, struct bench_report *report);
int bench_measure_start(const struct bench_setup *setup, struct bench_report *report);
/* Runs one as a command. */
int bench_run(struct tool *tool, int (*measure)(const struct bench_setup *, struct bench_report *));

#endif
