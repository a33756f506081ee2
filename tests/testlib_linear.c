/* SPDX-License-Identifier: ISC */
/*
 * testlib_linear.c: see testlib_linear.h.
 *
 * The search of Wing and Gong in the order of time, with Lowe's two remedies against its growth: nothing is placed
 * before it has to be (when the answer of X arrives, X must have had its moment: only sequences of waiting operations
 * that end with X are tried), and what was reached once is not tried again.  What has been reached is a set of
 * configurations: the cell's value, which of the waiting operations have had their moment, and how many open ones of
 * each class have been used.  Open operations that do the same are one class, and a configuration that has used more
 * of them than another one has, all else equal, is dropped.  Looks (reads, exchanges that didn't) are placed as soon
 * as the value is theirs, since that is never a loss.  The history is not linearizable when no configuration is left.
 */
#include "testlib_linear.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "testlib_linear_open.h"

enum {
	WAITING = 64,	/* operations at a time */
	CLASSES = 64,	/* of open operations */
	STEPS = 400000, /* configurations tried for one answer; more: undecided */
	SHOWN = 12	/* lines of an explanation */
};

struct conf {
	int64_t value;
	uint64_t placed; /* bits of struct cell's waiting */
	uint16_t used[CLASSES];
};

struct set {
	struct conf *at;
	size_t n, room;
	uint32_t *table; /* place + 1; 0: free */
	size_t slots;
};

struct event {
	int64_t time;
	uint32_t op;
	bool answer;
};

struct cell {
	struct h_op *ops;
	size_t n;
	struct event *events;
	size_t nevents;
	const struct h_op *waiting[WAITING]; /* NULL: a free place */
	struct h_op classes[CLASSES];
	uint16_t available[CLASSES];
	unsigned nclasses;
	struct set now, next, tried;
};

bool
linear_step(const struct h_op *op, int64_t *value)
{
	switch (op->kind) {
	case H_READ:
		return op->fate == H_OPEN || op->result == *value;
	case H_WRITE:
		*value = op->arg;
		return true;
	case H_CAS:
		if (op->fate != H_OPEN && op->result != *value)
			return false;
		if (*value == op->expected)
			*value = op->arg;
		return true;
	default:
		if (op->fate != H_OPEN && op->result != *value + op->arg)
			return false;
		*value += op->arg;
		return true;
	}
}

/* ---- sets of configurations ---- */

static size_t
conf_bytes(const struct cell *c)
{
	return offsetof(struct conf, used) + c->nclasses * sizeof(uint16_t);
}

static uint32_t
hash(const struct cell *c, const struct conf *f)
{
	uint64_t h = (uint64_t)f->value * 0x9e3779b97f4a7c15u ^ f->placed;

	for (unsigned i = 0; i < c->nclasses; i++)
		h = (h ^ f->used[i]) * 0x100000001b3u;
	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9u;
	return (uint32_t)(h ^ h >> 32);
}

static void
set_clear(struct set *s)
{
	if (s->slots > 1024 && s->n < s->slots / 16)
		s->slots = 1024;
	if (s->slots > 0)
		memset(s->table, 0, s->slots * sizeof *s->table);
	s->n = 0;
}

static void
table_grow(const struct cell *c, struct set *s)
{
	s->slots = s->slots > 0 ? 4 * s->slots : 128;
	s->table = realloc(s->table, s->slots * sizeof *s->table);
	ck_assert_ptr_nonnull(s->table);
	memset(s->table, 0, s->slots * sizeof *s->table);
	for (size_t i = 0; i < s->n; i++) {
		size_t at = hash(c, &s->at[i]) % s->slots;

		while (s->table[at] != 0)
			at = (at + 1) % s->slots;
		s->table[at] = (uint32_t)i + 1;
	}
}

static void
set_add(const struct cell *c, struct set *s, const struct conf *f)
{
	size_t at;

	if (2 * s->n >= s->slots)
		table_grow(c, s);
	if (s->n == s->room) {
		s->room = s->room > 0 ? 2 * s->room : 32;
		s->at = realloc(s->at, s->room * sizeof *s->at);
		ck_assert_ptr_nonnull(s->at);
	}
	for (at = hash(c, f) % s->slots; s->table[at] != 0; at = (at + 1) % s->slots)
		if (memcmp(&s->at[s->table[at] - 1], f, conf_bytes(c)) == 0)
			return;
	memcpy(&s->at[s->n], f, conf_bytes(c));
	s->table[at] = (uint32_t)++s->n;
}

static void
set_free(struct set *s)
{
	free(s->at);
	free(s->table);
}

