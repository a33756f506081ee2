/* SPDX-License-Identifier: ISC */
/*
 * Backup and restore are killed at each system call that they make: the store is then the old one or the new one, what
 * was there is there under one name or the other, no backup is a half one, and the same command, given again, does it.
 * The tools have one thread, so the exit of a call is the entry of the next one.  A stash process dies likewise while
 * it makes the copy of a living store.  Where each death needs a stashd there is a sample of them here, all with
 * STASH_TORTURE.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/stash.h>

#include "stash-inspect/inspect.h"
#include "stashctl/ctl.h"
#include "testlib_damage.h"
#include "testlib_tools.h"
#include "testlib_tracer.h"

#define LOG "tool.log"
#define SAMPLE 4 /* each so many-th point, where each needs a stashd */

static unsigned char *backup; /* its bytes */
static size_t backup_len;

/* ---- a tool that is killed ---- */

static void
exec_words(void *arg)
{
	char *const *words = arg;
	int log = open(t_path(LOG), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600),
	    null = open("/dev/null", O_RDONLY);

	if (log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(127);
	/* LeakSanitizer is a tracer itself, and there can be only one. */
	(void)setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	execv(words[0], words);
	_exit(127);
}

static int
await(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		ck_assert_int_eq(errno, EINTR);
	return status;
}

/* Kills it at the entry of its n-th call, if it makes so many: true.  Else it does what it was told. */
static bool
killed_at(uint64_t n, const char *const *words)
{
	struct tracer_plan plan = {
		.acts = { { .what = TRACER_KILL, .kind = TRACER_CLIENT, .nth = n, .when = TRACER_ENTRY } }, .nacts = 1
	};
	struct tracer *t = tracer_start(&plan);
	struct tracer_report report;
	int status = await(tracer_fork(t, TRACER_CLIENT, exec_words, (void *)(uintptr_t)words));

	tracer_end(t, &report);
	ck_assert_msg(report.done == 1 || status == 0, "%s: status %#x", words[1], (unsigned)status);
	return report.done == 1;
}

/* ---- places ---- */

static void
shell(const char *command)
{
	struct t_result r;

	t_run(&r, NULL, (const char *const[]){ "sh", "-euc", command, "sh", t_dir(), t_run_of(&td_stashd), NULL });
	ck_assert_msg(r.status == 0, "%s: %s", command, r.err);
	t_result_free(&r);
}

static bool
is(const char *path, const unsigned char *bytes, size_t len)
{
	size_t n;
	char *text = t_read_file(path, &n);
	bool same = n == len && memcmp(text, bytes, len) == 0;

	free(text);
	return same;
}

/* How many files of that directory begin so and, bytes not being NULL, hold that. */
static int
count(const char *dir, const char *begin, const unsigned char *bytes, size_t len)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL)
		n += strncmp(e->d_name, begin, strlen(begin)) == 0 &&
		    (bytes == NULL || is(t_path("%s/%s", strrchr(dir, '/') + 1, e->d_name), bytes, len));
	closedir(d);
	return n;
}

static void
read_backup(void)
{
	DIR *d = opendir(t_path("backups"));
	struct dirent *e;

	ck_assert_ptr_nonnull(d);
	backup = NULL;
	while ((e = readdir(d)) != NULL) {
		const char *end = strrchr(e->d_name, '.');

		if (end != NULL && strcmp(end, ".mdb") == 0)
			backup = (unsigned char *)t_read_file(t_path("backups/%s", e->d_name), &backup_len);
	}
	closedir(d);
	ck_assert_ptr_nonnull(backup);
}

static void
begin(void)
{
	td_begin();
	read_backup();
}

static void
end(void)
{
	free(backup);
	td_end();
}

/* ---- restore ---- */

/* False: the old database is in its place. */
static bool
exchanged(void)
{
	if (is(td_data(), td_whole, td_whole_len))
		return false;
	ck_assert_msg(is(td_data(), backup, backup_len), "the database is neither the old one nor the backup");
	return true;
}

static void
is_restored(void)
{
	ck_assert(exchanged());
	ck_assert_int_ge(count(t_store(&td_stashd), "data.mdb.replaced-", td_whole, td_whole_len), 1);
	ck_assert_int_eq(count(t_store(&td_stashd), "data.mdb.restored", NULL, 0), 0);
	INSPECT(0, NULL, "check");
}

