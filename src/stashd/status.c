/* SPDX-License-Identifier: ISC */
/*
 * status.c: a committed state as text.  The behaviour's own code does it, so it runs in a process of its own, which has
 * nothing but a copy of the state and a pipe, and is killed after a second; what it does wrong is its own affair.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/title.h"
#include "shm/fields.h"
#include "stashd/birth.h"
#include "stashd/proc.h"
#include "stashd/server.h"
#include "worker/worker.h"

#define TEXT_MAX 16384
#define HEX_MAX 1024 /* bytes shown of a state that nobody can explain */

struct status {
	struct server *server;
	pid_t pid;
	int pidfd, pipe;
	struct spawn_bank bank;
	struct event readable, dead, late;
	char text[TEXT_MAX + 1];
	size_t len;
	void (*done)(void *arg, const char *text);
	void *arg;
};

/* ---- in the process ---- */

struct job {
	const struct plan *plan;
	const struct stash__base *base;
	const struct plainly *plainly;
	const sigset_t *mask;
};

static void
print_plain(FILE *out, const struct job *j, const void *image)
{
	struct stash_field *fields = NULL;
	size_t len = j->base->image_len;

	if (j->plainly->fields != NULL &&
	    stash__fields_unpack(j->plainly->fields, j->plainly->len, len, &fields) == 0 && fields != NULL)
		(void)stash__fields_print(out, fields, image, len);
	else
		(void)stash__hex_print(out, image, len < HEX_MAX ? len : HEX_MAX);
}

static const struct stash_behaviour *
behaviour_of(const struct plan *plan)
{
	switch (plan->kind) {
	case PLAN_MODULE:
		return birth_load(plan->module);
	case PLAN_BEHAVIOUR:
		return plan->behaviour;
	case PLAN_EXEC:
		break;
	}
	return NULL;
}

/* As a worker has it: aligned to 64 bytes, zero behind it, and one byte at least so that it has an address. */
static void *
zeroed(size_t len)
{
	size_t bytes = (len + 64) & ~(size_t)63;
	void *p = aligned_alloc(64, bytes);

	if (p != NULL)
		memset(p, 0, bytes);
	return p;
}

/* What the behaviour's function is to get; NULL: it can't be asked. */
static const void *
as_state(const struct stash_behaviour *b, const struct stash__base *base, const void *image)
{
	void *state;

	if (b->format_status == NULL || b->layout_version != base->layout_version || strcmp(b->name, base->layout) != 0)
		return NULL;
	if (b->decode == NULL)
		return b->state_size == base->image_len ? image : NULL;
	state = zeroed(b->state_size);
	return state != NULL && b->decode(image, base->image_len, base->layout_version, state) == 0 ? state : NULL;
}

static void
print(FILE *out, const struct job *j)
{
	const struct stash_behaviour *given = behaviour_of(j->plan);
	struct stash_behaviour b;
	void *image = zeroed(j->base->image_len);
	const void *state = NULL;

	if (image == NULL)
		return;
	memcpy(image, stash__base_image(j->base), j->base->image_len);
	if (given != NULL && stash__behaviour_take(&b, given) == 0)
		state = as_state(&b, j->base, image);
	if (state != NULL)
		(void)b.format_status(state, out);
	else if (j->plainly != NULL)
		print_plain(out, j, image);
}

static void
run(void *arg, int pipe, int null)
{
	const struct job *j = arg;
	FILE *out;

	(void)null;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)setpgid(0, 0);
	(void)sigprocmask(SIG_SETMASK, j->mask, NULL);
	stash__log_sink(NULL, NULL);
	stash__log_hasty(false);
	stash__title("stash: status");
	(void)alarm(2);
	out = fdopen(pipe, "w");
	if (out == NULL || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
		_exit(EX_OSERR);
	print(out, j);
	(void)fclose(out);
	_exit(0);
}

/* ---- here ---- */

static void
status_free(struct status *st)
{
	siginfo_t info;

	event_del(&st->readable);
	event_del(&st->dead);
	event_del(&st->late);
	spawn_release(&st->bank);
	/* Dead, or killed by now. */
	(void)waitid(P_PIDFD, (id_t)st->pidfd, &info, WEXITED);
	close(st->pidfd);
	close(st->pipe);
	free(st);
}

static void
take(struct status *st)
{
	ssize_t n;

	while (st->len < TEXT_MAX) {
		n = read(st->pipe, st->text + st->len, TEXT_MAX - st->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		st->len += (size_t)n;
	}
	if (st->len == TEXT_MAX)
		(void)pidfd_send_signal(st->pidfd, SIGKILL, NULL, 0);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct status *st = arg;

	(void)fd;
	(void)what;
	take(st);
	spawn_sweep();
	if (st->len == TEXT_MAX)
		event_del(&st->readable);
}

static void
on_late(evutil_socket_t fd, short what, void *arg)
{
	struct status *st = arg;

	(void)fd;
	(void)what;
	(void)pidfd_send_signal(st->pidfd, SIGKILL, NULL, 0);
}

static void
on_dead(evutil_socket_t fd, short what, void *arg)
{
	struct status *st = arg;

	(void)fd;
	(void)what;
	take(st);
	st->text[st->len] = '\0';
	for (size_t i = 0; i < st->len; i++) {
		if (st->text[i] == '\0')
			st->text[i] = '?';
	}
	st->done(st->arg, st->text);
	status_free(st);
}

static int
make(struct status *st, struct job *j)
{
	int ends[2], null;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null < 0 || fcntl(ends[0], F_SETFL, O_RDONLY | O_NONBLOCK) < 0 ||
	    spawn_make(run, j, ends[1], null, false, &st->bank, &st->pid, &st->pidfd) < 0) {
		close(ends[0]);
		if (null < 0)
			close(ends[1]);
		return -1;
	}
	st->pipe = ends[0];
	return 0;
}

struct status *
status_begin(struct server *s, const struct plan *plan, const struct stash__base *base, const struct plainly *plainly,
    void (*done)(void *arg, const char *text), void *arg)
{
	struct job j = { plan, base, plainly, &s->child_mask };
	struct status *st = calloc(1, sizeof(*st));
	struct timeval second = { .tv_sec = 1 };

	if (st == NULL)
		return NULL;
	st->server = s;
	st->done = done;
	st->arg = arg;
	if (make(st, &j) < 0) {
		free(st);
		return NULL;
	}
	event_assign(&st->readable, s->events, st->pipe, EV_READ | EV_PERSIST, on_readable, st);
	event_assign(&st->dead, s->events, st->pidfd, EV_READ, on_dead, st);
	evtimer_assign(&st->late, s->events, on_late, st);
	server_await(&st->readable, NULL);
	server_await(&st->dead, NULL);
	server_await(&st->late, &second);
	return st;
}

void
status_cancel(struct status *st)
{
	(void)pidfd_send_signal(st->pidfd, SIGKILL, NULL, 0);
	status_free(st);
}
