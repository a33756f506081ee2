/* SPDX-License-Identifier: ISC */
/*
 * The descriptor of a client in somebody's event loop: it is readable when there is something to do, and only then,
 * whether a call is open or not.
 */
#include <poll.h>
#include <string.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "client/client.h"
#include "testlib_names.h"
#include "testlib_users.h"

#define CALLS 100
#define SOON 20000

/* ---- the loop ---- */

struct loop {
	struct stash_client *c;
	unsigned answers, wakes;
	int error; /* of the last answer */
};

static void
take_all(struct loop *l)
{
	struct stash_reply reply;

	while (stash_call_next(l->c, &reply, 0) > 0) {
		l->answers++;
		l->error = reply.error;
		stash_reply_free(&reply);
	}
}

/* As stash_client(3) has it, when all has been taken; false: nothing came. */
static bool
wakes(struct loop *l, int timeout_ms)
{
	struct pollfd p = { .fd = stash_client_fd(l->c), .events = POLLIN };

	if (poll(&p, 1, timeout_ms) <= 0)
		return false;
	l->wakes++;
	take_all(l);
	return true;
}

static bool
has_answers(struct loop *l, unsigned n)
{
	take_all(l);
	while (l->answers < n)
		if (!wakes(l, SOON))
			return false;
	return l->answers == n;
}

static bool
calls(struct loop *l, const char *name, const char *tag, int timeout_ms)
{
	return stash_call_start(l->c, name, tag, NULL, 0, timeout_ms) > 0 && has_answers(l, l->answers + 1);
}

static bool
is_quiet(void *arg)
{
	take_all(arg);
	return !wakes(arg, 0);
}

/* A worker may still be about to ring for what has been taken already. */
static bool
gets_quiet(struct loop *l)
{
	return t_wait_for(is_quiet, l, SOON);
}

static void
begin(struct loop *l, const char *more)
{
	tn_start(more);
	memset(l, 0, sizeof *l);
	l->c = t_client(&tn_d);
	ck_assert_int_ge(stash_client_fd(l->c), 0);
	ck_assert(calls(l, "a", "self", SOON));
	ck_assert_int_eq(l->error, STASH_OK);
	ck_assert(gets_quiet(l));
	l->wakes = 0;
}

static void
end(struct loop *l)
{
	stash_client_close(l->c);
	tn_stop();
}

/* ---- calls ---- */

/* NULL, or what is wrong. */
static const char *
call_often(struct loop *l, const char *name, const char *tag)
{
	unsigned before;

	for (int i = 0; i < CALLS; i++)
		if (!calls(l, name, tag, SOON) || l->error != STASH_OK)
			return t_wrong("call %d: %s", i, stash_errname(l->error));
	if (!gets_quiet(l))
		return "it stays readable when all have been answered";
	before = l->answers;
	for (int i = 0; i < CALLS; i++)
		if (stash_call_start(l->c, name, tag, NULL, 0, SOON) <= 0)
			return t_wrong("call %d of many: %s", i, stash_errmsg());
	if (!has_answers(l, before + CALLS))
		return t_wrong("%u of %d answers came", l->answers - before, CALLS);
	if (!gets_quiet(l))
		return "it stays readable when all of many have been answered";
	/* For each the answer, what was still rung for the last one, and its channel. */
	return l->wakes <= 6 * CALLS ? NULL : t_wrong("it has woken %u times for %d calls", l->wakes, 2 * CALLS);
}

START_TEST(test_answers_wake_and_no_more)
{
	struct loop l;
	const char *wrong;

	begin(&l, "");
	wrong = call_often(&l, "a", "self");
	ck_assert_msg(wrong == NULL, "%s", wrong);
	end(&l);
}
END_TEST

/* One that is never answered: nothing but its deadline wakes. */
START_TEST(test_deadline_wakes_once)
{
	char more[PATH_MAX * 2];
	struct loop l;

	snprintf(more, sizeof more, ", { id = \"echo\"; module = \"%s\"; }", t_build("tests/modules/echo.so"));
	begin(&l, more);
	ck_assert(calls(&l, "echo", "echo", SOON));
	ck_assert(gets_quiet(&l));
	l.wakes = 0;
	ck_assert(calls(&l, "echo", "wait", 300));
	ck_assert_int_eq(l.error, STASH_E_TIMEDOUT);
	ck_assert(gets_quiet(&l));
	ck_assert_uint_le(l.wakes, 5);
	end(&l);
}
END_TEST

