/* SPDX-License-Identifier: ISC */
/*
 * Aliases, values, groups and monitors on a living stashd, over the deaths of workers, supervisor and of all.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "testlib_live.h"

static struct t_stashd d;
static struct stash_client *c;

/* Workers a, b, c and what else the test wants. */
static void
start(const char *more)
{
	static char text[32768];
	char module[PATH_MAX];

	snprintf(module, sizeof module, "%s", t_build("tests/modules/names.so"));
	snprintf(text, sizeof text,
	    "tree = { intensity = 1000000; period = 1; children = (\n"
	    "  { id = \"a\"; module = \"%s\"; }, { id = \"b\"; module = \"%s\"; }, { id = \"c\"; module = \"%s\"; }%s\n"
	    "); };\n",
	    module, module, module, more);
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, text);
	c = t_client(&d);
}

/* ", { id = ID; module = ...; REST }" */
static const char *
child(const char *id, const char *rest)
{
	static char text[4][PATH_MAX + 256];
	static int i;

	i = (i + 1) % 4;
	snprintf(text[i], sizeof text[i], ", { id = \"%s\"; module = \"%s\"; %s }", id,
	    t_build("tests/modules/names.so"), rest);
	return text[i];
}

static void
stop(void)
{
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}

static void
expect(const char *name, const char *tag, const char *data, const char *text)
{
	t_expect_call(c, name, tag, data, text);
}

/* ---- conditions ---- */

struct wanted {
	const char *name, *tag, *text;
};

static bool
answers(void *arg)
{
	const struct wanted *w = arg;
	struct stash_reply reply;
	bool good = stash_call(c, w->name, w->tag, NULL, 0, &reply, 10000) == STASH_OK && reply.data != NULL &&
	    strcmp(reply.data, w->text) == 0;

	stash_reply_free(&reply);
	return good;
}

static void
expect_soon(const char *name, const char *tag, const char *text)
{
	struct wanted w = { name, tag, text };

	if (!t_wait_for(answers, &w, 20000))
		expect(name, tag, NULL, text); /* says what it is instead */
}

static bool
is_free(void *name)
{
	return stash_whereis(c, name, NULL) == STASH_E_NOENT;
}

struct state_wanted {
	const char *name;
	uint32_t status;
	int32_t other_than; /* pid */
};

static bool
has_status(void *arg)
{
	const struct state_wanted *s = arg;
	struct stash_process p;

	return stash_whereis(c, s->name, &p) == STASH_OK && p.status == s->status &&
	    (s->status != STASH_RUNNING || (p.pid != 0 && p.pid != s->other_than));
}

static void
wait_status(const char *name, uint32_t status, int32_t other_than)
{
	struct state_wanted s = { name, status, other_than };

	ck_assert_msg(t_wait_for(has_status, &s, 20000), "%s doesn't become %u", name, status);
}

static int32_t
pid_of(const char *name)
{
	struct stash_process p;

	ck_assert_int_eq(stash_whereis(c, name, &p), STASH_OK);
	return p.pid;
}

/* Kills a running worker, and returns when it is dead. */
static void
kill_worker(const char *name)
{
	int32_t pid;
	int pidfd;
	struct pollfd p = { .events = POLLIN };

	wait_status(name, STASH_RUNNING, 0);
	pid = pid_of(name);
	pidfd = pidfd_open(pid, 0);
	ck_assert_int_ge(pidfd, 0);
	ck_assert_int_eq(pidfd_send_signal(pidfd, SIGKILL, NULL, 0), 0);
	p.fd = pidfd;
	ck_assert_int_eq(poll(&p, 1, 20000), 1);
	close(pidfd);
}

static void
kill_and_wait(const char *name)
{
	int32_t pid = pid_of(name);

	kill_worker(name);
	wait_status(name, STASH_RUNNING, pid);
}

struct supervisor_is {
	pid_t other_than;
};

