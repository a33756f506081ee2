/* SPDX-License-Identifier: ISC */
/*
 * The stash process: slots made and found, entries folded and committed, bells, channels, growth.  What else it has to
 * stand: test_stash_wrong.c (workers), _death.c (its own), _retire.c, _rows.c, _store.c.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/bell.h"
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
is_there(const char *dir, const char *file)
{
	char path[700];

	snprintf(path, sizeof path, "%s/%s", dir, file);
	return access(path, F_OK) == 0;
}

/* ---- life ---- */

START_TEST(test_first_start_and_clean_stop)
{
	begin();
	ck_assert_int_eq(st.incarnation, 1);
	ck_assert_int_eq(st.slots, 0);
	ck_assert_int_eq(st.clean, 1);
	ck_assert_uint_eq(atomic_load(&st.status->deaths), 7);
	ck_assert_uint_eq(atomic_load(&st.status->pid), (uint64_t)st.proc.pid);
	th_shutdown(&st);
	ck_assert(!is_there(st.run_dir, STASH__STATUS_NAME));
	ck_assert(!is_there(st.run_dir, STASH__ROWS_NAME));
	ck_assert(!is_there(st.run_dir, STASH__SLOT_DIR));
	th_start(&st);
	ck_assert_int_eq(st.clean, 1);
	th_restart(&st);
	ck_assert_int_eq(st.clean, 0);
	ck_assert_int_eq(st.incarnation, 2);
	th_shutdown(&st);
	th_end(&st);
}
END_TEST

static bool
has_beaten(void *arg)
{
	return atomic_load(&st.status->heartbeat) > *(uint64_t *)arg;
}

START_TEST(test_signals_do_not_end_it)
{
	uint64_t beat;

	begin();
	beat = atomic_load(&st.status->heartbeat);
	t_kill(&st.proc, SIGTERM);
	t_kill(&st.proc, SIGINT);
	t_kill(&st.proc, SIGHUP);
	ck_assert(t_wait_for(has_beaten, &beat, 5000));
	ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), 0);
	th_shutdown(&st);
	th_end(&st);
}
END_TEST

START_TEST(test_alone_it_commits_and_ends)
{
	uint64_t seq;

	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	th_entry(&w, "last words", NULL, 0);
	close(st.control);
	st.control = -1;
	ck_assert_int_eq(t_wait(&st.proc, 10000), 2);
	ck_assert_str_eq(th_stored(&st, "w", &seq, NULL, NULL), "last words");
	th_start(&st);
	ck_assert_int_eq(st.slots, 1);
	th_open(&st, &w, "w");
	retire();
	finish();
}
END_TEST

/* ---- fold and commit ---- */

START_TEST(test_entries_are_folded_and_stored)
{
	struct stash__position p[2];
	struct stash__base *base;
	uint64_t seq, version;
	int cursors;

	begin();
	th_open(&st, &w, "a worker");
	ck_assert_uint_eq(w.fence, 0);
	th_live(&w);
	p[0] = th_position(th_channel(&w, "one"), 3, 2);
	p[1] = th_position(th_channel(&w, "two"), 1, 1);
	th_entry(&w, "first", p, 2);
	p[0] = th_position(0, 5, 5);
	th_entry(&w, NULL, p, 1);
	th_folded(&w);
	base = th_base(&w);
	ck_assert_uint_eq(base->entry, 2);
	ck_assert_uint_eq(base->changed, 1);
	ck_assert_uint_eq(base->version, 1);
	ck_assert_str_eq(base->layout, "played");
	ck_assert_uint_eq(base->layout_version, 3);
	ck_assert_uint_eq(stash__base_rows(base)[0].req_count, 5);
	ck_assert_uint_eq(stash__base_rows(base)[1].rep_bytes, 64);
	free(base);
	th_is(&w, "first");
	th_durable(&w, 1);
	for (int i = 0; i < 1000; i++)
		th_entry(&w, i % 2 == 0 ? "even" : "odd", NULL, 0);
	retire();
	finish();
	ck_assert_str_eq(th_stored(&st, "a worker", &seq, &version, &cursors), "odd");
	ck_assert_uint_eq(seq, 1002);
	ck_assert_uint_eq(version, 1001);
	ck_assert_int_eq(cursors, 2);
}
END_TEST

static uint64_t
rounds(void)
{
	return atomic_load(&st.status->rounds);
}

static bool
is_asleep(void *arg)
{
	(void)arg;
	return atomic_load(&w.in.page->stash_asleep) != 0;
}

