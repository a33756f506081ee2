/* SPDX-License-Identifier: ISC */
/*
 * Scenarios side by side: a process for each, whose output is kept until those before it are printed. Directories are
 * in memory if they can be, since each step waits for the store.
 */
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "replay/jobs.h"
#include "replay/real.h"

#define JOBS_EACH 3 /* scenarios for each processor: they wait a good deal */

struct job {
	const char *file;
	pid_t pid; /* 0: not begun, or over */
	int output;
	int status; /* as waitpid gives it */
	char dir[64];
};

/* ---- one ---- */

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
make_dir(char *dir, size_t size)
{
	const char *other = getenv("TMPDIR");

	snprintf(dir, size, "/dev/shm/otp-replay.XXXXXX");
	if (mkdtemp(dir) != NULL)
		return 0;
	snprintf(dir, size, "%.40s/otp-replay.XXXXXX", other != NULL ? other : "/tmp");
	if (mkdtemp(dir) != NULL)
		return 0;
	perror(dir);
	return -1;
}

static _Noreturn void
run(const struct job *job)
{
	struct scenario s;
	int status = EX_DATAERR;

	if (dup2(job->output, STDOUT_FILENO) < 0)
		_exit(EX_OSERR);
	if (scenario_read(&s, job->file) == 0)
		status = !real_run(&s, job->dir);
	scenario_free(&s);
	if (fflush(NULL) != 0)
		status = EX_OSERR;
	_exit(status);
}

static int
begin(struct job *job)
{
	job->output = memfd_create("otp-replay", MFD_CLOEXEC);
	if (job->output < 0 || make_dir(job->dir, sizeof(job->dir)) < 0)
		return -1;
	fflush(NULL);
	job->pid = fork();
	if (job->pid == 0)
		run(job);
	return job->pid < 0 ? -1 : 0;
}

/* ---- all ---- */

static void
print(struct job *job)
{
	char text[16384];
	ssize_t n;
	off_t at = 0;

	for (; (n = pread(job->output, text, sizeof(text), at)) > 0; at += n)
		(void)fwrite(text, 1, (size_t)n, stdout);
	close(job->output);
	if (WIFEXITED(job->status) && WEXITSTATUS(job->status) == 0)
		return;
	fprintf(stderr, "otp-replay: %s differs", job->file);
	if (!WIFEXITED(job->status) || WEXITSTATUS(job->status) != 1)
		fprintf(stderr, " (ended with status %d)", job->status);
	fputc('\n', stderr);
}

/* Waits for one of them. */
static void
reap(struct job *jobs, int n)
{
	int status = 0, i;
	pid_t pid = waitpid(-1, &status, 0);

	for (i = 0; i < n; i++) {
		if (jobs[i].pid != pid || pid <= 0)
			continue;
		jobs[i].pid = 0;
		jobs[i].status = status;
		if (getenv("REPLAY_KEEP") == NULL)
			(void)nftw(jobs[i].dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	}
}

static int
run_jobs(struct job *jobs, int n, int width)
{
	int begun = 0, printed = 0, running = 0, differ = 0, failed = 0;

	while (printed < n) {
		while (running < width && begun < n && failed == 0) {
			failed = begin(&jobs[begun]);
			begun++;
			running++;
		}
		if (failed != 0)
			return -1;
		reap(jobs, begun);
		running--;
		for (; printed < begun && jobs[printed].pid == 0; printed++) {
			print(&jobs[printed]);
			if (WIFEXITED(jobs[printed].status) && WEXITSTATUS(jobs[printed].status) == EX_DATAERR)
				failed = -1;
			differ += jobs[printed].status != 0;
		}
	}
	return failed != 0 ? -1 : differ;
}

char jobs_stashd[PATH_MAX + 40], jobs_module[PATH_MAX + 40];

static void
find_programs(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *cut;

	path[n > 0 ? n : 0] = '\0';
	if ((cut = strrchr(path, '/')) != NULL)
		*cut = '\0';
	snprintf(jobs_stashd, sizeof(jobs_stashd), "%s/../stashd", path);
	snprintf(jobs_module, sizeof(jobs_module), "%s/modules/replay_worker.so", path);
}

int
jobs_run(char *const *files, int n, int width)
{
	struct job *jobs = calloc((size_t)n, sizeof(*jobs));
	int i, differ;

	if (jobs == NULL)
		return -1;
	find_programs();
	for (i = 0; i < n; i++)
		jobs[i].file = files[i];
	differ = run_jobs(jobs, n, width > 0 ? width : JOBS_EACH * (int)sysconf(_SC_NPROCESSORS_ONLN));
	free(jobs);
	return differ;
}
