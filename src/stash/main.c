/* SPDX-License-Identifier: ISC */
/*
 * main.c: start and end of the stash process.  It starts with the store's lock and with all that earlier ones
 * and the workers have left in the slots of this boot, folds and commits that, and only then says hello.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/info.h"
#include "base/log.h"
#include "base/point.h"
#include "shm/bell.h"
#include "stash/inside.h"

#define LOCK_MS 1000 /* for a tool that reads offline; a predecessor is dead when the next one is started */
#define LOCK_STEP_MS 20

/* ---- signals ---- */

/* Notes on which entry it happened, then dies of it. */
static void
on_crash(int signal)
{
	stash__blame();
	(void)raise(signal);
}

static void
arm(void)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE };
	struct sigaction action = { .sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND };

	for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
		(void)sigaction(crashes[i], &action, NULL);
	action = (struct sigaction){ .sa_handler = SIG_IGN };
	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
		(void)sigaction(ignored[i], &action, NULL);
}

/* ---- start ---- */

static int
open_directories(struct stash *s)
{
	const char *run_dir = s->options->run_dir;

	s->run_dir = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->run_dir < 0)
		return stash__fail_errno("cannot open the run directory %s", run_dir);
	if (mkdirat(s->run_dir, STASH__SLOT_DIR, 0700) < 0 && errno != EEXIST)
		return stash__fail_errno("cannot make %s/" STASH__SLOT_DIR, run_dir);
	s->slot_dir = openat(s->run_dir, STASH__SLOT_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->slot_dir < 0)
		return stash__fail_errno("cannot open %s/" STASH__SLOT_DIR, run_dir);
	return STASH_OK;
}

/* Nobody holds the other end of its line. */
static bool
is_alone(const struct stash *s)
{
	struct pollfd line = { .fd = s->control };

	return poll(&line, 1, 0) > 0 && (line.revents & POLLHUP) != 0;
}

/* A supervisor that died right behind the fork told nobody of this process: while it waits another one may have the
 * store, and leave it clean. */
static int
lock(struct stash *s)
{
	int64_t deadline = stash__deadline_ns(LOCK_MS);
	int result;

	do {
		result = store_lock(s->options->dir, true, LOCK_STEP_MS, &s->lock_fd);
		if (is_alone(s))
			return stash__fail(
			    STASH_E_DOWN, "a stash process ends: its supervisor is gone, and the next one has another");
	} while (result == STASH_E_BUSY && stash__now_ns() < deadline);
	return result;
}

static int
open_store(struct stash *s)
{
	const struct stash__stash_options *o = s->options;
	struct store_options options = {
		.map_bytes = o->map_bytes, .quota_bytes = o->quota_bytes, .validate = o->validate
	};
	struct stash__info info;
	int result = stash__info_read(o->dir, &info);

	if (result == STASH_OK)
		result = stash__boot_id(s->origin.boot_id);
	if (result < 0)
		return result;
	memcpy(s->origin.store_id, info.id, STASH__ID);
	options.lock_fd = o->lock_fd;
	if (o->lock_fd <= 0) {
		result = lock(s);
		options.lock_fd = s->lock_fd;
	}
	if (result == STASH_OK)
		result = store_open(&s->store, o->dir, &options);
	if (result == STASH_OK)
		s->same_boot = store_found(s->store)->same_boot;
	return result;
}

/* Maps the status page of earlier stash processes, or makes one. */
static int
open_status(struct stash *s)
{
	int fd = openat(s->run_dir, STASH__STATUS_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW), result = STASH_OK;

	if (fd >= 0) {
		s->status = stash__status_page_map(fd, true);
		close(fd);
		if (s->status != NULL && memcmp(s->status->store_id, s->origin.store_id, STASH__ID) != 0) {
			stash__status_page_unmap(s->status);
			s->status = NULL;
		}
	}
	if (s->status == NULL) {
		result = stash__status_page_make(s->run_dir, STASH__STATUS_NAME, &s->origin, &fd);
		if (result < 0)
			return result;
		s->status = stash__status_page_map(fd, true);
		close(fd);
	}
	if (s->status == NULL)
		return STASH_E_SYSTEM;
	atomic_fetch_add(&s->status->incarnation, 1);
	atomic_store(&s->status->pid, (uint64_t)getpid());
	atomic_store(&s->status->deaths, s->options->deaths);
	/* The first commit will tell. */
	atomic_store(&s->status->store_full, 0);
	atomic_store(&s->status->store_error, 0);
	atomic_store(&s->status->heartbeat, (uint64_t)stash__now_ns());
	return STASH_OK;
}

