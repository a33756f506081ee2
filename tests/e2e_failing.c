/* SPDX-License-Identifier: ISC */
/*
 * Every failing call.  A first run counts: which calls do keeper, supervisor, stash and workers make, and where in the
 * code.  Each later run lets one of them fail, once or from then on for good, with one of the errors that it may have,
 * while two clients call, processes are killed, the config changes and stashd is stopped.  Afterwards: what was
 * acknowledged is there, each answer is one or a documented error, nobody burns the processor, and the next start,
 * without a fault, is clean.
 *
 *	STASH_TORTURE=MINUTES	search for so long
 *	STASH_SEED=N		the same order as that run
 *	STASH_FAILING_ONLY=TEXT	only faults in whose name TEXT occurs; all of them
 *	STASH_FAILING_SLICE=I/N	each N-th fault, from the I-th on; with the same seed N of these together try all
 */
#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "testlib_faulty.h"

#define SECONDS 25	  /* in make check, and */
#define CLIENT_SECONDS 10 /* for the library */

Suite *failing_suite(void);

static struct failing_place places[FAILING_PLACES];
static size_t nplaces;
static struct faulty_fault *faults;
static size_t nfaults;

static uint64_t
next_random(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *seed >> 33;
}

static void
add(uint64_t what, int error, uint64_t at, bool for_good)
{
	faults = realloc(faults, (nfaults + 1) * sizeof *faults);
	ck_assert_ptr_nonnull(faults);
	faults[nfaults++] = (struct faulty_fault){ .what = what, .error = error, .at = at, .for_good = for_good };
}

/* No signal comes for ever, what poll() has announced is there, a reset is told once, of each connection; and whoever
 * may not be killed is waited for. */
static bool
passes(enum failing_function function, int error)
{
	bool receives = function == FAILING_recvmsg || function == FAILING_recv;

	return error == EINTR || error == ECONNABORTED || (error == ECONNRESET && receives) ||
	    (error == EAGAIN && (receives || function == FAILING_read || function == FAILING_accept4)) ||
	    (function == FAILING_pidfd_send_signal && error == EPERM);
}

/* A bell that takes no more rings already: said of one that doesn't, it is no failing call but a lie. */
static bool
is_a_lie(uint64_t place, int error)
{
	return error == EAGAIN && strcmp(t_failing_caller(place), "stash__bell_ring") == 0;
}

/* Config files are read by a library that uses what it couldn't allocate, or have the C library allocate. */
static bool
reads_config(uint64_t place)
{
	const char *object = t_failing_object(place);

	return FAILING_PROCESS_OF(place) == FAILING_IS_keeper &&
	    (strcmp(object, "libconfig") == 0 || strcmp(object, "libc.so") == 0);
}

/* A whole function, some places of which are in that library. */
static bool
reads_config_too(uint64_t whole)
{
	for (size_t i = 0; i < nplaces; i++)
		if (reads_config(places[i].place) && FAILING_FUNCTION_OF(places[i].place) == FAILING_FUNCTION_OF(whole))
			return FAILING_PROCESS_OF(whole) == FAILING_IS_keeper;
	return false;
}

/* Each place with each error: its first passing, its last but one, all of them; and whole functions for good. */
static void
list_faults(void)
{
	uint64_t last = 0;

	for (size_t i = 0; i < nplaces; i++) {
		uint64_t place = places[i].place, whole;
		const int *errors = t_failing_errors(FAILING_FUNCTION_OF(place));

		if (reads_config(place))
			continue;
		whole = FAILING_PLACE(FAILING_PROCESS_OF(place), FAILING_FUNCTION_OF(place), 0, 0);
		for (int k = 0; errors[k] != 0 && (k == 0 || getenv("STASH_FAILING_LIKELY") == NULL); k++) {
			if (is_a_lie(place, errors[k]))
				continue;
			add(place, errors[k], 1, false);
			if (places[i].count > 3)
				add(place, errors[k], 2 + places[i].count / 2, false);
			if (passes(FAILING_FUNCTION_OF(place), errors[k]))
				continue;
			add(place, errors[k], 1, true);
			if (whole != last && !reads_config_too(whole))
				add(whole, errors[k], places[i].count > 2 ? 3 : 1, true);
		}
		last = whole;
	}
}

static void
shuffle(uint64_t seed)
{
	for (size_t i = nfaults; i > 1; i--) {
		size_t k = next_random(&seed) % i;
		struct faulty_fault f = faults[k];

		faults[k] = faults[i - 1];
		faults[i - 1] = f;
	}
}

