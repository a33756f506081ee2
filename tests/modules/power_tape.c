/* SPDX-License-Identifier: ISC */
/*
 * Loaded into a stashd by LD_PRELOAD: writes on the tape what is done to the files in one directory.  A write is on it
 * before it is done, a flush before and after, a change of names after.  It can also give another boot id, and plant
 * the mistake that the test has to find.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "power_tape.h"

#define NOSYNC 0x10000u
#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define EXPORT __attribute__((visibility("default")))

static struct tape *tape;
static char dir[PATH_MAX], boot[PATH_MAX];
static size_t dir_len;
static bool plant;

__attribute__((constructor)) static void
begin(void)
{
	const char *file = getenv(TAPE_ENV), *what = getenv(TAPE_DIR_ENV), *id = getenv(TAPE_BOOT_ENV);
	struct stat st;
	int fd;

	if (id != NULL)
		snprintf(boot, sizeof boot, "%s", id);
	plant = getenv(TAPE_PLANT_ENV) != NULL;
	if (file == NULL || what == NULL)
		return;
	snprintf(dir, sizeof dir, "%s", what);
	dir_len = strlen(dir);
	fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC, 0);
	if (fd < 0 || fstat(fd, &st) != 0)
		abort();
	tape = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (tape == MAP_FAILED)
		abort();
}

/* ---- which files ---- */

/* 0: not recorded; 1: a file of the directory; 2: the directory; 3: the one above it. */
static int
what_is(int fd, struct stat *st)
{
	char link[64], path[PATH_MAX];
	ssize_t len;

	if (tape == NULL || fstat(fd, st) != 0 || (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)))
		return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof path - 1);
	if (len <= 0)
		return 0;
	path[len] = '\0';
	if (S_ISDIR(st->st_mode) && strncmp(path, dir, (size_t)len) == 0 && strrchr(dir, '/') == dir + len)
		return 3;
	if (strncmp(path, dir, dir_len) != 0)
		return 0;
	if (S_ISDIR(st->st_mode))
		return path[dir_len] == '\0' ? 2 : 0;
	return path[dir_len] == '/' && strchr(path + dir_len + 1, '/') == NULL ? 1 : 0;
}

/* The name in the directory; NULL: it is elsewhere. */
static const char *
name_in(const char *path)
{
	if (tape == NULL || strncmp(path, dir, dir_len) != 0 || path[dir_len] != '/' ||
	    strchr(path + dir_len + 1, '/') != NULL)
		return NULL;
	return path + dir_len + 1;
}

static void
note_name(const char *path)
{
	const char *name = name_in(path);
	struct stat st;

	if (name != NULL && stat(path, &st) == 0)
		tape_add(tape, TAPE_NAME, st.st_ino, (uint64_t)st.st_size, 0, name, strlen(name) + 1);
}

static void
note_size(int fd)
{
	struct stat st;

	if (what_is(fd, &st) == 1)
		tape_add(tape, TAPE_SIZE, st.st_ino, (uint64_t)st.st_size, 0, NULL, 0);
}

/* ---- writes ---- */

static ssize_t
wrote(int fd, uint64_t place, ssize_t done, size_t asked)
{
	int saved = errno;

	if (done != (ssize_t)asked)
		atomic_fetch_add(&tape->trouble, 1);
	if (fcntl(fd, F_GETFL) & O_DSYNC)
		tape_add(tape, TAPE_WROTE, 0, 0, place, NULL, 0);
	errno = saved;
	return done;
}

static ssize_t
write_at(int fd, const void *bytes, size_t len, off_t at)
{
	struct stat st;
	uint64_t place;

	if (what_is(fd, &st) != 1)
		return syscall(SYS_pwrite64, fd, bytes, len, at);
	place = tape_add(tape, TAPE_WRITE, st.st_ino, (uint64_t)at, 0, bytes, len);
	return wrote(fd, place, syscall(SYS_pwrite64, fd, bytes, len, at), len);
}

EXPORT ssize_t
pwrite(int fd, const void *bytes, size_t len, off_t at)
{
	return write_at(fd, bytes, len, at);
}

EXPORT ssize_t
pwrite64(int fd, const void *bytes, size_t len, off_t at)
{
	return write_at(fd, bytes, len, at);
}

EXPORT ssize_t
write(int fd, const void *bytes, size_t len)
{
	struct stat st;
	uint64_t place;
	off_t at;

	if (what_is(fd, &st) != 1)
		return syscall(SYS_write, fd, bytes, len);
	at = fcntl(fd, F_GETFL) & O_APPEND ? st.st_size : lseek(fd, 0, SEEK_CUR);
	place = tape_add(tape, TAPE_WRITE, st.st_ino, (uint64_t)at, 0, bytes, len);
	return wrote(fd, place, syscall(SYS_write, fd, bytes, len), len);
}

EXPORT ssize_t
writev(int fd, const struct iovec *parts, int count)
{
	uint64_t place = 0;
	size_t all = 0;
	struct stat st;
	off_t at;

	if (what_is(fd, &st) != 1)
		return syscall(SYS_writev, fd, parts, count);
	at = lseek(fd, 0, SEEK_CUR);
	for (int i = 0; i < count; i++) {
		place = tape_add(
		    tape, TAPE_WRITE, st.st_ino, (uint64_t)at + all, 0, parts[i].iov_base, parts[i].iov_len);
		all += parts[i].iov_len;
	}
	return wrote(fd, place, syscall(SYS_writev, fd, parts, count), all);
}