static bool
is_replaced(void *arg)
{
	const struct supervisor_is *s = arg;
	pid_t now = t_pid(&d, T_SUPERVISOR, NULL);

	return now != 0 && now != s->other_than;
}

static void
kill_supervisor(void)
{
	struct supervisor_is s = { t_pid(&d, T_SUPERVISOR, NULL) };

	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	ck_assert(t_wait_for(is_replaced, &s, 20000));
}

static int64_t
monitor(const char *watcher, const char *target)
{
	struct stash_reply reply;
	int64_t ref = 0;

	ck_assert_int_eq(stash_call(c, watcher, "monitor", target, strlen(target), &reply, 20000), STASH_OK);
	ck_assert_int_eq(stash_parse_int(reply.data, 1, INT64_MAX, &ref), STASH_OK);
	stash_reply_free(&reply);
	return ref;
}

/* ---- aliases ---- */

START_TEST(test_alias)
{
	struct stash_process p;

	start("");
	expect("a", "register", "front", "STASH_OK");
	expect("a", "register", "front", "STASH_OK");
	expect("a", "register", "a", "STASH_OK");
	expect("b", "register", "front", "STASH_E_EXIST");
	expect("b", "register", "c", "STASH_E_EXIST");
	expect("b", "register", "no/name", "STASH_E_INVAL");
	expect("b", "unregister", "front", "STASH_E_EXIST");
	expect("b", "unregister", "b", "STASH_E_INVAL");
	expect("b", "unregister", "nobody", "STASH_OK");
	expect("front", "self", NULL, "a");
	ck_assert_int_eq(stash_whereis(c, "front", &p), STASH_OK);
	ck_assert_str_eq(p.name, "a");
	ck_assert_str_eq(p.child, "root/a");
	ck_assert_int_eq(stash_cast(c, "front", "hello", NULL, 0), STASH_OK);
	expect_soon("a", "casts", "1");
	ck_assert_int_eq(stash_bounce(c, "front", 20000), STASH_OK);
	expect("front", "self", NULL, "a");
	stop();
}
END_TEST

/* A client that has a channel under an alias follows it to its next owner. */
START_TEST(test_alias_moves)
{
	start("");
	expect("a", "register", "front", "STASH_OK");
	expect("front", "self", NULL, "a");
	expect("a", "unregister", "front", "STASH_OK");
	ck_assert(t_wait_for(is_free, (void *)(uintptr_t) "front", 20000));
	t_expect_error(c, "front", "self", NULL, STASH_E_NOENT);
	expect("b", "register", "front", "STASH_OK");
	expect("front", "self", NULL, "b");
	expect("a", "register", "front", "STASH_E_EXIST");
	stop();
}
END_TEST

START_TEST(test_alias_stays)
{
	start("");
	expect("a", "register", "front", "STASH_OK");
	kill_and_wait("a");
	expect("front", "self", NULL, "a");
	kill_supervisor();
	expect("front", "self", NULL, "a");
	expect("b", "register", "front", "STASH_E_EXIST");
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	(void)t_murder(&d, T_WORKER, "a");
	expect("front", "self", NULL, "a");
	expect("a", "register_and_die", "again", "STASH_OK");
	expect("again", "self", NULL, "a");
	stash_client_close(c);
	t_murder_all(&d);
	t_stashd_start(&d, NULL);
	c = t_client(&d);
	expect("front", "self", NULL, "a");
	expect("again", "self", NULL, "a");
	expect("b", "register", "front", "STASH_E_EXIST");
	stop();
}
END_TEST

/* After an orderly end names begin anew. */
START_TEST(test_alias_of_init)
{
	char more[PATH_MAX * 2];

	snprintf(more, sizeof more, "%s", child("d", "args = [\"register:of init\", \"join:all\"];"));
	start(more);
	wait_status("d", STASH_RUNNING, 0);
	expect("of init", "self", NULL, "d");
	expect("a", "register", "front", "STASH_OK");
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
	t_stashd_start(&d, NULL);
	c = t_client(&d);
	wait_status("d", STASH_RUNNING, 0);
	expect("of init", "self", NULL, "d");
	ck_assert_int_eq(stash_whereis(c, "front", NULL), STASH_E_NOENT);
	stop();
}
END_TEST

