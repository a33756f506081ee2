/* SPDX-License-Identifier: ISC */
/*
 * guard SECONDS PROGRAM [ARG...]: runs one test program for at most SECONDS and sees to it that nothing
 * stays behind. It reaps every orphan of the program, gives it a TMPDIR and a STASH_TEST_SHM of its
 * own, and afterwards kills, removes and names what is left. Exit status: the program's; 128 + signal;
 * 124: time was up; 125: the program passed, but left a process or a file.
 */
#include "testlib.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TIME_IS_UP = 124, LEFT_SOMETHING = 125, INTERRUPTED = 130 };

static char tmp[PATH_MAX], shm[PATH_MAX];

static void
make_own_dir(char *path, const char *base, const char *variable)
{
	snprintf(path, PATH_MAX, "%s/stash.XXXXXX", base);
	if (mkdtemp(path) == NULL || setenv(variable, path, 1) < 0) {
		fprintf(stderr, "guard: %s: %s\n", path, strerror(errno));
		exit(EXIT_FAILURE);
	}
}

static pid_t
start(char **argv, const sigset_t *old_mask)
{
	pid_t pid = fork();

	if (pid == 0) {
		sigprocmask(SIG_SETMASK, old_mask, NULL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[0], argv);
		fprintf(stderr, "guard: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	if (pid < 0) {
		fprintf(stderr, "guard: fork: %s\n", strerror(errno));
		exit(EXIT_FAILURE);
	}
	return pid;
}

/* Reaps whoever has ended; true when the program itself has, with its exit status. */
static bool
reap(pid_t program, int *result)
{
	bool ended = false;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != program)
			continue;
		ended = true;
		*result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	}
	return ended;
}

static int
wait_for_program(pid_t program, int seconds, const sigset_t *signals)
{
	struct timespec now, left = { 0, 0 };
	int result, sig;
	time_t end;

	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec + seconds;
	while (!reap(program, &result)) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= end) {
			fprintf(stderr, "guard: time is up after %d s\n", seconds);
			return TIME_IS_UP;
		}
		left.tv_sec = end - now.tv_sec;
		sig = sigtimedwait(signals, NULL, &left);
		if (sig > 0 && sig != SIGCHLD)
			return INTERRUPTED;
	}
	if (result > 128)
		fprintf(stderr, "guard: killed by signal %d (%s)\n", result - 128, strsignal(result - 128));
	return result;
}

static int
name_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	if (ftw->level > 0)
		fprintf(stderr, "left behind: %s\n", path);
	return 0;
}

static int
clean_dir(const char *path, bool tell)
{
	if (tell)
		nftw(path, name_entry, 16, FTW_PHYS);
	return t_remove_tree(path);
}

int
main(int argc, char **argv)
{
	const char *base = getenv("TMPDIR");
	sigset_t signals, old_mask;
	int result, left;

	if (argc < 3 || atoi(argv[1]) <= 0) {
		fprintf(stderr, "usage: guard SECONDS PROGRAM [ARG...]\n");
		return EXIT_FAILURE;
	}
	make_own_dir(tmp, base != NULL ? base : "/tmp", "TMPDIR");
	make_own_dir(shm, "/dev/shm", "STASH_TEST_SHM");
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, &old_mask);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	result = wait_for_program(start(argv + 2, &old_mask), atoi(argv[1]), &signals);
	left = t_name_children(stderr, result == TIME_IS_UP || result == INTERRUPTED ? 0 : 1000);
	t_kill_all();
	left += clean_dir(tmp, result == 0) + clean_dir(shm, result == 0);
	return result == 0 && left > 0 ? LEFT_SOMETHING : result;
}
