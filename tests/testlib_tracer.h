/* SPDX-License-Identifier: ISC */
/*
 * A tracer of our own: a process that follows everything that is started below it by ptrace, counts the system calls
 * of each kind of process, and at the n-th of them does something: kills the process as it enters or leaves the call,
 * makes the call fail, or stops the process.  By it a suite searches all system calls of a run, one after the other.
 *
 *	struct tracer_plan plan = { .acts = { { TRACER_KILL, TRACER_STASH, 17, TRACER_EXIT } }, .nacts = 1 };
 *	struct tracer *t = tracer_start(&plan);
 *	pid = tracer_fork(t, TRACER_KEEPER, exec_stashd, NULL);    child of the caller, traced from its first call on
 *	...                                                        waited for by pid or pidfd as any other child
 *	tracer_end(t, &report);                                    report.done == 1: that call was reached
 *
 * A point is (kind, n, entry or exit); a search goes on with n until a run doesn't reach it.  The order of the calls of
 * several processes isn't the same in each run, so a point is reproduced often and not always.
 *
 * Once the last act is done everybody is let go, so that the rest of a run has its natural speed.  Nobody is killed by
 * the end of a tracer.  While a process is traced its /proc status says so (TracerPid), and what depends on it changes:
 * keeper and supervisor don't kill a process that is silent then.  A traced process that died is seen by its parent a
 * moment later than its pidfd says: a zombie is the tracer's first.
 */
#ifndef TESTS_TESTLIB_TRACER_H
#define TESTS_TESTLIB_TRACER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/*
 * What a process is, by its parent and its title (stash__title() says it by prctl).  A child of the keeper is a
 * supervisor from its first instruction; a child of the supervisor is newborn until it has a title.
 */
enum tracer_kind {
	TRACER_KEEPER,
	TRACER_SUPERVISOR,
	TRACER_STASH,
	TRACER_WORKER,
	TRACER_NEWBORN,
	TRACER_CLIENT, /* and what else tracer_fork() is told */
	TRACER_OTHER,  /* who reads a config, shows a state, does a task */
	TRACER_KINDS
};

enum tracer_when { TRACER_ENTRY, TRACER_EXIT };

enum tracer_what {
	TRACER_KILL, /* SIGKILL to the process; at the entry, the call isn't made any more */
	TRACER_FAIL, /* the call isn't made, and fails with `error`; `when` is of no account */
	TRACER_STOP, /* SIGSTOP to the process; who continues it is the caller's affair */
	TRACER_MARK, /* nothing: from here on the next act's calls are counted */
	TRACER_HOLD  /* the thread goes on when the last act is done */
};

struct tracer_act {
	enum tracer_what what;
	enum tracer_kind kind;
	uint64_t nth; /* from 1: calls of all processes of the kind, counted from the act before on */
	enum tracer_when when;
	int error;     /* TRACER_FAIL: an errno */
	bool for_good; /* TRACER_FAIL: from then on each call of that number, by that kind */
	int only;      /* 0: each call counts; else SYS_xxx + 1: only these are counted */
};

enum { TRACER_ACTS = 3, TRACER_CALLS = 512 };

struct tracer_plan {
	struct tracer_act acts[TRACER_ACTS]; /* one after the other */
	unsigned nacts;			     /* 0: only watch and count, everybody and to the end */
};

struct tracer_report {
	unsigned done; /* acts that were reached */
	struct {
		pid_t pid;
		unsigned nr; /* of the system call */
		uint64_t args[6];
		int64_t result; /* at the exit */
		char about[96]; /* what the first argument is: a file or descriptor's name, or "" */
	} at[TRACER_ACTS];
	/* What was counted.  With acts: only of the kinds that they are about, and only until the last. */
	uint64_t calls[TRACER_KINDS];	  /* entries */
	unsigned processes[TRACER_KINDS]; /* that were of this kind */
	uint32_t seen[TRACER_KINDS][TRACER_CALLS];
};

struct tracer;

/* Starts the tracer, a child of this process.  Ends this process if it can't be had. */
struct tracer *tracer_start(const struct tracer_plan *);

/*
 * A child of this process that runs run(arg) (and exits with 0 when it returns) once it is traced.  It dies with this
 * process.  Returns its pid.
 */
pid_t tracer_fork(struct tracer *, enum tracer_kind, void (*run)(void *), void *arg);

/* How many acts are done; may be asked at any time. */
unsigned tracer_done(const struct tracer *);

/* Lets everybody go and ends the tracer.  report may be NULL. */
void tracer_end(struct tracer *, struct tracer_report *report);

/* The number of the tracer's process, which isn't left over when a test looks for that. */
pid_t tracer_pid(const struct tracer *);

const char *tracer_kind_name(enum tracer_kind);
const char *tracer_call_name(unsigned nr); /* "sendmsg"; valid until the next call */
/* "stash: call 17 (write) at its exit, of /path" for the i-th act. */
void tracer_describe(char *text, size_t size, const struct tracer_plan *, const struct tracer_report *, unsigned i);

#endif
