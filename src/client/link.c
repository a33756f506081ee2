/* SPDX-License-Identifier: ISC */
/*
 * link.c: the broker socket.
 * It is needed to open channels and to ask the supervisor; calls go on without it.  When it breaks, the client
 * connects to the next supervisor as soon as there is one, presents its channels and asks again what wasn't
 * answered.
 */
#include <bsd/string.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/info.h"
#include "base/sock.h"
#include "client/client.h"
#include "shm/bell.h"
#include "shm/slot.h"
#include "shm/wire.h"

#define RETRY_NS (10 * STASH__NS_PER_MS)

/* ---- connecting ---- */

/* A path that is too long for a socket address is reached by its directory's descriptor. */
static int
connect_to(int sock, const char *run_dir)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int dir = -1, result, n;

	n = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", run_dir, STASH__SOCKET_NAME);
	if (n >= (int)sizeof address.sun_path) {
		dir = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			return -1;
		snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir, STASH__SOCKET_NAME);
	}
	result = connect(sock, (struct sockaddr *)&address, sizeof address);
	if (dir >= 0) {
		int saved = errno;
		close(dir);
		errno = saved;
	}
	return result;
}

static int
say_hello(struct stash_client *c)
{
	struct stash_buf message;
	int result;

	stash__buf_init(&message, STASH__WIRE_MAX);
	c->hello = stash__link_compose(c, &message, STASH__B_HELLO);
	(void)stash_buf_add_int(&message, STASH__WIRE_VERSION);
	(void)stash_buf_add_text(&message, c->label);
	result = stash__link_send(c, &message, &c->bell, 1);
	stash__buf_fini(&message);
	return result;
}

static int
find_run_dir(struct stash_client *c)
{
	struct stash__info info;
	int result = stash__info_read(c->dir, &info);

	if (result == STASH_E_NOENT)
		return stash__fail(STASH_E_DOWN,
		    "no stashd on %s: there is no store (give its directory by -d or $STASH_DIR)", c->dir);
	if (result < 0)
		return result;
	free(c->run_dir);
	c->run_dir = strdup(info.run_dir);
	return c->run_dir != NULL ? STASH_OK : stash__fail(STASH_E_NOMEM, "no memory for a path");
}

static void
drop(struct stash_client *c)
{
	if (c->sock >= 0)
		close(c->sock);
	c->sock = -1;
	c->link = LINK_DOWN;
}

/* One try, without waiting for the answer. */
static int
try_connect(struct stash_client *c)
{
	int result = find_run_dir(c);

	if (result < 0)
		return result;
	c->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->sock < 0)
		return stash__fail_errno("cannot make a socket");
	if (connect_to(c->sock, c->run_dir) < 0) {
		if (errno == EAGAIN)
			result = stash__fail(STASH_E_BUSY, "too many connect to stashd on %s at this moment", c->dir);
		else if (errno == ECONNREFUSED || errno == ENOENT)
			result = stash__fail(STASH_E_DOWN, "no stashd runs on %s: start it", c->dir);
		else
			result = stash__fail_errno("cannot connect to stashd on %s", c->dir);
		drop(c);
		return result;
	}
	c->link = LINK_HELLO;
	result = stash__client_watch(c);
	if (result == STASH_OK)
		result = say_hello(c);
	if (result < 0)
		drop(c);
	/* Whoever took the connection is dead already; somebody listens, and the next one will take it. */
	if (result == STASH_E_DOWN)
		result = stash__fail(STASH_E_BUSY, "the supervisor of stashd on %s is being replaced", c->dir);
	return result;
}

/* The link is lost: from now on it is tried again and again. */
static void
lost(struct stash_client *c)
{
	struct asked *a;

	drop(c);
	c->lost_at = c->retry_at = stash__now_ns();
	c->nobody = false;
	TAILQ_FOREACH(a, &c->askeds, link)
		a->sent = false;
}

