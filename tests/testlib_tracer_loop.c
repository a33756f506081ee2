/* SPDX-License-Identifier: ISC */
/*
 * testlib_tracer_loop.c: the tracer's process.  It must not hold anybody longer than it has to, and never wait for one
 * alone: a stop of anybody may come next.
 *
 *	seized -> stopped at its first instruction -> (entry -> exit)* -> dead
 *	                                                `-> let go, when nothing is to be done any more
 */
#include "testlib_tracer_loop.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <elf.h>
#include <sys/user.h>
#include <unistd.h>

#define OPTIONS \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC)
#define THREADS 1024
#define UNKNOWN_MS 50 /* without any news: whose parent has said nothing by then has none */

struct thread {
	pid_t tid, tgid; /* tid 0: free */
	enum tracer_kind kind;
	bool known;   /* its kind is; else it waits, stopped, until its parent's stop has told */
	bool stopped; /* before it was known */
	bool in_call;
	/* of the call in which it is */
	unsigned nr;
	enum tracer_kind call_kind;
	uint64_t count; /* which one it is, for the act that is due; 0: it doesn't count */
	int failing;	/* errno */
};

static struct {
	const struct tracer_plan *plan;
	struct tracer_report *report;
	struct thread threads[THREADS];
	uint64_t count;	     /* calls counted for the act that is due */
	uint64_t failing_nr; /* TRACER_FAIL for good: that number */
	const struct tracer_act *failing;
	struct thread *held;
	bool free; /* all is done: everybody is let go */
} tr;

/* ---- threads ---- */

static struct thread *
find(pid_t tid)
{
	for (int i = 0; i < THREADS; i++)
		if (tr.threads[i].tid == tid)
			return &tr.threads[i];
	return NULL;
}

static struct thread *
have(pid_t tid)
{
	struct thread *t = find(tid);

	if (t != NULL)
		return t;
	t = find(0);
	if (t == NULL)
		errx(EXIT_FAILURE, "more than %d threads are traced", THREADS);
	*t = (struct thread){ .tid = tid, .tgid = tid };
	return t;
}

static void
become(struct thread *t, enum tracer_kind kind)
{
	t->known = true;
	t->kind = kind;
	tr.report->processes[kind]++;
}

/* Whether its system calls are of interest. */
static bool
watched(const struct thread *t)
{
	if (tr.plan->nacts == 0 || t->kind == TRACER_NEWBORN || t->kind == TRACER_OTHER)
		return true;
	for (unsigned i = 0; i < tr.plan->nacts; i++)
		if (tr.plan->acts[i].kind == t->kind)
			return true;
	return false;
}

/* ESRCH: it was killed meanwhile; its end will be told. */
static void
go_on(struct thread *t, int signal)
{
	long how = tr.free ? PTRACE_DETACH : watched(t) ? PTRACE_SYSCALL : PTRACE_CONT;

	if (ptrace(how, t->tid, NULL, (void *)(intptr_t)signal) < 0 && errno != ESRCH)
		err(EXIT_FAILURE, "ptrace");
	if (tr.free)
		t->tid = 0;
}

/* ---- names ---- */

static void
read_text(pid_t pid, uint64_t address, char *text, size_t size)
{
	struct iovec to = { text, size - 1 }, from = { (void *)(uintptr_t)address, size - 1 };
	ssize_t n = process_vm_readv(pid, &to, 1, &from, 1, 0);

	text[n > 0 ? n : 0] = '\0';
}

static void
take_title(struct thread *t, const uint64_t *args)
{
	char title[32];

	if (args[0] != PR_SET_NAME || t->kind == TRACER_CLIENT || t->kind == TRACER_KEEPER)
		return;
	read_text(t->tid, args[1], title, 16);
	if (strncmp(title, "stashd: supervisor", 15) == 0) {
		if (t->kind != TRACER_SUPERVISOR)
			become(t, TRACER_SUPERVISOR);
	} else if (strcmp(title, "stashd: stash") == 0) {
		become(t, TRACER_STASH);
	} else if (strcmp(title, "stash: status") == 0 || strncmp(title, "stashd:", 7) == 0) {
		become(t, TRACER_OTHER);
	} else if (strncmp(title, "stash: ", 7) == 0 && t->kind == TRACER_NEWBORN) {
		become(t, TRACER_WORKER);
	}
}

/* What the first argument is about: the descriptor's file, or the text of an open or unlink. */
static void
describe(const struct thread *t, const uint64_t *args, char *text, size_t size)
{
	char path[64];
	ssize_t n;

	text[0] = '\0';
	switch (t->nr) {
	case SYS_openat:
	case SYS_unlinkat:
	case SYS_newfstatat:
		read_text(t->tid, args[1], text, size);
		return;
#ifdef SYS_unlink
	case SYS_unlink:
	case SYS_rmdir:
	case SYS_mkdir:
	case SYS_rename:
	case SYS_stat:
	case SYS_access:
		read_text(t->tid, args[0], text, size);
		return;
#endif
	default:
		snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)t->tgid, (int)args[0]);
		n = args[0] < 4096 ? readlink(path, text, size - 1) : 0;
		text[n > 0 ? n : 0] = '\0';
	}
}

