/* SPDX-License-Identifier: ISC */
/*
 * The stash process may be killed at any moment, and what is on the disk is of one moment.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "shm/bell.h"
#include "store/store.h"
#include "testlib_stash.h"

static struct th_stash st;
static struct th_worker w;

static void
begin(void)
{
	memset(&st, 0, sizeof st);
	memset(&w, 0, sizeof w);
	th_begin(&st);
	th_start(&st);
}

static void
finish(void)
{
	th_worker_close(&w);
	th_shutdown(&st);
	th_end(&st);
}

/* The worker is dead, and its slot may be closed. */
static void
retire(void)
{
	struct th_verdict v;

	ck_assert_int_eq(th_retire(&w, SIGKILL, STASH__CAUSE_EXIT, &v), 0);
}

static bool
is_durable_now(void *arg)
{
	(void)arg;
	return atomic_load(&w.in.page->durable) >= w.changed;
}

START_TEST(test_killed_all_the_time)
{
	struct th_worker other = { 0 };
	struct th_verdict v;
	uint64_t durable = 0, seq;
	char image[30];
	int64_t until = stash__now_ns() + 2 * STASH__NS_PER_S;
	unsigned kills = 0;

	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	th_open(&st, &other, "other");
	th_live(&other);
	while (stash__now_ns() < until) {
		int n = rand() % 400;

		for (int i = 0; i < n; i++) {
			snprintf(image, sizeof image, "%" PRIu64, w.entry + 1);
			th_entry(&w, image, NULL, 0);
			th_entry(&other, i % 3 == 0 ? image : NULL, NULL, 0);
		}
		if (n % 4 == 0) {
			th_durable(&w, w.entry);
			durable = w.entry;
		}
		th_restart(&st);
		kills++;
		th_folded(&w);
		snprintf(image, sizeof image, "%" PRIu64, w.entry);
		if (w.entry > 0)
			th_is(&w, image);
		ck_assert_uint_ge(atomic_load(&w.in.page->durable), durable);
		th_open(&st, &w, "w");
		th_open(&st, &other, "other");
	}
	ck_assert_uint_gt(kills, 5);
	ck_assert_uint_eq(atomic_load(&st.status->broken), 0);
	retire();
	ck_assert_int_eq(th_retire(&other, SIGKILL, STASH__CAUSE_EXIT, &v), 0);
	th_worker_close(&other);
	seq = w.entry;
	finish();
	(void)th_stored(&st, "w", &durable, NULL, NULL);
	ck_assert_uint_eq(durable, seq);
}
END_TEST

/* What rests on something is never on the disk without it: b makes version n only after a has published n. */
static struct th_worker cause;
static _Atomic bool stop;

static bool
cause_sleeps(void *arg)
{
	(void)arg;
	return stop || atomic_load(&cause.in.page->stash_asleep) != 0;
}

/* While the stash goes on with w. */
static void
let_cause_sleep(void)
{
	while (!t_wait_for(cause_sleeps, NULL, 1))
		th_entry(&w, NULL, NULL, 0);
}

static void *
make_effects(void *arg)
{
	unsigned seed = 1;
	int64_t busy, until;

	(void)arg;
	while (!stop) {
		busy = stash__now_ns() + rand_r(&seed) % (20 * STASH__NS_PER_MS);
		let_cause_sleep();
		for (bool first = true; !stop && stash__now_ns() < busy; first = false) {
			/* Published before it rings, as a worker may. */
			cause.version++;
			th_submit_silently(&cause, "a");
			th_entry(&w, "b", NULL, 0);
			until = first ? stash__now_ns() + rand_r(&seed) % (3 * STASH__NS_PER_MS) : 0;
			while (stash__now_ns() < until)
				;
			stash__bell_wake(&cause.in.page->stash_asleep, st.bell);
		}
	}
	return NULL;
}

static int
note_version(void *arg, const struct store_state *state)
{
	((uint64_t *)arg)[state->name[0] == 'b'] = state->version;
	return 0;
}

/* Both versions as of one moment of the store. */
static void
scan_versions(uint64_t versions[2])
{
	struct store_gather *gather = store_gather_create(STORE_DB_STATE, false, note_version, versions);
	struct stash_buf buf;
	struct store_row row;
	struct stash_view view;
	struct th_mail m;
	char text[4096];
	ssize_t len;

	versions[0] = versions[1] = 0;
	th_request(&st, &buf, STASH__S_SCAN);
	stash_buf_add_int(&buf, STASH__SCAN_STATE);
	stash_buf_add_bytes(&buf, "", 0);
	stash_buf_add_int(&buf, 10);
	th_send(&st, &buf, -1);
	th_receive(&st, &m);
	ck_assert_int_eq(m.error, 0);
	len = read(m.fds[0], text, sizeof text);
	ck_assert_int_ge(len, 0);
	stash_view_init(&view, text, (size_t)len);
	while (store_row_next(&view, &row) == 1)
		ck_assert_int_eq(store_gather_row(gather, &row), 0);
	ck_assert_int_eq(store_gather_end(gather), 0);
	store_gather_destroy(gather);
	th_mail_done(&m);
}