START_TEST(test_restore)
{
	const char *words[] = { t_build("stashctl"), "-d", NULL, "restore", "--yes", t_path("backups"), NULL };
	uint64_t n = 0;
	int before = 0, after = 0;

	begin();
	words[2] = t_store(&td_stashd);
	shell("cp -a \"$1/store\" \"$1/as-it-was\"");
	do {
		shell("rm -rf \"$1/store\" && cp -a \"$1/as-it-was\" \"$1/store\"");
		if (!killed_at(++n, words))
			break;
		if (exchanged())
			after++;
		else
			before++;
		ck_assert(
		    !exchanged() || count(t_store(&td_stashd), "data.mdb.replaced-", td_whole, td_whole_len) == 1);
		INSPECT(0, NULL, "check");
		CTL(0, "Restored", "restore", "--yes", t_path("backups"));
		is_restored();
	} while (true);
	is_restored();
	printf("restore: killed %d times before the exchange, %d behind it\n", before, after);
	ck_assert_int_gt(before, 50);
	ck_assert_int_gt(after, 2);
	td_start();
	td_take(20, 21);
	t_stashd_stop(&td_stashd, 20000);
	end();
}
END_TEST

/* ---- with slots ---- */

static bool
slots_left(void)
{
	return access(t_path("run/slot"), F_OK) == 0 && count(t_path("run/slot"), "sequence", NULL, 0) > 0;
}

/* What it is told by a store that isn't the slots': it doesn't begin, and names both ways out. */
static void
is_refused(void)
{
	char *text;

	t_spawn(&td_stashd.proc,
	    (const char *const[]){ t_build("stashd"), "-d", t_store(&td_stashd), "-f", td_stashd.conf, NULL }, NULL);
	ck_assert_int_eq(t_wait(&td_stashd.proc, 20000), EX_DATAERR);
	text = t_output(&td_stashd.proc);
	ck_assert_msg(strstr(text, "keep-slots") != NULL && strstr(text, "discard-slots") != NULL, "%s", text);
	free(text);
}

static void
gives(int number)
{
	td_start();
	td_take(number, number);
	t_murder_all(&td_stashd);
}

/* The word of the operator is kept to, or can be given again; the backup's numbers and the slots' never mix. */
static void
check_slots(bool keep, unsigned seen[3])
{
	bool new = exchanged(), left = slots_left();

	if (!new || keep) {
		seen[0]++;
		ck_assert_msg(left, "the slots are gone, and the database is not the backup's");
		gives(40);
	} else if (left) {
		seen[1]++;
		is_refused();
		CTL(0, NULL, "restore", "--yes", "--discard-slots", t_path("backups"));
		gives(20);
	} else {
		seen[2]++;
		gives(20);
	}
}

START_TEST(test_slots)
{
	bool keep = _i == 1;
	const char *words[] = { t_build("stashctl"), "-d", NULL, "restore", "--yes",
		keep ? "--keep-slots" : "--discard-slots", t_path("backups"), NULL };
	uint64_t step = getenv("STASH_TORTURE") != NULL ? 1 : SAMPLE, n = (uint64_t)getpid() % step;
	unsigned seen[3] = { 0 };

	begin();
	words[2] = t_store(&td_stashd);
	td_start();
	td_take(30, 39);
	t_murder_all(&td_stashd);
	ck_assert_int_eq(symlink(t_run_of(&td_stashd), t_path("run")), 0);
	free(td_whole);
	td_whole = (unsigned char *)t_read_file(td_data(), &td_whole_len);
	shell("cp -a \"$1/store\" \"$1/as-it-was\" && cp -a \"$2\" \"$1/slots-as-they-were\"");
	do {
		shell("rm -rf \"$1/store\" \"$2\" \"$2\".* && cp -a \"$1/as-it-was\" \"$1/store\" && "
		      "cp -a \"$1/slots-as-they-were\" \"$2\"");
		n += step;
		if (!killed_at(n, words))
			break;
		check_slots(keep, seen);
	} while (true);
	ck_assert(exchanged() && slots_left() == keep);
	gives(keep ? 40 : 20);
	printf("%s: %u deaths went on with the slots, %u were refused until it was said again, %u were too late\n",
	    words[5], seen[0], seen[1], seen[2]);
	ck_assert_uint_gt(seen[0], 20);
	end();
}
END_TEST

/* ---- backup ---- */