/* A child that won't come back frees all that it had. */
static void
check_freed(const char *restart)
{
	char more[PATH_MAX * 2];
	struct stash_reply reply;
	int n;

	snprintf(more, sizeof more, "%s", child("d", restart));
	start(more);
	expect("d", "register", "front", "STASH_OK");
	expect("d", "put", "front=value", "STASH_OK");
	expect("d", "put", "d=value", "STASH_OK");
	expect("d", "join", "all", "STASH_OK");
	expect("a", "join", "all", "STASH_OK");
	(void)monitor("a", "d");
	n = stash_registry_get(c, "front", &reply);
	ck_assert_int_eq(n, STASH_OK);
	stash_reply_free(&reply);
	expect("d", "stop", NULL, "");
	ck_assert(t_wait_for(is_free, (void *)(uintptr_t) "front", 20000));
	ck_assert_int_eq(stash_registry_get(c, "front", NULL), STASH_E_NOENT);
	ck_assert_int_eq(stash_registry_get(c, "d", NULL), STASH_E_NOENT);
	ck_assert_int_eq(stash_group_cast(c, "all", "hello", NULL, 0), 1);
	expect("b", "register", "front", "STASH_OK");
	expect("front", "self", NULL, "b");
	expect_soon("a", "reasons", "1 0 0 0 0 last d wrong 0");
	kill_supervisor();
	expect("front", "self", NULL, "b");
	ck_assert_int_eq(stash_registry_get(c, "d", NULL), STASH_E_NOENT);
	ck_assert_int_eq(stash_group_cast(c, "all", "hello", NULL, 0), 1);
	stop();
}

START_TEST(test_temporary)
{
	check_freed("restart = \"temporary\";");
}
END_TEST

START_TEST(test_transient)
{
	check_freed("restart = \"transient\";");
}
END_TEST

/* Many want one name at the same moment: one has it. */
START_TEST(test_race)
{
	enum { N = 24 };
	char more[N * 512] = "", name[32];
	int64_t refs[N];
	int won = 0;

	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof name, "r%d", i);
		strncat(more, child(name, ""), sizeof more - strlen(more) - 1);
	}
	start(more);
	for (int round = 0; round < 5; round++) {
		char alias[32];

		won = 0;
		snprintf(alias, sizeof alias, "prize %d", round);
		for (int i = 0; i < N; i++) {
			snprintf(name, sizeof name, "r%d", i);
			refs[i] = stash_call_start(c, name, "register", alias, strlen(alias), 30000);
			ck_assert_int_gt(refs[i], 0);
		}
		if (round == 3)
			(void)t_murder(&d, T_SUPERVISOR, NULL);
		for (int i = 0; i < N; i++) {
			struct stash_reply reply;
			ck_assert_int_eq(stash_call_wait(c, refs[i], &reply, 30000), STASH_OK);
			won += strcmp(reply.data, "STASH_OK") == 0;
			ck_assert(strcmp(reply.data, "STASH_OK") == 0 || strcmp(reply.data, "STASH_E_EXIST") == 0);
			stash_reply_free(&reply);
		}
		ck_assert_int_eq(won, 1);
	}
	stop();
}
END_TEST

/* ---- values ---- */

static void
expect_value(const char *name, const char *text, size_t len)
{
	struct stash_reply reply;

	ck_assert_int_eq(stash_registry_get(c, name, &reply), STASH_OK);
	ck_assert_uint_eq(reply.len, len);
	for (size_t i = 0; i < len; i++)
		ck_assert_int_eq(((char *)reply.data)[i], text != NULL ? text[i] : (char)('a' + i % 23));
	stash_reply_free(&reply);
}