START_TEST(test_the_store_never_has_an_effect_without_its_cause)
{
	int64_t until = stash__now_ns() + 4 * STASH__NS_PER_S;
	uint64_t versions[2] = { 0 };
	struct th_verdict v;
	pthread_t thread;
	unsigned looks = 0;

	begin();
	th_open(&st, &cause, "a");
	th_live(&cause);
	th_open(&st, &w, "b");
	th_live(&w);
	stop = false;
	ck_assert_int_eq(pthread_create(&thread, NULL, make_effects, NULL), 0);
	while (stash__now_ns() < until && versions[1] <= versions[0]) {
		scan_versions(versions);
		looks++;
	}
	stop = true;
	pthread_join(thread, NULL);
	ck_assert_msg(
	    versions[1] <= versions[0], "the store has b's %" PRIu64 ", but a's %" PRIu64, versions[1], versions[0]);
	ck_assert_uint_gt(versions[1], 100);
	ck_assert_uint_gt(looks, 100);
	ck_assert_int_eq(th_retire(&cause, SIGKILL, STASH__CAUSE_EXIT, &v), 0);
	th_worker_close(&cause);
	retire();
	finish();
}
END_TEST

static const char *const points[] = { "stash_before_turn", "stash_after_turn", "stash_before_commit", "stash_in_commit",
	"stash_after_commit", "stash_before_report", "stash_in_retire", "stash_after_retire" };

#define PASSINGS 8

/* Waits for the disk like a worker that survives all deaths of the stash. */
static void
wait_for_disk(void)
{
	atomic_store(&w.out.page->ack_disk, 1);
	atomic_store(&w.out.page->wanted, w.entry);
	stash__bell_ring(st.bell);
	while (!is_durable_now(NULL)) {
		if (t_ended(&st.proc, 1)) {
			st.deaths++;
			th_start(&st);
			th_open(&st, &w, "w");
		}
	}
}

/* Killed once at one of its steps, at an earlier or a later passing: it is as if it had not been. */
START_TEST(test_killed_at_a_point)
{
	const char *point = points[_i / PASSINGS];
	bool in_retire = strstr(point, "retire") != NULL;
	char crash[100], fired[300], image[20];
	struct stash__position p;
	struct stash__base *base;
	struct th_verdict v;
	uint64_t seq;

	if (in_retire && _i % PASSINGS > 0)
		return; /* passed once only */
	memset(&st, 0, sizeof st);
	memset(&w, 0, sizeof w);
	th_begin(&st);
	snprintf(crash, sizeof crash, "STASH_CRASH=%s:%d:stash", point, 1 + _i % PASSINGS);
	snprintf(fired, sizeof fired, "STASH_CRASH_DIR=%s", t_dir());
	st.points = st.sturdy = true;
	st.env[0] = crash;
	st.env[1] = fired;
	th_start(&st);
	th_open(&st, &w, "w");
	th_live(&w);
	(void)th_channel(&w, "one");
	for (unsigned i = 1; i <= 10; i++) {
		p = th_position(0, i, i);
		snprintf(image, sizeof image, "%u", i);
		th_entry(&w, image, &p, 1);
		wait_for_disk();
		th_is(&w, image);
	}
	th_hand(&w, 0, 11, STASH__PHASE_CALLBACK, 1);
	ck_assert_int_eq(th_retire(&w, SIGSEGV, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.verdict, STASH__VERDICT_ASIDE);
	ck_assert_int_eq(v.number, 11);
	ck_assert_int_eq(v.crashes, 1);
	ck_assert_msg(st.deaths == 1 && access(t_path("fired"), F_OK) == 0, "%s was never passed", crash);
	base = th_base(&w);
	ck_assert_uint_eq(base->retired, 1);
	ck_assert_uint_eq(base->fence, 1);
	ck_assert_uint_eq(stash__base_rows(base)[0].aside, 11);
	ck_assert_uint_eq(stash__base_rows(base)[0].req_count, 10);
	free(base);
	finish();
	ck_assert_str_eq(th_stored(&st, "w", &seq, NULL, NULL), "10");
	ck_assert_uint_eq(seq, 10);
}
END_TEST

static Suite *
death_suite(void)
{
	Suite *suite = suite_create("stash_death");
	TCase *tc = t_case(suite, "death", 60);
	tcase_add_test(tc, test_killed_all_the_time);
	tcase_add_test(tc, test_the_store_never_has_an_effect_without_its_cause);
	tcase_add_loop_test(tc, test_killed_at_a_point, 0, PASSINGS * (int)(sizeof points / sizeof *points));

	return suite;
}

TEST_MAIN(death_suite)
