/* SPDX-License-Identifier: ISC */
/*
 * background.c: stash_supervise_start(): a tree in a child process, whose caller waits until it is up, or learns why it
 * isn't.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/error.h"
#include "stashd/supervise.h"

/* In the child: never returns. What it ends with goes to the caller, who may wait for that. */
static _Noreturn void
run(const struct stash_supervisor_spec *spec, const char *dir, struct stash__supervise_config *config, int socket)
{
	char message[sizeof(int) + STASH__ERRMSG_MAX];
	int result;

	config->ready = socket;
	result = stash__supervise(spec, dir, config);
	memcpy(message, &result, sizeof(result));
	snprintf(message + sizeof(result), STASH__ERRMSG_MAX, "%s", result < 0 ? stash_errmsg() : "it has ended");
	(void)send(socket, message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
	fflush(NULL);
	_exit(result < 0 ? EX_SOFTWARE : EX_OK);
}

/* 0: it is up; else why it isn't. */
static int
await(int socket)
{
	char message[sizeof(int) + STASH__ERRMSG_MAX];
	ssize_t n;
	int result;

	n = TEMP_FAILURE_RETRY(recv(socket, message, sizeof(message), 0));
	if (n == 1)
		return 0;
	if (n != (ssize_t)sizeof(message))
		return stash__fail(STASH_E_START, "the tree's process has died during the start");
	memcpy(&result, message, sizeof(result));
	return stash__fail(result < 0 ? result : STASH_E_DOWN, "%s", message + sizeof(result));
}

/* In the caller. */
static int
finish(pid_t pid, int socket, int *pidfd)
{
	int fd = pidfd_open(pid, 0), result = fd < 0 ? stash__fail_errno("can't watch the tree") : await(socket);

	if (fd >= 0 && result < 0)
		close(fd);
	if (fd < 0)
		(void)kill(pid, SIGTERM);
	if (result < 0)
		(void)TEMP_FAILURE_RETRY(waitpid(pid, NULL, 0));
	else if (pidfd != NULL)
		*pidfd = fd;
	else
		close(fd);
	return result;
}

int
stash_supervise_start(const struct stash_supervisor_spec *spec, const char *dir,
    const struct stash_supervise_options *options, int *pidfd)
{
	struct stash__supervise_config config;
	int sockets[2], result = supervise_take_options(options, &config);
	pid_t pid;

	if (pidfd != NULL)
		*pidfd = -1;
	if (result < 0)
		return result;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return stash__fail_errno("can't make a socket");
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(sockets[0]);
		run(spec, dir, &config, sockets[1]);
	}
	close(sockets[1]);
	result = pid < 0 ? stash__fail_errno("can't fork") : finish(pid, sockets[0], pidfd);
	close(sockets[0]);
	return result;
}
