/* SPDX-License-Identifier: ISC */
/*
 * Memory and descriptors of processes, out of /proc.
 */
#include "stash-bench/scale.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include <stash/supervisor.h>

static double
count_fds(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	double n = 0;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
	dir = opendir(path);
	if (dir == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static double
read_pss(pid_t pid)
{
	char path[64], line[256];
	unsigned long kib = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", (long)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return 0;
	while (fgets(line, sizeof line, f) != NULL && sscanf(line, "Pss: %lu", &kib) != 1)
		;
	fclose(f);
	return (double)kib * 1024;
}

struct bench_usage
bench_uses(pid_t pid)
{
	return (struct bench_usage){ .pss = read_pss(pid), .fds = count_fds(pid) };
}

static int
add_worker(void *arg, const struct stash_process *process)
{
	struct bench_usage *usage = arg;

	if (process->pid > 0) {
		struct bench_usage one = bench_uses(process->pid);

		usage->pss += one.pss;
		usage->fds += one.fds;
	}
	return 0;
}

int
bench_workers_use(struct stash_client *client, struct bench_usage *usage)
{
	*usage = (struct bench_usage){ 0 };
	return stash_which_children(client, "root", add_worker, usage, STASH_TIMEOUT);
}

pid_t
bench_supervisor(const struct bench_daemon *daemon)
{
	char path[64], title[128];
	pid_t found = 0;
	long child;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)daemon->pid, (long)daemon->pid);
	f = fopen(path, "re");
	while (f != NULL && found == 0 && fscanf(f, "%ld", &child) == 1) {
		FILE *words;
		size_t n;

		snprintf(path, sizeof path, "/proc/%ld/cmdline", child);
		words = fopen(path, "re");
		if (words == NULL)
			continue;
		n = fread(title, 1, sizeof title - 1, words);
		title[n] = '\0';
		if (strstr(title, "supervisor") != NULL)
			found = (pid_t)child;
		fclose(words);
	}
	if (f != NULL)
		fclose(f);
	return found;
}