START_TEST(test_value)
{
	struct stash_reply reply;

	start("");
	ck_assert_int_eq(stash_registry_get(c, "a", &reply), STASH_E_NOENT);
	ck_assert_int_eq(reply.error, STASH_E_NOENT);
	ck_assert_int_eq(stash_registry_get(c, "nobody", NULL), STASH_E_NOENT);
	expect("a", "put", "a=one", "STASH_OK");
	expect_value("a", "one", 3);
	expect("a", "put", "a=", "STASH_OK");
	expect_value("a", "", 0);
	expect("a", "put", "nobody=x", "STASH_E_NOENT");
	expect("a", "put", "b=x", "STASH_E_EXIST");
	expect("a", "register", "front", "STASH_OK");
	expect("b", "put", "front=x", "STASH_E_EXIST");
	expect("a", "put", "front#65536", "STASH_OK");
	expect_value("front", NULL, 65536);
	expect("a", "put", "front#65537", "STASH_E_TOOBIG");
	expect_value("front", NULL, 65536);
	kill_supervisor();
	expect_value("front", NULL, 65536);
	expect("a", "put", "front#3801", "STASH_OK");
	kill_supervisor();
	expect_value("front", NULL, 3801);
	expect("a", "put", "a#3800", "STASH_OK");
	stash_client_close(c);
	t_murder_all(&d);
	t_stashd_start(&d, NULL);
	c = t_client(&d);
	expect_value("front", NULL, 3801);
	expect_value("a", NULL, 3800);
	expect("a", "unregister", "front", "STASH_OK");
	ck_assert_int_eq(stash_registry_get(c, "front", NULL), STASH_E_NOENT);
	expect("b", "register", "front", "STASH_OK");
	ck_assert_int_eq(stash_registry_get(c, "front", NULL), STASH_E_NOENT);
	stop();
}
END_TEST

/* ---- lists ---- */

static int
join_names(void *arg, const struct stash_process *p)
{
	char *text = arg;

	strncat(text, p->name, 4000 - strlen(text));
	strncat(text, "@", 4000 - strlen(text));
	strncat(text, p->child, 4000 - strlen(text));
	strncat(text, " ", 4000 - strlen(text));
	return strcmp(p->name, "zz") == 0 ? 77 : 0;
}

START_TEST(test_list)
{
	char text[4001] = "";

	start("");
	expect("a", "register", "bb", "STASH_OK");
	expect("c", "register", "zz", "STASH_OK");
	expect("c", "register", "zzz", "STASH_OK");
	ck_assert_int_eq(stash_registry_list(c, NULL, join_names, text), 77);
	ck_assert_str_eq(text, "a@root/a b@root/b bb@root/a c@root/c zz@root/c ");
	*text = '\0';
	ck_assert_int_eq(stash_registry_list(c, "b", join_names, text), 0);
	ck_assert_str_eq(text, "b@root/b bb@root/a ");
	*text = '\0';
	ck_assert_int_eq(stash_registry_list(c, "zzz", join_names, text), 0);
	ck_assert_str_eq(text, "zzz@root/c ");
	*text = '\0';
	ck_assert_int_eq(stash_registry_list(c, "nobody", join_names, text), 0);
	ck_assert_str_eq(text, "");
	ck_assert_int_eq(stash_registry_list(c, NULL, NULL, NULL), STASH_E_INVAL);
	stop();
}
END_TEST

/* ---- groups ---- */