START_TEST(test_search)
{
	const char *minutes = getenv("STASH_TORTURE"), *given = getenv("STASH_SEED"),
		   *only = getenv("STASH_FAILING_ONLY"), *part = getenv("STASH_FAILING_SLICE");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)stash__now_ns();
	unsigned slice = 0, slices = 1;
	int64_t until, seconds = minutes != NULL ? 60 * atoll(minutes) : SECONDS;
	size_t tried = 0, fired = 0, bad = 0;
	struct faulty f;

	ck_assert(part == NULL || (sscanf(part, "%u/%u", &slice, &slices) == 2 && slices > 0));
	faulty_open(&f);
	nplaces = faulty_count(&f, places, FAILING_PLACES);
	list_faults();
	shuffle(seed);
	printf("%zu places, %zu faults, STASH_SEED=%llu\n", nplaces, nfaults, (unsigned long long)seed);
	fflush(stdout);
	until = stash__now_ns() + seconds * STASH__NS_PER_S;
	for (size_t i = slice; i < nfaults && (only != NULL || stash__now_ns() < until); i += slices) {
		if (only != NULL && strstr(faulty_name(&faults[i]), only) == NULL)
			continue;
		faults[i].disk = next_random(&seed) % 2 == 0;
		faulty_run(&f, &faults[i]);
		tried++;
		fired += f.fired > 0;
		if (f.problems[0] != '\0') {
			bad++;
			printf("---- %s%s\n%s", faulty_name(&faults[i]), faults[i].disk ? " disk" : "", f.problems);
		} else if (only != NULL || getenv("STASH_FAILING_TELL") != NULL) {
			printf("fine %s%s fired %d %d ms\n", faulty_name(&faults[i]), faults[i].disk ? " disk" : "",
			    (int)f.fired, f.ms);
		}
		fflush(stdout);
	}
	printf("%zu faults tried, %zu of them fired, %zu with problems\n", tried, fired, bad);
	faulty_close(&f);
	free(faults);
	ck_assert_uint_eq(bad, 0);
	ck_assert_uint_gt(fired, 0);
}
END_TEST

/* ---- what was found ---- */

/* at: 1 is the first supervisor, 2 the one after its death, when the place is passed once by each. */
static const struct known {
	enum failing_process process;
	enum failing_function function;
	const char *callers; /* one of them, as the compiler has put them into each other */
	int error;
	unsigned at;
	bool for_good, disk;
	const char *what;
} known[] = {
	{ FAILING_IS_supervisor, FAILING_calloc, "take_tree rowset_read", ENOMEM, 1, false, false,
	    "a takeover without memory is tried again" },
	{ FAILING_IS_stash, FAILING_mdb_cursor_get, "scan_rows store_scan", MDB_CORRUPTED, 8, true, false,
	    "while the rows can't be read workers go on, and stashd can be ended" },
	{ FAILING_IS_worker, FAILING_calloc, "stash__mailbox_attach", ENOMEM, 1, false, false,
	    "a channel that can't be attached for want of memory is not forgotten" },
	{ FAILING_IS_worker, FAILING_reallocarray, "stash__mailbox_attach make_room", ENOMEM, 1, false, false,
	    "nor is a call called undone that was done" },
	{ FAILING_IS_worker, FAILING_fcntl, "stash__channel_map_file", EMFILE, 1, false, false,
	    "a cast between workers isn't lost with a channel that can't be attached" },
	{ FAILING_IS_stash, FAILING_unlinkat, "stash__slot_unlink", EBUSY, 1, false, false,
	    "a slot isn't deleted in part, which would stop the next start" },
	{ FAILING_IS_supervisor, FAILING_calloc, "wait_create", ENOMEM, 1, false, false,
	    "a client whose request finds no memory is answered" },
	{ FAILING_IS_stash, FAILING_realloc, "reserve", ENOMEM, 1, false, false,
	    "an answer of the stash that is lost is asked for again" },
	{ FAILING_IS_stash, FAILING_sendmsg, "stash__sock_send", EPIPE, 1, false, false,
	    "nor does anybody wait for an answer that couldn't be sent" },
	{ FAILING_IS_stash, FAILING_pread, "stash__slots_scan scan_pass whose has_base", EIO, 2, false, false,
	    "a slot that can't be read is not deleted" },
	{ FAILING_IS_stash, FAILING_pread, "stash__slots_scan scan_pass whose has_base", FAILING_HALF, 1, false, true,
	    "nor one of which a part was read" },
	{ FAILING_IS_keeper, FAILING_pidfd_send_signal, "keeper_pass_on on_signal turn keeper_run", EPERM, 1, false,
	    false, "a signal that can't be passed on is passed on later" },
	{ FAILING_IS_supervisor, FAILING_calloc, "read_answers", ENOMEM, 1, true, false,
	    "how a process ended that the keeper had told is asked again" },
	{ FAILING_IS_worker, FAILING_read, "stash__bell_clear", EIO, 1, true, false,
	    "a bell that can't be read burns nothing" },
	{ FAILING_IS_supervisor, FAILING_open, "open_dirs set_up server_run", EMFILE, 2, true, false,
	    "a stop is not forgotten when the supervisor dies, and can be forced when none lives" },
};

