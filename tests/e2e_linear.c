/* SPDX-License-Identifier: ISC */
/*
 * Linearizability under storms of kills: client processes read, write, compare-and-exchange and count on the cells of
 * one worker, readers look at its state in shared memory by nobody's leave, all of them note what they asked and saw
 * and when, and a checker that knows nothing of Stash (testlib_linear.h) looks for an order that explains it.  Worker,
 * stash, supervisor, keeper and clients are killed meanwhile.  An error that promises "no effect" is taken at its word.
 * With STASH_TORTURE=MINUTES storm follows storm, each with another seed, for so long in all.
 */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "modules/registers.h"
#include "testlib_linear.h"
#include "testlib_live.h"

enum {
	CLIENTS = 6,
	READERS = 2,
	PROCESSES = CLIENTS + READERS,
	CELLS = 4,    /* the first ones are written and exchanged, */
	COUNTERS = 2, /* the others added to */
	ROOM = 48000,
	STORMS = 10,
	/* in each storm, at least */
	STRIKES = 5,
	ANSWERS = 1000,
	LOOKS = 50
};

enum { T_CLIENTS = 64, T_ALL_BUT_CLIENTS = 128, T_ALL = 256 };

static const struct storm {
	const char *what, *ack, *extra;
	int kinds;
	bool wrong; /* planted: must be found */
	bool large; /* the state */
} storms[] = {
	{ "worker", "crash", "", T_WORKER, false, false },
	{ "worker, stash, supervisor, clients", "crash", "", T_WORKER | T_STASH | T_SUPERVISOR | T_CLIENTS, false,
	    false },
	{ "worker, stash, supervisor, clients", "disk", "", T_WORKER | T_STASH | T_SUPERVISOR | T_CLIENTS, false,
	    false },
	{ "stash, clients", "crash", "", T_STASH | T_CLIENTS, false, false },
	{ "supervisor", "crash", "", T_SUPERVISOR, false, false },
	{ "worker; all but the clients", "crash", "", T_WORKER | T_ALL_BUT_CLIENTS, false, false },
	{ "worker; all but the clients", "disk", "", T_WORKER | T_ALL_BUT_CLIENTS, false, false },
	{ "all of them", "crash", "", T_ALL, false, false },
	{ "worker, with a large state", "crash", "", T_WORKER, false, true },
	{ "worker, its state not kept", "crash", "persist = false;", T_WORKER, true, false },
};

/* What the processes of one storm share. */
struct shared {
	_Atomic bool stop;
	_Atomic uint64_t answers, looks, reads_back, errors[64];
	char message[256];
};

static struct {
	const struct storm *storm;
	struct t_stashd d;
	struct history *history;
	struct shared *shared;
	pid_t pids[PROCESSES];
	unsigned records; /* given out */
	unsigned killed, clients_killed, restarts;
} s;

/* ---- clients ---- */

static uint64_t dice;

static unsigned
chance(unsigned below)
{
	dice = dice * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((dice >> 33) % below);
}

static void
note_error(int error)
{
	atomic_fetch_add(&s.shared->errors[-error & 63], 1);
	if (error != STASH_E_TIMEDOUT)
		strncpy(s.shared->message, stash_errmsg(), sizeof s.shared->message - 1);
}

/* One operation on a cell; what this client saw last of each is what it expects. */
static struct h_op *
ask(unsigned record, const int64_t seen[CELLS], int64_t fresh, struct registers_ask *a)
{
	unsigned key = chance(CELLS + COUNTERS), dice_kind = chance(10);
	enum h_kind kind = dice_kind < 3 ? H_READ : key >= CELLS ? H_ADD : dice_kind < 6 ? H_WRITE : H_CAS;

	*a = (struct registers_ask){ .key = key, .arg = kind == H_ADD ? 1 : fresh };
	if (kind == H_CAS)
		a->expected = seen[key];
	return h_ask(s.history, record, kind, key, a->arg, a->expected);
}

static void
run_client(unsigned record)
{
	static const char *const tags[] = { "", "read", "write", "cas", "add" };
	int64_t seen[CELLS] = { 0 }, fresh = (int64_t)record << 32, answer;
	struct stash_client *c = NULL;
	struct registers_ask a;

	dice = record * 7919u + (uint64_t)stash__now_ns();
	while (!atomic_load(&s.shared->stop)) {
		int timeout_ms = chance(100) == 0 ? 1 : 20000, result;
		struct stash_reply reply;
		struct h_op *op;

		if (c == NULL && stash_client_open(&c, t_store(&s.d), NULL) < 0) {
			(void)poll(NULL, 0, 1); /* no stashd at this moment */
			continue;
		}
		op = ask(record, seen, ++fresh, &a);
		if (op == NULL)
			break;
		result = stash_call(c, "registers", tags[op->kind], &a, sizeof a, &reply, timeout_ms);
		if (result == STASH_OK && reply.len == sizeof answer) {
			memcpy(&answer, reply.data, sizeof answer);
			h_answer(op, answer);
			atomic_fetch_add(&s.shared->answers, 1);
			if (op->kind != H_ADD && op->key < CELLS)
				seen[op->key] = op->kind == H_WRITE ? a.arg : answer;
		} else if (result != STASH_E_TIMEDOUT && result != STASH_E_PROTO) {
			h_void(op);
		}
		stash_reply_free(&reply);
		if (result < 0)
			note_error(result);
		if (result == STASH_E_DOWN) {
			stash_client_close(c);
			c = NULL;
		}
	}
	stash_client_close(c);
}

