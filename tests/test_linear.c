/* SPDX-License-Identifier: ISC */
/*
 * The checker of histories under test: what is wrong must be rejected, what is odd but right accepted, and on small
 * histories made by chance it agrees with a search that simply tries every order.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "testlib.h"
#include "testlib_linear.h"

#define done(k, a, e, r, from, to) \
	{ \
		.kind = (k), .arg = (a), .expected = (e), .result = (r), .invoked = (from), .returned = (to), \
		.fate = H_DONE \
	}
#define rd(value, from, to) done(H_READ, 0, 0, value, from, to)
#define wr(value, from, to) done(H_WRITE, value, 0, 0, from, to)
#define cas(old, new, was, from, to) done(H_CAS, new, old, was, from, to)
#define add(n, value, from, to) done(H_ADD, n, 0, value, from, to)
#define open(k, a, e, from) \
	{ \
		.kind = (k), .arg = (a), .expected = (e), .invoked = (from), .returned = H_FOREVER, .fate = H_OPEN \
	}
#define none(k, a, from, to) \
	{ \
		.kind = (k), .arg = (a), .invoked = (from), .returned = (to), .fate = H_VOID \
	}

#define OPS 16
static const struct {
	const char *what;
	bool linearizable;
	struct h_op ops[OPS];
} cases[] = {
	{ "read after write", true, { wr(1, 1, 2), rd(1, 3, 4) } },
	{ "stale read", false, { wr(1, 1, 2), rd(0, 3, 4) } },
	{ "stale read beside a write", true, { wr(1, 1, 4), rd(0, 2, 3) } },
	{ "new, then old, beside a write", false, { wr(1, 1, 10), rd(1, 2, 3), rd(0, 4, 5) } },
	{ "old, then new, beside a write", true, { wr(1, 1, 10), rd(0, 2, 3), rd(1, 4, 5) } },
	{ "new and old at the same time", true, { wr(1, 1, 10), rd(1, 2, 5), rd(0, 3, 6) } },
	{ "value from nowhere", false, { wr(1, 1, 2), rd(7, 3, 4) } },
	{ "value from the future", false, { rd(1, 1, 2), wr(1, 3, 4) } },
	{ "lost update", false, { wr(1, 1, 2), wr(2, 3, 4), rd(1, 5, 6) } },
	{ "two writes at a time, two orders seen", false, { wr(1, 1, 4), wr(2, 1, 4), rd(1, 5, 6), rd(2, 7, 8) } },
	{ "two writes at a time, one order seen in two places", true,
	    { wr(1, 1, 8), wr(2, 1, 8), rd(1, 2, 3), rd(2, 4, 5), rd(2, 9, 10) } },
	{ "both readers before either write is answered, crossed", false,
	    { wr(1, 1, 9), wr(2, 1, 9), rd(1, 2, 3), rd(2, 4, 5), rd(1, 6, 7) } },
	{ "open write seen later", true, { open(H_WRITE, 1, 0, 1), rd(0, 2, 3), rd(1, 90, 91) } },
	{ "open write seen and gone", false, { open(H_WRITE, 1, 0, 1), rd(1, 2, 3), rd(0, 4, 5) } },
	{ "open write never seen", true, { open(H_WRITE, 1, 0, 1), rd(0, 2, 3), wr(2, 4, 5), rd(2, 6, 7) } },
	{ "open write seen before it was asked", false, { rd(1, 1, 2), open(H_WRITE, 1, 0, 3) } },
	{ "open write seen, over another", true, { open(H_WRITE, 1, 0, 1), wr(2, 2, 3), rd(2, 4, 5), rd(1, 6, 7) } },
	{ "open write twice", false, { open(H_WRITE, 1, 0, 1), rd(1, 2, 3), wr(2, 4, 5), rd(2, 6, 7), rd(1, 8, 9) } },
	{ "two open writes of one value", true,
	    { open(H_WRITE, 1, 0, 1), open(H_WRITE, 1, 0, 1), rd(1, 2, 3), wr(2, 4, 5), rd(2, 6, 7), rd(1, 8, 9) } },
	{ "void write seen", false, { none(H_WRITE, 1, 1, 2), rd(1, 3, 4) } },
	{ "void write not seen", true, { none(H_WRITE, 1, 1, 2), rd(0, 3, 4) } },
	{ "exchange that did", true, { wr(1, 1, 2), cas(1, 2, 1, 3, 4), rd(2, 5, 6) } },
	{ "exchange that didn't", true, { wr(1, 1, 2), cas(5, 2, 1, 3, 4), rd(1, 5, 6) } },
	{ "both of two exchanges did", false, { cas(0, 1, 0, 1, 4), cas(0, 2, 0, 1, 4) } },
	{ "exchange answered, not done", false, { cas(0, 1, 0, 1, 2), rd(0, 3, 4) } },
	{ "open exchanges in a chain", true, { open(H_CAS, 1, 0, 1), open(H_CAS, 2, 1, 1), rd(0, 2, 3), rd(2, 4, 5) } },
	{ "open exchanges in a broken chain", false,
	    { open(H_CAS, 1, 0, 1), open(H_CAS, 2, 5, 1), rd(1, 2, 3), rd(2, 4, 5) } },
	{ "open exchange needed by an answered one", true, { open(H_CAS, 1, 0, 1), cas(1, 2, 1, 5, 6), rd(2, 7, 8) } },
	{ "counting", true, { add(1, 1, 1, 2), add(1, 2, 3, 4), rd(2, 5, 6) } },
	{ "one number twice", false, { add(1, 1, 1, 4), add(1, 1, 2, 5) } },
	{ "a number skipped", false, { add(1, 1, 1, 2), add(1, 3, 3, 4) } },
	{ "a number skipped beside an open one", true, { open(H_ADD, 1, 0, 1), add(1, 1, 1, 2), add(1, 3, 3, 4) } },
	{ "two skipped, one open", false, { open(H_ADD, 1, 0, 1), add(1, 1, 1, 2), add(1, 4, 3, 4) } },
	{ "skipped before the open one was asked", false, { add(1, 1, 1, 2), add(1, 3, 3, 4), open(H_ADD, 1, 0, 5) } },
	{ "done twice", false, { add(5, 5, 1, 2), rd(10, 3, 4) } },
	{ "numbers in the wrong order", false, { add(1, 2, 1, 2), add(1, 1, 3, 4) } },
	{ "numbers crossed at the same time", true, { add(1, 2, 1, 4), add(1, 1, 2, 3) } },
	{ "different open additions make up a sum", true,
	    { open(H_ADD, 5, 0, 1), open(H_ADD, 3, 0, 1), rd(3, 2, 3), rd(8, 4, 5) } },
	{ "different open additions can't", false,
	    { open(H_ADD, 5, 0, 1), open(H_ADD, 3, 0, 1), rd(3, 2, 3), rd(5, 4, 5) } },
	{ "an open write below an open addition", true, { open(H_WRITE, 5, 0, 1), open(H_ADD, 1, 0, 1), rd(6, 2, 3) } },
	{ "asked at the moment of an answer", true, { wr(1, 1, 2), rd(0, 2, 3) } },
};

/* ---- every order ---- */

