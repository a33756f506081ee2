/* SPDX-License-Identifier: ISC */
/*
 * A changed config for a stashd that runs: which processes are other ones
 * afterwards and which are not, what a mistake does, what --dry-run tells, and
 * that the death of the supervisor, or of everything, in the midst loses nothing.
 */
#include <bsd/string.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/supervisor.h>

#include "stash-inspect/inspect.h"
#include "stashctl/ctl.h"
#include "testlib.h"
#include "testlib_live.h"
#include "testlib_tools.h"

static struct t_stashd stashd;

/* A config: a text with its children. */
static const char *
config(const char *flags, const char *children)
{
	static char text[16384];

	snprintf(text, sizeof text, "tree = { %s children = (\n%s\n); };\n", flags, children);
	return text;
}

/* An agent that forgets: its value is its argument after each start. */
static const char *
agent(const char *id, const char *value, const char *more)
{
	static char text[8][512];
	static int n;
	char *at = text[n++ % 8];

	snprintf(at, sizeof text[0], "{ id = \"%s\"; module = \"%s\"; args = [\"%s\"]; persist = false; %s }", id,
	    t_build("examples/agent.so"), value, more);
	return at;
}

static const char *
sequence(const char *first)
{
	static char text[512];

	snprintf(text, sizeof text, "{ id = \"sequence\"; module = \"%s\"; args = [\"%s\"]; }",
	    t_build("examples/sequence.so"), first);
	return text;
}

static const char *
children(const char *const *list)
{
	static char text[8192];

	text[0] = '\0';
	for (; *list != NULL; list++) {
		(void)strlcat(text, *list, sizeof text);
		if (list[1] != NULL)
			(void)strlcat(text, ",\n", sizeof text);
	}
	return text;
}
#define CHILDREN(...) children((const char *const[]){ __VA_ARGS__, NULL })

static void
begin(const char *text)
{
	memset(&stashd, 0, sizeof stashd);
	t_stashd_start(&stashd, text);
	t_wait_output(&stashd.proc, "up: ", 20000);
	ck_assert_int_eq(setenv("STASH_DIR", t_store(&stashd), 1), 0);
}

static void
reload(struct stash_client *c, const char *text)
{
	int result;

	if (text != NULL)
		t_write_file(stashd.conf, text);
	result = stash_reload(c, 60000);
	ck_assert_msg(result == 0, "reload: %s: %s", stash_errname(result), stash_errmsg());
}

static pid_t
pid_of(struct stash_client *c, const char *name)
{
	struct stash_process p;

	ck_assert_msg(stash_whereis(c, name, &p) == 0, "%s: %s", name, stash_errmsg());
	ck_assert_int_eq(p.status, STASH_RUNNING);
	return (pid_t)p.pid;
}

#define IDS_MAX 1024

static int
add_id(void *arg, const struct stash_process *p)
{
	(void)strlcat(arg, p->id, IDS_MAX);
	(void)strlcat(arg, " ", IDS_MAX);
	return 0;
}

/* The ids below root, the last one first, as OTP tells them. */
static void
stand(struct stash_client *c, const char *ids)
{
	char text[IDS_MAX] = "";

	ck_assert_int_eq(stash_which_children(c, "root", add_id, text, 30000), 0);
	ck_assert_str_eq(text, ids);
}

START_TEST(only_what_has_changed_is_another_process)
{
	struct stash_client *c;
	pid_t a, b, seq;

	begin(config(
	    "intensity = 3;", CHILDREN(agent("a", "1", ""), agent("b", "1", ""), sequence("10"), agent("z", "1", ""))));
	c = t_client(&stashd);
	t_expect_call(c, "sequence", "next_number", NULL, "10");
	a = pid_of(c, "a");
	b = pid_of(c, "b");
	seq = pid_of(c, "sequence");
	reload(c,
	    config("intensity = 4;",
		CHILDREN(agent("n", "2", ""), agent("a", "1", ""), agent("b", "2", ""), sequence("10"))));
	stand(c, "sequence b a n ");
	ck_assert_int_eq(pid_of(c, "a"), a);
	ck_assert_int_eq(pid_of(c, "sequence"), seq);
	ck_assert_int_ne(pid_of(c, "b"), b);
	t_expect_call(c, "b", "get", NULL, "2");
	t_expect_call(c, "n", "get", NULL, "2");
	t_expect_error(c, "z", "get", NULL, STASH_E_NOENT);
	/* one that is changed keeps its state */
	reload(c, config("", CHILDREN(agent("a", "1", ""), sequence("77"))));
	ck_assert_int_ne(pid_of(c, "sequence"), seq);
	t_expect_call(c, "sequence", "next_number", NULL, "11");
	ck_assert_int_eq(pid_of(c, "a"), a);
	stash_client_close(c);
	t_stashd_stop(&stashd, 20000);
}
END_TEST

