/* SPDX-License-Identifier: ISC */
/*
 * The supervisor is disposable: killed a hundred times under load it interrupts nothing, calls don't even need it, and
 * workers that die while there is none are known for how they died.  Then the keeper, alone and with others.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "testlib_live.h"
#include "testlib_load.h"

#define KILLS 100
#define WINDOW_MS 120 /* longer than a supervisor has to live to be followed at once */
#define LONGER_NS (20 * STASH__NS_PER_MS)

static struct t_stashd d;

static void
begin(const char *config)
{
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, config);
}

static const char *
sequence(const char *store)
{
	return t_config("sequence", "examples/sequence.so", "\"0\"", "", store);
}

static bool
has_other_supervisor(void *arg)
{
	const pid_t *old = arg;
	pid_t now = t_pid(&d, T_SUPERVISOR, NULL);

	return now != 0 && now != *old;
}

/* ---- under load ---- */

static int
compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

struct longest {
	int64_t median, most, max; /* most: nine in ten are below */
};

/* Of every second window, from the first one on. */
static struct longest
sum_up(int first, int n, const char *what)
{
	int64_t *all = calloc((size_t)n, sizeof *all);
	struct longest l;

	ck_assert_ptr_nonnull(all);
	for (int i = 0; i < n; i++)
		all[i] = tl_longest(first + 2 * i);
	qsort(all, (size_t)n, sizeof *all, compare);
	l = (struct longest){ all[n / 2], all[n * 9 / 10], all[n - 1] };
	printf("longest call in a window, %s: median %.2f ms, nine in ten below %.2f ms, the longest %.2f ms\n", what,
	    (double)l.median / 1e6, (double)l.most / 1e6, (double)l.max / 1e6);
	free(all);
	return l;
}

/* The length of a window is all that is waited for. */
static void
pass_window(int window)
{
	tl_window(window);
	(void)poll(NULL, 0, WINDOW_MS);
	tl_window(TL_WINDOWS - 1); /* finding processes costs time, too, but the test's */
}

static void
kill_in_window(int window)
{
	pid_t old = t_pid(&d, T_SUPERVISOR, NULL);
	int pidfd = pidfd_open(old, 0);

	ck_assert_int_ge(pidfd, 0);
	tl_window(window);
	ck_assert_int_eq(pidfd_send_signal(pidfd, SIGKILL, NULL, 0), 0);
	pass_window(window);
	close(pidfd);
	ck_assert(t_wait_for(has_other_supervisor, &old, 20000));
}

/* One window without, one with a kill, in turn, so that both see the same machine. */
static void
kill_many(const char *store, int kills)
{
	struct longest quiet, killed;
	pid_t worker, stash;
	char what[64];

	begin(sequence(store));
	tl_begin(&d);
	tl_await(1000);
	worker = t_pid(&d, T_WORKER, "sequence");
	stash = t_pid(&d, T_STASH, NULL);
	for (int i = 0; i < kills; i++) {
		pass_window(2 * i);
		kill_in_window(2 * i + 1);
	}
	tl_await(100);
	ck_assert_int_eq(t_pid(&d, T_WORKER, "sequence"), worker);
	ck_assert_int_eq(t_pid(&d, T_STASH, NULL), stash);
	quiet = sum_up(0, kills, "nobody killed");
	killed = sum_up(1, kills, "supervisor killed");
	snprintf(what, sizeof what, "%d supervisors killed, %s", kills, store);
	tl_end(what);
	ck_assert_int_le(killed.median, quiet.median + LONGER_NS);
	/* Of the rarest calls the scheduler decides, if others make the machine busy: that shows without a kill too. */
	if (quiet.most < LONGER_NS)
		ck_assert_int_le(killed.most, quiet.most + LONGER_NS);
	t_stashd_stop(&d, 20000);
}

static int
times(int n)
{
	const char *minutes = getenv("STASH_TORTURE");
	int more = minutes != NULL ? n * 2 * atoi(minutes) : n;

	return more < n ? n : more > TL_WINDOWS / 2 - 1 ? TL_WINDOWS / 2 - 1 : more;
}

START_TEST(test_killed_a_hundred_times)
{
	kill_many("ack = \"crash\";", times(KILLS));
}
END_TEST

START_TEST(test_killed_with_disk)
{
	kill_many("ack = \"disk\";", times(KILLS / 10));
}
END_TEST

