/* SPDX-License-Identifier: ISC */
/*
 * Aliases, values and groups on a living stashd, over the deaths of workers, supervisor and of all.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <stash/stash.h>

#include "client/client.h"
#include "testlib_names.h"

static bool
is_free(void *name)
{
	return stash_whereis(tn_c, name, NULL) == STASH_E_NOENT;
}

/* ---- aliases ---- */

START_TEST(test_alias)
{
	struct stash_process p;

	tn_start("");
	tn_expect("a", "register", "front", "STASH_OK");
	tn_expect("a", "register", "front", "STASH_OK");
	tn_expect("a", "register", "a", "STASH_OK");
	tn_expect("b", "register", "front", "STASH_E_EXIST");
	tn_expect("b", "register", "c", "STASH_E_EXIST");
	tn_expect("b", "register", "no/name", "STASH_E_INVAL");
	tn_expect("b", "unregister", "front", "STASH_E_EXIST");
	tn_expect("b", "unregister", "b", "STASH_E_INVAL");
	tn_expect("b", "unregister", "nobody", "STASH_OK");
	tn_expect("front", "self", NULL, "a");
	ck_assert_int_eq(stash_whereis(tn_c, "front", &p), STASH_OK);
	ck_assert_str_eq(p.name, "a");
	ck_assert_str_eq(p.child, "root/a");
	ck_assert_int_eq(stash_cast(tn_c, "front", "hello", NULL, 0), STASH_OK);
	tn_expect_soon("a", "casts", "1");
	ck_assert_int_eq(stash_bounce(tn_c, "front", 20000), STASH_OK);
	tn_expect("front", "self", NULL, "a");
	tn_stop();
}
END_TEST

/* A client that has a channel under an alias follows it to its next owner. */
START_TEST(test_alias_moves)
{
	tn_start("");
	tn_expect("a", "register", "front", "STASH_OK");
	tn_expect("front", "self", NULL, "a");
	tn_expect("a", "unregister", "front", "STASH_OK");
	ck_assert(t_wait_for(is_free, (void *)(uintptr_t) "front", 20000));
	t_expect_error(tn_c, "front", "self", NULL, STASH_E_NOENT);
	tn_expect("b", "register", "front", "STASH_OK");
	tn_expect("front", "self", NULL, "b");
	tn_expect("a", "register", "front", "STASH_E_EXIST");
	tn_stop();
}
END_TEST

static void
expect_begun(struct stash_client *c, const char *name, const char *tag, const char *text)
{
	int64_t ref = stash_call_start(c, name, tag, NULL, 0, 20000);
	struct stash_reply reply;

	ck_assert_int_gt(ref, 0);
	ck_assert_int_eq(stash_call_wait(c, ref, &reply, 20000), STASH_OK);
	ck_assert_str_eq(reply.data, text);
	stash_reply_free(&reply);
}

