/* SPDX-License-Identifier: ISC */
/*
 * task.c: functions that run in a process of their own, and their results as messages.
 * A task begins when the transition that asked for it is safe, and never when its callback fails.  It lives no longer
 * than its worker, and what is left of it then is told to nobody.  The worker learns of its end by its pidfd;
 * SIGCHLD is left to the behaviour.  What happens in the child is in task_child.c.
 */
#include "worker/task.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>
#include <stash/worker.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/name.h"
#include "shm/bell.h"

#define AT_ONCE 16 /* ends that are looked at in one go */

/* ---- asking ---- */

static void
destroy(struct stash_worker *w, struct task *t)
{
	if (t->pidfd >= 0)
		close(t->pidfd);
	if (t->memfd >= 0)
		close(t->memfd);
	free(t->given);
	free(t->result);
	free(t);
	w->ntasks--;
}

static int
check(struct stash_worker *w, const char *tag, stash__task_fn *run, const void *data, size_t len, int timeout_ms)
{
	int result = stash__worker_in_callback(w, "stash_task");

	if (result == STASH_OK)
		result = stash__check_tag(tag);
	if (result < 0)
		return result;
	if (run == NULL || (data == NULL && len > 0))
		return stash__fail(STASH_E_INVAL, "stash_task(): no function to run, or %zu bytes at NULL", len);
	if (timeout_ms == 0 || timeout_ms < -1)
		return stash__fail(
		    STASH_E_INVAL, "stash_task(): a task can't run for %d ms; -1 is without a limit", timeout_ms);
	if (len > STASH_DATA_MAX)
		return stash__fail(
		    STASH_E_TOOBIG, "a task's payload of %zu bytes is over the limit of %d", len, STASH_DATA_MAX);
	if (w->ntasks >= STASH__TASKS_MAX)
		return stash__fail(STASH_E_BUSY, "%u tasks are under way, and that is all there may be at once",
		    (unsigned)STASH__TASKS_MAX);
	return STASH_OK;
}

/* Bytes with a NUL behind them, aligned as a payload is. */
static void *
copy(const void *data, size_t len)
{
	unsigned char *bytes = aligned_alloc(16, (len + 1 + 15) & ~(size_t)15);

	if (bytes == NULL) {
		(void)stash__fail(STASH_E_NOMEM, "no memory for a task of %zu bytes", len);
		return NULL;
	}
	if (len > 0)
		memcpy(bytes, data, len);
	bytes[len] = '\0';
	return bytes;
}