/* No call goes through it: with supervisor and keeper stopped everything is as ever. */
START_TEST(test_calls_do_not_need_it)
{
	pid_t supervisor;
	int pidfd;

	begin(sequence(""));
	tl_begin(&d);
	tl_await(1000);
	supervisor = t_pid(&d, T_SUPERVISOR, NULL);
	pidfd = pidfd_open(supervisor, 0);
	ck_assert_int_ge(pidfd, 0);
	ck_assert_int_eq(pidfd_send_signal(pidfd, SIGSTOP, NULL, 0), 0);
	t_kill(&d.proc, SIGSTOP);
	tl_await(20000);
	t_kill(&d.proc, SIGCONT);
	ck_assert_int_eq(pidfd_send_signal(pidfd, SIGCONT, NULL, 0), 0);
	close(pidfd);
	tl_await(1000);
	ck_assert_int_eq(t_pid(&d, T_SUPERVISOR, NULL), supervisor);
	tl_end("supervisor and keeper stopped");
	t_stashd_stop(&d, 20000);
}
END_TEST

/* ---- deaths while there is no supervisor ---- */

static const char *
four_workers(void)
{
	static char text[4 * PATH_MAX];
	const char *module = t_build("tests/modules/echo.so");

	snprintf(text, sizeof text,
	    "tree = { intensity = 100; children = (\n"
	    "  { id = \"faulty\"; module = \"%s\"; },\n"
	    "  { id = \"done\"; module = \"%s\"; restart = \"transient\"; },\n"
	    "  { id = \"shot\"; module = \"%s\"; restart = \"transient\"; },\n"
	    "  { id = \"brief\"; module = \"%s\"; restart = \"temporary\"; } ); };",
	    module, module, module, module);
	return text;
}

static int
watch(const char *name)
{
	pid_t pid = t_pid(&d, T_WORKER, name);
	int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;

	ck_assert_int_ge(pidfd, 0);
	return pidfd;
}

static void
await_death(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	ck_assert_int_eq(poll(&p, 1, 20000), 1);
	close(pidfd);
}

static void
expect_inspect(const char *const *words, int status, const char *want)
{
	const char *argv[8] = { t_build("stash-inspect"), "-d", t_store(&d) };
	struct t_result r;

	for (int i = 0; i < 4 && words[i] != NULL; i++)
		argv[3 + i] = words[i];
	t_run(&r, NULL, argv);
	ck_assert_msg(r.status == status && strstr(r.out, want) != NULL, "\"%s\" isn't in %s%s", want, r.out, r.err);
	t_result_free(&r);
}

static bool
has_status(struct stash_client *c, const char *name, uint32_t status)
{
	struct stash_process process;
	int result = stash_whereis(c, name, &process);

	return status == 0 ? result == STASH_E_NOENT : result == STASH_OK && process.status == status;
}

static bool
is_decided(void *arg)
{
	struct stash_client *c = arg;

	return has_status(c, "faulty", STASH_RUNNING) && has_status(c, "done", STASH_STOPPED) &&
	    has_status(c, "shot", STASH_RUNNING) && has_status(c, "brief", 0);
}

/* The keeper is stopped meanwhile, so that there is no supervisor for as long as it takes. */
static void
die_without_supervisor(void)
{
	static const char *const names[] = { "faulty", "done", "shot", "brief" };
	struct stash_client *c = t_client(&d);
	struct stash_reply reply;
	int fds[4];
	int64_t fault;

	for (int i = 0; i < 4; i++) {
		t_expect_call(c, names[i], "echo", "x", "x");
		fds[i] = watch(names[i]);
	}
	t_kill(&d.proc, SIGSTOP);
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	fault = stash_call_start(c, "faulty", "wild", NULL, 0, 60000);
	ck_assert_int_gt(fault, 0);
	ck_assert_int_gt(stash_call_start(c, "done", "stop", NULL, 0, 60000), 0);
	ck_assert_int_eq(pidfd_send_signal(fds[2], SIGKILL, NULL, 0), 0);
	ck_assert_int_eq(pidfd_send_signal(fds[3], SIGKILL, NULL, 0), 0);
	for (int i = 0; i < 4; i++)
		await_death(fds[i]);
	t_kill(&d.proc, SIGCONT);
	ck_assert_int_eq(stash_call_wait(c, fault, &reply, 60000), STASH_E_CRASHED);
	stash_reply_free(&reply);
	ck_assert_msg(t_wait_for(is_decided, c, 20000), "the wrong decisions:\n%s", t_output(&d.proc));
	t_expect_call(c, "faulty", "count", NULL, "2 0");
	t_expect_call(c, "shot", "count", NULL, "2 0");
	t_expect_error(c, "done", "echo", "x", STASH_E_DOWN);
	stash_client_close(c);
}

