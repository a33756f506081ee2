/* SPDX-License-Identifier: ISC */
/*
 * testlib_failing.c: see testlib_failing.h.
 */
#include "testlib_failing.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "testlib.h"
#include "testlib_symbols.h"

enum { ERRORS = 8 };

/* What man pages, LMDB's documentation and the kernel's sources say can happen where Stash runs; not what would be a
 * lie about what is there (ENOENT, ESRCH). */
static const int errors[FAILING_NFUNCTIONS][ERRORS] = {
	[FAILING_malloc] = { ENOMEM },
	[FAILING_calloc] = { ENOMEM },
	[FAILING_realloc] = { ENOMEM },
	[FAILING_reallocarray] = { ENOMEM },
	[FAILING_aligned_alloc] = { ENOMEM },
	[FAILING_strdup] = { ENOMEM },
	[FAILING_strndup] = { ENOMEM },
	[FAILING_asprintf] = { ENOMEM },
	[FAILING_vasprintf] = { ENOMEM },
	[FAILING_open_memstream] = { ENOMEM },
	[FAILING_fopen] = { EMFILE, ENOMEM, EACCES, ENFILE },
	[FAILING_fdopen] = { ENOMEM },
	[FAILING_mmap] = { ENOMEM, EAGAIN, ENFILE },
	[FAILING_madvise] = { ENOMEM, EAGAIN },
	[FAILING_ftruncate] = { ENOSPC, EINTR, EIO, EFBIG },
	[FAILING_posix_fallocate] = { ENOSPC, EINTR, EIO, EOPNOTSUPP },
	[FAILING_open] = { EMFILE, EACCES, ENFILE, ENOMEM, EINTR, EIO, ENOSPC },
	[FAILING_openat] = { EMFILE, EACCES, ENFILE, ENOMEM, EINTR, EIO, ENOSPC },
	[FAILING_opendir] = { EMFILE, ENOMEM, EACCES },
	[FAILING_fdopendir] = { ENOMEM, ENFILE },
	[FAILING_readdir] = { EIO },
	[FAILING_mkdir] = { ENOSPC, EACCES, EEXIST, EROFS },
	[FAILING_mkdirat] = { ENOSPC, EACCES, EROFS },
	[FAILING_mkostemp] = { ENOSPC, EMFILE, EACCES },
	[FAILING_rename] = { ENOSPC, EIO, EACCES },
	[FAILING_renameat] = { ENOSPC, EIO, EACCES },
	[FAILING_link] = { ENOSPC, EPERM, EEXIST },
	[FAILING_unlink] = { EIO, EACCES, EBUSY },
	[FAILING_unlinkat] = { EIO, EACCES, EBUSY },
	[FAILING_fstat] = { EIO, ENOMEM },
	[FAILING_stat] = { EACCES, EIO },
	[FAILING_statfs] = { EIO, ENOSYS },
	[FAILING_statvfs] = { EIO, ENOSYS },
	[FAILING_realpath] = { EACCES, ENOMEM },
	[FAILING_access] = { EACCES, EIO },
	[FAILING_read] = { EIO, EINTR, EAGAIN, FAILING_HALF },
	[FAILING_pread] = { EIO, EINTR, FAILING_HALF },
	[FAILING_write] = { ENOSPC, EIO, EINTR, EAGAIN, EPIPE, FAILING_HALF },
	[FAILING_pwrite] = { ENOSPC, EIO, EINTR, FAILING_HALF },
	[FAILING_lseek] = { EIO },
	[FAILING_fsync] = { EIO, ENOSPC, EINTR },
	[FAILING_fdatasync] = { EIO, ENOSPC, EINTR },
	[FAILING_flock] = { EINTR, ENOLCK, EWOULDBLOCK },
	[FAILING_fcntl] = { EMFILE, ENOLCK, EAGAIN, EINTR },
	[FAILING_dup2] = { EBUSY, EINTR },
	[FAILING_dup3] = { EBUSY, EINTR },
	[FAILING_pipe2] = { EMFILE, ENFILE },
	[FAILING_eventfd] = { EMFILE, ENFILE, ENOMEM },
	[FAILING_memfd_create] = { EMFILE, ENOMEM, ENFILE },
	[FAILING_signalfd] = { EMFILE, ENOMEM },
	[FAILING_timerfd_create] = { EMFILE, ENOMEM },
	[FAILING_timerfd_settime] = { ECANCELED },
	[FAILING_epoll_create1] = { EMFILE, ENOMEM },
	[FAILING_epoll_ctl] = { ENOSPC, ENOMEM },
	[FAILING_epoll_wait] = { EINTR },
	[FAILING_poll] = { EINTR, ENOMEM },
	[FAILING_socket] = { EMFILE, ENFILE, ENOBUFS },
	[FAILING_socketpair] = { EMFILE, ENFILE, ENOBUFS },
	[FAILING_bind] = { EADDRINUSE, ENOSPC, EACCES, ENOMEM },
	[FAILING_listen] = { EADDRINUSE, EOPNOTSUPP },
	[FAILING_connect] = { ECONNREFUSED, EAGAIN, ENOENT, EINTR, EACCES },
	[FAILING_accept4] = { EMFILE, ENFILE, ECONNABORTED, EAGAIN, ENOMEM, EINTR },
	[FAILING_getsockopt] = { ENOBUFS, EINVAL },
	[FAILING_setsockopt] = { ENOBUFS, EPERM },
	[FAILING_getsockname] = { ENOBUFS },
	[FAILING_send] = { EAGAIN, EPIPE, ENOBUFS, ECONNRESET, EINTR },
	[FAILING_recv] = { EAGAIN, ECONNRESET, ENOMEM, EINTR },
	[FAILING_sendmsg] = { EAGAIN, EPIPE, ENOBUFS, ENOMEM, ETOOMANYREFS, ECONNRESET, EINTR },
	[FAILING_recvmsg] = { FAILING_NO_FDS, EAGAIN, ECONNRESET, ENOMEM, EINTR },
	[FAILING_fork] = { EAGAIN, ENOMEM },
	[FAILING_clone3] = { EAGAIN, ENOMEM, ENOSYS, EPERM, EMFILE },
	[FAILING_pidfd_open] = { EMFILE, ENOMEM },
	[FAILING_pidfd_send_signal] = { EPERM },
	[FAILING_waitid] = { EINTR },
	[FAILING_waitpid] = { EINTR },
	[FAILING_execvp] = { ENOENT, ENOMEM, EACCES, ETXTBSY },
	[FAILING_prctl] = { EINVAL, EPERM },
	[FAILING_setpgid] = { EPERM, EACCES },
	[FAILING_close_range] = { ENOMEM, EMFILE },
	[FAILING_getrlimit] = { EINVAL },
	[FAILING_setrlimit] = { EPERM },
	[FAILING_sigaction] = { EINVAL },
	[FAILING_sigaltstack] = { ENOMEM },
	[FAILING_sigprocmask] = { EINVAL },
	[FAILING_setenv] = { ENOMEM },
	[FAILING_pthread_create] = { EAGAIN },
	[FAILING_pthread_mutex_init] = { ENOMEM },
	[FAILING_dlopen] = { ENOMEM },
	[FAILING_event_base_new] = { ENOMEM },
	[FAILING_event_new] = { ENOMEM },
	[FAILING_event_add] = { ENOMEM },
	[FAILING_mdb_env_create] = { ENOMEM },
	[FAILING_mdb_env_open] = { ENOMEM, EIO, ENOSPC, EACCES, EAGAIN, MDB_INVALID, EINTR },
	[FAILING_mdb_env_set_mapsize] = { EINVAL, ENOMEM },
	[FAILING_mdb_env_info] = { EINVAL },
	[FAILING_mdb_env_stat] = { EINVAL },
	[FAILING_mdb_env_get_fd] = { EINVAL },
	[FAILING_mdb_env_copyfd2] = { ENOSPC, EIO, EPIPE },
	[FAILING_mdb_reader_list] = { EINVAL },
	[FAILING_mdb_txn_begin] = { ENOMEM, MDB_PANIC, MDB_READERS_FULL, MDB_MAP_RESIZED, EINVAL },
	[FAILING_mdb_txn_commit] = { ENOSPC, EIO, MDB_BAD_TXN, MDB_MAP_FULL, MDB_PANIC, ENOMEM, EINVAL, FAILING_DONE },
	[FAILING_mdb_dbi_open] = { MDB_DBS_FULL, MDB_NOTFOUND, ENOMEM, MDB_CORRUPTED },
	[FAILING_mdb_stat] = { MDB_BAD_TXN, EINVAL },
	[FAILING_mdb_get] = { MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_BAD_TXN, EIO },
	[FAILING_mdb_put] = { MDB_MAP_FULL, MDB_TXN_FULL, ENOMEM, MDB_CORRUPTED, MDB_BAD_TXN, EIO },
	[FAILING_mdb_del] = { MDB_MAP_FULL, MDB_CORRUPTED, ENOMEM, MDB_BAD_TXN },
	[FAILING_mdb_cursor_open] = { ENOMEM, MDB_BAD_TXN },
	[FAILING_mdb_cursor_get] = { MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_BAD_TXN, EIO },
	[FAILING_mdb_cursor_del] = { MDB_MAP_FULL, MDB_CORRUPTED, ENOMEM },
};