/* Everything that is in the slots, into bases and store; what the store doesn't take now is tried again later. */
static void
catch_up(struct stash *s)
{
	struct slot *slot, *next;
	int result;

	TAILQ_FOREACH_SAFE(slot, &s->sleeping, turn, next)
		stash__slot_activate(s, slot);
	stash__round(s, true);
	result = stash__commit_take(s);
	if (result == STASH_OK)
		result = stash__commit_run(s);
	stash__commit_report(s, result);
}

static int
start(struct stash *s)
{
	int result = open_directories(s);

	s->bell = s->options->bell > 0 ? s->options->bell : stash__bell_make();
	if (result == STASH_OK && s->bell < 0)
		result = s->bell;
	s->packet = malloc(STASH__WIRE_MAX);
	if (result == STASH_OK && s->packet == NULL)
		result = stash__fail(STASH_E_NOMEM, "no memory to receive messages");
	if (result == STASH_OK)
		result = open_store(s);
	if (result == STASH_OK)
		result = open_status(s);
	if (result == STASH_OK)
		result = stash__slots_scan(s);
	if (result == STASH_OK)
		result = stash__rows_begin(s);
	if (result == STASH_OK)
		catch_up(s);
	return result;
}

/* ---- end ---- */

static void
close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void
end(struct stash *s)
{
	struct slot *slot, *next;

	stash__copy_end(s);
	RB_FOREACH_SAFE(slot, slots, &s->slots, next)
		stash__slot_remove(s, slot);
	stash__rows_end(s);
	stash__commit_free(s);
	stash__wait_free(&s->waiters);
	stash__wait_free(&s->job.waiters);
	stash__answer_free(s);
	stash__buf_fini(&s->message);
	stash__status_page_unmap(s->status);
	free(s->entry.at);
	free(s->newest.at);
	free(s->packet);
	store_close(s->store);
	if (s->options->bell <= 0)
		close_fd(s->bell);
	close_fd(s->slot_dir);
	close_fd(s->run_dir);
	close_fd(s->lock_fd);
	pthread_mutex_destroy(&s->table);
	pthread_mutex_destroy(&s->watch);
	free(s);
}

static struct stash *
create(const struct stash__stash_options *options)
{
	struct stash *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->options = options;
	s->fold_interval = options->fold_interval_ns > 0 ? options->fold_interval_ns : STASH__FOLD_INTERVAL_NS;
	s->commit_interval = options->commit_interval_ns == 0 ? STASH__COMMIT_INTERVAL_NS :
	    options->commit_interval_ns < 0		      ? 0 :
								options->commit_interval_ns;
	s->run_dir = s->slot_dir = s->lock_fd = s->bell = -1;
	s->rows.out.fd = s->rows.in.fd = -1;
	s->control = options->control;
	s->next_fold = INT64_MAX;
	pthread_mutex_init(&s->watch, NULL);
	pthread_mutex_init(&s->table, NULL);
	RB_INIT(&s->slots);
	TAILQ_INIT(&s->active);
	TAILQ_INIT(&s->sleeping);
	TAILQ_INIT(&s->unsaved);
	STAILQ_INIT(&s->waiters);
	STAILQ_INIT(&s->job.waiters);
	STAILQ_INIT(&s->answers);
	stash__buf_init(&s->message, STASH__WIRE_MAX);
	stash__buf_init(&s->job.rows, STASH__BUF_MAX);
	return s;
}

int
stash__stash_main(const struct stash__stash_options *options)
{
	struct stash *s = create(options);
	int result, status = STASH__STASH_REFUSED;

	if (s == NULL)
		return status;
	stash__point_process("stash", NULL);
	arm();
	result = start(s);
	if (result != STASH_E_DOWN)
		stash__answer_hello(s, result);
	if (result == STASH_OK)
		result = stash__loop(s);
	if (result == STASH_OK)
		status = s->status_code;
	else if (result == STASH_E_DOWN)
		status = STASH__STASH_ALONE;
	if (result < 0)
		stash__log(status == STASH__STASH_ALONE ? LOG_NOTICE : LOG_CRIT, "%s", stash_errmsg());
	end(s);
	return status;
}
