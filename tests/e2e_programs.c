/* SPDX-License-Identifier: ISC */
/*
 * Programs that aren't linked with libstash: a shell script as a worker and as a client; states by stashctl put and
 * get, which no kill takes back; and when such a program counts as started.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "testlib_examples.h"

Suite *programs_suite(void);

#define LARGE (3 * 1024 * 1024)
#define STORM_SECONDS 5

static struct t_stashd d;

static const char *
example(const char *name)
{
	static char path[PATH_MAX];
	const char *self = __FILE__, *slash = strrchr(self, '/');
	char *full;

	snprintf(path, sizeof path, "%.*s../src/examples/%s", slash != NULL ? (int)(slash - self + 1) : 0, self, name);
	full = realpath(path, NULL);
	ck_assert_ptr_nonnull(full);
	snprintf(path, sizeof path, "%s", full);
	free(full);
	return path;
}

/* A tree that never gives up, of these children. */
static void
go_on(const char *children)
{
	char *text;

	ck_assert_int_eq(setenv("STASHCTL", t_build("stashctl"), 1), 0);
	ck_assert_int_ge(asprintf(&text, "tree = { intensity = 1000000; children = ( %s ); };", children), 0);
	t_stashd_start(&d, text);
	ck_assert_int_eq(setenv("STASH_DIR", t_store(&d), 1), 0);
	free(text);
}

static void
begin(const char *children)
{
	memset(&d, 0, sizeof d);
	go_on(children);
}

static void
finish(void)
{
	t_stashd_stop(&d, 20000);
}

/* A shell script of these lines, as a child. */
static const char *
script(const char *id, const char *more, const char *lines)
{
	static char text[PATH_MAX + 500];
	const char *path = t_path("%s.sh", id);
	char *all;

	ck_assert_int_ge(asprintf(&all, "#!/bin/sh\n%s", lines), 0);
	t_write_file(path, all);
	free(all);
	snprintf(text, sizeof text, "{ id = \"%s\"; exec = [\"/bin/sh\", \"%s\"]; %s }", id, path, more);
	return text;
}

/* What get writes, as a number; 0: there is no state yet. */
static int64_t
get_number(const char *name)
{
	struct t_result r;
	int64_t n = 0;

	t_run(&r, NULL, (const char *const[]){ t_build("stashctl"), "get", name, NULL });
	if (r.status == 0)
		ck_assert_msg(stash_parse_int(r.out, 1, INT64_MAX, &n) == 0, "%s is '%s'", name, r.out);
	else
		ck_assert_msg(r.status == EX_NOHOST, "get: %d: %s", r.status, r.err);
	t_result_free(&r);
	return n;
}

struct at_least {
	const char *name;
	int64_t n;
};

static bool
is_at_least(void *arg)
{
	const struct at_least *a = arg;

	return get_number(a->name) >= a->n;
}

static void
wait_for(const char *name, int64_t n)
{
	struct at_least a = { name, n };

	ck_assert_msg(t_wait_for(is_at_least, &a, 20000), "%s doesn't come to %lld; the log:\n%s", name, (long long)n,
	    t_output(&d.proc));
}

/* ---- the examples ---- */

START_TEST(a_script_as_a_worker)
{
	pid_t pid = 0;
	int64_t n;
	char *path = strdup(example("shell.sh"));

	memset(&d, 0, sizeof d);
	ck_assert_int_eq(setenv("STASHCTL", t_build("stashctl"), 1), 0);
	t_example_start(
	    &d, "shell.conf", (const char *const[]){ "./shell.sh", path, "args = [\"1\"]", "args = [\"0.01\"]", NULL });
	free(path);
	wait_for("count", 3);
	for (int i = 0; i < 3; i++) {
		pid = t_reborn(&d, "count", pid);
		n = get_number("count");
		t_session("kill count", "");
		wait_for("count", n + 2);
	}
	n = get_number("count");
	finish();
	ck_assert_int_ge(get_number("count"), n);
}
END_TEST

START_TEST(a_script_as_a_client)
{
	struct t_result r;

	memset(&d, 0, sizeof d);
	ck_assert_int_eq(setenv("STASHCTL", t_build("stashctl"), 1), 0);
	t_example_start(&d, "sequence.conf", NULL);
	t_run(&r, NULL, (const char *const[]){ example("shell-client.sh"), "2", NULL });
	ck_assert_int_eq(r.status, 0);
	ck_assert_str_eq(r.out, "my number is 123\nmy number is 124\n");
	t_result_free(&r);
	t_session("call sequence next_number", "135");
	finish();
}
END_TEST

