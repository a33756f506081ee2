/* SPDX-License-Identifier: ISC */
/*
 * succession.c: from one binary to the next: asked for, tried beside the old supervisor, put in its place, on trial
 * until it has taken over, and undone if it doesn't get there.
 *
 *	REEXEC -> candidate -> its HELLO -> REEXECED -> YIELD -> the old one is killed -> trial -> SETTLED
 *	               `-> can't: told, nothing has changed                              `-> died: the old code goes on
 */
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include <bsd/string.h>

#include <stash/version.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "shm/wire.h"
#include "stashd/keeping.h"
#include "stashd/mail.h"
#include "stashd/proc.h"

#define YIELD_NS (2 * STASH__NS_PER_S)	/* for the old supervisor to tell who asked for the new one */
#define TRIAL_NS (30 * STASH__NS_PER_S) /* for a new binary's first takeover */
#define UNSETTLED_MAX 5			/* takeovers of another binary that come to nothing, in a row */

static void
close_code(struct code *code)
{
	if (code->file >= 0)
		close(code->file);
	code->file = -1;
	code->generation = 0;
	strlcpy(code->version, stash_version(), sizeof(code->version));
}

static void
tell_reexec(struct keeper *k, uint64_t number, int error)
{
	struct stash_buf *buf;

	if (error < 0)
		stash__log(LOG_ERR, "reexec: %s; the supervisor that runs goes on", stash_errmsg());
	if (k->pid == 0)
		return;
	buf = mail_begin(STASH__K_REEXECED, number);
	mail_add_result(buf, error);
	if (error == 0) {
		stash_buf_add_text(buf, k->next.version);
		stash_buf_add_int(buf, (int64_t)k->generations);
	}
	(void)mail_send_wait(k->socket, buf, NULL, 0, 5000);
}

void
succession_ask(struct keeper *k, struct mail *m)
{
	struct keeper_other other = { .starts = k->starts, .trial = true };
	int result;

	if (stash_view_end(&m->view) < 0)
		return;
	if (k->job->binary == NULL)
		result = stash__fail(STASH_E_NOENT, "there is no binary to exec");
	else if (k->next.pid != 0 || k->over)
		result = stash__fail(STASH_E_BUSY, "a new binary is being started already");
	else {
		other.generation = ++k->generations;
		result = candidate_begin(&k->next, k->job, &other, m->number);
	}
	if (result < 0)
		tell_reexec(k, m->number, result);
}

/* The old supervisor is told, and tells; then it is time. */
void
succession_look(struct keeper *k)
{
	uint64_t number = k->next.number;
	int result = candidate_look(&k->next);

	if (result == 0)
		return;
	tell_reexec(k, number, result < 0 ? result : 0);
	if (result > 0)
		k->yield_at = stash__now_ns() + YIELD_NS;
}

/* The old supervisor is dead and reaped: the one that has waited takes its place. */
void
succession_install(struct keeper *k)
{
	k->pid = k->next.pid;
	k->pidfd = k->next.pidfd;
	k->socket = k->next.socket;
	if (k->trial_until != 0) /* its predecessor never settled: what is known to work is what was before both */
		close_code(&k->code);
	else
		k->before_code = k->code;
	k->code.file = k->next.file;
	k->code.generation = k->generations;
	strlcpy(k->code.version, k->next.version, sizeof(k->code.version));
	memset(&k->next, 0, sizeof(k->next));
	k->yield_at = 0;
	k->starts++;
	k->unsettled = 1;
	k->started = k->last_beat = stash__now_ns();
	k->trial_until = k->started + TRIAL_NS;
	k->delay = 0;
	k->passed_on |= k->asked;
	keeper_pass_on(k);
}

void
succession_settled(struct keeper *k)
{
	k->unsettled = 0;
	k->begun = true;
	if (k->trial_until == 0)
		return;
	k->trial_until = 0;
	close_code(&k->before_code);
	if (strcmp(k->code.version, stash_version()) != 0)
		stash__log(LOG_WARNING,
		    "supervisor and stash are stashd %s now; this keeper, process %d, stays %s until stashd is started "
		    "anew",
		    k->code.version, (int)getpid(), stash_version());
	else
		stash__log(LOG_NOTICE, "supervisor and stash are of the new binary now");
}

/* A supervisor of another binary has died without having taken over. */
void
succession_fall_back(struct keeper *k)
{
	if (k->code.file < 0 || (k->trial_until == 0 && k->unsettled < UNSETTLED_MAX))
		return;
	stash__log(LOG_ERR, "stashd %s couldn't take over: %s goes on", k->code.version,
	    k->trial_until != 0 ? k->before_code.version : stash_version());
	close_code(&k->code);
	if (k->trial_until != 0) {
		k->code = k->before_code;
		k->before_code.file = -1;
	}
	k->trial_until = 0;
	k->unsettled = 0;
	k->delay = 0;
}

void
succession_yield(struct keeper *k)
{
	k->yield_at = k->next.ready ? stash__now_ns() : 0;
}

/* An old supervisor whose time is over, a new one that doesn't get on. */
void
succession_watch(struct keeper *k, int64_t now)
{
	if (k->yield_at != 0 && now >= k->yield_at && k->next.ready) {
		(void)pidfd_send_signal(k->pidfd, SIGKILL, NULL, 0);
		k->yield_at = 0;
	} else if (k->trial_until != 0 && now >= k->trial_until && !proc_traced(k->pid)) {
		stash__log(LOG_ERR, "stashd %s hasn't taken over within 30 s: killed", k->code.version);
		(void)pidfd_send_signal(k->pidfd, SIGKILL, NULL, 0);
		k->trial_until = now + TRIAL_NS;
	}
}

void
succession_begin(struct keeper *k)
{
	k->code.file = k->before_code.file = -1;
	close_code(&k->code);
}

void
succession_end(struct keeper *k)
{
	candidate_end(&k->next);
	close_code(&k->code);
	close_code(&k->before_code);
}
