/* SPDX-License-Identifier: ISC */
/*
 * system.c: the C library's functions that end in a system call.
 */
#include <stdarg.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "wrap.h"

/* ---- files ---- */

WRAP(mmap, void *, (void *)-1, (void *a, size_t n, int prot, int flags, int fd, off_t at), (a, n, prot, flags, fd, at))
WRAP(madvise, int, -1, (void *a, size_t n, int advice), (a, n, advice))
WRAP(ftruncate, int, -1, (int fd, off_t n), (fd, n))
WRAP_CODE(posix_fallocate, (int fd, off_t at, off_t n), (fd, at, n))
WRAP(opendir, DIR *, NULL, (const char *path), (path))
WRAP(fdopendir, DIR *, NULL, (int fd), (fd))
WRAP(readdir, struct dirent *, NULL, (DIR * dir), (dir))
WRAP(mkdir, int, -1, (const char *path, mode_t mode), (path, mode))
WRAP(mkdirat, int, -1, (int dir, const char *path, mode_t mode), (dir, path, mode))
WRAP(mkostemp, int, -1, (char *name, int flags), (name, flags))
WRAP(rename, int, -1, (const char *from, const char *to), (from, to))
WRAP(renameat, int, -1, (int from_dir, const char *from, int to_dir, const char *to), (from_dir, from, to_dir, to))
WRAP(link, int, -1, (const char *from, const char *to), (from, to))
WRAP(unlink, int, -1, (const char *path), (path))
WRAP(unlinkat, int, -1, (int dir, const char *path, int flags), (dir, path, flags))
WRAP(fstat, int, -1, (int fd, struct stat *st), (fd, st))
WRAP(stat, int, -1, (const char *path, struct stat *st), (path, st))
WRAP(statfs, int, -1, (const char *path, struct statfs *st), (path, st))
WRAP(statvfs, int, -1, (const char *path, struct statvfs *st), (path, st))
WRAP(access, int, -1, (const char *path, int mode), (path, mode))
WRAP(lseek, off_t, -1, (int fd, off_t at, int whence), (fd, at, whence))
WRAP(fsync, int, -1, (int fd), (fd))
WRAP(fdatasync, int, -1, (int fd), (fd))
WRAP(flock, int, -1, (int fd, int how), (fd, how))
WRAP(realpath, char *, NULL, (const char *path, char *to), (path, to))
WRAP_AS(realpath, char *, __realpath_chk, (const char *path, char *to, size_t room), (path, to, room),
    (errno = failed, (char *)NULL))
WRAP(dup2, int, -1, (int from, int to), (from, to))
WRAP(dup3, int, -1, (int from, int to, int flags), (from, to, flags))
WRAP(pipe2, int, -1, (int fds[2], int flags), (fds, flags))
WRAP(close_range, int, -1, (unsigned from, unsigned to, int flags), (from, to, flags))

/* Half of it, where that is asked for. */
#define HALF(name, type, params, args, half) \
	WRAP_AS(name, ssize_t, name, params, args, failed == FAILING_HALF && n > 1 ? real half : (errno = failed, -1))
/* What a signalfd has is given, and whole. */
WRAP_AS(read, ssize_t, read, (int fd, void *to, size_t n), (fd, to, n),
    n == sizeof(struct signalfd_siginfo) ? real(fd, to, n) :
	failed == FAILING_HALF && n > 1	 ? real(fd, to, n / 2) :
					   (errno = failed, -1))
HALF(pread, ssize_t, (int fd, void *to, size_t n, off_t at), (fd, to, n, at), (fd, to, n / 2, at))
HALF(write, ssize_t, (int fd, const void *from, size_t n), (fd, from, n), (fd, from, n / 2))
HALF(pwrite, ssize_t, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at), (fd, from, n / 2, at))

#define OPEN(function, name, before, pass) \
	int name(before const char *path, int flags, ...); \
	int name(before const char *path, int flags, ...) \
	{ \
		int failed = failing_call(FAILING_##function, __builtin_return_address(0)); \
		mode_t mode = 0; \
		va_list ap; \
		REAL(int, name, (before const char *, int, ...)); \
		if (failed != 0) \
			return errno = failed, -1; \
		va_start(ap, flags); \
		if ((flags & (O_CREAT | O_TMPFILE)) != 0) \
			mode = va_arg(ap, mode_t); \
		va_end(ap); \
		return real(pass path, flags, mode); \
	}
#define NOTHING
#define DIR_FIRST int dir,
#define DIR_PASS dir,
OPEN(open, open, NOTHING, NOTHING)
OPEN(openat, openat, DIR_FIRST, DIR_PASS)
WRAP_AS(open, int, __open_2, (const char *path, int flags), (path, flags), (errno = failed, -1))
WRAP_AS(openat, int, __openat_2, (int dir, const char *path, int flags), (dir, path, flags), (errno = failed, -1))

int
fcntl(int fd, int what, ...)
{
	int failed = failing_call(FAILING_fcntl, __builtin_return_address(0));
	va_list ap;
	void *arg;
	REAL(int, fcntl, (int, int, ...));

	if (failed != 0)
		return errno = failed, -1;
	va_start(ap, what);
	arg = va_arg(ap, void *);
	va_end(ap);
	return real(fd, what, arg);
}

/* ---- descriptors without a file ---- */

WRAP(eventfd, int, -1, (unsigned n, int flags), (n, flags))
WRAP(memfd_create, int, -1, (const char *name, unsigned flags), (name, flags))
WRAP(signalfd, int, -1, (int fd, const sigset_t *set, int flags), (fd, set, flags))
WRAP(timerfd_create, int, -1, (clockid_t clock, int flags), (clock, flags))
WRAP(timerfd_settime, int, -1, (int fd, int flags, const struct itimerspec *to, struct itimerspec *old),
    (fd, flags, to, old))
WRAP(epoll_create1, int, -1, (int flags), (flags))
WRAP(epoll_ctl, int, -1, (int fd, int op, int other, struct epoll_event *event), (fd, op, other, event))
WRAP(epoll_wait, int, -1, (int fd, struct epoll_event *events, int n, int ms), (fd, events, n, ms))
WRAP(poll, int, -1, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms))
WRAP_AS(poll, int, ppoll, (struct pollfd * fds, nfds_t n, const struct timespec *left, const sigset_t *mask),
    (fds, n, left, mask), (errno = failed, -1))

