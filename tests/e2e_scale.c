/* SPDX-License-Identifier: ISC */
/*
 * Many workers, few descriptors, a day's worth of crashes: what a worker and a channel cost supervisor and keeper is
 * counted, the limit of descriptors is met by a refusal and not by a failure, and thousands of deaths leave nothing
 * behind.  With STASH_TORTURE there are 4,000 workers and 100,000 deaths instead of 300 and 2,000.
 */
#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "stashd/files.h"
#include "store/store.h"
#include "testlib_live.h"

/* The keeper has of each what the supervisor has: control socket, pidfd, output. */
enum { KEEPER_WORKER = FILES_WORKER, NOISE = 8 /* clients of the test that come and go */ };

static bool
is_long(void)
{
	return getenv("STASH_TORTURE") != NULL;
}

/* For all of thousands of workers to do something, one after the other. */
static int
patience_ms(void)
{
	return is_long() ? 600000 : 60000;
}

/* ---- a tree of many ---- */

/* "w0", "w1", ... below the root. */
static void
start(struct t_stashd *d, unsigned workers, const char *ack)
{
	const char *module = t_build("examples/counter.so");
	size_t len;
	char *text;
	FILE *f = open_memstream(&text, &len);

	fprintf(f, "store = { ack = \"%s\"; size = \"4G\"; };\n", ack);
	fprintf(f, "tree = { intensity = 1000000; period = 1; children = (\n");
	for (unsigned i = 0; i < workers; i++)
		fprintf(f, "%s  { id = \"w%u\"; module = \"%s\"; }", i > 0 ? ",\n" : "", i, module);
	fprintf(f, "\n); };\n");
	fclose(f);
	t_stashd_start(d, text);
	free(text);
}

static const char *
name_of(unsigned i)
{
	static char name[16];

	snprintf(name, sizeof name, "w%u", i);
	return name;
}

static int
count_running(void *arg, const struct stash_process *p)
{
	*(unsigned *)arg += p->status == STASH_RUNNING;
	return 0;
}

/* Waits for its answer, over a takeover, too. */
static unsigned
running(struct stash_client *c)
{
	unsigned n = 0;
	int result = stash_which_children(c, "root", count_running, &n, patience_ms() * t_patience());

	ck_assert_msg(result == 0, "which_children: %s", stash_errmsg());
	return n;
}

struct all_run {
	struct stash_client *client;
	unsigned workers;
};

static bool
all_run(void *arg)
{
	struct all_run *a = arg;

	return running(a->client) == a->workers;
}

static void
await_all(struct stash_client *c, unsigned workers)
{
	struct all_run a = { c, workers };

	ck_assert_msg(t_wait_for(all_run, &a, patience_ms()), "of %u workers %u run", workers, running(c));
}

/* All of them at once. */
static void
murder_workers(struct t_stashd *d, unsigned workers)
{
	for (unsigned i = 0; i < workers; i++)
		ck_assert(t_murder(d, T_WORKER, name_of(i)));
}

/* ---- what a process has ---- */

static unsigned
fds_of(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static unsigned long entries, kilobytes;

static int
add_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path;
	(void)type;
	(void)ftw;
	entries++;
	kilobytes += (unsigned long)st->st_blocks / 2;
	return 0;
}

/* ---- descriptors ---- */

static struct {
	unsigned supervisor, keeper;
} fds;

static void
count_fds(const struct t_stashd *d)
{
	fds.supervisor = fds_of(t_pid(d, T_SUPERVISOR, NULL));
	fds.keeper = fds_of(d->proc.pid);
}