static bool
try_all(const struct h_op *ops, size_t n, uint32_t left, int64_t value)
{
	bool must = false;

	for (size_t i = 0; i < n; i++) {
		bool first = true;
		int64_t v = value;

		if ((left >> i & 1) == 0)
			continue;
		must = must || ops[i].fate == H_DONE;
		for (size_t k = 0; k < n && first; k++)
			first = (left >> k & 1) == 0 || ops[k].fate != H_DONE || ops[k].returned >= ops[i].invoked;
		if (first && linear_step(&ops[i], &v) && try_all(ops, n, left & ~(1u << i), v))
			return true;
	}
	return !must;
}

static bool
brute(const struct h_op *ops, size_t n)
{
	uint32_t left = 0;

	for (size_t i = 0; i < n; i++)
		if (ops[i].fate != H_VOID)
			left |= 1u << i;
	return try_all(ops, n, left, 0);
}

static enum linear_verdict
verdict(const struct h_op *ops, size_t n)
{
	return linear_check(ops, n, 0, NULL);
}

START_TEST(test_case)
{
	const struct h_op *ops = cases[_i].ops;
	size_t n = 0;

	while (n < OPS && ops[n].kind != 0)
		n++;
	ck_assert_msg(verdict(ops, n) == (cases[_i].linearizable ? LINEAR_YES : LINEAR_NO), "%s", cases[_i].what);
	ck_assert_msg(brute(ops, n) == cases[_i].linearizable, "%s, by trying every order", cases[_i].what);
}
END_TEST

