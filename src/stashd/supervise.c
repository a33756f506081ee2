/* SPDX-License-Identifier: ISC */
/*
 * supervise.c: stash_supervise(): what is checked and made before the first process: specification, directory, lock,
 * run directory; then the keeper takes over this process until the tree has ended.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bsd/libutil.h>
#include <bsd/string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/role.h"
#include "base/take.h"
#include "stash/process.h"
#include "stashd/handover.h"
#include "stashd/keeper.h"
#include "stashd/modes.h"
#include "stashd/plan.h"
#include "stashd/proc.h"
#include "stashd/rundir.h"
#include "stashd/server.h"
#include "stashd/supervise.h"
#include "worker/worker.h"

#define SPIN_NS 50000
#define STORE_BYTES (1ull << 30)
#define HISTORY 16
#define LOCK_MS 1000 /* for processes that are dying to be dead */
#define DIR_DEFAULT "/var/lib/stash"
#define PID_NAME "stashd.pid"

/* ---- the specification ---- */

int
supervise_make_tree(const struct stash_supervisor_spec *spec, struct plan_table *table, struct sup_spec **tree)
{
	struct sup_convert how = { .pack = plan_pack, .arg = table, .released = true };
	int result;

	if (spec == NULL)
		return stash__fail(STASH_E_INVAL, "stash_supervise() without a specification");
	/* Those that are named later have the same place in each supervisor, too. */
	result = plan_table_named(table);
	return result < 0 ? result : sup_spec_make(&how, spec, tree);
}

/* ---- directory and lock ---- */

static int
make_dir(const char *given, char dir[PATH_MAX])
{
	const char *path = given != NULL ? given : getenv("STASH_DIR");

	if (path == NULL || path[0] == '\0')
		path = DIR_DEFAULT;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return stash__fail_errno("%s: the store's directory can't be made", path);
	if (realpath(path, dir) == NULL)
		return stash__fail_errno("%s", path);
	if (access(dir, R_OK | W_OK | X_OK) < 0)
		return stash__fail_errno("%s: the store's directory can't be used", dir);
	return modes_check_store(dir);
}

/* Why it couldn't be had. */
static int
fail_lock(const char *dir, const char *path, int error, pid_t other)
{
	if (error != EEXIST) {
		errno = error;
		return stash__fail_errno("%s: can't be locked", path);
	}
	if (other <= 0)
		return stash__fail(STASH_E_BUSY, "%s: another stashd is being started there", dir);
	if (kill(other, 0) < 0 && errno == ESRCH)
		return stash__fail(STASH_E_BUSY,
		    "%s: the keeper, process %d, is dead, but its supervisor or its stash still runs, or all of them "
		    "do in another PID namespace: stop it first (stashctl shutdown)",
		    dir, (int)other);
	return stash__fail(STASH_E_BUSY, "%s: is in use by another stashd, process %d", dir, (int)other);
}

/* A lock that couldn't be written: libbsd has closed it by then, and has no way to free it. */
static struct pidfh *volatile unwritten;

/* Held by keeper, supervisor and stash through one open description: free only when all of them are dead. */
int
supervise_lock(const char *dir, struct pidfh **lock)
{
	int64_t deadline = stash__deadline_ns(LOCK_MS);
	char path[PATH_MAX];
	pid_t other = 0;
	int error, result;

	if (snprintf(path, sizeof(path), "%s/" PID_NAME, dir) >= (int)sizeof(path))
		return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", dir);
	/* A tool of root's that is killed leaves it, and the next stashd there may be another user's. */
	result = stash__make_for_owner(dir, PID_NAME);
	if (result < 0)
		return result;
	while ((*lock = pidfile_open(path, 0600, &other)) == NULL) {
		error = errno;
		/* When all of them were killed at once, some may still be on their way out. */
		if (error != EEXIST || other <= 0 || kill(other, 0) == 0 || errno != ESRCH ||
		    stash__now_ns() >= deadline)
			return fail_lock(dir, path, error, other);
		(void)poll(NULL, 0, 10);
	}
	if (pidfile_write(*lock) < 0) {
		unwritten = *lock;
		return stash__fail_errno("%s: can't be written", path);
	}
	return 0;
}

