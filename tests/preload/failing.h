/* SPDX-License-Identifier: ISC */
/*
 * failing.h: the page that a test shares with the processes whose calls fail (failing.c, by LD_PRELOAD): what is to
 * fail, and which calls were made, by whom and from where.  A place is a call in the code: where in which object the
 * function returns to.  So a first run that only counts gives the list of all places, and each later run lets one of
 * them fail.
 */
#ifndef TESTS_PRELOAD_FAILING_H
#define TESTS_PRELOAD_FAILING_H

#include <stdint.h>

#define FAILING_ENV "STASH_FAILING" /* the page's path */

/* Who calls.  Fresh: forked, and doesn't say yet what it is. */
#define FAILING_PROCESSES(X) X(keeper) X(supervisor) X(stash) X(worker) X(fresh) X(config) X(status) X(client)

/* Names as they stand in the code. */
/* clang-format off */
#define FAILING_FUNCTIONS(X) \
	X(malloc) X(calloc) X(realloc) X(reallocarray) X(aligned_alloc) X(strdup) X(strndup) X(asprintf) \
	X(vasprintf) X(open_memstream) X(fopen) X(fdopen) X(mmap) X(madvise) X(ftruncate) \
	X(posix_fallocate) X(open) X(openat) X(opendir) X(fdopendir) X(readdir) X(mkdir) X(mkdirat) \
	X(mkostemp) X(rename) X(renameat) X(link) X(unlink) X(unlinkat) X(fstat) X(stat) X(statfs) \
	X(statvfs) X(realpath) X(access) X(read) X(pread) X(write) X(pwrite) X(lseek) X(fsync) \
	X(fdatasync) X(flock) X(fcntl) X(dup2) X(dup3) X(pipe2) X(eventfd) X(memfd_create) X(signalfd) \
	X(timerfd_create) X(timerfd_settime) X(epoll_create1) X(epoll_ctl) X(epoll_wait) X(poll) X(socket) \
	X(socketpair) X(bind) X(listen) X(connect) X(accept4) X(getsockopt) X(setsockopt) X(getsockname) \
	X(send) X(recv) X(sendmsg) X(recvmsg) X(fork) X(clone3) X(pidfd_open) X(pidfd_send_signal) \
	X(waitid) X(waitpid) X(execvp) X(prctl) X(setpgid) X(close_range) X(getrlimit) X(setrlimit) \
	X(sigaction) X(sigaltstack) X(sigprocmask) X(setenv) X(pthread_create) X(pthread_mutex_init) \
	X(dlopen) X(event_base_new) X(event_new) X(event_add) X(mdb_env_create) X(mdb_env_open) \
	X(mdb_env_set_mapsize) X(mdb_env_info) X(mdb_env_stat) X(mdb_env_get_fd) X(mdb_env_copyfd2) \
	X(mdb_reader_list) X(mdb_txn_begin) X(mdb_txn_commit) X(mdb_dbi_open) X(mdb_stat) X(mdb_get) \
	X(mdb_put) X(mdb_del) X(mdb_cursor_open) X(mdb_cursor_get) X(mdb_cursor_del)
/* clang-format on */

#define FAILING_ENTRY(name) FAILING_##name,
enum failing_function { FAILING_FUNCTIONS(FAILING_ENTRY) FAILING_NFUNCTIONS };
#undef FAILING_ENTRY
#define FAILING_ENTRY(name) FAILING_IS_##name,
enum failing_process { FAILING_PROCESSES(FAILING_ENTRY) FAILING_NPROCESSES };
#undef FAILING_ENTRY

enum failing_mode { FAILING_OFF = 0, FAILING_COUNTS = 1, FAILING_FAILS = 2 };

/* Instead of an errno: half of it is read or written; the descriptors of a message don't arrive; it is done, and
 * said to have failed (EIO). */
enum { FAILING_HALF = 1001, FAILING_NO_FDS = 1002, FAILING_DONE = 1003 };

/* Objects in which places are told apart, by a part of their name; the program itself is the first one. */
#define FAILING_OBJECTS \
	{ \
		"", "liblmdb", "libevent", "libbsd", "libjansson", "libconfig", "libstash", "libc.so" \
	}

/* process, function, object and offset in one word; 0: none. */
#define FAILING_PLACE(process, function, object, offset) \
	(UINT64_C(1) << 63 | (uint64_t)(process) << 56 | (uint64_t)(function) << 48 | (uint64_t)(object) << 40 | \
	    (offset))
#define FAILING_PROCESS_OF(place) ((enum failing_process)((place) >> 56 & 0x7f))
#define FAILING_FUNCTION_OF(place) ((enum failing_function)((place) >> 48 & 0xff))
#define FAILING_OBJECT_OF(place) ((unsigned)((place) >> 40 & 0xff))
#define FAILING_OFFSET_OF(place) ((place) & ((UINT64_C(1) << 40) - 1))

enum { FAILING_PLACES = 16384 };

struct failing_place {
	_Atomic uint64_t place, count;
};

struct failing_page {
	_Atomic uint32_t mode;
	/* What fails: this place, or all calls of its function by its process when its offset is 0; the at-th of them,
	 * from 1, or (for_good) it and all after it. */
	uint32_t for_good;
	uint64_t what, at;
	int32_t error;	     /* errno, MDB_*, FAILING_* */
	_Atomic int32_t pid; /* whose call has failed last */
	_Atomic uint64_t passed, fired;
	_Atomic uint64_t where;			     /* the place at which it fired last */
	_Atomic int64_t live;			     /* allocations of clients that aren't freed */
	_Atomic uint64_t lost;			     /* places for which there was no room */
	struct failing_place places[FAILING_PLACES]; /* hashed, open */
};

#endif
