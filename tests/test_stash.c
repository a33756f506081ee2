/* SPDX-License-Identifier: ISC */
/*
 * The stash process: slots made and found, entries folded, validated and committed, rooms and bells, growth; and
 * that it may die at any moment.  Verdicts are in test_stash_retire.c, rows, scans and refusals in
 * test_stash_store.c.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

/* An entry with an image of one byte, and nobody is rung. */
static void
submit_silently(struct th_worker *worker, const char *image)
{
	static const struct stash__position none;
	struct stash__entry head = th_head(worker, 1, 0);

	head.flags = STASH__ENTRY_IMAGE;
	while (stash__entry_room(&worker->out, atomic_load(&worker->in.page->out_head)) < worker->out.ring_bytes / 2)
		usleep(100); /* the stash is awake then, with a full ring */
	head.stamp = stash__now_ns();
	stash__entry_submit(&worker->out, &head, &none, image);
	worker->entry++;
}

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
	submit_silently(&w, "y");
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

/* ---- what a worker may do wrong ---- */

struct wrong {
	const char *what;
	void (*make)(struct stash__entry *, struct stash__position *);
};

static void
wrong_number(struct stash__entry *e, struct stash__position *p)
{
	(void)p;
	e->number++;
}

static void
wrong_old_number(struct stash__entry *e, struct stash__position *p)
{
	(void)p;
	e->number--;
}

static void
wrong_incarnation(struct stash__entry *e, struct stash__position *p)
{
	(void)p;
	e->incarnation++;
}

static void
wrong_fenced(struct stash__entry *e, struct stash__position *p)
{
	(void)p;
	e->incarnation--;
}

static void
wrong_version(struct stash__entry *e, struct stash__position *p)
{
	(void)p;
	e->version = 0;
}

static void
wrong_future(struct stash__entry *e, struct stash__position *p)
{
	(void)p;
	e->stamp = stash__now_ns() + 3600 * STASH__NS_PER_S;
}

static void
wrong_place(struct stash__entry *e, struct stash__position *p)
{
	(void)e;
	p[0].place = 1;
}

static void
wrong_far_place(struct stash__entry *e, struct stash__position *p)
{
	(void)e;
	p[0].place = UINT32_MAX;
}

static void
wrong_twice(struct stash__entry *e, struct stash__position *p)
{
	e->npositions = 2;
	p[1] = p[0];
}

static void
wrong_back(struct stash__entry *e, struct stash__position *p)
{
	(void)e;
	p[0] = th_position(0, 1, 2);
}

static void
wrong_replies_back(struct stash__entry *e, struct stash__position *p)
{
	(void)e;
	p[0] = th_position(0, 3, 1);
}

static void
wrong_count(struct stash__entry *e, struct stash__position *p)
{
	(void)e;
	p[0].req_count = 1000;
}

static void
wrong_bytes(struct stash__entry *e, struct stash__position *p)
{
	(void)e;
	p[0].req_count = 2; /* more bytes, no more requests */
}

static void
wrong_odd(struct stash__entry *e, struct stash__position *p)
{
	(void)e;
	p[0].rep_bytes += 4;
	p[0].rep_count++;
}

static const struct wrong wrongs[] = {
	{ "number too high", wrong_number },
	{ "number again", wrong_old_number },
	{ "a stranger's incarnation", wrong_incarnation },
	{ "a fenced incarnation", wrong_fenced },
	{ "an earlier version", wrong_version },
	{ "stamped in the future", wrong_future },
	{ "a place without a channel", wrong_place },
	{ "a place beyond", wrong_far_place },
	{ "a place twice", wrong_twice },
	{ "requests going back", wrong_back },
	{ "replies going back", wrong_replies_back },
	{ "more requests than bytes", wrong_count },
	{ "bytes without requests", wrong_bytes },
	{ "bytes that aren't aligned", wrong_odd },
};

/* The newest valid entry counts; the supervisor is told; the next incarnation finds an empty ring and goes on. */
static void
expect_broken_and_go_on(void)
{
	struct th_verdict v;
	struct stash__base *base;

	th_expect_broken(&st, "w");
	ck_assert_uint_eq(atomic_load(&st.status->broken), 1);
	base = th_base(&w);
	ck_assert_uint_eq(base->entry, 2);
	free(base);
	th_is(&w, "good");
	ck_assert_int_eq(th_retire(&w, SIGKILL, STASH__CAUSE_EXIT, &v), 0);
	ck_assert_int_eq(v.fault, 0);
	th_open(&st, &w, "w");
	th_live(&w);
	ck_assert_uint_eq(stash__entry_room(&w.out, atomic_load(&w.in.page->out_head)), w.out.ring_bytes);
	th_entry(&w, "better", NULL, 0);
	th_folded(&w);
	th_is(&w, "better");
	retire();
	finish();
}

/* Two incarnations, a channel, two good entries. */
static void
begin_good(void)
{
	struct stash__position p;

	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	p = th_position(th_channel(&w, "one"), 1, 1);
	th_entry(&w, "older", &p, 1);
	retire();
	th_live(&w);
	p = th_position(0, 2, 2);
	th_entry(&w, "good", &p, 1);
	th_folded(&w);
}

