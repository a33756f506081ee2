/* SPDX-License-Identifier: ISC */
/*
 * store.h without a stashd, on slots made by hand: last states, folded and not yet folded, and black boxes;
 * what is torn, damaged or of another boot; waiting; reading while somebody writes.
 */
#include <bsd/string.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/role.h"
#include "reader/reader.h"
#include "testlib.h"
#include "testlib_reader.h"
#include "testlib_store.h"
#include "testlib_tools.h"

/* ---- slots ---- */

START_TEST(test_slot)
{
	struct stash_store *store = tr_look();
	struct stash__origin origin = tt_origin();
	struct stash__look l;
	struct tt_slot slot;

	tt_slot_make(&slot, "sequence", &origin);
	tr_nothing(store, "sequence");
	tt_slot_base(&slot, 0, 0, NULL, 0);
	tr_nothing(store, "sequence");
	tt_slot_base(&slot, 7, 4, &(int64_t){ 127 }, 8);
	tr_expect(store, "sequence", 4, 127);
	ts_good(stash__store_look(store, "sequence", &l));
	ck_assert(!l.durable);
	slot.in.page->durable = 7;
	ts_good(stash__store_look(store, "sequence", &l));
	ck_assert(l.durable);
	ck_assert_uint_eq(l.entries, 7);
	tr_put("sequence", 3, 1);
	tr_expect(store, "sequence", 4, 127);
	tt_slot_close(&slot);
	stash_store_close(store);
}
END_TEST

/* What a worker has submitted counts, also while no stash process comes to fold it. */
START_TEST(test_slot_unfolded)
{
	struct stash_store *store = tr_look();
	struct stash__origin origin = tt_origin();
	struct stash__look l;
	struct tt_slot slot;
	unsigned char *broken;

	tt_slot_make(&slot, "sequence", &origin);
	tt_slot_base(&slot, 7, 4, &(int64_t){ 127 }, 8);
	slot.in.page->durable = 7;
	tt_slot_entry(&slot, 8, 5, &(int64_t){ 128 }, 8);
	tr_expect(store, "sequence", 5, 128);
	tt_slot_entry(&slot, 9, 6, &(int64_t){ 129 }, 8);
	tt_slot_entry(&slot, 10, 6, NULL, 0);
	tr_expect(store, "sequence", 6, 129);
	ts_good(stash__store_look(store, "sequence", &l));
	ck_assert(!l.durable);
	ck_assert_uint_gt(l.unfolded, 0);
	/* A broken one ends it; a fenced one was never written. */
	broken = slot.out.ring + slot.out.page->out_tail;
	tt_slot_entry(&slot, 11, 7, &(int64_t){ 130 }, 8);
	broken[40] ^= 1;
	tr_expect(store, "sequence", 6, 129);
	slot.base.fence = 1;
	tt_slot_base(&slot, 7, 4, &(int64_t){ 127 }, 8);
	tr_expect(store, "sequence", 4, 127);
	tt_slot_close(&slot);
	stash_store_close(store);
}
END_TEST

START_TEST(test_slot_strange)
{
	struct stash_store *store = tr_look();
	struct stash__origin other = tt_origin();
	struct stash_state state;
	struct tt_slot slot;

	tr_put("sequence", 3, 126);
	other.boot_id[0] ^= 1;
	tt_slot_make(&slot, "sequence", &other);
	tt_slot_base(&slot, 7, 4, &(int64_t){ 127 }, 8);
	tr_expect(store, "sequence", 3, 126);
	tt_slot_close(&slot);
	other = tt_origin();
	other.store_id[15] ^= 1;
	tt_slot_make(&slot, "sequence", &other);
	tt_slot_base(&slot, 7, 4, &(int64_t){ 127 }, 8);
	tr_expect(store, "sequence", 3, 126);
	tt_slot_close(&slot);
	other = tt_origin();
	tt_slot_make(&slot, "sequence", &other);
	tt_slot_base(&slot, 7, 4, &(int64_t){ 127 }, 8);
	/* A base whose bytes were changed. */
	for (uint64_t at = STASH__IN_BASES + 8; at < slot.in.bytes; at += STASH__PAGE)
		((unsigned char *)slot.in.page)[at + 100] ^= 1;
	ts_bad(stash_store_read(store, "sequence", &state), STASH_E_CORRUPT, "checksum");
	slot.in.page->bases[0] = slot.in.page->bases[1] = STASH__RING(1ull << 40, STASH__PAGE);
	ts_bad(stash_store_read(store, "sequence", &state), STASH_E_CORRUPT, "outside");
	tt_slot_close(&slot);
	stash_store_close(store);
}
END_TEST