#define WORD(name) #name,
static const char *const functions[] = { FAILING_FUNCTIONS(WORD) };
static const char *const processes[] = { FAILING_PROCESSES(WORD) };
static const char *const objects[] = FAILING_OBJECTS;

struct failing_page *
t_failing_make(const char *env[2])
{
	static char preload[PATH_MAX + 32], variable[PATH_MAX + 32];
	const char *path = t_path("failing");
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct failing_page *page;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, sizeof *page), 0);
	page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(page, MAP_FAILED);
	close(fd);
	snprintf(preload, sizeof preload, "LD_PRELOAD=%s", t_build("tests/failing.so"));
	snprintf(variable, sizeof variable, "%s=%s", FAILING_ENV, path);
	t_symbols_read(t_build("stashd"));
	env[0] = preload;
	env[1] = variable;
	return page;
}

void
t_failing_free(struct failing_page *page)
{
	(void)munmap(page, sizeof *page);
}

void
t_failing_write_errors(const char *path)
{
	FILE *f = fopen(path, "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(errors, sizeof errors, 1, f), 1);
	ck_assert_int_eq(fclose(f), 0);
}

const int *
t_failing_errors(enum failing_function function)
{
	return errors[function];
}

static const struct {
	int error;
	const char *name;
} special[] = { { FAILING_HALF, "HALF" }, { FAILING_NO_FDS, "NO_FDS" }, { FAILING_DONE, "DONE" },
	{ MDB_PANIC, "MDB_PANIC" }, { MDB_READERS_FULL, "MDB_READERS_FULL" }, { MDB_MAP_RESIZED, "MDB_MAP_RESIZED" },
	{ MDB_BAD_TXN, "MDB_BAD_TXN" }, { MDB_MAP_FULL, "MDB_MAP_FULL" }, { MDB_DBS_FULL, "MDB_DBS_FULL" },
	{ MDB_NOTFOUND, "MDB_NOTFOUND" }, { MDB_CORRUPTED, "MDB_CORRUPTED" }, { MDB_TXN_FULL, "MDB_TXN_FULL" },
	{ MDB_PAGE_NOTFOUND, "MDB_PAGE_NOTFOUND" }, { MDB_INVALID, "MDB_INVALID" } };

const char *
t_failing_error_name(int error)
{
	const char *name = strerrorname_np(error);

	for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
		if (special[i].error == error)
			return special[i].name;
	}
	return name != NULL ? name : "?";
}

