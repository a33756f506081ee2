/* SPDX-License-Identifier: ISC */
/* The steps of a scenario on a real stashd. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>

#include "base/clock.h"
#include "replay/real.h"

#define DEAD_MS 30000

/* Its process has ended, whatever follows from that. */
static void
await_death(struct real *r, pid_t pid)
{
	int64_t deadline = stash__deadline_ns(DEAD_MS);

	while (real_proc_pid(r, pid) != NULL && stash__now_ns() < deadline)
		real_workers_hear(r, 10);
	if (real_proc_pid(r, pid) != NULL)
		real_complain(r, "process %d doesn't end", (int)pid);
}

static void
do_exit(struct real *r, const struct path *path, const char *how)
{
	struct proc *proc = real_proc(r, path);
	const char *text = "exit abnormal";
	pid_t pid;

	if (strcmp(how, "normal") == 0)
		text = "exit normal";
	else if (strncmp(how, "shutdown", 8) == 0)
		text = "exit shutdown";
	if (proc == NULL || proc->life == LIFE_HELD_START) {
		real_answer(r, NULL, real_time_ns(), "error not_running");
	} else if (proc->life == LIFE_HELD_STOP) {
		real_answer(r, NULL, real_time_ns(), "error held");
	} else {
		pid = proc->pid;
		real_proc_tell(r, proc, text);
		await_death(r, pid);
	}
}

static void
do_kill(struct real *r, const struct path *path)
{
	const struct proc *proc = real_proc(r, path);
	pid_t pid;

	if (proc == NULL) {
		real_answer(r, NULL, real_time_ns(), "error not_running");
		return;
	}
	pid = proc->pid;
	if (pidfd_send_signal(proc->pidfd, SIGKILL, NULL, 0) < 0)
		real_complain(r, "process %d can't be killed", (int)pid);
	await_death(r, pid);
}

static void
do_release(struct real *r, const struct path *path, const char *outcome)
{
	struct proc *proc = real_proc(r, path);

	if (proc != NULL && proc->life == LIFE_HELD_START && outcome != NULL) {
		real_proc_outcome(r, proc, outcome);
	} else if (proc != NULL && proc->life == LIFE_HELD_STOP && outcome == NULL) {
		proc->life = LIFE_SLOW;
		real_proc_tell(r, proc, "end");
	} else {
		real_answer(r, NULL, real_time_ns(), "error not_held");
	}
}

static void
do_set(struct real *r, const struct item *it)
{
	pthread_mutex_lock(&r->lock);
	path_set(world_path(&r->w, it->word[1]), it);
	pthread_mutex_unlock(&r->lock);
}

static const struct path *
path_of(struct real *r, const char *name)
{
	const struct path *path;

	pthread_mutex_lock(&r->lock);
	path = world_path(&r->w, name);
	pthread_mutex_unlock(&r->lock);
	return path;
}

void
real_step(struct real *r, const struct item *it)
{
	char *const *word = real_words(it);

	if (strcmp(word[0], "start") == 0)
		real_root_start(r, it);
	else if (strcmp(word[0], "stop") == 0)
		real_root_stop(r);
	else if (strcmp(word[0], "exit") == 0)
		do_exit(r, path_of(r, word[1]), word[2]);
	else if (strcmp(word[0], "kill") == 0)
		do_kill(r, path_of(r, word[1]));
	else if (strcmp(word[0], "release") == 0)
		do_release(r, path_of(r, word[1]), word[2]);
	else if (strcmp(word[0], "set") == 0)
		do_set(r, it);
	else if (strcmp(word[0], "sleep") == 0)
		(void)poll(NULL, 0, atoi(word[1]));
	else
		real_ask(r, it);
}