int
stash_task(struct stash_worker *w, const char *tag, int (*run)(const void *data, size_t len, struct stash_buf *result),
    const void *data, size_t len, int timeout_ms, int64_t *ref)
{
	struct task *t;
	int result = check(w, tag, run, data, len, timeout_ms);

	if (result < 0)
		return result;
	t = calloc(1, sizeof *t);
	if (t == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a task");
	w->ntasks++;
	t->pidfd = t->memfd = -1;
	t->given = copy(data, len);
	if (t->given == NULL) {
		destroy(w, t);
		return STASH_E_NOMEM;
	}
	t->given_len = len;
	t->run = run;
	t->timeout_ms = timeout_ms;
	t->ref = w->next_ref++;
	memcpy(t->tag, tag, strlen(tag) + 1);
	TAILQ_INSERT_TAIL(&w->asked_tasks, t, link);
	if (ref != NULL)
		*ref = t->ref;
	return STASH_OK;
}

void
stash__task_release(struct stash_worker *w)
{
	TAILQ_CONCAT(&w->tasks, &w->asked_tasks, link);
}

static void
free_list(struct stash_worker *w, struct tasks *list)
{
	struct task *t;

	while ((t = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, t, link);
		destroy(w, t);
	}
}

void
stash__task_drop(struct stash_worker *w)
{
	free_list(w, &w->asked_tasks);
}

/* ---- its end ---- */

static void
over(struct stash_worker *w, struct task *t, int code, void *result, size_t len)
{
	TAILQ_REMOVE(&w->tasks, t, link);
	t->code = code;
	t->result = result;
	t->result_len = result != NULL ? len : 0;
	TAILQ_INSERT_TAIL(&w->over_tasks, t, link);
}

/* Ends it with a sentence. */
static void
over_in_words(struct stash_worker *w, struct task *t, int code, const char *text)
{
	over(w, t, code, copy(text, strlen(text)), strlen(text));
}

static void
describe(const struct task *t, const siginfo_t *info, char *text, size_t size)
{
	const char *name = sigabbrev_np(info->si_status);

	if (info->si_pid == 0)
		snprintf(text, size, "the task %s has ended, and its status was taken by another wait", t->tag);
	else if (info->si_code == CLD_EXITED)
		snprintf(text, size, "the task %s has ended with exit status %d, without returning", t->tag,
		    info->si_status);
	else
		snprintf(text, size, "the task %s was killed by SIG%s%s", t->tag, name != NULL ? name : "?",
		    info->si_code == CLD_DUMPED ? ", core dumped" : "");
}

/* What the child has written, if that is all of it. */
static bool
take_result(struct stash_worker *w, struct task *t)
{
	struct stash__task_result head;
	unsigned char *bytes;

	if (stash__read_at(t->memfd, &head, sizeof head, 0) != (ssize_t)sizeof head || head.done != STASH__TASK_DONE ||
	    head.len > STASH_DATA_MAX)
		return false;
	bytes = aligned_alloc(16, (head.len + 1 + 15) & ~(size_t)15);
	if (bytes == NULL) {
		over_in_words(w, t, STASH_E_NOMEM, "no memory for the task's result");
		return true;
	}
	if (stash__read_at(t->memfd, bytes, head.len, sizeof head) != (ssize_t)head.len) {
		free(bytes);
		return false;
	}
	bytes[head.len] = '\0';
	over(w, t, head.code, bytes, head.len);
	return true;
}

/* Its process is dead. */
static void
finish(struct stash_worker *w, struct task *t)
{
	siginfo_t info = { 0 };
	char text[STASH_TAG_MAX + 96];

	(void)epoll_ctl(w->task_epoll, EPOLL_CTL_DEL, t->pidfd, NULL);
	(void)waitid(P_PIDFD, (id_t)t->pidfd, &info, WEXITED | WNOHANG);
	if (t->cancelled) {
		TAILQ_REMOVE(&w->tasks, t, link);
		destroy(w, t);
		return;
	}
	if (take_result(w, t))
		return;
	if (t->late) {
		snprintf(text, sizeof text, "the task %s has run for %d ms and was killed", t->tag, t->timeout_ms);
		over_in_words(w, t, STASH_E_TIMEDOUT, text);
		return;
	}
	describe(t, &info, text, sizeof text);
	over_in_words(w, t, STASH_E_CRASHED, text);
}

void
stash__task_collect(struct stash_worker *w)
{
	struct epoll_event ends[AT_ONCE];
	int n;

	if (TAILQ_EMPTY(&w->tasks) || w->task_epoll < 0)
		return;
	n = epoll_wait(w->task_epoll, ends, AT_ONCE, 0);
	for (int i = 0; i < n; i++)
		finish(w, ends[i].data.ptr);
}

/* ---- its beginning ---- */

static void
on_end(int fd, short what, void *arg)
{
	struct stash_worker *w = arg;

	(void)fd;
	(void)what;
	(void)event_base_loopbreak(w->events);
}

int
stash__task_watch(struct stash_worker *w)
{
	struct event *ends;

	if (w->events == NULL || w->task_epoll < 0)
		return STASH_OK;
	ends = event_new(w->events, w->task_epoll, EV_READ | EV_PERSIST, on_end, w);
	if (ends != NULL && event_add(ends, NULL) == 0)
		return STASH_OK;
	if (ends != NULL)
		event_free(ends);
	return stash__fail(STASH_E_NOMEM, "cannot watch tasks in an event loop");
}

static int
make_epoll(struct stash_worker *w)
{
	int result;

	if (w->task_epoll >= 0)
		return STASH_OK;
	w->task_epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->task_epoll < 0)
		return stash__fail_errno("cannot watch tasks");
	result = stash__task_watch(w);
	if (result < 0) {
		close(w->task_epoll);
		w->task_epoll = -1;
	}
	return result;
}

/* Forks, with all signals blocked until the child has none of this worker's handlers. */
static int
make_process(struct stash_worker *w, struct task *t)
{
	sigset_t all, was;
	pid_t self = getpid();
	int result = STASH_OK;

	(void)fflush(stdout);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &was);
	t->pid = fork();
	if (t->pid == 0)
		stash__task_child(t, w->start.name, self, &was);
	if (t->pid < 0)
		result = stash__fail_errno("can't fork for the task %s", t->tag);
	(void)pthread_sigmask(SIG_SETMASK, &was, NULL);
	return result;
}

/* Of one that can't be watched. */
static int
undo(struct task *t, int result)
{
	(void)kill(t->pid, SIGKILL);
	(void)waitpid(t->pid, NULL, 0);
	if (t->pidfd >= 0)
		close(t->pidfd);
	t->pidfd = -1;
	return result;
}

static int
start(struct stash_worker *w, struct task *t)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = t };
	int result = make_epoll(w);

	if (result < 0)
		return result;
	t->memfd = memfd_create("stash task", MFD_CLOEXEC);
	if (t->memfd < 0)
		return stash__fail_errno("no memory for the result of the task %s", t->tag);
	result = make_process(w, t);
	if (result < 0)
		return result;
	t->pidfd = pidfd_open(t->pid, 0);
	if (t->pidfd < 0 || epoll_ctl(w->task_epoll, EPOLL_CTL_ADD, t->pidfd, &event) < 0)
		return undo(t, stash__fail_errno("can't watch the task %s", t->tag));
	t->running = true;
	t->deadline = t->timeout_ms < 0 ? INT64_MAX : stash__now_ns() + (int64_t)t->timeout_ms * STASH__NS_PER_MS;
	return STASH_OK;
}