/* ---- histories of one cell that is what it should be ---- */

static uint64_t seed;

static unsigned
chance(unsigned below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((seed >> 33) % below);
}

struct sim {
	unsigned clients, kinds; /* kinds: bits of H_* */
	unsigned values;	 /* written ones, small: many twice; 0: each one new */
	unsigned lost;		 /* one in so many is open; 0: none */
	int64_t value, fresh;
};

static void
sim_ask(struct sim *s, struct h_op *op, unsigned client, int64_t now)
{
	do
		op->kind = (uint8_t)(1 + chance(4));
	while ((s->kinds >> op->kind & 1) == 0);
	op->invoked = now;
	op->returned = H_FOREVER;
	op->client = client;
	op->key = 0;
	op->fate = H_OPEN;
	op->result = 0;
	op->arg = op->kind == H_ADD ? 1 + (int64_t)chance(2) : s->values > 0 ? (int64_t)chance(s->values) : ++s->fresh;
	op->expected = op->kind != H_CAS ? 0 : chance(3) > 0 || s->values == 0 ? s->value : (int64_t)chance(s->values);
}

static void
sim_do(struct sim *s, struct h_op *op)
{
	op->result = op->kind == H_WRITE ? 0 : s->value;
	(void)linear_step(op, &s->value); /* an open one: done for certain */
	if (op->kind == H_ADD)
		op->result = s->value;
}

/* n operations by that many clients, in the order of their invocation. */
static void
simulate(struct sim *s, struct h_op *ops, size_t n)
{
	struct {
		struct h_op *op;
		bool did;
	} client[16] = { { 0 } };
	size_t asked = 0, busy = 0;
	int64_t now = 0;

	while (asked < n || busy > 0) {
		unsigned c = chance(s->clients);

		now += 1 + chance(2);
		if (client[c].op == NULL) {
			if (asked == n)
				continue;
			client[c].op = &ops[asked++];
			client[c].did = false;
			sim_ask(s, client[c].op, c, now);
			busy++;
		} else if (s->lost > 0 && chance(s->lost) == 0) {
			client[c].op = NULL; /* done already or not: nobody will know */
			busy--;
		} else if (!client[c].did) {
			sim_do(s, client[c].op);
			client[c].did = true;
		} else {
			client[c].op->returned = now;
			client[c].op->fate = H_DONE;
			client[c].op = NULL;
			busy--;
		}
	}
}

/* Something else was seen, or at another time. */
static void
mutate(struct h_op *ops, size_t n)
{
	struct h_op *op = &ops[chance((unsigned)n)];

	switch (chance(5)) {
	case 0:
		op->result += (int64_t)chance(3) - 1;
		break;
	case 1:
		op->arg += 1;
		break;
	case 2:
		op->result = ops[chance((unsigned)n)].result;
		break;
	case 3:
		op->fate = op->fate == H_DONE ? H_VOID : H_OPEN;
		break;
	default:
		if (op->fate == H_DONE && op->returned - op->invoked > 1)
			op->invoked = op->returned - 1;
		break;
	}
}

static void
compare_with_brute(unsigned kinds, unsigned values, unsigned lost)
{
	unsigned right = 0, wrong = 0;

	for (unsigned i = 0; i < 6000; i++) {
		struct sim s = { .clients = 2 + chance(3), .kinds = kinds, .values = values, .lost = lost };
		size_t n = 3 + chance(6);
		struct h_op ops[OPS];
		uint64_t from = seed;
		bool expected;

		simulate(&s, ops, n);
		ck_assert_msg(verdict(ops, n) == LINEAR_YES, "seed %llu: refused", (unsigned long long)from);
		for (unsigned k = 0; k < 1 + i % 2; k++)
			mutate(ops, n);
		expected = brute(ops, n);
		ck_assert_msg(verdict(ops, n) == (expected ? LINEAR_YES : LINEAR_NO), "seed %llu: %s",
		    (unsigned long long)from, expected ? "right, and refused" : "wrong, and not noticed");
		right += expected;
		wrong += !expected;
	}
	ck_assert_uint_gt(right, 300);
	ck_assert_uint_gt(wrong, 300);
}

