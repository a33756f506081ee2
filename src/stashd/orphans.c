/* SPDX-License-Identifier: ISC */
/*
 * orphans.c: finding, killing and reaping children that nobody knows.  A child is killed by a pidfd that was opened
 * before its parent was looked up once more, so that never a stranger with a used-up pid is hit.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "stashd/orphans.h"

struct pids {
	pid_t *at;
	int n, room;
};

static int
add(struct pids *p, pid_t pid)
{
	if (p->n == p->room) {
		int room = p->room == 0 ? 64 : 2 * p->room;
		pid_t *at = realloc(p->at, (size_t)room * sizeof(*at));

		if (at == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for a list of %d children", room);
		p->at = at;
		p->room = room;
	}
	p->at[p->n++] = pid;
	return 0;
}

/* The kernel's own list; not every kernel has it.  1: it was read. */
static int
read_children(struct pids *p)
{
	char path[64];
	FILE *file;
	int pid, result = 1;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)gettid());
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	while (result == 1 && fscanf(file, "%d", &pid) == 1) {
		if (add(p, pid) < 0)
			result = STASH_E_NOMEM;
	}
	fclose(file);
	return result;
}

/* The parent of a process; 0: there is no such process. */
static pid_t
parent_of(pid_t pid)
{
	char path[64], text[512], *end;
	FILE *file;
	size_t len;
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[len] = '\0';
	/* Behind the last ')': a command may have any name. */
	end = strrchr(text, ')');
	if (end == NULL || sscanf(end + 1, " %*c %d", &parent) != 1)
		return 0;
	return parent;
}

static int
scan_proc(struct pids *p)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	pid_t self = getpid();
	int result = 0;

	if (dir == NULL)
		return stash__fail_errno("/proc: can't be read");
	while (result == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
		pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? (pid_t)strtol(entry->d_name, NULL, 10) : 0;

		if (pid > 0 && parent_of(pid) == self)
			result = add(p, pid);
	}
	if (result == 0 && errno != 0)
		result = stash__fail_errno("/proc: can't be read");
	closedir(dir);
	return result;
}

static int
list(struct pids *p)
{
	int result = read_children(p);

	return result != 0 ? (result < 0 ? result : 0) : scan_proc(p);
}

static int
compare(const void *a, const void *b)
{
	const pid_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static bool
among(const pid_t *pids, int n, pid_t pid)
{
	return n > 0 && bsearch(&pid, pids, (size_t)n, sizeof(pid), compare) != NULL;
}

int
orphans_begin(struct orphans *o)
{
	struct pids p = { 0 };
	int result = list(&p);

	if (result < 0) {
		free(p.at);
		return result;
	}
	if (p.n > 0)
		qsort(p.at, (size_t)p.n, sizeof(*p.at), compare);
	o->before = p.at;
	o->nbefore = p.n;
	return 0;
}

/* True: it is gone. */
static bool
end_one(pid_t pid)
{
	int pidfd = pidfd_open(pid, 0);
	siginfo_t info = { 0 };
	bool gone = false;

	if (pidfd < 0)
		return errno == ESRCH;
	if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) == 0 && info.si_pid == pid) {
		gone = true;
	} else if (parent_of(pid) == getpid() && pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0) {
		stash__log(LOG_WARNING, "process %d was left behind by a worker: killed", (int)pid);
		/* Most are dead at once. */
		gone = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) == 0 && info.si_pid == pid;
	}
	close(pidfd);
	return gone;
}

int
orphans_end_unknown(struct orphans *o, const pid_t *known, int nknown, pid_t also, pid_t and_also)
{
	struct pids p = { 0 };
	int left = 0, result = list(&p);

	for (int i = 0; result == 0 && i < p.n; i++) {
		if (p.at[i] == also || p.at[i] == and_also || among(known, nknown, p.at[i]) ||
		    among(o->before, o->nbefore, p.at[i]))
			continue;
		left += !end_one(p.at[i]);
	}
	free(p.at);
	return result < 0 ? result : left;
}

void
orphans_free(struct orphans *o)
{
	free(o->before);
	o->before = NULL;
	o->nbefore = 0;
}
