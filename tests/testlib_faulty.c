/* SPDX-License-Identifier: ISC */
/*
 * testlib_faulty.c: see testlib_faulty.h.
 */
#include "testlib_faulty.h"

#include <bsd/string.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"

#define START_MS 20000
#define STOP_MS 12000
#define ORDER_MS 3000
#define ONCE_MS 10000 /* an answer comes by then, whatever failed once */
#define GOOD_MS 800   /* for an answer that may never come */
#define LATE 3	      /* answers that didn't come in time: no more is asked */
#define QUIET_MS 300
#define BURNT_NS (60 * STASH__NS_PER_MS) /* in which no process may use more than this */

static void __attribute__((format(printf, 2, 3))) problem(struct faulty *f, const char *fmt, ...)
{
	size_t len = strlen(f->problems);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(f->problems + len, sizeof f->problems - len, fmt, ap);
	va_end(ap);
	(void)strlcat(f->problems, "\n", sizeof f->problems);
}

const char *
faulty_name(const struct faulty_fault *fault)
{
	static char text[200];

	snprintf(text, sizeof text, "%s %s %llu %s", t_failing_place_name(fault->what),
	    t_failing_error_name(fault->error), (unsigned long long)fault->at, fault->for_good ? "for good" : "once");
	return text;
}

/* ---- one stashd ---- */

static const char *
config(const struct faulty *f, bool more)
{
	static char text[4096];
	int n = snprintf(text, sizeof text,
	    "store = { ack = \"%s\"; history = 3; };\ntree = { intensity = %d; period = 1; children = (\n"
	    "  { id = \"sequence\"; module = \"%s\"; args = [\"0\"]; },\n",
	    f->fault.disk ? "disk" : "crash", f->fault.for_good ? 20 : 1000000, t_build("examples/sequence.so"));

	n += snprintf(text + n, sizeof text - (size_t)n,
	    "  { id = \"agent\"; module = \"%s\"; args = [\"1\"]; },\n  { id = \"dynamic\"; "
	    "strategy = \"simple_one_for_one\"; children = ( { id = \"t\"; module = \"%s\"; } ); },\n",
	    t_build("examples/agent.so"), t_build("examples/counter.so"));
	n += snprintf(text + n, sizeof text - (size_t)n,
	    "  { id = \"left\"; module = \"%s\"; },\n  { id = \"right\"; module = \"%s\"; },\n",
	    t_build("tests/modules/pair.so"), t_build("tests/modules/pair.so"));
	(void)snprintf(text + n, sizeof text - (size_t)n,
	    "  { id = \"program\"; exec = [\"/bin/sleep\"]; args = [\"1000\"]; notify = \"none\"; }%s%s%s\n); };\n",
	    more ? ",\n  { id = \"later\"; module = \"" : "", more ? t_build("examples/sequence.so") : "",
	    more ? "\"; args = [\"7\"]; }" : "");
	return text;
}

static int
any(void *arg, const struct stash_process *p)
{
	(void)arg;
	(void)p;
	return 0;
}

/* A request about the tree is answered when the start is over. */
static bool
answers(struct faulty *f)
{
	struct stash_client *c;
	bool result;

	if (stash_client_open(&c, f->d.dir, NULL) != 0)
		return false;
	result = stash_which_children(c, "root", any, NULL, 1000) >= 0;
	stash_client_close(c);
	return result;
}

static bool
is_up(void *arg)
{
	struct faulty *f = arg;
	char *output = t_output(&f->d.proc);
	bool up = strstr(output, ": up: ") != NULL;

	free(output);
	/* That line may be what failed. */
	if (!up && f->looks++ % 256 == 255)
		up = answers(f);
	f->ended = !up && t_ended(&f->d.proc, 0);
	return up || f->ended;
}

static void
spawn(struct faulty *f, bool more)
{
	const char *argv[] = { t_build("stashd"), "-d", f->d.dir, "-f", f->d.conf, NULL };

	t_write_file(f->d.conf, config(f, more));
	f->ended = false;
	t_spawn(&f->d.proc, argv, f->env);
}