START_TEST(test_sleeps_when_it_is_quiet_and_is_rung_awake)
{
	uint64_t before;

	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	for (int i = 0; i < 5; i++) {
		ck_assert_msg(t_wait_for(is_asleep, NULL, 5000), "it doesn't fall asleep");
		before = rounds();
		th_entry(&w, "x", NULL, 0);
		th_folded(&w);
		ck_assert_uint_eq(rounds(), before + 1);
	}
	retire();
	finish();
}
END_TEST

/* An awake slot is folded without anybody ringing. */
START_TEST(test_awake_it_needs_no_bell)
{
	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	th_entry(&w, "x", NULL, 0);
	th_folded(&w);
	ck_assert_int_eq(atomic_load(&w.in.page->stash_asleep), 0);
	w.version++;
	th_submit_silently(&w, "y");
	th_folded(&w);
	th_is(&w, "y");
	retire();
	finish();
}
END_TEST

static bool
rings(int bell, int ms)
{
	struct pollfd pfd = { bell, POLLIN, 0 };
	bool rung = poll(&pfd, 1, ms) == 1;

	if (rung)
		stash__bell_clear(bell);
	return rung;
}

START_TEST(test_rings_only_a_sleeper_that_waits)
{
	begin();
	th_open(&st, &w, "w");
	ck_assert_msg(rings(w.bell, 5000), "not rung at open");
	th_live(&w);
	/* awake */
	th_entry(&w, "a", NULL, 0);
	th_durable(&w, w.entry);
	ck_assert_msg(!rings(w.bell, 0), "rung while awake");
	/* asleep, and waits for messages only */
	atomic_store(&w.bell_page->asleep, 1);
	th_entry(&w, "b", NULL, 0);
	th_folded(&w);
	ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), 0);
	ck_assert_msg(!rings(w.bell, 0), "rung for nothing");
	/* asleep, and waits for room */
	atomic_store(&w.out.box->phase, STASH__PHASE_WAITING);
	th_entry(&w, "c", NULL, 0);
	ck_assert_msg(rings(w.bell, 5000), "not rung for room");
	/* asleep, and waits for the disk */
	atomic_store(&w.out.box->phase, STASH__PHASE_IDLE);
	atomic_store(&w.out.page->ack_disk, 1);
	atomic_store(&w.out.page->wanted, w.entry + 1);
	th_entry(&w, "d", NULL, 0);
	stash__bell_ring(st.bell);
	do
		ck_assert_msg(rings(w.bell, 5000), "not rung for the disk");
	while (atomic_load(&w.in.page->durable) < w.entry);
	retire();
	finish();
}
END_TEST

static bool
is_durable_now(void *arg)
{
	(void)arg;
	return atomic_load(&w.in.page->durable) >= w.changed;
}

START_TEST(test_commits_though_nobody_waits)
{
	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	th_entry(&w, "x", NULL, 0);
	ck_assert(t_wait_for(is_durable_now, NULL, 5000));
	ck_assert_uint_gt(atomic_load(&st.status->commits), 0);
	retire();
	finish();
}
END_TEST

START_TEST(test_many_slots_in_one_commit)
{
	struct th_worker all[50];
	struct th_verdict v;
	char name[20];
	uint64_t seq;

	begin();
	memset(all, 0, sizeof all);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof name, "worker %d", i);
		th_open(&st, &all[i], t_path("%s", name) + strlen(t_dir()) + 1);
		th_live(&all[i]);
	}
	for (int k = 0; k < 20; k++)
		for (int i = 0; i < 50; i++)
			th_entry(&all[i], i % 2 == 0 ? "even" : "odd", NULL, 0);
	ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), 0);
	for (int i = 0; i < 50; i++) {
		ck_assert_uint_eq(atomic_load(&all[i].in.page->durable), 20);
		ck_assert_int_eq(th_retire(&all[i], SIGKILL, STASH__CAUSE_EXIT, &v), 0);
		th_worker_close(&all[i]);
	}
	th_shutdown(&st);
	th_end(&st);
	ck_assert_str_eq(th_stored(&st, "worker 31", &seq, NULL, NULL), "odd");
}
END_TEST

/* ---- channels ---- */

