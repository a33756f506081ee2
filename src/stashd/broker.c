/* SPDX-License-Identifier: ISC */
/*
 * broker.c: the socket by which clients come, and who may.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "stashd/server.h"

#define BACKLOG 1024
#define ACCEPT_TURN 64

/* Bound by way of the directory's descriptor, so that the path may be as long as it likes. */
static int
bind_socket(struct server *s, int fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	bool shared = access_any(&s->config->access);
	struct stat st;
	mode_t mask;
	int result;

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" STASH__SOCKET_NAME, s->run_fd);
	/* Whoever has the directory's lock owns the name; but what isn't an old socket of ours is somebody's. */
	if (fstatat(s->run_fd, STASH__SOCKET_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (!S_ISSOCK(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != 0)))
		return stash__fail(STASH_E_ACCES,
		    "%s/" STASH__SOCKET_NAME ": is no socket of stashd's: look whose it is, and remove it", s->run_dir);
	if (unlinkat(s->run_fd, STASH__SOCKET_NAME, 0) < 0 && errno != ENOENT)
		return stash__fail_errno("%s/" STASH__SOCKET_NAME ": can't be replaced", s->run_dir);
	/* With users from outside anybody may ask; credentials decide. */
	mask = umask(shared ? 0111 : 0177);
	result = bind(fd, (struct sockaddr *)&address, sizeof(address));
	(void)umask(mask);
	if (result < 0 || listen(fd, BACKLOG) < 0)
		return stash__fail_errno("%s/" STASH__SOCKET_NAME ": can't listen", s->run_dir);
	return 0;
}

int
broker_listen(struct server *s, int fd)
{
	struct broker *b = &s->broker;

	if (fd < 0) {
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0)
			return stash__fail_errno("can't make the socket for clients");
		if (bind_socket(s, fd) < 0) {
			close(fd);
			return STASH_E_SYSTEM;
		}
		keep_store(&s->keep, "listen", 0, &fd, 1);
	}
	b->fd = fd;
	return 0;
}

static unsigned
peers_of(const struct server *s, uint32_t uid)
{
	const struct peer *p;
	unsigned n = 0;

	TAILQ_FOREACH(p, &s->broker.peers, link)
		n += p->uid == uid;
	return n;
}

static void
accept_one(struct server *s, int fd)
{
	uint32_t uid, pid;
	unsigned access = access_of_socket(&s->config->access, fd, &uid, &pid);

	if ((access & ACCESS_OWN) == 0 && peers_of(s, uid) >= ACCESS_PEERS_MAX) {
		close(fd);
		return;
	}
	peer_create(s, fd, access, uid, pid);
}

static void
on_connection(evutil_socket_t listener, short what, void *arg)
{
	struct server *s = arg;
	int fd;

	(void)what;
	for (int i = 0; i < ACCEPT_TURN; i++) {
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			accept_one(s, fd);
			continue;
		}
		if (errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN && errno != EINTR) {
			stash__log(LOG_ERR, "no client can be accepted: %s", strerror(errno));
			event_del(&s->broker.readable);
			s->broker.full = true;
		}
		return;
	}
}

int
broker_accept(struct server *s)
{
	struct broker *b = &s->broker;

	if (!b->accepting)
		event_assign(&b->readable, s->events, b->fd, EV_READ | EV_PERSIST, on_connection, s);
	b->accepting = true;
	b->full = event_add(&b->readable, NULL) != 0;
	return b->full ? stash__fail(STASH_E_SYSTEM, "can't watch the socket for clients; trying again") : 0;
}

void
broker_close(struct server *s)
{
	struct broker *b = &s->broker;

	if (b->accepting && !b->full)
		event_del(&b->readable);
	while (!TAILQ_EMPTY(&b->peers))
		peer_drop(TAILQ_FIRST(&b->peers));
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
}