/* Whether all that its transition rests on is where it has to be before anybody may see an effect. */
static bool
is_safe(const struct stash_worker *w, const struct task *t)
{
	return !w->start.ack_disk || t->needs <= atomic_load_explicit(&w->in.page->durable, memory_order_acquire);
}

/* With ack = "disk": the stash is told once what is waited for. */
static void
mark(struct stash_worker *w, struct task *t)
{
	t->marked = true;
	t->needs = w->changed;
	if (is_safe(w, t))
		return;
	atomic_store_explicit(&w->out.page->wanted, t->needs, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	stash__bell_ring(w->stash_bell);
}

void
stash__task_tend(struct stash_worker *w)
{
	struct task *t, *next;

	for (t = TAILQ_FIRST(&w->tasks); t != NULL; t = next) {
		next = TAILQ_NEXT(t, link);
		if (t->running) {
			if (t->deadline > w->now || t->late)
				continue;
			t->late = true;
			(void)pidfd_send_signal(t->pidfd, SIGKILL, NULL, 0);
			continue;
		}
		if (!t->marked)
			mark(w, t);
		if (is_safe(w, t)) {
			int result = start(w, t);
			if (result < 0)
				over_in_words(w, t, result, stash_errmsg());
		}
	}
}

/* ---- in the loop ---- */

int64_t
stash__task_next(const struct stash_worker *w)
{
	const struct task *t;
	int64_t next = INT64_MAX;

	TAILQ_FOREACH(t, &w->tasks, link) {
		if (t->running && !t->late && t->deadline < next)
			next = t->deadline;
	}
	return next;
}

bool
stash__task_waits(const struct stash_worker *w)
{
	const struct task *t;

	if (!TAILQ_EMPTY(&w->over_tasks))
		return true;
	TAILQ_FOREACH(t, &w->tasks, link) {
		if (!t->running && is_safe(w, t))
			return true;
	}
	return false;
}

bool
stash__task_run(struct stash_worker *w)
{
	struct task *t = TAILQ_FIRST(&w->over_tasks);
	struct stash_msg msg = { .kind = STASH_MSG_TASK, .attempt = 1 };

	if (t == NULL)
		return false;
	TAILQ_REMOVE(&w->over_tasks, t, link);
	msg.tag = t->tag;
	msg.data = t->result != NULL ? t->result : (const void *)"";
	msg.len = t->result_len;
	msg.ref = t->ref;
	msg.code = t->code;
	stash__mailbox_hand(w, NULL);
	stash__dispatch(w, &msg, STASH__HAND(w->start.incarnation, STASH__PLACE_NONE, (uint64_t)t->ref));
	destroy(w, t);
	return true;
}

static struct task *
find(struct tasks *list, int64_t ref)
{
	struct task *t;

	TAILQ_FOREACH(t, list, link) {
		if (t->ref == ref && !t->cancelled)
			return t;
	}
	return NULL;
}

int
stash_task_cancel(struct stash_worker *w, int64_t ref)
{
	struct tasks *const lists[] = { &w->asked_tasks, &w->tasks, &w->over_tasks };
	struct task *t = NULL;
	int result = w == NULL || !pthread_equal(pthread_self(), w->thread) ?
	    stash__fail(STASH_E_INVAL, "stash_task_cancel() is for the worker's own thread") :
	    STASH_OK;

	for (int i = 0; result == STASH_OK && t == NULL && i < 3; i++) {
		t = find(lists[i], ref);
		if (t == NULL)
			continue;
		if (t->running && lists[i] == &w->tasks) {
			/* Its end is awaited like any other, but told to nobody. */
			t->cancelled = true;
			(void)pidfd_send_signal(t->pidfd, SIGKILL, NULL, 0);
			return STASH_OK;
		}
		TAILQ_REMOVE(lists[i], t, link);
		destroy(w, t);
		return STASH_OK;
	}
	return result < 0 ?
	    result :
	    stash__fail(STASH_E_NOENT, "task %lld has been told of, was cancelled, or was another incarnation's",
		(long long)ref);
}

void
stash__task_free_all(struct stash_worker *w)
{
	struct task *t;
	siginfo_t info;

	TAILQ_FOREACH(t, &w->tasks, link) {
		if (t->running)
			(void)pidfd_send_signal(t->pidfd, SIGKILL, NULL, 0);
	}
	TAILQ_FOREACH(t, &w->tasks, link) {
		if (t->running)
			(void)waitid(P_PIDFD, (id_t)t->pidfd, &info, WEXITED);
	}
	free_list(w, &w->tasks);
	free_list(w, &w->asked_tasks);
	free_list(w, &w->over_tasks);
	if (w->task_epoll >= 0)
		close(w->task_epoll);
}