START_TEST(test_rows_of_channels)
{
	struct stash__position p;
	struct stash__base *base;
	uint32_t place;

	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	ck_assert_uint_eq(th_channel(&w, "one"), 0);
	ck_assert_uint_eq(th_channel(&w, "two"), 1);
	ck_assert_uint_eq(th_channel(&w, "three"), 2);
	ck_assert_uint_eq(th_channel(&w, "two"), 1);
	base = th_base(&w);
	ck_assert_uint_eq(base->nrows, 3);
	ck_assert_uint_eq(stash__base_rows(base)[1].uid, 1000);
	free(base);
	/* The client of two is dead: its row goes, and the place can be had again... */
	p = th_position(1, 4, 4);
	p.flags = STASH__POSITION_GONE;
	th_hand(&w, 1, 4, STASH__PHASE_SUBMIT, 1);
	th_entry(&w, NULL, &p, 1);
	th_folded(&w);
	/* ... but not while the message in hand names it. */
	ck_assert_uint_eq(th_channel(&w, "four"), 3);
	th_clear_box(&w);
	ck_assert_uint_eq(th_channel(&w, "five"), 1);
	ck_assert_int_eq(th_unchannel(&st, "w", "one"), STASH_E_BUSY);
	retire();
	ck_assert_int_eq(th_unchannel(&st, "w", "one"), 0);
	ck_assert_int_eq(th_unchannel(&st, "w", "one"), 0);
	ck_assert_int_eq(th_unchannel(&st, "nobody", "one"), STASH_E_NOENT);
	ck_assert_int_eq(
	    th_try_channel(&(struct th_worker){ .stash = &st, .name = "nobody" }, "x", &place), STASH_E_NOENT);
	th_open(&st, &w, "w");
	ck_assert_int_eq(w.channels, 3);
	finish();
}
END_TEST

START_TEST(test_a_thousand_channels)
{
	struct stash__position p;
	char id[16];
	uint64_t seq;
	int cursors;

	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	th_entry(&w, "state", NULL, 0);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(id, sizeof id, "c%u", i);
		ck_assert_uint_eq(th_channel(&w, id), i);
	}
	ck_assert_int_eq(stash__in_follow(&w.in), 0);
	for (unsigned i = 0; i < 1000; i++) {
		p = th_position(i, i + 1, i + 1);
		th_entry(&w, i == 999 ? "last" : NULL, &p, 1);
	}
	th_folded(&w);
	th_durable(&w, w.entry);
	th_restart(&st);
	th_open(&st, &w, "w");
	ck_assert_int_eq(w.channels, 1000);
	p = th_position(7, 8, 8);
	p.flags = STASH__POSITION_GONE;
	th_entry(&w, "later", &p, 1);
	th_durable(&w, w.entry);
	retire();
	finish();
	ck_assert_str_eq(th_stored(&st, "w", &seq, NULL, &cursors), "later");
	ck_assert_int_eq(cursors, 999);
}
END_TEST

/* ---- growing ---- */

START_TEST(test_grows_for_images_and_traffic)
{
	static const uint64_t image = 1 << 20;
	char *large = malloc(image + 1), *larger = malloc(3 * image + 1);
	uint64_t now;

	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	th_entry(&w, "small", NULL, 0);
	th_folded(&w);
	memset(large, 'x', image);
	memset(larger, 'y', 3 * image);
	large[image] = larger[3 * image] = '\0';
	ck_assert_int_eq(th_open_as(&st, &w, "w", false, 4, image, 4 * image), 0);
	th_is(&w, "small");
	for (int i = 0; i < 2; i++) {
		now = STASH__RING_BYTES(w.in.page->bases[i]);
		ck_assert_uint_ge(now, stash__base_bytes(32, image));
	}
	ck_assert_int_eq(stash__out_move(&w.out), 0);
	ck_assert_uint_ge(w.out.ring_bytes, 4 * image);
	for (int i = 0; i < 20; i++)
		th_entry(&w, large, NULL, 0);
	th_folded(&w);
	th_is(&w, large);
	/* More than was announced: the stash grows the base by itself. */
	th_entry(&w, larger, NULL, 0);
	th_folded(&w);
	th_is(&w, larger);
	th_restart(&st);
	th_is(&w, larger);
	th_open(&st, &w, "w");
	retire();
	ck_assert_int_eq(th_open_as(&st, &w, "w", false, 4, 1ull << 40, 0), STASH_E_TOOBIG);
	finish();
	free(large);
	free(larger);
}
END_TEST