/* ---- nothing that was acknowledged is lost ---- */

static const char counting[] = "n=$(\"$STASHCTL\" get \"$STASH_NAME\"); r=$?\n"
			       "[ $r -eq 0 ] || { [ $r -eq 68 ] && n=0; } || exit 1\n"
			       "while n=$((n + 1)); do\n"
			       "	\"$STASHCTL\" put \"$STASH_NAME\" $n || exit 1\n"
			       "	echo $n >>\"$STASH_DIR/../acknowledged\"\n"
			       "done\n";

/* Each number that was acknowledged is above the one before: no incarnation began behind it.  Returns the last. */
static int64_t
check_acknowledged(int *count)
{
	char *text, *rest, *line;
	int64_t last = 0, n;

	*count = 0;
	if (access(t_path("acknowledged"), F_OK) < 0)
		return 0;
	text = rest = t_read_file(t_path("acknowledged"), NULL);
	while ((line = strsep(&rest, "\n")) != NULL && rest != NULL) {
		ck_assert_int_eq(stash_parse_int(line, 1, INT64_MAX, &n), 0);
		ck_assert_msg(n > last, "%lld comes after %lld", (long long)n, (long long)last);
		last = n;
		++*count;
	}
	free(text);
	return last;
}

static void
storm(const char *ack, unsigned who)
{
	char more[64];
	int count, kills = 0;
	int64_t last;

	snprintf(more, sizeof more, "notify = \"none\"; ack = \"%s\";", ack);
	begin(script("count", more, counting));
	wait_for("count", 1);
	for (int64_t until = stash__now_ns() + STORM_SECONDS * STASH__NS_PER_S; stash__now_ns() < until; kills++) {
		enum t_who whom = kills % 8 == 7 && (who & T_SUPERVISOR) != 0 ? T_SUPERVISOR :
		    kills % 8 == 3 && (who & T_STASH) != 0		      ? T_STASH :
										T_WORKER;
		(void)t_murder(&d, whom, "count");
		(void)poll(NULL, 0, 20 + kills % 50);
	}
	wait_for("count", 2);
	if ((who & T_KEEPER) != 0) {
		t_murder_all(&d);
		last = check_acknowledged(&count);
		ck_assert_int_ge(get_number("count"), last);
		t_stashd_start(&d, NULL);
		wait_for("count", last + 1);
	}
	finish();
	last = check_acknowledged(&count);
	ck_assert_int_gt(count, 0);
	ck_assert_int_ge(get_number("count"), last);
	printf("%d killed, ack = %s: %d puts acknowledged, up to %lld\n", kills, ack, count, (long long)last);
}

START_TEST(storm_on_the_script)
{
	storm("crash", T_WORKER);
}
END_TEST

START_TEST(storm_on_everybody)
{
	storm("crash", T_WORKER | T_STASH | T_SUPERVISOR | T_KEEPER);
}
END_TEST

START_TEST(storm_with_the_disk)
{
	storm("disk", T_WORKER | T_STASH | T_SUPERVISOR | T_KEEPER);
}
END_TEST

/* ---- somebody dies at a step ---- */

static const struct {
	const char *process, *name;
	bool kill_worker; /* the point is passed only when the program dies */
} points[] = {
	{ "supervisor", "entry_before_tail", false },
	{ "supervisor", "sup_put_written", false },
	{ "supervisor", "sup_before_retire", true },
	{ "supervisor", "sup_after_retire", true },
	{ "supervisor", "sup_reaped", true },
	{ "supervisor", "sup_forked", true },
	{ "supervisor", "sup_before_go", true },
	{ "supervisor", "sup_after_go", true },
	{ "stash", "stash_before_turn", false },
	{ "stash", "stash_after_turn", false },
	{ "stash", "stash_in_retire", true },
	{ "stash", "stash_after_retire", true },
};

#define NPOINTS (int)(sizeof points / sizeof points[0])

static bool
has_fired(void *arg)
{
	(void)arg;
	return access(t_path("fired"), F_OK) == 0;
}

