/* SPDX-License-Identifier: ISC */
/*
 * Bells: a search for a lost wake-up, and that a ring never blocks.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "shm/bell.h"
#include "testlib.h"

/*
 * The waker publishes at every distance from the moment at which the sleeper goes to sleep, each of them on a
 * core of its own.  With one of the two fences of bell.h taken out, this finds a loss.
 */
struct search {
	_Alignas(64) stash__word tail;
	_Alignas(64) stash__word head;
	_Alignas(64) stash__half asleep;
	_Alignas(64) stash__half lost;
};

#define ROUNDS 1000000

static void
delay(uint64_t steps)
{
	for (volatile uint64_t spin = steps; spin > 0; spin--)
		;
}

static void
run_on(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	(void)sched_setaffinity(0, sizeof set, &set); /* on a machine of one core it searches less well */
}

static void
sleeper(struct search *s, int bell)
{
	for (uint64_t n = 1; n <= ROUNDS; n++) {
		while (atomic_load_explicit(&s->tail, memory_order_acquire) < n) {
			stash__bell_doze(&s->asleep);
			if (atomic_load_explicit(&s->tail, memory_order_relaxed) < n &&
			    stash__bell_poll(bell, -1, -1, stash__now_ns() + 10 * STASH__NS_PER_S) == 0 &&
			    atomic_load(&s->tail) >= n) {
				atomic_store(&s->lost, 1); /* it has been there for long, and nobody rang */
				atomic_store(&s->head, ROUNDS);
				return;
			}
			stash__bell_rise(&s->asleep);
		}
		atomic_store_explicit(&s->head, n, memory_order_release);
		delay(n % 97);
	}
}

static void
waker(struct search *s, int bell)
{
	for (uint64_t n = 1; n <= ROUNDS && atomic_load(&s->lost) == 0; n++) {
		while (atomic_load_explicit(&s->head, memory_order_acquire) < n - 1)
			;
		delay(n / 97 % 5);
		atomic_store_explicit(&s->tail, n, memory_order_release);
		stash__bell_wake(&s->asleep, bell);
	}
}

START_TEST(test_no_wakeup_is_lost)
{
	struct search *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int bell = stash__bell_make(), status;
	pid_t pid = fork();

	if (pid == 0) {
		run_on(1);
		waker(s, bell);
		_exit(0);
	}
	run_on(0);
	sleeper(s, bell);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(s->lost, 0);
	close(bell);
	munmap(s, sizeof *s);
}
END_TEST

START_TEST(test_ring_never_blocks)
{
	uint64_t most = UINT64_MAX - 2;
	int bell = stash__bell_make();

	ck_assert_int_eq(write(bell, &most, sizeof most), sizeof most);
	for (int i = 0; i < 3; i++)
		stash__bell_ring(bell);
	ck_assert_int_eq(stash__bell_poll(bell, -1, -1, 0), 1);
	ck_assert_int_eq(stash__bell_poll(bell, -1, -1, 0), 0);
	close(bell);
}
END_TEST

/* The bell of a worker is a fifo: a full one rings, whoever has filled it, and is empty after one clearing. */
START_TEST(test_fifo_never_blocks)
{
	int dir = open(t_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), bell = stash__bell_open(dir, "w.fifo"), other;

	ck_assert_int_ge(bell, 0);
	other = stash__bell_open(dir, "w.fifo");
	ck_assert_int_ge(other, 0);
	ck_assert(!stash__bell_is_one(bell));
	for (int i = 0; i < 100000; i++)
		stash__bell_ring(other);
	ck_assert_int_eq(stash__bell_poll(bell, -1, -1, 0), 1);
	ck_assert_int_eq(stash__bell_poll(bell, -1, -1, 0), 0);
	stash__bell_ring(other);
	ck_assert_int_eq(stash__bell_poll(bell, -1, -1, 0), 1);
	close(other);
	close(bell);
	close(dir);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("shm_bell");
	TCase *bell = t_case(s, "bell", 120);

	tcase_add_test(bell, test_no_wakeup_is_lost);
	tcase_add_test(bell, test_ring_never_blocks);
	tcase_add_test(bell, test_fifo_never_blocks);
	return s;
}

TEST_MAIN(suite)