/* What is outgrown stays in the file: so it grows by half each time, not with each entry. */
START_TEST(test_grows_with_a_growing_state)
{
	static char image[100001];
	struct stash__position p;
	struct stat info;
	char id[16];

	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	ck_assert_int_eq(th_open_as(&st, &w, "w", false, 0, 0, 1 << 20), 0);
	ck_assert_int_eq(stash__out_move(&w.out), 0);
	for (size_t len = 100; len <= sizeof image - 1; len += 100) {
		memset(image, 'x', len);
		th_entry(&w, image, NULL, 0);
		if (len % 1000 == 0)
			th_folded(&w);
	}
	for (unsigned i = 0; i < 200; i++) {
		snprintf(id, sizeof id, "c%u", i);
		p = th_position(th_channel(&w, id), 1, 1);
		th_entry(&w, NULL, &p, 1);
	}
	th_folded(&w);
	ck_assert_int_eq(fstat(w.fds[1], &info), 0);
	ck_assert_int_lt(info.st_size, 10 * 100000);
	th_is(&w, image);
	retire();
	finish();
}
END_TEST

/* ---- persistence ---- */

START_TEST(test_not_persistent)
{
	struct stash__position p;
	struct stash__base *base;
	uint64_t seq;

	begin();
	ck_assert_int_eq(th_open_as(&st, &w, "w", true, 0, 0, 0), 0);
	th_live(&w);
	p = th_position(th_channel(&w, "one"), 2, 2);
	th_entry(&w, "x", &p, 1);
	th_durable(&w, 1); /* nothing to wait for */
	th_is(&w, "x");
	retire();
	base = th_base(&w);
	ck_assert_uint_eq(base->image_len, 0);
	ck_assert_uint_eq(base->version, 0);
	ck_assert_uint_eq(base->entry, 1);
	ck_assert_uint_eq(stash__base_rows(base)[0].req_count, 2);
	free(base);
	/* From now on it is: nothing of that hinders it, not over a death of the stash either. */
	th_restart(&st);
	th_open(&st, &w, "w");
	th_live(&w);
	th_entry(&w, "kept", NULL, 0);
	th_durable(&w, w.entry);
	th_restart(&st);
	th_open(&st, &w, "w");
	retire();
	finish();
	ck_assert_str_eq(th_stored(&st, "w", &seq, NULL, NULL), "kept");
	ck_assert_uint_eq(seq, 2);
}
END_TEST

START_TEST(test_close_and_open_again)
{
	struct stash__position p;

	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	p = th_position(th_channel(&w, "one"), 2, 1);
	th_entry(&w, "state", &p, 1);
	ck_assert_int_eq(th_close(&st, "w", false), STASH_E_BUSY);
	ck_assert_int_eq(th_close(&st, "w", true), 0);
	ck_assert_int_eq(th_close(&st, "nobody", true), STASH_E_NOENT);
	ck_assert_uint_eq(atomic_load(&w.in.page->durable), 1);
	retire();
	ck_assert_int_eq(th_close(&st, "w", false), 0);
	ck_assert(
	    !is_there(st.slot_dir, "w.in") && !is_there(st.slot_dir, "w.out") && !is_there(st.slot_dir, "w.bell"));
	/* From the store: state, numbers, and the channel's positions. */
	th_open(&st, &w, "w");
	ck_assert_uint_eq(w.open_version, 1);
	ck_assert_int_eq(w.channels, 1);
	ck_assert_str_eq(w.first_id, "one");
	th_is(&w, "state");
	th_live(&w);
	ck_assert_uint_eq(w.entry, 1);
	p = th_position(0, 3, 3);
	th_entry(&w, "next", &p, 1);
	th_durable(&w, 2);
	retire();
	finish();
}
END_TEST

static Suite *
stash_suite(void)
{
	Suite *suite = suite_create("stash");
	TCase *tc = t_case(suite, "life", 30);

	tcase_add_test(tc, test_first_start_and_clean_stop);
	tcase_add_test(tc, test_signals_do_not_end_it);
	tcase_add_test(tc, test_alone_it_commits_and_ends);
	tc = t_case(suite, "fold and commit", 30);
	tcase_add_test(tc, test_entries_are_folded_and_stored);
	tcase_add_test(tc, test_sleeps_when_it_is_quiet_and_is_rung_awake);
	tcase_add_test(tc, test_awake_it_needs_no_bell);
	tcase_add_test(tc, test_rings_only_a_sleeper_that_waits);
	tcase_add_test(tc, test_commits_though_nobody_waits);
	tcase_add_test(tc, test_many_slots_in_one_commit);
	tc = t_case(suite, "channels", 30);
	tcase_add_test(tc, test_rows_of_channels);
	tcase_add_test(tc, test_a_thousand_channels);
	tc = t_case(suite, "slots", 30);
	tcase_add_test(tc, test_grows_for_images_and_traffic);
	tcase_add_test(tc, test_grows_with_a_growing_state);
	tcase_add_test(tc, test_not_persistent);
	tcase_add_test(tc, test_close_and_open_again);
	return suite;
}

TEST_MAIN(stash_suite)