/* Looks at all cells at once, without asking anybody. */
static void
run_reader(unsigned record)
{
	struct stash_store *store = NULL;
	uint64_t last = 0;

	while (!atomic_load(&s.shared->stop)) {
		struct h_op *ops[CELLS + COUNTERS];
		struct stash_state state;
		const struct registers *r;

		(void)poll(NULL, 0, 1); /* the pace of looking */
		if (store == NULL && stash_store_open(&store, t_store(&s.d), NULL) < 0)
			continue;
		for (unsigned i = 0; i < CELLS + COUNTERS; i++)
			if ((ops[i] = h_ask(s.history, record, H_READ, i, 0, 0)) == NULL)
				goto out;
		if (stash_store_read(store, "registers", &state) == STASH_OK && state.len >= sizeof *r) {
			r = state.data;
			for (unsigned i = 0; i < CELLS + COUNTERS; i++)
				h_answer(ops[i], r->cell[i]);
			atomic_fetch_add(&s.shared->looks, 1);
			if (state.version < last)
				atomic_fetch_add(&s.shared->reads_back, 1);
			last = state.version;
		} else {
			for (unsigned i = 0; i < CELLS + COUNTERS; i++)
				h_void(ops[i]);
		}
		stash_state_free(&state);
	}
out:
	stash_store_close(store);
}

static void
start_process(unsigned i)
{
	unsigned record = s.records++;

	ck_assert_uint_lt(record, H_CLIENTS);
	s.pids[i] = fork();
	ck_assert_int_ge(s.pids[i], 0);
	if (s.pids[i] != 0)
		return;
	if (i < CLIENTS)
		run_client(record);
	else
		run_reader(record);
	_exit(0);
}

static void
kill_client(void)
{
	unsigned i = chance(CLIENTS);
	int status;

	ck_assert_int_eq(kill(s.pids[i], SIGKILL), 0); /* our child, unreaped: nobody else's number */
	ck_assert_int_eq(waitpid(s.pids[i], &status, 0), s.pids[i]);
	s.clients_killed++;
	if (s.records < H_CLIENTS - PROCESSES)
		start_process(i);
	else
		s.pids[i] = 0;
}

/* ---- the storm ---- */

static bool
is_client(pid_t pid)
{
	for (unsigned i = 0; i < PROCESSES; i++)
		if (s.pids[i] == pid)
			return true;
	return false;
}