START_TEST(test_descriptors)
{
	enum { FEW = 10, MANY = 200 };
	struct t_stashd d = { 0 };
	struct stash_client *c;
	unsigned supervisor, keeper;

	start(&d, FEW, "crash");
	c = t_client(&d);
	await_all(c, FEW);
	stash_client_close(c);
	count_fds(&d);
	supervisor = fds.supervisor;
	keeper = fds.keeper;
	ck_assert_uint_le(supervisor, FILES_OWN + FEW * FILES_WORKER);
	t_stashd_stop(&d, 20000);
	t_remove_tree(t_store(&d));
	start(&d, MANY, "crash");
	c = t_client(&d);
	await_all(c, MANY);
	count_fds(&d);
	printf("%u more workers: %u descriptors more in the supervisor, %u in the keeper\n", MANY - FEW,
	    fds.supervisor - supervisor, fds.keeper - keeper);
	ck_assert_uint_le(fds.supervisor - supervisor, (MANY - FEW) * FILES_WORKER + NOISE);
	ck_assert_uint_le(fds.keeper - keeper, (MANY - FEW) * KEEPER_WORKER + NOISE);
	supervisor = fds.supervisor;
	keeper = fds.keeper;
	for (unsigned i = 0; i < MANY; i++)
		t_expect_call(c, name_of(i), "increment", NULL, "1");
	count_fds(&d);
	printf("%u channels: %u descriptors more in the supervisor, %u in the keeper\n", MANY,
	    fds.supervisor - supervisor, fds.keeper - keeper);
	ck_assert_uint_le(fds.supervisor - supervisor, MANY * FILES_CHANNEL + FILES_CLIENT + NOISE);
	ck_assert_uint_le(fds.keeper - keeper, MANY * FILES_CHANNEL + NOISE);
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}
END_TEST

/* ---- the limit ---- */

enum { LIMIT = 900, LOW_LIMIT = 400 };

/* For this process and those that it starts; there is no way back. */
static void
lower_limit(rlim_t files)
{
	const struct rlimit limit = { files, files };

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int
start_child(struct stash_client *c, const char *id)
{
	struct stash_child_spec spec = { .size = sizeof spec, .id = id, .module = t_build("examples/counter.so") };

	return stash_start_child(c, "root", &spec, NULL, 20000);
}

static bool
can_start_again(void *arg)
{
	return start_child(arg, "again") == 0;
}

START_TEST(test_too_many_workers)
{
	struct t_stashd d = { 0 };
	struct stash_client *c, *late;
	char expected[16];
	unsigned n = 0;
	int result = 0;

	lower_limit(LIMIT);
	start(&d, 1, "crash");
	c = t_client(&d);
	for (n = 1; n < LIMIT && result == 0; n++)
		result = start_child(c, name_of(n));
	n--;
	ck_assert_msg(result == STASH_E_BUSY, "%s: %s", stash_errname(result), stash_errmsg());
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "descriptors"));
	ck_assert_str_eq(stash_errterm(), "system_limit");
	ck_assert_uint_ge(n, (LIMIT - FILES_OWN - FILES_SPARE - FILES_VISITS) / FILES_WORKER - 3);
	/* One that is there is told so, as ever. */
	ck_assert_int_eq(start_child(c, "w1"), STASH_E_STARTED);
	/* What is there lives on: all die at once, and the supervisor, and all come back. */
	murder_workers(&d, n);
	await_all(c, n);
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	await_all(c, n);
	murder_workers(&d, n);
	await_all(c, n);
	ck_assert_int_eq(start_child(c, "again"), STASH_E_BUSY);
	/* Somebody else may come and look, and make room. */
	late = t_client(&d);
	ck_assert_uint_eq(running(late), n);
	ck_assert_int_eq(stash_terminate_child(late, "root", "w3", 20000), 0);
	ck_assert_int_eq(start_child(c, "again"), STASH_E_BUSY); /* it may be restarted */
	ck_assert_int_eq(stash_delete_child(late, "root", "w3", 20000), 0);
	ck_assert_int_eq(stash_terminate_child(late, "root", "w4", 20000), 0);
	ck_assert_int_eq(stash_delete_child(late, "root", "w4", 20000), 0);
	ck_assert(t_wait_for(can_start_again, c, 10000));
	snprintf(expected, sizeof expected, "%d", 1);
	t_expect_call(late, "again", "increment", NULL, expected);
	stash_client_close(late);
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}
END_TEST