/* ---- acts ---- */

static const struct tracer_act *
due(void)
{
	return tr.report->done < tr.plan->nacts ? &tr.plan->acts[tr.report->done] : NULL;
}

static void
note(const struct thread *t, const uint64_t *args, int64_t result)
{
	unsigned i = tr.report->done;

	tr.report->at[i].pid = t->tgid;
	tr.report->at[i].nr = t->nr;
	tr.report->at[i].result = result;
	memcpy(tr.report->at[i].args, args, sizeof tr.report->at[i].args);
	describe(t, args, tr.report->at[i].about, sizeof tr.report->at[i].about);
}

/* The next act's counting begins. */
static void
done(void)
{
	tr.count = 0;
	__atomic_store_n(&tr.report->done, tr.report->done + 1, __ATOMIC_SEQ_CST);
	tr.free = tr.report->done == tr.plan->nacts && tr.failing == NULL;
	if (tr.held != NULL && tr.report->done == tr.plan->nacts) {
		struct thread *held = tr.held;

		tr.held = NULL;
		go_on(held, 0);
	}
}

/* No call instead of that one, and at its exit this result. */
static void
replace_call(const struct thread *t, bool entry, int64_t result)
{
	struct user_regs_struct regs;
	struct iovec io = { &regs, sizeof regs };

	if (ptrace(PTRACE_GETREGSET, t->tid, (void *)(uintptr_t)NT_PRSTATUS, &io) < 0)
		return; /* it is dying */
#if defined(__x86_64__)
	if (entry)
		regs.orig_rax = (unsigned long long)-1;
	regs.rax = (unsigned long long)result;
#elif defined(__aarch64__)
	if (entry) {
		int none = -1;
		struct iovec number = { &none, sizeof none };

		(void)ptrace(PTRACE_SETREGSET, t->tid, (void *)(uintptr_t)NT_ARM_SYSTEM_CALL, &number);
		return;
	}
	regs.regs[0] = (unsigned long long)result;
#else
#error "how a system call is replaced isn't known here"
#endif
	(void)ptrace(PTRACE_SETREGSET, t->tid, (void *)(uintptr_t)NT_PRSTATUS, &io);
}

static void
begin_failing(struct thread *t, const struct tracer_act *a)
{
	t->failing = a->error;
	replace_call(t, true, -a->error);
}

/* At the entry, or at the exit, of a call that was counted. */
static void
act(struct thread *t, enum tracer_when when, const uint64_t *args, int64_t result)
{
	const struct tracer_act *a = due();
	enum tracer_when at;

	if (a == NULL || t->count != a->nth || t->call_kind != a->kind)
		return;
	at = a->what == TRACER_FAIL ? TRACER_ENTRY : a->when;
	if (at != when)
		return;
	note(t, args, result);
	t->count = 0;
	switch (a->what) {
	case TRACER_KILL:
		(void)kill(t->tgid, SIGKILL); /* its number is its own while it is traced */
		break;
	case TRACER_STOP:
		(void)kill(t->tgid, SIGSTOP);
		break;
	case TRACER_MARK:
		break;
	case TRACER_HOLD:
		done();
		tr.held = t;
		return;
	case TRACER_FAIL:
		begin_failing(t, a);
		if (a->for_good) {
			tr.failing = a;
			tr.failing_nr = t->nr;
		}
		break;
	}
	done();
}

static void
enter(struct thread *t, const struct __ptrace_syscall_info *info)
{
	const struct tracer_act *a = due();
	uint64_t args[6];

	for (int i = 0; i < 6; i++)
		args[i] = info->entry.args[i];
	t->in_call = true;
	t->nr = (unsigned)info->entry.nr;
	t->call_kind = t->kind;
	t->count = 0;
	t->failing = 0;
	tr.report->calls[t->kind]++;
	if (t->nr < TRACER_CALLS)
		tr.report->seen[t->kind][t->nr]++;
	if (t->nr == SYS_prctl)
		take_title(t, args);
	if (tr.failing != NULL && t->call_kind == tr.failing->kind && t->nr == tr.failing_nr) {
		begin_failing(t, tr.failing);
		return;
	}
	if (a == NULL || a->kind != t->call_kind || (a->only != 0 && (unsigned)a->only - 1 != t->nr))
		return;
	t->count = ++tr.count;
	act(t, TRACER_ENTRY, args, 0);
}

