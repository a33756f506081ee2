/* SPDX-License-Identifier: ISC */
/*
 * The verdict on a dead worker's message in hand, and what the next incarnation finds of it in the base.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <stash/behaviour.h>

#include "testlib_stash.h"

static struct th_stash st;
static struct th_worker w;

#define EXITED(code) ((code) << 8)
#define UNKNOWN (-1)

/* A worker with one channel, five messages handled. */
static void
begin(void)
{
	struct stash__position p;

	memset(&st, 0, sizeof st);
	memset(&w, 0, sizeof w);
	th_begin(&st);
	th_start(&st);
	th_open(&st, &w, "w");
	th_live(&w);
	p = th_position(th_channel(&w, "one"), 5, 5);
	th_entry(&w, "state", &p, 1);
}

static void
finish(void)
{
	th_worker_close(&w);
	th_shutdown(&st);
	th_end(&st);
}

static void
record_crash(uint32_t present, int signal, int sender)
{
	w.out.box->crash.signal = signal;
	w.out.box->crash.sender = sender;
	w.out.box->crash.present = present;
}

struct death {
	const char *what;
	/* how it died */
	int status, cause;
	uint64_t in_hand; /* 0: nothing */
	uint32_t phase, batch, asked;
	uint32_t present; /* of the crash record */
	int sender;
	/* what is said of it */
	int fault, verdict, careful;
	uint64_t aside;
	uint32_t attempts, reason;
};

#define OWN 1, STASH__VERDICT_ASIDE, 1, 6, 0, STASH_REASON_CRASH
#define OUTSIDE 0, STASH__VERDICT_AGAIN, 1, 0, 1, STASH_REASON_KILLED
#define CAREFUL 1, STASH__VERDICT_CAREFUL, 1, 0, 0, STASH_REASON_CRASH
#define NOBODY 0, STASH__VERDICT_NONE, 0, 0, 0
#define NOBODY_CRASH 1, STASH__VERDICT_NONE, 0, 0, 0
#define CALLBACK STASH__PHASE_CALLBACK
#define BETWEEN STASH__PHASE_BETWEEN
#define SUBMIT STASH__PHASE_SUBMIT

