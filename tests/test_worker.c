/* SPDX-License-Identifier: ISC */
/*
 * The worker's loop, alone: the test plays supervisor, stash and clients.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <stash/worker.h>

#include "base/clock.h"
#include "shm/bell.h"
#include "shm/wire.h"
#include "testlib.h"
#include "testlib_slot.h"

struct counter {
	int64_t n;
	int64_t ticks;
	char pad[48];
};

static int
count_init(struct stash_worker *w, void *state, const struct stash_init *in)
{
	struct counter *c = state;

	(void)w;
	if (in->version == 0)
		c->n = 100;
	return STASH_OK;
}

static int
count_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct counter *c = state;

	if (stash_msg_is(msg, "next"))
		return stash_replyf(w, "%" PRId64, c->n++);
	if (stash_msg_is(msg, "get"))
		return stash_replyf(w, "%" PRId64 " %" PRId64, c->n, c->ticks);
	if (stash_msg_is(msg, "attempt"))
		return stash_replyf(w, "%u", msg->attempt);
	if (stash_msg_is(msg, "half")) {
		(void)stash_replyf(w, "half an answer");
		(void)stash_post(w, "ticked", NULL, 0);
		c->n = -1;
		return stash_fail(w, "no way to do %s", msg->tag);
	}
	if (stash_msg_is(msg, "later"))
		return STASH_NOREPLY;
	if (stash_msg_is(msg, "stop"))
		return STASH_STOP;
	if (stash_msg_is(msg, "refuse"))
		return stash_reply_error(w, 42, "not today");
	if (stash_msg_is(msg, "twice")) {
		(void)stash_reply(w, "1", 1);
		return stash_reply(w, "2", 1) == STASH_E_INVAL ? STASH_OK : STASH_E_APP;
	}
	if (stash_msg_is(msg, "timer"))
		return stash_send_after(w, 1, "tick", NULL, 0, NULL);
	if (stash_msg_is(msg, "post"))
		return stash_post(w, "ticked", NULL, 0);
	if (stash_msg_is(msg, "kill"))
		raise(SIGKILL);
	if (stash_msg_is(msg, "abort"))
		abort();
	return STASH_E_UNKNOWN;
}

static int
count_info(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct counter *c = state;

	(void)w;
	ck_assert(msg->kind == STASH_MSG_TIMER || msg->kind == STASH_MSG_POST);
	c->ticks++;
	return STASH_OK;
}

static const struct stash_behaviour counting = STASH_BEHAVIOUR(.name = "counting", .state_size = sizeof(struct counter),
    .layout_version = 1, .init = count_init, .handle_call = count_call, .handle_info = count_info);

/* ---- a client of few words ---- */

static void
ask(struct t_caller *a, const char *tag)
{
	(void)t_caller_ask(a, tag, "");
}

static void
expect(struct t_caller *a, const char *tag, const char *text)
{
	t_caller_expect(a, tag, "", STASH_OK, text);
}

/* ---- tests ---- */

static struct t_world t;
static struct t_caller a;

static void
open_world(void)
{
	t_world_open(&t, sizeof(struct counter));
	t_caller_open(&a, &t, t_world_channel(&t, STASH__RING_MIN));
}

static void
close_world(int sig)
{
	if (sig != 0) {
		ck_assert_int_eq(kill(t.pid, sig), 0);
		(void)t_world_wait(&t);
	}
	t_caller_close(&a);
	t_world_close(&t);
}

START_TEST(test_answers)
{
	open_world();
	t_world_start(&t, &counting, false);
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
	expect(&a, "next", "100");
	expect(&a, "next", "101");
	expect(&a, "get", "102 0");
	ask(&a, "refuse");
	t_caller_answer(&a);
	ck_assert_int_eq(a.m.head.code, STASH_E_APP);
	ck_assert_int_eq(a.m.head.app_code, 42);
	ck_assert_str_eq((const char *)a.m.data, "not today");
	expect(&a, "twice", "1");
	close_world(SIGTERM);
	ck_assert_uint_eq(t.base.version, 3);
}
END_TEST

