/* SPDX-License-Identifier: ISC */
/*
 * The tools on a stashd that runs: what stashctl does, what it says when something is wrong, and what
 * stash-inspect shows while everything lives, while the stash process sleeps, and after everything was killed
 * at once.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "reader/reader.h"
#include "stash-inspect/inspect.h"
#include "stashctl/ctl.h"
#include "testlib.h"
#include "testlib_live.h"
#include "testlib_tools.h"

static struct t_stashd stashd;

static void
begin(void)
{
	char config[4096];

	memset(&stashd, 0, sizeof stashd);
	snprintf(config, sizeof config,
	    "store = { history = 4; };\n"
	    "tree = { strategy = \"one_for_one\"; intensity = 100; period = 5; children = (\n"
	    "  { id = \"sequence\"; module = \"%s\"; args = [\"123\"]; },\n"
	    "  { id = \"web\"; strategy = \"one_for_one\"; children = (\n"
	    "    { id = \"value\"; name = \"web.value\"; module = \"%s\"; args = [\"seven\"]; } ); }\n"
	    "); };\n",
	    t_build("examples/sequence.so"), t_build("examples/agent.so"));
	t_stashd_start(&stashd, config);
	ck_assert_int_eq(setenv("STASH_DIR", t_store(&stashd), 1), 0);
}

/* Runs stashctl and wants this status and output. */
static void
ctl(int status, const char *out, const char *input, const char *const *words)
{
	struct tt_result r;

	tt_run(&r, &stashctl, input, words);
	tt_exits(&r, status);
	if (out != NULL)
		ck_assert_str_eq(r.out, out);
	tt_free(&r);
}
#define CTL(status, out, ...) ctl(status, out, NULL, (const char *const[]){ __VA_ARGS__, NULL })

/* The same for a failure, and what is said of it. */
static void
ctl_fails(int status, const char *why, const char *const *words)
{
	struct tt_result r;

	tt_run(&r, &stashctl, NULL, words);
	tt_exits(&r, status);
	tt_complains(&r, why);
	tt_free(&r);
}
#define CTL_FAILS(status, why, ...) ctl_fails(status, why, (const char *const[]){ __VA_ARGS__, NULL })

static json_t *
inspect(const char *command, const char *operand)
{
	struct tt_result r;
	json_t *object;

	tt_run(&r, &stash_inspect, NULL, (const char *const[]){ "-j", command, operand, NULL });
	tt_exits(&r, 0);
	object = tt_json(&r, tt_lines(&r) - 1);
	tt_free(&r);
	return object;
}

/* What show says: the next number, and whether a stashd was there. */
static void
shows(int64_t next, bool online)
{
	json_t *o = inspect("show", "sequence"), *state = json_object_get(o, "state");

	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(state, "fields"), "next")), next);
	ck_assert(json_is_true(json_object_get(o, "online")) == online);
	json_decref(o);
}

START_TEST(test_messages)
{
	begin();
	CTL(0, "123", "call", "sequence", "next_number");
	CTL(0, "124", "call", "root/sequence", "next_number");
	CTL(0, "", "cast", "sequence", "increment_number", "-5");
	CTL(0, "120", "call", "sequence", "next_number", "-t", "10");
	CTL(0, "", "call", "web.value", "update", "two", "words");
	CTL(0, "two words", "call", "root/web/value", "get");
	ctl(0, "", "from\nstandard input", (const char *const[]){ "call", "web.value", "update", "-", NULL });
	CTL(0, "from\nstandard input", "call", "web.value", "get");
	CTL_FAILS(1, "an agent knows get and update", "call", "web.value", "put");
	CTL_FAILS(EX_SOFTWARE, "crash", "call", "sequence", "nothing");
	CTL(0, "121", "call", "sequence", "next_number");
	CTL_FAILS(EX_NOHOST, "nobody", "call", "nobody", "get");
	CTL_FAILS(EX_NOHOST, "root/nobody", "call", "root/nobody/x", "get");
	CTL_FAILS(EX_NOHOST, "web", "cast", "root/web", "get");
	CTL_FAILS(EX_USAGE, "a tag", "call", "sequence", "a tag");
	t_stashd_stop(&stashd, 10000);
}
END_TEST