START_TEST(death_at_a_step)
{
	char crash[128], dir[PATH_MAX + 32];
	const char *env[] = { crash, dir, NULL };
	int count;
	int64_t last;

	snprintf(crash, sizeof crash, "STASH_CRASH=%s:%d:%s", points[_i].name, 3, points[_i].process);
	snprintf(dir, sizeof dir, "STASH_CRASH_DIR=%s", t_dir());
	memset(&d, 0, sizeof d);
	d.points = true;
	d.env = env;
	go_on(script("count", "notify = \"none\";", counting));
	for (int64_t until = stash__now_ns() + 30 * STASH__NS_PER_S; !has_fired(NULL);) {
		wait_for("count", get_number("count") + 1);
		if (points[_i].kill_worker)
			(void)t_murder(&d, T_WORKER, "count");
		ck_assert_msg(stash__now_ns() < until, "%s: nobody passed that point", points[_i].name);
	}
	last = check_acknowledged(&count);
	wait_for("count", last + 3);
	(void)t_murder(&d, T_WORKER, "count");
	wait_for("count", last + 6);
	finish();
	last = check_acknowledged(&count);
	ck_assert_int_gt(count, 0);
	ck_assert_int_ge(get_number("count"), last);
}
END_TEST

/* ---- put and get ---- */

static const char waiting[] = "while sleep 1; do :; done\n";

static void
put_large(char fill)
{
	char *bytes = malloc(LARGE + 1);
	struct t_result r;

	ck_assert_ptr_nonnull(bytes);
	memset(bytes, fill, LARGE);
	bytes[LARGE] = '\0';
	t_run(&r, bytes, (const char *const[]){ t_build("stashctl"), "put", "p", "-", NULL });
	ck_assert_msg(r.status == 0, "put: %d: %s", r.status, r.err);
	t_result_free(&r);
	t_run(&r, NULL, (const char *const[]){ t_build("stashctl"), "get", "p", NULL });
	ck_assert_int_eq(r.status, 0);
	ck_assert_msg(strcmp(r.out, bytes) == 0, "other bytes come back: %zu of them", strlen(r.out));
	t_result_free(&r);
	free(bytes);
}

static void
check_version(uint64_t version, const char *text)
{
	struct stash_store *store;
	struct stash_state state;

	ck_assert_int_eq(stash_store_open(&store, t_store(&d), NULL), 0);
	ck_assert_int_eq(stash_store_read(store, "p", &state), 0);
	ck_assert_uint_eq(state.version, version);
	ck_assert_str_eq(state.layout, "program");
	ck_assert_str_eq(state.data, text);
	stash_state_free(&state);
	stash_store_close(store);
}

START_TEST(what_is_put_can_be_got)
{
	pid_t pid;

	begin(script("p", "notify = \"none\";", waiting));
	t_session("wait p", "");
	t_session_fails("get p", EX_NOHOST, "no state");
	t_session("put p two words", "");
	t_session("get root/p", "two words");
	t_session("put p", "");
	t_session("get p", "");
	check_version(2, "");
	put_large('a');
	put_large('b');
	/* The ring is large now, and the numbers go on, for the next incarnation and under the next supervisor. */
	pid = t_reborn(&d, "p", 0);
	t_session("kill p", "");
	(void)t_reborn(&d, "p", pid);
	t_session("wait p", "");
	t_session("put p after the worker", "");
	check_version(5, "after the worker");
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	t_session("put p after the supervisor", "");
	check_version(6, "after the supervisor");
	ck_assert(t_murder(&d, T_STASH, NULL));
	t_session("put p after the stash", "");
	check_version(7, "after the stash");
	finish();
	t_session("get p", "after the stash");
}
END_TEST

START_TEST(many_puts_at_once)
{
	struct t_proc puts[16];

	begin(script("p", "notify = \"none\"; ack = \"disk\";", waiting));
	t_session("wait p", "");
	for (int i = 0; i < 16; i++)
		t_spawn(&puts[i], (const char *const[]){ t_build("stashctl"), "put", "p", "same", NULL }, NULL);
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(t_wait(&puts[i], 20000), 0);
	check_version(16, "same");
	finish();
}
END_TEST

