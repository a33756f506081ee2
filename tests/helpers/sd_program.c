/* SPDX-License-Identifier: ISC */
/*
 * A program that knows nothing of libstash and speaks sd_notify's protocol: sends its first argument to NOTIFY_SOCKET
 * once the file of the second one is there, from a child of its own that is gone at once, then a barrier; then waits
 * to be killed.  A third argument is sent at once.
 */
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* fd: goes along; -1: none. */
static int
notify(const char *text, int fd)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(sizeof fd)] = { 0 };
	struct iovec part = { (void *)(unsigned long)text, strlen(text) };
	struct msghdr msg = { .msg_name = &address, .msg_iov = &part, .msg_iovlen = 1 };
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (name == NULL || sock < 0 || strlen(name) >= sizeof address.sun_path)
		return -1;
	memcpy(address.sun_path, name, strlen(name));
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	msg.msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	if (fd >= 0) {
		struct cmsghdr *c;
		msg.msg_control = control;
		msg.msg_controllen = sizeof control;
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? -1 : close(sock);
}

/* True when everything said before was read: the other side has closed what went along. */
static int
barrier(void)
{
	struct pollfd end = { .events = 0 };
	int ends[2];

	if (pipe(ends) < 0 || notify("BARRIER=1", ends[1]) < 0 || close(ends[1]) < 0)
		return 0;
	end.fd = ends[0];
	return poll(&end, 1, 20000) == 1 && (end.revents & POLLHUP) != 0;
}

int
main(int argc, char **argv)
{
	pid_t child;
	int status;

	if (argc < 3)
		return 2;
	if (argc > 3 && notify(argv[3], -1) < 0)
		return 3;
	while (access(argv[2], F_OK) < 0)
		(void)poll(NULL, 0, 1);
	child = fork();
	if (child == 0)
		_exit(notify(argv[1], -1) < 0);
	if (waitpid(child, &status, 0) != child || status != 0 || !barrier() ||
	    notify("STATUS=all\033 is well", -1) < 0)
		return 3;
	for (;;)
		pause();
}