START_TEST(test_control)
{
	struct tt_result r;

	begin();
	CTL(0, NULL, "ping");
	CTL(0, "", "wait", "sequence");
	CTL(0, "123", "call", "sequence", "next_number");
	CTL(0, "", "restart", "sequence");
	CTL(0, "124", "call", "sequence", "next_number");
	CTL(0, "", "kill", "sequence");
	CTL(0, "", "wait", "sequence");
	CTL(0, "125", "call", "sequence", "next_number");
	CTL(0, "", "kill", "root/sequence", "SIGTERM");
	CTL(0, "126", "call", "sequence", "next_number");
	CTL_FAILS(EX_NOHOST, "nobody", "restart", "nobody");
	CTL_FAILS(EX_NOHOST, "nobody", "kill", "nobody");
	CTL_FAILS(EX_NOHOST, "nobody", "wait", "nobody");
	CTL_FAILS(EX_NOHOST, "root/nobody", "which-children", "root/nobody");
	TT_RUN(&r, &stashctl, "which-children", "-j");
	ck_assert_uint_eq(tt_lines(&r), 2);
	/* OTP's order: the last started first. */
	ck_assert_ptr_nonnull(strstr(r.out, "\"id\":\"web\""));
	ck_assert_ptr_nonnull(strstr(r.out, "\"id\":\"sequence\""));
	ck_assert(strstr(r.out, "\"id\":\"web\"") < strstr(r.out, "\"id\":\"sequence\""));
	tt_free(&r);
	CTL(0, "", "shutdown");
	ck_assert_int_eq(t_wait(&stashd.proc, 5000), 0);
	CTL_FAILS(EX_UNAVAILABLE, "no stashd", "ping");
}
END_TEST

/* Anything that began after the start of a script: stashd comes later. */
START_TEST(test_wait_for_stashd)
{
	struct t_proc wait = { .pid = 0 };

	begin();
	t_stashd_stop(&stashd, 10000);
	t_spawn(&wait, (const char *const[]){ t_build("stashctl"), "-t", "20", "wait", "web.value", NULL }, NULL);
	t_stashd_start(&stashd, NULL);
	ck_assert_int_eq(t_wait(&wait, 20000), 0);
	t_stashd_stop(&stashd, 10000);
}
END_TEST

#define STOPPED "wait web.value: it is stopped, and won't come back by itself; start it: stashctl restart-child "

/* Nobody starts it: that is said at once, however much time there is. */
START_TEST(test_wait_for_a_stopped_child)
{
	begin();
	CTL(0, "", "wait", "web.value");
	CTL(0, "", "terminate-child", "web.value");
	CTL_FAILS(EX_UNAVAILABLE, STOPPED "root/web/value\n", "-t", "infinity", "wait", "web.value");
	ck_assert(t_murder(&stashd, T_SUPERVISOR, NULL));
	CTL_FAILS(EX_UNAVAILABLE, STOPPED "root/web/value\n", "-t", "infinity", "wait", "web.value");
	CTL(0, "", "wait", "sequence");
	CTL(0, "", "terminate-child", "root/web");
	CTL_FAILS(EX_UNAVAILABLE, STOPPED "root/web\n", "-t", "infinity", "wait", "web.value");
	CTL(0, NULL, "restart-child", "root/web");
	CTL(0, "", "wait", "web.value");
	t_stashd_stop(&stashd, 10000);
	/* The last reason, not that of an attempt without any time. */
	CTL_FAILS(EX_UNAVAILABLE, "wait web.value: no stashd runs on ", "-t", "0.1", "wait", "web.value");
}
END_TEST

static bool
is_stopped(void *arg)
{
	struct stash_process p;

	return stash_whereis(arg, "web.value", &p) == 0 && p.status == STASH_STOPPED;
}

/* All are stopped in a tree that has ended, and the next stashd starts them. */
START_TEST(test_wait_over_a_stop)
{
	struct t_proc wait = { .pid = 0 };
	struct stash_client *client;
	pid_t stash;

	begin();
	client = t_client(&stashd);
	CTL(0, "", "wait", "web.value");
	stash = t_pid(&stashd, T_STASH, NULL);
	ck_assert_int_eq(kill(stash, SIGSTOP), 0);
	t_kill(&stashd.proc, SIGTERM);
	ck_assert(t_wait_for(is_stopped, client, 20000));
	CTL_FAILS(EX_TEMPFAIL, "", "-t", "0.5", "wait", "web.value");
	t_spawn(&wait, (const char *const[]){ t_build("stashctl"), "-t", "20", "wait", "web.value", NULL }, NULL);
	ck_assert_int_eq(kill(stash, SIGCONT), 0);
	ck_assert_int_eq(t_wait(&stashd.proc, 20000), 0);
	stash_client_close(client);
	t_stashd_start(&stashd, NULL);
	ck_assert_int_eq(t_wait(&wait, 20000), 0);
	t_stashd_stop(&stashd, 10000);
}
END_TEST

