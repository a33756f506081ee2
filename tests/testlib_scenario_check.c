/* SPDX-License-Identifier: ISC */
/*
 * testlib_scenario_check.c: what must be true after the scenario.  Each check goes on after what it has found, so that
 * one run tells all.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "testlib_scenario_run.h"

#define LEFT_MS 5000

bool
scenario_killed(const struct run *r, enum tracer_kind kind)
{
	unsigned done = r->tracer != NULL ? tracer_done(r->tracer) : r->how->report.done;

	for (unsigned i = 0; i < done; i++) {
		const struct tracer_act *a = &r->how->plan.acts[i];

		if (a->what == TRACER_KILL && a->kind == kind)
			return true;
	}
	return false;
}

/* ---- what is left over ---- */

int
scenario_children(pid_t parent, pid_t *pids, int max)
{
	char path[64];
	FILE *file;
	int n = 0;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
	file = fopen(path, "re");
	if (file == NULL)
		return kill(parent, 0) == 0 ? t_children(parent, pids, max) : 0;
	while (n < max && fscanf(file, "%d", &pids[n]) == 1)
		n++;
	fclose(file);
	return n;
}

bool
scenario_titled(pid_t pid, const char *title)
{
	char path[64], text[PATH_MAX] = "";
	int fd;
	bool yes;

	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	yes = read(fd, text, sizeof text - 1) > 0 && strncmp(text, title, strlen(title)) == 0;
	close(fd);
	return yes;
}

int
scenario_fds(pid_t pid, const char *what)
{
	char path[300], target[256];
	struct dirent *entry;
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (dir == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		ssize_t len;

		if (entry->d_name[0] == '.')
			continue;
		len = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
		target[len > 0 ? len : 0] = '\0';
		n += what == NULL || strstr(target, what) != NULL;
	}
	closedir(dir);
	return n;
}

/* Who may have a channel: all but the tracer and this process. */
static bool
no_channel(void *arg)
{
	const struct run *r = arg;
	siginfo_t info = { .si_pid = 0 };
	bool keeper_lives = !r->keeper.over &&
	    waitid(P_PID, (id_t)r->keeper.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
	pid_t pids[64];
	int n = scenario_children(keeper_lives ? r->keeper.pid : getpid(), pids, 64);

	for (int i = 0; i < n; i++)
		if (scenario_titled(pids[i], "stashd: supervisor") && scenario_fds(pids[i], "/memfd:stash-channel") > 0)
			return false;
	return !keeper_lives ||
	    (scenario_fds(r->keeper.pid, "/memfd:stash-channel") == 0 &&
		(r->keeper_fds == 0 || scenario_fds(r->keeper.pid, NULL) == r->keeper_fds));
}

static void
name_fds(const struct run *r, pid_t pid)
{
	char path[300], target[256];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL) {
		ssize_t len;

		if (entry->d_name[0] == '.')
			continue;
		len = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);

		target[len > 0 ? len : 0] = '\0';
		fprintf(r->problems, "  descriptor %s of %d: %s\n", entry->d_name, (int)pid, target);
	}
	closedir(dir);
}

void
scenario_check_channels(struct run *r)
{
	if (t_wait_for(no_channel, r, LEFT_MS))
		return;
	scenario_problem(r, "channels are left: the keeper has %d descriptors, it had %d",
	    scenario_fds(r->keeper.pid, NULL), r->keeper_fds);
	name_fds(r, r->keeper.pid);
}

struct only {
	const struct run *run;
	pid_t also;
	pid_t pids[64];
	int n;
};

static bool
nobody_else(void *arg)
{
	struct only *o = arg;
	pid_t pids[64];
	int n = scenario_children(getpid(), pids, 64);

	o->n = 0;
	for (int i = 0; i < n; i++) {
		if (pids[i] != o->also && waitpid(pids[i], NULL, WNOHANG) == 0)
			o->pids[o->n++] = pids[i];
	}
	return o->n == 0;
}

void
scenario_check_processes(struct run *r, pid_t also)
{
	struct only o = { .run = r, .also = also };

	if (t_wait_for(nobody_else, &o, LEFT_MS))
		return;
	for (int i = 0; i < o.n; i++) {
		char path[64], *title;

		snprintf(path, sizeof path, "/proc/%d/cmdline", (int)o.pids[i]);
		title = access(path, R_OK) == 0 ? t_read_file(path, NULL) : NULL;
		scenario_problem(r, "process %d is left over: %s", (int)o.pids[i], title != NULL ? title : "");
		free(title);
		(void)kill(o.pids[i], SIGKILL); /* a child of this process, unreaped */
	}
	(void)t_wait_for(nobody_else, &o, LEFT_MS);
}

static void
name_files(struct run *r, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			scenario_problem(r, "left over in the run directory: %s", entry->d_name);
	if (dir != NULL)
		closedir(dir);
}

void
scenario_check_left(struct run *r)
{
	scenario_check_processes(r, r->tracer != NULL ? tracer_pid(r->tracer) : 0);
	if (r->keeper.over && r->keeper.status == 0)
		name_files(r, r->base);
}

/* ---- what the clients were told ---- */