START_TEST(test_state_survives_kill)
{
	open_world();
	for (int i = 0; i < 5; i++) {
		char text[16];
		snprintf(text, sizeof text, "%d", 100 + i);
		t_world_start(&t, &counting, false);
		ck_assert_int_eq(t_world_ready(&t), STASH_OK);
		expect(&a, "next", text);
		ck_assert_int_eq(kill(t.pid, SIGKILL), 0);
		(void)t_world_wait(&t);
	}
	close_world(0);
}
END_TEST

START_TEST(test_failed_callback_leaves_nothing)
{
	int status;

	open_world();
	t_world_start(&t, &counting, false);
	/* In one batch or in three: the first call counts, the second fails, the third waits for the next
	 * incarnation. */
	ask(&a, "next");
	ask(&a, "half");
	ask(&a, "get");
	status = t_world_wait(&t);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	ck_assert_int_eq(t.out.box->crash.present, 2);
	ck_assert_str_eq(t.out.box->crash.text, "no way to do half");
	ck_assert_uint_eq(STASH__HAND_NUMBER(t.out.box->in_hand), 2);
	ck_assert_uint_eq(STASH__HAND_INCARNATION(t.out.box->in_hand), 1);
	ck_assert_uint_eq(t.rows[0].req_count, 1);
	t_caller_answer(&a);
	ck_assert_str_eq((const char *)a.m.data, "100");
	ck_assert(!stash__reply_waits(a.c, a.head));
	/* The next one finds the verdict in its row. */
	t.rows[0].aside = 2;
	t_world_channel(&t, STASH__RING_MIN);
	t_world_start(&t, &counting, false);
	t_caller_answer(&a);
	ck_assert_uint_eq(a.m.head.number, 2);
	ck_assert_int_eq(a.m.head.code, STASH_E_CRASHED);
	t_caller_answer(&a);
	ck_assert_str_eq((const char *)a.m.data, "101 0");
	close_world(SIGTERM);
}
END_TEST

START_TEST(test_crash_is_recorded)
{
	int status;

	open_world();
	t_world_start(&t, &counting, false);
	ask(&a, "abort");
	status = t_world_wait(&t);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	ck_assert_int_eq(t.out.box->crash.present, 1);
	ck_assert_int_eq(t.out.box->crash.signal, SIGABRT);
	ck_assert_int_eq(t.out.box->crash.sender, 0);
	ck_assert_uint_gt(t.out.box->crash.npcs, 2);
	ck_assert_str_eq(t.out.box->tag, "abort");
	close_world(0);
}
END_TEST

START_TEST(test_attempt_counts)
{
	open_world();
	t_world_start(&t, &counting, false);
	ask(&a, "kill");
	(void)t_world_wait(&t);
	/* As retire does it: the same message again. */
	t.base.again_place = 0;
	t.base.again_number = 1;
	t.base.again_attempts = 1;
	t.base.careful = 1;
	t_world_channel(&t, STASH__RING_MIN);
	t_world_start(&t, &counting, false);
	(void)t_world_wait(&t);
	ck_assert_uint_eq(t.out.box->attempt, 2);
	close_world(0);
}
END_TEST

START_TEST(test_timer_and_post)
{
	open_world();
	t_world_start(&t, &counting, false);
	expect(&a, "timer", "");
	expect(&a, "post", "");
	for (int64_t until = stash__now_ns() + 10 * STASH__NS_PER_S;;) {
		ask(&a, "get");
		t_caller_answer(&a);
		if (strcmp((const char *)a.m.data, "100 2") == 0)
			break;
		ck_assert_msg(stash__now_ns() < until, "%s", (const char *)a.m.data);
	}
	close_world(SIGTERM);
}
END_TEST