START_TEST(test_inspect)
{
	struct tt_result r;
	json_t *o;

	begin();
	CTL(0, "123", "call", "sequence", "next_number");
	shows(124, true);
	o = inspect("whereis", "sequence");
	ck_assert_int_eq(json_integer_value(json_object_get(o, "pid")), t_pid(&stashd, T_WORKER, "sequence"));
	json_decref(o);
	o = inspect("list", "web.");
	ck_assert_str_eq(json_string_value(json_object_get(o, "child")), "root/web/value");
	ck_assert_str_eq(json_string_value(json_object_get(o, "status")), "running");
	json_decref(o);
	o = inspect("tree", NULL);
	ck_assert_str_eq(json_string_value(json_object_get(o, "child")), "root/web/value");
	json_decref(o);
	o = inspect("registry", NULL);
	ck_assert_str_eq(json_string_value(json_object_get(o, "name")), "web.value");
	json_decref(o);
	o = inspect("events", NULL);
	ck_assert_str_eq(json_string_value(json_object_get(o, "child")), "root");
	ck_assert_str_eq(json_string_value(json_object_get(o, "type")), "started");
	json_decref(o);
	o = inspect("history", "sequence");
	ck_assert_int_ge(json_integer_value(json_object_get(o, "version")), 1);
	json_decref(o);
	o = inspect("stat", NULL);
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(o, "workers"), "running")), 2);
	ck_assert_int_eq(
	    json_integer_value(json_object_get(json_object_get(o, "stash"), "pid")), t_pid(&stashd, T_STASH, NULL));
	json_decref(o);
	o = inspect("health", NULL);
	ck_assert(json_is_true(json_object_get(o, "healthy")));
	json_decref(o);
	TT_RUN(&r, &stash_inspect, "show", "web.value");
	tt_says(&r, "\nthe value is 'seven'\n");
	tt_free(&r);
	t_stashd_stop(&stashd, 10000);
	shows(124, false);
}
END_TEST

/* A crash is told: by its caller's error, in the events, and by show. */
START_TEST(test_crash)
{
	json_t *o, *crash;

	begin();
	CTL(0, "", "cast", "sequence", "increment_number", "cat");
	CTL(0, "123", "call", "sequence", "next_number");
	o = inspect("show", "sequence");
	crash = json_object_get(o, "last_crash");
	ck_assert_str_eq(json_string_value(json_object_get(crash, "reason")), "crash");
	ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(crash, "text")), "increment_number"));
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(o, "box"), "deaths")), 1);
	json_decref(o);
	t_stashd_stop(&stashd, 10000);
}
END_TEST

static bool
has_last_crash(void *arg)
{
	json_t *o = inspect("show", arg);
	bool yes = json_is_object(json_object_get(o, "last_crash"));

	json_decref(o);
	return yes;
}

/* Nobody follows a temporary child and clears its black box: its crash is told once, by the report. */
START_TEST(test_crash_of_the_last_incarnation)
{
	struct tt_result r;

	memset(&stashd, 0, sizeof stashd);
	t_stashd_start(&stashd, t_config("once", "examples/sequence.so", "\"123\"", "restart = \"temporary\";", ""));
	ck_assert_int_eq(setenv("STASH_DIR", t_store(&stashd), 1), 0);
	CTL(0, "123", "call", "once", "next_number");
	CTL(0, "", "cast", "once", "increment_number", "cat");
	ck_assert(t_wait_for(has_last_crash, (void *)(uintptr_t) "once", 10000));
	TT_RUN(&r, &stash_inspect, "show", "once");
	tt_exits(&r, 0);
	tt_says(&r, "last crash  ");
	ck_assert_msg(strstr(r.out, "not reported") == NULL, "%s", r.out);
	tt_free(&r);
	t_stashd_stop(&stashd, 10000);
}
END_TEST

/* Reading needs no one's help. */
START_TEST(test_nobody_helps)
{
	struct stash_client *client;
	pid_t stash;

	begin();
	client = t_client(&stashd);
	t_expect_call(client, "sequence", "next_number", "", "123");
	/* From here on the fields are on the disk too. */
	shows(124, true);
	stash = t_pid(&stashd, T_STASH, NULL);
	ck_assert_int_eq(kill(stash, SIGSTOP), 0);
	for (int i = 124; i < 130; i++) {
		char text[16];
		struct stash_store *store;
		struct stash_state state;
		int64_t next;

		snprintf(text, sizeof text, "%d", i);
		t_expect_call(client, "sequence", "next_number", "", text);
		ck_assert_int_eq(stash_store_open(&store, NULL, NULL), 0);
		ck_assert_int_eq(stash_store_read(store, "sequence", &state), 0);
		memcpy(&next, state.data, sizeof next);
		ck_assert_int_eq(next, i + 1);
		stash_state_free(&state);
		stash_store_close(store);
	}
	stash_client_close(client);
	t_kill_all();
	close(stashd.proc.pidfd);
	stashd.proc.pid = 0;
	shows(130, false);
	t_stashd_start(&stashd, NULL);
	CTL(0, "130", "call", "sequence", "next_number");
	t_stashd_stop(&stashd, 10000);
}
END_TEST