START_TEST(what_may_not_be_put)
{
	char children[2 * PATH_MAX + 1000], *text = malloc(STASH_STATE_MAX + 2);
	struct t_result r;
	pid_t pid;

	snprintf(children, sizeof children, "%s, { id = \"linked\"; module = \"%s\"; args = [\"1\"]; }",
	    script("p", "notify = \"none\";", waiting), t_build("examples/sequence.so"));
	begin(children);
	t_session("wait p", "");
	t_session("wait linked", "");
	t_session_fails("put nobody 1", EX_NOHOST, "no such name");
	t_session_fails("put linked 1", EX_USAGE, "it keeps its state itself");
	t_session("call linked next_number", "1");
	t_session("put p one", "");
	/* What an incarnation leaves behind puts nothing when it is over. */
	pid = t_reborn(&d, "p", 0);
	t_session("kill p", "");
	(void)t_reborn(&d, "p", pid);
	t_session("wait p", "");
	ck_assert_int_eq(setenv("STASH_NAME", "p", 1), 0);
	ck_assert_int_eq(setenv("STASH_INCARNATION", "1", 1), 0);
	t_session_fails("put p late", EX_UNAVAILABLE, "incarnation 1");
	ck_assert_int_eq(setenv("STASH_INCARNATION", "2", 1), 0);
	t_session("put p two", "");
	ck_assert_int_eq(unsetenv("STASH_NAME"), 0);
	ck_assert_int_eq(unsetenv("STASH_INCARNATION"), 0);
	ck_assert_ptr_nonnull(text);
	memset(text, 'x', STASH_STATE_MAX + 1);
	text[STASH_STATE_MAX + 1] = '\0';
	t_run(&r, text, (const char *const[]){ t_build("stashctl"), "put", "p", "-", NULL });
	ck_assert_int_eq(r.status, EX_DATAERR);
	t_result_free(&r);
	free(text);
	t_session("get p", "two");
	finish();
}
END_TEST

static bool
is_stopped(void *arg)
{
	struct stash_process p;

	return stash_whereis(arg, "once", &p) == 0 && p.status == STASH_STOPPED;
}

START_TEST(put_says_what_is_wrong)
{
	struct stash_client *c;
	char children[2 * PATH_MAX + 1000];

	snprintf(children, sizeof children,
	    "%s, { id = \"once\"; exec = [\"/bin/true\"]; notify = \"none\"; restart = \"transient\"; }",
	    script("p", "notify = \"none\";", waiting));
	begin(children);
	c = t_client(&d);
	ck_assert_int_eq(stash_state_put(NULL, "p", "", 0, 1000), STASH_E_INVAL);
	ck_assert_int_eq(stash_state_put(c, NULL, "", 0, 1000), STASH_E_INVAL);
	ck_assert_int_eq(stash_state_put(c, "a/b", "", 0, 1000), STASH_E_INVAL);
	ck_assert_int_eq(stash_state_put(c, "p", NULL, 1, 1000), STASH_E_INVAL);
	ck_assert_int_eq(stash_state_put(c, "p", "", (size_t)STASH_STATE_MAX + 1, 1000), STASH_E_TOOBIG);
	ck_assert_int_eq(stash_state_put(c, "nobody", "", 0, 10000), STASH_E_NOENT);
	ck_assert(t_wait_for(is_stopped, c, 20000));
	ck_assert_int_eq(stash_state_put(c, "once", "x", 1, 10000), STASH_E_DOWN);
	t_session_fails("get once", EX_NOHOST, "no state");
	ck_assert_int_eq(stash_state_put(c, "p", "x", 1, 20000), STASH_OK);
	t_session("get p", "x");
	stash_client_close(c);
	finish();
}
END_TEST

START_TEST(without_persistence_nothing_is_left)
{
	pid_t pid;

	begin(script("p", "notify = \"none\"; persist = false;", waiting));
	t_session("wait p", "");
	t_session("put p one", "");
	t_session("get p", "one");
	pid = t_reborn(&d, "p", 0);
	t_session("kill p", "");
	(void)t_reborn(&d, "p", pid);
	t_session("wait p", "");
	t_session_fails("get p", EX_NOHOST, "no state");
	finish();
}
END_TEST

START_TEST(without_a_name_it_runs_all_the_same)
{
	begin(script("p", "name = \"\"; notify = \"none\";", "echo \"I am ${STASH_NAME:-nobody}\"; exit 1\n"));
	t_wait_output(&d.proc, "I am nobody", 10000);
	t_session_fails("put p 1", EX_NOHOST, "no such name");
	finish();
}
END_TEST

/* ---- starting ---- */