#define KIND(k) (1u << (k))
#define REGISTER (KIND(H_READ) | KIND(H_WRITE) | KIND(H_CAS))
#define COUNTER (KIND(H_READ) | KIND(H_ADD))
#define EVERYTHING (REGISTER | KIND(H_ADD))

START_TEST(test_registers_by_chance)
{
	seed = 11;
	compare_with_brute(REGISTER, 3, 0);
	compare_with_brute(REGISTER, 3, 6);
	compare_with_brute(REGISTER, 0, 6);
	compare_with_brute(REGISTER, 6, 4);
}
END_TEST

START_TEST(test_counters_by_chance)
{
	seed = 12;
	compare_with_brute(COUNTER, 0, 0);
	compare_with_brute(COUNTER, 0, 6);
	compare_with_brute(COUNTER, 0, 3);
}
END_TEST

START_TEST(test_everything_by_chance)
{
	seed = 13;
	compare_with_brute(EVERYTHING, 4, 0);
	compare_with_brute(EVERYTHING, 4, 5);
}
END_TEST

/* ---- long ones ---- */

enum { LONG = 60000 };

/* Of this process: what others do on the machine doesn't count. */
static int64_t
processor_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * STASH__NS_PER_S + t.tv_nsec;
}

/* Accepted as it is; refused once one thing in its midst is wrong; all within a bound that tests can live with. */
static void
long_one(unsigned kinds, unsigned values, unsigned lost, bool (*spoil)(struct h_op *ops, size_t n))
{
	struct sim s = { .clients = 8, .kinds = kinds, .values = values, .lost = lost };
	struct h_op *ops = calloc(LONG, sizeof *ops);
	int64_t began = processor_ns();
	bool spoilt = false;

	ck_assert_ptr_nonnull(ops);
	simulate(&s, ops, LONG);
	ck_assert_int_eq(linear_check(ops, LONG, 0, stderr), LINEAR_YES);
	for (size_t i = LONG / 2; i < LONG - 100 && !spoilt; i++)
		spoilt = spoil(&ops[i], 50);
	ck_assert(spoilt);
	ck_assert_int_eq(verdict(ops, LONG), LINEAR_NO);
	ck_assert_int_lt(processor_ns() - began, 10 * t_patience() * STASH__NS_PER_S);
	free(ops);
}

/* A read sees what was there before a write that was answered before it was asked. */
static bool
spoil_stale(struct h_op *ops, size_t n)
{
	if (ops[0].kind != H_WRITE || ops[0].fate != H_DONE)
		return false;
	for (size_t i = 1; i < n; i++)
		if (ops[i].kind == H_READ && ops[i].fate == H_DONE && ops[i].result == ops[0].arg)
			for (size_t k = i + 1; k < n; k++)
				if (ops[k].kind == H_READ && ops[k].fate == H_DONE &&
				    ops[k].invoked > ops[i].returned && ops[k].result != ops[i].result) {
					ops[k + 1] = ops[k];
					ops[k + 1].invoked = ops[k].returned + 1;
					ops[k + 1].returned = ops[k + 1].invoked + 1;
					ops[k + 1].result = ops[i].result;
					return true;
				}
	return false;
}

/* An exchange that did, and was seen, has not. */
static bool
spoil_lost(struct h_op *ops, size_t n)
{
	if (ops[0].kind != H_CAS || ops[0].fate != H_DONE || ops[0].result != ops[0].expected)
		return false;
	for (size_t i = 1; i < n; i++)
		if (ops[i].kind == H_READ && ops[i].fate == H_DONE && ops[i].result == ops[0].arg) {
			ops[0].arg = -1;
			return true;
		}
	return false;
}