/* The log, under the problems that were found. */
static void
show_log(struct faulty *f, const char *what)
{
	char *output;
	size_t len;

	if (f->problems[0] == '\0')
		return;
	output = t_output(&f->d.proc);
	len = strlen(output);
	problem(f, "  log of the %s:\n%s", what, len > 5000 ? output + len - 5000 : output);
	free(output);
}

/* All that descend from a process, itself too. */
static int
family(pid_t pid, pid_t *all, int n, int max)
{
	pid_t children[64];
	int count = t_children(pid, children, 64);

	if (n < max)
		all[n++] = pid;
	for (int i = 0; i < count && i < 64; i++)
		n = family(children[i], all, n, max);
	return n;
}

static int64_t
used_ns(pid_t pid)
{
	char path[64], text[64] = "";
	int fd;

	snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	(void)!read(fd, text, sizeof text - 1);
	close(fd);
	return strtoll(text, NULL, 10);
}

static bool
never(void *arg)
{
	(void)arg;
	return false;
}

/* While nobody asks for anything, nobody does anything. */
static void
check_quiet(struct faulty *f)
{
	pid_t pids[64];
	int64_t before[64];
	int n = family(f->d.proc.pid, pids, 0, 64);

	for (int i = 0; i < n; i++)
		before[i] = used_ns(pids[i]);
	(void)t_wait_for(never, NULL, QUIET_MS);
	for (int i = 0; i < n; i++) {
		int64_t used = used_ns(pids[i]) - before[i];
		char path[64], title[64] = "";
		int fd;

		snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pids[i]);
		if (used <= BURNT_NS || (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
			continue;
		(void)!read(fd, title, sizeof title - 1);
		close(fd);
		problem(f, "%s has burnt %d of %d ms", title, (int)(used / 1000000), QUIET_MS);
	}
}

/* ---- what clients do ---- */

/* What "not known" means in the manual, or what the caller did himself. */
static bool
unknown(int error)
{
	return error == STASH_E_TIMEDOUT || error == STASH_E_PROTO || error == STASH_E_SYSTEM;
}

static bool
documented(int error)
{
	static const int all[] = { STASH_E_NOMEM, STASH_E_SYSTEM, STASH_E_NOENT, STASH_E_DOWN, STASH_E_TIMEDOUT,
		STASH_E_CRASHED, STASH_E_HELD, STASH_E_APP, STASH_E_BUSY, STASH_E_FULL, STASH_E_PROTO, STASH_E_ACCES };

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		if (all[i] == error)
			return true;
	}
	return false;
}

static void
take_number(struct faulty *f, const struct stash_reply *reply, const char *when)
{
	int64_t number;

	if (stash_parse_int(reply->data, 0, (int64_t)sizeof f->seen - 1, &number) < 0) {
		problem(f, "%s: the answer is %s", when, (const char *)reply->data);
		return;
	}
	if (f->seen[number]++ != 0)
		problem(f, "%s: number %d twice", when, (int)number);
	if (number <= f->highest)
		problem(f, "%s: number %d after %d", when, (int)number, (int)f->highest);
	f->highest = number;
	f->acked++;
}

static void
call(struct faulty *f, struct stash_client *c, int n, const char *when)
{
	for (int i = 0; i < n && c != NULL && f->late < LATE; i++) {
		struct stash_reply reply;
		int64_t began = stash__now_ns();
		int result = stash_call(
		    c, "sequence", "next_number", NULL, 0, &reply, f->fault.for_good ? GOOD_MS : ONCE_MS);

		if (result == 0)
			take_number(f, &reply, when);
		else if (unknown(result))
			f->unknown++;
		if (result < 0 && !documented(result))
			problem(f, "%s: %s: %s", when, stash_errname(result), stash_errmsg());
		if (result < 0 && stash_errmsg()[0] == '\0')
			problem(f, "%s: %s without a message", when, stash_errname(result));
		f->late += result == STASH_E_TIMEDOUT;
		if (result == STASH_E_TIMEDOUT && !f->fault.for_good)
			problem(f, "%s: no answer in %d ms", when, (int)((stash__now_ns() - began) / 1000000));
		stash_reply_free(&reply);
		if (result < 0 && f->fault.for_good)
			return;
	}
}

