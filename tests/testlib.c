/* SPDX-License-Identifier: ISC */
/*
 * What the test programs share (testlib.h says what each call promises): directories, counts of what
 * is left behind, bounded waiting. Must never wait without a bound, and never leave a file of a test
 * that ran to its end.
 */
#include "testlib.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Everything of the running test; one process runs one test at a time. */
static struct {
	char dir[PATH_MAX], run_dir[PATH_MAX], build[PATH_MAX], points[PATH_MAX];
	char **paths;
	size_t npaths;
	int fds, maps;
} test;

/* ---- the frame ---- */

static void
make_dir(char *path, const char *base)
{
	if (snprintf(path, PATH_MAX, "%s/t.XXXXXX", base) >= PATH_MAX || mkdtemp(path) == NULL)
		err(EXIT_FAILURE, "%s", path);
}

int
t_main(t_suite_fn *const *suites)
{
	bool alone = getenv("STASH_TEST_SHM") == NULL; /* started by hand, not by tests/guard.c */
	const char *base = getenv("TMPDIR");
	SRunner *runner = srunner_create(NULL);
	char tmp[PATH_MAX] = "", shm[PATH_MAX] = "";
	int failed;

	if (alone) {
		make_dir(tmp, base != NULL ? base : "/tmp");
		make_dir(shm, "/dev/shm");
		if (setenv("TMPDIR", tmp, 1) < 0 || setenv("STASH_TEST_SHM", shm, 1) < 0)
			err(EXIT_FAILURE, "setenv");
	}
	for (; *suites != NULL; suites++)
		srunner_add_suite(runner, (*suites)());
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	t_remove_tree(tmp); /* a failed test leaves its directories */
	t_remove_tree(shm);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

TCase *
t_case(Suite *suite, const char *name, int seconds)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, seconds);
	tcase_add_checked_fixture(tc, t_setup, t_teardown);
	suite_add_tcase(suite, tc);
	return tc;
}

/* The tests sit in BUILD/tests, so that a program started by hand finds its build, too. */
static void
find_builds(void)
{
	const char *build = getenv("BUILD"), *points = getenv("POINTS");
	char self[PATH_MAX];

	if (build == NULL || realpath(build, test.build) == NULL) {
		ck_assert_ptr_nonnull(realpath("/proc/self/exe", self));
		for (int i = 0; i < 2 && strrchr(self, '/') != NULL; i++)
			*strrchr(self, '/') = '\0';
		memcpy(test.build, self, sizeof self);
	}
	if (points == NULL || realpath(points, test.points) == NULL) {
		int len = snprintf(test.points, PATH_MAX, "%s/points", test.build);

		ck_assert_int_lt(len, PATH_MAX);
	}
}

void
t_setup(void)
{
	const char *tmp = getenv("TMPDIR"), *shm = getenv("STASH_TEST_SHM");

	make_dir(test.dir, tmp != NULL ? tmp : "/tmp");
	make_dir(test.run_dir, shm != NULL ? shm : "/dev/shm");
	find_builds();
	ck_assert_int_eq(setenv("RUNTIME_DIRECTORY", test.run_dir, 1), 0);
	ck_assert_int_eq(unsetenv("STASH_DIR"), 0);
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	test.fds = t_fd_count();
	test.maps = t_map_count();
}

void
t_teardown(void)
{
	t_no_children(2000);
	ck_assert_msg(t_fd_count() == test.fds, "descriptors: %d before the test, %d after", test.fds, t_fd_count());
	ck_assert_msg(
	    t_map_count() == test.maps, "shared maps: %d before the test, %d after", test.maps, t_map_count());
	t_remove_tree(test.dir);
	t_remove_tree(test.run_dir);
	for (size_t i = 0; i < test.npaths; i++)
		free(test.paths[i]);
	free(test.paths);
	test.paths = NULL;
	test.npaths = 0;
}

int
t_patience(void)
{
	const char *s = getenv("STASH_TEST_PATIENCE");
	int n = s != NULL ? atoi(s) : 0;

	if (n > 0)
		return n;
	return SANITIZED ? 4 : 1;
}

/* ---- files ---- */

const char *
t_dir(void)
{
	ck_assert_msg(test.dir[0] != '\0', "the case lacks the fixture (t_case)");
	return test.dir;
}

const char *
t_run_dir(void)
{
	ck_assert_msg(test.run_dir[0] != '\0', "the case lacks the fixture (t_case)");
	return test.run_dir;
}

/* Remembers an allocated string until the end of the test. */
static const char *
keep(char *s)
{
	test.paths = realloc(test.paths, (test.npaths + 1) * sizeof *test.paths);
	ck_assert_ptr_nonnull(test.paths);
	test.paths[test.npaths++] = s;
	return s;
}

const char *
t_path(const char *fmt, ...)
{
	char name[PATH_MAX], *path;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof name, fmt, ap);
	va_end(ap);
	ck_assert_int_ge(asprintf(&path, "%s/%s", t_dir(), name), 0);
	return keep(path);
}

static const char *
built(const char *dir, const char *name)
{
	char *path;

	ck_assert_msg(dir[0] != '\0', "the case lacks the fixture (t_case)");
	ck_assert_int_ge(asprintf(&path, "%s/%s", dir, name), 0);
	ck_assert_msg(access(path, R_OK) == 0, "%s is not built", path);
	return keep(path);
}

const char *
t_build(const char *name)
{
	return built(test.build, name);
}

const char *
t_points(const char *name)
{
	return built(test.points, name);
}

void
t_write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	ck_assert_msg(f != NULL, "%s: %s", path, strerror(errno));
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_msg(fclose(f) == 0, "%s: %s", path, strerror(errno));
}

char *
t_read_file(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0, room = 4096;
	char *text = malloc(room);
	ssize_t n;

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_ptr_nonnull(text);
	while ((n = read(fd, text + have, room - have - 1)) > 0) {
		have += (size_t)n;
		if (room - have < 2) {
			room *= 2;
			text = realloc(text, room);
			ck_assert_ptr_nonnull(text);
		}
	}
	ck_assert_msg(n == 0, "%s: %s", path, strerror(errno));
	close(fd);
	text[have] = '\0';
	if (len != NULL)
		*len = have;
	return text;
}

static int removed;

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	if (remove(path) == 0 && ftw->level > 0)
		removed++;
	return 0;
}

int
t_remove_tree(const char *path)
{
	removed = 0;
	if (path[0] != '\0')
		nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return removed;
}

/* ---- what is left behind ---- */

int
t_fd_count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int n = 0;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n - 1; /* not the one that reads */
}

int
t_map_count(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[PATH_MAX + 200], perms[8];
	int n = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f) != NULL)
		n += sscanf(line, "%*s %7s", perms) == 1 && perms[3] == 's';
	fclose(f);
	return n;
}

/* ---- waiting ---- */

bool
t_wait_for(bool (*done)(void *), void *arg, int ms)
{
	const struct timespec tick = { 0, 1000000 };
	struct timespec start, now;
	int64_t waited;

	ms *= t_patience();
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		if (done(arg))
			return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
		waited = (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
		if (waited >= ms)
			return false;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
	}
}