void
stash__link_close(struct stash_client *c)
{
	drop(c);
	c->hello_error = STASH_OK;
	stash__status_page_unmap((struct stash__status_page *)(uintptr_t)c->status);
	c->status = NULL;
}

int64_t
stash__link_due(const struct stash_client *c)
{
	return c->link == LINK_DOWN ? c->retry_at : INT64_MAX;
}

/* ---- out ---- */

uint64_t
stash__link_compose(struct stash_client *c, struct stash_buf *message, int type)
{
	uint64_t number = c->next_request++;

	(void)stash_buf_add_int(message, type);
	(void)stash_buf_add_int(message, (int64_t)number);
	return number;
}

int
stash__link_send(struct stash_client *c, const struct stash_buf *message, const int *fds, int nfds)
{
	const void *data;
	size_t len;
	int result = stash_buf_data(message, &data, &len);

	while (result == STASH_OK) {
		struct pollfd p = { .fd = c->sock, .events = POLLOUT };
		if (c->sock < 0)
			return stash__fail(STASH_E_DOWN, "the supervisor is being replaced");
		result = stash__sock_send(c->sock, data, len, fds, nfds);
		if (result != STASH_E_BUSY)
			break;
		(void)poll(&p, 1, 1000); /* the supervisor reads as long as it lives, and a dead one ends this */
		result = STASH_OK;
	}
	/* What it has said before its end is still to be read: then the link counts as lost. */
	return result;
}

/* To the next supervisor: that it was asked before. */
static int
send_again(struct stash_client *c, uint64_t number)
{
	struct stash_buf message;
	int result;

	stash__buf_init(&message, STASH__WIRE_MAX);
	(void)stash__link_compose(c, &message, STASH__B_AGAIN);
	(void)stash_buf_add_int(&message, (int64_t)number);
	result = stash__link_send(c, &message, NULL, 0);
	stash__buf_fini(&message);
	return result;
}

static void
ask_again(struct stash_client *c)
{
	struct asked *a;

	TAILQ_FOREACH(a, &c->askeds, link) {
		if (a->sent || a->done)
			continue;
		if ((a->ever && send_again(c, a->number) < 0) ||
		    stash__link_send(c, &a->message, &a->fd, a->fd >= 0 ? 1 : 0) < 0)
			return;
		a->sent = a->ever = true;
	}
}

/* ---- in ---- */

/* What is received behind it has messages of its own, so the sentence is kept. */
static void
refused(struct stash_client *c, int error, const char *why)
{
	c->hello_error = error;
	strlcpy(c->hello_why, why, sizeof c->hello_why);
}

/* A stashd that was stopped and started again has a page of its own; nobody writes to the former one any more. */
static void
take_status(struct stash_client *c, int fd)
{
	struct stash__status_page *page = stash__status_page_map(fd, false);

	if (page == NULL)
		return;
	stash__status_page_unmap((struct stash__status_page *)(uintptr_t)c->status);
	c->status = page;
}

static bool
says_full(const struct stash_client *c)
{
	return c->status != NULL && atomic_load_explicit(&c->status->store_full, memory_order_relaxed) != 0;
}

bool
stash__link_full(struct stash_client *c)
{
	if (!says_full(c))
		return false;
	/* Whoever sends nothing any more would not learn either that the page is the one of a stashd that has ended. */
	stash__link_run(c);
	return says_full(c);
}

static void
on_welcome(struct stash_client *c, struct stash_view *v, int *fds, int nfds)
{
	int error = (int)stash_view_int(v);
	const char *text = stash_view_text(v);
	int64_t version = stash_view_int(v);
	size_t id_len = 0;
	const void *id = stash_view_bytes(v, &id_len);
	bool lines;

	c->supervisor = (int32_t)stash_view_int(v);
	c->spin_ns = stash_view_int(v);
	if (error < 0) {
		refused(c, error, text);
		return;
	}
	lines = v->left > 0 && stash_view_int(v) == 1;
	if (v->error != 0 || version != STASH__WIRE_VERSION || id_len != STASH__ID || nfds < 1) {
		(void)stash__fail(
		    STASH_E_FORMAT, "stashd on %s speaks another version of the socket's protocol", c->dir);
		refused(c, STASH_E_FORMAT, stash_errmsg());
		return;
	}
	if (lines && stash__lines_begin(c) < 0) {
		refused(c, STASH_E_SYSTEM, stash_errmsg());
		return;
	}
	c->has_lines = lines;
	memcpy(c->store_id, id, STASH__ID);
	take_status(c, fds[0]);
	c->hello_error = STASH_OK;
	c->link = LINK_UP;
	stash__route_relink(c);
	ask_again(c);
}