START_TEST(test_stop_by_callback)
{
	int status;

	open_world();
	t_world_start(&t, &counting, false);
	expect(&a, "next", "100");
	ask(&a, "stop");
	status = t_world_wait(&t);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert_uint_eq(t.out.box->asked, 1);
	ck_assert_uint_eq(t.rows[0].req_count, 2);
	close_world(0);
}
END_TEST

START_TEST(test_disk_waits)
{
	open_world();
	t.ack_disk = true;
	atomic_store(&t.no_disk, true);
	t_world_start(&t, &counting, false);
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
	ask(&a, "next");
	ask(&a, "get");
	/* It has handled them when the slot says so; nothing is published yet. */
	for (int64_t until = stash__now_ns() + 10 * STASH__NS_PER_S;;) {
		t_world_fold(&t);
		if (t.rows[0].req_count == 2 && t.out.page->wanted == t.base.changed)
			break;
		ck_assert(stash__now_ns() < until);
	}
	ck_assert(!stash__reply_waits(a.c, a.head));
	atomic_store(&t.no_disk, false);
	atomic_store(&t.in.page->durable, t.base.changed);
	stash__bell_wake(&t.bell_page->asleep, t.bell);
	t_caller_answer(&a);
	ck_assert_str_eq((const char *)a.m.data, "100");
	t_caller_answer(&a);
	ck_assert_str_eq((const char *)a.m.data, "101 0");
	close_world(SIGTERM);
}
END_TEST

static const struct stash_behaviour other = STASH_BEHAVIOUR(.name = "another", .state_size = sizeof(struct counter),
    .layout_version = 1, .init = count_init, .handle_call = count_call);

START_TEST(test_state_of_another_layout)
{
	open_world();
	t_world_start(&t, &counting, false);
	expect(&a, "next", "100");
	ck_assert_int_eq(kill(t.pid, SIGKILL), 0);
	(void)t_world_wait(&t);
	t_world_start(&t, &other, false);
	ck_assert_int_eq(t_world_ready(&t), STASH_E_LAYOUT);
	(void)t_world_wait(&t);
	/* What is stored stays as it was. */
	t_world_start(&t, &counting, false);
	expect(&a, "next", "101");
	close_world(SIGTERM);
}
END_TEST

START_TEST(test_gone_client_loses_its_row)
{
	struct stash_view v;
	struct t_caller b;

	open_world();
	t_caller_open(&b, &t, t_world_channel(&t, STASH__RING_MIN));
	t_world_start(&t, &counting, false);
	expect(&b, "next", "100");
	ask(&b, "next");
	t_world_say_gone(&t, b.channel);
	t_world_expect(&t, STASH__W_DETACHED, &v);
	t_world_fold(&t);
	ck_assert_uint_eq(t.rows[b.channel].used, 0);
	expect(&a, "next", "102");
	t_caller_close(&b);
	close_world(SIGTERM);
}
END_TEST

/* Offered again, before the entry that deleted its row is folded and after that: it is deleted once. */
START_TEST(test_deleted_row_is_offered_again)
{
	struct stash_view v;
	struct t_caller b;

	open_world();
	t_caller_open(&b, &t, t_world_channel(&t, STASH__RING_MIN));
	t_world_start(&t, &counting, false);
	expect(&a, "next", "100");
	t_world_fold(&t);
	t_world_hold(&t);
	t_world_say_gone(&t, b.channel);
	t_world_expect(&t, STASH__W_DETACHED, &v);
	t_world_attach(&t, b.channel, true);
	t_world_expect(&t, STASH__W_DETACHED, &v);
	atomic_store(&t.hold, false);
	t_world_fold(&t);
	ck_assert_uint_eq(t.rows[b.channel].used, 0);
	/* Another one's deletion: the first is forgotten by then. */
	t_caller_close(&a);
	t_caller_open(&a, &t, t_world_channel(&t, STASH__RING_MIN));
	t_world_attach(&t, a.channel, false);
	expect(&a, "next", "101");
	t_world_say_gone(&t, 0);
	t_world_expect(&t, STASH__W_DETACHED, &v);
	t_world_fold(&t);
	t_world_attach(&t, b.channel, true);
	t_world_expect(&t, STASH__W_REFUSED, &v);
	expect(&a, "next", "102");
	t_caller_close(&b);
	close_world(SIGTERM);
	ck_assert_uint_eq(t.broken, 0);
}
END_TEST