START_TEST(test_too_many_channels)
{
	enum { CLIENTS = 100 };
	struct t_stashd d = { 0 };
	struct stash_client *c[CLIENTS] = { NULL }, *late;
	unsigned n, workers = 40;
	int result = 0;

	lower_limit(LIMIT);
	start(&d, workers, "crash");
	for (n = 0; n < CLIENTS && result == 0; n++) {
		c[n] = t_client(&d);
		for (unsigned i = 0; i < 4 && result == 0; i++)
			result = stash_call(c[n], name_of((n + i) % workers), "increment", NULL, 0, NULL, 20000);
	}
	ck_assert_msg(result == STASH_E_BUSY, "%s: %s", stash_errname(result), stash_errmsg());
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "descriptors"));
	/* The channels that are there go on, over the death of everybody. */
	murder_workers(&d, workers);
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	for (unsigned i = 0; i + 1 < n; i++)
		ck_assert_msg(stash_call(c[i], name_of(i % workers), "increment", NULL, 0, NULL, 20000) == 0, "%s",
		    stash_errmsg());
	late = t_client(&d);
	await_all(late, workers);
	/* One goes, another one finds its room. */
	for (unsigned i = 0; i < n / 2; i++)
		stash_client_close(c[i]);
	ck_assert_int_eq(stash_terminate_child(late, "root", "w0", 20000), 0);
	ck_assert_int_eq(stash_restart_child(late, "root", "w0", NULL, 20000), 0);
	do
		result = stash_call(late, "w1", "get", NULL, 0, NULL, 20000);
	while (result == STASH_E_BUSY); /* until the others' channels are let go; the test's time bounds it */
	ck_assert_msg(result == 0, "%s", stash_errmsg());
	for (unsigned i = n / 2; i < n; i++)
		stash_client_close(c[i]);
	stash_client_close(late);
	t_stashd_stop(&d, 20000);
}
END_TEST

/* A tree that doesn't fit isn't begun. */
START_TEST(test_too_large_a_tree)
{
	struct t_stashd d = { 0 };
	struct t_proc p = { 0 };
	const char *const argv[] = { t_build("stashd"), "-d", t_path("store"), "-f", t_path("stashd.conf"), NULL };
	char *output, *conf, *changed;

	start(&d, 200, "crash");
	conf = t_read_file(t_path("stashd.conf"), NULL);
	t_stashd_stop(&d, 20000);
	lower_limit(LOW_LIMIT);
	t_spawn(&p, argv, NULL);
	ck_assert_int_ne(t_wait(&p, 20000), 0);
	output = t_output(&p);
	ck_assert_msg(strstr(output, "descriptors") != NULL && strstr(output, "LimitNOFILE") != NULL, "%s", output);
	free(output);
	/* Nor is it what a running one changes into. */
	start(&d, 3, "crash");
	changed = strdup(conf);
	t_write_file(t_path("stashd.conf"), changed);
	t_kill(&d.proc, SIGHUP);
	t_wait_output(&d.proc, "descriptors", 20000);
	free(changed);
	free(conf);
	t_stashd_stop(&d, 20000);
}
END_TEST

/* ---- many ---- */

START_TEST(test_many)
{
	unsigned workers = is_long() ? 4000 : 300;
	struct t_stashd d = { 0 };
	struct stash_client *c;
	int64_t began = stash__now_ns(), up, taken, back;
	unsigned supervisor, keeper;

	start(&d, workers, "crash");
	c = t_client(&d);
	await_all(c, workers);
	up = stash__now_ns() - began;
	count_fds(&d);
	supervisor = fds.supervisor;
	keeper = fds.keeper;
	for (int i = 0; i < 3; i++) {
		began = stash__now_ns();
		ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
		await_all(c, workers);
		taken = stash__now_ns() - began;
	}
	count_fds(&d);
	ck_assert_uint_le(fds.supervisor, supervisor + NOISE);
	ck_assert_uint_le(fds.keeper, keeper + NOISE);
	/* Everybody at once, and the one who would restart them as well. */
	began = stash__now_ns();
	murder_workers(&d, workers);
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	await_all(c, workers);
	back = stash__now_ns() - began;
	for (unsigned i = 0; i < workers; i += 7)
		t_expect_call(c, name_of(i), "increment", NULL, "1");
	printf("%u workers: up in %lld ms, taken over in %lld ms, all restarted in %lld ms\n", workers,
	    (long long)(up / STASH__NS_PER_MS), (long long)(taken / STASH__NS_PER_MS),
	    (long long)(back / STASH__NS_PER_MS));
	stash_client_close(c);
	t_stashd_stop(&d, patience_ms());
}
END_TEST

/* ---- a day's worth of crashes ---- */