START_TEST(test_how_they_died_is_known)
{
	begin(four_workers());
	die_without_supervisor();
	t_wait_output(&d.proc, "faulty: crash report: incarnation 1", 20000);
	t_wait_output(&d.proc, "SIGSEGV", 20000);
	expect_inspect((const char *const[]){ "events", NULL }, EX_OK, "SIGSEGV");
	expect_inspect((const char *const[]){ "events", NULL }, EX_OK, "exit status 0");
	expect_inspect((const char *const[]){ "events", NULL }, EX_OK, "SIGKILL");
	t_stashd_stop(&d, 20000);
}
END_TEST

struct young_stash {
	pid_t supervisor, pid;
};

/* A stash process that may not have opened its store yet, so it is found by its name. */
static bool
is_other_stash(void *arg)
{
	struct young_stash *s = arg;
	pid_t children[64];
	int n = t_children(s->supervisor, children, 64);

	for (int i = 0; i < n; i++) {
		char path[64], *name;
		bool found;

		snprintf(path, sizeof path, "/proc/%d/comm", (int)children[i]);
		if (children[i] == s->pid || access(path, R_OK) != 0)
			continue;
		name = t_read_file(path, NULL);
		found = strcmp(name, "stashd: stash\n") == 0;
		free(name);
		if (!found)
			continue;
		s->pid = children[i];
		return true;
	}
	return false;
}

static void
kill_next_stash(struct young_stash *s)
{
	int pidfd;

	ck_assert(t_wait_for(is_other_stash, s, 20000));
	pidfd = pidfd_open(s->pid, 0);
	ck_assert_int_ge(pidfd, 0);
	ck_assert_int_eq(pidfd_send_signal(pidfd, SIGKILL, NULL, 0), 0);
	close(pidfd);
}

/* Stash processes that die young are followed later and later; a stop in between waits for the next one. */
START_TEST(test_a_stop_without_a_stash_stores_everything)
{
	struct stash_client *c;
	struct young_stash s = { 0, 0 };

	begin(sequence(""));
	c = t_client(&d);
	t_expect_call(c, "sequence", "next_number", NULL, "0");
	s.supervisor = t_pid(&d, T_SUPERVISOR, NULL);
	for (int i = 0; i < 8; i++)
		kill_next_stash(&s);
	t_expect_call(c, "sequence", "next_number", NULL, "1");
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
	begin(NULL);
	t_wait_output(&d.proc, "stopped cleanly", 20000);
	t_stashd_stop(&d, 20000);
}
END_TEST

/* ---- the keeper ---- */

/* It is not found as the keeper's child any more. */
static int
orphan_supervisor(pid_t *pid)
{
	int pidfd;

	*pid = t_pid(&d, T_SUPERVISOR, NULL);
	pidfd = pidfd_open(*pid, 0);
	ck_assert_int_ge(pidfd, 0);
	t_kill(&d.proc, SIGKILL);
	ck_assert_int_eq(t_wait(&d.proc, 5000), 256 + SIGKILL);
	return pidfd;
}

static void
expect_command(const char *program, const char *command, int status, const char *want)
{
	struct t_result r;

	t_run(&r, NULL, (const char *const[]){ t_build(program), "-d", t_store(&d), command, NULL });
	ck_assert_msg(r.status == status && (strstr(r.out, want) != NULL || strstr(r.err, want) != NULL),
	    "%s: %d, \"%s\" isn't in: %s%s", command, r.status, want, r.out, r.err);
	t_result_free(&r);
}

static void
alarms(void)
{
	struct t_result r;

	t_wait_output(&d.proc, "the keeper is dead", 20000);
	expect_command("stash-inspect", "health", 1, "the keeper is dead");
	expect_command("stash-inspect", "stat", EX_OK, "keeper       dead");
	expect_command("stashctl", "reexec", EX_UNAVAILABLE, "the keeper is dead");
	/* A second stashd is refused, and says what is the matter. */
	t_run(&r, NULL, (const char *const[]){ t_build("stashd"), "-d", t_store(&d), "-f", d.conf, NULL });
	ck_assert_msg(
	    r.status == EX_TEMPFAIL && strstr(r.err, "is dead, but its supervisor") != NULL, "%d: %s", r.status, r.err);
	t_result_free(&r);
}