/* More than one entry deletes. */
START_TEST(test_many_clients_go_at_once)
{
	struct stash_view v;

	open_world();
	for (int i = 1; i < T_CHANNELS; i++)
		(void)t_world_channel(&t, STASH__RING_MIN);
	t_world_start(&t, &counting, false);
	expect(&a, "next", "100");
	for (unsigned i = 1; i < T_CHANNELS; i++)
		t_world_say_gone(&t, i);
	for (unsigned i = 1; i < T_CHANNELS; i++)
		t_world_expect(&t, STASH__W_DETACHED, &v);
	expect(&a, "next", "101");
	close_world(SIGTERM);
}
END_TEST

START_TEST(test_broken_ring_is_refused)
{
	struct stash_view v;
	struct t_caller b;
	size_t id_len;

	open_world();
	t_caller_open(&b, &t, t_world_channel(&t, STASH__RING_MIN));
	t_world_start(&t, &counting, false);
	expect(&b, "next", "100");
	atomic_store(&b.c->page->req_tail, b.tail + STASH__RING_MIN * 2);
	stash__bell_ring(t.bell);
	t_world_expect(&t, STASH__W_REFUSED, &v);
	(void)stash_view_bytes(&v, &id_len);
	ck_assert_int_eq((int)stash_view_int(&v), STASH_E_PROTO);
	ck_assert_str_ne(stash_view_text(&v), "");
	/* Its row went with an entry before: nobody else knows how far it got. */
	ck_assert_int_eq(stash_view_int(&v), 1);
	ck_assert_int_eq(stash_view_end(&v), 0);
	t_world_fold(&t);
	ck_assert_uint_eq(t.rows[b.channel].used, 0);
	expect(&a, "next", "101");
	t_caller_close(&b);
	close_world(SIGTERM);
}
END_TEST

/* A client that takes back what it had sent, between two looks of the worker: its channel may be refused, and that is
 * all.  No entry is broken by it. */
START_TEST(test_tail_goes_back)
{
	enum { FLIPS = 20000 };
	struct t_caller liars[T_CHANNELS - 1];

	open_world();
	for (int i = 0; i < T_CHANNELS - 1; i++)
		t_caller_open(&liars[i], &t, t_world_channel(&t, STASH__RING_MIN));
	t_world_start(&t, &counting, false);
	expect(&a, "next", "100");
	for (int i = 0; i < T_CHANNELS - 1; i++) {
		struct t_caller *l = &liars[i];
		_Atomic uint64_t *tail = &l->c->page->req_tail;

		ck_assert_int_eq(stash__request_write(l->c, &l->tail, 1, STASH_MSG_CALL, "get", NULL, 0, INT64_MAX), 0);
		for (int k = 0; k < FLIPS && atomic_load(&l->c->page->req_head) == 0; k++) {
			atomic_store(tail, l->tail);
			if (k % 256 == 0)
				stash__bell_ring(t.bell);
			atomic_store(tail, 0);
		}
	}
	expect(&a, "next", "101");
	close_world(SIGTERM);
	ck_assert_uint_eq(t.broken, 0);
}
END_TEST

/* Folds all that is there, when the worker has stopped writing for want of answers. */
static void
fill_ring(int calls)
{
	t_world_hold(&t);
	for (int i = 0; i < calls; i++) {
		ask(&a, "next");
		t_caller_answer(&a);
	}
	atomic_store(&t.hold, false);
	t_world_fold(&t);
}

