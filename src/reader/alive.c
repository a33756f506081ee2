/* SPDX-License-Identifier: ISC */
/*
 * Whether a process that was noted is there still. A pid alone says nothing, and
 * one that has died and isn't reaped yet is not there. It must not need rights
 * on the process: only /proc is read.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/boot.h"
#include "reader/reader.h"

/* What stands behind the name in /proc/PID/stat: the name may hold anything. */
static char
state_of(pid_t pid)
{
	char path[40], text[512], *end;
	ssize_t len;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 'X';
	len = read(fd, text, sizeof text - 1);
	close(fd);
	if (len <= 0)
		return 'X';
	text[len] = '\0';
	end = strrchr(text, ')');
	return end != NULL && end[1] == ' ' ? end[2] : 'X';
}

bool
stash__reader_alive(uint64_t pid, uint64_t start_time)
{
	uint64_t now;
	char state;

	if (pid == 0 || pid > INT32_MAX || stash__start_time((pid_t)pid, &now) < 0 || now != start_time)
		return false;
	state = state_of((pid_t)pid);
	return state != 'Z' && state != 'X' && state != 'x';
}