START_TEST(test_broken_entry)
{
	struct stash__position p[2];
	struct stash__entry head;

	begin_good();
	p[0] = th_position(0, 3, 2);
	head = th_head(&w, 3, 1);
	head.flags = STASH__ENTRY_IMAGE;
	head.version++;
	wrongs[_i].make(&head, p);
	th_submit(&w, &head, p, "bad");
	expect_broken_and_go_on();
}
END_TEST

static void
spoil_byte(unsigned char *at)
{
	*at ^= 1;
}

static void
spoil_image(void)
{
	uint64_t tail = atomic_load(&w.out.page->out_tail);

	th_entry(&w, "bad", NULL, 0);
	spoil_byte(w.out.ring + (tail + sizeof(struct stash__entry)) % w.out.ring_bytes);
}

static void
spoil_length(void)
{
	uint64_t tail = atomic_load(&w.out.page->out_tail);

	th_entry(&w, "bad", NULL, 0);
	spoil_byte(w.out.ring + (tail + offsetof(struct stash__entry, bytes) + 3) % w.out.ring_bytes);
}

static void
spoil_tail_odd(void)
{
	atomic_fetch_add(&w.out.page->out_tail, 123);
}

static void
spoil_tail_back(void)
{
	atomic_fetch_sub(&w.out.page->out_tail, 64);
}

static void
spoil_tail_far(void)
{
	atomic_fetch_add(&w.out.page->out_tail, 1 << 30);
}

static void
spoil_ring(void)
{
	atomic_store(&w.out.page->ring, STASH__RING(1 << 20, 1 << 20));
	atomic_fetch_add(&w.out.page->out_tail, 64);
}

static void
spoil_owner(void)
{
	th_entry(&w, "bad", NULL, 0);
	atomic_store(&w.out.page->owner, 1);
}

static void (*const spoilers[])(
    void) = { spoil_image, spoil_length, spoil_tail_odd, spoil_tail_back, spoil_tail_far, spoil_ring, spoil_owner };

/* While the stash sleeps, so that it never sees it whole. */
START_TEST(test_stray_write)
{
	begin_good();
	t_kill(&st.proc, SIGSTOP);
	spoilers[_i]();
	stash__bell_ring(st.bell);
	t_kill(&st.proc, SIGCONT);
	expect_broken_and_go_on();
}
END_TEST

START_TEST(test_stray_write_into_the_header_between_two_stashes)
{
	struct th_verdict v;

	begin_good();
	th_kill(&st);
	memset(w.out.page, 0x55, 128);
	th_start(&st);
	th_expect_broken(&st, "w");
	ck_assert_int_eq(th_retire(&w, SIGKILL, STASH__CAUSE_EXIT, &v), 0);
	th_open(&st, &w, "w");
	th_live(&w);
	th_entry(&w, "better", NULL, 0);
	th_folded(&w);
	th_is(&w, "better");
	retire();
	finish();
}
END_TEST

/* An entry on which the stash itself crashed twice isn't looked at any more; killed from outside it never counts. */
START_TEST(test_entry_that_crashes_the_stash)
{
	char path[400];
	uint64_t blame;
	int fd;

	begin_good();
	th_kill(&st);
	th_entry(&w, "bad", NULL, 0);
	snprintf(path, sizeof path, "%s/w.in", st.slot_dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	blame = 3 << 8 | 2;
	ck_assert_int_eq(pwrite(fd, &blame, sizeof blame, offsetof(struct stash__in_page, blame)), sizeof blame);
	close(fd);
	th_start(&st);
	expect_broken_and_go_on();
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

/* ---- its own death ---- */

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

static void
let_cause_sleep(void)
{
	while (!stop && atomic_load(&cause.in.page->stash_asleep) == 0) {
		th_entry(&w, NULL, NULL, 0);
		usleep(500);
	}
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
			submit_silently(&cause, "a");
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
	tc = t_case(suite, "wrong", 30);
	tcase_add_loop_test(tc, test_broken_entry, 0, (int)(sizeof wrongs / sizeof *wrongs));
	tcase_add_loop_test(tc, test_stray_write, 0, (int)(sizeof spoilers / sizeof *spoilers));
	tcase_add_test(tc, test_stray_write_into_the_header_between_two_stashes);
	tcase_add_test(tc, test_entry_that_crashes_the_stash);
	tc = t_case(suite, "channels", 30);
	tcase_add_test(tc, test_rows_of_channels);
	tcase_add_test(tc, test_a_thousand_channels);
	tc = t_case(suite, "slots", 30);
	tcase_add_test(tc, test_grows_for_images_and_traffic);
	tcase_add_test(tc, test_grows_with_a_growing_state);
	tcase_add_test(tc, test_not_persistent);
	tcase_add_test(tc, test_close_and_open_again);
	tc = t_case(suite, "death", 60);
	tcase_add_test(tc, test_killed_all_the_time);
	tcase_add_test(tc, test_the_store_never_has_an_effect_without_its_cause);
	tcase_add_loop_test(tc, test_killed_at_a_point, 0, PASSINGS * (int)(sizeof points / sizeof *points));
	return suite;
}

TEST_MAIN(stash_suite)
