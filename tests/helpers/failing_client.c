/* SPDX-License-Identifier: ISC */
/*
 * failing_client DIR SECONDS SEED: a client of the stashd on DIR, by LD_PRELOAD before tests/preload.  It goes through
 * the library's functions, first counting their calls, then with each of these failing in turn, as often as there is
 * time for.  A failure is told by a documented error and a sentence, nothing is leaked, the handles go on afterwards,
 * and the sequence counts each call that was done.  What is wrong is printed, each in a line; exit status 1 then.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "preload/failing.h"

static const char *const functions[] = {
#define WORD(name) #name,
	FAILING_FUNCTIONS(WORD)
};

static struct failing_page *page;
static const char *dir, *what; /* what: the call that is made */
static char fault[200];
static int64_t acked, unknown, highest = -1;
static unsigned bad;
static int wait_ms; /* for an answer that the fault may have lost: not for long */

static void
problem(const char *text)
{
	printf("%s: %s: %s\n", fault, what, text);
	bad++;
}

/* A result of the library. */
static int
check(const char *call, int64_t result)
{
	what = call;
	if (result >= 0)
		return (int)result;
	if (strcmp(stash_errname((int)result), "unknown") == 0)
		problem("an unknown error");
	else if (stash_errmsg()[0] == '\0')
		problem("no message");
	else if (atomic_load(&page->mode) != FAILING_FAILS || atomic_load(&page->fired) == 0)
		problem(stash_errmsg());
	return (int)result;
}

static int
any(void *arg, const struct stash_process *p)
{
	(void)arg;
	(void)p;
	return 0;
}

static int
any_state(void *arg, const struct stash_state *s)
{
	(void)arg;
	(void)s;
	return 0;
}

static int
any_event(void *arg, const struct stash_event *e)
{
	(void)arg;
	(void)e;
	return 0;
}

static void
take(int result, const struct stash_reply *reply)
{
	int64_t number;

	if (result == STASH_E_TIMEDOUT || result == STASH_E_PROTO || result == STASH_E_SYSTEM)
		unknown++;
	if (result != 0)
		return;
	acked++;
	if (stash_parse_int(reply->data, 0, INT64_MAX, &number) < 0 || number <= highest)
		problem("a number that was given before");
	else
		highest = number;
}

static void
calls(struct stash_client *c)
{
	struct stash_reply reply;
	int64_t ref;
	int result = check("stash_call", stash_call(c, "sequence", "next_number", NULL, 0, &reply, wait_ms));

	take(result, &reply);
	stash_reply_free(&reply);
	(void)check("stash_cast", stash_cast(c, "sequence", "increment_number", "0", 1));
	ref = stash_call_start(c, "sequence", "next_number", NULL, 0, wait_ms);
	if (check("stash_call_start", ref) > 0) {
		result = check("stash_call_wait", stash_call_wait(c, ref, &reply, wait_ms));
		take(result == STASH_E_PENDING ? STASH_E_TIMEDOUT : result, &reply);
		stash_reply_free(&reply);
	} else if (ref == STASH_E_SYSTEM) {
		unknown++;
	}
}

static void
requests(struct stash_client *c)
{
	struct stash_child_spec spec = { .size = sizeof spec, .id = "one", .name = "one" };
	struct stash_process process;

	(void)check("stash_which_children", stash_which_children(c, "root", any, NULL, wait_ms));
	(void)check("stash_registry_list", stash_registry_list(c, NULL, any, NULL));
	(void)check("stash_whereis", stash_whereis(c, "sequence", &process));
	(void)check("stash_state_put", stash_state_put(c, "program", "state", 5, wait_ms));
	if (check("stash_start_child", stash_start_child(c, "root/dynamic", &spec, &process, wait_ms)) == 0)
		(void)check("stash_terminate_child", stash_terminate_child(c, "root/dynamic", "one", wait_ms));
}

static void
reads(void)
{
	struct stash_store *s = NULL;
	struct stash_state state;
	struct stash_box box;
	FILE *null = fopen("/dev/null", "w");

	if (check("stash_store_open", stash_store_open(&s, dir, NULL)) == 0) {
		if (check("stash_store_read", stash_store_read(s, "sequence", &state)) == 0 && null != NULL)
			(void)check("stash_store_print", stash_store_print(s, &state, null));
		stash_state_free(&state);
		(void)check("stash_store_history", stash_store_history(s, "sequence", any_state, NULL));
		(void)check("stash_store_list", stash_store_list(s, NULL, any, NULL));
		(void)check("stash_store_box", stash_store_box(s, "sequence", &box));
		(void)check("stash_store_log", stash_store_log(s, STASH_LOG_EVENTS, 0, any_event, NULL));
	} else if (s != NULL) {
		problem("a handle after a failure");
	}
	stash_store_close(s);
	if (null != NULL)
		fclose(null);
}