START_TEST(a_signal_does_the_same)
{
	struct stash_client *c;
	pid_t a;

	begin(config("", agent("a", "1", "")));
	c = t_client(&stashd);
	a = pid_of(c, "a");
	t_write_file(stashd.conf, config("", CHILDREN(agent("a", "1", ""), agent("b", "2", ""))));
	t_kill(&stashd.proc, SIGHUP);
	t_wait_output(&stashd.proc, "reload: done", 20000);
	ck_assert_int_eq(pid_of(c, "a"), a);
	t_expect_call(c, "b", "get", NULL, "2");
	stash_client_close(c);
	t_stashd_stop(&stashd, 20000);
}
END_TEST

START_TEST(a_dry_run_tells_and_does_nothing)
{
	struct stash_client *c;
	struct tt_result r;
	pid_t a;

	begin(config("", CHILDREN(agent("a", "1", ""), agent("b", "1", ""))));
	c = t_client(&stashd);
	a = pid_of(c, "a");
	t_write_file(stashd.conf,
	    config(
		"intensity = 9;", CHILDREN(agent("n", "1", ""), agent("a", "2", "shutdown = 77; max_attempts = 7;"))));
	TT_RUN(&r, &stashctl, "reload", "--dry-run");
	tt_exits(&r, 0);
	ck_assert_str_eq(
	    r.out, "flags root: intensity\nremove root/b\nadd root/n\nchange root/a: shutdown, args, max_attempts\n");
	tt_free(&r);
	TT_RUN(&r, &stashctl, "reload", "-nj");
	tt_exits(&r, 0);
	ck_assert_uint_eq(tt_lines(&r), 4);
	tt_free(&r);
	stand(c, "b a ");
	ck_assert_int_eq(pid_of(c, "a"), a);
	TT_RUN(&r, &stashctl, "reload");
	tt_exits(&r, 0);
	tt_says(&r, "remove root/b\n");
	tt_free(&r);
	stand(c, "a n ");
	/* keys that wait are named */
	t_write_file(stashd.conf, "store = { spin = \"1us\"; history = 3; };\ntree = { children = ( ); };\n");
	TT_RUN(&r, &stashctl, "reload", "-n");
	tt_says(&r, "later store.history: takes effect at the next start\n");
	tt_says(&r, "later store.spin: takes effect at the next start\n");
	tt_free(&r);
	stash_client_close(c);
	t_stashd_stop(&stashd, 20000);
}
END_TEST

START_TEST(a_mistake_changes_nothing)
{
	struct stash_client *c;
	struct tt_result r;
	pid_t a;

	begin(config("", CHILDREN(agent("a", "1", ""), agent("b", "1", ""))));
	c = t_client(&stashd);
	a = pid_of(c, "a");
	t_write_file(stashd.conf, config("\nintensty = 3;", agent("a", "2", "")));
	ck_assert_int_eq(stash_reload(c, 60000), STASH_E_SPEC);
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "stashd.conf:2: intensty: unknown key"));
	TT_RUN(&r, &stashctl, "reload");
	tt_exits(&r, EX_CONFIG);
	tt_complains(&r, "stashd.conf:2: intensty");
	tt_free(&r);
	/* a module that can't be loaded is found before anything is stopped */
	t_write_file(t_path("broken.so"), "this is no module");
	t_write_file(stashd.conf, config("", "{ id = \"a\"; module = \"broken.so\"; }"));
	ck_assert_int_eq(stash_reload(c, 60000), STASH_E_SPEC);
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "stashd.conf:2: module"));
	ck_assert_int_eq(unlink(stashd.conf), 0);
	ck_assert_int_eq(stash_reload(c, 60000), STASH_E_NOENT);
	stand(c, "b a ");
	ck_assert_int_eq(pid_of(c, "a"), a);
	stash_client_close(c);
	t_stashd_stop(&stashd, 20000);
}
END_TEST

