/* SPDX-License-Identifier: ISC */
/*
 * Backups of a store: copies while batches go on, what makes a backup one, the list of them, and all that a check
 * finds; what root makes of it for another user.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bsd/libutil.h>

#include <stash/error.h>

#include "stashd/supervise.h"
#include "store/backup.h"
#include "testlib.h"
#include "testlib_store.h"
#include "testlib_users.h"

/* ---- copies ---- */

static struct {
	struct store *store;
	_Atomic uint64_t committed;
	atomic_bool stop;
} writer;

/* The same number in two states, of sizes that change. */
static void *
write_on(void *arg)
{
	(void)arg;
	for (uint64_t seq = atomic_load(&writer.committed) + 1; !atomic_load(&writer.stop); seq++) {
		struct store_state a = ts_state("a", seq, seq * 131 % 9000), b = ts_state("b", seq, seq * 57 % 3000);
		struct store_batch *batch;

		ts_good(store_begin(writer.store, &batch));
		ts_good(store_put_state(batch, &a, 3));
		ts_good(store_put_state(batch, &b, 0));
		ts_good(store_put_event(batch, "event", 5, NULL));
		ts_good(store_commit(batch));
		atomic_store(&writer.committed, seq);
		ts_state_done(&a);
		ts_state_done(&b);
	}
	return NULL;
}

static int
note_seq(void *arg, const struct store_state *state)
{
	uint64_t *seqs = arg;

	seqs[state->name[0] - 'a'] = state->seq;
	return 0;
}

/* A copy made in the midst of batches.  The writer has ended when this returns: a check forks, and a sanitizer's
 * allocator, locked by another thread at that moment, stays so in the child. */
static void
copy_while_batches_go_on(int fd)
{
	uint64_t first = atomic_load(&writer.committed);
	pthread_t thread;

	atomic_store(&writer.stop, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_on, NULL), 0);
	while (atomic_load(&writer.committed) == first)
		sched_yield();
	ts_good(store_copy(writer.store, fd));
	atomic_store(&writer.stop, true);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

