/* SPDX-License-Identifier: ISC */
/*
 * life.c: one incarnation, from the machine's START to the last word that it says.  Its process is made while its
 * predecessor may still be being retired; it touches nothing before its GO, and that is sent only when all
 * predecessors are retired and the keeper knows of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/point.h"
#include "stashd/birth.h"
#include "stashd/server.h"

/* ---- life and its end ---- */

struct life *
life_create(struct worker *w, uint64_t node, uint64_t start, uint64_t incarnation)
{
	struct life *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		(void)stash__fail(STASH_E_NOMEM, "no memory for an incarnation of %s", w->name);
		return NULL;
	}
	l->server = w->server;
	l->server->files.lives++;
	l->worker = w;
	l->node = node;
	l->start = start;
	l->incarnation = incarnation;
	l->phase = LIFE_LOADING;
	l->pidfd = l->control = l->log = l->notify = -1;
	l->bank.index = -1;
	l->outbox.fd = l->output.fd = -1;
	l->answer = LIFE_NO_ANSWER;
	l->wait_status = -1;
	return l;
}

static void
unwatch(struct life *l)
{
	if (event_initialized(&l->dead))
		event_del(&l->dead);
	if (event_initialized(&l->readable))
		event_del(&l->readable);
}

void
life_free(struct life *l)
{
	l->server->files.lives--;
	stashlink_forget(&l->server->stash, l);
	spawn_release(&l->bank);
	unwatch(l);
	if (event_initialized(&l->again))
		event_del(&l->again);
	stuck_unwatch(l);
	notify_close(l);
	outbox_close(&l->outbox);
	output_close(&l->output);
	if (l->pidfd >= 0)
		close(l->pidfd);
	if (l->control >= 0)
		close(l->control);
	if (l->log >= 0)
		close(l->log);
	free(l->why);
	free(l);
}

bool
life_runs(const struct life *l)
{
	return l->phase < LIFE_DEAD;
}

void
life_key(const struct life *l, char key[LIFE_KEY_MAX])
{
	snprintf(key, LIFE_KEY_MAX, "w/%llx/%llx/%s", (unsigned long long)l->incarnation, (unsigned long long)l->start,
	    l->worker->name);
}

uint64_t
life_start_time(struct life *l)
{
	if (l->start_time == 0 && l->pid > 0)
		(void)stash__start_time(l->pid, &l->start_time);
	return l->start_time;
}

static void
on_dead(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	reap_dead(arg);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	life_read(arg);
}

static void
on_broken(void *arg, int error)
{
	(void)arg; /* its pidfd tells */
	(void)error;
}

int
life_watch(struct life *l)
{
	struct event_base *events = l->server->events;
	int result = 0;

	if (l->pidfd >= 0) {
		event_assign(&l->dead, events, l->pidfd, EV_READ, on_dead, l);
		result = event_add(&l->dead, NULL);
	}
	if (result == 0 && l->control >= 0) {
		event_assign(&l->readable, events, l->control, EV_READ | EV_PERSIST, on_readable, l);
		outbox_init(&l->outbox, events, l->control, on_broken, l);
		result = event_add(&l->readable, NULL);
	}
	if (result == 0)
		result = notify_watch(l);
	if (result != 0)
		return stash__fail(STASH_E_SYSTEM, "can't watch %s", l->worker->name);
	if (l->log >= 0) {
		result = output_begin(&l->output, events, l->log, l->worker->name);
		l->log = -1;
	}
	stuck_watch(l);
	return result;
}

/* ---- START ---- */

enum { START_OUT, START_IN, START_PAGE, START_BELL, START_STASH, START_STATUS, START_FDS };