/* Whether a can do all that b can: the same, but for open operations that b has used. */
static bool
as_good(const struct cell *c, const struct conf *a, const struct conf *b)
{
	if (a->value != b->value || a->placed != b->placed)
		return false;
	for (unsigned i = 0; i < c->nclasses; i++)
		if (a->used[i] > b->used[i])
			return false;
	return true;
}

static void
drop_worse(const struct cell *c, struct set *s)
{
	size_t left = 0;

	if (c->nclasses == 0 || s->n > 2000)
		return;
	for (size_t i = 0; i < s->n; i++) {
		bool worse = false;

		/* Those behind i are as they were, those before it are the ones that are left. */
		for (size_t k = 0; k < s->n && !worse; k++)
			if (k < left || k > i)
				worse = as_good(c, &s->at[k], &s->at[i]);
		if (!worse)
			memmove(&s->at[left++], &s->at[i], conf_bytes(c));
	}
	s->n = left; /* its table isn't needed any more */
}

/* ---- the search ---- */

static bool
is_look(const struct h_op *op)
{
	return op->kind == H_READ || (op->kind == H_CAS && op->result != op->expected);
}

static void
place_looks(const struct cell *c, struct conf *f)
{
	for (unsigned i = 0; i < WAITING; i++)
		if (c->waiting[i] != NULL && (f->placed >> i & 1) == 0 && is_look(c->waiting[i]) &&
		    c->waiting[i]->result == f->value)
			f->placed |= UINT64_C(1) << i;
}

/* A configuration was reached: X, at place x, has had its moment in it, or it is to be gone on from. */
static void
reached(struct cell *c, struct conf *f, unsigned x)
{
	place_looks(c, f);
	if ((f->placed >> x & 1) == 0) {
		set_add(c, &c->tried, f);
		return;
	}
	f->placed &= ~(UINT64_C(1) << x);
	set_add(c, &c->next, f);
}

static void
go_on_from(struct cell *c, const struct conf *from, unsigned x)
{
	struct conf f;

	for (unsigned i = 0; i < WAITING; i++) {
		memcpy(&f, from, conf_bytes(c));
		if (c->waiting[i] == NULL || (f.placed >> i & 1) != 0 || !linear_step(c->waiting[i], &f.value))
			continue;
		f.placed |= UINT64_C(1) << i;
		reached(c, &f, x);
	}
	for (unsigned i = 0; i < c->nclasses; i++) {
		memcpy(&f, from, conf_bytes(c));
		if (f.used[i] == c->available[i] || !linear_step(&c->classes[i], &f.value) || f.value == from->value)
			continue;
		f.used[i]++;
		reached(c, &f, x);
	}
}

/* X, at place x, is answered.  False: too many ways. */
static bool
answer(struct cell *c, unsigned x)
{
	struct set old;
	struct conf f;

	set_clear(&c->next);
	set_clear(&c->tried);
	for (size_t i = 0; i < c->now.n; i++) {
		memcpy(&f, &c->now.at[i], conf_bytes(c));
		reached(c, &f, x);
	}
	for (size_t i = 0; i < c->tried.n && c->tried.n < STEPS && c->next.n < STEPS; i++) {
		memcpy(&f, &c->tried.at[i], conf_bytes(c)); /* the set may move */
		go_on_from(c, &f, x);
	}
	if (c->tried.n >= STEPS || c->next.n >= STEPS)
		return false;
	if (c->next.n == 0)
		return true; /* c->now is kept for the explanation */
	drop_worse(c, &c->next);
	old = c->now;
	c->now = c->next;
	c->next = old;
	c->waiting[x] = NULL;
	return true;
}

/* An operation is asked.  False: too many at a time, or of too many kinds. */
static bool
ask(struct cell *c, const struct h_op *op)
{
	unsigned i;

	if (op->fate == H_OPEN) {
		for (i = 0; i < c->nclasses; i++)
			if (c->classes[i].kind == op->kind && c->classes[i].arg == op->arg &&
			    c->classes[i].expected == op->expected)
				break;
		return c->available[i]++ < UINT16_MAX;
	}
	for (i = 0; i < WAITING && c->waiting[i] != NULL; i++)
		;
	if (i == WAITING)
		return false;
	c->waiting[i] = op;
	for (size_t k = 0; k < c->now.n; k++)
		place_looks(c, &c->now.at[k]);
	return true;
}