/* One worker casts to the other; known: how many times it has, at least. */
static void
tell(struct faulty *f, struct stash_client *c, const char *when)
{
	struct stash_reply reply;
	int result;

	if (c == NULL || f->late >= LATE)
		return;
	result = stash_call(c, "left", "tell", "right", 5, &reply, f->fault.for_good ? GOOD_MS : ONCE_MS);
	f->told += result == 0;
	f->late += result == STASH_E_TIMEDOUT;
	if (result == STASH_E_TIMEDOUT && !f->fault.for_good)
		problem(f, "%s: no answer of left", when);
	stash_reply_free(&reply);
}

struct heard {
	struct stash_client *client;
	long long told, heard;
};

static bool
all_heard(void *arg)
{
	struct heard *h = arg;
	struct stash_reply reply;
	const char *at;

	if (stash_call(h->client, "left", "count", NULL, 0, &reply, 1000) == 0)
		h->told = strtoll((const char *)reply.data + strlen("told "), NULL, 10);
	stash_reply_free(&reply);
	if (stash_call(h->client, "right", "count", NULL, 0, &reply, 1000) == 0 &&
	    (at = strstr(reply.data, "heard ")) != NULL)
		h->heard = strtoll(at + strlen("heard "), NULL, 10);
	stash_reply_free(&reply);
	return h->told >= 0 && h->told == h->heard;
}

/* What was cast arrives once; an orderly end may come before it. */
static void
check_heard(struct faulty *f, struct stash_client *c, bool stopped)
{
	struct heard h = { c, -1, -1 };
	bool all = t_wait_for(all_heard, &h, stopped ? 200 : 5000);

	if ((!all && !stopped) || h.told < f->told || h.heard > h.told || h.heard < 0)
		problem(f, "%lld of %lld casts between workers have arrived, of which %d were answered", h.heard,
		    h.told, f->told);
}

static struct stash_client *
open_client(struct faulty *f, const char *when)
{
	struct stash_client_options options = { .size = sizeof options, .wait_ms = f->fault.for_good ? GOOD_MS : 0 };
	struct stash_client *c = NULL;
	int result = stash_client_open(&c, f->d.dir, &options);

	if (result < 0 && !documented(result))
		problem(f, "%s: open: %s: %s", when, stash_errname(result), stash_errmsg());
	/* The fault was perhaps at this connection. */
	if (result < 0 && !f->fault.for_good && stash_client_open(&c, f->d.dir, &options) < 0)
		problem(f, "%s: open, once more: %s", when, stash_errmsg());
	return c;
}

static int
any_event(void *arg, const struct stash_event *e)
{
	(void)arg;
	(void)e;
	return 0;
}

/* A request may fail by the fault, but then only once; for good, some requests are enough. */
static int
judge(struct faulty *f, const char *what, int tries, int result)
{
	f->late += result == STASH_E_TIMEDOUT;
	if (result < 0 && !f->fault.for_good && tries == 2)
		problem(f, "%s, twice: %s: %s", what, stash_errname(result), stash_errmsg());
	return result < 0 && !f->fault.for_good && tries == 1 ? 1 : 0;
}

#define TRY(f, what, request) for (int tries = 1; f->late < LATE && judge(f, what, tries, request) != 0; tries++)

static void
look(struct faulty *f)
{
	struct stash_store *store = NULL;
	struct stash_state state;

	TRY(f, "store", stash_store_open(&store, f->d.dir, NULL));
	if (store == NULL)
		return;
	if (stash_store_read(store, "sequence", &state) == 0)
		stash_state_free(&state);
	(void)stash_store_log(store, STASH_LOG_EVENTS, 0, any_event, NULL);
	stash_store_close(store);
}

