/* SPDX-License-Identifier: ISC */
/*
 * A worker whose supervisor, keeper and stash die together while it waits for them: it ends by itself, blames nobody,
 * and the next incarnation goes on from what is in the slot.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/worker.h>

#include "shm/bell.h"
#include "testlib.h"
#include "testlib_slot.h"

/* Three images of it fill the first ring. */
struct wide {
	int64_t n;
	char pad[16384 - 8];
};

static int
wide_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct wide *s = state;

	if (stash_msg_is(msg, "attempt"))
		return stash_replyf(w, "%u", msg->attempt);
	return stash_replyf(w, "%" PRId64, ++s->n);
}

static const struct stash_behaviour wide = STASH_BEHAVIOUR(.name = "wide", .state_size = sizeof(struct wide),
    .layout_version = 1, .handle_call = wide_call);

/* ---- fixture ---- */

static struct t_world t;
static struct t_caller a;

static void
begin(bool ack_disk)
{
	t_world_open(&t, sizeof(struct wide));
	t.ack_disk = ack_disk;
	t_caller_open(&a, &t, t_world_channel(&t, STASH__RING_MIN));
	t_world_start(&t, &wide, false);
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
}

static void
finish(void)
{
	t_world_finish(&t, &a);
}

static bool
has_ended(void *arg)
{
	siginfo_t info = { 0 };

	(void)arg;
	return waitid(P_PID, (id_t)t.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == t.pid;
}

/* Its exit status. */
static int
left_alone(void)
{
	int status;

	close(t.control);
	t.control = -1;
	if (!t_wait_for(has_ended, NULL, 10000)) {
		(void)kill(t.pid, SIGKILL);
		ck_abort_msg("the worker goes on, alone");
	}
	status = t_world_wait(&t);
	ck_assert(WIFEXITED(status));
	ck_assert_uint_eq(t.out.box->crash.present, 0);
	return WEXITSTATUS(status);
}

static bool
waits_for_disk(void *arg)
{
	t_world_fold(&t);
	return t.rows[0].req_count == *(const unsigned *)arg && t.out.page->wanted == t.base.changed;
}

static bool
waits(void *arg)
{
	(void)arg;
	return atomic_load(&t.out.box->phase) == STASH__PHASE_WAITING;
}

static bool
waits_or_answers(void *arg)
{
	return waits(arg) || stash__reply_waits(a.c, a.head);
}

/* ---- tests ---- */

/* Its answers go out when they are on the disk, and not before that, whoever gives them. */
START_TEST(test_answers_wait_for_the_disk)
{
	unsigned asked = 3;

	begin(true);
	atomic_store(&t.no_disk, true);
	for (unsigned i = 0; i < asked; i++)
		(void)t_caller_ask(&a, "next", "");
	ck_assert(t_wait_for(waits_for_disk, &asked, 10000));
	ck_assert_int_eq(left_alone(), 0);
	ck_assert(!stash__reply_waits(a.c, a.head));
	t_world_start(&t, &wide, false);
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
	ck_assert(t_wait_for(waits_for_disk, &asked, 10000));
	ck_assert(!stash__reply_waits(a.c, a.head));
	atomic_store(&t.no_disk, false);
	atomic_store(&t.in.page->durable, t.base.changed);
	stash__bell_wake(&t.bell_page->asleep, t.bell);
	for (unsigned i = 1; i <= asked; i++) {
		t_caller_answer(&a);
		ck_assert_uint_eq(a.m.head.number, i);
	}
	t_caller_expect(&a, "next", "", STASH_OK, "4");
	finish();
}
END_TEST

/* What has no room in the ring is as if it had not been: the message is handled again. */
START_TEST(test_ring_is_full)
{
	int64_t n = 0;
	char text[24];

	begin(false);
	t_world_hold(&t);
	while (true) {
		(void)t_caller_ask(&a, "next", "");
		ck_assert(t_wait_for(waits_or_answers, NULL, 10000));
		if (!stash__reply_waits(a.c, a.head))
			break;
		t_caller_answer(&a);
		n++;
	}
	ck_assert_int_gt(n, 1);
	ck_assert_int_eq(left_alone(), 1);
	atomic_store(&t.hold, false);
	ck_assert_uint_eq(t.base.version, (uint64_t)n);
	t_world_start(&t, &wide, false);
	t_caller_answer(&a);
	snprintf(text, sizeof text, "%" PRId64, n + 1);
	ck_assert_str_eq((const char *)a.m.data, text);
	t_caller_expect(&a, "attempt", "", STASH_OK, "1");
	finish();
}
END_TEST

/* It may have a larger ring, and waits for the old one to be folded. */
START_TEST(test_ring_is_to_be_folded)
{
	begin(false);
	for (int i = 0; i < 4; i++) {
		t_world_hold(&t);
		for (int k = 0; k < 3; k++) {
			(void)t_caller_ask(&a, "next", "");
			t_caller_answer(&a);
		}
		atomic_store(&t.hold, false);
		t_world_fold(&t);
	}
	t_world_hold(&t);
	(void)t_caller_ask(&a, "next", "");
	t_caller_answer(&a);
	t_world_grow(&t);
	ck_assert(t_wait_for(waits, NULL, 10000));
	ck_assert_int_eq(left_alone(), 0);
	ck_assert_uint_eq(t.base.version, 13);
	atomic_store(&t.hold, false);
	t_world_start(&t, &wide, false);
	t_caller_expect(&a, "next", "", STASH_OK, "14");
	finish();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("worker, alone");
	TCase *c = t_case(s, "alone", 60);

	tcase_add_test(c, test_answers_wait_for_the_disk);
	tcase_add_test(c, test_ring_is_full);
	tcase_add_test(c, test_ring_is_to_be_folded);
	return s;
}

TEST_MAIN(suite)
