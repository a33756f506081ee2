/* SPDX-License-Identifier: ISC */
/*
 * crash.c: the signals of a worker, and what a crash leaves in the black box.
 * The handler runs on a stack of its own, so that an overflown stack is reported too, and stores into memory that
 * outlives the process.  `present' is written before the backtrace, which may crash itself.
 */
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "shm/bell.h"
#include "worker/worker.h"

#define STACK_BYTES (64 * 1024)

static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP };

/* Handlers have no argument of ours. */
static struct stash__crash *record;
static int bell = -1;
static volatile sig_atomic_t told_to_stop;

static void
on_crash(int signal, siginfo_t *info, void *context)
{
	void *frames[STASH__BOX_PCS];
	int n;

	(void)context;
	record->signal = signal;
	record->code = info->si_code;
	record->sender = info->si_code <= 0 && info->si_pid != getpid() ? info->si_pid : 0;
	record->address = info->si_code > 0 ? (uint64_t)(uintptr_t)info->si_addr : 0;
	atomic_signal_fence(memory_order_seq_cst);
	record->present = 1;
	n = backtrace(frames, STASH__BOX_PCS);
	for (int i = 0; i < n; i++)
		record->pcs[i] = (uint64_t)(uintptr_t)frames[i];
	record->npcs = (uint32_t)n;
	/* The handler is reset: a fault happens again and kills; a signal that was sent is sent again. */
	(void)raise(signal);
}

static void
on_term(int signal)
{
	int saved = errno;

	(void)signal;
	told_to_stop = 1;
	stash__bell_ring(bell);
	errno = saved;
}

bool
stash__crash_told_to_stop(void)
{
	return told_to_stop != 0;
}

static int
handle(int signal, struct sigaction *action)
{
	sigemptyset(&action->sa_mask);
	return sigaction(signal, action, NULL) == 0 ? STASH_OK : stash__fail_errno("cannot handle signal %d", signal);
}

static int
own_stack(void)
{
	stack_t stack = { .ss_size = STACK_BYTES };

	stack.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL) < 0)
		return stash__fail_errno("cannot make a stack for the crash handler");
	return STASH_OK;
}

void
stash__crash_preload(void)
{
	void *frame[1];

	(void)backtrace(frame, 1);
}

int
stash__crash_arm(struct stash_worker *w)
{
	struct sigaction crash = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND };
	struct sigaction term = { .sa_handler = on_term, .sa_flags = SA_RESTART };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	int result;

	record = &w->out.box->crash;
	bell = w->bell;
	stash__crash_preload();
	result = own_stack();
	for (size_t i = 0; result == STASH_OK && i < sizeof crashes / sizeof crashes[0]; i++)
		result = handle(crashes[i], &crash);
	if (result == STASH_OK)
		result = handle(SIGTERM, &term);
	if (result == STASH_OK)
		result = handle(SIGPIPE, &ignore);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	return result;
}

void
stash__crash_note(struct stash_worker *w, int code, const char *text)
{
	struct stash__crash *crash = &w->out.box->crash;

	crash->signal = 0;
	crash->code = code;
	crash->sender = 0;
	snprintf(crash->text, sizeof crash->text, "%s", text);
	crash->present = 2;
}