static bool
is_named(const char *name, const char *names)
{
	const char *at = strstr(names, name);

	return at != NULL && (at == names || at[-1] == ' ') && strchr(" ", at[strlen(name)]) != NULL;
}

/* How many of its places have failed; all that was wrong is printed. */
static unsigned
try_known(struct faulty *f, const struct known *k, unsigned *bad)
{
	unsigned fired = 0;

	for (size_t i = 0; i < nplaces; i++) {
		struct faulty_fault fault = { .what = places[i].place,
			.at = k->at,
			.error = k->error,
			.for_good = k->for_good,
			.disk = k->disk };

		if (FAILING_PROCESS_OF(fault.what) != k->process || FAILING_FUNCTION_OF(fault.what) != k->function ||
		    !is_named(t_failing_caller(fault.what), k->callers))
			continue;
		faulty_run(f, &fault);
		fired += f->fired > 0;
		*bad += f->problems[0] != '\0';
		if (f->problems[0] != '\0')
			printf("%s: %s\n%s", k->what, faulty_name(&fault), f->problems);
	}
	return fired;
}

START_TEST(test_known)
{
	unsigned bad = 0;
	struct faulty f;

	faulty_open(&f);
	nplaces = faulty_count(&f, places, FAILING_PLACES);
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		ck_assert_msg(try_known(&f, &known[i], &bad) > 0, "%s: nothing has failed", known[i].what);
	fflush(stdout);
	ck_assert_uint_eq(bad, 0);
	faulty_close(&f);
}
END_TEST

/* ---- the library in a client ---- */

START_TEST(test_client)
{
	const char *minutes = getenv("STASH_TORTURE"), *given = getenv("STASH_SEED");
	char seconds[24], seed[24], *output;
	struct t_proc p;
	struct faulty f;

	faulty_open(&f);
	faulty_start(&f);
	t_failing_write_errors(t_path("errors"));
	snprintf(seconds, sizeof seconds, "%d", minutes != NULL ? 60 * atoi(minutes) : CLIENT_SECONDS);
	snprintf(seed, sizeof seed, "%llu",
	    (unsigned long long)(given != NULL ? strtoull(given, NULL, 10) : (uint64_t)stash__now_ns()));
	t_spawn(&p,
	    (const char *[]){ t_build("tests/helpers/failing_client"), f.d.dir, seconds, seed, t_path("errors"), NULL },
	    f.env);
	ck_assert_msg(t_ended(&p, 1000 * (atoi(seconds) + 60)), "the client hangs, STASH_SEED=%s", seed);
	output = t_output(&p);
	printf("%sSTASH_SEED=%s\n", output, seed);
	free(output);
	output = t_output(&f.d.proc);
	if (p.status != 0)
		printf("%s", output);
	free(output);
	fflush(stdout);
	ck_assert_msg(p.status == 0, "status %#x", (unsigned)p.status);
	faulty_stop(&f);
	faulty_close(&f);
}
END_TEST

Suite *
failing_suite(void)
{
	Suite *suite = suite_create("failing");
	const char *minutes = getenv("STASH_TORTURE");

	tcase_add_test(t_case(suite, "known", 150), test_known);
	tcase_add_test(t_case(suite, "client", 90 + 60 * (minutes != NULL ? atoi(minutes) : 0)), test_client);
	tcase_add_test(t_case(suite, "search", 150 + 60 * (minutes != NULL ? atoi(minutes) : 0)), test_search);
	return suite;
}

TEST_MAIN(failing_suite)