START_TEST(copies_are_whole_while_batches_go_on)
{
	struct store_options options = ts_options();
	struct store_findings *findings = malloc(sizeof(*findings));
	int fd = open(t_path("copy"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	uint8_t id[STORE_ID_LEN];

	ck_assert(fd >= 0 && findings != NULL);
	writer.store = ts_open(NULL);
	for (int i = 0; i < 20; i++) {
		uint64_t before = atomic_load(&writer.committed), seqs[2] = { 0, 0 };

		copy_while_batches_go_on(fd);
		ck_assert_msg(store_check_file(t_path("copy"), &options, findings, NULL, id) == 0, "copy %d: %s", i,
		    findings->count > 0 ? findings->text[0] : stash_errmsg());
		ts_good(store_list_states(t_path("copy"), &options, note_seq, seqs));
		ck_assert_uint_eq(seqs[0], seqs[1]);
		ck_assert_uint_gt(seqs[0], before);
	}
	store_close(writer.store);
	close(fd);
	free(findings);
}
END_TEST

START_TEST(copies_go_to_files_only)
{
	struct store *store = ts_open(NULL);
	int fd = open(ts_path("data.mdb"), O_RDWR | O_CLOEXEC), fds[2];

	ts_put(store, "a", 1, 100, 0);
	ts_bad(store_copy(store, fd), STASH_E_INVAL, "onto itself");
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ts_bad(store_copy(store, fds[1]), STASH_E_INVAL, "regular file");
	ts_has(store, "a", 1, 100);
	store_close(store);
	close(fd);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* ---- backups ---- */

static struct store_backup
make_backup(struct store *store, const uint8_t id[STORE_ID_LEN])
{
	struct store_options options = ts_options();
	struct store_backup_file file;
	struct store_backup backup;

	ts_good(store_backup_begin(&file, ts_dir(), t_path("to")));
	ts_good(store_copy(store, file.fd));
	ts_good(store_backup_finish(&file, id, &options, &backup));
	ts_good(store_backup_note(ts_dir(), &backup));
	return backup;
}

static void
read_id(struct store *store, uint8_t id[STORE_ID_LEN])
{
	struct store_stat stat;

	ts_good(store_stat(store, &stat));
	memcpy(id, stat.id, STORE_ID_LEN);
}

static unsigned
count_entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n - 2;
}

START_TEST(backup_says_what_it_is)
{
	struct store_options options = ts_options();
	struct store *store = ts_open(NULL);
	struct store_backup made, got;
	struct store_backup_file file;
	uint8_t id[STORE_ID_LEN];
	char *bytes;
	size_t len;

	ck_assert_int_eq(mkdir(t_path("to"), 0700), 0);
	read_id(store, id);
	ts_put(store, "a", 1, 5000, 0);
	ts_bad(store_backup_begin(&file, ts_dir(), ts_dir()), STASH_E_INVAL, "own directory");
	made = make_backup(store, id);
	ts_good(store_backup_read(t_path("to"), id, &got));
	ck_assert_str_eq(got.path, made.path);
	ck_assert_str_eq(got.checksum, made.checksum);
	ck_assert_int_eq(got.made_ns, made.made_ns / 1000000 * 1000000);
	ck_assert_uint_eq(got.states, 1);
	ts_good(store_backup_verify(&got, &options, NULL));
	/* Two in the same millisecond have two names. */
	ck_assert_str_ne(make_backup(store, id).path, made.path);
	ck_assert_uint_eq(count_entries(t_path("to")), 4);
	/* What is begun and not ended leaves nothing. */
	ts_good(store_backup_begin(&file, ts_dir(), t_path("to")));
	store_backup_abort(&file);
	ck_assert_uint_eq(count_entries(t_path("to")), 4);
	/* A byte that no walk minds. */
	bytes = t_read_file(made.path, &len);
	bytes[len - 1] ^= 1;
	{
		int fd = open(made.path, O_WRONLY | O_CLOEXEC);

		ck_assert_int_eq(pwrite(fd, bytes, len, 0), (ssize_t)len);
		close(fd);
	}
	free(bytes);
	ts_bad(store_backup_verify(&got, &options, NULL), STASH_E_CORRUPT, "checksum");
	store_close(store);
}
END_TEST

static int
count_each(void *arg, const struct store_backup *backup)
{
	struct store_backup *last = arg;

	/* The newest first. */
	ck_assert(last->made_ns == 0 || backup->made_ns < last->made_ns);
	*last = *backup;
	return 0;
}

/* What a killed one left goes with the next; not what somebody is making, nor what has another name. */
START_TEST(leftovers_go_with_the_next)
{
	struct store *store = ts_open(NULL);
	struct store_backup_file living;
	char left[PATH_MAX];
	uint8_t id[STORE_ID_LEN];

	ck_assert_int_eq(mkdir(t_path("to"), 0700), 0);
	read_id(store, id);
	ts_put(store, "a", 1, 5000, 0);
	ts_good(store_backup_begin(&living, ts_dir(), t_path("to")));
	snprintf(left, sizeof left, "%s/.stash-backup.killed", t_path("to"));
	t_write_file(left, "half of it");
	t_write_file(t_path("to/.stash"), "another's");
	(void)make_backup(store, id);
	ck_assert_int_ne(access(left, F_OK), 0);
	ck_assert_int_eq(access(living.temporary, F_OK), 0);
	ck_assert_int_eq(access(t_path("to/.stash"), F_OK), 0);
	store_backup_abort(&living);
	ck_assert_int_ne(access(living.temporary, F_OK), 0);
	store_close(store);
}
END_TEST

/* A link under the name that a list has while it is written: what it points to isn't touched. */
START_TEST(planted_link_is_not_followed)
{
	struct store *store = ts_open(NULL);
	struct store_backup backup;
	uint8_t id[STORE_ID_LEN];
	char link[PATH_MAX], *text;

	ck_assert_int_eq(mkdir(t_path("to"), 0700), 0);
	read_id(store, id);
	ts_put(store, "a", 1, 5000, 0);
	backup = make_backup(store, id);
	t_write_file(t_path("precious"), "of value");
	snprintf(link, sizeof link, "%s/" STORE_BACKUP_LIST ".new", ts_dir());
	ck_assert_int_eq(symlink(t_path("precious"), link), 0);
	ts_good(store_backup_note(ts_dir(), &backup));
	/* Nor is a file that has another name, too. */
	ck_assert_int_eq(chmod(t_path("precious"), 0640), 0);
	ck_assert_int_eq(linkat(AT_FDCWD, t_path("precious"), AT_FDCWD, link, 0), 0);
	ts_good(store_backup_note(ts_dir(), &backup));
	text = t_read_file(t_path("precious"), NULL);
	ck_assert_str_eq(text, "of value");
	free(text);
	ck_assert_int_ne(access(link, F_OK), 0);
	store_close(store);
}
END_TEST

START_TEST(list_has_what_is_there)
{
	struct store *store = ts_open(NULL);
	struct store_backup first, second, last = { .made_ns = 0 };
	static const uint8_t other[STORE_ID_LEN] = "another store..";
	uint8_t id[STORE_ID_LEN];
	char advice[STORE_ADVICE_MAX];

	ck_assert_int_eq(mkdir(t_path("to"), 0700), 0);
	read_id(store, id);
	ts_put(store, "a", 1, 5000, 0);
	ck_assert_ptr_nonnull(strstr(store_backup_advice(ts_dir(), advice), "--empty"));
	first = make_backup(store, id);
	second = make_backup(store, id);
	ts_good(store_backup_each(ts_dir(), id, count_each, &last));
	ck_assert_str_eq(last.path, first.path);
	last.made_ns = 0;
	ts_good(store_backup_each(ts_dir(), other, count_each, &last));
	ck_assert_int_eq(last.made_ns, 0);
	ck_assert_ptr_nonnull(strstr(store_backup_advice(ts_dir(), advice), second.path));
	/* One that is cut is none. */
	ck_assert_int_eq(truncate(second.path, 4096), 0);
	ck_assert_ptr_nonnull(strstr(store_backup_advice(ts_dir(), advice), first.path));
	ck_assert_int_eq(unlink(first.path), 0);
	ck_assert_ptr_nonnull(strstr(store_backup_advice(ts_dir(), advice), "--empty"));
	store_close(store);
}
END_TEST

/* ---- a list that can't be read ---- */

static int
none(void *arg, const struct store_backup *backup)
{
	(void)arg;
	(void)backup;
	return 0;
}

/* It isn't taken for an empty one: what stands in it would be forgotten with the next backup, or the newest denied. */
START_TEST(list_that_cant_be_read_is_no_empty_one)
{
	struct store *store = ts_open(NULL);
	struct store_backup backup;
	uint8_t id[STORE_ID_LEN];
	char advice[STORE_ADVICE_MAX], path[PATH_MAX], to[16];

	ck_assert_int_eq(mkdir(t_path("to"), 0700), 0);
	read_id(store, id);
	ts_put(store, "a", 1, 5000, 0);
	backup = make_backup(store, id);
	snprintf(path, sizeof path, "%s", ts_path(STORE_BACKUP_LIST));
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(symlink(STORE_BACKUP_LIST, path), 0); /* to itself: nobody can open it, nor root */
	ts_bad(store_backup_note(ts_dir(), &backup), STASH_E_SYSTEM, "symbolic links");
	ck_assert_int_eq(readlink(path, to, sizeof to), (ssize_t)strlen(STORE_BACKUP_LIST));
	ts_bad(store_backup_each(ts_dir(), id, none, NULL), STASH_E_SYSTEM, "symbolic links");
	ck_assert_ptr_nonnull(strstr(store_backup_advice(ts_dir(), advice), "symbolic links"));
	ck_assert_ptr_null(strstr(advice, "no backup"));
	/* Opened, and not read: a directory. */
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ts_bad(store_backup_each(ts_dir(), id, none, NULL), STASH_E_SYSTEM, "can't be read");
	store_close(store);
}
END_TEST

/* ---- root, in a directory of another user's ---- */

static uid_t
owner_of(const char *path)
{
	struct stat st;

	ck_assert_msg(stat(path, &st) == 0, "%s", path);
	return st.st_uid;
}

static void
belongs(const char *path)
{
	ck_assert_msg(owner_of(path) == T_STRANGER, "%s: belongs to user %u", path, (unsigned)owner_of(path));
}

/* Else the stashd of that user couldn't open it. */
START_TEST(what_root_makes_is_given_to_the_owner)
{
	struct store *store = ts_open(NULL);
	struct store_backup backup;
	struct stash__info info;
	struct pidfh *pid;
	uint8_t id[STORE_ID_LEN];
	char aside[64];
	int lock;

	if (t_no_users()) {
		store_close(store);
		return;
	}
	ck_assert_int_eq(mkdir(t_path("to"), 0700), 0);
	read_id(store, id);
	ts_put(store, "a", 1, 5000, 0);
	ck_assert_int_eq(chown(ts_dir(), T_STRANGER, T_GROUP), 0);
	ck_assert_int_eq(chown(t_path("to"), T_OTHER, T_GROUP), 0);
	backup = make_backup(store, id);
	belongs(ts_path(STORE_BACKUP_LIST));
	ck_assert_uint_eq(owner_of(backup.path), T_OTHER);
	store_close(store);
	ck_assert_int_eq(unlink(ts_path("store.lock")), 0);
	ts_good(store_lock(ts_dir(), true, 0, &lock));
	belongs(ts_path("store.lock"));
	ts_good(supervise_lock(ts_dir(), &pid));
	belongs(ts_path("stashd.pid"));
	ts_good(store_restore(ts_dir(), &backup, false, aside));
	belongs(ts_path("data.mdb"));
	ts_good(stash__info_read(ts_dir(), &info));
	ck_assert_int_eq(unlink(ts_path("stash.info")), 0);
	ts_good(stash__info_create(ts_dir(), &info));
	belongs(ts_path("stash.info"));
	ck_assert_int_eq(pidfile_remove(pid), 0);
	close(lock);
	/* No more than was made: stash.info, backups, store.lock, data.mdb, and the one that was replaced. */
	ck_assert_uint_eq(count_entries(ts_dir()), 5);
}
END_TEST

/* What is there already may be a link to anything, and stays whose it is. */
START_TEST(what_root_finds_is_not_given_away)
{
	struct pidfh *pid;
	int lock;

	if (t_no_users())
		return;
	t_write_file(t_path("precious"), "of value");
	ck_assert_int_eq(chown(ts_dir(), T_STRANGER, T_GROUP), 0);
	ck_assert_int_eq(link(t_path("precious"), ts_path("store.lock")), 0);
	t_write_file(t_path("other"), "");
	ck_assert_int_eq(link(t_path("other"), ts_path("stashd.pid")), 0);
	ts_good(store_lock(ts_dir(), false, 0, &lock));
	ts_good(supervise_lock(ts_dir(), &pid));
	ck_assert_uint_eq(owner_of(t_path("precious")), 0);
	ck_assert_uint_eq(owner_of(t_path("other")), 0);
	ck_assert_int_eq(pidfile_remove(pid), 0);
	close(lock);
}
END_TEST

static const char *
may_not_read(void *arg)
{
	char advice[STORE_ADVICE_MAX];

	if (store_backup_each(ts_dir(), arg, none, NULL) != 0)
		return t_wrong("the list can't be read: %s", stash_errmsg());
	if (strstr(store_backup_advice(ts_dir(), advice), "may not read") == NULL)
		return t_wrong("%s", advice);
	return NULL;
}

static const char *
has_no_list(void *arg)
{
	struct store_backup *backup = arg;
	char advice[STORE_ADVICE_MAX];

	if (store_backup_each(ts_dir(), backup->id, none, NULL) != STASH_E_ACCES)
		return t_wrong("the list is taken for an empty one");
	if (store_backup_note(ts_dir(), backup) != STASH_E_ACCES)
		return t_wrong("the list is replaced");
	if (strstr(store_backup_advice(ts_dir(), advice), "Permission denied") == NULL)
		return t_wrong("%s", advice);
	return NULL;
}

START_TEST(advice_says_what_may_not_be_read)
{
	const struct t_user stranger = { .uid = T_STRANGER };
	struct store *store = ts_open(NULL);
	struct store_backup backup;
	uint8_t id[STORE_ID_LEN];

	if (t_no_users()) {
		store_close(store);
		return;
	}
	ck_assert_int_eq(mkdir(t_path("to"), 0700), 0);
	read_id(store, id);
	ts_put(store, "a", 1, 5000, 0);
	ck_assert_int_eq(chown(ts_dir(), T_STRANGER, T_STRANGER), 0);
	ck_assert_int_eq(chown(ts_path("stash.info"), T_STRANGER, T_STRANGER), 0);
	backup = make_backup(store, id);
	store_close(store);
	t_open_dirs();
	t_as_user(&stranger, may_not_read, id);
	ck_assert_int_eq(chown(ts_path(STORE_BACKUP_LIST), 0, 0), 0);
	t_as_user(&stranger, has_no_list, &backup);
	ck_assert_uint_eq(owner_of(ts_path(STORE_BACKUP_LIST)), 0);
}
END_TEST

/* ---- pages ---- */

/* The root of the tree of databases: where the newest meta page says. */
static size_t
main_root(const unsigned char *file)
{
	uint64_t txn[2], root;
	size_t newest;

	for (size_t i = 0; i < 2; i++)
		memcpy(&txn[i], file + i * 4096 + 16 + 24 + 96 + 8, 8);
	newest = txn[0] < txn[1];
	memcpy(&root, file + newest * 4096 + 16 + 24 + 48 + 40, 8);
	return (size_t)root;
}

/* What LMDB's cursors pass over: a page with another one's number. */
START_TEST(page_with_a_wrong_number_is_found)
{
	struct store_options options = ts_options();
	struct store *store = ts_open(NULL);
	unsigned char *file;
	size_t len, root;

	for (int i = 0; i < 50; i++) {
		char name[24];

		snprintf(name, sizeof(name), "worker %d", i);
		ts_put(store, name, 1, 300, 0);
	}
	store_close(store);
	ts_good(store_validate(ts_dir(), &options, NULL));
	file = ts_load(&len);
	root = main_root(file);
	ck_assert_uint_lt(root, len / 4096);
	file[root * 4096] ^= 1;
	ts_save(file, len);
	free(file);
	ts_bad(store_validate(ts_dir(), &options, NULL), STASH_E_CORRUPT, "another page's number");
}
END_TEST

static Suite *
store_backup_suite(void)
{
	Suite *suite = suite_create("store_backup");
	TCase *tc = t_case(suite, "backup", 60);

	tcase_add_test(tc, copies_are_whole_while_batches_go_on);
	tcase_add_test(tc, copies_go_to_files_only);
	tcase_add_test(tc, backup_says_what_it_is);
	tcase_add_test(tc, leftovers_go_with_the_next);
	tcase_add_test(tc, planted_link_is_not_followed);
	tcase_add_test(tc, list_has_what_is_there);
	tcase_add_test(tc, list_that_cant_be_read_is_no_empty_one);
	tcase_add_test(tc, what_root_makes_is_given_to_the_owner);
	tcase_add_test(tc, what_root_finds_is_not_given_away);
	tcase_add_test(tc, advice_says_what_may_not_be_read);
	tcase_add_test(tc, page_with_a_wrong_number_is_found);
	return suite;
}

TEST_MAIN(store_backup_suite)
