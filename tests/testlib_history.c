/* SPDX-License-Identifier: ISC */
/*
 * testlib_history.c: see testlib_history.h.
 */
#include "testlib_history.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"

static size_t
bytes(size_t room)
{
	return sizeof(struct history) + H_CLIENTS * room * sizeof(struct h_op);
}

struct history *
h_make(size_t room)
{
	struct history *h = mmap(
	    NULL, bytes(room), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert_ptr_ne(h, MAP_FAILED);
	h->room = room;
	return h;
}

void
h_free(struct history *h)
{
	munmap(h, bytes(h->room));
}

struct h_op *
h_ask(struct history *h, unsigned client, enum h_kind kind, uint32_t key, int64_t arg, int64_t expected)
{
	size_t i = atomic_load(&h->count[client]);
	struct h_op *op = &h->ops[client * h->room + i];

	if (i >= h->room)
		return NULL;
	*op = (struct h_op){ .returned = H_FOREVER, .arg = arg, .expected = expected, .key = key, .client = client };
	op->kind = (uint8_t)kind;
	op->invoked = stash__now_ns();
	atomic_store(
	    &h->count[client], i + 1); /* before the call goes out: it may be the last that this process does */
	return op;
}

void
h_answer(struct h_op *op, int64_t result)
{
	op->returned = stash__now_ns();
	op->result = result;
	atomic_store(&op->fate, H_DONE);
}

void
h_void(struct h_op *op)
{
	atomic_store(&op->fate, H_VOID);
}

struct h_op *
h_all(const struct history *h, size_t *n)
{
	struct h_op *all;
	size_t total = 0;

	for (unsigned c = 0; c < H_CLIENTS; c++)
		total += atomic_load(&h->count[c]);
	all = malloc((total + 1) * sizeof *all);
	ck_assert_ptr_nonnull(all);
	*n = 0;
	for (unsigned c = 0; c < H_CLIENTS; c++)
		for (size_t i = 0; i < atomic_load(&h->count[c]); i++) {
			memcpy(&all[*n], &h->ops[c * h->room + i], sizeof *all);
			if (all[*n].fate != H_DONE) /* killed between the two */
				all[*n].returned = H_FOREVER;
			(*n)++;
		}
	return all;
}

size_t
h_count(const struct h_op *ops, size_t n, enum h_fate fate)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += ops[i].fate == fate;
	return count;
}

void
h_print(FILE *out, const struct h_op *op)
{
	static const char *const names[] = { "?", "read", "write", "cas", "add" };

	fprintf(out, "client %u: %s", op->client, names[op->kind <= H_ADD ? op->kind : 0]);
	if (op->kind == H_CAS)
		fprintf(out, " %" PRId64 " ->", op->expected);
	if (op->kind != H_READ)
		fprintf(out, " %" PRId64, op->arg);
	if (op->fate == H_DONE && op->kind != H_WRITE)
		fprintf(out, " = %" PRId64, op->result);
	fprintf(out, " [%" PRId64 ", ", op->invoked);
	if (op->fate == H_DONE)
		fprintf(out, "%" PRId64 "]\n", op->returned);
	else
		fprintf(out, "open]\n");
}
