/* SPDX-License-Identifier: ISC */
/*
 * keeplink.c: what the supervisor tells the keeper and asks of it.  The keeper always reads, so that waiting for room
 * in this socket is short; if it isn't, the supervisor says so and goes on.
 */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "shm/wire.h"
#include "stashd/keeplink.h"
#include "stashd/mail.h"

#define WAIT_MS 5000

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
send_it(struct keeplink *k, const struct stash_buf *buf, const int *fds, int nfds)
{
	int result;

	if (k->fd < 0)
		return;
	result = mail_send_wait(k->fd, buf, fds, nfds, WAIT_MS);
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
}

/* 1: the last one was read. */
static int
fetched(struct mail *m, keep_item_fn *fn, void *arg, uint64_t *starts)
{
	if (m->type == STASH__K_END) {
		*starts = (uint64_t)stash_view_int(&m->view);
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
keep_fetch(struct keeplink *k, keep_item_fn *fn, void *arg, uint64_t *starts)
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
		result = fetched(&m, fn, arg, starts);
		mail_done(&m);
	}
	return result == 1 ? 0 : result;
}

static void
on_mail(struct keeplink *k, struct mail *m)
{
	int64_t pid, state, status;

	if (m->type != STASH__K_STATUSED)
		return;
	pid = stash__view_range(&m->view, 1, INT32_MAX);
	state = stash__view_range(&m->view, 0, 2);
	status = stash__view_range(&m->view, -1, INT32_MAX);
	if (stash_view_end(&m->view) == 0)
		k->statused(k->arg, m->number, (pid_t)pid, (int)state, (int)status);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct keeplink *k = arg;
	struct mail m;
	int result;

	(void)fd;
	(void)what;
	while (k->fd >= 0 && (result = mail_recv(k->fd, &m)) != STASH_E_PENDING) {
		if (result < 0) {
			lose(k);
			return;
		}
		on_mail(k, &m);
		mail_done(&m);
	}
}

int
keep_watch(struct keeplink *k, struct event_base *events)
{
	if (k->fd < 0)
		return 0;
	event_assign(&k->readable, events, k->fd, EV_READ | EV_PERSIST, on_readable, k);
	if (event_add(&k->readable, NULL) != 0)
		return stash__fail(STASH_E_SYSTEM, "can't watch the keeper");
	k->watching = true;
	return 0;
}

void
keep_close(struct keeplink *k)
{
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
keep_status(struct keeplink *k, uint64_t number, pid_t pid)
{
	struct stash_buf *buf = mail_begin(STASH__K_STATUS, number);

	stash_buf_add_int(buf, pid);
	send_it(k, buf, NULL, 0);
	if (k->fd < 0)
		k->statused(k->arg, number, pid, 2, -1);
}

void
keep_reap(struct keeplink *k, pid_t pid)
{
	struct stash_buf *buf = mail_begin(STASH__K_REAP, 0);

	stash_buf_add_int(buf, pid);
	send_it(k, buf, NULL, 0);
}

void
keep_beat(struct keeplink *k)
{
	send_it(k, mail_begin(STASH__K_BEAT, 0), NULL, 0);
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