static bool
has_unread(const struct stash_client *c)
{
	char byte;

	return recv(c->sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Nor does it have to ask for anything in between: what it sends after the move was seen elsewhere goes to the next. */
START_TEST(test_alias_moves_unasked)
{
	struct stash_client *caster, *caller;

	tn_start("");
	caster = t_client(&tn_d);
	caller = t_client(&tn_d);
	tn_expect("a", "register", "front", "STASH_OK");
	ck_assert_int_eq(stash_cast(caster, "front", "hello", NULL, 0), STASH_OK);
	ck_assert_int_eq(stash_cast(caster, "a", "hello", NULL, 0), STASH_OK);
	t_expect_call(caller, "front", "self", NULL, "a");
	tn_expect_soon("a", "casts", "2");
	tn_expect("a", "unregister", "front", "STASH_OK");
	tn_expect("b", "register", "front", "STASH_OK");
	tn_expect("front", "self", NULL, "b");
	/* By the worker's own name nobody pays for a look at the socket. */
	ck_assert(has_unread(caster));
	ck_assert_int_eq(stash_cast(caster, "a", "hello", NULL, 0), STASH_OK);
	ck_assert(has_unread(caster));
	ck_assert_int_eq(stash_cast(caster, "front", "hello", NULL, 0), STASH_OK);
	ck_assert(!has_unread(caster));
	t_expect_call(caller, "front", "self", NULL, "b");
	tn_expect_soon("b", "casts", "1");
	tn_expect_soon("a", "casts", "3");
	/* And back, with calls that are begun. */
	tn_expect("b", "unregister", "front", "STASH_OK");
	tn_expect("a", "register", "front", "STASH_OK");
	ck_assert_int_eq(stash_cast(caster, "front", "hello", NULL, 0), STASH_OK);
	expect_begun(caller, "front", "self", "a");
	tn_expect_soon("a", "casts", "4");
	tn_expect("b", "casts", NULL, "1");
	stash_client_close(caster);
	stash_client_close(caller);
	tn_stop();
}
END_TEST

/* By whatever name: a worker doesn't wait for itself. */
START_TEST(test_call_to_oneself)
{
	tn_start("");
	tn_expect("a", "call", "a", "STASH_E_DEADLOCK");
	tn_expect("a", "register", "front", "STASH_OK");
	tn_expect("a", "call", "front", "STASH_E_DEADLOCK");
	tn_expect("b", "call", "front", "STASH_OK");
	tn_expect("a", "unregister", "front", "STASH_OK");
	ck_assert(t_wait_for(is_free, (void *)(uintptr_t) "front", 20000));
	tn_expect("b", "register", "front", "STASH_OK");
	tn_expect("a", "call", "front", "STASH_OK");
	tn_kill_and_wait("b");
	tn_expect("b", "call", "front", "STASH_E_DEADLOCK");
	tn_stop();
}
END_TEST

START_TEST(test_alias_stays)
{
	tn_start("");
	tn_expect("a", "register", "front", "STASH_OK");
	tn_kill_and_wait("a");
	tn_expect("front", "self", NULL, "a");
	tn_kill_supervisor();
	tn_expect("front", "self", NULL, "a");
	tn_expect("b", "register", "front", "STASH_E_EXIST");
	ck_assert(t_murder(&tn_d, T_SUPERVISOR, NULL));
	(void)t_murder(&tn_d, T_WORKER, "a");
	tn_expect("front", "self", NULL, "a");
	tn_expect("a", "register_and_die", "again", "STASH_OK");
	tn_expect("again", "self", NULL, "a");
	stash_client_close(tn_c);
	t_murder_all(&tn_d);
	t_stashd_start(&tn_d, NULL);
	tn_c = t_client(&tn_d);
	tn_expect("front", "self", NULL, "a");
	tn_expect("again", "self", NULL, "a");
	tn_expect("b", "register", "front", "STASH_E_EXIST");
	tn_stop();
}
END_TEST

/* After an orderly end names begin anew. */
START_TEST(test_alias_of_init)
{
	char more[PATH_MAX * 2];

	snprintf(more, sizeof more, "%s", tn_child("d", "args = [\"register:of init\", \"join:all\"];"));
	tn_start(more);
	tn_wait_status("d", STASH_RUNNING, 0);
	tn_expect("of init", "self", NULL, "d");
	tn_expect("a", "register", "front", "STASH_OK");
	stash_client_close(tn_c);
	t_stashd_stop(&tn_d, 20000);
	t_stashd_start(&tn_d, NULL);
	tn_c = t_client(&tn_d);
	tn_wait_status("d", STASH_RUNNING, 0);
	tn_expect("of init", "self", NULL, "d");
	ck_assert_int_eq(stash_whereis(tn_c, "front", NULL), STASH_E_NOENT);
	tn_stop();
}
END_TEST

/* A child that won't come back frees all that it had. */
static void
check_freed(const char *restart)
{
	char more[PATH_MAX * 2];
	struct stash_reply reply;
	int n;

	snprintf(more, sizeof more, "%s", tn_child("d", restart));
	tn_start(more);
	tn_expect("d", "register", "front", "STASH_OK");
	tn_expect("d", "put", "front=value", "STASH_OK");
	tn_expect("d", "put", "d=value", "STASH_OK");
	tn_expect("d", "join", "all", "STASH_OK");
	tn_expect("a", "join", "all", "STASH_OK");
	(void)tn_monitor("a", "d");
	n = stash_registry_get(tn_c, "front", &reply);
	ck_assert_int_eq(n, STASH_OK);
	stash_reply_free(&reply);
	tn_expect("d", "stop", NULL, "");
	ck_assert(t_wait_for(is_free, (void *)(uintptr_t) "front", 20000));
	ck_assert_int_eq(stash_registry_get(tn_c, "front", NULL), STASH_E_NOENT);
	ck_assert_int_eq(stash_registry_get(tn_c, "d", NULL), STASH_E_NOENT);
	ck_assert_int_eq(stash_group_cast(tn_c, "all", "hello", NULL, 0), 1);
	tn_expect("b", "register", "front", "STASH_OK");
	tn_expect("front", "self", NULL, "b");
	tn_expect_soon("a", "reasons", "1 0 0 0 0 last d wrong 0");
	tn_kill_supervisor();
	tn_expect("front", "self", NULL, "b");
	ck_assert_int_eq(stash_registry_get(tn_c, "d", NULL), STASH_E_NOENT);
	ck_assert_int_eq(stash_group_cast(tn_c, "all", "hello", NULL, 0), 1);
	tn_stop();
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
		strncat(more, tn_child(name, ""), sizeof more - strlen(more) - 1);
	}
	tn_start(more);
	for (int round = 0; round < 5; round++) {
		char alias[32];

		won = 0;
		snprintf(alias, sizeof alias, "prize %d", round);
		for (int i = 0; i < N; i++) {
			snprintf(name, sizeof name, "r%d", i);
			refs[i] = stash_call_start(tn_c, name, "register", alias, strlen(alias), 30000);
			ck_assert_int_gt(refs[i], 0);
		}
		if (round == 3)
			(void)t_murder(&tn_d, T_SUPERVISOR, NULL);
		for (int i = 0; i < N; i++) {
			struct stash_reply reply;
			ck_assert_int_eq(stash_call_wait(tn_c, refs[i], &reply, 30000), STASH_OK);
			won += strcmp(reply.data, "STASH_OK") == 0;
			ck_assert(strcmp(reply.data, "STASH_OK") == 0 || strcmp(reply.data, "STASH_E_EXIST") == 0);
			stash_reply_free(&reply);
		}
		ck_assert_int_eq(won, 1);
	}
	tn_stop();
}
END_TEST

/* ---- values ---- */

static void
expect_value(const char *name, const char *text, size_t len)
{
	struct stash_reply reply;

	ck_assert_int_eq(stash_registry_get(tn_c, name, &reply), STASH_OK);
	ck_assert_uint_eq(reply.len, len);
	for (size_t i = 0; i < len; i++)
		ck_assert_int_eq(((char *)reply.data)[i], text != NULL ? text[i] : (char)('a' + i % 23));
	stash_reply_free(&reply);
}

START_TEST(test_value)
{
	struct stash_reply reply;

	tn_start("");
	ck_assert_int_eq(stash_registry_get(tn_c, "a", &reply), STASH_E_NOENT);
	ck_assert_int_eq(reply.error, STASH_E_NOENT);
	ck_assert_int_eq(stash_registry_get(tn_c, "nobody", NULL), STASH_E_NOENT);
	tn_expect("a", "put", "a=one", "STASH_OK");
	expect_value("a", "one", 3);
	tn_expect("a", "put", "a=", "STASH_OK");
	expect_value("a", "", 0);
	tn_expect("a", "put", "nobody=x", "STASH_E_NOENT");
	tn_expect("a", "put", "b=x", "STASH_E_EXIST");
	tn_expect("a", "register", "front", "STASH_OK");
	tn_expect("b", "put", "front=x", "STASH_E_EXIST");
	tn_expect("a", "put", "front#65536", "STASH_OK");
	expect_value("front", NULL, 65536);
	tn_expect("a", "put", "front#65537", "STASH_E_TOOBIG");
	expect_value("front", NULL, 65536);
	tn_kill_supervisor();
	expect_value("front", NULL, 65536);
	tn_expect("a", "put", "front#3801", "STASH_OK");
	tn_kill_supervisor();
	expect_value("front", NULL, 3801);
	tn_expect("a", "put", "a#3800", "STASH_OK");
	stash_client_close(tn_c);
	t_murder_all(&tn_d);
	t_stashd_start(&tn_d, NULL);
	tn_c = t_client(&tn_d);
	expect_value("front", NULL, 3801);
	expect_value("a", NULL, 3800);
	tn_expect("a", "unregister", "front", "STASH_OK");
	ck_assert_int_eq(stash_registry_get(tn_c, "front", NULL), STASH_E_NOENT);
	tn_expect("b", "register", "front", "STASH_OK");
	ck_assert_int_eq(stash_registry_get(tn_c, "front", NULL), STASH_E_NOENT);
	tn_stop();
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

	tn_start("");
	tn_expect("a", "register", "bb", "STASH_OK");
	tn_expect("c", "register", "zz", "STASH_OK");
	tn_expect("c", "register", "zzz", "STASH_OK");
	ck_assert_int_eq(stash_registry_list(tn_c, NULL, join_names, text), 77);
	ck_assert_str_eq(text, "a@root/a b@root/b bb@root/a c@root/c zz@root/c ");
	*text = '\0';
	ck_assert_int_eq(stash_registry_list(tn_c, "b", join_names, text), 0);
	ck_assert_str_eq(text, "b@root/b bb@root/a ");
	*text = '\0';
	ck_assert_int_eq(stash_registry_list(tn_c, "zzz", join_names, text), 0);
	ck_assert_str_eq(text, "zzz@root/c ");
	*text = '\0';
	ck_assert_int_eq(stash_registry_list(tn_c, "nobody", join_names, text), 0);
	ck_assert_str_eq(text, "");
	ck_assert_int_eq(stash_registry_list(tn_c, NULL, NULL, NULL), STASH_E_INVAL);
	tn_stop();
}
END_TEST

/* ---- groups ---- */

START_TEST(test_group)
{
	enum { N = 50 };
	char more[N * 512] = "", name[32], text[4001] = "";

	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof name, "m%02d", i);
		strncat(more, tn_child(name, "args = [\"join:all\"];"), sizeof more - strlen(more) - 1);
	}
	tn_start(more);
	tn_wait_status("m49", STASH_RUNNING, 0);
	ck_assert_int_eq(stash_group_cast(tn_c, "nobody", "hello", NULL, 0), 0);
	ck_assert_int_eq(stash_group_list(tn_c, "nobody", join_names, text), 0);
	ck_assert_int_eq(stash_group_cast(tn_c, "no/name", "hello", NULL, 0), STASH_E_INVAL);
	ck_assert_int_eq(stash_group_cast(tn_c, "all", "no tag", NULL, 0), STASH_E_INVAL);
	ck_assert_int_eq(stash_group_cast(tn_c, "all", "hello", NULL, 0), N);
	tn_expect("a", "join", "all", "STASH_OK");
	tn_expect("a", "join", "all", "STASH_OK");
	tn_expect("m07", "leave", "all", "STASH_OK");
	tn_expect("m07", "leave", "all", "STASH_OK");
	tn_kill_worker("m11");
	tn_kill_supervisor();
	ck_assert_int_eq(stash_group_cast(tn_c, "all", "hello", NULL, 0), N);
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof name, "m%02d", i);
		tn_expect_soon(name, "casts", i == 7 ? "1" : "2");
	}
	tn_expect_soon("a", "casts", "1");
	tn_expect("b", "join", "two", "STASH_OK");
	tn_expect("a", "join", "two", "STASH_OK");
	ck_assert_int_eq(stash_group_list(tn_c, "two", join_names, text), 0);
	ck_assert_str_eq(text, "a@root/a b@root/b ");
	tn_stop();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("names");
	TCase *t = t_case(s, "aliases", 120);

	tcase_add_test(t, test_alias);
	tcase_add_test(t, test_alias_moves);
	tcase_add_test(t, test_alias_moves_unasked);
	tcase_add_test(t, test_call_to_oneself);
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
	return s;
}

TEST_MAIN(suite)