/* An error that says that the call had no effect, or that its effect isn't known, as stash.3 has it. */
static bool
documented(int error)
{
	switch (error) {
	case STASH_E_TIMEDOUT:
	case STASH_E_PROTO:
	case STASH_E_NOENT:
	case STASH_E_DOWN:
	case STASH_E_FULL:
	case STASH_E_BUSY:
	case STASH_E_CRASHED:
	case STASH_E_SYSTEM:
	case STASH_E_NOMEM:
		return true;
	default:
		return false;
	}
}

/* The errors that a user has to expect from one kill. */
static bool
expected(const struct run *r, int error)
{
	if (r->how->failing)
		return documented(error);
	/* As in OTP, a tree whose first start of a child fails isn't started. */
	return r->start_failed && (error == STASH_E_DOWN || error == STASH_E_TIMEDOUT);
}

static void
check_call(struct run *r, const struct client *c, int i)
{
	const struct outcome *o = &c->calls[i];

	if (i >= c->finished) {
		r->maybe += i < c->started;
		return;
	}
	if (o->error == STASH_OK && o->number >= 0 && o->number < 64) {
		if ((r->answered & 1ull << o->number) != 0)
			scenario_problem(r, "%lld was handed out twice", (long long)o->number);
		r->answered |= 1ull << o->number;
		return;
	}
	if (o->error == STASH_OK)
		scenario_problem(r, "client %d, call %d: a strange number", c->index, i);
	else if (!expected(r, o->error))
		scenario_problem(r, "client %d, call %d: %s: %s", c->index, i, stash_errname(o->error), o->text);
	r->maybe += o->error == STASH_E_TIMEDOUT || o->error == STASH_E_PROTO;
}

/* What was asked of a stashd while there was none: a call waits for the next one, a restart doesn't. */
static bool
unanswered(const struct run *r, int error)
{
	enum scenario_flavour flavour = r->how->flavour;
	bool no_keeper = flavour == SCENARIO_KEEPER || scenario_killed(r, TRACER_KEEPER);
	bool no_supervisor = flavour == SCENARIO_SUPERVISOR || flavour == SCENARIO_BOTH ||
	    scenario_killed(r, TRACER_SUPERVISOR);

	return no_keeper && no_supervisor && (error == STASH_E_DOWN || error == STASH_E_TIMEDOUT);
}

static void
check_client(struct run *r, const struct client *c, const struct process *p)
{
	const struct outcome *o = &c->special;
	/* A restart fails when the worker dies before it is ready. */
	bool worker_killed = scenario_killed(r, TRACER_WORKER) || scenario_killed(r, TRACER_NEWBORN);

	if (!c->over && p->status != 256 + SIGKILL)
		scenario_problem(r, "client %d ended with %d", c->index, p->status);
	if (c->over && c->open.error != STASH_OK && !expected(r, c->open.error))
		scenario_problem(r, "client %d: open: %s: %s", c->index, stash_errname(c->open.error), c->open.text);
	for (int i = 0; i < CALLS; i++)
		check_call(r, c, i);
	if (!c->special_over || expected(r, o->error))
		return;
	if (c->index == 0 && o->error != STASH_E_CRASHED)
		scenario_problem(r, "the call that crashes: %s: %s", stash_errname(o->error), o->text);
	if (c->index == 1 && o->error != STASH_OK && !(o->error == STASH_E_START && worker_killed) &&
	    !unanswered(r, o->error))
		scenario_problem(r, "the restart: %s: %s", stash_errname(o->error), o->text);
}

void
scenario_check_calls(struct run *r)
{
	for (int i = 0; i < CLIENTS; i++)
		if (r->client[i].pid != 0)
			check_client(r, &r->clients[i], &r->client[i]);
}

/* ---- the next one ---- */

static void
check_numbers(struct run *r, int64_t next)
{
	int missing = 0;

	for (int64_t i = 0; i < 64; i++) {
		bool answered = (r->answered & 1ull << i) != 0;

		if (answered && i >= next)
			scenario_problem(
			    r, "%lld was handed out, and the next one is %lld", (long long)i, (long long)next);
		missing += !answered && i < next;
	}
	if (missing > (int)r->maybe)
		scenario_problem(r, "%d numbers are missing below %lld, of which %llu may have been under way", missing,
		    (long long)next, (unsigned long long)r->maybe);
}

void
scenario_check_next(struct run *r, bool orderly)
{
	struct stash_client *c = NULL;
	struct stash_reply reply = { 0 };
	int64_t next = -1;
	int result = stash_client_open(&c, r->store, NULL);
	char *log;

	if (result == STASH_OK)
		result = stash_call(c, "sequence", "next_number", NULL, 0, &reply, 20000);
	if (result == STASH_OK)
		result = stash_parse_int(reply.data, 0, 63, &next);
	if (result != STASH_OK)
		scenario_problem(r, "the next stashd gives no number: %s: %s", stash_errname(result), stash_errmsg());
	else
		check_numbers(r, next);
	stash_reply_free(&reply);
	stash_client_close(c);
	log = t_read_file(r->log, NULL);
	/* A store that was never in use is new to the next one, too. */
	if (orderly && strstr(log, "the store was stopped cleanly") == NULL &&
	    strstr(log, "a new store was made") == NULL)
		scenario_problem(r, "the next start after an orderly stop had something to recover");
	free(log);
}
