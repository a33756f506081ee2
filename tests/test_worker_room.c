/* SPDX-License-Identifier: ISC */
/*
 * Room in a worker's slot that is asked for while an older question has no answer yet: that one's answer, when it
 * comes, is none to the new one.  Supervisor and stash are played by the test.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <stash/worker.h>

#include "shm/wire.h"
#include "testlib.h"
#include "testlib_slot.h"

static unsigned char large[STASH_DATA_MAX];

/* ---- a state whose image has the length that it is told ---- */

struct blob {
	int64_t len;
};

static int
blob_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct blob *b = state;

	if (stash_msg_is(msg, "post"))
		return stash_post(w, "posted", large, sizeof large);
	if (stash_msg_is(msg, "grow"))
		(void)stash_msg_int(msg, 0, STASH_STATE_MAX, &b->len);
	return stash_replyf(w, "%" PRId64, b->len);
}

static int
blob_info(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	(void)w;
	(void)state;
	(void)msg;
	return STASH_OK;
}

static int
blob_encode(const void *state, struct stash_buf *out)
{
	const struct blob *b = state;

	for (int64_t left = b->len; left > 0; left -= (int64_t)sizeof large)
		(void)stash_buf_add(out, large, left < (int64_t)sizeof large ? (size_t)left : sizeof large);
	return STASH_OK;
}

static int
blob_decode(const void *data, size_t len, uint32_t layout, void *state)
{
	(void)data;
	(void)layout;
	((struct blob *)state)->len = (int64_t)len;
	return STASH_OK;
}

static const struct stash_behaviour blob = STASH_BEHAVIOUR(.name = "blob", .state_size = sizeof(struct blob),
    .layout_version = 1, .handle_call = blob_call, .handle_info = blob_info, .encode = blob_encode,
    .decode = blob_decode);

/* ---- fixture ---- */

static struct t_world t;
static struct t_caller a;

struct question {
	int64_t image, ring;
};

static struct question
question(void)
{
	struct stash_view v;
	struct question q;

	t_world_expect(&t, STASH__W_GROW, &v);
	q.image = stash_view_int(&v);
	q.ring = stash_view_int(&v);
	ck_assert_int_eq(stash_view_end(&v), 0);
	return q;
}

static void
answer(struct question q, bool refuses)
{
	t.refuses = refuses;
	t_world_give(&t, q.image, q.ring);
}

static void
begin(void)
{
	t_world_begin(&t, &a, &blob, 64, STASH__RING_MIN);
}

static void
finish(void)
{
	t_world_finish(&t, &a);
}

/* Traffic that fills half of the ring again and again: a larger one is asked for, and not waited for. */
static struct question
asked_by_traffic(void)
{
	const uint64_t calls = STASH__ENTRIES_MIN * 3 / 4 / stash__entry_bytes(1, 0);

	for (int i = 0; i < 3; i++) {
		t_world_hold(&t);
		for (uint64_t k = 0; k < calls; k++)
			t_caller_expect(&a, "get", "", STASH_OK, "0");
		atomic_store(&t.hold, false);
		t_world_fold(&t);
	}
	return question();
}

/* ---- tests ---- */

/* The ring that traffic asked for is too small for what comes then. */
START_TEST(test_smaller_ring_is_given_first)
{
	struct question first, second;

	begin();
	first = asked_by_traffic();
	ck_assert_int_lt(first.ring, (int64_t)sizeof large);
	(void)t_caller_ask(&a, "post", "");
	second = question();
	ck_assert_int_gt(second.ring, 2 * (int64_t)sizeof large);
	answer(first, false);
	answer(second, false);
	t_caller_answer(&a);
	ck_assert_int_eq(a.m.head.code, STASH_OK);
	t_caller_expect(&a, "get", "", STASH_OK, "0");
	finish();
}
END_TEST

/* There was no room for that one; for this one there is. */
START_TEST(test_older_question_is_refused)
{
	struct question first, second;

	begin();
	first = asked_by_traffic();
	(void)t_caller_ask(&a, "post", "");
	second = question();
	answer(first, true);
	answer(second, false);
	t_caller_answer(&a);
	ck_assert_int_eq(a.m.head.code, STASH_OK);
	t_caller_expect(&a, "get", "", STASH_OK, "0");
	finish();
}
END_TEST

/* An answer that never comes, since its supervisor is dead, isn't waited for, whatever the others are. */
START_TEST(test_older_question_is_lost)
{
	begin();
	(void)asked_by_traffic();
	(void)t_caller_ask(&a, "post", "");
	answer(question(), false);
	answer(question(), false);
	t_caller_answer(&a);
	ck_assert_int_eq(a.m.head.code, STASH_OK);
	t_caller_expect(&a, "get", "", STASH_OK, "0");
	finish();
}
END_TEST

/* Asked twice, since there was no answer for long, it is refused twice; the second time while less is asked for. */
START_TEST(test_twice_refused)
{
	struct question more, again, less;

	begin();
	(void)t_caller_ask(&a, "grow", "200000");
	more = question();
	again = question();
	ck_assert_int_eq(again.image, more.image);
	answer(more, true);
	do
		less = question();
	while (less.image == more.image);
	ck_assert_int_lt(less.image, more.image);
	answer(again, true);
	answer(less, false);
	t_caller_answer_growing(&a); /* on a busy machine there may be one question more */
	ck_assert_str_eq((const char *)a.m.data, "200000");
	finish();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("room in a worker's slot");
	TCase *c = t_case(s, "questions", 60);

	tcase_add_test(c, test_smaller_ring_is_given_first);
	tcase_add_test(c, test_older_question_is_refused);
	tcase_add_test(c, test_older_question_is_lost);
	tcase_add_test(c, test_twice_refused);
	return s;
}

TEST_MAIN(suite)