START_TEST(a_start_that_fails_is_told)
{
	struct stash_client *c;
	pid_t a;

	begin(config("", CHILDREN(agent("a", "1", ""), sequence("5"))));
	c = t_client(&stashd);
	a = pid_of(c, "a");
	reload(c, config("", agent("a", "1", "")));
	/* its state is stored: only a new name takes the wrong argument */
	t_write_file(stashd.conf,
	    config("",
		CHILDREN(agent("a", "1", ""), agent("m", "1", ""),
		    "{ id = \"other\"; module = \"sequence.so\"; args = [\"cat\"]; }", agent("n", "1", ""))));
	ck_assert_int_eq(symlink(t_build("examples/sequence.so"), t_path("sequence.so")), 0);
	ck_assert_int_eq(stash_reload(c, 60000), STASH_E_START);
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "root/other"));
	stand(c, "n other m a ");
	ck_assert_int_eq(pid_of(c, "a"), a);
	(void)pid_of(c, "n");
	stash_client_close(c);
	t_stashd_stop(&stashd, 20000);
}
END_TEST

/* Runs stash-inspect; wants this status, and these words in its output. */
static void
inspect(int line, int status, const char *says, const char *const *words)
{
	struct tt_result r;

	tt_run(&r, &stash_inspect, NULL, words);
	ck_assert_msg(r.status == status && strstr(r.out, says) != NULL,
	    "line %d: exit %d, not %d, or no \"%s\" in\n%s%s", line, r.status, status, says, r.out, r.err);
	tt_free(&r);
}
#define INSPECT(status, says, ...) inspect(__LINE__, status, says, (const char *const[]){ __VA_ARGS__, NULL })
#define ILL(names) INSPECT(1, "ill: 1 of 2 workers are stopped since their start failed: " names "\n", "health")

/* Nobody tries again, so somebody has to be told as long as it is so, whoever dies meanwhile. */
START_TEST(a_worker_that_has_not_started_again_is_an_illness)
{
	struct stash_client *c;

	begin(config("", CHILDREN(agent("a", "1", ""), agent("b", "1", ""))));
	c = t_client(&stashd);
	INSPECT(0, "healthy: 2 workers run", "health");
	ck_assert_int_eq(symlink(t_build("tests/modules/child.so"), t_path("child.so")), 0);
	t_write_file(stashd.conf,
	    config("", CHILDREN(agent("a", "1", ""), "{ id = \"b\"; module = \"child.so\"; args = [\"fail\"]; }")));
	ck_assert_int_eq(stash_reload(c, 60000), STASH_E_START);
	ILL("b");
	INSPECT(0, "\nb     failed ", "list");
	INSPECT(0, "b   failed ", "tree");
	INSPECT(0, "\"status\":\"stopped\",\"failed\":true", "-j", "whereis", "b");
	INSPECT(0, "\"status\":\"running\",\"failed\":false", "-j", "whereis", "a");
	INSPECT(0, "1 running, 1 stopped (1 failed)", "stat");
	INSPECT(0, "\"stopped\":1,\"held\":0,\"failed\":1", "-j", "stat");
	ck_assert(t_murder(&stashd, T_SUPERVISOR, NULL));
	ILL("b");
	/* who leaves it at that says so */
	ck_assert_int_eq(stash_terminate_child(c, "root", "b", 20000), 0);
	INSPECT(0, "healthy: 1 workers run", "health");
	ck_assert_int_eq(stash_restart_child(c, "root", "b", NULL, 20000), STASH_E_START);
	ILL("b");
	/* read by the stash, which stores first what there is */
	INSPECT(0, "\nb     root/b  failed ", "registry");
	stash_client_close(c);
	t_murder_all(&stashd);
	INSPECT(0, "\nb     failed ", "list");
	INSPECT(0, "b   failed ", "tree");
	t_stashd_start(&stashd, NULL);
	t_wait_output(&stashd.proc, "up: ", 20000);
	ILL("b");
	c = t_client(&stashd);
	reload(c, config("", CHILDREN(agent("a", "1", ""), agent("b", "1", ""))));
	INSPECT(0, "healthy: 2 workers run", "health");
	t_expect_call(c, "b", "get", NULL, "1");
	stash_client_close(c);
	t_stashd_stop(&stashd, 20000);
}
END_TEST

