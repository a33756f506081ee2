/* SPDX-License-Identifier: ISC */
/*
 * What one client's channel may cost another one, or itself: answers that are given late, and channels that end while
 * the worker is busy.  Supervisor, stash and clients are played by the test.
 */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include <stash/worker.h>

#include "shm/wire.h"
#include "testlib.h"
#include "testlib_slot.h"

#define WAITING 8
#define RING (128u * 1024)

struct open {
	struct stash_from held[WAITING];
	int64_t nheld, answered, busy, casts;
};

static unsigned char large[STASH_DATA_MAX];

/* Answers all that wait with `len' bytes each, as long as that is possible; those that it isn't wait on. */
static void
emit(struct stash_worker *w, struct open *o, size_t len)
{
	int64_t kept = 0;

	for (int64_t i = 0; i < o->nheld; i++) {
		int result = stash_reply_to(w, &o->held[i], large, len);

		if (result == STASH_E_BUSY)
			o->held[kept++] = o->held[i];
		o->answered += result == STASH_OK;
		o->busy += result == STASH_E_BUSY;
	}
	o->nheld = kept;
}

/* "hold": is answered by an "emit LENGTH", which answers itself before or after that. */
static int
open_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct open *o = state;
	int64_t len = 0;

	if (stash_msg_is(msg, "hold")) {
		o->held[o->nheld++ % WAITING] = msg->from;
		return STASH_NOREPLY;
	}
	if (stash_msg_is(msg, "counts"))
		return stash_replyf(w, "%" PRId64 " %" PRId64 " %" PRId64, o->answered, o->busy, o->casts);
	if (stash_msg_is(msg, "spin"))
		return stash_post(w, "spin", NULL, 0);
	if (stash_msg_int(msg, 0, STASH_DATA_MAX, &len) < 0)
		return STASH_E_INVAL;
	if (stash_msg_is(msg, "emit_first"))
		(void)stash_reply(w, large, (size_t)len);
	if (stash_msg_is(msg, "emit_stopped"))
		raise(SIGSTOP);
	emit(w, o, (size_t)len);
	if (stash_msg_is(msg, "emit_first"))
		return stash_reply_to(w, &msg->from, large, (size_t)len) == STASH_E_BUSY ? STASH_OK : STASH_E_APP;
	return stash_reply(w, large, (size_t)len);
}

static int
open_cast(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct open *o = state;

	(void)w;
	(void)msg;
	o->casts++;
	return STASH_OK;
}

/* "spin": there is always one more message, so the worker is never idle again. */
static int
open_info(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	(void)state;
	return stash_post(w, msg->tag, NULL, 0);
}

static const struct stash_behaviour open_calls = STASH_BEHAVIOUR(.name = "open", .state_size = sizeof(struct open),
    .layout_version = 1, .handle_call = open_call, .handle_cast = open_cast, .handle_info = open_info);

/* ---- fixture ---- */

static struct t_world t;
static struct t_caller a;

static void
begin(const struct stash_behaviour *behaviour)
{
	t_world_begin(&t, &a, behaviour, sizeof(struct open), RING);
}

static void
finish(void)
{
	t_world_finish(&t, &a);
}

/* ---- answers that come later ---- */

static void
hold(int n)
{
	for (int i = 0; i < n; i++)
		(void)t_caller_ask(&a, "hold", "");
}

static void
cast(void)
{
	ck_assert_int_eq(stash__request_write(a.c, &a.tail, ++a.count, STASH_MSG_CAST, "note", NULL, 0, INT64_MAX), 0);
}

/* The next answer, to that call. */
static void
answer_to(uint64_t number, size_t len)
{
	t_caller_answer(&a);
	ck_assert_uint_eq(a.m.head.number, number);
	ck_assert_int_eq(a.m.head.code, STASH_OK);
	ck_assert_uint_eq(a.m.head.len, len);
}

/* They would leave no room for the answer to the call that brings them: that is the worker's business, and no fault of
 * the client, which loses neither its open calls nor the cast behind. */
START_TEST(test_late_answers_leave_room)
{
	enum { LEN = 30000 };
	uint64_t number;

	begin(&open_calls);
	hold(4);
	cast();
	number = t_caller_ask(&a, "emit", "30000");
	answer_to(1, LEN);
	answer_to(2, LEN);
	answer_to(number, LEN);
	t_caller_expect(&a, "counts", "", STASH_OK, "2 2 1");
	/* The others still wait, and there is room for them. */
	number = t_caller_ask(&a, "emit", "100");
	answer_to(3, 100);
	answer_to(4, 100);
	answer_to(number, 100);
	t_caller_expect(&a, "counts", "", STASH_OK, "4 2 1");
	finish();
}
END_TEST

