/* SPDX-License-Identifier: ISC */
/*
 * task.h: a task, between the worker that asked for it (task.c) and the process that runs it (task_child.c).
 */
#ifndef STASH_WORKER_TASK_H
#define STASH_WORKER_TASK_H

#include <signal.h>
#include <sys/types.h>

#include "worker/worker.h"

typedef int stash__task_fn(const void *data, size_t len, struct stash_buf *result);

struct task {
	TAILQ_ENTRY(task) link;
	int64_t ref;
	char tag[STASH_TAG_MAX + 1];
	stash__task_fn *run;
	unsigned char *given, *result;
	size_t given_len, result_len;
	int timeout_ms;
	int64_t deadline; /* CLOCK_MONOTONIC in ns */
	uint64_t needs;	  /* the entry that must be safe before it begins; once it is marked */
	bool marked, running;
	bool late;	/* killed because of its time limit */
	bool cancelled; /* killed, and nothing is told of it */
	int code;
	pid_t pid;
	int pidfd, memfd;
};

/* At the beginning of the memfd, written last; the result's bytes follow. */
struct stash__task_result {
	uint64_t done;
	int32_t code;
	uint32_t reserved;
	uint64_t len;
};
#define STASH__TASK_DONE 0x6b7361742d656e64u

/* The child's whole life: signals are blocked, `mask' is what they were. */
_Noreturn void stash__task_child(const struct task *, const char *worker, pid_t parent, const sigset_t *mask);

#endif
