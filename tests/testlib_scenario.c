/* SPDX-License-Identifier: ISC */
/*
 * testlib_scenario.c: the scenario's course.  The test's process directs: it starts everybody, waits with a bound for
 * what has to happen, and kills whom the flavour wants dead.  It makes no call to a worker while the tracer looks.
 * What is true afterwards is looked at in testlib_scenario_check.c.
 */
#include "testlib_scenario.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "testlib_scenario_run.h"

#define START_MS 20000
#define UP_MS 2000
#define CALL_MS 10000
#define CLIENTS_MS 40000
#define STOP_MS 20000
#define LOG_SHOWN 4000 /* bytes, from its end on */

const char *
scenario_flavour_name(enum scenario_flavour flavour)
{
	static const char *const names[SCENARIO_FLAVOURS] = { [SCENARIO_PLAIN] = "plain",
		[SCENARIO_SUPERVISOR] = "supervisor killed",
		[SCENARIO_STASH] = "stash killed",
		[SCENARIO_BOTH] = "supervisor and stash killed",
		[SCENARIO_KEEPER] = "keeper killed" };

	return names[flavour];
}

void
scenario_problem(struct run *r, const char *fmt, ...)
{
	va_list ap;

	r->bad = true;
	va_start(ap, fmt);
	vfprintf(r->problems, fmt, ap);
	va_end(ap);
	fputc('\n', r->problems);
}

/* ---- processes ---- */

/* It has ended: its status; -1: it runs; -2: nobody knows how it ended. */
static int
ended(struct process *p)
{
	int status;
	pid_t result;

	if (p->over)
		return p->status;
	result = waitpid(p->pid, &status, WNOHANG);
	if (result == 0)
		return -1;
	p->over = true;
	p->status = result == p->pid ? (WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status)) : -2;
	return p->status;
}

static bool
is_over(void *arg)
{
	return ended(arg) != -1;
}