static void
leave(struct thread *t, const struct __ptrace_syscall_info *info)
{
	static const uint64_t none[6];

	if (!t->in_call)
		return; /* it was in that call before it was traced */
	t->in_call = false;
	if (t->failing != 0) {
		replace_call(t, false, -t->failing);
		t->failing = 0;
	}
	act(t, TRACER_EXIT, none, info->exit.rval);
}

static void
on_syscall(struct thread *t)
{
	struct __ptrace_syscall_info info = { 0 };

	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, (void *)sizeof info, &info) <= 0)
		return; /* it is dying */
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		enter(t, &info);
	else if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		leave(t, &info);
}

/* ---- stops ---- */

/* Its child's kind is known from now on. */
static void
on_birth(const struct thread *parent, int event)
{
	unsigned long number = 0;
	struct thread *child;

	if (ptrace(PTRACE_GETEVENTMSG, parent->tid, NULL, &number) < 0)
		return;
	child = have((pid_t)number);
	if (event == PTRACE_EVENT_CLONE) {
		child->tgid = parent->tgid;
		child->kind = parent->kind;
		child->known = true;
	} else if (parent->kind == TRACER_KEEPER) {
		become(child, TRACER_SUPERVISOR);
	} else {
		become(child, parent->kind == TRACER_SUPERVISOR ? TRACER_NEWBORN : TRACER_OTHER);
	}
	if (child->stopped) {
		child->stopped = false;
		go_on(child, 0);
	}
}

static void
on_stop(struct thread *t, int status)
{
	int signal = WSTOPSIG(status), event = status >> 16;

	switch (event) {
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
	case PTRACE_EVENT_CLONE:
		on_birth(t, event);
		go_on(t, 0);
		return;
	case PTRACE_EVENT_STOP:
		if (!t->known)
			t->stopped = true;
		else if (signal == SIGTRAP || tr.free)
			go_on(t, 0);
		else
			(void)ptrace(PTRACE_LISTEN, t->tid, NULL, NULL); /* it is stopped, and stays so */
		return;
	case 0:
		break;
	default:
		go_on(t, 0);
		return;
	}
	if (signal == (SIGTRAP | 0x80)) {
		on_syscall(t);
		if (t != tr.held)
			go_on(t, 0);
	} else {
		go_on(t, signal);
	}
}

/* All that has happened. */
static void
wait_all(void)
{
	int status;
	pid_t tid;

	while ((tid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
		struct thread *t = find(tid);

		if (!WIFSTOPPED(status)) {
			if (t != NULL)
				t->tid = 0;
			continue;
		}
		on_stop(t != NULL ? t : have(tid), status);
	}
}

/* A parent that was killed right behind its fork tells nothing of it: its child would stay stopped for ever. */
static void
free_unknown(void)
{
	for (int i = 0; i < THREADS; i++) {
		struct thread *t = &tr.threads[i];

		if (t->tid == 0 || t->known || !t->stopped)
			continue;
		t->stopped = false;
		become(t, TRACER_OTHER);
		go_on(t, 0);
	}
}

static void
on_order(int socket)
{
	struct tracer_order order;
	struct thread *t;
	char done_byte = 1;

	if (recv(socket, &order, sizeof order, 0) != sizeof order)
		_exit(EXIT_SUCCESS);
	/* Everybody else may run freely already; one that comes now does so, too. */
	if (!tr.free) {
		if (ptrace(PTRACE_SEIZE, order.pid, NULL, (void *)(uintptr_t)OPTIONS) < 0 ||
		    ptrace(PTRACE_INTERRUPT, order.pid, NULL, NULL) < 0)
			err(EXIT_FAILURE, "process %d can't be traced", (int)order.pid);
		t = have(order.pid);
		become(t, order.kind);
	}
	if (send(socket, &done_byte, 1, MSG_NOSIGNAL) != 1)
		_exit(EXIT_SUCCESS);
}

_Noreturn void
tracer_loop(int socket, const struct tracer_plan *plan, struct tracer_report *report)
{
	struct pollfd p[2] = { { .fd = socket, .events = POLLIN }, { .events = POLLIN } };
	struct signalfd_siginfo info;
	sigset_t set;

	tr.plan = plan;
	tr.report = report;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || (p[1].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		err(EXIT_FAILURE, "the tracer's signals");
	for (;;) {
		int n = poll(p, 2, UNKNOWN_MS);

		if (n < 0 && errno != EINTR)
			err(EXIT_FAILURE, "poll");
		if (n == 0 || tr.free)
			free_unknown();
		if (p[1].revents != 0 && read(p[1].fd, &info, sizeof info) < 0 && errno != EAGAIN)
			err(EXIT_FAILURE, "the tracer's signals");
		wait_all();
		if (p[0].revents != 0)
			on_order(socket);
	}
}
