/* SPDX-License-Identifier: ISC */
/*
 * The way back from damage, or from a mistake: restore, with the slots and without, undone, elsewhere, refused; a store
 * that was exchanged by hand; one that is damaged while it is used.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/boot.h"
#include "base/clock.h"
#include "shm/slot.h"
#include "stash-inspect/inspect.h"
#include "stashctl/ctl.h"
#include "store/backup.h"
#include "testlib_damage.h"
#include "testlib_tools.h"
#include "testlib_users.h"

/* ---- the way back ---- */

static bool
holds(const char *dir, const char *prefix)
{
	DIR *dp = opendir(dir);
	struct dirent *e;
	bool yes = false;

	ck_assert_ptr_nonnull(dp);
	while ((e = readdir(dp)) != NULL)
		yes = yes || strncmp(e->d_name, prefix, strlen(prefix)) == 0;
	closedir(dp);
	return yes;
}

START_TEST(test_restore_after_damage)
{
	td_begin();
	memset(td_whole + 2 * TD_PAGE, 0xee, td_whole_len - 2 * TD_PAGE);
	td_save(td_whole, td_whole_len);
	CTL(EX_USAGE, "--yes", "restore");
	ck_assert(!holds(t_store(&td_stashd), "data.mdb.damaged"));
	CTL(0, "damaged: ", "restore", "--yes");
	ck_assert(holds(t_store(&td_stashd), "data.mdb.damaged-"));
	td_start();
	td_take(20, 22);
	t_stashd_stop(&td_stashd, 20000);
	/* Back and forth: what a restore has set aside is itself restored. */
	CTL(0, "sequence: version", "restore", "--yes", t_path("backups"));
	ck_assert(holds(t_store(&td_stashd), "data.mdb.replaced-"));
	td_end();
}
END_TEST

START_TEST(test_restore_is_undone)
{
	struct tt_result r;
	char command[PATH_MAX], *at;

	td_begin();
	TT_RUN(&r, &stashctl, "restore", "-y", t_path("backups"));
	tt_exits(&r, 0);
	at = strstr(r.out, "restore --yes ");
	ck_assert_ptr_nonnull(at);
	snprintf(command, sizeof command, "%s", at + strlen("restore --yes "));
	command[strcspn(command, "\n")] = '\0';
	tt_free(&r);
	CTL(0, "Restored", "restore", "--yes", command);
	td_start();
	td_take(30, 31);
	t_stashd_stop(&td_stashd, 20000);
	td_end();
}
END_TEST

START_TEST(test_empty_instead)
{
	td_begin();
	t_remove_tree(t_path("backups"));
	memset(td_whole, 0, td_whole_len);
	td_save(td_whole, td_whole_len);
	CTL(EX_NOHOST, "no good backup is known", "restore", "--yes");
	CTL(0, "empty store", "restore", "--empty", "--yes");
	ck_assert(holds(t_store(&td_stashd), "data.mdb.damaged-"));
	td_start();
	td_take(0, 2);
	t_stashd_stop(&td_stashd, 20000);
	td_end();
}
END_TEST

START_TEST(test_restore_elsewhere_and_what_is_refused)
{
	struct t_result r;
	char path[PATH_MAX];

	td_begin();
	/* Another store. */
	ck_assert_int_eq(mkdir(t_path("new"), 0700), 0);
	CTL(EX_NOHOST, "name one", "restore", "--yes", "-d", t_path("new"));
	CTL(0, "Restored", "restore", "--yes", "-d", t_path("new"), t_path("backups"));
	td_stashd.dir = t_path("new");
	td_start();
	td_take(20, 21);
	CTL(EX_TEMPFAIL, "stashd has to be stopped first", "restore", "--yes", t_path("backups"));
	t_stashd_stop(&td_stashd, 20000);
	td_stashd.dir = NULL;
	ck_assert_int_eq(setenv("STASH_DIR", t_path("store"), 1), 0);
	/* A byte of a backup. */
	t_run(&r, NULL,
	    (const char *const[]){ "sh", "-c",
		"cd \"$0\" && for f in *.mdb; do printf x | dd of=\"$f\" bs=1 seek=9000 conv=notrunc; done",
		t_path("backups"), NULL });
	ck_assert_int_eq(r.status, 0);
	t_result_free(&r);
	CTL(EX_DATAERR, "its checksum isn't what it was", "restore", "--yes", t_path("backups"));
	CTL(EX_NOHOST, "no good backup is known", "restore", "--yes");
	INSPECT(EX_DATAERR, NULL, "check", t_path("backups"));
	INSPECT(1, "checksum isn't", "check");
	INSPECT(EX_USAGE, "the store's own directory", "backup", t_path("store"));
	/* None of it has touched the store. */
	snprintf(path, sizeof path, "%s", t_path("store"));
	ck_assert(!holds(path, "data.mdb."));
	td_start();
	td_take(30, 31);
	t_stashd_stop(&td_stashd, 20000);
	td_end();
}
END_TEST