START_TEST(test_ring_grows_with_traffic)
{
	char text[32];
	int calls = 900;

	open_world();
	t_world_start(&t, &counting, false);
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
	for (int i = 0; i < 3; i++)
		fill_ring(300);
	t_world_grow(&t);
	/* Nobody waited for it; with some entry after it has heard of it, the worker moves over. */
	for (int64_t until = stash__now_ns() + 10 * STASH__NS_PER_S; t.out.ring_bytes == STASH__ENTRIES_MIN; calls++) {
		ask(&a, "next");
		t_caller_answer(&a);
		t_world_fold(&t);
		ck_assert(stash__now_ns() < until);
	}
	ck_assert_uint_eq(t.out.ring_bytes, 4 * STASH__ENTRIES_MIN);
	fill_ring(1000);
	snprintf(text, sizeof text, "%d 0", 100 + calls + 1000);
	expect(&a, "get", text);
	close_world(SIGTERM);
	ck_assert_uint_eq(t.broken, 0);
}
END_TEST

static int
large_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	unsigned char *s = state;

	(void)msg;
	memset(s, s[0] + 1, 300000);
	return stash_replyf(w, "%d %d", s[0], s[299999]);
}

static const struct stash_behaviour large = STASH_BEHAVIOUR(.name = "large", .state_size = 300000, .layout_version = 1,
    .handle_call = large_call);

START_TEST(test_slot_grows_for_a_large_state)
{
	open_world();
	t_world_start(&t, &large, false);
	t_world_grow(&t);
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
	expect(&a, "x", "1 1");
	expect(&a, "x", "2 2");
	ck_assert_int_eq(kill(t.pid, SIGKILL), 0);
	(void)t_world_wait(&t);
	t_world_start(&t, &large, false);
	expect(&a, "x", "3 3");
	close_world(SIGTERM);
	ck_assert_uint_eq(t.base.image_len, 300000);
}
END_TEST

START_TEST(test_waiting_worker_uses_no_time)
{
	char path[64], before[512], after[512];
	FILE *f;

	open_world();
	t_world_start(&t, &counting, false);
	expect(&a, "next", "100");
	snprintf(path, sizeof path, "/proc/%d/schedstat", (int)t.pid);
	for (int i = 0; i < 2; i++) {
		/* Long enough for a loop that never sleeps to show: nothing is waited for here but time. */
		(void)poll(NULL, 0, i == 0 ? 20 : 200);
		f = fopen(path, "r");
		ck_assert_ptr_nonnull(f);
		ck_assert_ptr_nonnull(fgets(i == 0 ? before : after, 512, f));
		fclose(f);
	}
	ck_assert_str_eq(before, after);
	close_world(SIGTERM);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("worker");
	TCase *c = t_case(s, "loop", 30);

	tcase_add_test(c, test_answers);
	tcase_add_test(c, test_state_survives_kill);
	tcase_add_test(c, test_failed_callback_leaves_nothing);
	tcase_add_test(c, test_crash_is_recorded);
	tcase_add_test(c, test_attempt_counts);
	tcase_add_test(c, test_timer_and_post);
	tcase_add_test(c, test_stop_by_callback);
	tcase_add_test(c, test_disk_waits);
	tcase_add_test(c, test_state_of_another_layout);
	tcase_add_test(c, test_gone_client_loses_its_row);
	tcase_add_test(c, test_deleted_row_is_offered_again);
	tcase_add_test(c, test_many_clients_go_at_once);
	tcase_add_test(c, test_broken_ring_is_refused);
	tcase_add_loop_test(c, test_tail_goes_back, 0, 5); /* it takes some luck to come between */
	tcase_add_test(c, test_ring_grows_with_traffic);
	tcase_add_test(c, test_slot_grows_for_a_large_state);
	tcase_add_test(c, test_waiting_worker_uses_no_time);
	return s;
}

TEST_MAIN(suite)
