/* SPDX-License-Identifier: ISC */
/*
 * testlib_tracer.c: the tracer's side that the test sees: starting it, forking what is traced, and words for it.  The
 * tracer is a process of its own, since whoever traces is told of each stop by wait(), and a test has its own children
 * to wait for.
 */
#include "testlib_tracer.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testlib_tracer_loop.h"

struct tracer {
	pid_t pid;
	int socket;
	struct tracer_plan plan;
	volatile struct tracer_report *report; /* shared */
};

struct tracer *
tracer_start(const struct tracer_plan *plan)
{
	struct tracer *t = calloc(1, sizeof *t);
	int sockets[2];

	if (t == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		err(EXIT_FAILURE, "tracer");
	t->plan = *plan;
	t->report = mmap(NULL, sizeof *t->report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t->report == MAP_FAILED)
		err(EXIT_FAILURE, "tracer");
	fflush(NULL);
	t->pid = fork();
	if (t->pid < 0)
		err(EXIT_FAILURE, "tracer");
	if (t->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(sockets[0]);
		tracer_loop(sockets[1], plan, (struct tracer_report *)(uintptr_t)t->report);
	}
	close(sockets[1]);
	t->socket = sockets[0];
	return t;
}

pid_t
tracer_fork(struct tracer *t, enum tracer_kind kind, void (*run)(void *), void *arg)
{
	struct tracer_order order = { .kind = kind };
	int gate[2];
	char c = 0;

	if (pipe(gate) < 0)
		err(EXIT_FAILURE, "pipe");
	fflush(NULL);
	order.pid = fork();
	if (order.pid < 0)
		err(EXIT_FAILURE, "fork");
	if (order.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(t->socket);
		close(gate[1]);
		/* Until the gate is closed, which is when the tracer has it. */
		while (read(gate[0], &c, 1) < 0 && errno == EINTR)
			continue;
		close(gate[0]);
		run(arg);
		fflush(NULL);
		_exit(0);
	}
	close(gate[0]);
	if (send(t->socket, &order, sizeof order, MSG_NOSIGNAL) != sizeof order || recv(t->socket, &c, 1, 0) != 1)
		err(EXIT_FAILURE, "the tracer is gone");
	close(gate[1]);
	return order.pid;
}

unsigned
tracer_done(const struct tracer *t)
{
	return t->report->done;
}

pid_t
tracer_pid(const struct tracer *t)
{
	return t->pid;
}

void
tracer_end(struct tracer *t, struct tracer_report *report)
{
	int status = -1;

	close(t->socket); /* by which it knows */
	while (waitpid(t->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (status != 0)
		errx(EXIT_FAILURE, "the tracer ended with status %#x", (unsigned)status);
	if (report != NULL)
		memcpy(report, (const void *)(uintptr_t)t->report, sizeof *report);
	munmap((void *)(uintptr_t)t->report, sizeof *t->report);
	free(t);
}

const char *
tracer_kind_name(enum tracer_kind kind)
{
	static const char *const names[TRACER_KINDS] = { [TRACER_KEEPER] = "keeper",
		[TRACER_SUPERVISOR] = "supervisor",
		[TRACER_STASH] = "stash",
		[TRACER_WORKER] = "worker",
		[TRACER_NEWBORN] = "newborn",
		[TRACER_CLIENT] = "client",
		[TRACER_OTHER] = "other" };

	return names[kind];
}

void
tracer_describe(char *text, size_t size, const struct tracer_plan *plan, const struct tracer_report *report, unsigned i)
{
	static const char *const whats[] = { "killed", "failing", "stopped", "marked", "held" };
	const struct tracer_act *a = &plan->acts[i];
	int n = snprintf(text, size, "%s %s at the %s of its call %llu", tracer_kind_name(a->kind), whats[a->what],
	    a->when == TRACER_ENTRY || a->what == TRACER_FAIL ? "entry" : "exit", (unsigned long long)a->nth);

	if (i < report->done && n > 0 && (size_t)n < size)
		(void)snprintf(text + n, size - (size_t)n, ", %s (%#llx, %#llx%s%s) = %lld",
		    tracer_call_name(report->at[i].nr), (unsigned long long)report->at[i].args[0],
		    (unsigned long long)report->at[i].args[1], report->at[i].about[0] != '\0' ? ": " : "",
		    report->at[i].about, (long long)report->at[i].result);
}
