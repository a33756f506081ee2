/* SPDX-License-Identifier: ISC */
/*
 * reap.c: the death of an incarnation: told by its pidfd, asked without reaping, retired by the stash, and reaped last,
 * so that whoever comes between finds everything that is needed to do the same again.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/point.h"
#include "stashd/proc.h"
#include "stashd/server.h"

static void send_retire(struct life *);

/* ---- after the stash's answer ---- */

static void
reap(struct life *l)
{
	char key[LIFE_KEY_MAX];
	siginfo_t info;

	life_key(l, key);
	if (l->adopted)
		keep_reap(&l->server->keep, key, l->pid);
	else if (!l->stranger && l->pidfd >= 0)
		(void)waitid(P_PIDFD, (id_t)l->pidfd, &info, WEXITED | WNOHANG);
	STASH_POINT("sup_reaped");
	if (!l->stranger && l->start != 0) {
		keep_drop(&l->server->keep, key);
	}
}

static void
finish(struct life *l, struct report *report)
{
	struct worker *w = l->worker;

	LIST_REMOVE(l, link);
	stuck_judged(l);
	if (w->now == NULL && LIST_EMPTY(&w->dying) && !l->stranger)
		worker_look_again(w, l->incarnation);
	life_go_on(w);
	reap(l);
	life_free(l);
	if (report != NULL)
		report_write(report);
}

static int
read_verdict(struct mail *m, struct verdict *v)
{
	const char *tag;

	(void)stash_view_int(&m->view); /* fence */
	v->verdict = (enum stash__verdict)stash__view_range(&m->view, STASH__VERDICT_NONE, STASH__VERDICT_CAREFUL);
	v->place = (uint32_t)stash_view_int(&m->view);
	v->number = (uint64_t)stash_view_int(&m->view);
	v->attempts = (uint32_t)stash_view_int(&m->view);
	v->own_fault = stash_view_int(&m->view) != 0;
	v->kind = (uint32_t)stash_view_int(&m->view);
	tag = stash_view_text(&m->view);
	snprintf(v->tag, sizeof(v->tag), "%s", tag);
	v->len = (uint64_t)stash_view_int(&m->view);
	v->phase = (uint32_t)stash_view_int(&m->view);
	v->version = (uint64_t)stash_view_int(&m->view);
	v->crashes = (uint64_t)stash_view_int(&m->view);
	return stash_view_end(&m->view);
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	send_retire(arg);
}

static void
ask_again_later(struct life *l)
{
	struct timeval tv = { .tv_usec = 100000 };

	evtimer_assign(&l->again, l->server->events, on_again, l);
	server_await(&l->again, &tv);
}

static void
on_retired(void *arg, int error, const char *text, struct mail *m)
{
	struct life *l = arg;
	struct verdict v = { 0 };

	STASH_POINT("sup_after_retire");
	if (error == 0 && read_verdict(m, &v) < 0) {
		error = STASH_E_PROTO;
		text = "the stash's verdict can't be understood";
	}
	if (error == STASH_E_NOENT) {
		finish(l, NULL); /* it never had a slot */
		return;
	}
	if (error < 0) {
		stash__log(LOG_ERR, "%s: incarnation %llu can't be retired: %s; trying again", l->worker->name,
		    (unsigned long long)l->incarnation, text);
		ask_again_later(l);
		return;
	}
	finish(l, report_begin(l, &v));
}

/* ---- before it ---- */

static enum stash__cause
cause(struct life *l)
{
	if (l->phase == LIFE_LOADING || l->lost)
		return STASH__CAUSE_NEVER;
	if (stuck_was(l))
		return STASH__CAUSE_STUCK;
	return l->asked ? STASH__CAUSE_STOPPED : STASH__CAUSE_EXIT;
}

