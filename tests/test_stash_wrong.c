/* SPDX-License-Identifier: ISC */
/*
 * What a worker may do wrong, by its own fault or by a stray write: the newest valid entry counts, the supervisor is
 * told, and the next incarnation goes on.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "shm/bell.h"
#include "shm/checksum.h"
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

/* Of a slot in which nothing is broken: the next worker finds all as it should be, and so does who only reads. */
static void
damage_magic(void)
{
	w.out.page->magic ^= 1;
}

static void
damage_format(void)
{
	w.out.page->format = 77;
}

static void
damage_store(void)
{
	w.out.page->store_id[3] ^= 1;
}

static void
damage_ring(void)
{
	atomic_store(&w.out.page->ring, STASH__RING(STASH__OUT_RING, STASH__PAGE));
}

static void
damage_owner(void)
{
	atomic_store(&w.out.page->owner, UINT64_MAX);
}

static void
damage_bell(void)
{
	memset(w.bell_page, 0x55, 64);
}

static void (*const damages[])(
    void) = { damage_magic, damage_format, damage_store, damage_ring, damage_owner, damage_bell };

START_TEST(test_damage_is_mended)
{
	begin_good();
	damages[_i]();
	retire();
	ck_assert_uint_le(atomic_load(&w.out.page->owner), w.incarnation + 1);
	th_open(&st, &w, "w"); /* maps it with all checks */
	th_live(&w);
	th_is(&w, "good");
	th_entry(&w, "better", NULL, 0);
	th_folded(&w);
	th_is(&w, "better");
	retire();
	th_restart(&st);
	th_open(&st, &w, "w");
	th_is(&w, "better");
	finish();
}
END_TEST

/* What an image is stands outside of its entry: one that was written over is not believed. */
START_TEST(test_layout_written_over)
{
	struct stash__position p;
	struct stash__entry head;

	begin_good();
	p = th_position(0, 3, 3);
	head = th_head(&w, 3, 1);
	head.flags = STASH__ENTRY_IMAGE;
	head.version++;
	head.layout_sum = stash__layout_sum(
	    w.out.page->layout, sizeof w.out.page->layout, atomic_load(&w.out.page->layout_version));
	if (_i == 0)
		atomic_fetch_add(&w.out.page->layout_version, 1ull << 40);
	else
		w.out.page->layout[0] ^= 1;
	th_submit(&w, &head, &p, "bad");
	expect_broken_and_go_on();
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

static Suite *
wrong_suite(void)
{
	Suite *suite = suite_create("stash_wrong");
	TCase *tc = t_case(suite, "wrong", 30);
	tcase_add_loop_test(tc, test_broken_entry, 0, (int)(sizeof wrongs / sizeof *wrongs));
	tcase_add_loop_test(tc, test_stray_write, 0, (int)(sizeof spoilers / sizeof *spoilers));
	tcase_add_test(tc, test_stray_write_into_the_header_between_two_stashes);
	tcase_add_test(tc, test_entry_that_crashes_the_stash);
	tcase_add_loop_test(tc, test_damage_is_mended, 0, (int)(sizeof damages / sizeof *damages));
	tcase_add_loop_test(tc, test_layout_written_over, 0, 2);

	return suite;
}

TEST_MAIN(wrong_suite)