static void
go(void)
{
	struct stash_client_options options = { .size = sizeof options };
	struct stash_client *c = NULL;

	wait_ms = atomic_load(&page->mode) == FAILING_FAILS ? 400 : 20000;
	options.wait_ms = wait_ms;

	if (check("stash_client_open", stash_client_open(&c, dir, &options)) == 0) {
		calls(c);
		requests(c);
		calls(c);
	} else if (c != NULL) {
		problem("a handle after a failure");
	}
	stash_client_close(c);
	reads();
}

/* Descriptors and allocations; the page's own fault is over. */
static long
have_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	long n = 0;

	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n;
}

/* Dynamic children whose end was not answered go first. */
static void
tidy(void)
{
	struct stash_client *c = NULL;

	if (stash_client_open(&c, dir, NULL) == 0)
		(void)stash_terminate_child(c, "root/dynamic", "one", 5000);
	stash_client_close(c);
}

static void
try(uint64_t place, int error, uint64_t at, bool for_good)
{
	long fds = have_fds();
	int64_t live = atomic_load(&page->live), before = acked, open = unknown, number;

	snprintf(fault, sizeof fault, "%s at %llx, error %d at %llu%s", functions[FAILING_FUNCTION_OF(place)],
	    (unsigned long long)FAILING_OFFSET_OF(place), error, (unsigned long long)at, for_good ? " for good" : "");
	page->what = place;
	page->error = error;
	page->at = at;
	page->for_good = for_good;
	atomic_store(&page->passed, 0);
	atomic_store(&page->fired, 0);
	number = highest;
	atomic_store(&page->mode, FAILING_FAILS);
	go();
	atomic_store(&page->mode, FAILING_OFF);
	if (atomic_load(&page->live) != live) {
		what = "afterwards";
		problem("memory is leaked");
	}
	if (have_fds() != fds) {
		what = "afterwards";
		problem("descriptors are leaked");
	}
	tidy();
	go();
	/* Each call that was done took one number, and none that wasn't did. */
	if (highest - number < acked - before || highest - number > acked - before + unknown - open) {
		what = "afterwards";
		problem("the sequence hasn't counted what was answered");
	}
}

static uint64_t
next_random(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *seed >> 33;
}

/* A random place, error, passing. */
static void
search(int64_t until, uint64_t seed, const int32_t *errors, int width)
{
	static struct failing_place places[FAILING_PLACES];
	const char *only = getenv("STASH_FAILING_ONLY");
	size_t n = 0, tried = 0;

	for (int i = 0; i < FAILING_PLACES; i++) {
		if (page->places[i].place != 0 && FAILING_PROCESS_OF(page->places[i].place) == FAILING_IS_client &&
		    (only == NULL || strcmp(functions[FAILING_FUNCTION_OF(page->places[i].place)], only) == 0))
			places[n++] = page->places[i];
	}
	while (stash__now_ns() < until && n > 0) {
		struct failing_place *p = &places[tried < 2 * n ? tried % n : next_random(&seed) % n];
		const int32_t *list = errors + (size_t)width * FAILING_FUNCTION_OF(p->place);
		int count = 0;

		while (count < width && list[count] != 0)
			count++;
		tried++;
		if (count > 0)
			try(p->place, list[tried <= n ? 0 : next_random(&seed) % (unsigned)count],
			    1 + (tried <= n ? 0 : next_random(&seed) % p->count), false);
	}
	printf("client: %zu places, %zu faults tried, %u problems, %lld calls answered\n", n, tried, bad,
	    (long long)acked);
}

int
main(int argc, char **argv)
{
	const char *path = getenv(FAILING_ENV);
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1, errors;
	const int32_t *list;
	int64_t until;

	if (argc < 5 || fd < 0)
		return 2;
	page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	errors = open(argv[4], O_RDONLY | O_CLOEXEC);
	list = errors < 0 ? MAP_FAILED :
			    mmap(NULL, FAILING_NFUNCTIONS * 8 * sizeof(*list), PROT_READ, MAP_SHARED, errors, 0);
	if (page == MAP_FAILED || list == MAP_FAILED)
		return 2;
	dir = argv[1];
	until = stash__now_ns() + atoll(argv[2]) * STASH__NS_PER_S;
	for (int i = 0; i < 3; i++) {
		atomic_store(&page->mode, i == 2 ? FAILING_COUNTS : FAILING_OFF);
		go();
	}
	atomic_store(&page->mode, FAILING_OFF);
	search(until, strtoull(argv[3], NULL, 10), list, 8);
	return bad > 0;
}
