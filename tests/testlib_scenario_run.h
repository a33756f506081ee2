/* SPDX-License-Identifier: ISC */
/*
 * What the two files of the scenario share; nobody else needs it.
 */
#ifndef TESTS_TESTLIB_SCENARIO_RUN_H
#define TESTS_TESTLIB_SCENARIO_RUN_H

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include "testlib_live.h"
#include "testlib_scenario.h"

enum { CLIENTS = 2, CALLS = 10 };

struct process {
	pid_t pid;
	bool over;
	int status; /* exit status, or 256 + signal; -2: not known */
};

/* How something that a client asked for ended. */
struct outcome {
	int error;
	int64_t number;
	char text[160];
};

struct client {
	int index;
	const struct run *run;
	struct outcome open, special, calls[CALLS];
	bool special_over, over;
	volatile int started, finished; /* of calls */
};

struct run {
	struct scenario *how;
	FILE *problems;
	bool bad, up;
	bool start_failed; /* the tree was never up, and stashd has said so and ended */
	char dir[512], store[PATH_MAX], base[PATH_MAX], conf[PATH_MAX];
	const char *log, *stashd, *stashctl;
	struct tracer *tracer;
	struct process keeper;
	struct t_stashd view;	/* for t_murder() */
	struct client *clients; /* shared with them */
	struct process client[CLIENTS];
	int keeper_fds;		  /* before the first call */
	uint64_t answered, maybe; /* numbers that somebody has; that somebody may have taken along */
};

void scenario_problem(struct run *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Whether one of that kind was killed by the plan. */
bool scenario_killed(const struct run *, enum tracer_kind);
/* Living children of a process, zombies too; by the kernel's own list, if there is one: up to `max`, how many. */
int scenario_children(pid_t parent, pid_t *pids, int max);
/* Whether its title begins so. */
bool scenario_titled(pid_t pid, const char *title);
/* Descriptors that a process has; those whose name holds `what` alone, if it isn't NULL.  0: there is no process. */
int scenario_fds(pid_t pid, const char *what);
/* After the clients: no channel is left, and the keeper has what it had before them. */
void scenario_check_channels(struct run *);
/* After the stop: no process; after an orderly one no run directory. */
void scenario_check_left(struct run *);
/* No process but `also`. */
void scenario_check_processes(struct run *, pid_t also);
/* What the clients were told. */
void scenario_check_calls(struct run *);
/* The next stashd, which has answered: its first number, and what it had to recover. */
void scenario_check_next(struct run *, bool orderly);

#endif