/* The answer to a request, if that one still waits. */
static void
on_answer(struct stash_client *c, int type, uint64_t number, struct stash_view *v, int *fds, int nfds)
{
	struct asked *a;

	TAILQ_FOREACH(a, &c->askeds, link)
		if (a->number == number && !a->done)
			break;
	if (a == NULL)
		return;
	a->result = a->fn(a->arg, type, v, fds, nfds);
	a->done = a->result <= 0;
	if (a->result < 0)
		strlcpy(a->why, stash_errmsg(), sizeof a->why);
	if (a->result < 0)
		strlcpy(a->term, stash_errterm(), sizeof a->term);
}

static void
on_message(struct stash_client *c, size_t len, int *fds, int nfds)
{
	struct stash_view v;
	int type;
	uint64_t number;

	stash_view_init(&v, c->wire, len);
	type = (int)stash_view_int(&v);
	number = (uint64_t)stash_view_int(&v);
	if (type == STASH__B_WELCOME) {
		on_welcome(c, &v, fds, nfds);
	} else if (type == STASH__B_CHANNEL) {
		stash__route_answer(c, number, &v, fds, nfds);
	} else if (type == STASH__B_DOWN) {
		size_t id_len = 0;
		const void *id = stash_view_bytes(&v, &id_len);
		int error = (int)stash_view_int(&v);
		const char *text = stash_view_text(&v);
		if (v.error == 0 && id_len == STASH__ID)
			stash__route_down(c, id, error, text);
	} else if (type == STASH__B_FREED) {
		stash__route_freed(c, stash_view_text(&v));
	} else
		on_answer(c, type, number, &v, fds, nfds);
}

void
stash__link_run(struct stash_client *c)
{
	int fds[STASH__WIRE_FDS], nfds = 0, result;
	size_t len = 0;

	if (c->link == LINK_DOWN) {
		if (stash__now_ns() < c->retry_at)
			return;
		result = try_connect(c);
		c->nobody = result == STASH_E_DOWN;
		if (result < 0)
			c->retry_at = stash__now_ns() + RETRY_NS;
		return;
	}
	while ((result = stash__sock_recv(
		    c->sock, c->wire, STASH__WIRE_MAX, &len, fds, STASH__WIRE_FDS, &nfds, MSG_DONTWAIT)) == STASH_OK) {
		on_message(c, len, fds, nfds);
		for (int i = 0; i < nfds; i++)
			if (fds[i] >= 0)
				close(fds[i]);
		if (c->sock < 0)
			return;
	}
	if (result != STASH_E_PENDING)
		lost(c);
}

/* ---- waiting for it ---- */

static bool
is_up(struct stash_client *c, void *arg)
{
	(void)arg;
	/* One that took the connection and ended before it answered has no follower, if nobody listens any more. */
	return c->link == LINK_UP || c->hello_error < 0 || (c->link == LINK_DOWN && c->nobody);
}

int
stash__link_open(struct stash_client *c, int64_t deadline)
{
	int result;

	while ((result = try_connect(c)) == STASH_E_BUSY && stash__now_ns() < deadline)
		(void)poll(
		    NULL, 0, 1); /* its queue is full, or a supervisor just died: no descriptor tells of either */
	if (result < 0)
		return result;
	result = stash__wait(c, deadline, is_up, NULL);
	if (c->hello_error < 0)
		return stash__fail(c->hello_error, "%s", c->hello_why);
	if (result < 0 || c->link != LINK_UP)
		return stash__fail(
		    STASH_E_DOWN, "stashd on %s doesn't answer: its supervisor is being replaced, or stopped", c->dir);
	return STASH_OK;
}