WRAP(socket, int, -1, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(socketpair, int, -1, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds))
WRAP(bind, int, -1, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
WRAP(listen, int, -1, (int fd, int n), (fd, n))
WRAP(connect, int, -1, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
WRAP(accept4, int, -1, (int fd, struct sockaddr *a, socklen_t *n, int flags), (fd, a, n, flags))
WRAP(getsockopt, int, -1, (int fd, int level, int name, void *to, socklen_t *n), (fd, level, name, to, n))
WRAP(setsockopt, int, -1, (int fd, int level, int name, const void *from, socklen_t n), (fd, level, name, from, n))
WRAP(getsockname, int, -1, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))
WRAP(send, ssize_t, -1, (int fd, const void *from, size_t n, int flags), (fd, from, n, flags))
WRAP(recv, ssize_t, -1, (int fd, void *to, size_t n, int flags), (fd, to, n, flags))
WRAP(sendmsg, ssize_t, -1, (int fd, const struct msghdr *m, int flags), (fd, m, flags))

/* As the kernel does it for a process that has no descriptor left. */
static void
lose_descriptors(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fd;

		for (size_t i = 0; c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && i < n; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			(void)syscall(SYS_close, fd);
			m->msg_flags |= MSG_CTRUNC;
		}
	}
	m->msg_controllen = 0;
}

ssize_t
recvmsg(int fd, struct msghdr *m, int flags)
{
	int failed = failing_call(FAILING_recvmsg, __builtin_return_address(0));
	ssize_t n;
	REAL(ssize_t, recvmsg, (int, struct msghdr *, int));

	if (failed != 0 && failed != FAILING_NO_FDS)
		return errno = failed, -1;
	n = real(fd, m, flags);
	if (n >= 0 && failed != 0)
		lose_descriptors(m);
	return n;
}

/* ---- processes and threads ---- */

pid_t
fork(void)
{
	int failed = failing_call(FAILING_fork, __builtin_return_address(0));
	pid_t pid;
	REAL(pid_t, fork, (void));

	if (failed != 0)
		return errno = failed, -1;
	pid = real();
	if (pid == 0)
		failing_child();
	return pid;
}

/* clone3() alone fails. */
long
syscall(long number, ...)
{
	int failed = number == SYS_clone3 ? failing_call(FAILING_clone3, __builtin_return_address(0)) : 0;
	long a[6], result;
	va_list ap;
	REAL(long, syscall, (long, ...));

	if (failed != 0)
		return errno = failed, -1;
	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	result = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_clone3 && result == 0)
		failing_child();
	return result;
}

int
prctl(int what, ...)
{
	int failed = failing_call(FAILING_prctl, __builtin_return_address(0));
	unsigned long a[4];
	va_list ap;
	REAL(int, prctl, (int, ...));

	va_start(ap, what);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (what == PR_SET_NAME)
		failing_title((const char *)a[0]);
	if (failed != 0)
		return errno = failed, -1;
	return real(what, a[0], a[1], a[2], a[3]);
}

WRAP(pidfd_open, int, -1, (pid_t pid, unsigned flags), (pid, flags))
WRAP(pidfd_send_signal, int, -1, (int fd, int sig, siginfo_t *info, unsigned flags), (fd, sig, info, flags))
WRAP(waitid, int, -1, (idtype_t type, id_t id, siginfo_t *info, int how), (type, id, info, how))
WRAP(waitpid, pid_t, -1, (pid_t pid, int *status, int how), (pid, status, how))
WRAP(execvp, int, -1, (const char *path, char *const *argv), (path, argv))
WRAP(setpgid, int, -1, (pid_t pid, pid_t group), (pid, group))
WRAP(getrlimit, int, -1, (__rlimit_resource_t what, struct rlimit *to), (what, to))
WRAP(setrlimit, int, -1, (__rlimit_resource_t what, const struct rlimit *to), (what, to))
WRAP(sigaction, int, -1, (int sig, const struct sigaction *to, struct sigaction *old), (sig, to, old))
WRAP(sigaltstack, int, -1, (const stack_t *to, stack_t *old), (to, old))
WRAP(sigprocmask, int, -1, (int how, const sigset_t *to, sigset_t *old), (how, to, old))
WRAP_CODE(pthread_create, (pthread_t * t, const pthread_attr_t *a, void *(*run)(void *), void *arg), (t, a, run, arg))
WRAP_CODE(pthread_mutex_init, (pthread_mutex_t * m, const pthread_mutexattr_t *a), (m, a))
WRAP_AS(dlopen, void *, dlopen, (const char *path, int how), (path, how), ((void)failed, (void *)NULL))
