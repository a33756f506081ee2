/* SPDX-License-Identifier: ISC */
/*
 * One message with descriptors; see sock.h. An empty message can't be told from
 * the end of a SEQPACKET socket: none is ever sent, and one that comes in is
 * taken for the end.
 */
#include <sys/socket.h>
#include <sys/uio.h>

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/sock.h"

/* Room for the descriptors of one message, aligned as the kernel wants it. */
union control {
	struct cmsghdr header;
	char room[CMSG_SPACE(STASH__SOCK_FDS * sizeof(int))];
};

static int
send_error(size_t len)
{
	switch (errno) {
	case EAGAIN:
	case ENOBUFS:
	case ETOOMANYREFS:
		return stash__fail(STASH_E_BUSY, "socket: the other side doesn't read");
	case EPIPE:
	case ECONNRESET:
	case ECONNREFUSED:
	case ENOTCONN:
		return stash__fail(STASH_E_DOWN, "socket: the other side is gone");
	case EMSGSIZE:
		return stash__fail(STASH_E_TOOBIG, "socket: %zu bytes are too many for one message", len);
	default:
		return stash__fail_errno("socket: can't send %zu bytes", len);
	}
}

int
stash__sock_send(int fd, const void *data, size_t len, const int *fds, int nfds)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control control;
	ssize_t n;

	if (data == NULL || len == 0 || nfds < 0 || nfds > STASH__SOCK_FDS || (nfds > 0 && fds == NULL))
		return stash__fail(STASH_E_INVAL, "socket: a message of %zu bytes and %d descriptors", len, nfds);
	if (nfds > 0) {
		memset(&control, 0, sizeof(control));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, (size_t)nfds * sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
	}
	do
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n == -1 && errno == EINTR);
	return n == -1 ? send_error(len) : 0;
}

static void
close_all(const int *fds, int nfds)
{
	int i;

	for (i = 0; i < nfds; i++)
		close(fds[i]);
}

/* All descriptors of a message, into room for STASH__SOCK_FDS of them; returns how many. */
static int
take_fds(struct msghdr *msg, int *fds)
{
	struct cmsghdr *header;
	size_t bytes = 0;

	for (header = CMSG_FIRSTHDR(msg); header != NULL; header = CMSG_NXTHDR(msg, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		/* The kernel puts no more into the control room than it has. */
		memcpy((char *)fds + bytes, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
		bytes += header->cmsg_len - CMSG_LEN(0);
	}
	return (int)(bytes / sizeof(int));
}

/* recvmsg that is done again: after a signal, and after the news that the other side closed without having read all of
 * ours, which the kernel gives before the messages that it had still sent. */
static ssize_t
receive(int fd, struct msghdr *msg, int flags)
{
	ssize_t n;
	size_t room = msg->msg_controllen;

	do {
		msg->msg_controllen = room;
		n = recvmsg(fd, msg, flags | MSG_CMSG_CLOEXEC);
	} while (n == -1 && (errno == EINTR || errno == ECONNRESET));
	return n;
}

static int
recv_error(void)
{
	switch (errno) {
	case EAGAIN:
		return stash__fail(STASH_E_PENDING, "socket: no message is there");
	case ENOTCONN:
		return stash__fail(STASH_E_DOWN, "socket: the other side is gone");
	default:
		return stash__fail_errno("socket: can't receive");
	}
}

int
stash__sock_recv(int fd, void *data, size_t size, size_t *len, int *fds, int maxfds, int *nfds, int flags)
{
	int got[STASH__SOCK_FDS], ngot;
	union control control;
	struct iovec iov = { .iov_base = data, .iov_len = size };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	ssize_t n;

	*len = 0;
	if (nfds != NULL)
		*nfds = 0;
	n = receive(fd, &msg, flags);
	if (n == -1)
		return recv_error();
	ngot = take_fds(&msg, got);
	if (n == 0 || ngot > maxfds || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
		close_all(got, ngot);
	if (n == 0)
		return stash__fail(STASH_E_DOWN, "socket: the other side is gone");
	/* Cut before the room was full: it is this process that can't open more. */
	if ((msg.msg_flags & MSG_CTRUNC) != 0 && ngot < STASH__SOCK_FDS)
		return stash__fail(STASH_E_SYSTEM,
		    "socket: a message with more descriptors than this process may still "
		    "open (see ulimit -n)");
	if ((msg.msg_flags & MSG_CTRUNC) != 0)
		return stash__fail(STASH_E_PROTO, "socket: a message with more than %d descriptors", STASH__SOCK_FDS);
	if ((msg.msg_flags & MSG_TRUNC) != 0)
		return stash__fail(STASH_E_PROTO, "socket: a message of more than %zu bytes", size);
	if (ngot > maxfds)
		return stash__fail(
		    STASH_E_PROTO, "socket: a message with %d descriptors, %d are expected", ngot, maxfds);
	if (ngot > 0)
		memcpy(fds, got, (size_t)ngot * sizeof(int));
	*len = (size_t)n;
	if (nfds != NULL)
		*nfds = ngot;
	return 0;
}