/* Questions, which change nothing. */
static bool
only_asks(int type)
{
	switch (type) {
	case STASH__B_WHEREIS:
	case STASH__B_WHICH:
	case STASH__B_SCAN:
	case STASH__B_LIST:
	case STASH__B_PING:
	case STASH__B_ABOUT:
	case STASH__B_AWAIT:
	case STASH__B_COUNT_CHILDREN:
	case STASH__B_GET_CHILDSPEC:
		return true;
	default:
		return false;
	}
}

/*
 * Answered, or nobody will: without a listening socket there is no stashd.  If the request was sent, the next one may
 * come soon and can say whether it was done; a mere question isn't worth the wait.
 */
static bool
is_answered(struct stash_client *c, void *arg)
{
	const struct asked *a = arg;

	if (a->done)
		return true;
	return c->link == LINK_DOWN && c->nobody &&
	    (!a->ever || a->question || stash__now_ns() - c->lost_at >= c->wait_ns);
}

static void
cancel(struct stash_client *c, uint64_t number)
{
	struct stash_buf message;

	stash__buf_init(&message, STASH__WIRE_MAX);
	(void)stash__link_compose(c, &message, STASH__B_CANCEL);
	(void)stash_buf_add_int(&message, (int64_t)number);
	(void)stash__link_send(c, &message, NULL, 0);
	stash__buf_fini(&message);
}

static int
unanswered(const struct stash_client *c, const struct asked *a, int timeout_ms)
{
	if (c->link != LINK_DOWN || !c->nobody)
		return stash__fail(
		    STASH_E_TIMEDOUT, "the supervisor of %s didn't answer within %d ms", c->dir, timeout_ms);
	if (a->ever && !a->question)
		return stash__fail(STASH_E_TIMEDOUT,
		    "stashd on %s has ended before it answered: whether it was done isn't known", c->dir);
	return stash__fail(STASH_E_DOWN, "no stashd runs on %s: start it", c->dir);
}

int
stash__client_request(struct stash_client *c, int type, const struct stash_buf *items, int timeout_ms,
    int (*fn)(void *arg, int type, struct stash_view *, int *fds, int nfds), void *arg)
{
	return stash__client_request_with(c, type, items, -1, timeout_ms, fn, arg);
}

int
stash__client_request_with(struct stash_client *c, int type, const struct stash_buf *items, int fd, int timeout_ms,
    int (*fn)(void *arg, int type, struct stash_view *, int *fds, int nfds), void *arg)
{
	struct asked a = { .fd = fd, .question = only_asks(type), .fn = fn, .arg = arg };
	const void *data = NULL;
	size_t len = 0;
	int result;

	stash__buf_init(&a.message, STASH__WIRE_MAX);
	a.number = stash__link_compose(c, &a.message, type);
	result = items != NULL ? stash_buf_data(items, &data, &len) : STASH_OK;
	if (result == STASH_OK && len > 0)
		result = stash_buf_add(&a.message, data, len);
	if (result == STASH_OK) {
		TAILQ_INSERT_TAIL(&c->askeds, &a, link);
		if (c->link == LINK_UP)
			ask_again(c);
		c->nobody = false; /* a new stashd may be there: it is tried at least once */
		(void)stash__wait(c, stash__deadline_ns(timeout_ms), is_answered, &a);
		TAILQ_REMOVE(&c->askeds, &a, link);
		if (!a.done) {
			cancel(c, a.number);
			result = unanswered(c, &a, timeout_ms);
		} else if (a.result < 0) {
			result = stash__fail_term(a.result, a.term, "%s", a.why);
		}
	}
	stash__buf_fini(&a.message);
	return result;
}