static const struct death deaths[] = {
	/* in a callback, its own fault */
	{ "a fault, with a record", SIGSEGV, STASH__CAUSE_EXIT, 6, CALLBACK, 3, 0, 1, 0, OWN },
	{ "a fault, no record", SIGBUS, STASH__CAUSE_EXIT, 6, CALLBACK, 1, 0, 0, 0, OWN },
	{ "abort", SIGABRT, STASH__CAUSE_EXIT, 6, CALLBACK, 1, 0, 1, 0, OWN },
	{ "a dumped core", SIGSEGV | 0x80, STASH__CAUSE_EXIT, 6, CALLBACK, 1, 0, 0, 0, OWN },
	{ "killed with its record written", SIGKILL, STASH__CAUSE_EXIT, 6, CALLBACK, 1, 0, 1, 0, OWN },
	{ "an error result", EXITED(1), STASH__CAUSE_EXIT, 6, CALLBACK, 1, 0, 2, 0, OWN },
	{ "exit(1)", EXITED(1), STASH__CAUSE_EXIT, 6, CALLBACK, 1, 0, 0, 0, OWN },
	{ "exit(0), for the tree normal", EXITED(0), STASH__CAUSE_EXIT, 6, CALLBACK, 1, 0, 0, 0, 1,
	    STASH__VERDICT_ASIDE, 1, 6, 0, STASH_REASON_NORMAL },
	{ "stuck", SIGKILL, STASH__CAUSE_STUCK, 6, CALLBACK, 1, 0, 0, 0, OWN },
	{ "status unknown, with a record", UNKNOWN, STASH__CAUSE_EXIT, 6, CALLBACK, 1, 0, 1, 0, OWN },
	{ "a fault while it was asked to stop", SIGSEGV, STASH__CAUSE_STOPPED, 6, CALLBACK, 1, 0, 1, 0, OWN },
	/* in a callback, from outside */
	{ "SIGKILL", SIGKILL, STASH__CAUSE_EXIT, 6, CALLBACK, 3, 0, 0, 0, OUTSIDE },
	{ "a signal that another process sent", SIGSEGV, STASH__CAUSE_EXIT, 6, CALLBACK, 1, 0, 1, 4711, OUTSIDE },
	{ "stopped, then killed", SIGKILL, STASH__CAUSE_STOPPED, 6, CALLBACK, 1, 0, 0, 0, OUTSIDE },
	{ "status unknown", UNKNOWN, STASH__CAUSE_EXIT, 6, CALLBACK, 1, 0, 0, 0, OUTSIDE },
	{ "SIGKILL between callbacks", SIGKILL, STASH__CAUSE_EXIT, 6, BETWEEN, 3, 0, 0, 0, OUTSIDE },
	/* not in a callback, its own fault */
	{ "between, of several", SIGSEGV, STASH__CAUSE_EXIT, 6, BETWEEN, 2, 0, 1, 0, CAREFUL },
	{ "in submit, of several", SIGSEGV, STASH__CAUSE_EXIT, 6, SUBMIT, 9, 0, 1, 0, CAREFUL },
	{ "between, alone", SIGSEGV, STASH__CAUSE_EXIT, 6, BETWEEN, 1, 0, 1, 0, OWN },
	{ "in submit, alone", SIGSEGV, STASH__CAUSE_EXIT, 6, SUBMIT, 1, 0, 1, 0, OWN },
	/* nothing to charge */
	{ "idle, SIGKILL", SIGKILL, STASH__CAUSE_EXIT, 0, STASH__PHASE_IDLE, 0, 0, 0, 0, NOBODY, STASH_REASON_KILLED },
	{ "idle, a fault", SIGSEGV, STASH__CAUSE_EXIT, 0, STASH__PHASE_IDLE, 0, 0, 1, 0, NOBODY_CRASH,
	    STASH_REASON_CRASH },
	{ "after submit", SIGSEGV, STASH__CAUSE_EXIT, 5, SUBMIT, 1, 0, 1, 0, NOBODY_CRASH, STASH_REASON_CRASH },
	{ "after submit, killed", SIGKILL, STASH__CAUSE_EXIT, 5, SUBMIT, 1, 0, 0, 0, NOBODY, STASH_REASON_KILLED },
	{ "STASH_STOP", EXITED(0), STASH__CAUSE_EXIT, 0, STASH__PHASE_DONE, 0, 1, 0, 0, NOBODY, STASH_REASON_NORMAL },
	{ "STASH_STOP_SHUTDOWN", EXITED(STASH_EXIT_SHUTDOWN), STASH__CAUSE_EXIT, 0, STASH__PHASE_DONE, 0, 2, 0, 0,
	    NOBODY, STASH_REASON_SHUTDOWN },
	{ "told to stop", EXITED(STASH_EXIT_SHUTDOWN), STASH__CAUSE_STOPPED, 0, STASH__PHASE_DONE, 0, 3, 0, 0, NOBODY,
	    STASH_REASON_SHUTDOWN },
	{ "it never got its go", SIGKILL, STASH__CAUSE_NEVER, 6, CALLBACK, 1, 0, 1, 0, NOBODY, STASH_REASON_NORMAL },
};

START_TEST(test_verdict)
{
	const struct death *d = &deaths[_i];
	struct th_verdict v, again;
	struct stash__base *base;
	const struct stash__row *row;

	begin();
	if (d->in_hand != 0)
		th_hand(&w, 0, d->in_hand, d->phase, d->batch);
	atomic_store(&w.out.box->phase, d->phase);
	atomic_store(&w.out.box->asked, d->asked);
	if (d->present != 0)
		record_crash(d->present, SIGSEGV, d->sender);
	ck_assert_int_eq(th_retire(&w, d->status, d->cause, &v), 0);
	ck_assert_msg(v.verdict == d->verdict && v.fault == d->fault, "%s: verdict %d, fault %d", d->what,
	    (int)v.verdict, (int)v.fault);
	ck_assert_int_eq(v.fence, 1);
	ck_assert_int_eq(v.crashes, d->fault);
	if (d->verdict != STASH__VERDICT_NONE) {
		ck_assert_int_eq(v.place, 0);
		ck_assert_int_eq(v.number, 6);
		ck_assert_str_eq(v.tag, "next");
		ck_assert_int_eq(v.kind, STASH_MSG_CALL);
		ck_assert_int_eq(v.phase, d->phase);
	}
	base = th_base(&w);
	row = stash__base_rows(base);
	ck_assert_uint_eq(base->entry, 1);
	ck_assert_uint_eq(base->fence, 1);
	ck_assert_uint_eq(base->retired, 1);
	ck_assert_uint_eq(base->last_reason, d->reason);
	ck_assert_int_eq(base->careful, d->careful);
	ck_assert_uint_eq(base->again_attempts, d->attempts);
	ck_assert_uint_eq(row->aside, d->aside);
	ck_assert_uint_eq(row->req_count, 5);
	free(base);
	/* Twice is once, also for the next stash. */
	th_restart(&st);
	ck_assert_int_eq(th_retire(&w, d->status, d->cause, &again), 0);
	ck_assert_mem_eq(&v, &again, sizeof v);
	base = th_base(&w);
	ck_assert_uint_eq(base->retired, 1);
	free(base);
	finish();
}
END_TEST