static void
explain(const struct cell *c, const struct h_op *x, const char *verdict, FILE *out)
{
	unsigned shown = 0;

	if (out == NULL)
		return;
	fprintf(out, "key %u: %s at the answer of\n  ", x->key, verdict);
	h_print(out, x);
	fprintf(out, "the cell may have been");
	for (size_t i = 0; i < c->now.n && i < SHOWN; i++)
		fprintf(out, " %" PRId64, c->now.at[i].value);
	fprintf(out, " (%zu ways to it); at the same time\n", c->now.n);
	for (unsigned i = 0; i < WAITING && shown < SHOWN; i++)
		if (c->waiting[i] != NULL && c->waiting[i] != x) {
			fprintf(out, "  ");
			h_print(out, c->waiting[i]);
			shown++;
		}
	for (unsigned i = 0; i < c->nclasses && shown < SHOWN; i++)
		if (c->available[i] > 0) {
			fprintf(out, "  %u open like ", c->available[i]);
			h_print(out, &c->classes[i]);
			shown++;
		}
}

static enum linear_verdict
search(struct cell *c, FILE *why)
{
	for (size_t i = 0; i < c->nevents; i++) {
		const struct h_op *op = &c->ops[c->events[i].op];
		unsigned x = 0;

		if (!c->events[i].answer) {
			if (!ask(c, op)) {
				explain(c, op, "too many at a time: undecided", why);
				return LINEAR_UNDECIDED;
			}
			continue;
		}
		while (c->waiting[x] != op)
			x++;
		if (!answer(c, x)) {
			explain(c, op, "too many ways: undecided", why);
			return LINEAR_UNDECIDED;
		}
		if (c->next.n == 0 && c->waiting[x] == op) {
			explain(c, op, "no order explains it", why);
			return LINEAR_NO;
		}
	}
	return LINEAR_YES;
}

/* ---- one cell's history ---- */

static int
compare_events(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	if (x->answer != y->answer)
		return x->answer ? 1 : -1; /* asked at the moment of another's answer: at the same time */
	return (x->op > y->op) - (x->op < y->op);
}

/* False: more classes than there is room for. */
static bool
classify(struct cell *c, const struct h_op *op)
{
	for (unsigned i = 0; i < c->nclasses; i++)
		if (c->classes[i].kind == op->kind && c->classes[i].arg == op->arg &&
		    c->classes[i].expected == op->expected)
			return true;
	if (c->nclasses == CLASSES)
		return false;
	memcpy(&c->classes[c->nclasses++], op, sizeof *op);
	return true;
}

/* LINEAR_YES: ready for the search. */
static enum linear_verdict
prepare(struct cell *c, int64_t initial, FILE *why)
{
	struct conf first = { .value = initial };

	c->n = linear_settle_open(c->ops, c->n, initial);
	c->events = calloc(2 * c->n + 1, sizeof *c->events);
	ck_assert_ptr_nonnull(c->events);
	for (size_t i = 0; i < c->n; i++) {
		const struct h_op *op = &c->ops[i];

		if (op->fate == H_OPEN && !classify(c, op)) {
			explain(c, op, "too many different open operations: undecided", why);
			return LINEAR_UNDECIDED;
		}
		ck_assert_msg(op->fate == H_OPEN || op->returned >= op->invoked, "answered before it was asked");
		c->events[c->nevents++] = (struct event){ op->invoked, (uint32_t)i, false };
		if (op->fate == H_DONE)
			c->events[c->nevents++] = (struct event){ op->returned, (uint32_t)i, true };
	}
	qsort(c->events, c->nevents, sizeof *c->events, compare_events);
	set_add(c, &c->now, &first);
	return LINEAR_YES;
}

static enum linear_verdict
check_cell(struct h_op *ops, size_t n, int64_t initial, FILE *why)
{
	struct cell *c = calloc(1, sizeof *c);
	enum linear_verdict verdict;

	ck_assert_ptr_nonnull(c);
	c->ops = ops;
	c->n = n;
	verdict = prepare(c, initial, why);
	if (verdict == LINEAR_YES)
		verdict = search(c, why);
	set_free(&c->now);
	set_free(&c->next);
	set_free(&c->tried);
	free(c->events);
	free(c);
	return verdict;
}

static int
compare_keys(const void *a, const void *b)
{
	const struct h_op *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return (x->invoked > y->invoked) - (x->invoked < y->invoked);
}

enum linear_verdict
linear_check(const struct h_op *ops, size_t n, int64_t initial, FILE *why)
{
	struct h_op *copy = malloc((n + 1) * sizeof *copy);
	enum linear_verdict verdict = LINEAR_YES;

	ck_assert_ptr_nonnull(copy);
	if (n > 0)
		memcpy(copy, ops, n * sizeof *copy);
	qsort(copy, n, sizeof *copy, compare_keys);
	for (size_t i = 0, end; i < n && verdict == LINEAR_YES; i = end) {
		for (end = i; end < n && copy[end].key == copy[i].key; end++)
			;
		verdict = check_cell(&copy[i], end - i, initial, why);
	}
	free(copy);
	return verdict;
}