/* The operator's word about slots: asked for, and kept to. */
START_TEST(test_slots_and_a_backup)
{
	td_begin();
	td_start();
	td_take(30, 39);
	t_murder_all(&td_stashd);
	CTL(EX_USAGE, "--keep-slots", "restore", "--yes", t_path("backups"));
	ck_assert(!holds(t_store(&td_stashd), "data.mdb.replaced-"));
	CTL(0, "Nothing that is known becomes older", "restore", "--yes", "--keep-slots", t_path("backups"));
	td_start();
	td_take(40, 41);
	t_murder_all(&td_stashd);
	CTL(0, "discarded", "restore", "--yes", "--discard-slots", t_path("backups"));
	td_start();
	td_take(20, 21);
	t_stashd_stop(&td_stashd, 20000);
	td_end();
}
END_TEST

/* Runs the commands that a restore has printed. */
static void
undo(const char *slots)
{
	struct t_result done;
	struct tt_result r;
	const char *at;

	TT_RUN(&r, &stashctl, "restore", "-y", slots, t_path("backups"));
	tt_exits(&r, 0);
	at = strstr(r.out, "before stashd is started:\n");
	ck_assert_msg(at != NULL, "%s", r.out);
	t_run(&done, NULL,
	    (const char *const[]){
		"sh", "-ec", "PATH=$0:$PATH; eval \"$1\"", t_build("."), strchr(at, '\n') + 1, NULL });
	ck_assert_msg(done.status == 0, "%s\n%s%s", r.out, done.out, done.err);
	t_result_free(&done);
	tt_free(&r);
}

/* After the printed commands all is as it was, what only the slots had, too. */
START_TEST(test_undone_as_printed)
{
	int fd;

	td_begin();
	td_start();
	td_take(30, 39);
	t_murder_all(&td_stashd);
	if (_i == 2) { /* a damaged one comes back as it was */
		fd = open(td_data(), O_WRONLY | O_TRUNC | O_CLOEXEC);
		ck_assert_int_ge(fd, 0);
		close(fd);
	}
	undo(_i == 0 ? "--keep-slots" : "--discard-slots");
	if (_i == 2)
		CTL(0, "kept", "restore", "--yes", "--keep-slots");
	td_start();
	td_take(40, 41);
	t_stashd_stop(&td_stashd, 20000);
	td_end();
}
END_TEST

/* A program that doesn't end when stashd does, and is found by its slot only. */
START_TEST(test_discarding_ends_what_was_left)
{
	static const char *const words[2][4] = { { "restore", "--yes", "--discard-slots", NULL },
		{ "discard-slots", "--yes", NULL } };
	pid_t sleeper;
	char left[100];

	td_begin();
	t_stashd_start(&td_stashd,
	    "tree = { children = ( { id = \"sleeper\"; exec = [\"/bin/sleep\", \"1000\"]; notify = \"none\"; } ); };");
	ck_assert_int_eq(setenv("STASH_DIR", t_store(&td_stashd), 1), 0);
	CTL(0, "", "wait", "sleeper");
	sleeper = t_pid(&td_stashd, T_WORKER, "sleeper");
	ck_assert(sleeper > 0);
	t_murder_stashd(&td_stashd);
	ck_assert_int_eq(waitpid(sleeper, NULL, WNOHANG), 0);
	snprintf(left, sizeof left, "process %d of sleeper: killed", (int)sleeper);
	td_ctl(0, left, words[_i]);
	ck_assert_int_eq(waitpid(sleeper, NULL, WNOHANG), sleeper);
	td_end();
}
END_TEST