START_TEST(test_group)
{
	enum { N = 50 };
	char more[N * 512] = "", name[32], text[4001] = "";

	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof name, "m%02d", i);
		strncat(more, child(name, "args = [\"join:all\"];"), sizeof more - strlen(more) - 1);
	}
	start(more);
	wait_status("m49", STASH_RUNNING, 0);
	ck_assert_int_eq(stash_group_cast(c, "nobody", "hello", NULL, 0), 0);
	ck_assert_int_eq(stash_group_list(c, "nobody", join_names, text), 0);
	ck_assert_int_eq(stash_group_cast(c, "no/name", "hello", NULL, 0), STASH_E_INVAL);
	ck_assert_int_eq(stash_group_cast(c, "all", "no tag", NULL, 0), STASH_E_INVAL);
	ck_assert_int_eq(stash_group_cast(c, "all", "hello", NULL, 0), N);
	expect("a", "join", "all", "STASH_OK");
	expect("a", "join", "all", "STASH_OK");
	expect("m07", "leave", "all", "STASH_OK");
	expect("m07", "leave", "all", "STASH_OK");
	kill_worker("m11");
	kill_supervisor();
	ck_assert_int_eq(stash_group_cast(c, "all", "hello", NULL, 0), N);
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof name, "m%02d", i);
		expect_soon(name, "casts", i == 7 ? "1" : "2");
	}
	expect_soon("a", "casts", "1");
	expect("b", "join", "two", "STASH_OK");
	expect("a", "join", "two", "STASH_OK");
	ck_assert_int_eq(stash_group_list(c, "two", join_names, text), 0);
	ck_assert_str_eq(text, "a@root/a b@root/b ");
	stop();
}
END_TEST

/* ---- monitors ---- */

START_TEST(test_monitor)
{
	int64_t ref;

	start("");
	ref = monitor("a", "b");
	ck_assert_int_eq(monitor("a", "b"), ref);
	ck_assert_int_ne(monitor("c", "b"), ref);
	kill_and_wait("b");
	expect_soon("a", "reasons", "0 0 1 0 0 last b wrong 0");
	expect_soon("c", "reasons", "0 0 1 0 0 last b wrong 0");
	ck_assert_int_eq(stash_call(c, "b", "abort", NULL, 0, NULL, 20000), STASH_E_CRASHED);
	expect_soon("a", "reasons", "0 0 1 1 0 last b wrong 0");
	expect("b", "stop", NULL, "");
	expect_soon("a", "reasons", "1 0 1 1 0 last b wrong 0");
	ck_assert_int_eq(stash_bounce(c, "b", 20000), STASH_OK);
	expect_soon("a", "reasons", "1 1 1 1 0 last b wrong 0");
	/* Over restarts of the watcher, too. */
	kill_and_wait("a");
	ck_assert_int_eq(monitor("a", "b"), ref);
	kill_and_wait("b");
	expect_soon("a", "reasons", "1 1 2 1 0 last b wrong 0");
	{
		char text[32];
		snprintf(text, sizeof text, "%lld", (long long)ref);
		expect("a", "demonitor", text, "STASH_OK");
		expect("a", "demonitor", text, "STASH_OK");
	}
	kill_and_wait("b");
	expect_soon("c", "downs", "6");
	expect("a", "reasons", NULL, "1 1 2 1 0 last b wrong 0");
	ck_assert_int_ne(monitor("a", "b"), ref);
	stop();
}
END_TEST

/* A name that nobody has: told at once, and again when somebody has had it. */
START_TEST(test_noproc)
{
	char more[PATH_MAX * 2];

	snprintf(more, sizeof more, "%s", child("d", "restart = \"temporary\";"));
	start(more);
	(void)monitor("a", "nobody");
	expect_soon("a", "reasons", "0 0 0 0 1 last nobody wrong 0");
	(void)monitor("a", "nobody");
	expect("a", "reasons", NULL, "0 0 0 0 1 last nobody wrong 0");
	(void)monitor("b", "d");
	expect("d", "stop_shutdown", NULL, "");
	expect_soon("b", "reasons", "0 1 0 0 0 last d wrong 0");
	(void)monitor("c", "d");
	expect_soon("c", "reasons", "0 0 0 0 1 last d wrong 0");
	/* An alias stands for its owner, and for itself where there is none. */
	expect("b", "register", "front", "STASH_OK");
	ck_assert_int_eq(monitor("a", "front"), monitor("a", "b"));
	kill_and_wait("b");
	expect_soon("a", "reasons", "0 0 1 0 1 last b wrong 0");
	(void)monitor("c", "c");
	kill_and_wait("c");
	expect_soon("c", "reasons", "0 0 1 0 1 last c wrong 0");
	stop();
}
END_TEST