/* Forty agents with that value, of which every fourth is there in one form only, and one that never changes. */
static const char *
many(int form)
{
	static char text[40 * 512];
	size_t at = (size_t)snprintf(text, sizeof text, "tree = { intensity = 1000; children = (\n%s", sequence("1"));
	char id[16], value[16];

	for (int i = 0; i < 40; i++) {
		if (i % 4 == form % 4)
			continue;
		snprintf(id, sizeof id, "w%d", i);
		snprintf(value, sizeof value, "%d", i % 2 == 0 ? form : 0);
		at += (size_t)snprintf(text + at, sizeof text - at, ",\n%s", agent(id, value, ""));
	}
	snprintf(text + at, sizeof text - at, "); };\n");
	return text;
}

static void
check_many(struct stash_client *c, int form)
{
	char id[16], value[16], ids[IDS_MAX] = "";

	for (int i = 39; i >= 0; i--) {
		snprintf(id, sizeof id, "w%d", i);
		snprintf(value, sizeof value, "%d", i % 2 == 0 ? form : 0);
		if (i % 4 == form % 4)
			continue;
		t_expect_call(c, id, "get", NULL, value);
		(void)strlcat(ids, id, sizeof ids);
		(void)strlcat(ids, " ", sizeof ids);
	}
	(void)strlcat(ids, "sequence ", sizeof ids);
	stand(c, ids);
}

/* Whether that worker has come, has gone or is another process. */
struct moving {
	const char *name;
	pid_t before;
};

static bool
has_moved(void *arg)
{
	const struct moving *m = arg;

	return t_pid(&stashd, T_WORKER, m->name) != m->before;
}

START_TEST(the_supervisor_dies_in_the_midst)
{
	/* at once, with the first stops, with the first and with the last starts */
	static const char *const when[] = { NULL, "w38", "w20", "w2", "w0", "w10", "w22", "w30" };
	struct stash_client *c;
	pid_t seq;

	begin(many(1));
	c = t_client(&stashd);
	seq = pid_of(c, "sequence");
	for (int i = 0; i < 8; i++) {
		int form = 2 + i;
		const char *steady = form % 4 == 1 || form % 4 == 2 ? "w3" : "w1";
		pid_t was = pid_of(c, steady);
		struct moving m = { when[i], when[i] != NULL ? t_pid(&stashd, T_WORKER, when[i]) : 0 };
		struct t_proc ctl = { .pid = 0 };

		t_write_file(stashd.conf, many(form));
		t_spawn(&ctl, (const char *const[]){ t_build("stashctl"), "reload", NULL }, NULL);
		if (m.name != NULL)
			ck_assert(t_wait_for(has_moved, &m, 20000));
		ck_assert(t_murder(&stashd, T_SUPERVISOR, NULL));
		ck_assert_int_eq(t_wait(&ctl, 60000), 0);
		check_many(c, form);
		ck_assert_int_eq(pid_of(c, "sequence"), seq);
		ck_assert_int_eq(pid_of(c, steady), was);
	}
	stash_client_close(c);
	t_stashd_stop(&stashd, 20000);
}
END_TEST

/* T is up, a is in its init, b's process is made and waits for its turn. */
static void
begin_with_a_wait(const char *child)
{
	struct moving b = { "b", 0 };
	char text[2048];

	memset(&stashd, 0, sizeof stashd);
	snprintf(text, sizeof text,
	    "{ id = \"T\"; children = ( %s ); }, { id = \"a\"; module = \"%s\"; args = [\"until=%s\"]; }",
	    agent("t", "1", ""), child, t_path("go"));
	t_stashd_start(&stashd, config("", CHILDREN(text, agent("b", "1", ""))));
	ck_assert_int_eq(setenv("STASH_DIR", t_store(&stashd), 1), 0);
	ck_assert(t_wait_for(has_moved, &b, 20000));
	snprintf(text, sizeof text,
	    "{ id = \"T\"; children = ( %s, %s ); }, { id = \"a\"; module = \"%s\"; args = [\"until=%s\"]; }",
	    agent("t", "1", ""), agent("b", "1", ""), child, t_path("go"));
	t_write_file(stashd.conf, config("", text));
}