/* Which is written to while it is read: it stands for its store, and is no backup before that has ended. */
START_TEST(test_database_of_a_living_store)
{
	char path[PATH_MAX], new[PATH_MAX];
	struct tt_result r;

	td_begin();
	td_start();
	snprintf(path, sizeof path, "%s", td_data());
	snprintf(new, sizeof new, "%s", t_path("new"));
	ck_assert_int_eq(mkdir(new, 0700), 0);
	TT_RUN(&r, &stash_inspect, "check", path);
	tt_exits(&r, 0);
	tt_says(&r, "slots    2 are whole");
	tt_free(&r);
	CTL(EX_TEMPFAIL, "make a backup of it", "restore", "--yes", "-d", new, path);
	t_stashd_stop(&td_stashd, 20000);
	CTL(EX_USAGE, "is to be replaced", "restore", "--yes", path);
	CTL(0, "Restored", "restore", "--yes", "-d", new, path);
	td_stashd.dir = new;
	td_start();
	td_take(30, 31);
	t_stashd_stop(&td_stashd, 20000);
	td_end();
}
END_TEST

/* Copied over by hand, stashd refuses, and says what to do; it is done. */
START_TEST(test_store_exchanged_by_hand)
{
	td_begin();
	td_start();
	td_take(30, 39);
	td_await_stored();
	t_murder_all(&td_stashd);
	td_save(td_whole, td_whole_len); /* of number 29 */
	for (int i = 0; i < 2; i++) {
		char *text;

		t_spawn(&td_stashd.proc,
		    (const char *const[]){ t_build("stashd"), "-d", t_store(&td_stashd), "-f", td_stashd.conf, NULL },
		    NULL);
		ck_assert_int_eq(t_wait(&td_stashd.proc, 20000), EX_DATAERR);
		text = t_output(&td_stashd.proc);
		ck_assert_msg(strstr(text, "keep-slots") != NULL && strstr(text, "discard-slots") != NULL, "%s", text);
		free(text);
	}
	CTL(0, "next start", "keep-slots");
	td_start();
	td_take(40, 41);
	td_await_stored();
	t_murder_all(&td_stashd);
	td_save(td_whole, td_whole_len);
	CTL(EX_USAGE, "--yes", "discard-slots");
	CTL(0, "until the next reboot", "discard-slots", "--yes");
	td_start();
	td_take(30, 31);
	t_stashd_stop(&td_stashd, 20000);
	td_end();
}
END_TEST

/* ---- while it runs ---- */

static bool
says_damaged(void *arg)
{
	char *text = t_output(&td_stashd.proc);
	bool yes = strstr(text, "the stash can't start: ") != NULL;

	(void)arg;
	free(text);
	return yes;
}

static bool
is_ill(void *arg)
{
	struct tt_result r;
	bool ill;

	(void)arg;
	TT_RUN(&r, &stash_inspect, "health");
	ill = r.status == 1 && strstr(r.out, "silent") != NULL;
	tt_free(&r);
	return ill;
}

/* Although a stashd runs: the stash process, which would make the copy, can't start. */
static bool
check_finds_it(void *arg)
{
	struct tt_result r;
	bool found;

	(void)arg;
	TT_RUN(&r, &stash_inspect, "-t", "10", "check");
	found = r.status == EX_DATAERR;
	tt_free(&r);
	return found;
}

/* The file is spoilt under a running stash process: workers go on, nothing that was answered is lost, and the way back
 * keeps the slots. */