START_TEST(test_without_keeper)
{
	bool by_signal = _i == 0;
	pid_t supervisor;
	int pidfd;

	begin(sequence(""));
	tl_begin(&d);
	tl_await(500);
	pidfd = orphan_supervisor(&supervisor);
	tl_await(500);
	alarms();
	/* It does all that it did before. */
	for (int i = 0; i < 5; i++) {
		ck_assert(t_murder(&d, T_WORKER, "sequence"));
		tl_await(200);
		ck_assert(t_murder(&d, T_STASH, NULL));
		tl_await(200);
	}
	tl_end("without keeper");
	if (by_signal)
		ck_assert_int_eq(pidfd_send_signal(pidfd, SIGTERM, NULL, 0), 0);
	else
		expect_command("stashctl", "shutdown", EX_OK, "");
	t_no_children(20000);
	close(pidfd);
	begin(NULL);
	t_wait_output(&d.proc, "stopped cleanly", 20000);
	t_stashd_stop(&d, 20000);
}
END_TEST

/* ---- all but the clients ---- */

static bool
is_up_again(void *arg)
{
	(void)arg;
	if (d.proc.pid != 0 && !t_ended(&d.proc, 0)) {
		char *output = t_output(&d.proc);
		bool up = strstr(output, "up: ") != NULL;

		free(output);
		return up;
	}
	/* As a service manager would: those of before are on their way out, and the lock is theirs till then. */
	t_spawn(&d.proc, (const char *const[]){ t_build("stashd"), "-d", t_store(&d), "-f", d.conf, NULL }, NULL);
	return false;
}

/* Who dies at the same moment: stopped first, all of them, then killed. */
static void
kill_at_once(int who)
{
	static const enum t_who all[] = { T_KEEPER, T_SUPERVISOR, T_STASH, T_WORKER };
	int fds[4], n = 0;

	for (int i = 0; i < 4; i++) {
		pid_t pid = (who & (int)all[i]) != 0 ? t_pid(&d, all[i], "sequence") : 0;

		if (pid == 0)
			continue;
		fds[n] = pidfd_open(pid, 0);
		ck_assert_int_ge(fds[n], 0);
		(void)pidfd_send_signal(fds[n++], SIGSTOP, NULL, 0);
	}
	for (int i = 0; i < n; i++) {
		(void)pidfd_send_signal(fds[i], SIGKILL, NULL, 0);
		close(fds[i]);
	}
	ck_assert_int_eq(t_wait(&d.proc, 5000), 256 + SIGKILL);
}

/* The clients see a longer call, and nothing else. */
START_TEST(test_killed_at_once)
{
	static const int who[] = { T_KEEPER | T_SUPERVISOR, T_KEEPER | T_SUPERVISOR | T_STASH,
		T_KEEPER | T_SUPERVISOR | T_STASH | T_WORKER };

	begin(sequence(""));
	tl_begin(&d);
	for (int i = 0; i < 4; i++) {
		tl_await(500);
		kill_at_once(who[_i]);
		ck_assert_msg(t_wait_for(is_up_again, NULL, 20000), "%s", t_output(&d.proc));
	}
	tl_await(500);
	tl_end(_i == 0 ? "keeper and supervisor" : _i == 1 ? "and stash" : "and worker");
	t_stashd_stop(&d, 20000);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("disposable");
	TCase *kills = t_case(s, "kills", 120), *deaths = t_case(s, "deaths", 60), *stop = t_case(s, "stop", 60),
	      *keeper = t_case(s, "keeper", 60), *at_once = t_case(s, "at once", 60);

	tcase_add_test(kills, test_killed_a_hundred_times);
	tcase_add_test(kills, test_killed_with_disk);
	tcase_add_test(kills, test_calls_do_not_need_it);
	tcase_add_test(deaths, test_how_they_died_is_known);
	tcase_add_test(stop, test_a_stop_without_a_stash_stores_everything);
	tcase_add_loop_test(keeper, test_without_keeper, 0, 2);
	tcase_add_loop_test(at_once, test_killed_at_once, 0, 3);
	return s;
}

TEST_MAIN(suite)
