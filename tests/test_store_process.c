/* SPDX-License-Identifier: ISC */
/*
 * The store and processes: its lock, forked children, commits that a kill cuts off, threads that read while one
 * commits.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/buf.h"
#include "testlib.h"
#include "testlib_store.h"

/* ---- the lock ---- */

/* A child that holds the lock until a byte comes, or for ever. */
static pid_t
holder(bool exclusive, int *release)
{
	const char *dir = ts_dir();
	int ready[2], go[2], fd;
	pid_t pid;
	char byte;

	ck_assert_int_eq(pipe(ready), 0);
	ck_assert_int_eq(pipe(go), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		close(go[1]);
		if (store_lock(dir, exclusive, 0, &fd) != 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		while (read(go[0], &byte, 1) > 0)
			continue;
		_exit(0);
	}
	close(ready[1]);
	close(go[0]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	*release = go[1];
	return pid;
}

static void
end(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}

/* The thread that waits for the lock, and what lets it go on. */
struct waiter {
	pid_t thread;
	long pauses; /* before */
	int release;
	bool has_waited;
};

/* How often a thread of this process has gone to sleep by itself. */
static long
pauses(pid_t thread)
{
	char path[64], line[200];
	long n = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%ld/status", (long)thread);
	if ((file = fopen(path, "re")) == NULL)
		return n;
	while (n < 0 && fgets(line, sizeof(line), file) != NULL)
		(void)sscanf(line, "voluntary_ctxt_switches: %ld", &n);
	fclose(file);
	return n;
}

/* More than once: it has found the lock taken, and tries again and again. */
static bool
is_waiting(void *arg)
{
	const struct waiter *w = arg;

	return pauses(w->thread) > w->pauses + 1;
}

static void *
release_the_waiter(void *arg)
{
	struct waiter *w = arg;

	w->has_waited = t_wait_for(is_waiting, w, 10000);
	close(w->release);
	return NULL;
}

START_TEST(lock_names_its_holder_and_ends_with_it)
{
	struct store_options options = ts_options();
	struct store *store;
	struct waiter w = { .thread = gettid() };
	pid_t pid = holder(true, &w.release);
	pthread_t thread;
	char words[64];
	int fd;

	snprintf(words, sizeof(words), "process %ld", (long)pid);
	ts_bad(store_lock(ts_dir(), true, 0, &fd), STASH_E_BUSY, words);
	ts_bad(store_lock(ts_dir(), false, 30, &fd), STASH_E_BUSY, words);
	ts_bad(store_open(&store, ts_dir(), &options), STASH_E_BUSY, words);
	options.read_only = true;
	ts_bad(store_open(&store, ts_dir(), &options), STASH_E_BUSY, words);
	ts_bad(store_validate(ts_dir(), &options, NULL), STASH_E_BUSY, words);
	w.pauses = pauses(w.thread);
	ck_assert_int_ge(w.pauses, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, release_the_waiter, &w), 0);
	ts_good(store_lock(ts_dir(), true, 20000 * t_patience(), &fd));
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert(w.has_waited);
	close(fd);
	end(pid);
}
END_TEST

START_TEST(lock_of_a_killed_holder_is_free)
{
	int release, fd;
	pid_t pid = holder(true, &release);

	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ts_good(store_lock(ts_dir(), true, 20000, &fd));
	close(fd);
	close(release);
	end(pid);
}
END_TEST

START_TEST(readers_share_the_lock)
{
	int release, fd, other;
	pid_t pid = holder(false, &release);
	char words[64];

	ts_good(store_lock(ts_dir(), false, 0, &fd));
	ts_good(store_lock(ts_dir(), false, 0, &other));
	close(fd);
	close(other);
	/* Who is in the way of a starting stash: not the last one who had it. */
	snprintf(words, sizeof(words), "process %ld", (long)pid);
	ts_bad(store_lock(ts_dir(), true, 30, &fd), STASH_E_BUSY, words);
	close(release);
	end(pid);
	ts_good(store_lock(ts_dir(), true, 0, &fd));
	close(fd);
}
END_TEST

/* ---- forks and kills ---- */

static int
no_state(void *arg, const struct store_state *state)
{
	(void)arg;
	(void)state;
	return 0;
}

/* What a forked child may do: nothing but close. */
static int
misuse(struct store *store, struct store_batch *batch)
{
	struct store_scan scan = { .db = STORE_DB_TREE };
	struct store_state state = { .name = "worker", .seq = 9 };
	struct store_batch *own;
	struct store_slice slice;
	struct store_stat stat;
	struct stash_buf *buf = stash_buf_create();
	int wrong = 0;

	wrong |= store_begin(store, &own) != STASH_E_FORKED;
	wrong |= (store_get_state(store, "worker", &state) != STASH_E_FORKED) << 1;
	wrong |= (store_get_history(store, "worker", false, no_state, NULL) != STASH_E_FORKED) << 2;
	wrong |= (store_scan(store, &scan, buf, &slice) != STASH_E_FORKED) << 3;
	wrong |= (store_stat(store, &stat) != STASH_E_FORKED) << 4;
	wrong |= (store_reopen(store) != STASH_E_FORKED || store_mark_clean(store) != STASH_E_FORKED) << 5;
	wrong |= (store_put_event(batch, "x", 1, NULL) != STASH_E_FORKED) << 6;
	store_abort(batch);
	store_close(store);
	stash_buf_destroy(buf);
	return wrong;
}

START_TEST(forked_child_may_only_close)
{
	struct store_options options = ts_options();
	struct store *store = ts_open(&options);
	struct store_batch *batch;
	int status, lock;
	pid_t pid;

	ts_put(store, "worker", 1, 100, 0);
	ts_good(store_begin(store, &batch));
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(misuse(store, batch));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	/* The parent has lost nothing by it: batch, reads, lock. */
	ts_good(store_put_event(batch, "x", 1, NULL));
	ts_good(store_commit(batch));
	ts_put(store, "worker", 2, 200, 0);
	ts_has(store, "worker", 2, 200);
	pid = fork();
	if (pid == 0)
		_exit(store_lock(ts_dir(), false, 0, &lock) == STASH_E_BUSY ? 0 : 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	store_close(store);
	ts_good(store_validate(ts_dir(), &options, NULL));
}
END_TEST

START_TEST(child_may_open_a_store_of_its_own)
{
	struct store_options options = ts_options();
	struct store *store = ts_open(&options), *own;
	int status;
	pid_t pid;

	ts_put(store, "worker", 1, 100, 0);
	store_close(store);
	pid = fork();
	if (pid == 0) {
		if (store_open(&own, ts_dir(), &options) != 0)
			_exit(1);
		store_close(own);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* Commits states "a" and "b" with the same number, tells each on the pipe, and in the end dies amid a batch. */
static _Noreturn void
commit_until_killed(int tell, uint64_t first, uint64_t last)
{
	struct store_options options = ts_options();
	struct store_state a, b;
	struct store_batch *batch;
	struct store *store;

	if (store_open(&store, ts_dir(), &options) != 0)
		_exit(1);
	for (uint64_t seq = first;; seq++) {
		a = ts_state("a", seq, 100 + seq % 7 * 3000);
		b = ts_state("b", seq, 50);
		if (store_begin(store, &batch) != 0 || store_put_state(batch, &a, 3) != 0)
			_exit(2);
		if (seq > last)
			kill(getpid(), SIGKILL);
		if (store_put_state(batch, &b, 0) != 0 || store_put_event(batch, "e", 1, NULL) != 0 ||
		    store_commit(batch) != 0)
			_exit(3);
		if (write(tell, &seq, sizeof(seq)) != (ssize_t)sizeof(seq))
			_exit(4);
		ts_state_done(&a);
		ts_state_done(&b);
	}
}

/* The committed pair, checked; its number. */
static uint64_t
committed(void)
{
	struct store_options options = ts_options();
	struct store_state a, b;
	struct store *store;
	uint64_t seq;

	options.validate = true;
	store = ts_open(&options);
	ts_good(store_get_state(store, "a", &a));
	ts_good(store_get_state(store, "b", &b));
	seq = a.seq;
	ts_is(&a, "a", seq, 100 + seq % 7 * 3000);
	ts_is(&b, "b", seq, 50);
	ck_assert_uint_eq(store_last_event(store), seq);
	store_state_free(&a);
	store_state_free(&b);
	store_close(store);
	return seq;
}

START_TEST(killed_amid_a_batch_leaves_the_last_commit)
{
	uint64_t seq;
	int tell[2], status;
	pid_t pid;

	ts_dir();
	ck_assert_int_eq(pipe(tell), 0);
	pid = fork();
	if (pid == 0)
		commit_until_killed(tell[1], 1, 5);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	for (uint64_t want = 1; want <= 5; want++) {
		ck_assert_int_eq(read(tell[0], &seq, sizeof(seq)), sizeof(seq));
		ck_assert_uint_eq(seq, want);
	}
	close(tell[0]);
	close(tell[1]);
	ck_assert_uint_eq(committed(), 5);
}
END_TEST

START_TEST(killed_anywhere_loses_no_commit)
{
	uint64_t first = 1, told = 0, found;
	int rounds = t_patience() > 4 ? 4 : 40, tell[2], status, seen;
	pid_t pid;

	ts_dir();
	for (int round = 0; round < rounds; round++) {
		ck_assert_int_eq(pipe(tell), 0);
		pid = fork();
		if (pid == 0)
			commit_until_killed(tell[1], first, UINT64_MAX);
		close(tell[1]);
		/* The kill falls anywhere into the batch behind the seen-th one. */
		for (seen = round % 5; seen >= 0; seen--)
			ck_assert_int_eq(read(tell[0], &told, sizeof(told)), sizeof(told));
		for (volatile int spin = 0; spin < round * 7919 % 40000; spin++)
			continue;
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		while (read(tell[0], &told, sizeof(told)) > 0)
			continue;
		close(tell[0]);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		found = committed();
		ck_assert_uint_ge(found, told);
		ck_assert_uint_le(found, told + 1);
		first = found + 1;
	}
}
END_TEST

/* ---- threads ---- */

static atomic_bool done;

static void *
keep_reading(void *arg)
{
	struct store *store = arg;
	struct stash_buf *buf = stash_buf_create();
	struct store_scan scan = { .db = STORE_DB_HISTORY };
	struct store_slice slice;
	struct store_state state;
	uint64_t last = 0;

	while (!atomic_load(&done)) {
		if (store_get_state(store, "worker", &state) != 0)
			return "state";
		if (state.seq < last || state.len != 100 + state.seq % 5 * 2000)
			return "went back";
		last = state.seq;
		store_state_free(&state);
		stash__buf_reset(buf);
		if (store_scan(store, &scan, buf, &slice) != 0 || slice.rows == 0)
			return "scan";
		if (store_get_history(store, "worker", false, no_state, NULL) != 0)
			return "history";
	}
	stash_buf_destroy(buf);
	return NULL;
}

START_TEST(threads_read_while_one_commits_and_reopens)
{
	struct store *store = ts_open(NULL);
	pthread_t threads[3];
	void *wrong;

	ts_put(store, "worker", 1, 2100, 4);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, keep_reading, store), 0);
	for (uint64_t seq = 2; seq < 2 + 300 / (unsigned)t_patience(); seq++) {
		ts_put(store, "worker", seq, 100 + seq % 5 * 2000, 4);
		if (seq % 10 == 0)
			ts_good(store_reopen(store));
	}
	atomic_store(&done, true);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &wrong), 0);
		ck_assert_msg(wrong == NULL, "%s", (const char *)wrong);
	}
	store_close(store);
}
END_TEST

static Suite *
store_process_suite(void)
{
	Suite *suite = suite_create("store_process");
	TCase *tc = t_case(suite, "lock", 60);

	tcase_add_test(tc, lock_names_its_holder_and_ends_with_it);
	tcase_add_test(tc, lock_of_a_killed_holder_is_free);
	tcase_add_test(tc, readers_share_the_lock);
	tc = t_case(suite, "processes", 120);
	tcase_add_test(tc, forked_child_may_only_close);
	tcase_add_test(tc, child_may_open_a_store_of_its_own);
	tcase_add_test(tc, killed_amid_a_batch_leaves_the_last_commit);
	tcase_add_test(tc, killed_anywhere_loses_no_commit);
	tcase_add_test(tc, threads_read_while_one_commits_and_reopens);
	return suite;
}

TEST_MAIN(store_process_suite)