START_TEST(test_damage_of_a_living_store)
{
	struct stash_client *c;
	int fd;

	td_begin();
	td_start();
	c = t_client(&td_stashd);
	td_take_with(c, 30, 39);
	fd = open(td_data(), O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	if (_i == 0)
		ck_assert_int_eq(ftruncate(fd, 3 * TD_PAGE), 0);
	else
		for (off_t at = 2 * TD_PAGE; at < (off_t)td_whole_len; at += TD_PAGE)
			ck_assert_int_eq(pwrite(fd, td_whole, TD_PAGE, at), TD_PAGE);
	close(fd);
	(void)t_murder(&td_stashd, T_STASH, NULL);
	ck_assert(t_wait_for(says_damaged, NULL, 30000));
	td_take_with(c, 40, 49);
	stash_client_close(c);
	ck_assert(t_wait_for(is_ill, NULL, 20000));
	ck_assert(t_wait_for(check_finds_it, NULL, 20000));
	t_kill(&td_stashd.proc, SIGTERM);
	(void)t_wait(&td_stashd.proc, 90000);
	t_no_children(20000);
	CTL(0, "kept", "restore", "--yes", "--keep-slots");
	td_start();
	td_take(50, 51);
	t_stashd_stop(&td_stashd, 20000);
	td_end();
}
END_TEST

/* ---- stashd as a user of its own, the tools as root ---- */

static void
shell(const char *command)
{
	struct t_result r;

	t_run(&r, NULL,
	    (const char *const[]){
		"sh", "-euc", command, t_dir(), t_build("stashd"), t_build("examples/sequence.so"), NULL });
	ck_assert_msg(r.status == 0, "%s: %s", command, r.err);
	t_result_free(&r);
}

/* Copies of program and module are where that user can get at them; a script in the program's place becomes him. */
static void
begin_as_user(void)
{
	static char config[PATH_MAX + 200];

	memset(&td_stashd, 0, sizeof td_stashd);
	t_open_dirs();
	shell("cd \"$0\"; mkdir -m 755 bin; mkdir -m 700 store new backups rootrun; cp \"$1\" \"$2\" bin");
	shell("chmod 755 \"$0\"/bin/*");
	t_write_file(t_path("bin/start"),
	    "#!/bin/sh\n"
	    "exec setpriv --reuid=65534 --regid=65534 --clear-groups \"${0%/*}/stashd\" \"$@\"\n");
	ck_assert_int_eq(chmod(t_path("bin/start"), 0755), 0);
	ck_assert_int_eq(chown(t_path("store"), T_STRANGER, T_STRANGER), 0);
	ck_assert_int_eq(chown(t_path("new"), T_STRANGER, T_STRANGER), 0);
	ck_assert_int_eq(chown(t_run_dir(), T_STRANGER, T_STRANGER), 0);
	snprintf(config, sizeof config,
	    "tree = { children = ( { id = \"sequence\"; module = \"%s\"; args = [\"0\"]; } ); };\n",
	    t_path("bin/sequence.so"));
	t_write_file(t_path("stashd.conf"), config);
	ck_assert_int_eq(chmod(t_path("stashd.conf"), 0644), 0);
	td_stashd.binary = t_path("bin/start");
	ck_assert_int_eq(setenv("STASH_DIR", t_path("store"), 1), 0);
}

static void
next_number(const char *number)
{
	struct stash_client *c = t_client(&td_stashd);

	t_expect_call(c, "sequence", "next_number", NULL, number);
	stash_client_close(c);
}

/* The operator's backups are his; that there are some is known to the stashd of that user. */
static const char *
knows_of_backups(void *arg)
{
	char advice[STORE_ADVICE_MAX];

	(void)arg;
	store_backup_advice(t_path("store"), advice);
	return strstr(advice, "There are backups") != NULL ? NULL : t_wrong("%s", advice);
}

/* As the owner of the sequence's slot, as if it had come by it. */
static void
note_owner(pid_t pid)
{
	uint64_t words[2] = { (uint64_t)pid, 0 };
	char path[PATH_MAX + 32];
	int fd;

	ck_assert_int_eq(stash__start_time(pid, &words[1]), 0);
	snprintf(path, sizeof path, "%s/slot/sequence.out", t_run_of(&td_stashd));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, words, sizeof words, offsetof(struct stash__out_page, owner_pid)), sizeof words);
	close(fd);
}