/* ---- flushes ---- */

static int
flush(int fd, long number)
{
	struct stat st;
	int what = what_is(fd, &st), result, saved;
	uint64_t place = 0;

	if (what != 0)
		place = tape_add(tape, TAPE_SYNC, st.st_ino, (uint64_t)what - 1, 0, NULL, 0);
	result = (int)syscall(number, fd);
	saved = errno;
	if (what != 0 && result == 0)
		tape_add(tape, TAPE_SYNCED, 0, 0, place, NULL, 0);
	errno = saved;
	return result;
}

EXPORT int
fdatasync(int fd)
{
	return flush(fd, SYS_fdatasync);
}

EXPORT int
fsync(int fd)
{
	return flush(fd, SYS_fsync);
}

/* ---- sizes and names ---- */

EXPORT int
ftruncate(int fd, off_t size)
{
	int result = (int)syscall(SYS_ftruncate, fd, size);

	if (result == 0)
		note_size(fd);
	return result;
}

EXPORT int
ftruncate64(int fd, off_t size)
{
	return ftruncate(fd, size);
}

EXPORT int
posix_fallocate(int fd, off_t at, off_t len)
{
	int result = (int)syscall(SYS_fallocate, fd, 0, at, len) == 0 ? 0 : errno;

	if (result == 0)
		note_size(fd);
	return result;
}

EXPORT int
posix_fallocate64(int fd, off_t at, off_t len)
{
	return posix_fallocate(fd, at, len);
}

static int
open_at(int at, const char *path, int flags, mode_t mode)
{
	int fd = (int)syscall(
	    SYS_openat, at, boot[0] != '\0' && strcmp(path, BOOT_ID) == 0 ? boot : path, flags | O_LARGEFILE, mode);
	int saved = errno;

	if (fd >= 0 && (flags & O_CREAT) != 0)
		note_name(path);
	if (fd >= 0 && (flags & O_TRUNC) != 0)
		note_size(fd);
	errno = saved;
	return fd;
}

#define MODE(mode, flags) \
	do { \
		va_list ap; \
		va_start(ap, flags); \
		mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0; \
		va_end(ap); \
	} while (0)

EXPORT int
open(const char *path, int flags, ...)
{
	mode_t mode;

	MODE(mode, flags);
	return open_at(AT_FDCWD, path, flags, mode);
}

EXPORT int
open64(const char *path, int flags, ...)
{
	mode_t mode;

	MODE(mode, flags);
	return open_at(AT_FDCWD, path, flags, mode);
}

EXPORT int
openat(int at, const char *path, int flags, ...)
{
	mode_t mode;

	MODE(mode, flags);
	return open_at(at, path, flags, mode);
}

EXPORT int
openat64(int at, const char *path, int flags, ...)
{
	mode_t mode;

	MODE(mode, flags);
	return open_at(at, path, flags, mode);
}

EXPORT int
mkostemp(char *path, int flags)
{
	int (*real)(char *, int), fd;

	*(void **)&real = dlsym(RTLD_NEXT, "mkostemp");
	fd = real(path, flags);
	if (fd >= 0)
		note_name(path);
	return fd;
}

EXPORT int
mkostemp64(char *path, int flags)
{
	return mkostemp(path, flags);
}

EXPORT int
mkdir(const char *path, mode_t mode)
{
	int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);

	if (result == 0 && tape != NULL && strcmp(path, dir) == 0)
		tape_add(tape, TAPE_MADE, 0, 0, 0, NULL, 0);
	return result;
}

EXPORT int
link(const char *from, const char *to)
{
	int result = (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);

	if (result == 0)
		note_name(to);
	return result;
}

EXPORT int
rename(const char *from, const char *to)
{
	int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
	const char *old = name_in(from), *new = name_in(to);
	char names[2 * NAME_MAX + 2];
	size_t len;

	if (result == 0 && old != NULL && new != NULL) {
		len = (size_t)snprintf(names, sizeof names, "%s%c%s", old, '\0', new);
		tape_add(tape, TAPE_RENAME, 0, 0, 0, names, len + 1);
	}
	return result;
}

EXPORT int
unlink(const char *path)
{
	int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	const char *name = name_in(path);

	if (result == 0 && name != NULL)
		tape_add(tape, TAPE_GONE, 0, 0, 0, name, strlen(name) + 1);
	return result;
}

/* ---- the planted mistake ---- */

EXPORT int mdb_env_open(void *env, const char *path, unsigned flags, mode_t mode);
EXPORT int mdb_env_get_flags(void *env, unsigned *flags);

EXPORT int
mdb_env_open(void *env, const char *path, unsigned flags, mode_t mode)
{
	int (*real)(void *, const char *, unsigned, mode_t);

	*(void **)&real = dlsym(RTLD_NEXT, "mdb_env_open");
	return real(env, path, flags | (plant ? NOSYNC : 0), mode);
}

EXPORT int
mdb_env_get_flags(void *env, unsigned *flags)
{
	int (*real)(void *, unsigned *), rc;

	*(void **)&real = dlsym(RTLD_NEXT, "mdb_env_get_flags");
	rc = real(env, flags);
	*flags &= plant ? ~NOSYNC : ~0u;
	return rc;
}