/* Those of them that only this message needs. */
static void
close_slot_fds(int fds[START_FDS])
{
	for (int i = START_OUT; i <= START_BELL; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
}

static int
open_slot_fds(const struct worker *w, int fds[START_FDS])
{
	fds[START_OUT] = worker_file(w, "out", O_RDWR);
	fds[START_IN] = fds[START_OUT] < 0 ? -1 : worker_file(w, "in", O_RDONLY);
	fds[START_PAGE] = fds[START_IN] < 0 ? -1 : worker_file(w, "bell", O_RDWR);
	fds[START_BELL] = fds[START_PAGE] < 0 ? -1 : worker_bell(w);
	fds[START_STASH] = w->server->stash.bell;
	fds[START_STATUS] = w->server->stash.status_fd;
	return fds[START_BELL] < 0 ? STASH_E_SYSTEM : 0;
}

static int
send_start(const struct life *l)
{
	const struct worker *w = l->worker;
	const struct sup_node *node = sup_find(l->server->machine, l->node);
	struct stash_buf *buf = mail_begin(STASH__W_START, 0);
	int fds[START_FDS], result;

	stash_buf_add_int(buf, STASH__WIRE_VERSION);
	stash_buf_add_text(buf, w->name);
	stash_buf_add_int(buf, (int64_t)l->incarnation);
	stash_buf_add_int(buf, getpid());
	stash_buf_add_int(buf, node != NULL ? (int64_t)sup_node_restarts(node) : 0);
	stash_buf_add_int(buf, node != NULL ? sup_node_last_reason(node) : STASH_REASON_NORMAL);
	stash_buf_add_int(buf, w->plan.ack_disk);
	stash_buf_add_int(buf, w->plan.no_persist);
	stash_buf_add_int(buf, w->plan.max_attempts);
	stash_buf_add_int(buf, l->server->config->spin_ns);
	stash_buf_add_int(buf, w->plan.nargs + 1);
	stash_buf_add_bytes(buf, w->name, strlen(w->name)); /* an argument need not be UTF-8 */
	for (int i = 0; i < w->plan.nargs; i++)
		stash_buf_add_bytes(buf, w->plan.args[i], strlen(w->plan.args[i]));
	stash_buf_add_text(buf, l->server->dir);
	result = open_slot_fds(w, fds);
	if (result == 0)
		result = mail_send(l->control, buf, fds, fds[START_STATUS] >= 0 ? START_FDS : START_STATUS);
	close_slot_fds(fds);
	return result;
}

static void
note_with_keeper(const struct life *l)
{
	const int fds[LIFE_FDS] = { l->control, l->pidfd, l->output.fd >= 0 ? l->output.fd : l->control, l->notify };
	char key[LIFE_KEY_MAX];

	life_key(l, key);
	keep_store(&l->server->keep, key, l->pid, fds, l->notify >= 0 ? LIFE_FDS : LIFE_FDS - 1);
}

/* Socket and pipe; the child's ends in fds. */
static int
make_ends(struct life *l, int fds[2])
{
	int sockets[2], ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return stash__fail_errno("%s: can't make its socket", l->worker->name);
	l->control = sockets[0];
	fds[0] = sockets[1];
	if (pipe2(ends, O_CLOEXEC) < 0) {
		close(fds[0]);
		return stash__fail_errno("%s: can't make the pipe of its output", l->worker->name);
	}
	l->log = ends[0];
	fds[1] = ends[1];
	return 0;
}

/* By the helper, or, if that can't be, here; takes the descriptors. */
static int
give_birth(struct life *l, struct birth *birth, int fds[2])
{
	struct worker *w = l->worker;
	const struct sup_node *node = sup_find(l->server->machine, l->node);
	struct spawner_order order = { .name = w->name,
		.notify = birth->notify,
		.incarnation = l->incarnation,
		.named = birth->named,
		.payload = w->spec->payload,
		.payload_len = w->spec->payload_len };

	if (node != NULL)
		order.instance = sup_node_args(node, &order.instance_len);
	if (!spawner_make(&l->server->spawner, &order, fds[0], fds[1], &l->pid, &l->pidfd))
		return spawn_make(
		    birth_run, birth, fds[0], fds[1], w->plan.kind == PLAN_EXEC, &l->bank, &l->pid, &l->pidfd);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

static int
make_process(struct life *l)
{
	struct worker *w = l->worker;
	char notify[NOTIFY_NAME_MAX] = "";
	struct birth birth = { w->name, &w->plan, getpid(), &l->server->child_mask, l->server->dir, notify,
		l->incarnation, w->spec != NULL && w->spec->name[0] != '\0' };
	int fds[2] = { -1, -1 }, result = make_ends(l, fds);

	if (result < 0)
		return result;
	if (plan_linked(&w->plan))
		result = send_start(l);
	else if (w->plan.notify == STASH_NOTIFY_SD)
		result = notify_open(l);
	if (result == 0)
		result = notify_name(l, notify);
	if (result < 0) {
		close(fds[0]);
		close(fds[1]);
		return result;
	}
	result = give_birth(l, &birth, fds);
	if (result < 0)
		return result;
	STASH_POINT("sup_forked");
	return 0;
}

/* What was made of one that can't be watched.  It has touched nothing, but perhaps its slot has its pid. */
static void
undo(struct life *l)
{
	siginfo_t info;

	if (l->pid > 0) {
		(void)pidfd_send_signal(l->pidfd, SIGKILL, NULL, 0);
		(void)TEMP_FAILURE_RETRY(waitid(P_PIDFD, (id_t)l->pidfd, &info, WEXITED));
		unwatch(l);
	}
	if (l->pid > 0)
		reap_undone(l);
	else
		life_free(l);
}

struct life *
life_make(struct worker *w, uint64_t node, uint64_t start)
{
	struct life *l = life_create(w, node, start, ++w->incarnation);

	if (l == NULL)
		return NULL;
	if (make_process(l) == 0 && life_watch(l) == 0)
		return l;
	undo(l);
	return NULL;
}

static void
begin(struct worker *w)
{
	struct server *s = w->server;
	uint64_t node = w->node, start = w->start;
	struct life *l = ahead_take(w, start);

	if (l == NULL)
		l = life_make(w, node, start);
	w->start = 0;
	if (l == NULL) {
		stash__log(LOG_ERR, "%s: can't be started: %s", w->name, stash_errmsg());
		turn_failed(s, node, start, "system_limit");
		return;
	}
	w->now = l;
	note_with_keeper(l);
}

/* ---- GO ---- */

/* Whether a program without libstash lives, and has closed its socket, which its exec does. */
static bool
has_execed(const struct life *l)
{
	struct pollfd ends[] = { { .fd = l->pidfd, .events = POLLIN }, { .fd = l->control, .events = POLLIN } };

	return poll(ends, 2, 0) > 0 && ends[0].revents == 0 && (ends[1].revents & POLLHUP) != 0;
}

static bool
read_bell(const struct life *l, struct stash__bell_page *page)
{
	int fd = worker_file(l->worker, "bell", O_RDONLY);
	bool whole = fd >= 0 && stash__read_at(fd, page, sizeof(*page), 0) == (ssize_t)sizeof(*page);

	if (fd >= 0)
		close(fd);
	return whole;
}

bool
life_was_let_go(const struct life *l)
{
	struct stash__bell_page page;

	if (!plan_linked(&l->worker->plan))
		return has_execed(l);
	return read_bell(l, &page) && atomic_load(&page.incarnation) == l->incarnation;
}

bool
life_was_ready(const struct life *l)
{
	struct stash__bell_page page;

	return plan_linked(&l->worker->plan) && read_bell(l, &page) && atomic_load(&page.ready) == l->incarnation;
}

static void
let_go(struct life *l)
{
	bool linked = plan_linked(&l->worker->plan);
	struct stash_buf *buf;

	l->phase = LIFE_STARTING;
	monitor_went(l);
	if (!linked && program_begin(l) < 0) {
		stash__log(
		    LOG_ERR, "%s: killed, since nobody could write its state: %s", l->worker->name, stash_errmsg());
		(void)pidfd_send_signal(l->pidfd, SIGKILL, NULL, 0);
		return;
	}
	STASH_POINT("sup_before_go");
	buf = mail_begin(STASH__W_GO, 0);
	stash_buf_add_int(buf, l->worker->plan.dies_with_supervisor);
	life_say(l, buf, NULL, 0);
	if (linked) {
		mailroom_attach_all(l); /* first: what comes by a way may let it answer a client */
		ways_tell_all(l);
		monitor_catch_up(l->worker);
	}
	STASH_POINT("sup_after_go");
}

void
life_go_on(struct worker *w)
{
	/* With few descriptors left one doesn't begin before its predecessor's are free. */
	if (w->start != 0 && w->now == NULL && w->slot == SLOT_OPEN &&
	    (LIST_EMPTY(&w->dying) || files_for_both(w->server)))
		begin(w);
	if (!LIST_EMPTY(&w->dying))
		return;
	if (w->now != NULL && w->now->phase == LIFE_LOADING && !w->now->lost)
		let_go(w->now);
	else if (w->now == NULL && w->start == 0 && w->down_due)
		down_worker(w);
}

void
life_start(struct server *s, uint64_t node, uint64_t start, const char *path, const char *name)
{
	const struct sup_node *n = sup_find(s->machine, node);
	char slot_name[STASH_NAME_MAX + 1];
	struct worker *w;

	worker_slot_name(path, name, slot_name);
	w = n != NULL ? worker_get(s, slot_name) : NULL;
	if (w == NULL || worker_plan(w, n) < 0) {
		stash__log(LOG_ERR, "%s: can't be started: %s", path, stash_errmsg());
		turn_failed(s, node, start, "bad_plan");
		return;
	}
	w->node = node;
	w->start = start;
	w->down_due = false;
	worker_open(w);
	if (w->slot == SLOT_UNKNOWN) {
		w->start = 0;
		turn_failed(s, node, start, "system_limit");
		return;
	}
	life_go_on(w);
	ahead_make(s, n);
}

/* ---- signals ---- */

void
life_signal(struct server *s, uint64_t node, uint64_t start, int signal)
{
	struct worker *w = worker_find_node(s, node);

	if (w == NULL)
		return;
	if (w->start == start && w->node == node) {
		/* There is no process yet. */
		w->start = 0;
		turn_failed(s, node, start, "killed");
		return;
	}
	if (w->now == NULL || w->now->start != start || w->now->node != node || !life_runs(w->now))
		return;
	w->now->asked = true;
	/* One that waits for its go reads nothing but its socket. */
	if (signal == SIGTERM && plan_linked(&w->plan))
		life_say(w->now, mail_begin(STASH__W_STOP, 0), NULL, 0);
	w->now->unsent = signal;
	life_signal_again(w->now);
}

void
life_signal_again(struct life *l)
{
	if (l->unsent == 0 || !life_runs(l))
		return;
	if (pidfd_send_signal(l->pidfd, l->unsent, NULL, 0) < 0 && errno != ESRCH) {
		stash__log(LOG_ERR, "%s: process %d can't be sent %s: %s; trying again", l->worker->name, (int)l->pid,
		    l->unsent == SIGKILL ? "SIGKILL" : "SIGTERM", strerror(errno));
		return;
	}
	l->unsent = 0;
}

void
life_say(struct life *l, const struct stash_buf *buf, const int *fds, int nfds)
{
	int result = outbox_send(&l->outbox, buf, fds, nfds);

	if (result == 0 || result == STASH_E_DOWN)
		return;
	/* Without this message it would wait for ever, or work on what isn't so. */
	stash__log(LOG_ERR, "%s: can't be told: %s: killed", l->worker->name, stash_errmsg());
	(void)pidfd_send_signal(l->pidfd, SIGKILL, NULL, 0);
}

int
life_adopt(struct worker *w, uint64_t node, uint64_t start, uint64_t incarnation, pid_t pid, const int fds[LIFE_FDS])
{
	struct life *l = life_create(w, node, start, incarnation);

	if (l == NULL)
		return STASH_E_NOMEM;
	l->pid = pid;
	l->control = fds[0];
	l->pidfd = fds[1];
	l->log = fds[2];
	l->notify = fds[3];
	l->adopted = true;
	if (incarnation > w->incarnation)
		w->incarnation = incarnation;
	/* The newest one is the one that may go on; those before it are dead, or will be. */
	if (w->now != NULL && w->now->incarnation > incarnation) {
		LIST_INSERT_HEAD(&w->dying, l, link);
		return 0;
	}
	if (w->now != NULL)
		LIST_INSERT_HEAD(&w->dying, w->now, link);
	w->now = l;
	return 0;
}