static void
administer(struct faulty *f, struct stash_client *c)
{
	int ms = f->fault.for_good ? GOOD_MS : ONCE_MS;
	struct stash_child_spec spec = { .size = sizeof spec, .id = "one", .name = "one" };

	TRY(f, "list", stash_which_children(c, "root", any, NULL, ms));
	TRY(f, "registry", stash_registry_list(c, NULL, any, NULL));
	TRY(f, "start of a child", stash_start_child(c, "root/dynamic", &spec, NULL, ms));
	TRY(f, "call of a dynamic child", stash_call(c, "one", "increment", NULL, 0, NULL, ms));
	TRY(f, "end of a child", stash_terminate_child(c, "root/dynamic", "one", ms));
	TRY(f, "bounce", stash_bounce(c, "agent", ms));
	TRY(f, "put", stash_state_put(c, "program", "state", 5, ms));
	look(f);
	t_write_file(f->d.conf, config(f, true));
	TRY(f, "reload", stash_reload(c, ms));
	TRY(f, "call of the new child", stash_call(c, "later", "next_number", NULL, 0, NULL, ms));
}

/* Dead, and followed by the next one, or not within a second. */
struct successor {
	struct faulty *f;
	enum t_who who;
	pid_t old;
};

static bool
is_followed(void *arg)
{
	const struct successor *s = arg;
	pid_t pid = t_pid(&s->f->d, s->who, "sequence");

	return (pid != 0 && pid != s->old) || t_ended(&s->f->d.proc, 0);
}

static void
murder(struct faulty *f, enum t_who who)
{
	struct successor s = { .f = f, .who = who, .old = t_pid(&f->d, who, "sequence") };

	if (s.old != 0 && t_murder(&f->d, who, "sequence"))
		(void)t_wait_for(is_followed, &s, f->fault.for_good ? 1000 : ONCE_MS);
}

/* ---- the scenario ---- */

static void
live(struct faulty *f)
{
	struct stash_client *a = open_client(f, "start"), *b;

	call(f, a, 5, "first calls");
	(void)stash_cast(a, "sequence", "increment_number", "cat", 3);
	call(f, a, 2, "after a crash");
	murder(f, T_WORKER);
	call(f, a, 3, "after the worker's death");
	b = open_client(f, "second client");
	tell(f, b, "second client");
	murder(f, T_STASH);
	call(f, b, 3, "after the stash's death");
	tell(f, b, "after the stash's death");
	if (a != NULL)
		administer(f, a);
	tell(f, a, "before the supervisor's death");
	murder(f, T_SUPERVISOR);
	tell(f, a, "after the supervisor's death");
	call(f, a, 3, "after the supervisor's death");
	call(f, b, 3, "the second client");
	if (f->fault.for_good && !t_ended(&f->d.proc, 0))
		check_quiet(f);
	if (!f->fault.for_good && a != NULL)
		check_heard(f, a, false);
	stash_client_close(a);
	stash_client_close(b);
}