/* Behind the answer to the call in hand they may take all that is left; a second one to that call is like any other. */
START_TEST(test_late_answers_behind_the_first)
{
	enum { LEN = 30000 };
	uint64_t number;

	begin(&open_calls);
	hold(4);
	cast();
	number = t_caller_ask(&a, "emit_first", "30000");
	answer_to(number, LEN);
	for (unsigned i = 1; i <= 3; i++)
		answer_to(i, LEN);
	t_caller_expect(&a, "counts", "", STASH_OK, "3 1 1");
	finish();
}
END_TEST

/* Room that was there when the call was taken, and isn't when it is answered, was taken back by the client. */
START_TEST(test_room_that_is_taken_back)
{
	enum { LEN = 65000 };
	struct stash_view v;
	size_t id_len;
	int status;

	begin(&open_calls);
	answer_to(t_caller_ask(&a, "emit", "65000"), LEN);
	answer_to(t_caller_ask(&a, "emit", "65000"), LEN);
	(void)t_caller_ask(&a, "emit_stopped", "65000");
	ck_assert_int_eq(waitpid(t.pid, &status, WUNTRACED), t.pid);
	ck_assert(WIFSTOPPED(status));
	atomic_store(&a.c->page->rep_head, 0);
	ck_assert_int_eq(kill(t.pid, SIGCONT), 0);
	t_world_expect(&t, STASH__W_REFUSED, &v);
	(void)stash_view_bytes(&v, &id_len);
	ck_assert_int_eq((int)stash_view_int(&v), STASH_E_PROTO);
	ck_assert_str_eq(stash_view_text(&v), "the other side broke the channel's rules: the room for a reply is gone");
	finish();
}
END_TEST

/* ---- channels that end ---- */

/* One that is dead, with requests that wait, and one that broke the rules: nobody waits for an idle moment. */
START_TEST(test_busy_worker_lets_go)
{
	struct t_caller dead, liar;
	struct stash_view v;
	size_t id_len;
	const void *id;

	begin(&open_calls);
	t_caller_open(&dead, &t, t_world_channel(&t, RING));
	t_caller_open(&liar, &t, t_world_channel(&t, RING));
	t_world_attach(&t, dead.channel, false);
	t_world_attach(&t, liar.channel, false);
	t_caller_expect(&dead, "counts", "", STASH_OK, "0 0 0");
	t_caller_expect(&liar, "counts", "", STASH_OK, "0 0 0");
	t_caller_expect(&a, "spin", "", STASH_OK, "");
	for (int i = 0; i < 100; i++)
		(void)t_caller_ask(&dead, "counts", "");
	t_world_say_gone(&t, dead.channel);
	t_world_expect(&t, STASH__W_DETACHED, &v);
	id = stash_view_bytes(&v, &id_len);
	ck_assert_mem_eq(id, dead.c->id, STASH__ID);
	atomic_store(&liar.c->page->req_tail, liar.tail + 3 * RING);
	t_world_expect(&t, STASH__W_REFUSED, &v);
	id = stash_view_bytes(&v, &id_len);
	ck_assert_mem_eq(id, liar.c->id, STASH__ID);
	ck_assert_int_eq((int)stash_view_int(&v), STASH_E_PROTO);
	t_world_fold(&t);
	ck_assert_uint_eq(t.rows[dead.channel].used + t.rows[liar.channel].used, 0);
	t_caller_expect(&a, "counts", "", STASH_OK, "0 0 0");
	t_caller_close(&dead);
	t_caller_close(&liar);
	finish();
}
END_TEST

/* More than go with one entry. */
START_TEST(test_busy_worker_lets_many_go)
{
	struct stash_view v;

	t_world_open(&t, sizeof(struct open));
	for (int i = 0; i < T_CHANNELS; i++)
		(void)t_world_channel(&t, STASH__RING_MIN);
	t_caller_open(&a, &t, 0);
	t_world_start(&t, &open_calls, false);
	t_caller_expect(&a, "spin", "", STASH_OK, "");
	for (unsigned i = 1; i < T_CHANNELS; i++)
		t_world_say_gone(&t, i);
	for (unsigned i = 1; i < T_CHANNELS; i++)
		t_world_expect(&t, STASH__W_DETACHED, &v);
	t_world_fold(&t);
	for (unsigned i = 1; i < T_CHANNELS; i++)
		ck_assert_uint_eq(t.rows[i].used, 0);
	finish();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("worker and its clients");
	TCase *c = t_case(s, "answers", 60);

	tcase_add_test(c, test_late_answers_leave_room);
	tcase_add_test(c, test_late_answers_behind_the_first);
	tcase_add_test(c, test_room_that_is_taken_back);
	c = t_case(s, "busy", 60);
	tcase_add_test(c, test_busy_worker_lets_go);
	tcase_add_test(c, test_busy_worker_lets_many_go);
	return s;
}

TEST_MAIN(suite)