/* Ends that nobody is there to hear: of the target with the supervisor, with the watcher, of all. */
START_TEST(test_missed)
{
	int32_t pid;

	start("");
	(void)monitor("a", "b");
	pid = pid_of("b");
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	ck_assert(t_murder(&d, T_WORKER, "b"));
	wait_status("b", STASH_RUNNING, pid);
	expect_soon("a", "reasons", "0 0 1 0 0 last b wrong 0");
	pid = pid_of("b");
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	ck_assert(t_murder(&d, T_WORKER, "a"));
	ck_assert(t_murder(&d, T_WORKER, "b"));
	wait_status("b", STASH_RUNNING, pid);
	expect_soon("a", "reasons", "0 0 2 0 0 last b wrong 0");
	stash_client_close(c);
	t_murder_all(&d);
	t_stashd_start(&d, NULL);
	c = t_client(&d);
	expect_soon("a", "reasons", "0 0 3 0 0 last b wrong 0");
	kill_and_wait("b");
	expect_soon("a", "reasons", "0 0 4 0 0 last b wrong 0");
	stop();
}
END_TEST

/* Each end once, whatever dies meanwhile. */
START_TEST(test_storm)
{
	enum { TARGETS = 4, KILLS = 160 };
	char more[TARGETS * 1024] = "", name[32];

	for (int i = 0; i < TARGETS; i++) {
		snprintf(name, sizeof name, "t%d", i);
		strncat(more, child(name, ""), sizeof more - strlen(more) - 1);
	}
	start(more);
	for (int i = 0; i < TARGETS; i++) {
		snprintf(name, sizeof name, "t%d", i);
		(void)monitor("a", name);
		(void)monitor("b", name);
	}
	for (int i = 0; i < KILLS; i++) {
		snprintf(name, sizeof name, "t%d", i % TARGETS);
		if (i % 8 == 3)
			(void)t_murder(&d, T_SUPERVISOR, NULL);
		kill_worker(name);
		if (i % 8 == 6)
			(void)t_murder(&d, T_SUPERVISOR, NULL);
		if (i % 5 == 2)
			(void)t_murder(&d, T_WORKER, "b");
	}
	snprintf(name, sizeof name, "%d", KILLS);
	expect_soon("a", "downs", name);
	expect_soon("b", "downs", name);
	/* A last one, so that nothing is behind it. */
	kill_worker("t0");
	snprintf(name, sizeof name, "%d", KILLS + 1);
	expect_soon("a", "downs", name);
	expect_soon("b", "downs", name);
	stop();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("names");
	TCase *t = t_case(s, "aliases", 120);

	tcase_add_test(t, test_alias);
	tcase_add_test(t, test_alias_moves);
	tcase_add_test(t, test_alias_stays);
	tcase_add_test(t, test_alias_of_init);
	tcase_add_test(t, test_temporary);
	tcase_add_test(t, test_transient);
	tcase_add_test(t, test_race);
	t = t_case(s, "values", 120);
	tcase_add_test(t, test_value);
	tcase_add_test(t, test_list);
	t = t_case(s, "groups", 120);
	tcase_add_test(t, test_group);
	t = t_case(s, "monitors", 240);
	tcase_add_test(t, test_monitor);
	tcase_add_test(t, test_noproc);
	tcase_add_test(t, test_missed);
	tcase_add_test(t, test_storm);
	return s;
}

TEST_MAIN(suite)