/* ---- the processes ---- */

static int
supervisor(void *arg, int keeper, uint64_t starts)
{
	return server_run(arg, keeper, starts);
}

static int
run(struct server_job *job, char *run_dir)
{
	struct keeper_job keeper = {
		.supervisor = supervisor, .other = handover_exec, .arg = job, .last = job->config->last
	};
	struct stash__info info;
	int result = rundir_prepare(job->dir, job->config->run_dir, &info);

	if (result == 0)
		result = modes_share(job->dir, info.run_dir, &job->config->access);
	if (result < 0)
		return result;
	strlcpy(run_dir, info.run_dir, PATH_MAX);
	job->run_dir = run_dir;
	job->store_id = info.id;
	(void)sigprocmask(SIG_SETMASK, NULL, &job->child_mask);
	if (job->config->binary != NULL)
		keeper.binary = job->config->binary->path;
	stash__crash_preload(); /* once, and not in each worker */
	result = keeper_run(&keeper);
	rundir_clean(run_dir);
	return result;
}

static int
lock_and_run(struct server_job *job, const char *given)
{
	char dir[PATH_MAX], run_dir[PATH_MAX];
	struct pidfh *lock = NULL;
	int result = make_dir(given, dir);

	if (result == 0)
		result = supervise_lock(dir, &lock);
	if (result < 0)
		return result;
	job->dir = dir;
	job->lock_fd = pidfile_fileno(lock);
	result = run(job, run_dir);
	job->dir = job->run_dir = NULL; /* they end with this function */
	(void)pidfile_remove(lock);
	return result;
}

void
stash__supervise_defaults(struct stash__supervise_config *config)
{
	memset(config, 0, sizeof(*config));
	config->store_bytes = STORE_BYTES;
	config->ack = STASH_ACK_CRASH;
	config->history = HISTORY;
	config->spin_ns = SPIN_NS;
	config->commit_interval_ns = STASH__COMMIT_INTERVAL_NS;
}

int
stash__supervise(const struct stash_supervisor_spec *spec, const char *dir, const struct stash__supervise_config *given)
{
	struct stash__supervise_config config = *given;
	struct plan_table table = { .named = config.behaviours, .ack = config.ack, .history = config.history };
	struct server_job job = { .config = &config, .plans = &table };
	int result;

	if (stash__role() != STASH__ROLE_NONE)
		return stash__fail(STASH_E_INVAL, "stash_supervise() in a worker");
	if (config.store_bytes == 0)
		config.store_bytes = STORE_BYTES;
	if (config.log != NULL)
		stash__log_sink(config.log, config.log_arg);
	(void)proc_raise_files();
	result = supervise_make_tree(spec, &table, &job.tree);
	if (result == 0) {
		result = lock_and_run(&job, dir);
		sup_spec_unref(job.tree);
	}
	plan_table_free(&table);
	if (config.log != NULL)
		stash__log_sink(NULL, NULL);
	return result;
}

int
supervise_take_options(const struct stash_supervise_options *options, struct stash__supervise_config *config)
{
	struct stash_supervise_options o;
	int result = stash__take(&o, sizeof(o), options, "struct stash_supervise_options");

	if (result < 0)
		return result;
	stash__supervise_defaults(config);
	config->run_dir = o.run_dir;
	if (o.store_bytes != 0)
		config->store_bytes = o.store_bytes;
	if (o.ack > STASH_ACK_DISK)
		return stash__fail(STASH_E_INVAL, "stash_supervise(): ack is %u", o.ack);
	if (o.ack != STASH_ACK_DEFAULT)
		config->ack = o.ack;
	config->behaviours = o.behaviours;
	config->log = o.log;
	config->log_arg = o.log_arg;
	return 0;
}

int
stash_supervise(
    const struct stash_supervisor_spec *spec, const char *dir, const struct stash_supervise_options *options)
{
	struct stash__supervise_config config;
	int result = supervise_take_options(options, &config);

	return result < 0 ? result : stash__supervise(spec, dir, &config);
}