/* SIGTERM; an end by itself is one with a status and a message. */
static void
stop(struct faulty *f, bool faulty)
{
	int status;

	if (!t_ended(&f->d.proc, 0))
		t_kill(&f->d.proc, SIGTERM);
	/* What it can't bring to its end for good it waits for, until it is told a second time. */
	for (int i = 0; i < 3 && faulty && f->fault.for_good && !t_ended(&f->d.proc, ORDER_MS); i++)
		t_kill(&f->d.proc, SIGTERM);
	if (!t_ended(&f->d.proc, STOP_MS)) {
		problem(f, "it doesn't stop in %d ms", STOP_MS);
		if (faulty) { /* and with the fault away? */
			t_failing_end(f->page);
			problem(
			    f, t_ended(&f->d.proc, STOP_MS) ? "  but without the fault" : "  nor without the fault");
		}
		return;
	}
	status = f->d.proc.status;
	if (WIFSIGNALED(status))
		problem(f, "it was ended by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0 && !(faulty && f->fault.for_good) && !f->ended)
		problem(f, "its exit status is %d", WEXITSTATUS(status));
	else if (f->ended && WEXITSTATUS(status) == 0)
		problem(f, "it has ended by itself with exit status 0");
}

/* Without a fault: what was acknowledged is there, and no more than may be. */
static void
check_after(struct faulty *f)
{
	int64_t acked = f->acked, unknown = f->unknown, next;
	struct stash_client *c;

	f->fault.for_good = false;
	f->late = 0;
	spawn(f, true);
	(void)t_wait_for(is_up, f, START_MS);
	if (f->ended || t_ended(&f->d.proc, 0)) {
		problem(f, "the next start fails");
		show_log(f, "next start");
		return;
	}
	c = open_client(f, "next start");
	call(f, c, 1, "next start");
	next = f->highest;
	if (f->acked != acked + 1)
		problem(f, "next start: no answer");
	else if (next < acked || next > acked + unknown)
		problem(f, "next start: the next number is %d, with %d acknowledged and %d not known", (int)next,
		    (int)acked, (int)unknown);
	if (c != NULL)
		check_heard(f, c, true);
	stash_client_close(c);
	stop(f, false);
	show_log(f, "next start");
}

static void
clean(struct faulty *f)
{
	t_kill_all();
	if (f->d.proc.pidfd >= 0)
		close(f->d.proc.pidfd);
	memset(&f->d.proc, 0, sizeof f->d.proc);
	t_remove_tree(f->d.dir);
	t_remove_tree(t_run_dir());
}

static void
begin(struct faulty *f)
{
	f->problems[0] = '\0';
	f->acked = f->unknown = f->late = 0;
	f->highest = -1;
	f->told = 0;
	memset(f->seen, 0, sizeof f->seen);
	f->run++;
}

void
faulty_run(struct faulty *f, const struct faulty_fault *fault)
{
	int64_t began = stash__now_ns();
	struct stat log;

	begin(f);
	f->fault = *fault;
	t_failing_begin(f->page, fault->what, fault->error, fault->at, fault->for_good);
	spawn(f, false);
	if (!t_wait_for(is_up, f, f->fault.for_good ? 3000 : START_MS) && !f->fault.for_good)
		problem(f, "it doesn't start");
	if (f->ended && stat(f->d.proc.log, &log) == 0 && log.st_size == 0)
		problem(f, "it has ended without a word");
	if (!f->ended)
		live(f);
	stop(f, true);
	t_failing_end(f->page);
	f->fired = f->page->fired;
	show_log(f, "run");
	if (t_ended(&f->d.proc, 0))
		check_after(f);
	f->ms = (int)((stash__now_ns() - began) / 1000000);
	clean(f);
}

size_t
faulty_count(struct faulty *f, struct failing_place *places, size_t max)
{
	begin(f);
	memset(&f->fault, 0, sizeof f->fault);
	atomic_store(&f->page->mode, FAILING_COUNTS);
	for (int i = 0; i < 2; i++) {
		f->fault.disk = i == 1;
		spawn(f, false);
		ck_assert(t_wait_for(is_up, f, START_MS) && !f->ended);
		live(f);
		stop(f, false);
		begin(f);
		clean(f);
	}
	atomic_store(&f->page->mode, FAILING_OFF);
	ck_assert_msg(f->problems[0] == '\0', "without a fault: %s", f->problems);
	return t_failing_places(f->page, places, max);
}

void
faulty_start(struct faulty *f)
{
	begin(f);
	spawn(f, false);
	ck_assert(t_wait_for(is_up, f, START_MS) && !f->ended);
}

void
faulty_stop(struct faulty *f)
{
	stop(f, false);
	ck_assert_msg(f->problems[0] == '\0', "%s", f->problems);
	clean(f);
}

void
faulty_open(struct faulty *f)
{
	memset(f, 0, sizeof *f);
	f->page = t_failing_make(f->env);
	f->d.dir = t_path("store");
	f->d.conf = t_path("stashd.conf");
}

void
faulty_close(struct faulty *f)
{
	t_failing_free(f->page);
}
