/* SPDX-License-Identifier: ISC */
/*
 * run.c: a worker's life from its first message to its exit status.
 * Until GO the predecessor may still be read: nothing of the slot but the owner's words is written before it.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/boot.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/point.h"
#include "base/role.h"
#include "shm/checksum.h"
#include "worker/worker.h"

#define EXIT_CRASH 1

void
stash__worker_phase(struct stash_worker *w, uint32_t phase)
{
	atomic_store_explicit(&w->out.box->phase, phase, memory_order_relaxed);
	atomic_store_explicit(&w->out.box->since, (uint64_t)w->now, memory_order_relaxed);
}

/* Dies with the supervisor until GO; if that one is dead already, nobody will send GO. */
static int
die_with_parent(struct stash_worker *w)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return stash__fail_errno("cannot ask to die with the supervisor");
	if (getppid() != (pid_t)w->start.parent)
		return stash__fail(STASH_E_DOWN, "the supervisor died before %s was started", w->start.name);
	return STASH_OK;
}

static int
own_slot(struct stash_worker *w)
{
	struct stash__out_page *page = w->out.page;
	uint64_t start = 0;
	int result = stash__start_time(getpid(), &start);

	if (result < 0)
		return result;
	atomic_store(&page->owner_pid, (uint64_t)getpid());
	atomic_store(&page->owner_start, start);
	atomic_store(&page->ack_disk, w->start.ack_disk);
	atomic_store(&page->owner, w->start.incarnation);
	return STASH_OK;
}

/* The black box as it is for a new incarnation; counters go on. */
static void
clear_box(struct stash_worker *w)
{
	struct stash__box *box = w->out.box;

	atomic_store(&box->in_hand, 0);
	atomic_store(&box->batch, 0);
	atomic_store(&box->asked, 0);
	atomic_store(&box->kind, 0);
	atomic_store(&box->attempt, 0);
	atomic_store(&box->len, 0);
	memset(box->tag, 0, sizeof box->tag);
	memset(&box->crash, 0, sizeof box->crash);
	atomic_store(&w->out.page->wanted, 0);
	stash__worker_phase(w, STASH__PHASE_INIT);
	w->bell_page->magic = STASH__MAGIC_BELL; /* a predecessor may have written over it */
	w->bell_page->format = STASH__SLOT_FORMAT;
	atomic_store(&w->bell_page->incarnation, w->start.incarnation);
	atomic_store(&w->bell_page->asleep, 0);
	atomic_store(&w->bell_page->crowd, 0);
	strncpy(w->out.page->layout, w->behaviour->name, STASH_NAME_MAX);
	atomic_store(&w->out.page->layout_version, w->behaviour->layout_version);
	w->layout_sum = stash__layout_sum(w->behaviour->name, STASH_NAME_MAX, w->behaviour->layout_version);
}

/* Takes over what the predecessor committed. */
static int
load(struct stash_worker *w)
{
	const struct stash__base *base = w->base;

	w->entry = base->entry;
	w->changed = base->changed;
	w->version = w->committed = base->version;
	w->careful = base->careful != 0;
	return stash__state_load(w);
}

static void
fill_init(struct stash_worker *w, uint64_t restarts, uint32_t last_reason)
{
	w->init.version = w->version;
	w->init.restarts = restarts;
	w->init.last_reason = last_reason;
	w->init.from_layout = w->base->layout_version;
	w->init.argc = w->start.argc;
	w->init.argv = (const char *const *)w->start.argv;
}

/* From GO to the loop: 0, STASH_IGNORE, or an error (a start that failed). */
static int
begin(struct stash_worker *w)
{
	int result;

	w->now = stash__now_ns();
	clear_box(w);
	result = stash__out_map_ring(&w->out);
	if (result == STASH_OK)
		result = stash__base_copy(&w->in, &w->base);
	if (result == STASH_OK)
		result = stash__room_begin(w);
	if (result == STASH_OK)
		result = stash__state_allocate(w);
	if (result == STASH_OK)
		result = load(w);
	/* Only now: one that can't read the state may not describe its layout anew. */
	if (result == STASH_OK)
		result = stash__control_layout(w);
	if (result == STASH_OK)
		result = stash__records_load(w);
	if (result < 0)
		return result;
	stash__worker_phase(w, STASH__PHASE_INIT);
	fill_init(w, w->init.restarts, w->init.last_reason);
	result = stash__dispatch_init(w);
	if (result == STASH_OK)
		result = stash__state_begun(w);
	if (result != STASH_OK)
		return result;
	return w->dirty || stash__records_due(w) || w->touched_ways > 0 ? stash__submit(w, STASH__ENTRY_INIT) :
									  STASH_OK;
}