START_TEST(its_environment_and_arguments)
{
	char *text;

	ck_assert_int_eq(setenv("NOTIFY_SOCKET", t_path("of the service manager"), 1), 0);
	begin(script("p", "args = [\"one\", \"two\"]; notify = \"none\";",
	    "echo \"I am $STASH_NAME $STASH_INCARNATION in $STASH_DIR: $*, $# ${NOTIFY_SOCKET:-quiet}"
	    " ${STASH_WORKER_FD:-unlinked}\"\nwhile sleep 1; do :; done\n"));
	ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
	ck_assert_int_ge(asprintf(&text, "I am p 1 in %s: one two, 2 quiet unlinked", t_store(&d)), 0);
	t_wait_output(&d.proc, text, 10000);
	free(text);
	finish();
}
END_TEST

static const char *
notifier(const char *says, const char *before, const char *more)
{
	static char text[2 * PATH_MAX];

	snprintf(text, sizeof text,
	    "{ id = \"n\"; exec = [\"%s\", \"%s\"]; args = [\"%s\", \"%s\"]; notify = \"sd_notify\"; %s }",
	    t_build("tests/helpers/sd_program"), says, t_path("go"), before, more);
	return text;
}

static void
begin_unready(const char *children)
{
	const char *const argv[] = { t_build("stashd"), "-d", t_path("store"), "-f", t_path("stashd.conf"), NULL };
	char *text;

	memset(&d, 0, sizeof d);
	ck_assert_int_ge(asprintf(&text, "tree = { intensity = 1000000; children = ( %s ); };", children), 0);
	t_write_file(t_path("stashd.conf"), text);
	free(text);
	t_spawn(&d.proc, argv, NULL);
	ck_assert_int_eq(setenv("STASH_DIR", t_path("store"), 1), 0);
}

START_TEST(it_is_started_when_it_says_so)
{
	begin_unready(notifier("READY=1", "STATUS=not yet", ""));
	(void)t_reborn(&d, "n", 0);
	t_session_fails("-t 0.1 wait n", EX_TEMPFAIL, "");
	/* Also when another supervisor has taken over meanwhile. */
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	t_write_file(t_path("go"), "");
	t_session("wait n", "");
	t_wait_output(&d.proc, "all\\x1b is well", 10000);
	t_session("put n me too", "");
	t_session("get n", "me too");
	finish();
}
END_TEST

static bool
is_past(void *until)
{
	return stash__now_ns() > *(int64_t *)until;
}

START_TEST(one_that_asks_for_more_time_has_it)
{
	int64_t until;

	begin_unready(notifier("READY=1", "EXTEND_TIMEOUT_USEC=60000000\\nSTATUS=not yet", "start_timeout = 4000;"));
	until = stash__now_ns() + 5 * STASH__NS_PER_S;
	t_wait_output(&d.proc, "n: not yet", 10000);
	ck_assert(_i == 0 || t_murder(&d, T_SUPERVISOR, NULL)); /* the next one knows of it, too */
	ck_assert(t_wait_for(is_past, &until, 10000));
	t_write_file(t_path("go"), "");
	t_session("wait n", "");
	finish();
}
END_TEST

START_TEST(one_that_never_says_so_fails_to_start)
{
	begin_unready(notifier("STATUS=nearly", "WATCHDOG=1", "start_timeout = 200;"));
	t_write_file(t_path("go"), "");
	ck_assert_int_ne(t_wait(&d.proc, 20000), 0);
	t_no_children(10000);
}
END_TEST

Suite *
programs_suite(void)
{
	Suite *suite = suite_create("programs");
	TCase *some = t_case(suite, "some", 60), *storms = t_case(suite, "storms", 120);
	TCase *steps = t_case(suite, "steps", 60);

	tcase_add_test(some, a_script_as_a_worker);
	tcase_add_test(some, a_script_as_a_client);
	tcase_add_test(some, what_is_put_can_be_got);
	tcase_add_test(some, many_puts_at_once);
	tcase_add_test(some, what_may_not_be_put);
	tcase_add_test(some, put_says_what_is_wrong);
	tcase_add_test(some, without_persistence_nothing_is_left);
	tcase_add_test(some, without_a_name_it_runs_all_the_same);
	tcase_add_test(some, its_environment_and_arguments);
	tcase_add_test(some, it_is_started_when_it_says_so);
	tcase_add_loop_test(some, one_that_asks_for_more_time_has_it, 0, 2);
	tcase_add_test(some, one_that_never_says_so_fails_to_start);
	tcase_add_loop_test(steps, death_at_a_step, 0, NPOINTS);
	tcase_add_test(storms, storm_on_the_script);
	tcase_add_test(storms, storm_on_everybody);
	tcase_add_test(storms, storm_with_the_disk);
	return suite;
}

TEST_MAIN(programs_suite)