/* ---- check ---- */

static unsigned
count_files(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n - 2;
}

/* Whether a process has a file open whose name was in this directory, and is gone. */
static bool
has_nameless(void *arg)
{
	const struct t_proc *p = arg;
	char dir[64], path[PATH_MAX], end[] = " (deleted)";
	struct dirent *e;
	bool yes = false;
	DIR *d;

	snprintf(dir, sizeof dir, "/proc/%d/fd", (int)p->pid);
	d = opendir(dir);
	while (d != NULL && (e = readdir(d)) != NULL) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, path, sizeof path - 1);

		path[n > 0 ? n : 0] = '\0';
		yes = yes ||
		    (strncmp(path, t_path("tmp/"), strlen(t_path("tmp/"))) == 0 && (size_t)n > sizeof end &&
			strcmp(path + n - (sizeof end - 1), end) == 0);
	}
	if (d != NULL)
		closedir(d);
	return yes;
}

/* It waits for a stash process that sleeps, and is killed: the copy, which may be large, has no name by then. */
START_TEST(test_check_leaves_nothing)
{
	struct t_proc check = { .pid = 0 };
	struct tt_result r;
	pid_t stash;

	begin();
	ck_assert_int_eq(mkdir(t_path("tmp"), 0700), 0);
	ck_assert_int_eq(setenv("TMPDIR", t_path("tmp"), 1), 0);
	CTL(0, "123", "call", "sequence", "next_number");
	stash = t_pid(&stashd, T_STASH, NULL);
	ck_assert_int_eq(kill(stash, SIGSTOP), 0);
	t_spawn(&check, (const char *const[]){ t_build("stash-inspect"), "check", NULL }, NULL);
	ck_assert(t_wait_for(has_nameless, &check, 10000));
	ck_assert_uint_eq(count_files(t_path("tmp")), 0);
	t_kill(&check, SIGKILL);
	ck_assert_int_eq(t_wait(&check, 10000), 256 + SIGKILL);
	ck_assert_uint_eq(count_files(t_path("tmp")), 0);
	ck_assert_int_eq(kill(stash, SIGCONT), 0);
	TT_RUN(&r, &stash_inspect, "check");
	tt_exits(&r, 0);
	tt_says(&r, t_store(&stashd));
	ck_assert_ptr_null(strstr(r.out, "/proc/"));
	tt_free(&r);
	ck_assert_uint_eq(count_files(t_path("tmp")), 0);
	t_stashd_stop(&stashd, 10000);
}
END_TEST

/* The word by which LMDB knows its version, in both meta pages: a copy has it as the file. */
static void
turn_versions(void)
{
	int fd = open(t_path("store/data.mdb"), O_RDWR | O_CLOEXEC);
	unsigned char byte;

	ck_assert_int_ge(fd, 0);
	for (off_t at = 20; at < 8192; at += 4096) {
		ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
		byte ^= 0x40;
		ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	}
	close(fd);
}

/* What the copy can't be opened for is told of the store. */
START_TEST(test_check_names_the_store)
{
	char path[PATH_MAX + 2];
	struct tt_result r;

	begin();
	turn_versions();
	TT_RUN(&r, &stash_inspect, "check");
	turn_versions();
	tt_exits(&r, EX_DATAERR);
	snprintf(path, sizeof path, "%s: ", t_store(&stashd));
	tt_complains(&r, path);
	ck_assert_msg(strstr(r.err, "/proc/") == NULL && strstr(r.err, "stash-check") == NULL, "%s", r.err);
	tt_free(&r);
	t_stashd_stop(&stashd, 10000);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("tools on a stashd");
	TCase *tc = t_case(s, "tools", 60);

	tcase_add_test(tc, test_messages);
	tcase_add_test(tc, test_control);
	tcase_add_test(tc, test_wait_for_stashd);
	tcase_add_test(tc, test_wait_for_a_stopped_child);
	tcase_add_test(tc, test_wait_over_a_stop);
	tcase_add_test(tc, test_inspect);
	tcase_add_test(tc, test_crash);
	tcase_add_test(tc, test_crash_of_the_last_incarnation);
	tcase_add_test(tc, test_nobody_helps);
	tcase_add_test(tc, test_check_leaves_nothing);
	tcase_add_test(tc, test_check_names_the_store);
	return s;
}

TEST_MAIN(suite)