struct sizes {
	unsigned long fds[3], memory[3]; /* keeper, supervisor, stash */
	unsigned long run_entries, run_kib, store_kib;
};

static struct sizes
measure(const struct t_stashd *d)
{
	pid_t pids[3] = { d->proc.pid, t_pid(d, T_SUPERVISOR, NULL), t_pid(d, T_STASH, NULL) };
	struct sizes s;

	for (int i = 0; i < 3; i++) {
		s.fds[i] = fds_of(pids[i]);
		s.memory[i] = t_memory(pids[i]);
	}
	entries = kilobytes = 0;
	ck_assert_int_eq(nftw(t_run_of(d), add_file, 16, FTW_PHYS), 0);
	s.run_entries = entries;
	s.run_kib = kilobytes;
	kilobytes = 0;
	ck_assert_int_eq(nftw(t_store(d), add_file, 16, FTW_PHYS), 0);
	s.store_kib = kilobytes;
	return s;
}

/* Kills all of them, and has each count one more. */
static void
kill_round(struct t_stashd *d, struct stash_client *c, unsigned workers, unsigned round)
{
	char expected[16];

	murder_workers(d, workers);
	snprintf(expected, sizeof expected, "%u", round);
	for (unsigned i = 0; i < workers; i++)
		t_expect_call(c, name_of(i), "increment", NULL, expected);
}

static void
compare_sizes(const struct sizes *a, const struct sizes *b, unsigned filling)
{
	static const char *const who[] = { "keeper", "supervisor", "stash" };

	for (int i = 0; i < 3; i++)
		printf("%s: %lu to %lu descriptors, %lu to %lu KiB\n", who[i], a->fds[i], b->fds[i], a->memory[i],
		    b->memory[i]);
	printf("run directory: %lu to %lu files, %lu to %lu KiB; store: %lu to %lu KiB\n", a->run_entries,
	    b->run_entries, a->run_kib, b->run_kib, a->store_kib, b->store_kib);
	fflush(stdout);
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_le(b->fds[i], a->fds[i] + NOISE);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed for a while */
		/* Not a byte for each crash, beyond what a heap moves anyway. */
		ck_assert_uint_le(b->memory[i], a->memory[i] + 300);
#endif
	}
	ck_assert_uint_le(b->run_entries, a->run_entries + 2);
	ck_assert_uint_le(b->run_kib, a->run_kib + 256);
	/* Until the event log is full, two events for each. */
	ck_assert_uint_le(b->store_kib, a->store_kib + filling / 2 + (filling > 0 ? 1024 : 256));
}

START_TEST(test_crashes)
{
	enum { WORKERS = 40, WARM = 15, FULL_LOG = 4 * STORE_EVENT_RING };
	/* The long one begins when the event log was full for a while, and its pages are as full as they will be. */
	unsigned warmth = is_long() ? WARM + FULL_LOG / WORKERS : WARM;
	unsigned rounds = is_long() ? 100000 / WORKERS : 2000 / WORKERS, round = 0;
	struct t_stashd d = { 0 };
	struct stash_client *c;
	int64_t began;
	struct sizes warm, now;

	start(&d, WORKERS, "crash");
	c = t_client(&d);
	await_all(c, WORKERS);
	while (round < warmth) {
		round++;
		kill_round(&d, c, WORKERS, round);
	}
	warm = measure(&d);
	began = stash__now_ns();
	while (round < warmth + rounds) {
		round++;
		kill_round(&d, c, WORKERS, round);
	}
	now = measure(&d);
	printf("%u crashes in %lld ms; ", rounds * WORKERS, (long long)((stash__now_ns() - began) / STASH__NS_PER_MS));
	compare_sizes(&warm, &now, is_long() ? 0 : rounds * WORKERS);
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("scale");
	TCase *c = t_case(s, "scale", 120);

	tcase_add_test(c, test_descriptors);
	tcase_add_test(c, test_too_many_workers);
	tcase_add_test(c, test_too_many_channels);
	tcase_add_test(c, test_too_large_a_tree);
	c = t_case(s, "many", 120);
	tcase_add_test(c, test_many);
	c = t_case(s, "crashes", 300);
	tcase_add_test(c, test_crashes);
	return s;
}

TEST_MAIN(suite)
