/* SPDX-License-Identifier: ISC */
/*
 * keeplink.c: what the supervisor tells the keeper and asks of it.  The keeper does one thing after the other, and
 * reads nothing while it waits for room for an answer; so whoever waits here for room takes answers meanwhile, else
 * both would wait for each other.  They are told a little later, since the caller is in the midst of something.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "shm/wire.h"
#include "stashd/keeplink.h"
#include "stashd/mail.h"
#include "stashd/server.h"

#define WAIT_MS 5000

struct keep_answer {
	STAILQ_ENTRY(keep_answer) link;
	uint64_t number;
	pid_t pid; /* 0: it is the answer to keep_reexec() */
	int state, status;
	int error;
	char *text, *version;
	uint64_t generation;
};

static void
free_answer(struct keep_answer *a)
{
	free(a->text);
	free(a->version);
	free(a);
}

static void
lose(struct keeplink *k)
{
	if (k->fd < 0)
		return;
	if (k->watching)
		event_del(&k->readable);
	k->watching = false;
	close(k->fd);
	k->fd = -1;
	if (k->lost != NULL)
		k->lost(k->arg);
}

static void
read_reexeced(struct keep_answer *a, struct mail *m)
{
	a->error = (int)stash__view_range(&m->view, INT32_MIN, 0);
	a->text = strdup(stash_view_text(&m->view));
	if (a->error != 0)
		return;
	a->version = strdup(stash_view_text(&m->view));
	a->generation = (uint64_t)stash__view_range(&m->view, 0, INT64_MAX);
}

static void
read_statused(struct keep_answer *a, struct mail *m)
{
	a->pid = (pid_t)stash__view_range(&m->view, 1, INT32_MAX);
	a->state = (int)stash__view_range(&m->view, 0, 2);
	a->status = (int)stash__view_range(&m->view, -1, INT32_MAX);
}

/* NULL: it is none. */
static struct keep_answer *
answer_of(struct mail *m)
{
	struct keep_answer *a;

	if (m->type != STASH__K_STATUSED && m->type != STASH__K_REEXECED)
		return NULL;
	a = calloc(1, sizeof(*a));
	/* It comes once, and somebody waits for it: the next supervisor asks itself. */
	if (a == NULL)
		server_give_up("no memory for what the keeper answers");
	a->number = m->number;
	if (m->type == STASH__K_REEXECED)
		read_reexeced(a, m);
	else
		read_statused(a, m);
	if (stash_view_end(&m->view) == 0)
		return a;
	free_answer(a);
	return NULL;
}

static void
tell_answer(struct keeplink *k, const struct keep_answer *a)
{
	if (a->pid != 0)
		k->statused(k->arg, a->number, a->pid, a->state, a->status);
	else
		k->reexeced(k->arg, a->number, a->error, a->text != NULL ? a->text : "",
		    a->version != NULL ? a->version : "", a->generation);
}

/* All that is there; 0, or the socket's error. */
static int
read_answers(struct keeplink *k)
{
	struct keep_answer *a;
	struct mail m;
	int result;

	while ((result = mail_recv(k->fd, &m)) == 0) {
		a = answer_of(&m);
		if (a != NULL)
			STAILQ_INSERT_TAIL(&k->early, a, link);
		mail_done(&m);
	}
	return result == STASH_E_PENDING ? 0 : result;
}

static void
tell_answers(struct keeplink *k)
{
	struct keep_answer *a;

	while ((a = STAILQ_FIRST(&k->early)) != NULL) {
		STAILQ_REMOVE_HEAD(&k->early, link);
		tell_answer(k, a);
		free_answer(a);
	}
}

/* Waits for room, and reads. */
static int
send_reading(struct keeplink *k, const struct stash_buf *buf, const int *fds, int nfds)
{
	int64_t deadline = stash__deadline_ns(WAIT_MS);
	struct pollfd p = { .fd = k->fd, .events = POLLIN | POLLOUT };
	int result;

	while ((result = mail_send(k->fd, buf, fds, nfds)) == STASH_E_BUSY) {
		if (stash__now_ns() >= deadline)
			return stash__fail(STASH_E_TIMEDOUT, "it has not read for %d ms", WAIT_MS);
		(void)poll(&p, 1, 20);
		if (k->watching && (result = read_answers(k)) < 0)
			return result;
	}
	if (!STAILQ_EMPTY(&k->early))
		event_active(&k->answers, EV_TIMEOUT, 0);
	return result;
}

static void
send_it(struct keeplink *k, const struct stash_buf *buf, const int *fds, int nfds)
{
	int result;

	if (k->fd < 0)
		return;
	result = send_reading(k, buf, fds, nfds);
	if (result == STASH_E_DOWN)
		lose(k);
	else if (result < 0)
		stash__log(LOG_ALERT, "can't tell the keeper: %s", stash_errmsg());
}

