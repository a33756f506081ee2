/* SPDX-License-Identifier: ISC */
/*
 * testlib_linear_open.c: see testlib_linear_open.h.
 *
 * On a cell that is only read, written, and compared and exchanged, an open operation whose value no answered
 * operation has seen may be left out: between it and the next change nobody looked.  One whose value was seen, and
 * that alone can have made it, took effect before the first who saw it was answered.  With additions neither holds
 * (each makes a value out of another), so such cells are left as they are, but for open reads, which change nothing.
 */
#include "testlib_linear_open.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct values {
	int64_t *at;
	size_t n;
};

static int
compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static bool
among(const struct values *v, int64_t value)
{
	return bsearch(&value, v->at, v->n, sizeof value, compare) != NULL;
}

/* Whether it has seen the value before it. */
static bool
sees(const struct h_op *op)
{
	return op->fate == H_DONE && (op->kind == H_READ || op->kind == H_CAS);
}

static bool
changes(const struct h_op *op)
{
	return op->kind == H_WRITE || (op->kind == H_CAS && (op->fate == H_OPEN || op->result == op->expected));
}

/* Room for one more value for each operation: an open exchange that counts has seen one, too. */
static struct values
seen_values(const struct h_op *ops, size_t n)
{
	struct values v = { malloc((2 * n + 1) * sizeof *v.at), 0 };

	ck_assert_ptr_nonnull(v.at);
	for (size_t i = 0; i < n; i++)
		if (sees(&ops[i]))
			v.at[v.n++] = ops[i].result;
	qsort(v.at, v.n, sizeof *v.at, compare);
	return v;
}

/* Voids the open ones whose value nobody has seen. */
static void
leave_out(struct h_op *ops, size_t n)
{
	struct values seen = seen_values(ops, n);
	bool *counts = calloc(n + 1, sizeof *counts);
	bool more = true;

	ck_assert_ptr_nonnull(counts);
	while (more) {
		more = false;
		for (size_t i = 0; i < n; i++) {
			if (ops[i].fate != H_OPEN || counts[i] || !among(&seen, ops[i].arg))
				continue;
			counts[i] = true;
			if (ops[i].kind == H_CAS && !among(&seen, ops[i].expected)) {
				seen.at[seen.n++] = ops[i].expected;
				qsort(seen.at, seen.n, sizeof *seen.at, compare);
				more = true;
			}
		}
	}
	for (size_t i = 0; i < n; i++)
		if (ops[i].fate == H_OPEN && !counts[i])
			ops[i].fate = H_VOID;
	free(counts);
	free(seen.at);
}

/* Values that operations make, sorted, each as often as it is made. */
static struct values
made_values(const struct h_op *ops, size_t n, int64_t initial)
{
	struct values v = { malloc((n + 1) * sizeof *v.at), 0 };

	ck_assert_ptr_nonnull(v.at);
	v.at[v.n++] = initial;
	for (size_t i = 0; i < n; i++)
		if (ops[i].fate != H_VOID && changes(&ops[i]))
			v.at[v.n++] = ops[i].arg;
	qsort(v.at, v.n, sizeof *v.at, compare);
	return v;
}

static bool
once(const struct values *v, int64_t value)
{
	const int64_t *at = bsearch(&value, v->at, v->n, sizeof value, compare);

	return at != NULL && (at == v->at || at[-1] != value) && (at + 1 == v->at + v->n || at[1] != value);
}

static void
close_seen(struct h_op *ops, size_t n, int64_t initial)
{
	struct values made = made_values(ops, n, initial);

	for (size_t i = 0; i < n; i++) {
		int64_t first = H_FOREVER;

		if (ops[i].fate != H_OPEN || !once(&made, ops[i].arg))
			continue;
		for (size_t k = 0; k < n; k++)
			if (k != i && sees(&ops[k]) && ops[k].result == ops[i].arg && ops[k].returned < first)
				first = ops[k].returned;
		if (first == H_FOREVER || first < ops[i].invoked)
			continue;
		ops[i].returned = first;
		ops[i].result = ops[i].expected; /* of an exchange: it was made */
		ops[i].fate = H_DONE;
	}
	free(made.at);
}

size_t
linear_settle_open(struct h_op *ops, size_t n, int64_t initial)
{
	bool adds = false;
	size_t left = 0;

	for (size_t i = 0; i < n; i++) {
		adds = adds || (ops[i].kind == H_ADD && ops[i].fate != H_VOID);
		if (ops[i].kind == H_READ && ops[i].fate == H_OPEN)
			ops[i].fate = H_VOID;
	}
	if (!adds) {
		leave_out(ops, n);
		close_seen(ops, n, initial);
	}
	for (size_t i = 0; i < n; i++)
		if (ops[i].fate != H_VOID)
			memmove(&ops[left++], &ops[i], sizeof *ops);
	return left;
}