/* Its supervisor's death was its own, unless it had one of its own before. */
static void
judge_bereaved(struct life *l)
{
	int status = l->wait_status;

	l->bereaved = l->bereaved && !l->asked &&
	    (status == -1 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
	if (l->bereaved)
		l->cause = STASH__CAUSE_LOSS;
}

static void
send_retire(struct life *l)
{
	struct stashlink *k = &l->server->stash;
	struct stash_buf *buf = stashlink_begin(k, STASH__S_RETIRE);

	stash_buf_add_text(buf, l->worker->name);
	stash_buf_add_int(buf, (int64_t)l->incarnation);
	stash_buf_add_int(buf, l->wait_status);
	stash_buf_add_int(buf, l->cause);
	stash_buf_add_int(buf, l->worker->plan.max_attempts);
	if (stashlink_send(k, buf, -1, on_retired, l) == 0)
		ask_again_later(l);
}

/* What the handler of the crash has written, before the next one's black box takes its place. */
static void
read_crash(struct life *l)
{
	int fd = worker_file(l->worker, "out", O_RDONLY);
	off_t at = STASH__OUT_BOX + (off_t)offsetof(struct stash__box, crash);

	if (fd < 0)
		return;
	if (stash__read_at(fd, &l->crash, sizeof(l->crash), at) != (ssize_t)sizeof(l->crash))
		memset(&l->crash, 0, sizeof(l->crash));
	l->crash.text[sizeof(l->crash.text) - 1] = '\0';
	close(fd);
}

/*
 * Whether it has said that it is to be ignored, and an earlier supervisor took the word and died.  Before an init has
 * returned well nothing else makes a worker note that it ends by its own will; let go, its black box is its own.
 */
static bool
was_ignored(const struct life *l)
{
	stash__word asked;
	off_t at = STASH__OUT_BOX + (off_t)offsetof(struct stash__box, asked);
	int fd;
	bool ignored;

	if (!l->adopted || l->node == 0 || l->cause == STASH__CAUSE_NEVER || l->answer != LIFE_NO_ANSWER ||
	    l->wait_status != 0 || !plan_linked(&l->worker->plan) || life_was_ready(l))
		return false;
	fd = worker_file(l->worker, "out", O_RDONLY);
	ignored = fd >= 0 && stash__read_at(fd, &asked, sizeof(asked), at) == (ssize_t)sizeof(asked) &&
	    atomic_load(&asked) == 1;
	if (fd >= 0)
		close(fd);
	return ignored;
}

static enum stash_reason
reason(const struct life *l)
{
	int status = l->wait_status;

	if (l->cause == STASH__CAUSE_STUCK)
		return STASH_REASON_CRASH;
	if (status == -1 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
		return STASH_REASON_KILLED;
	if (WIFSIGNALED(status))
		return l->asked && WTERMSIG(status) == SIGTERM ? STASH_REASON_SHUTDOWN : STASH_REASON_CRASH;
	if (WEXITSTATUS(status) == STASH_EXIT_SHUTDOWN)
		return STASH_REASON_SHUTDOWN;
	if (WEXITSTATUS(status) == 0)
		return l->asked ? STASH_REASON_SHUTDOWN : STASH_REASON_NORMAL;
	return STASH_REASON_CRASH;
}

static void
tell_machine(struct life *l)
{
	struct server *s = l->server;
	uint64_t node = l->node, start = l->start;

	if (node == 0 || start == 0)
		return;
	if (l->lost)
		turn_lost(s, node, start);
	else if (l->bereaved)
		turn_bereaved(s, node, start);
	else if (l->answer == STASH_IGNORE)
		turn_ignored(s, node, start);
	else if (l->answer < 0)
		turn_failed(s, node, start, "init_error");
	else
		turn_exited(s, node, start, reason(l));
}

static void
log_death(const struct life *l)
{
	char text[64];

	if (l->answer < 0 || l->asked || l->lost || l->answer == STASH_IGNORE)
		return;
	proc_describe(l->wait_status, text, sizeof(text));
	stash__log(LOG_WARNING, "%s: process %d, incarnation %llu, has ended: %s%s", l->worker->name, (int)l->pid,
	    (unsigned long long)l->incarnation, text, l->bereaved ? ", with its supervisor" : "");
}

/* For the event that the machine's report becomes. */
static void
note_death(struct life *l)
{
	free(l->worker->death);
	l->worker->death = report_death(l);
}

/* Its status is known: the machine is told at once, so that the next one is made while this one is being retired. */
static void
die(struct life *l, int wait_status)
{
	l->wait_status = wait_status;
	l->phase = LIFE_RETIRING;
	judge_bereaved(l);
	if (was_ignored(l))
		l->answer = STASH_IGNORE;
	/* What it leaves in its process group; its pid is still its own. */
	if (wait_status >= 0)
		(void)kill(-l->pid, SIGKILL);
	log_death(l);
	free(l->worker->why);
	l->worker->why = l->why;
	l->why = NULL;
	if (plan_linked(&l->worker->plan) && (l->cause == STASH__CAUSE_EXIT || l->cause == STASH__CAUSE_STUCK))
		read_crash(l);
	note_death(l);
	if (l->cause != STASH__CAUSE_NEVER && !l->past)
		monitor_died(l->worker, l->incarnation, reason(l));
	if (!plan_linked(&l->worker->plan))
		program_end(l, reason(l) == STASH_REASON_NORMAL || reason(l) == STASH_REASON_SHUTDOWN);
	STASH_POINT("sup_before_retire");
	send_retire(l);
	tell_machine(l);
	records_submit(l->server);
	monitor_tell(l->worker);
}

void
reap_dead(struct life *l)
{
	struct worker *w = l->worker;
	char key[LIFE_KEY_MAX];
	siginfo_t info = { 0 };

	life_key(l, key);
	notify_read(l);
	life_read(l);
	l->cause = cause(l);
	l->phase = LIFE_DEAD;
	spawn_release(&l->bank);
	ahead_dead(l);
	if (w->now == l) {
		w->now = NULL;
		LIST_INSERT_HEAD(&w->dying, l, link);
	}
	if (l->stranger)
		die(l, -1);
	else if (l->adopted)
		keep_status(&l->server->keep, l->incarnation, key, l->pid);
	else if (waitid(P_PIDFD, (id_t)l->pidfd, &info, WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_pid != 0)
		die(l, proc_wait_status(&info));
	else
		die(l, -1);
}

void
reap_undone(struct life *l)
{
	spawn_release(&l->bank);
	l->node = l->start = 0;
	l->cause = STASH__CAUSE_NEVER;
	l->phase = LIFE_RETIRING;
	LIST_INSERT_HEAD(&l->worker->dying, l, link);
	send_retire(l);
}

void
reap_statused(struct server *s, uint64_t number, pid_t pid, int state, int wait_status)
{
	struct worker *w;
	struct life *l;

	RB_FOREACH(w, worker_names, &s->names) {
		LIST_FOREACH(l, &w->dying, link) {
			if (l->phase == LIFE_DEAD && l->adopted && l->pid == pid && l->incarnation == number) {
				die(l, state == 1 ? wait_status : -1);
				return;
			}
		}
	}
}

/* The next one whose status the keeper was asked for, and didn't say; NULL: none. */
static struct life *
unanswered(struct server *s)
{
	struct worker *w;
	struct life *l;

	RB_FOREACH(w, worker_names, &s->names) {
		LIST_FOREACH(l, &w->dying, link) {
			if (l->phase == LIFE_DEAD && l->adopted)
				return l;
		}
	}
	return NULL;
}

void
reap_keeper_lost(struct server *s)
{
	struct life *l;

	while ((l = unanswered(s)) != NULL)
		die(l, -1);
}

void
reap_stranger(struct worker *w, uint64_t incarnation, pid_t pid, uint64_t start_time)
{
	struct life *l = life_create(w, 0, 0, incarnation);

	if (l == NULL) {
		stash__log(LOG_CRIT, "%s", stash_errmsg());
		return;
	}
	l->stranger = true;
	l->pid = pid;
	l->phase = LIFE_READY; /* as far as anybody knows */
	l->past = !life_was_let_go(l);
	l->pidfd = proc_open(pid, start_time);
	LIST_INSERT_HEAD(&w->dying, l, link);
	if (l->pidfd < 0 || life_watch(l) < 0) {
		l->cause = STASH__CAUSE_EXIT;
		die(l, -1);
		return;
	}
	stash__log(LOG_WARNING, "%s: process %d, incarnation %llu, is left from before: killed", w->name, (int)pid,
	    (unsigned long long)incarnation);
	(void)pidfd_send_signal(l->pidfd, SIGKILL, NULL, 0);
}
