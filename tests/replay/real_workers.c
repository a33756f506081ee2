/* SPDX-License-Identifier: ISC */
/*
 * The workers' side of the real world: each connects here when it starts (tests/modules/replay_worker.c), asks how its
 * start and its stop are to go, and is told as the scenario has it. Its pidfd tells when it is dead.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "replay/real.h"

#define PROCS_MAX 256
#define EFFECT_MS 30000 /* an answer that has none by then never will */

int
real_workers_listen(struct real *r)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	r->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/w", r->dir) >= (int)sizeof(address.sun_path))
		return -1;
	return r->listener >= 0 && bind(r->listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		listen(r->listener, PROCS_MAX) == 0 ?
	    0 :
	    -1;
}

/* ---- which one ---- */

struct proc *
real_proc(const struct real *r, const struct path *path)
{
	struct proc *p;

	for (p = r->procs; p != NULL && p->path != path; p = p->next)
		;
	return p;
}

struct proc *
real_proc_pid(const struct real *r, pid_t pid)
{
	struct proc *p;

	for (p = r->procs; p != NULL && p->pid != pid; p = p->next)
		;
	return p;
}

bool
real_proc_dead(const struct proc *proc)
{
	struct pollfd p = { .fd = proc->pidfd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

static void
proc_free(struct real *r, struct proc *p)
{
	struct proc **at;

	for (at = &r->procs; *at != p; at = &(*at)->next)
		;
	*at = p->next;
	close(p->fd);
	close(p->pidfd);
	free(p);
}

void
real_procs_free(struct real *r)
{
	while (r->procs != NULL)
		proc_free(r, r->procs);
}

/* ---- what they are told ---- */

void
real_proc_tell(struct real *r, const struct proc *proc, const char *text)
{
	/* One that has died in the meantime is told by its pidfd. */
	if (send(proc->fd, text, strlen(text), MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
		real_complain(r, "%s can't be told: %s", proc->path->name, strerror(errno));
}

static void
wait_for_effect(struct real *r, const struct proc *proc, bool start)
{
	r->effect = (struct effect){ proc->path, start, stash__now_ns() };
}

void
real_workers_effect(struct real *r, const char *path, bool start)
{
	if (r->effect.path != NULL && r->effect.start == start && strcmp(r->effect.path->name, path) == 0)
		r->effect.path = NULL;
}

void
real_proc_outcome(struct real *r, struct proc *proc, const char *outcome)
{
	char text[32];
	bool up = strcmp(outcome, "ok") == 0;

	proc->life = up ? LIFE_RUNNING : LIFE_STARTING;
	pthread_mutex_lock(&r->lock);
	snprintf(text, sizeof(text), "%s%s", outcome,
	    up && strcmp(path_term(&r->w, proc->path), "untrapped") == 0 ? " untrapped" : "");
	pthread_mutex_unlock(&r->lock);
	if (up)
		proc->path->was_up = true;
	wait_for_effect(r, proc, true);
	real_proc_tell(r, proc, text);
}

static void
answer_init(struct real *r, struct proc *proc)
{
	const char *outcome;

	pthread_mutex_lock(&r->lock);
	outcome = path_next_init(&r->w, proc->path);
	pthread_mutex_unlock(&r->lock);
	if (strcmp(outcome, "hold") == 0) {
		proc->life = LIFE_HELD_START;
		real_event(r, proc->asked_ns, "starting %s", proc->path->name);
	} else {
		real_proc_outcome(r, proc, outcome);
	}
}

static void
answer_stop(struct real *r, struct proc *proc)
{
	char text[64];
	const char *term;

	pthread_mutex_lock(&r->lock);
	term = path_term(&r->w, proc->path);
	pthread_mutex_unlock(&r->lock);
	if (strcmp(term, "hold") == 0) {
		proc->life = LIFE_HELD_STOP;
		real_event(r, proc->asked_ns, "stopping %s", proc->path->name);
	} else if (strcmp(term, "ignore") == 0) {
		proc->life = LIFE_DEAF;
	} else if (strncmp(term, "slow:", 5) == 0) {
		proc->life = LIFE_SLOW;
		snprintf(text, sizeof(text), "slow %d", (int)real_stretch(atoi(term + 5)));
		real_proc_tell(r, proc, text);
	} else {
		proc->life = LIFE_STOPPING;
		wait_for_effect(r, proc, false);
		real_proc_tell(r, proc, strcmp(term, "crash") == 0 ? "crash" : "end");
	}
}

/* ---- one after the other ---- */

/*
 * In a scenario starts and stops take no time, and follow each other as the supervisors have asked for them. Processes
 * take some, so that those of two supervisors could overtake each other: each question is answered only when the last
 * answer has had its effect, those about stops first, and a start's when nothing that was begun before is under way.
 */
static struct proc *
next_question(const struct real *r, const struct look *look)
{
	struct proc *p, *next = NULL;

	for (p = r->procs; p != NULL; p = p->next) {
		if (p->asks == ASKS_NOTHING || (next != NULL && p->asks < next->asks))
			continue;
		if (next == NULL || p->asks > next->asks ||
		    (p->asks == ASKS_STOP ? p->asked_ns < next->asked_ns : p->pid < next->pid))
			next = p;
	}
	if (next != NULL && next->asks == ASKS_INIT &&
	    (look->stopping || (look->first != 0 && look->first < next->pid)))
		return NULL;
	return next;
}

static bool
has_questions(const struct real *r)
{
	const struct proc *p;

	for (p = r->procs; p != NULL && p->asks == ASKS_NOTHING; p = p->next)
		;
	return p != NULL;
}

bool
real_workers_answer(struct real *r, const struct look *look)
{
	struct proc *proc;
	bool dead;

	if (r->pid == 0)
		r->effect.path = NULL;
	if (r->effect.path != NULL && stash__now_ns() - r->effect.since_ns > EFFECT_MS * STASH__NS_PER_MS) {
		real_complain(r, "%s was told how to %s, and nothing came of it", r->effect.path->name,
		    r->effect.start ? "start" : "stop");
		r->effect.path = NULL;
	}
	proc = r->effect.path == NULL ? next_question(r, look) : NULL;
	if (proc != NULL) {
		r->moved = true;
		/* What follows from the end of one that is dead may be in the log already. */
		dead = real_proc_dead(proc);
		if (!dead && proc->asks == ASKS_INIT)
			answer_init(r, proc);
		else if (!dead)
			answer_stop(r, proc);
		proc->asks = ASKS_NOTHING;
	}
	return has_questions(r) || r->effect.path != NULL;
}

/* ---- what they say ---- */

static void
hear(struct real *r, struct proc *proc)
{
	char line[900], path[STASH_PATH_MAX + 1];
	ssize_t n = recv(proc->fd, line, sizeof(line) - 1, MSG_DONTWAIT);
	long long time_ns;

	if (n <= 0)
		return;
	line[n] = '\0';
	r->moved = true;
	if (sscanf(line, "init %500s %lld", path, &time_ns) == 2) {
		pthread_mutex_lock(&r->lock);
		proc->path = world_path(&r->w, path);
		pthread_mutex_unlock(&r->lock);
		proc->asks = ASKS_INIT;
		proc->asked_ns = time_ns;
	} else if (sscanf(line, "stop %lld", &time_ns) == 1) {
		proc->asks = ASKS_STOP;
		proc->asked_ns = time_ns;
	} else {
		real_complain(r, "a worker says: %s", line);
	}
}

static void
take(struct real *r)
{
	struct ucred who = { 0 };
	socklen_t len = sizeof(who);
	struct proc *p;
	int fd, pidfd;

	while ((fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		/* It waits for its answer, so the pid is still its own, unless it was killed. */
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 || (pidfd = pidfd_open(who.pid, 0)) < 0) {
			close(fd);
			continue;
		}
		p = world_alloc(sizeof(*p));
		p->fd = fd;
		p->pidfd = pidfd;
		p->pid = who.pid;
		p->life = LIFE_STARTING;
		p->next = r->procs;
		r->procs = p;
	}
}

static void
hear_all(struct real *r, const struct pollfd *polled, struct proc *const *procs, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if ((polled[2 * i].revents & POLLIN) != 0)
			hear(r, procs[i]);
		if ((polled[2 * i + 1].revents & POLLIN) == 0)
			continue;
		r->moved = true;
		proc_free(r, procs[i]);
	}
}

void
real_workers_hear(struct real *r, int ms)
{
	struct pollfd polled[2 * PROCS_MAX + 4];
	struct proc *procs[PROCS_MAX], *p;
	uint64_t woken;
	size_t n;

	for (;;) {
		for (n = 0, p = r->procs; p != NULL && n < PROCS_MAX; p = p->next, n++) {
			procs[n] = p;
			polled[2 * n] = (struct pollfd){ .fd = p->fd, .events = POLLIN };
			polled[2 * n + 1] = (struct pollfd){ .fd = p->pidfd, .events = POLLIN };
			/* One that has closed its socket is about to be dead. */
		}
		polled[2 * n] = (struct pollfd){ .fd = r->listener, .events = POLLIN };
		polled[2 * n + 1] = (struct pollfd){ .fd = r->pid != 0 ? r->pidfd : -1, .events = POLLIN };
		polled[2 * n + 2] = (struct pollfd){ .fd = r->wake, .events = POLLIN };
		polled[2 * n + 3] = (struct pollfd){ .fd = r->client != NULL ? r->client->sock : -1, .events = POLLIN };
		if (poll(polled, 2 * n + 4, ms) <= 0)
			return;
		if (polled[2 * n].revents != 0)
			take(r);
		hear_all(r, polled, procs, n);
		if (polled[2 * n + 2].revents != 0)
			(void)!read(r->wake, &woken, sizeof(woken));
		if (polled[2 * n + 1].revents != 0 || polled[2 * n + 3].revents != 0)
			return;
		ms = 0;
	}
}
