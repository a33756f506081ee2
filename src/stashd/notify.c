/* SPDX-License-Identifier: ISC */
/*
 * notify.c: programs that say by sd_notify's protocol that they are ready.  Each incarnation has a socket of its own,
 * so that who speaks need not be looked up: a helper that has said READY=1 may be gone by the time it is read, and
 * what a dead incarnation's helper says reaches nobody.  The kernel finds the socket's name, which is in no file
 * system and ends with it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "stashd/server.h"

#define MESSAGE_MAX 4096
#define FDS_MAX 64  /* that ride along, and are closed: a barrier waits for that */
#define TURN_MAX 64 /* messages in a row */
#define STATUS_MAX 200

int
notify_open(struct life *l)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0) {
		int result = stash__fail_errno("%s: can't make the socket of its notifications", l->worker->name);

		if (fd >= 0)
			close(fd);
		return result;
	}
	l->notify = fd;
	return 0;
}

int
notify_name(const struct life *l, char name[NOTIFY_NAME_MAX])
{
	struct sockaddr_un address = { 0 };
	socklen_t len = sizeof(address);
	int n;

	name[0] = '\0';
	if (l->notify < 0)
		return 0;
	if (getsockname(l->notify, (struct sockaddr *)&address, &len) < 0)
		return stash__fail_errno("%s: the socket of its notifications", l->worker->name);
	n = (int)(len - offsetof(struct sockaddr_un, sun_path)) - 1;
	if (n <= 0 || n + 2 > NOTIFY_NAME_MAX)
		return stash__fail(STASH_E_SYSTEM, "%s: the socket of its notifications has no name", l->worker->name);
	snprintf(name, NOTIFY_NAME_MAX, "@%.*s", n, address.sun_path + 1);
	return 0;
}

/* ---- what it says ---- */

/* Longer than start_timeout, from now on. */
static void
extend(struct life *l, const char *text)
{
	int64_t us;

	if (l->phase != LIFE_STARTING || stash_parse_int(text, 1, INT64_MAX / 2000, &us) < 0)
		return;
	turn_extend(l->server, l->node, l->start, stash__now_ns() + us * 1000);
}

static void
on_line(struct life *l, const char *line)
{
	char text[STATUS_MAX];

	if (strcmp(line, "READY=1") == 0) {
		if (l->phase != LIFE_STARTING || l->answer != LIFE_NO_ANSWER)
			return;
		l->answer = 0;
		l->phase = LIFE_READY;
		turn_ready(l->server, l->node, l->start);
	} else if (strncmp(line, "EXTEND_TIMEOUT_USEC=", 20) == 0) {
		extend(l, line + 20);
	} else if (strncmp(line, "STATUS=", 7) == 0) {
		(void)stash__escape(text, sizeof(text), line + 7, strlen(line + 7));
		stash__log(LOG_INFO, "%s: %s", l->worker->name, text);
	}
}

static void
on_message(struct life *l, char *text)
{
	char *line;

	while ((line = strsep(&text, "\n")) != NULL)
		on_line(l, line);
}

/* Whether the sender is the program's user, or root; descriptors are closed in any case. */
static bool
may_speak(struct msghdr *msg)
{
	bool may = false;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		const unsigned char *data = CMSG_DATA(c);

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS) {
			struct ucred cred;

			memcpy(&cred, data, sizeof(cred));
			may = cred.uid == 0 || cred.uid == geteuid();
		}
		if (c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
			close(fd);
		}
	}
	return may;
}

void
notify_read(struct life *l)
{
	char text[MESSAGE_MAX];
	_Alignas(
	    struct cmsghdr) unsigned char control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(FDS_MAX * sizeof(int))];

	for (int i = 0; l->notify >= 0 && i < TURN_MAX; i++) {
		struct iovec part = { text, sizeof(text) - 1 };
		struct msghdr msg = {
			.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
		};
		ssize_t n = recvmsg(l->notify, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n < 0)
			return;
		text[n] = '\0';
		if (may_speak(&msg) && (msg.msg_flags & MSG_TRUNC) == 0)
			on_message(l, text);
	}
}

/* ---- its life ---- */

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	notify_read(arg);
}

int
notify_watch(struct life *l)
{
	if (l->notify < 0)
		return 0;
	event_assign(&l->notified, l->server->events, l->notify, EV_READ | EV_PERSIST, on_readable, l);
	return event_add(&l->notified, NULL);
}

void
notify_close(struct life *l)
{
	if (event_initialized(&l->notified))
		event_del(&l->notified);
	if (l->notify >= 0)
		close(l->notify);
	l->notify = -1;
}