START_TEST(test_root_restores_for_another_user)
{
	const struct t_user user = { .uid = T_STRANGER };

	if (t_no_users())
		return;
	begin_as_user();
	t_stashd_start(&td_stashd, NULL);
	next_number("0");
	INSPECT(0, "verified", "backup", t_path("backups"));
	next_number("1");
	t_murder_all(&td_stashd);
	t_as_user(&user, knows_of_backups, NULL);
	/* By the word of its user's worker root doesn't kill what isn't that user's. */
	note_owner(getpid());
	/* They are root's own work then. */
	ck_assert_int_eq(unlink(t_path("store/store.lock")), 0);
	ck_assert_int_eq(unlink(t_path("store/stashd.pid")), 0);
	INSPECT(0, "good", "check");
	CTL(0, "Restored", "restore", "--yes", "--discard-slots");
	t_stashd_start(&td_stashd, NULL);
	next_number("1");
	t_stashd_stop(&td_stashd, 20000);
	/* And where there was no store. */
	ck_assert_int_eq(setenv("RUNTIME_DIRECTORY", t_path("rootrun"), 1), 0);
	CTL(0, "Restored", "restore", "--yes", "-d", t_path("new"), t_path("backups"));
	ck_assert_int_eq(setenv("RUNTIME_DIRECTORY", t_run_dir(), 1), 0);
	td_stashd.dir = t_path("new");
	t_stashd_start(&td_stashd, NULL);
	next_number("1");
	t_stashd_stop(&td_stashd, 20000);
}
END_TEST

/* ---- a stash process that can't start for a while ---- */

static unsigned
count(const char *text, const char *what)
{
	unsigned n = 0;

	while ((text = strstr(text, what)) != NULL) {
		text += strlen(what);
		n++;
	}
	return n;
}

/* How many stash processes have died: it was killed once, and the others couldn't start. */
static unsigned
deaths(void)
{
	char *text = t_output(&td_stashd.proc);
	unsigned n = count(text, "the stash process has died");

	free(text);
	return n;
}

static bool
has_tried(void *arg)
{
	(void)arg;
	return deaths() >= 6;
}

static void
exchange(const char *other)
{
	ck_assert_int_eq(renameat2(AT_FDCWD, td_data(), AT_FDCWD, other, RENAME_EXCHANGE), 0);
}

/* The file is another one for a while: the stash process is tried again at a pace, nothing is heaped up meanwhile, and
 * it goes on where it was. */
START_TEST(test_store_that_is_away_for_a_while)
{
	const char *other = t_path("other");
	struct stash_client *c;
	struct tt_result r;
	int64_t began;

	td_begin();
	td_start();
	c = t_client(&td_stashd);
	td_take_with(c, 30, 39);
	t_write_file(other, "no store");
	exchange(other);
	began = stash__now_ns();
	ck_assert(t_murder(&td_stashd, T_STASH, NULL));
	ck_assert(t_wait_for(has_tried, NULL, 30000));
	td_take_with(c, 40, 49);
	/* At once, after 10 ms, 20, 40, ..., 640, and once a second from there on. */
	ck_assert_int_le(deaths(), 9 + (stash__now_ns() - began) / STASH__NS_PER_S);
	exchange(other);
	stash_client_close(c);
	td_await_stored();
	/* It was there, and died, once. */
	TT_RUN(&r, &stash_inspect, "events", "-n", "0");
	ck_assert_int_eq(r.status, 0);
	ck_assert_msg(count(r.out, "the stash process has died") == 1, "%s", r.out);
	tt_free(&r);
	td_take(50, 51);
	t_stashd_stop(&td_stashd, 20000);
	td_end();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("restore");
	TCase *c = t_case(s, "back", 120);

	tcase_add_test(c, test_restore_after_damage);
	tcase_add_test(c, test_restore_is_undone);
	tcase_add_test(c, test_empty_instead);
	tcase_add_test(c, test_restore_elsewhere_and_what_is_refused);
	tcase_add_test(c, test_slots_and_a_backup);
	tcase_add_loop_test(c, test_undone_as_printed, 0, 3);
	tcase_add_loop_test(c, test_discarding_ends_what_was_left, 0, 2);
	tcase_add_test(c, test_database_of_a_living_store);
	tcase_add_test(c, test_store_exchanged_by_hand);
	tcase_add_test(c, test_root_restores_for_another_user);
	tcase_add_loop_test(c, test_damage_of_a_living_store, 0, 2);
	tcase_add_test(c, test_store_that_is_away_for_a_while);
	return s;
}

TEST_MAIN(suite)
