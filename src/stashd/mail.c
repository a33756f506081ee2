/* SPDX-License-Identifier: ISC */
/*
 * mail.c: sending and receiving messages.  A process of stashd has one thread, so one buffer to write in is enough, and
 * a few to read in: handling one message may lead to reading another socket.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/error.h"
#include "shm/wire.h"
#include "stashd/mail.h"

#define DEPTH 4

static struct stash_buf outgoing;
static unsigned char *incoming[DEPTH];
static int depth; /* messages in hand */

struct stash_buf *
mail_begin(int64_t type, uint64_t number)
{
	if (outgoing.limit == 0)
		stash__buf_init(&outgoing, STASH__WIRE_MAX);
	stash__buf_reset(&outgoing);
	stash_buf_add_int(&outgoing, type);
	stash_buf_add_int(&outgoing, (int64_t)number);
	return &outgoing;
}

void
mail_add_result(struct stash_buf *buf, int error)
{
	stash_buf_add_int(buf, error);
	stash_buf_add_text(buf, error < 0 ? stash_errmsg() : "");
}

int
mail_send(int fd, const struct stash_buf *buf, const int *fds, int nfds)
{
	const void *data;
	size_t len;
	int result = stash_buf_data(buf, &data, &len);

	if (result < 0)
		return stash__fail(result, "a message can't be made: %s", stash_strerror(result));
	return stash__sock_send(fd, data, len, fds, nfds);
}

/* Room in the socket, or a short while: the kernel may lack descriptors in flight, which poll doesn't tell. */
static void
wait_room(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	struct timespec pause = { .tv_nsec = 200 * 1000 };

	if (poll(&p, 1, 20) > 0)
		nanosleep(&pause, NULL);
}

int
mail_send_wait(int fd, const struct stash_buf *buf, const int *fds, int nfds, int timeout_ms)
{
	int64_t deadline = stash__deadline_ns(timeout_ms);
	int result;

	while ((result = mail_send(fd, buf, fds, nfds)) == STASH_E_BUSY) {
		if (stash__now_ns() >= deadline)
			return stash__fail(STASH_E_TIMEDOUT, "the other side has not read for %d ms", timeout_ms);
		wait_room(fd);
	}
	return result;
}

int
mail_recv(int fd, struct mail *m)
{
	size_t len;
	int result;

	STASH_ASSERT(depth < DEPTH);
	if (incoming[depth] == NULL && (incoming[depth] = malloc(STASH__WIRE_MAX)) == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for messages");
	memset(m, 0, sizeof(*m));
	result = stash__sock_recv(
	    fd, incoming[depth], STASH__WIRE_MAX, &len, m->fds, STASH__SOCK_FDS, &m->nfds, MSG_DONTWAIT);
	if (result < 0)
		return result;
	stash_view_init(&m->view, incoming[depth++], len);
	m->type = stash_view_int(&m->view);
	m->number = (uint64_t)stash_view_int(&m->view);
	if (m->view.error == 0)
		return 0;
	mail_done(m);
	return stash__fail(STASH_E_PROTO, "a message of %zu bytes is none", len);
}

int
mail_take_fd(struct mail *m, int i)
{
	int fd = i < m->nfds ? m->fds[i] : -1;

	if (fd >= 0)
		m->fds[i] = -1;
	return fd;
}

void
mail_done(struct mail *m)
{
	for (int i = 0; i < m->nfds; i++) {
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	}
	m->nfds = 0;
	depth--;
}

int
mail_wait(int fd, int64_t deadline_ns)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n;

	do
		n = poll(&p, 1, stash__left_ms(deadline_ns));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return stash__fail_errno("can't wait for a message");
	return n > 0 ? 0 : stash__fail(STASH_E_TIMEDOUT, "no message has come");
}