/* Ends in order: terminate, a last entry if it changed something, and all replies out. */
static int
end(struct stash_worker *w)
{
	bool failed = w->ending < 0, shutdown = w->closing || w->ending == STASH_STOP_SHUTDOWN;
	enum stash_reason reason = failed ? STASH_REASON_CRASH : shutdown ? STASH_REASON_SHUTDOWN : STASH_REASON_NORMAL;
	int result = STASH_OK;

	if (!w->spoiled)
		stash__dispatch_terminate(w, reason);
	if (!w->lost_batch && (!failed || w->behaviour->commit == STASH_COMMIT_TERMINATE))
		result = stash__submit(w, STASH__ENTRY_LAST);
	if (result == STASH_OK)
		result = stash__submit_flush(w);
	if (failed || result < 0)
		return EXIT_CRASH;
	stash__worker_phase(w, STASH__PHASE_DONE);
	return !w->closing && w->ending == STASH_STOP_SHUTDOWN ? STASH_EXIT_SHUTDOWN : EXIT_SUCCESS;
}

static int
fail_start(struct stash_worker *w, int error)
{
	char text[STASH__ERRMSG_MAX];

	strncpy(text, stash_errmsg(), sizeof text - 1);
	text[sizeof text - 1] = '\0';
	stash__crash_note(w, error, text);
	(void)stash__control_ready(w, error, text);
	return EXIT_CRASH;
}

static int
live(struct stash_worker *w)
{
	int result = begin(w);

	if (result < 0)
		return fail_start(w, result);
	if (result == STASH_IGNORE) {
		atomic_store(&w->out.box->asked, 1);
		(void)stash__control_ready(w, STASH_IGNORE, "");
		return EXIT_SUCCESS;
	}
	/* A supervisor may take the word and die before it has noted it: the next one finds it in the bell page. */
	atomic_store(&w->out.box->phase, STASH__PHASE_BETWEEN);
	atomic_store(&w->bell_page->ready, w->start.incarnation);
	(void)stash__control_ready(w, STASH_OK, "");
	result = stash__worker_loop(w);
	if (result < 0) {
		/* Left alone it can't go on, but that is no fault of the message in hand: it is handled again. */
		if (!w->abandoned)
			stash__crash_note(w, result, stash_errmsg());
		return EXIT_CRASH;
	}
	return end(w);
}

static void
destroy(struct stash_worker *w)
{
	stash__mailbox_free_all(w);
	if (w->lines >= 0)
		close(w->lines);
	stash__timer_free_all(w);
	stash__post_free_all(w);
	stash__names_free_all(w);
	stash__task_free_all(w);
	stash__records_free_all(w);
	stash__ways_free_all(w);
	stash__ask_free(w);
	free(w->dir);
	stash__out_unmap(&w->out);
	stash__in_unmap(&w->in);
	stash__bell_page_unmap(w->bell_page);
	stash__copy_free(&w->copy);
	free(w->base);
	free(w->wire);
	stash__buf_fini(&w->message_out);
	if (w->events != NULL) {
		event_free(w->alarm);
		event_base_free(w->events);
	}
	stash__state_free(w);
	for (int i = 0; i < w->start.argc; i++)
		free(w->start.argv[i]);
	free(w->start.argv);
	free(w);
}

int
stash__worker_run(const struct stash_behaviour *behaviour, int control)
{
	struct stash_worker *w = calloc(1, sizeof *w);
	int status, result;

	if (w == NULL)
		return EX_OSERR;
	w->behaviour = behaviour;
	w->control = control;
	w->bell = w->stash_bell = w->lines = -1;
	w->batch_max = behaviour->batch_max != 0 ? behaviour->batch_max : 64;
	w->thread = pthread_self();
	w->next_ref = 1;
	w->grow_head = UINT64_MAX;
	RB_INIT(&w->timers);
	STAILQ_INIT(&w->posts);
	STAILQ_INIT(&w->names.downs);
	TAILQ_INIT(&w->asked_tasks);
	TAILQ_INIT(&w->tasks);
	TAILQ_INIT(&w->over_tasks);
	w->task_epoll = -1;
	TAILQ_INIT(&w->open);
	TAILQ_INIT(&w->fresh);
	TAILQ_INIT(&w->asked);
	TAILQ_INIT(&w->ways);
	stash__buf_init(&w->records, 2 * (size_t)STASH__RECORDS_BYTES);
	pthread_mutex_init(&w->posts_lock, NULL);
	stash__role_set(STASH__ROLE_WORKER);
	result = stash__control_start(w);
	if (result == STASH_OK)
		result = die_with_parent(w);
	if (result == STASH_OK)
		result = own_slot(w);
	if (result == STASH_OK)
		result = stash__crash_arm(w);
	if (result == STASH_OK)
		result = stash__control_go(w);
	if (result < 0) {
		/* Nothing was touched: the supervisor sees a child that ended before its go. */
		stash__log(LOG_ERR, "%s", stash_errmsg());
		status = result == STASH_E_DOWN ? EXIT_SUCCESS : EX_OSERR;
	} else {
		if (!w->start.dies_with_supervisor)
			(void)prctl(PR_SET_PDEATHSIG, 0);
		stash__point_process("worker", w->start.name);
		status = live(w);
	}
	destroy(w);
	return status;
}
