/* SPDX-License-Identifier: ISC */
/*
 * proc.c: small questions about processes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/boot.h"
#include "stashd/proc.h"

int
proc_wait_status(const siginfo_t *info)
{
	switch (info->si_code) {
	case CLD_EXITED:
		return W_EXITCODE(info->si_status, 0);
	case CLD_DUMPED:
		return W_EXITCODE(0, info->si_status) | WCOREFLAG;
	default:
		return W_EXITCODE(0, info->si_status);
	}
}

void
proc_signal_name(int signal, char *text, size_t size)
{
	const char *name = sigabbrev_np(signal);

	if (name != NULL)
		snprintf(text, size, "SIG%s", name);
	else
		snprintf(text, size, "signal %d", signal);
}

void
proc_describe(int status, char *text, size_t size)
{
	char name[32];

	if (status < 0) {
		snprintf(text, size, "nobody knows how");
	} else if (WIFSIGNALED(status)) {
		proc_signal_name(WTERMSIG(status), name, sizeof(name));
		snprintf(text, size, "%s%s", name, WCOREDUMP(status) ? ", core dumped" : "");
	} else {
		snprintf(text, size, "exit status %d", WEXITSTATUS(status));
	}
}

bool
proc_traced(pid_t pid)
{
	char path[64], line[256];
	int tracer = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	}
	fclose(file);
	return tracer != 0;
}

int
proc_open(pid_t pid, uint64_t start_time)
{
	int fd = pid > 0 ? pidfd_open(pid, 0) : -1;
	uint64_t ticks;

	if (fd < 0)
		return -1;
	/* Asked after the descriptor was opened: as long as it is the same process then, it is the one behind it. */
	if (stash__start_time(pid, &ticks) == 0 && ticks == start_time)
		return fd;
	close(fd);
	return -1;
}

uint64_t
proc_raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur;
}
