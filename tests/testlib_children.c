/* SPDX-License-Identifier: ISC */
/*
 * Who is still running below this process (testlib.h says what each call promises): finds, names and
 * kills. Only descendants are ever signalled, by pidfd and after a look at their parent. tests/guard.c
 * uses this outside of Check, so what cannot go on ends the process by itself.
 */
#include "testlib.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* The parent of a process, from the words behind its name (which may hold anything); -1: gone. */
static pid_t
parent_of(pid_t pid)
{
	char path[64], text[512], *p;
	ssize_t n;
	int fd, ppid;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return -1;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	if ((p = strrchr(text, ')')) == NULL || sscanf(p, ") %*c %d", &ppid) != 1)
		return -1;
	return ppid;
}

struct relation {
	pid_t pid, parent;
	bool below; /* a descendant of this process */
};

/* Every process of the machine at about the same moment; the result serves until the next call. */
static struct relation *
all_processes(int *count)
{
	static struct relation all[32768];
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int n = 0;

	if (dir == NULL)
		err(EXIT_FAILURE, "/proc");
	while (n < 32768 && (entry = readdir(dir)) != NULL) {
		pid_t pid = atoi(entry->d_name), parent = pid > 0 ? parent_of(pid) : -1;

		if (parent >= 0)
			all[n++] = (struct relation){ pid, parent, parent == getpid() };
	}
	closedir(dir);
	*count = n;
	return all;
}

int
t_children(pid_t parent, pid_t *pids, int max)
{
	int all_n, n = 0;
	const struct relation *all = all_processes(&all_n);

	if (parent == 0)
		parent = getpid();
	for (int i = 0; i < all_n && n < max; i++)
		if (all[i].parent == parent)
			pids[n++] = all[i].pid;
	return n;
}

static void
reap_all(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		continue;
}

static bool
no_child(void *arg)
{
	siginfo_t info;

	(void)arg;
	reap_all();
	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

/*
 * Kills by pidfd, after another look at the parent: the number may have gone to someone else. If the
 * parent has just been killed itself, this process is the parent now.
 */
static void
kill_child_of(pid_t parent, pid_t pid)
{
	pid_t now;
	int pidfd;

	pidfd = pidfd_open(pid, 0);
	now = parent_of(pid);
	if (pidfd < 0 && now == getpid())
		kill(pid, SIGKILL); /* valgrind knows no pidfd; an unreaped child keeps its number */
	if (pidfd < 0)
		return;
	if (now == parent || now == getpid())
		pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	close(pidfd);
}

static bool
is_below(const struct relation *all, int n, pid_t pid)
{
	for (int i = 0; i < n; i++)
		if (all[i].pid == pid)
			return all[i].below;
	return false;
}

/* Finds all descendants before it kills the first; a few rounds reach whoever was started meanwhile. */
static bool
kill_round(void *arg)
{
	struct relation *all;
	bool more = true;
	int n;

	all = all_processes(&n);
	while (more) {
		more = false;
		for (int i = 0; i < n; i++)
			if (!all[i].below && is_below(all, n, all[i].parent))
				more = all[i].below = true;
	}
	for (int i = 0; i < n; i++)
		if (all[i].below)
			kill_child_of(all[i].parent, all[i].pid);
	return no_child(arg);
}

void
t_kill_all(void)
{
	if (!t_wait_for(kill_round, NULL, 10000))
		errx(EXIT_FAILURE, "processes survive SIGKILL");
}

static void
name_process(FILE *out, pid_t pid)
{
	char path[64], words[200];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
		n = read(fd, words, sizeof words - 1);
		close(fd);
	}
	words[n > 0 ? n : 0] = '\0';
	for (ssize_t i = 0; i + 1 < n; i++)
		if (words[i] == '\0')
			words[i] = ' ';
	fprintf(out, "left running: %d %s\n", (int)pid, words);
}

int
t_name_children(FILE *out, int ms)
{
	pid_t pids[64];
	int n;

	if (t_wait_for(no_child, NULL, ms))
		return 0;
	n = t_children(0, pids, 64);
	for (int i = 0; i < n; i++)
		name_process(out, pids[i]);
	return n;
}

void
t_no_children(int ms)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int n;

	if (out == NULL)
		err(EXIT_FAILURE, "open_memstream");
	n = t_name_children(out, ms);
	fclose(out);
	if (n > 0) {
		t_kill_all();
		ck_abort_msg("%s", text);
	}
	free(text);
}