int
t_failing_error(const char *name)
{
	for (int error = 1; error < 140; error++) {
		if (strerrorname_np(error) != NULL && strcmp(strerrorname_np(error), name) == 0)
			return error;
	}
	for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
		if (strcmp(special[i].name, name) == 0)
			return special[i].error;
	}
	return 0;
}

const char *
t_failing_caller(uint64_t place)
{
	if (FAILING_OFFSET_OF(place) == 0)
		return "all";
	/* A call may be the last instruction of a function. */
	return FAILING_OBJECT_OF(place) == 0 ? t_symbol(FAILING_OFFSET_OF(place) - 1) : "";
}

const char *
t_failing_place_name(uint64_t place)
{
	static char text[8][128];
	static unsigned next;
	char *at = text[next++ % 8];
	unsigned object = FAILING_OBJECT_OF(place);

	snprintf(at, sizeof text[0], "%s %s %s+%#llx", processes[FAILING_PROCESS_OF(place)],
	    functions[FAILING_FUNCTION_OF(place)], object == 0 ? t_failing_caller(place) : objects[object],
	    (unsigned long long)FAILING_OFFSET_OF(place));
	return at;
}

const char *
t_failing_object(uint64_t place)
{
	return objects[FAILING_OBJECT_OF(place)];
}

static int
compare(const void *a, const void *b)
{
	const struct failing_place *x = a, *y = b;

	return (x->place > y->place) - (x->place < y->place);
}

size_t
t_failing_places(const struct failing_page *page, struct failing_place *to, size_t max)
{
	size_t n = 0;

	ck_assert_uint_eq(page->lost, 0);
	for (int i = 0; i < FAILING_PLACES; i++) {
		if (page->places[i].place == 0)
			continue;
		ck_assert_uint_lt(n, max);
		to[n].place = page->places[i].place;
		to[n++].count = page->places[i].count;
	}
	qsort(to, n, sizeof *to, compare);
	return n;
}

void
t_failing_begin(struct failing_page *page, uint64_t what, int error, uint64_t at, bool for_good)
{
	atomic_store(&page->mode, FAILING_OFF);
	page->what = what;
	page->error = error;
	page->at = at;
	page->for_good = for_good;
	atomic_store(&page->passed, 0);
	atomic_store(&page->fired, 0);
	atomic_store(&page->where, 0);
	atomic_store(&page->mode, FAILING_FAILS);
}

void
t_failing_end(struct failing_page *page)
{
	atomic_store(&page->mode, FAILING_OFF);
}