/* Of another user: rung at a line for each channel. */
static const char *
polls(void *arg)
{
	struct loop l = { 0 };
	const char *wrong;

	if (stash_client_open(&l.c, t_store(arg), NULL) < 0)
		return t_wrong("stash_client_open: %s", stash_errmsg());
	if (stash_client_fd(l.c) < 0)
		return t_wrong("stash_client_fd: %s", stash_errmsg());
	wrong = call_often(&l, "echo", "echo");
	stash_client_close(l.c);
	return wrong;
}

START_TEST(test_another_user)
{
	const struct t_user stranger = { .uid = T_STRANGER };

	memset(&tn_d, 0, sizeof tn_d);
	if (!t_users_begin(&tn_d, T_ALLOW_STRANGER))
		return;
	t_as_user(&stranger, polls, &tn_d);
	t_stashd_stop(&tn_d, SOON);
}
END_TEST

/* ---- without an open call ---- */

static bool
runs_until(struct loop *l, bool (*done)(const struct stash_client *))
{
	int64_t until = stash__now_ns() + SOON * t_patience() * STASH__NS_PER_MS;

	while (!done(l->c) && stash__now_ns() < until)
		(void)wakes(l, 100);
	return done(l->c);
}

static bool
is_back(const struct stash_client *c)
{
	const struct route *r;

	if (c->link != LINK_UP || c->supervisor != t_pid(&tn_d, T_SUPERVISOR, NULL))
		return false;
	TAILQ_FOREACH(r, &c->routes, link)
		if (r->state != ROUTE_UP || r->request != 0)
			return false;
	return true;
}

/* The loop alone brings the client to the next supervisor. */
START_TEST(test_supervisor_is_replaced)
{
	int64_t began;
	struct loop l;

	begin(&l, "");
	tn_kill_supervisor();
	began = stash__now_ns();
	ck_assert(runs_until(&l, is_back));
	ck_assert(gets_quiet(&l));
	/* It tries to connect once in 10 ms at most. */
	ck_assert_int_le(l.wakes, 50 + (stash__now_ns() - began) / (5 * STASH__NS_PER_MS));
	ck_assert(calls(&l, "a", "self", SOON));
	ck_assert_int_eq(l.error, STASH_OK);
	end(&l);
}
END_TEST

START_TEST(test_alias_is_freed)
{
	struct loop l;

	begin(&l, "");
	tn_expect("a", "register", "front", "STASH_OK");
	ck_assert(calls(&l, "front", "self", SOON));
	ck_assert(gets_quiet(&l));
	l.wakes = 0;
	tn_expect("a", "unregister", "front", "STASH_OK");
	ck_assert(wakes(&l, SOON));
	ck_assert(gets_quiet(&l));
	ck_assert_uint_le(l.wakes, 5);
	end(&l);
}
END_TEST

static bool
is_over(const struct stash_client *c)
{
	const struct route *r;

	TAILQ_FOREACH(r, &c->routes, link)
		if (strcmp(r->name, "d") == 0)
			return r->state == ROUTE_OVER;
	return true;
}

START_TEST(test_child_ends)
{
	char more[PATH_MAX * 2];
	struct loop l;

	snprintf(more, sizeof more, "%s", tn_child("d", "restart = \"temporary\";"));
	begin(&l, more);
	ck_assert(calls(&l, "d", "self", SOON));
	ck_assert(gets_quiet(&l));
	l.wakes = 0;
	tn_expect("d", "stop", NULL, "");
	ck_assert(runs_until(&l, is_over));
	ck_assert(gets_quiet(&l));
	ck_assert_uint_le(l.wakes, 10);
	end(&l);
}
END_TEST

/* Nobody is there any more: it is tried again, at leisure. */
START_TEST(test_stashd_ends)
{
	enum { TURNS = 30 };
	int64_t began;
	struct loop l;

	begin(&l, "");
	tn_stop();
	began = stash__now_ns();
	for (int i = 0; i < TURNS; i++)
		ck_assert(wakes(&l, SOON));
	ck_assert_int_ge(stash__now_ns() - began, TURNS / 3 * 10 * STASH__NS_PER_MS);
	stash_client_close(l.c);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("polled");
	TCase *c = t_case(s, "calls", 120);

	tcase_add_test(c, test_answers_wake_and_no_more);
	tcase_add_test(c, test_deadline_wakes_once);
	tcase_add_test(c, test_another_user);
	c = t_case(s, "no call", 120);
	tcase_add_test(c, test_supervisor_is_replaced);
	tcase_add_test(c, test_alias_is_freed);
	tcase_add_test(c, test_child_ends);
	tcase_add_test(c, test_stashd_ends);
	return s;
}

TEST_MAIN(suite)