static bool
b_runs(void *arg)
{
	struct stash_process p;

	return stash_whereis(arg, "b", &p) == 0 && p.status == STASH_RUNNING;
}

/* During the start, whose turn hadn't come yet; its process goes along. */
START_TEST(one_that_was_made_ahead_moves)
{
	struct t_proc ctl = { .pid = 0 };
	struct stash_client *c;
	pid_t b;

	begin_with_a_wait(t_build("tests/modules/child.so"));
	b = t_pid(&stashd, T_WORKER, "b");
	c = t_client(&stashd);
	t_spawn(&ctl, (const char *const[]){ t_build("stashctl"), "reload", NULL }, NULL);
	ck_assert(t_wait_for(b_runs, c, 20000));
	ck_assert_int_eq(pid_of(c, "b"), b);
	t_write_file(t_path("go"), "");
	ck_assert_int_eq(t_wait(&ctl, 20000), 0);
	t_wait_output(&stashd.proc, "up: ", 20000);
	stand(c, "a T ");
	t_expect_call(c, "b", "get", NULL, "1");
	stash_client_close(c);
	t_stashd_stop(&stashd, 20000);
}
END_TEST

START_TEST(after_the_death_of_all_the_stored_tree_is_changed)
{
	struct stash_child_spec spec = { .size = sizeof spec,
		.id = "added",
		.module = t_build("examples/agent.so"),
		.args = (const char *const[]){ "by hand", NULL } };
	struct stash_client *c;

	begin(config("", CHILDREN(agent("a", "1", ""), agent("b", "1", ""), agent("d", "1", ""), sequence("5"))));
	c = t_client(&stashd);
	t_expect_call(c, "sequence", "next_number", NULL, "5");
	ck_assert_msg(stash_start_child(c, "root", &spec, NULL, 20000) == 0, "%s", stash_errmsg());
	ck_assert_msg(stash_terminate_child(c, "root", "d", 20000) == 0, "%s", stash_errmsg());
	stash_client_close(c);
	t_murder_all(&stashd);
	t_stashd_start(&stashd,
	    config("", CHILDREN(agent("n", "2", ""), agent("a", "2", ""), agent("d", "1", ""), sequence("5"))));
	t_wait_output(&stashd.proc, "up: ", 20000);
	c = t_client(&stashd);
	stand(c, "added sequence d a n ");
	t_expect_call(c, "n", "get", NULL, "2");
	t_expect_call(c, "a", "get", NULL, "2");
	t_expect_call(c, "sequence", "next_number", NULL, "6");
	t_expect_call(c, "added", "get", NULL, "by hand");
	t_expect_error(c, "d", "get", NULL, STASH_E_DOWN);
	stash_client_close(c);
	t_stashd_stop(&stashd, 20000);
	/* after an orderly end it is the config's */
	t_stashd_start(&stashd, NULL);
	t_wait_output(&stashd.proc, "up: ", 20000);
	c = t_client(&stashd);
	stand(c, "sequence d a n ");
	t_expect_call(c, "d", "get", NULL, "1");
	stash_client_close(c);
	t_stashd_stop(&stashd, 20000);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("a changed config");
	TCase *tc = t_case(s, "reload", 120);

	tcase_add_test(tc, only_what_has_changed_is_another_process);
	tcase_add_test(tc, a_signal_does_the_same);
	tcase_add_test(tc, a_dry_run_tells_and_does_nothing);
	tcase_add_test(tc, a_mistake_changes_nothing);
	tcase_add_test(tc, a_start_that_fails_is_told);
	tcase_add_test(tc, a_worker_that_has_not_started_again_is_an_illness);
	tcase_add_test(tc, the_supervisor_dies_in_the_midst);
	tcase_add_test(tc, one_that_was_made_ahead_moves);
	tcase_add_test(tc, after_the_death_of_all_the_stored_tree_is_changed);
	return s;
}

TEST_MAIN(suite)