static void
is_backed_up(void)
{
	INSPECT(0, NULL, "check", t_path("backups"));
	INSPECT(0, "verified", "backup", t_path("backups"));
	INSPECT(0, NULL, "check", t_path("backups"));
	ck_assert_int_eq(count(t_path("backups"), ".", NULL, 0), 2); /* . and .. */
}

START_TEST(test_backup)
{
	const char *words[] = { t_build("stash-inspect"), "-d", NULL, "backup", t_path("backups"), NULL };
	uint64_t n = 0;

	begin();
	words[2] = t_store(&td_stashd);
	shell("cp -a \"$1/backups\" \"$1/as-they-were\"");
	do {
		shell("rm -rf \"$1/backups\" && cp -a \"$1/as-they-were\" \"$1/backups\"");
		if (!killed_at(++n, words))
			break;
		ck_assert(is(td_data(), td_whole, td_whole_len));
		is_backed_up();
	} while (true);
	is_backed_up();
	printf("backup: killed %llu times\n", (unsigned long long)n - 1);
	ck_assert_uint_gt(n, 50);
	CTL(0, "Restored", "restore", "--yes");
	end();
}
END_TEST

/* ---- of a living store ---- */

static void
exec_stashd(void *arg)
{
	const char *words[] = { t_build("stashd"), "-d", t_store(&td_stashd), "-f", td_stashd.conf, NULL };

	(void)arg;
	exec_words((void *)(uintptr_t)words);
}

static bool
answers(void *arg)
{
	struct stash_client_options options = { .size = sizeof options, .wait_ms = 200 };
	struct stash_client *client = NULL;
	bool yes = stash_client_open(&client, t_store(&td_stashd), &options) == STASH_OK;

	(void)arg;
	stash_client_close(client);
	return yes;
}

/* The stash dies at its n-th call since the tool has begun.  False: it makes fewer, or has died before the end. */
static bool
copier_killed_at(uint64_t n, int from, int *status)
{
	const char *words[] = { t_build("stash-inspect"), "-d", t_store(&td_stashd), "backup", t_path("backups"),
		NULL };
	struct tracer_plan plan = {
		.acts = { { .what = TRACER_MARK, .kind = TRACER_CLIENT, .nth = 1, .when = TRACER_ENTRY },
		    { .what = TRACER_KILL,
			.kind = TRACER_STASH,
			.nth = n,
			.when = n % 2 == 0 ? TRACER_ENTRY : TRACER_EXIT } },
		.nacts = 2
	};
	struct tracer *t = tracer_start(&plan);
	pid_t keeper = tracer_fork(t, TRACER_KEEPER, exec_stashd, NULL);
	struct tracer_report report;
	unsigned done;

	ck_assert(t_wait_for(answers, NULL, 20000));
	*status = await(tracer_fork(t, TRACER_CLIENT, exec_words, (void *)(uintptr_t)words));
	done = tracer_done(t);
	td_take(from, from);
	ck_assert_int_eq(kill(keeper, SIGTERM), 0); /* unreaped, so it is the one */
	ck_assert_int_eq(await(keeper), 0);
	tracer_end(t, &report);
	return done == 2;
}

START_TEST(test_backup_of_a_living_store)
{
	uint64_t step = getenv("STASH_TORTURE") != NULL ? 1 : SAMPLE, n = (uint64_t)getpid() % step;
	int next = 30, status, failed = 0;

	begin();
	while (copier_killed_at(n += step, next++, &status)) {
		/* The next stash process is asked again, or the tool says that there is none. */
		ck_assert_msg(WIFEXITED(status) &&
			(status == 0 || WEXITSTATUS(status) == EX_UNAVAILABLE || WEXITSTATUS(status) == EX_TEMPFAIL ||
			    WEXITSTATUS(status) == EX_IOERR),
		    "status %#x", (unsigned)status);
		failed += status != 0;
		INSPECT(0, NULL, "check", t_path("backups"));
		t_no_children(5000);
	}
	is_backed_up();
	printf("backup of a living store: %llu deaths of the stash, %d of them seen by the tool\n",
	    (unsigned long long)(n / step) - 1, failed);
	ck_assert_uint_gt(n, 10);
	end();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("restore_deaths");
	TCase *c = t_case(s, "restore_deaths", 200);

	tcase_add_test(c, test_restore);
	tcase_add_loop_test(c, test_slots, 0, 2);
	tcase_add_test(c, test_backup);
	tcase_add_test(c, test_backup_of_a_living_store);
	return s;
}

TEST_MAIN(suite)
