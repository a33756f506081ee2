/* SPDX-License-Identifier: ISC */
/*
 * What it costs to wake another process: an eventfd's ping-pong, the same by
 * spinning, and one way to a process whose core has gone idle.
 */
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/error.h"
#include "shm/bell.h"
#include "stash-bench/prim.h"

#define WARM_DIVISOR 8		     /* of a run's time goes before the measured part */
#define NAP_NS STASH__NS_PER_MS	     /* long enough for a core to go idle */
#define LAST_WAIT_NS STASH__NS_PER_S /* no side waits longer for the other */

enum side { PING = 0, PONG = 1 };

struct pair {
	_Alignas(STASH__LINE) stash__word ping;
	_Alignas(STASH__LINE) stash__word pong;
	_Alignas(STASH__LINE) _Atomic bool over;
	_Alignas(STASH__LINE) _Atomic int64_t sent;
	struct bench_times times;
	/* written before the fork */
	int bells[2], silent;
	enum bench_pin pin;
	int64_t run_ns;
	unsigned rounds;
};

static void
place(const struct pair *pair, unsigned side)
{
	if (pair->pin != BENCH_PIN_NONE)
		(void)bench_pin(0, pair->pin == BENCH_PIN_TWO ? side : 0);
}

/* Waits on its own bell and on a socket on which nothing comes. */
static bool
wait_bell(const struct pair *pair, unsigned side)
{
	struct pollfd fds[2] = { { pair->bells[side], POLLIN, 0 }, { pair->silent, POLLIN, 0 } };
	eventfd_t count;

	if (poll(fds, 2, (int)(LAST_WAIT_NS / STASH__NS_PER_MS)) <= 0)
		return false;
	return read(pair->bells[side], &count, sizeof count) == sizeof count;
}

static bool
ring(const struct pair *pair, unsigned side)
{
	eventfd_t one = 1;

	return write(pair->bells[side], &one, sizeof one) == sizeof one;
}

/* Counts times from the end of the warm-up on; false when the run is over. */
static bool
count(struct pair *pair, int64_t start, int64_t before, int64_t now)
{
	if (now - start > pair->run_ns / WARM_DIVISOR)
		bench_times_add(&pair->times, now - before);
	return now - start < pair->run_ns;
}

/* ---- eventfd ---- */

static int
ping_by_bell(struct pair *pair)
{
	int64_t start = stash__now_ns(), before = start, now;

	for (;;) {
		if (!ring(pair, PONG) || !wait_bell(pair, PING))
			return 1;
		now = stash__now_ns();
		if (!count(pair, start, before, now))
			break;
		before = now;
	}
	atomic_store(&pair->over, true);
	return ring(pair, PONG) ? 0 : 1;
}

static int
pong_by_bell(struct pair *pair)
{
	for (;;) {
		if (!wait_bell(pair, PONG))
			return 1;
		if (atomic_load(&pair->over))
			return 0;
		if (!ring(pair, PING))
			return 1;
	}
}

static int
bell_job(void *arg, unsigned number, struct bench_gate *gate)
{
	struct pair *pair = arg;

	place(pair, number);
	bench_gate_pass(gate);
	return number == PING ? ping_by_bell(pair) : pong_by_bell(pair);
}

/* ---- spinning ---- */

static int
ping_by_spinning(struct pair *pair)
{
	int64_t start = stash__now_ns(), before = start, now;
	uint64_t n = 0;

	for (;;) {
		atomic_store_explicit(&pair->ping, ++n, memory_order_release);
		while (atomic_load_explicit(&pair->pong, memory_order_acquire) != n)
			stash__pause();
		now = stash__now_ns();
		if (!count(pair, start, before, now))
			break;
		before = now;
	}
	atomic_store_explicit(&pair->ping, UINT64_MAX, memory_order_release);
	return 0;
}

static int
pong_by_spinning(struct pair *pair)
{
	uint64_t n = 0, seen;

	for (;;) {
		while ((seen = atomic_load_explicit(&pair->ping, memory_order_acquire)) == n)
			stash__pause();
		if (seen == UINT64_MAX)
			return 0;
		n = seen;
		atomic_store_explicit(&pair->pong, n, memory_order_release);
	}
}

static int
spin_job(void *arg, unsigned number, struct bench_gate *gate)
{
	struct pair *pair = arg;

	place(pair, number);
	bench_gate_pass(gate);
	return number == PING ? ping_by_spinning(pair) : pong_by_spinning(pair);
}

/* ---- one way ---- */

static int
wake_others(struct pair *pair)
{
	for (unsigned i = 0; i < pair->rounds; i++) {
		bench_sleep_ns(NAP_NS);
		atomic_store(&pair->sent, stash__now_ns());
		if (!ring(pair, PONG))
			return 1;
	}
	bench_sleep_ns(NAP_NS);
	atomic_store(&pair->over, true);
	return ring(pair, PONG) ? 0 : 1;
}

static int
be_woken(struct pair *pair)
{
	for (;;) {
		if (!wait_bell(pair, PONG))
			return 1;
		if (atomic_load(&pair->over))
			return 0;
		bench_times_add(&pair->times, stash__now_ns() - atomic_load(&pair->sent));
	}
}

static int
wake_job(void *arg, unsigned number, struct bench_gate *gate)
{
	struct pair *pair = arg;

	place(pair, number);
	bench_gate_pass(gate);
	return number == PING ? wake_others(pair) : be_woken(pair);
}

/* ---- all three ---- */

static int
run_pair(struct pair *pair, bench_job *job, double *ns)
{
	int sockets[2] = { -1, -1 }, error = 0;

	pair->bells[PING] = stash__bell_make();
	pair->bells[PONG] = stash__bell_make();
	if (pair->bells[PING] < 0 || pair->bells[PONG] < 0)
		error = STASH_E_SYSTEM;
	else if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
		error = stash__fail_errno("cannot make a pair of sockets");
	pair->silent = sockets[0];
	if (error == 0)
		error = bench_crew_run(2, job, pair, pair->run_ns);
	for (int i = 0; i < 2; i++) {
		if (pair->bells[i] >= 0)
			close(pair->bells[i]);
		if (sockets[i] >= 0)
			close(sockets[i]);
	}
	*ns = (double)bench_times_at(&pair->times, 0.5);
	return error;
}

static int
measure(const struct pair *like, bench_job *job, double *ns)
{
	struct pair *pair = bench_share(sizeof *pair);
	int error;

	if (pair == NULL)
		return STASH_E_NOMEM;
	pair->pin = like->pin;
	pair->run_ns = like->run_ns;
	pair->rounds = like->rounds;
	error = run_pair(pair, job, ns);
	bench_unshare(pair, sizeof *pair);
	return error;
}

int
bench_prim_pingpong(enum bench_pin pin, int64_t run_ns, double *ns)
{
	return measure(&(struct pair){ .pin = pin, .run_ns = run_ns }, bell_job, ns);
}

int
bench_prim_spin(int64_t run_ns, double *ns)
{
	return measure(&(struct pair){ .pin = BENCH_PIN_TWO, .run_ns = run_ns }, spin_job, ns);
}

int
bench_prim_wake(unsigned rounds, double *ns)
{
	struct pair like = { .pin = BENCH_PIN_TWO, .rounds = rounds, .run_ns = 2 * NAP_NS * rounds };

	return measure(&like, wake_job, ns);
}
