/* SPDX-License-Identifier: ISC */
/*
 * A prototype of calls over shared memory, as bare as it can be and still be
 * right: a ring of requests and a ring of replies for each client, a futex for
 * each side. No checksums, no deadlines, no state, no submit ring, nothing that
 * survives anybody's death. It is what the shape itself costs.
 */
#include <sys/syscall.h>

#include <linux/futex.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "shm/format.h"
#include "stash-bench/prim.h"

#define ROOM 16
#define WARM_DIVISOR 8

struct lane {
	_Alignas(STASH__LINE) stash__word req_tail;
	stash__half asleep; /* the client */
	uint64_t req[ROOM];
	_Alignas(STASH__LINE) stash__word rep_tail;
	uint64_t rep[ROOM];
	_Alignas(STASH__LINE) struct bench_times times;
	uint64_t calls;
	double rate;
};

struct proto {
	_Alignas(STASH__LINE) stash__half asleep;    /* the worker */
	_Alignas(STASH__LINE) _Atomic unsigned over; /* clients that are done */
	unsigned clients;
	int64_t run_ns;
	struct lane lanes[];
};

static void
sleep_on(stash__half *asleep)
{
	/* Bounded, so that nobody waits for a process that failed. */
	struct timespec second = { .tv_sec = 1 };

	(void)syscall(SYS_futex, asleep, FUTEX_WAIT, 1, &second, NULL, 0);
	atomic_store(asleep, 0);
}

static void
wake(stash__half *asleep)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(asleep, memory_order_relaxed) == 0)
		return;
	atomic_store(asleep, 0);
	(void)syscall(SYS_futex, asleep, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* ---- the worker ---- */

/* Handles what is there in all rings, then publishes it: how many. */
static unsigned
pass(struct proto *proto, uint64_t *seen, uint64_t *counter)
{
	unsigned n = 0;

	for (unsigned i = 0; i < proto->clients; i++) {
		struct lane *lane = &proto->lanes[i];
		uint64_t tail = atomic_load_explicit(&lane->req_tail, memory_order_acquire);

		for (; seen[i] != tail; seen[i]++, n++) {
			*counter += lane->req[seen[i] % ROOM];
			lane->rep[seen[i] % ROOM] = *counter;
		}
	}
	for (unsigned i = 0; n > 0 && i < proto->clients; i++) {
		struct lane *lane = &proto->lanes[i];

		if (atomic_load_explicit(&lane->rep_tail, memory_order_relaxed) == seen[i])
			continue;
		atomic_store_explicit(&lane->rep_tail, seen[i], memory_order_release);
		wake(&lane->asleep);
	}
	return n;
}

static int
serve(struct proto *proto)
{
	uint64_t seen[BENCH_CLIENTS_MAX] = { 0 }, counter = 0;

	while (atomic_load(&proto->over) < proto->clients) {
		if (pass(proto, seen, &counter) > 0)
			continue;
		atomic_store(&proto->asleep, 1);
		atomic_thread_fence(memory_order_seq_cst);
		if (pass(proto, seen, &counter) > 0 || atomic_load(&proto->over) >= proto->clients)
			atomic_store(&proto->asleep, 0);
		else
			sleep_on(&proto->asleep);
	}
	return 0;
}

/* ---- a client ---- */

static uint64_t
call(struct proto *proto, struct lane *lane, uint64_t n)
{
	lane->req[n % ROOM] = 1;
	atomic_store_explicit(&lane->req_tail, n + 1, memory_order_release);
	wake(&proto->asleep);
	for (;;) {
		if (atomic_load_explicit(&lane->rep_tail, memory_order_acquire) == n + 1)
			break;
		atomic_store(&lane->asleep, 1);
		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_load_explicit(&lane->rep_tail, memory_order_acquire) != n + 1)
			sleep_on(&lane->asleep);
		else
			atomic_store(&lane->asleep, 0);
	}
	return lane->rep[n % ROOM];
}

static int
ask(struct proto *proto, struct lane *lane)
{
	int64_t start = stash__now_ns(), before = start, now = start, from = 0;
	uint64_t counted = 0, last = 0, number;

	while (now - start < proto->run_ns) {
		number = call(proto, lane, lane->calls++);
		if (number <= last)
			return 1;
		last = number;
		now = stash__now_ns();
		if (now - start > proto->run_ns / WARM_DIVISOR) {
			from = counted++ == 0 ? before : from;
			bench_times_add(&lane->times, now - before);
		}
		before = now;
	}
	lane->rate = now > from ? (double)counted * 1e9 / (double)(now - from) : 0;
	atomic_fetch_add(&proto->over, 1);
	wake(&proto->asleep);
	return 0;
}

static int
job(void *arg, unsigned number, struct bench_gate *gate)
{
	struct proto *proto = arg;

	bench_gate_pass(gate);
	return number == 0 ? serve(proto) : ask(proto, &proto->lanes[number - 1]);
}

static void
sum_up(const struct proto *proto, struct bench_times *times, struct bench_ring *ring)
{
	memset(ring, 0, sizeof *ring);
	for (unsigned i = 0; i < proto->clients; i++) {
		ring->rate += proto->lanes[i].rate;
		bench_times_merge(times, &proto->lanes[i].times);
	}
	ring->p50 = (double)bench_times_at(times, 0.5);
	ring->p99 = (double)bench_times_at(times, 0.99);
	ring->max = (double)times->max;
}

int
bench_prim_ring(unsigned clients, int64_t run_ns, struct bench_ring *ring)
{
	size_t bytes = sizeof(struct proto) + clients * sizeof(struct lane);
	struct proto *proto = bench_share(bytes);
	struct bench_times times = { 0 };
	int error;

	if (proto == NULL)
		return STASH_E_NOMEM;
	proto->clients = clients;
	proto->run_ns = run_ns;
	error = bench_crew_run(clients + 1, job, proto, run_ns);
	if (error == 0)
		sum_up(proto, &times, ring);
	bench_unshare(proto, bytes);
	return error;
}