void
keep_open(struct keeplink *k, int fd)
{
	memset(k, 0, sizeof(*k));
	k->fd = fd;
	STAILQ_INIT(&k->early);
}

/* 1: the last one was read. */
static int
fetched(struct mail *m, keep_item_fn *fn, void *arg, bool *begun)
{
	if (m->type == STASH__K_END) {
		(void)stash_view_int(&m->view); /* starts */
		if (stash_view_end(&m->view) < 0)
			*begun = stash__view_range(&m->view, 0, 1) != 0;
		return stash_view_end(&m->view) < 0 ? stash__fail(STASH_E_PROTO, "the keeper's list has no end") : 1;
	}
	if (m->type == STASH__K_ITEM) {
		const char *key = stash_view_text(&m->view);
		pid_t pid = (pid_t)stash__view_range(&m->view, 0, INT32_MAX);

		if (stash_view_end(&m->view) == 0)
			fn(arg, key, pid, m->fds, m->nfds);
	}
	return 0;
}

int
keep_fetch(struct keeplink *k, keep_item_fn *fn, void *arg, bool *begun)
{
	int64_t deadline = stash__deadline_ns(WAIT_MS);
	struct mail m;
	int result = mail_send_wait(k->fd, mail_begin(STASH__K_FETCH, 0), NULL, 0, WAIT_MS);

	while (result == 0) {
		result = mail_recv(k->fd, &m);
		if (result == STASH_E_PENDING) {
			result = mail_wait(k->fd, deadline);
			continue;
		}
		if (result < 0)
			break;
		result = fetched(&m, fn, arg, begun);
		mail_done(&m);
	}
	return result == 1 ? 0 : result;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct keeplink *k = arg;
	int result = read_answers(k);

	(void)fd;
	(void)what;
	tell_answers(k);
	if (result < 0)
		lose(k);
}

static void
on_answers(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tell_answers(arg);
}

int
keep_watch(struct keeplink *k, struct event_base *events)
{
	if (k->fd < 0)
		return 0;
	evtimer_assign(&k->answers, events, on_answers, k);
	event_assign(&k->readable, events, k->fd, EV_READ | EV_PERSIST, on_readable, k);
	if (event_add(&k->readable, NULL) != 0)
		return stash__fail(STASH_E_SYSTEM, "can't watch the keeper");
	k->watching = true;
	return 0;
}

void
keep_close(struct keeplink *k)
{
	struct keep_answer *a;

	if (event_initialized(&k->answers))
		event_del(&k->answers);
	while ((a = STAILQ_FIRST(&k->early)) != NULL) {
		STAILQ_REMOVE_HEAD(&k->early, link);
		free_answer(a);
	}
	k->lost = NULL;
	lose(k);
}

void
keep_store(struct keeplink *k, const char *key, pid_t pid, const int *fds, int nfds)
{
	struct stash_buf *buf = mail_begin(STASH__K_STORE, 0);

	stash_buf_add_text(buf, key);
	stash_buf_add_int(buf, pid);
	send_it(k, buf, fds, nfds);
}

void
keep_drop(struct keeplink *k, const char *key)
{
	struct stash_buf *buf = mail_begin(STASH__K_DROP, 0);

	stash_buf_add_text(buf, key);
	send_it(k, buf, NULL, 0);
}

void
keep_status(struct keeplink *k, uint64_t number, const char *key, pid_t pid)
{
	struct stash_buf *buf = mail_begin(STASH__K_STATUS, number);

	stash_buf_add_text(buf, key);
	stash_buf_add_int(buf, pid);
	send_it(k, buf, NULL, 0);
	if (k->fd < 0)
		k->statused(k->arg, number, pid, 2, -1);
}

void
keep_reap(struct keeplink *k, const char *key, pid_t pid)
{
	struct stash_buf *buf = mail_begin(STASH__K_REAP, 0);

	stash_buf_add_text(buf, key);
	stash_buf_add_int(buf, pid);
	send_it(k, buf, NULL, 0);
}

void
keep_beat(struct keeplink *k)
{
	send_it(k, mail_begin(STASH__K_BEAT, 0), NULL, 0);
}

void
keep_reexec(struct keeplink *k, uint64_t number)
{
	send_it(k, mail_begin(STASH__K_REEXEC, number), NULL, 0);
}

void
keep_yield(struct keeplink *k)
{
	send_it(k, mail_begin(STASH__K_YIELD, 0), NULL, 0);
}

void
keep_settled(struct keeplink *k)
{
	send_it(k, mail_begin(STASH__K_SETTLED, 0), NULL, 0);
}

void
keep_over(struct keeplink *k, int result, const char *text, const char *term)
{
	struct stash_buf *buf = mail_begin(STASH__K_OVER, 0);

	stash_buf_add_int(buf, result);
	stash_buf_add_text(buf, text);
	stash_buf_add_text(buf, term);
	send_it(k, buf, NULL, 0);
}