static void
exec_stashd(void *arg)
{
	const struct run *r = arg;
	int log = open(r->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), null = open("/dev/null", O_RDONLY);

	if (log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(127);
	close(null);
	setenv("RUNTIME_DIRECTORY", r->base, 1);
	execl(r->stashd, r->stashd, "-d", r->store, "-f", r->conf, NULL);
	_exit(127);
}

static void
start_process(struct process *p, void (*run)(void *), void *arg)
{
	*p = (struct process){ .pid = fork() };
	ck_assert_int_ge(p->pid, 0);
	if (p->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run(arg);
		_exit(0);
	}
}

static void
exec_shutdown(void *arg)
{
	const struct run *r = arg;
	int log = open(r->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (log < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(127);
	setenv("RUNTIME_DIRECTORY", r->base, 1);
	execl(r->stashctl, r->stashctl, "-d", r->store, "shutdown", NULL);
	_exit(127);
}

static bool
said(const struct run *r, const char *words)
{
	char *log = t_read_file(r->log, NULL);
	bool yes = strstr(log, words) != NULL;

	free(log);
	return yes;
}

/* As the manual says, a start ends with the first child that dies in it, and with the one that looks at the store. */
static bool
start_failed(const struct run *r)
{
	if (r->keeper.status == 75)
		return said(r, "the process that looked at it was ended by signal 9");
	return (r->keeper.status == 70 || r->keeper.status == 256 + SIGKILL) && said(r, "the tree couldn't be started");
}

/* Whether a supervisor that has lost its keeper lives, or one that doesn't know yet what it is. */
static bool
supervisor_lives(const struct run *r)
{
	pid_t pids[64];
	int n = scenario_children(getpid(), pids, 64);

	for (int i = 0; i < n; i++)
		if (scenario_titled(pids[i], "stashd: supervisor") || scenario_titled(pids[i], r->stashd))
			return true;
	return false;
}

/* What a service manager does when keeper and supervisor are dead, and somebody still wants something. */
static void
revive(struct run *r)
{
	if (ended(&r->keeper) != -1 && !start_failed(r) && !supervisor_lives(r))
		start_process(&r->keeper, exec_stashd, r);
}

/* ---- the clients ---- */

static void
note(struct outcome *o, int result, const struct stash_reply *reply)
{
	o->error = result;
	if (result < 0)
		snprintf(o->text, sizeof o->text, "%s", stash_errmsg());
	else if (reply != NULL && stash_parse_int(reply->data, 0, INT64_MAX, &o->number) < 0)
		o->number = -1;
}

static void
in_the_midst(struct stash_client *c, struct client *me)
{
	if (me->index == 0)
		note(&me->special, stash_call(c, "sequence", "no_such_tag", NULL, 0, NULL, CALL_MS), NULL);
	else
		note(&me->special, stash_bounce(c, "sequence", CALL_MS), NULL);
	me->special_over = true;
}

static void
be_client(void *arg)
{
	struct client *me = arg;
	struct stash_client_options options = { .size = sizeof options, .wait_ms = CALL_MS };
	struct stash_client *c = NULL;

	setenv("RUNTIME_DIRECTORY", me->run->base, 1);
	note(&me->open, stash_client_open(&c, me->run->store, &options), NULL);
	/* Whoever was refused once asks no more. */
	for (int i = 0; c != NULL && i < CALLS && (i == 0 || me->calls[i - 1].error == STASH_OK); i++) {
		struct stash_reply reply = { 0 };

		if (i == CALLS / 2)
			in_the_midst(c, me);
		me->started = i + 1;
		note(&me->calls[i], stash_call(c, "sequence", "next_number", NULL, 0, &reply, CALL_MS), &reply);
		stash_reply_free(&reply);
		me->finished = i + 1;
	}
	stash_client_close(c);
	me->over = true;
}

static bool
half_way(void *arg)
{
	struct run *r = arg;

	return (r->clients[0].finished >= CALLS / 2 || is_over(&r->client[0])) &&
	    (r->clients[1].finished >= CALLS / 2 || is_over(&r->client[1]));
}

static bool
clients_over(void *arg)
{
	struct run *r = arg;
	bool first = is_over(&r->client[0]), both = is_over(&r->client[1]) && first;

	if (!both)
		revive(r);
	return both;
}

/* Whom the flavour wants dead. */
static void
kill_some(struct run *r)
{
	if (r->how->flavour == SCENARIO_STASH || r->how->flavour == SCENARIO_BOTH)
		(void)t_murder(&r->view, T_STASH, "");
	if (r->how->flavour == SCENARIO_SUPERVISOR || r->how->flavour == SCENARIO_BOTH)
		(void)t_murder(&r->view, T_SUPERVISOR, "");
	if (r->how->flavour == SCENARIO_KEEPER && ended(&r->keeper) == -1)
		(void)kill(r->keeper.pid, SIGKILL);
}

static void
let_clients_call(struct run *r)
{
	for (int i = 0; i < CLIENTS; i++)
		r->client[i].pid = tracer_fork(r->tracer, TRACER_CLIENT, be_client, &r->clients[i]);
	if (r->how->flavour != SCENARIO_PLAIN) {
		if (!t_wait_for(half_way, r, CLIENTS_MS))
			scenario_problem(r, "the clients hang in the first half");
		kill_some(r);
	}
	if (t_wait_for(clients_over, r, CLIENTS_MS))
		return;
	scenario_problem(
	    r, "the clients hang: %d and %d calls are over", r->clients[0].finished, r->clients[1].finished);
	for (int i = 0; i < CLIENTS; i++)
		if (!is_over(&r->client[i]))
			(void)kill(r->client[i].pid, SIGKILL);
	(void)t_wait_for(clients_over, r, STOP_MS);
}

/* ---- start and stop ---- */

/* Its supervisor answers, or it has ended. */
static bool
answers(void *arg)
{
	struct run *r = arg;
	struct stash_client_options options = { .size = sizeof options, .wait_ms = 200 };
	struct stash_client *client = NULL;

	r->up = stash_client_open(&client, r->store, &options) == STASH_OK;
	stash_client_close(client);
	return r->up || is_over(&r->keeper);
}

static bool
has_three(const struct run *r)
{
	return scenario_fds(r->keeper.pid, "[pidfd]") == 3;
}

/* The keeper has what it keeps of a tree that is up: the worker's process comes last, after supervisor and stash.  They
 * are looked for before and behind the count, since a stash that has just died has its descriptors there, too. */
static bool
is_kept(void *arg)
{
	struct run *r = arg;
	bool before = has_three(r);

	r->keeper_fds = scenario_fds(r->keeper.pid, NULL);
	return is_over(&r->keeper) || (before && has_three(r));
}

static void
await_start(struct run *r)
{
	r->up = false;
	if (!t_wait_for(answers, r, START_MS))
		scenario_problem(r, "stashd neither answers nor ends");
}

static void
shut_down(struct run *r)
{
	struct process ctl;

	start_process(&ctl, exec_shutdown, r);
	if (!t_wait_for(is_over, &ctl, STOP_MS)) {
		scenario_problem(r, "stashctl shutdown hangs");
		(void)kill(ctl.pid, SIGKILL);
		(void)t_wait_for(is_over, &ctl, STOP_MS);
	} else if (ctl.status == 75 && ended(&r->keeper) != -1 && scenario_killed(r, TRACER_SUPERVISOR)) {
		; /* the last supervisor died before it had answered, and nobody follows */
	} else if (ctl.status != 0 && ctl.status != 69) {
		scenario_problem(r, "stashctl shutdown: exit status %d", ctl.status);
	}
}

/* In order: by the keeper, as long as there is one. */
static void
stop(struct run *r)
{
	if (ended(&r->keeper) == -1) {
		if (r->how->disk)
			shut_down(r);
		else
			(void)kill(r->keeper.pid, SIGTERM); /* unreaped, so it is the one */
		if (!t_wait_for(is_over, &r->keeper, STOP_MS))
			scenario_problem(r, "stashd goes on %d ms after it was to stop", STOP_MS);
	}
	if (ended(&r->keeper) != 0)
		shut_down(r);
}

/* What a user does next: starts it again. */
static void
start_again(struct run *r)
{
	bool orderly = ended(&r->keeper) == 0;

	r->log = t_path("%s.next.log", strrchr(r->dir, '/') + 1);
	start_process(&r->keeper, exec_stashd, r);
	await_start(r);
	if (!r->up) {
		scenario_problem(r, "the next start fails: status %d", ended(&r->keeper));
		return;
	}
	scenario_check_next(r, orderly);
	stop(r);
	if (ended(&r->keeper) != 0)
		scenario_problem(r, "the next stop is no orderly one");
	scenario_check_left(r);
}

/* ---- the whole ---- */

static void
make_place(struct run *r)
{
	static unsigned number;
	char text[1024];

	snprintf(r->dir, sizeof r->dir, "%s/%u", t_run_dir(), number++);
	snprintf(r->store, sizeof r->store, "%s/store", r->dir);
	snprintf(r->base, sizeof r->base, "%s/run", r->dir);
	snprintf(r->conf, sizeof r->conf, "%s/stashd.conf", r->dir);
	r->log = t_path("%u.log", number - 1);
	ck_assert_int_eq(mkdir(r->dir, 0700), 0);
	ck_assert_int_eq(mkdir(r->base, 0700), 0);
	snprintf(text, sizeof text,
	    "store = { ack = \"%s\"; };\ntree = { intensity = 1000000; period = 1; children = (\n"
	    "  { id = \"sequence\"; module = \"%s\"; args = [\"0\"]; }\n); };\n",
	    r->how->disk ? "disk" : "crash", t_build("examples/sequence.so"));
	t_write_file(r->conf, text);
	r->stashd = t_build("stashd");
	r->stashctl = t_build("stashctl");
	r->clients = mmap(
	    NULL, CLIENTS * sizeof *r->clients, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(r->clients, MAP_FAILED);
	for (int i = 0; i < CLIENTS; i++)
		r->clients[i] = (struct client){ .index = i, .run = r };
}

static void
show_logs(struct run *r, const char *first)
{
	const char *const logs[] = { first, r->log };

	for (int i = 0; i < 2; i++) {
		char *text;
		size_t len;

		if (access(logs[i], R_OK) != 0 || (i == 1 && logs[0] == logs[1]))
			continue;
		text = t_read_file(logs[i], &len);
		fprintf(r->problems, "---- %s\n%s", i == 0 ? "log" : "log of the next start",
		    text + (len > LOG_SHOWN ? len - LOG_SHOWN : 0));
		free(text);
	}
}

void
scenario_run(struct scenario *how)
{
	struct run r = { .how = how };
	int64_t began = stash__now_ns();
	const char *first;
	size_t size;

	r.problems = open_memstream(&how->problems, &size);
	ck_assert_ptr_nonnull(r.problems);
	make_place(&r);
	first = r.log;
	r.tracer = tracer_start(&how->plan);
	r.keeper.pid = tracer_fork(r.tracer, TRACER_KEEPER, exec_stashd, &r);
	r.view = (struct t_stashd){ .dir = r.store, .proc = { .pid = r.keeper.pid } };
	await_start(&r);
	if (r.up) {
		/* Not before everybody's are there; of a tree that doesn't come up nothing is compared. */
		if (!t_wait_for(is_kept, &r, UP_MS) || is_over(&r.keeper))
			r.keeper_fds = 0;
		let_clients_call(&r);
		scenario_check_channels(&r);
	}
	stop(&r);
	scenario_check_left(&r);
	r.start_failed = start_failed(&r);
	if (r.keeper.status > 0 && r.keeper.status < 256 && !r.start_failed && !how->failing)
		scenario_problem(&r, "stashd ended with status %d", r.keeper.status);
	tracer_end(r.tracer, &how->report);
	r.tracer = NULL;
	scenario_check_calls(&r);
	start_again(&r);
	scenario_check_processes(&r, 0);
	how->ms = (int)((stash__now_ns() - began) / STASH__NS_PER_MS);
	if (r.bad)
		show_logs(&r, first);
	(void)unlink(first);
	(void)unlink(r.log);
	fclose(r.problems);
	t_remove_tree(r.dir);
	(void)rmdir(r.dir);
	munmap(r.clients, CLIENTS * sizeof *r.clients);
}
