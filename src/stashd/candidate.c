/* SPDX-License-Identifier: ISC */
/*
 * candidate.c: the next binary's supervisor, from its fork to its first word.  It reads nothing but what it was handed
 * before it has said that it can; so it may be wrong, slow or no stashd at all without anybody noticing.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "base/error.h"
#include "shm/wire.h"
#include "stashd/candidate.h"
#include "stashd/mail.h"
#include "stashd/proc.h"

#define HELLO_NS (10 * STASH__NS_PER_S) /* for its first word */
#define LAST_WORD_MS 100

int
candidate_fork(void (*child)(void *arg, int socket), void *arg, pid_t *pid, int *pidfd, int *socket)
{
	int sockets[2], result = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return stash__fail_errno("can't make the supervisor's socket");
	fflush(NULL);
	*pid = fork();
	if (*pid == 0) {
		close(sockets[0]);
		child(arg, sockets[1]);
		_exit(EX_SOFTWARE);
	}
	if (*pid < 0) {
		result = stash__fail_errno("can't fork the supervisor");
	} else if ((*pidfd = pidfd_open(*pid, 0)) < 0) {
		result = stash__fail_errno("can't watch the supervisor");
		/* Not reaped yet: the number is still its own. */
		(void)kill(*pid, SIGKILL);
		(void)waitpid(*pid, NULL, 0);
	}
	close(sockets[1]);
	if (result == 0) {
		*socket = sockets[0];
		return 0;
	}
	close(sockets[0]);
	*pid = 0;
	return result;
}

struct made {
	const struct keeper_job *job;
	struct keeper_other *other;
};

static void
become_other(void *arg, int socket)
{
	const struct made *m = arg;

	(void)setpgid(0, 0);
	m->other->socket = socket;
	m->job->other(m->job->arg, m->other);
}

int
candidate_begin(struct candidate *c, const struct keeper_job *job, struct keeper_other *other, uint64_t number)
{
	struct made made = { job, other };
	int result;

	memset(c, 0, sizeof(*c));
	c->file = open(job->binary, O_PATH | O_CLOEXEC);
	if (c->file < 0)
		return stash__fail_errno("%s: can't be opened", job->binary);
	other->file = c->file;
	result = candidate_fork(become_other, &made, &c->pid, &c->pidfd, &c->socket);
	if (result < 0) {
		close(c->file);
		return result;
	}
	c->number = number;
	c->deadline = stash__now_ns() + HELLO_NS;
	return 0;
}

void
candidate_end(struct candidate *c)
{
	siginfo_t info;

	if (c->pid == 0)
		return;
	(void)pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0);
	(void)waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED);
	close(c->pidfd);
	close(c->socket);
	close(c->file);
	memset(c, 0, sizeof(*c));
}

/* Its first word; of a wrong one nothing is believed. */
static int
hear(struct candidate *c, struct mail *m)
{
	int error = (int)stash__view_range(&m->view, INT32_MIN, 0);
	const char *text = stash_view_text(&m->view), *version = stash_view_text(&m->view);

	if (m->type != STASH__K_HELLO || stash_view_end(&m->view) < 0)
		return stash__fail(STASH_E_PROTO, "the new binary's first word can't be understood");
	if (error < 0)
		return stash__fail(error, "%s", text);
	strlcpy(c->version, version, sizeof(c->version));
	c->ready = true;
	return 1;
}

/* It is dead, or has closed its socket and is about to die. */
static int
tell_end(const struct candidate *c)
{
	siginfo_t info = { 0 };
	char text[64];

	if (mail_wait(c->pidfd, stash__deadline_ns(LAST_WORD_MS)) < 0 ||
	    waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOWAIT | WNOHANG) < 0 || info.si_pid == 0)
		return stash__fail(STASH_E_START,
		    "the new binary has closed its socket at its start: it is no stashd, "
		    "or not one of this kind");
	proc_describe(proc_wait_status(&info), text, sizeof(text));
	return stash__fail(
	    STASH_E_START, "the new binary has died at its start (%s): it is no stashd, or doesn't run here", text);
}

int
candidate_look(struct candidate *c)
{
	struct mail m;
	int result;

	if (c->pid == 0 || c->ready)
		return 0;
	result = mail_recv(c->socket, &m);
	if (result == 0) {
		result = hear(c, &m);
		mail_done(&m);
	} else if (result == STASH_E_DOWN) {
		result = tell_end(c);
	} else if (result == STASH_E_PENDING) {
		result = 0;
		if (stash__now_ns() > c->deadline)
			result = stash__fail(
			    STASH_E_TIMEDOUT, "the new binary hasn't said within 10 s that it can go on");
	}
	if (result < 0)
		candidate_end(c);
	return result;
}