/* What a dead one leaves is our child only once that one is reaped: so this ends with a look that finds nobody. */
static bool
only_clients_left(void *arg)
{
	pid_t pids[256];
	int n = t_children(0, pids, 256), found = 0, status;

	(void)arg;
	for (int i = 0; i < n; i++)
		if (!is_client(pids[i])) {
			int pidfd = pidfd_open(pids[i], 0);

			if (pidfd >= 0) {
				(void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
				close(pidfd);
			}
			(void)waitpid(pids[i], &status, WNOHANG);
			found++;
		}
	return found == 0;
}

/* A worker that is killed while the tree starts for the first time ends it, by OTP's rules: no strike before that. */
static void
start_stashd(const char *config)
{
	t_stashd_start(&s.d, config);
	t_wait_output(&s.d.proc, "stashd: up: ", 20000);
}

/* Everything but the clients dies, as good as at once, and stashd is started again. */
static void
kill_all_but_clients(void)
{
	ck_assert(t_wait_for(only_clients_left, NULL, 10000));
	close(s.d.proc.pidfd);
	memset(&s.d.proc, 0, sizeof s.d.proc);
	start_stashd(NULL);
	s.restarts++;
}

static void
kill_all(void)
{
	t_murder_all(&s.d);
	start_stashd(NULL);
	s.restarts++;
	for (unsigned i = 0; i < PROCESSES; i++)
		start_process(i);
}

static void
strike(int kind)
{
	switch (kind) {
	case T_CLIENTS:
		kill_client();
		break;
	case T_ALL_BUT_CLIENTS:
		kill_all_but_clients();
		break;
	case T_ALL:
		kill_all();
		break;
	default:
		s.killed += t_murder(&s.d, (enum t_who)kind, "registers");
	}
}

static void
blow(int64_t ns)
{
	static const struct {
		int kind, every_ms;
	} paces[] = { { T_WORKER, 20 }, { T_STASH, 50 }, { T_SUPERVISOR, 200 }, { T_CLIENTS, 60 },
		{ T_ALL_BUT_CLIENTS, 400 }, { T_ALL, 400 } };
	enum { PACES = sizeof paces / sizeof *paces };
	int64_t next[PACES], until = stash__now_ns() + ns;

	for (unsigned i = 0; i < PACES; i++)
		next[i] = stash__now_ns() + paces[i].every_ms * STASH__NS_PER_MS;
	/* On a machine that is busy with other things it takes longer until enough has happened. */
	while (stash__now_ns() < until || s.killed + s.restarts + s.clients_killed < STRIKES ||
	    s.shared->answers <= ANSWERS || s.shared->looks <= LOOKS) {
		for (unsigned i = 0; i < PACES; i++)
			if ((s.storm->kinds & paces[i].kind) != 0 && stash__now_ns() >= next[i]) {
				strike(paces[i].kind);
				next[i] = stash__now_ns() +
				    (1 + chance(2 * (unsigned)paces[i].every_ms)) * STASH__NS_PER_MS;
			}
		(void)poll(NULL, 0, 1); /* the pace of the killing */
	}
}

static void
stop_processes(void)
{
	atomic_store(&s.shared->stop, true);
	for (unsigned i = 0; i < PROCESSES; i++) {
		int status;

		if (s.pids[i] == 0)
			continue;
		ck_assert_int_eq(waitpid(s.pids[i], &status, 0), s.pids[i]);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a client ended with status %#x", status);
	}
}

/* ---- what it was ---- */

static void
report(const struct h_op *ops, size_t n, int64_t took)
{
	printf("%s (%s): %u killed, %u restarts, %u clients killed; %zu operations, %zu open, %zu void; %llu looks; "
	       "checked in %lld ms;",
	    s.storm->what, s.storm->ack, s.killed, s.restarts, s.clients_killed, n, h_count(ops, n, H_OPEN),
	    h_count(ops, n, H_VOID), (unsigned long long)s.shared->looks, (long long)(took / STASH__NS_PER_MS));
	for (int i = 0; i < 64; i++)
		if (s.shared->errors[i] > 0)
			printf(" %s: %llu", stash_errname(-i), (unsigned long long)s.shared->errors[i]);
	printf("%s%s\n", s.shared->message[0] != '\0' ? "; the last error: " : "", s.shared->message);
}

static void
judge(void)
{
	size_t n;
	struct h_op *ops = h_all(s.history, &n);
	int64_t began = stash__now_ns();
	char *why = NULL;
	size_t why_len;
	FILE *out = open_memstream(&why, &why_len);
	enum linear_verdict verdict = linear_check(ops, n, 0, out);

	fclose(out);
	report(ops, n, stash__now_ns() - began);
	fflush(stdout);
	ck_assert_uint_gt(h_count(ops, n, H_DONE), ANSWERS);
	ck_assert_uint_gt(s.shared->looks, LOOKS);
	if (s.storm->wrong) {
		ck_assert_msg(verdict == LINEAR_NO, "the planted mistake was not found: %s", why);
	} else {
		ck_assert_msg(verdict == LINEAR_YES, "%s (%s): %s", s.storm->what, s.storm->ack, why);
		ck_assert_uint_eq(s.shared->reads_back, 0);
	}
	free(why);
	free(ops);
}

static void
one_storm(const struct storm *storm, int64_t ns)
{
	char store[64], extra[64];

	memset(&s, 0, sizeof s);
	s.storm = storm;
	s.history = h_make(ROOM);
	s.shared = mmap(NULL, sizeof *s.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(s.shared, MAP_FAILED);
	s.d.dir = t_path("store-%llx", (unsigned long long)dice);
	snprintf(store, sizeof store, "ack = \"%s\";", storm->ack);
	snprintf(extra, sizeof extra, "%s", storm->extra);
	start_stashd(t_config("registers",
	    storm->large ? "tests/modules/registers_large.so" : "tests/modules/registers.so", "", extra, store));
	for (unsigned i = 0; i < PROCESSES; i++)
		start_process(i);
	blow(ns);
	stop_processes();
	t_stashd_stop(&s.d, 20000);
	judge();
	munmap(s.shared, sizeof *s.shared);
	h_free(s.history);
	t_remove_tree(s.d.dir);
}

START_TEST(test_storm)
{
	const char *torture = getenv("STASH_TORTURE");
	int64_t minutes = torture != NULL ? atoi(torture) : 0;
	int64_t until = stash__now_ns() + minutes * 60 * STASH__NS_PER_S / STORMS;

	dice = (uint64_t)stash__now_ns();
	do {
		chance(2);
		one_storm(&storms[_i], 2500 * STASH__NS_PER_MS);
	} while (stash__now_ns() < until);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("linear");
	TCase *c = t_case(suite, "storm", 120);

	_Static_assert(sizeof storms / sizeof *storms == STORMS, "each of them is run");
	tcase_add_loop_test(c, test_storm, 0, STORMS);
	return suite;
}

TEST_MAIN(suite)