/* An addition counts twice. */
static bool
spoil_twice(struct h_op *ops, size_t n)
{
	(void)n;
	if (ops[0].kind != H_ADD || ops[0].fate != H_DONE)
		return false;
	ops[0].arg *= 2;
	return true;
}

/* Two additions, one after the other, have each other's answers. */
static bool
spoil_order(struct h_op *ops, size_t n)
{
	if (ops[0].kind != H_ADD || ops[0].fate != H_DONE)
		return false;
	for (size_t i = 1; i < n; i++)
		if (ops[i].kind == H_ADD && ops[i].fate == H_DONE && ops[i].invoked > ops[0].returned &&
		    ops[i].arg == ops[0].arg) {
			int64_t result = ops[0].result;

			ops[0].result = ops[i].result;
			ops[i].result = result;
			return true;
		}
	return false;
}

START_TEST(test_long_registers)
{
	seed = 21;
	long_one(REGISTER, 0, 0, spoil_lost);
	long_one(REGISTER, 0, 300, spoil_stale);
	long_one(REGISTER, 0, 300, spoil_lost);
}
END_TEST

START_TEST(test_long_counters)
{
	seed = 22;
	long_one(COUNTER, 0, 0, spoil_twice);
	long_one(COUNTER, 0, 0, spoil_order);
	long_one(COUNTER, 0, 1000, spoil_order);
}
END_TEST

/* Keys are decided each alone: one wrong one among right ones is enough. */
START_TEST(test_keys)
{
	struct h_op ops[] = { wr(1, 1, 2), rd(1, 3, 4), wr(2, 1, 2), rd(2, 3, 4), rd(1, 5, 6) };

	for (size_t i = 2; i < 4; i++)
		ops[i].key = 7;
	ck_assert_int_eq(verdict(ops, 5), LINEAR_YES);
	ops[4].key = 7;
	ck_assert_int_eq(verdict(ops, 5), LINEAR_NO);
}
END_TEST

/* More than it can decide is said, not guessed. */
START_TEST(test_undecided)
{
	struct h_op ops[70];

	for (int i = 0; i < 70; i++)
		ops[i] = (struct h_op)wr(i, 1, 2);
	ck_assert_int_eq(verdict(ops, 70), LINEAR_UNDECIDED);
}
END_TEST

/* What a client process leaves behind that was killed in the midst of a call. */
START_TEST(test_recorder)
{
	struct history *h = h_make(3);
	struct h_op *op = h_ask(h, 4, H_WRITE, 2, 5, 0), *all;
	size_t n;

	h_answer(op, 0);
	h_void(h_ask(h, 4, H_CAS, 2, 6, 5));
	ck_assert_ptr_nonnull(h_ask(h, 9, H_ADD, 2, 1, 0));
	ck_assert_ptr_nonnull(h_ask(h, 4, H_READ, 2, 0, 0));
	ck_assert_ptr_null(h_ask(h, 4, H_READ, 2, 0, 0));
	all = h_all(h, &n);
	ck_assert_uint_eq(n, 4);
	ck_assert_uint_eq(h_count(all, n, H_DONE), 1);
	ck_assert_uint_eq(h_count(all, n, H_VOID), 1);
	ck_assert_uint_eq(h_count(all, n, H_OPEN), 2);
	ck_assert_int_le(all[0].invoked, all[0].returned);
	ck_assert_int_eq(all[3].client, 9);
	ck_assert_int_eq(all[3].returned, H_FOREVER);
	free(all);
	h_free(h);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("linear");
	TCase *c = t_case(s, "linear", 60);

	tcase_add_loop_test(c, test_case, 0, sizeof cases / sizeof *cases);
	tcase_add_test(c, test_registers_by_chance);
	tcase_add_test(c, test_counters_by_chance);
	tcase_add_test(c, test_everything_by_chance);
	tcase_add_test(c, test_long_registers);
	tcase_add_test(c, test_long_counters);
	tcase_add_test(c, test_keys);
	tcase_add_test(c, test_undecided);
	tcase_add_test(c, test_recorder);
	return s;
}

TEST_MAIN(suite)