START_TEST(test_max_attempts)
{
	struct stash__position p;
	struct th_verdict v;
	struct stash__base *base;

	begin();
	for (int i = 1; i <= 3; i++) {
		th_hand(&w, 0, 6, CALLBACK, 1);
		ck_assert_int_eq(th_retire(&w, SIGKILL, STASH__CAUSE_EXIT, &v), 0);
		ck_assert_int_eq(v.attempts, i);
		ck_assert_int_eq(v.verdict, i < 3 ? STASH__VERDICT_AGAIN : STASH__VERDICT_ASIDE);
		ck_assert_int_eq(v.fault, 0);
		th_live(&w);
	}
	/* Its refusal passes it: nothing is left of it. */
	p = th_position(0, 6, 6);
	th_entry(&w, NULL, &p, 1);
	th_folded(&w);
	base = th_base(&w);
	ck_assert_uint_eq(stash__base_rows(base)->aside, 0);
	ck_assert_uint_eq(base->careful, 0);
	ck_assert_uint_eq(base->again_attempts, 0);
	free(base);
	/* Another message begins anew; one handled ends the row. */
	th_hand(&w, 0, 7, CALLBACK, 1);
	ck_assert_int_eq(th_retire(&w, SIGKILL, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.attempts, 1);
	th_live(&w);
	p = th_position(0, 7, 7);
	th_entry(&w, NULL, &p, 1);
	th_hand(&w, 0, 8, CALLBACK, 1);
	ck_assert_int_eq(th_retire(&w, SIGKILL, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.attempts, 1);
	ck_assert_int_eq(v.number, 8);
	finish();
}
END_TEST

/* One by one: who is last in hand then is charged. */
START_TEST(test_careful_then_charged)
{
	struct th_verdict v;

	begin();
	th_hand(&w, 0, 8, SUBMIT, 3);
	record_crash(1, SIGSEGV, 0);
	ck_assert_int_eq(th_retire(&w, SIGSEGV, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.verdict, STASH__VERDICT_CAREFUL);
	th_live(&w);
	th_hand(&w, 0, 6, SUBMIT, 1);
	record_crash(1, SIGSEGV, 0);
	ck_assert_int_eq(th_retire(&w, SIGSEGV, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.verdict, STASH__VERDICT_ASIDE);
	ck_assert_int_eq(v.number, 6);
	ck_assert_int_eq(v.crashes, 2);
	finish();
}
END_TEST

/* Own faults are counted until a message is handled well; refusing one that was set aside is no proof, init
 * neither. */
START_TEST(test_crashes_in_a_row)
{
	struct stash__position p;
	struct stash__entry head;
	struct th_verdict v;

	begin();
	for (unsigned i = 0; i < 3; i++) {
		th_hand(&w, 0, 6 + i, CALLBACK, 1);
		record_crash(1, SIGSEGV, 0);
		ck_assert_int_eq(th_retire(&w, SIGSEGV, STASH__CAUSE_EXIT, &v), 0);
		ck_assert_int_eq(v.crashes, i + 1);
		ck_assert_int_eq(v.number, 6 + i);
		th_live(&w);
		w.version++;
		head = th_head(&w, 4, 0);
		head.flags = STASH__ENTRY_IMAGE | STASH__ENTRY_INIT;
		th_submit(&w, &head, NULL, "init");
		w.entry++;
		p = th_position(0, 6 + i, 6 + i);
		th_entry(&w, NULL, &p, 1);
	}
	p = th_position(0, 9, 9);
	th_entry(&w, NULL, &p, 1);
	th_hand(&w, 0, 10, CALLBACK, 1);
	record_crash(1, SIGSEGV, 0);
	ck_assert_int_eq(th_retire(&w, SIGSEGV, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.crashes, 1);
	finish();
}
END_TEST

/* What was submitted before the death is folded first, stamped at whatever time. */
START_TEST(test_folds_before_it_judges)
{
	struct stash__position p = th_position(0, 6, 6);
	struct th_verdict v;

	begin();
	th_hand(&w, 0, 6, SUBMIT, 1);
	th_entry(&w, "six", &p, 1);
	record_crash(1, SIGSEGV, 0);
	ck_assert_int_eq(th_retire(&w, SIGSEGV, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.verdict, STASH__VERDICT_NONE);
	th_is(&w, "six");
	finish();
}
END_TEST

/* The word has 32 bits of the number and 16 of the incarnation. */
START_TEST(test_large_numbers)
{
	const uint64_t far = (3ull << 32) - 2;
	struct stash__position p = th_position(0, far, far);
	struct th_verdict v;

	begin();
	th_entry(&w, NULL, &p, 1);
	th_hand(&w, 0, far + 3, CALLBACK, 1);
	ck_assert_int_eq(th_retire(&w, SIGKILL, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.verdict, STASH__VERDICT_AGAIN);
	ck_assert_uint_eq((uint64_t)v.number, far + 3);
	/* A word that an earlier incarnation has left says nothing. */
	th_live(&w);
	atomic_store(&w.out.box->in_hand, STASH__HAND(1, 0, far + 3));
	ck_assert_int_eq(th_retire(&w, SIGKILL, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.verdict, STASH__VERDICT_NONE);
	finish();
}
END_TEST

/* The next one has put its number into the slot before its predecessor is retired. */
START_TEST(test_successor_is_there_already)
{
	struct stash__position p = th_position(0, 6, 6);
	struct th_verdict v;

	begin();
	th_entry(&w, "six", &p, 1);
	th_hand(&w, 0, 7, CALLBACK, 1);
	atomic_store(&w.out.page->owner, 2);
	ck_assert_int_eq(th_retire(&w, SIGSEGV, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.verdict, STASH__VERDICT_ASIDE);
	ck_assert_int_eq(v.number, 7);
	th_is(&w, "six");
	/* It dies before its go, with its predecessor's box still there. */
	w.incarnation = 2;
	ck_assert_int_eq(th_retire(&w, SIGKILL, STASH__CAUSE_NEVER, &v), 0);
	ck_assert_int_eq(v.verdict, STASH__VERDICT_NONE);
	ck_assert_int_eq(v.fence, 2);
	/* Of one before the last nothing is known any more. */
	w.incarnation = 1;
	ck_assert_int_eq(th_retire(&w, SIGSEGV, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.verdict, STASH__VERDICT_NONE);
	ck_assert_int_eq(v.fence, 2);
	finish();
}
END_TEST

/* A timer in hand has no channel: nobody to be refused, but batches are of one until it is past. */
START_TEST(test_no_channel_in_hand)
{
	struct th_verdict v;
	struct stash__base *base;

	begin();
	th_hand(&w, STASH__PLACE_NONE, 0, CALLBACK, 1);
	record_crash(1, SIGSEGV, 0);
	ck_assert_int_eq(th_retire(&w, SIGSEGV, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.verdict, STASH__VERDICT_NONE);
	ck_assert_int_eq(v.fault, 1);
	base = th_base(&w);
	ck_assert_uint_eq(base->careful, 1);
	ck_assert_uint_eq(base->crashes, 1);
	free(base);
	th_live(&w);
	th_entry(&w, "on", NULL, 0);
	th_folded(&w);
	base = th_base(&w);
	ck_assert_uint_eq(base->careful, 0);
	free(base);
	ck_assert_int_eq(th_retire(&w, SIGKILL, STASH__CAUSE_EXIT, &v), 0);
	finish();
}
END_TEST

/* What the box holds is not to be trusted. */
START_TEST(test_nonsense_in_the_box)
{
	struct th_verdict v;

	begin();
	memset(w.out.box, 0xff, sizeof *w.out.box);
	ck_assert_int_eq(th_retire(&w, SIGSEGV, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.verdict, STASH__VERDICT_NONE);
	ck_assert_str_eq(v.tag, "");
	w.name = "nobody";
	ck_assert_int_eq(th_retire(&w, SIGSEGV, STASH__CAUSE_EXIT, &v), STASH_E_NOENT);
	finish();
}
END_TEST

static Suite *
retire_suite(void)
{
	Suite *suite = suite_create("stash_retire");
	TCase *tc = t_case(suite, "verdict", 30);

	tcase_add_loop_test(tc, test_verdict, 0, (int)(sizeof deaths / sizeof *deaths));
	tc = t_case(suite, "in a row", 30);
	tcase_add_test(tc, test_max_attempts);
	tcase_add_test(tc, test_careful_then_charged);
	tcase_add_test(tc, test_crashes_in_a_row);
	tc = t_case(suite, "what it goes by", 30);
	tcase_add_test(tc, test_folds_before_it_judges);
	tcase_add_test(tc, test_large_numbers);
	tcase_add_test(tc, test_successor_is_there_already);
	tcase_add_test(tc, test_no_channel_in_hand);
	tcase_add_test(tc, test_nonsense_in_the_box);
	return suite;
}

TEST_MAIN(retire_suite)