START_TEST(test_box)
{
	struct stash_store *store = tr_look();
	struct stash__origin origin = tt_origin();
	struct stash_box box;
	struct tt_slot slot;

	ts_bad(stash_store_box(store, "sequence", &box), STASH_E_NOENT, "sequence");
	tt_slot_make(&slot, "sequence", &origin);
	tt_slot_base(&slot, 7, 4, &(int64_t){ 127 }, 8);
	slot.out.box->phase = STASH__PHASE_CALLBACK;
	slot.out.box->in_hand = STASH__HAND(1, 2, 3);
	slot.out.box->kind = STASH_MSG_CAST;
	slot.out.box->attempt = 2;
	slot.out.box->handled = 55;
	slot.out.box->since = 77;
	memset(slot.out.box->tag, 't', sizeof slot.out.box->tag);
	ts_good(stash_store_box(store, "sequence", &box));
	ck_assert_uint_eq(box.phase, 3);
	ck_assert_uint_eq(box.kind, STASH_MSG_CAST);
	ck_assert_uint_eq(box.attempt, 2);
	ck_assert_uint_eq(box.handled, 55);
	ck_assert_int_eq(box.since_ns, 77);
	ck_assert_uint_eq(strlen(box.tag), STASH_TAG_MAX);
	slot.out.box->in_hand = 0;
	slot.out.box->phase = 99;
	ts_good(stash_store_box(store, "sequence", &box));
	ck_assert_uint_eq(box.phase, 0);
	ck_assert_str_eq(box.tag, "");
	tt_slot_close(&slot);
	stash_store_close(store);
}
END_TEST

/* ---- while somebody writes ---- */

#define IMAGE 3000
#define TURNS 20000

struct writer {
	struct tt_slot slot;
	pthread_t thread;
	int result;
};

/*
 * Every image is full of its version's low byte; half of them come by an entry first. Check is for one thread:
 * here only a result is kept.
 */
static void *
write_much(void *arg)
{
	static const struct stash__row none;
	struct writer *w = arg;
	struct stash__base *base = &w->slot.base;
	unsigned char image[IMAGE];

	for (uint64_t n = 2; n <= TURNS && w->result == STASH_OK; n++) {
		memset(image, (int)(n & 0xff), sizeof image);
		if (n % 2 == 0)
			tt_slot_entry(&w->slot, n, n, image, sizeof image);
		base->out_head = w->slot.out.page->out_tail;
		base->entry = base->changed = base->version = n;
		w->result = stash__base_write(&w->slot.in, base, &none, NULL, image);
		stash__base_turn(&w->slot.in);
		atomic_store(&w->slot.in.page->out_head, base->out_head);
	}
	return NULL;
}

static void
begin_writing(struct writer *w)
{
	struct stash__origin origin = tt_origin();
	unsigned char image[IMAGE];

	memset(image, 1, sizeof image);
	w->result = STASH_OK;
	tt_slot_make(&w->slot, "sequence", &origin);
	/* Both bases get their room before anybody reads. */
	tt_slot_base(&w->slot, 1, 1, image, sizeof image);
	tt_slot_base(&w->slot, 1, 1, image, sizeof image);
	ck_assert_int_eq(pthread_create(&w->thread, NULL, write_much, w), 0);
}

static void
end_writing(struct writer *w)
{
	ck_assert_int_eq(pthread_join(w->thread, NULL), 0);
	ck_assert_int_eq(w->result, STASH_OK);
	tt_slot_close(&w->slot);
}

START_TEST(test_torn)
{
	struct stash_store *store = tr_look();
	struct stash_state state = { .version = 0 };
	unsigned char image[IMAGE];
	uint64_t last = 0, reads = 0;
	struct writer w;

	begin_writing(&w);
	for (; last < TURNS; reads++) {
		ts_good(stash_store_read(store, "sequence", &state));
		memset(image, (int)(state.version & 0xff), sizeof image);
		ck_assert_uint_eq(state.len, IMAGE);
		ck_assert(memcmp(state.data, image, IMAGE) == 0);
		ck_assert_uint_ge(state.version, last);
		last = state.version;
		stash_state_free(&state);
	}
	end_writing(&w);
	ck_assert_uint_gt(reads, 1);
	stash_store_close(store);
}
END_TEST

START_TEST(test_wait)
{
	struct stash_store *store = tr_look();
	int64_t began = stash__now_ns();
	struct writer w;

	ts_bad(stash_store_wait(store, "sequence", 0, 50), STASH_E_TIMEDOUT, "version 0");
	ck_assert_int_ge(stash__now_ns() - began, 50 * STASH__NS_PER_MS);
	tr_put("other", 3, 1);
	ts_good(stash_store_wait(store, "other", 2, 0));
	ts_bad(stash_store_wait(store, "other", 3, 0), STASH_E_TIMEDOUT, "version 3");
	begin_writing(&w);
	ts_good(stash_store_wait(store, "sequence", TURNS - 1, -1));
	end_writing(&w);
	stash_store_close(store);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("reader: slots");
	TCase *tc = t_case(s, "slots", 30);

	tcase_add_test(tc, test_slot);
	tcase_add_test(tc, test_slot_unfolded);
	tcase_add_test(tc, test_slot_strange);
	tcase_add_test(tc, test_box);
	tcase_add_test(tc, test_torn);
	tcase_add_test(tc, test_wait);
	return s;
}

TEST_MAIN(suite)
