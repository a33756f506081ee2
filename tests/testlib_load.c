/* SPDX-License-Identifier: ISC */
/*
 * testlib_load.c: see testlib_load.h.
 */
#include "testlib_load.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"

struct windows {
	_Atomic int now;
	_Atomic int64_t longest[TL_WINDOWS];
};

static struct t_numbers *numbers;
static struct windows *windows;
static pid_t clients[TL_CLIENTS];

static void
note(int64_t took)
{
	_Atomic int64_t *longest = &windows->longest[atomic_load(&windows->now)];
	int64_t now = atomic_load(longest);

	while (took > now && !atomic_compare_exchange_weak(longest, &now, took))
		;
}

static void
note_error(int error)
{
	atomic_store(&numbers->last_error, error);
	strncpy(numbers->message, stash_errmsg(), sizeof numbers->message - 1);
	atomic_fetch_add(&numbers->errors, 1);
}

static void
take(const struct t_stashd *d)
{
	struct stash_client *c = NULL;
	int result = stash_client_open(&c, t_store(d), NULL);

	while (result == STASH_OK && !atomic_load(&numbers->stop)) {
		struct stash_reply reply;
		int64_t number = -1, began = stash__now_ns();

		result = stash_call(c, "sequence", "next_number", NULL, 0, &reply, 60000);
		note(stash__now_ns() - began);
		if (result == STASH_OK && stash_parse_int(reply.data, 0, INT64_MAX, &number) == STASH_OK)
			t_numbers_add(numbers, number);
		stash_reply_free(&reply);
	}
	if (result < 0)
		note_error(result);
	stash_client_close(c);
}

void
tl_window(int window)
{
	ck_assert_int_lt(window, TL_WINDOWS);
	atomic_store(&windows->now, window);
}

int64_t
tl_longest(int window)
{
	return atomic_load(&windows->longest[window]);
}

void
tl_begin(const struct t_stashd *d)
{
	numbers = t_numbers_make();
	windows = mmap(NULL, sizeof *windows, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(windows, MAP_FAILED);
	for (int i = 0; i < TL_CLIENTS; i++) {
		clients[i] = fork();
		ck_assert_int_ge(clients[i], 0);
		if (clients[i] == 0) {
			take(d);
			_exit(0);
		}
	}
}

uint64_t
tl_count(void)
{
	return atomic_load(&numbers->count);
}

static bool
is_reached(void *arg)
{
	const uint64_t *want = arg;

	return tl_count() >= *want || atomic_load(&numbers->errors) > 0;
}

void
tl_await(uint64_t more)
{
	uint64_t want = tl_count() + more;

	ck_assert_msg(t_wait_for(is_reached, &want, 60000), "no more numbers come");
	ck_assert_msg(atomic_load(&numbers->errors) == 0, "%s: %s", stash_errname(atomic_load(&numbers->last_error)),
	    numbers->message);
}

void
tl_end(const char *what)
{
	int64_t longest = 0;

	atomic_store(&numbers->stop, true);
	for (int i = 0; i < TL_CLIENTS; i++) {
		int status;

		ck_assert_int_eq(waitpid(clients[i], &status, 0), clients[i]);
		ck_assert_int_eq(status, 0);
	}
	for (int i = 0; i < TL_WINDOWS; i++)
		longest = tl_longest(i) > longest ? tl_longest(i) : longest;
	atomic_store(&numbers->longest_ns, (uint64_t)longest);
	t_numbers_check(numbers, what);
	t_numbers_free(numbers);
	munmap(windows, sizeof *windows);
}
