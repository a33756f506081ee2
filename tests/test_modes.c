/* SPDX-License-Identifier: ISC */
/*
 * Directories that others may write to, and what they may have planted there: stashd refuses to start, says why, and
 * follows, changes and removes nothing of it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/info.h"
#include "shm/map.h"
#include "stashd/modes.h"
#include "stashd/rundir.h"
#include "testlib_live.h"
#include "testlib_users.h"

static struct t_stashd d;
static char run_dir[PATH_MAX];

/* A store that has run, and lies still. */
static void
make_store(void)
{
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, t_config("echo", "tests/modules/echo.so", "", "", ""));
	snprintf(run_dir, sizeof run_dir, "%s", t_run_of(&d));
	t_stashd_stop(&d, 10000);
}

static const char *
in_run(const char *name)
{
	static char path[PATH_MAX + 64];

	snprintf(path, sizeof path, "%s%s%s", run_dir, *name != '\0' ? "/" : "", name);
	return path;
}

/* It ends with 77 and such a sentence. */
static void
must_refuse(const char *about, const char *why)
{
	struct t_result r;

	t_run(&r, NULL,
	    (const char *const[]){ t_build("stashd"), "-d", t_path("store"), "-f", t_path("stashd.conf"), NULL });
	ck_assert_msg(r.status == 77, "%s: exit status %d: %s", about, r.status, r.err);
	ck_assert_msg(
	    strstr(r.err, about) != NULL && strstr(r.err, why) != NULL, "\"%s\", \"%s\": %s", about, why, r.err);
	t_result_free(&r);
}

static void
must_start(void)
{
	t_stashd_start(&d, NULL);
	t_stashd_stop(&d, 10000);
}

/* ---- the store's directory ---- */

START_TEST(a_store_others_may_write_to_is_refused)
{
	static const mode_t modes[] = { 0770, 0702, 0777, 01777 };

	make_store();
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		ck_assert_int_eq(chmod(t_path("store"), modes[i]), 0);
		must_refuse("store", "chmod go-w");
	}
	ck_assert_int_eq(chmod(t_path("store"), 0755), 0);
	must_start();
}
END_TEST

START_TEST(a_file_others_may_write_to_is_refused)
{
	make_store();
	ck_assert_int_eq(chmod(t_path("store/data.mdb"), 0660), 0);
	must_refuse("data.mdb", "chmod go-w");
	ck_assert_int_eq(chmod(t_path("store/data.mdb"), 0600), 0);
	must_start();
}
END_TEST

START_TEST(a_link_in_the_store_is_not_followed)
{
	static const char *const names[] = { "stash.info", "stashd.pid", "store.lock", "data.mdb", "lock.mdb",
		"data.mdb.new" };
	struct stat st;
	char *text;

	make_store();
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *path = t_path("store/%s", names[i]), *aside = t_path("%s.aside", names[i]);
		bool was = rename(path, aside) == 0;

		t_write_file(t_path("victim"), "precious");
		ck_assert_int_eq(symlink(t_path("victim"), path), 0);
		must_refuse(names[i], "symbolic link");
		text = t_read_file(t_path("victim"), NULL);
		ck_assert_str_eq(text, "precious");
		free(text);
		ck_assert_int_eq(lstat(path, &st), 0);
		ck_assert(S_ISLNK(st.st_mode));
		/* Nor is anything made at the end of a link that points nowhere. */
		ck_assert_int_eq(unlink(t_path("victim")), 0);
		must_refuse(names[i], "symbolic link");
		ck_assert_int_lt(lstat(t_path("victim"), &st), 0);
		ck_assert_int_eq(unlink(path), 0);
		if (was)
			ck_assert_int_eq(rename(aside, path), 0);
	}
	must_start();
}
END_TEST

/* A pipe would be waited for. */
START_TEST(a_pipe_for_stash_info_is_not_waited_for)
{
	struct stash__info info;

	ck_assert_int_eq(mkdir(t_path("store"), 0700), 0);
	ck_assert_int_eq(mkfifo(t_path("store/stash.info"), 0600), 0);
	ck_assert_int_eq(stash__info_read(t_path("store"), &info), STASH_E_ACCES);
	ck_assert_int_eq(unlink(t_path("store/stash.info")), 0);
	ck_assert_int_eq(symlink("/etc/passwd", t_path("store/stash.info")), 0);
	ck_assert_int_eq(stash__info_read(t_path("store"), &info), STASH_E_ACCES);
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "symbolic link"));
}
END_TEST

START_TEST(what_belongs_to_others_is_refused)
{
	static const char *const names[] = { "", "/stash.info", "/data.mdb", "/stashd.pid" };
	struct stat st;

	if (t_no_users())
		return;
	make_store();
	t_write_file(t_path("store/stashd.pid"), "");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *path = t_path("store%s", names[i]);

		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_int_eq(chown(path, T_STRANGER, (gid_t)-1), 0);
		must_refuse(path, "belongs to user 65534");
		ck_assert_int_eq(chown(path, 0, (gid_t)-1), 0);
	}
	must_start();
}
END_TEST

/* ---- the run directory ---- */

/* Killed, so that slots and socket are left. */
static void
make_run(void)
{
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, t_config("echo", "tests/modules/echo.so", "", "", ""));
	snprintf(run_dir, sizeof run_dir, "%s", t_run_of(&d));
	t_murder_all(&d);
}

START_TEST(a_run_directory_others_may_write_to_is_refused)
{
	static const char *const names[] = { "", "slot", "way", "slot/echo.in", "status" };

	make_run();
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct stat st;

		ck_assert_int_eq(stat(in_run(names[i]), &st), 0);
		ck_assert_int_eq(chmod(in_run(names[i]), 0777), 0);
		must_refuse(in_run(names[i]), "chmod go-w");
		ck_assert_int_eq(chmod(in_run(names[i]), st.st_mode & 07777), 0);
	}
	must_start();
}
END_TEST

START_TEST(a_link_in_the_run_directory_is_not_followed)
{
	static const char *const names[] = { "", "slot", "way", "status", "supervisor.rows", "stash.sock",
		"slot/echo.in", "slot/echo.out", "slot/echo.bell" };
	struct stat st;

	make_run();
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[PATH_MAX + 64], kept[PATH_MAX + 96];

		snprintf(path, sizeof path, "%s", in_run(names[i]));
		snprintf(kept, sizeof kept, "%s/aside", t_run_dir());
		ck_assert_int_eq(rename(path, kept), 0);
		/* What it points to is good in itself: it was here. */
		ck_assert_int_eq(symlink(kept, path), 0);
		must_refuse(path, "symbolic link");
		ck_assert_int_eq(lstat(path, &st), 0);
		ck_assert(S_ISLNK(st.st_mode));
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(rename(kept, path), 0);
	}
	must_start();
}
END_TEST

static void
make_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ck_assert_int_lt(strlen(path), sizeof address.sun_path);
	memcpy(address.sun_path, path, strlen(path));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	close(fd);
}

/* A file where the socket was, and somebody else's socket. */
START_TEST(what_stands_in_the_sockets_way_is_left_there)
{
	struct stat st, now;

	make_run();
	ck_assert_int_eq(unlink(in_run("stash.sock")), 0);
	t_write_file(in_run("stash.sock"), "precious");
	must_refuse("stash.sock", "must be a socket");
	ck_assert_int_eq(lstat(in_run("stash.sock"), &st), 0);
	ck_assert(S_ISREG(st.st_mode));
	ck_assert_int_eq(unlink(in_run("stash.sock")), 0);
	make_socket(in_run("stash.sock"));
	if (!t_no_users()) {
		ck_assert_int_eq(chown(in_run("stash.sock"), T_STRANGER, T_STRANGER), 0);
		ck_assert_int_eq(lstat(in_run("stash.sock"), &st), 0);
		must_refuse("stash.sock", "belongs to user 65534");
		ck_assert_int_eq(lstat(in_run("stash.sock"), &now), 0);
		ck_assert_uint_eq(st.st_ino, now.st_ino);
		ck_assert_int_eq(chown(in_run("stash.sock"), 0, 0), 0);
	}
	/* An old one of ours is replaced. */
	must_start();
}
END_TEST

START_TEST(slots_of_others_are_refused)
{
	static const char *const names[] = { "", "slot", "slot/echo.out", "supervisor.rows" };

	if (t_no_users())
		return;
	make_run();
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		ck_assert_int_eq(chown(in_run(names[i]), T_STRANGER, (gid_t)-1), 0);
		must_refuse(in_run(names[i]), "belongs to user 65534");
		ck_assert_int_eq(chown(in_run(names[i]), 0, (gid_t)-1), 0);
	}
	must_start();
}
END_TEST

/* ---- what is opened for others ---- */

static mode_t
mode_of(const char *path)
{
	struct stat st;

	ck_assert_int_eq(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

START_TEST(modes_are_what_the_rules_need)
{
	const uint32_t readers[] = { 2000, 1000, 1000 };
	struct access_rules none = { .users = { NULL, 0 } }, users = { .users = { readers, 3 } },
			    looking = { .readers = { readers, 3 } };
	struct stash__info info;
	char slot[PATH_MAX + 16], file[PATH_MAX + 32];
	int fd, dirfd;

	ck_assert_int_eq(mkdir(t_path("store"), 0700), 0);
	ck_assert_int_eq(rundir_prepare(t_path("store"), NULL, &info), 0);
	snprintf(slot, sizeof slot, "%s/slot", info.run_dir);
	snprintf(file, sizeof file, "%s/slot/x.in", info.run_dir);
	ck_assert_int_eq(modes_share(t_path("store"), info.run_dir, &users), 0);
	ck_assert_uint_eq(mode_of(info.run_dir), 0711);
	ck_assert_uint_eq(mode_of(t_path("store/stash.info")), 0644);
	ck_assert_uint_eq(mode_of(t_path("store")), 0711);
	ck_assert_uint_eq(mode_of(slot), 0700);

	/* Twice is once, in whatever order; a file that is made later is for readers, too, and for nobody else. */
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(modes_share(t_path("store"), info.run_dir, &looking), 0);
	ck_assert_uint_eq(mode_of(slot), 0750);
	dirfd = open(slot, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = stash__file_make(dirfd, "x.in", 4096);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(stash__file_name(dirfd, "x.in"), 0);
	close(fd);
	close(dirfd);
	ck_assert_uint_eq(mode_of(file), 0640);
	ck_assert_int_eq(modes_check_run(info.run_dir), 0);

	ck_assert_int_eq(modes_share(t_path("store"), info.run_dir, &none), 0);
	ck_assert_uint_eq(mode_of(info.run_dir), 0700);
	ck_assert_uint_eq(mode_of(slot), 0700);
	ck_assert_uint_eq(mode_of(file), 0600);
	ck_assert_uint_eq(mode_of(t_path("store/stash.info")), 0600);
	ck_assert_int_eq(unlink(file), 0);
}
END_TEST

START_TEST(access_is_by_numbers)
{
	const uint32_t users[] = { 5, 7 }, groups[] = { 50 }, readers[] = { 7, 9 }, in[] = { 1, 50 }, out[] = { 1, 5 };
	const struct access_rules rules = { { users, 2 }, { groups, 1 }, { readers, 2 } };

	ck_assert_uint_eq(access_of(&rules, 0, NULL, 0), ACCESS_OWN);
	ck_assert_uint_eq(access_of(&rules, 5, NULL, 0), ACCESS_CALL);
	ck_assert_uint_eq(access_of(&rules, 7, NULL, 0), ACCESS_CALL | ACCESS_LOOK);
	ck_assert_uint_eq(access_of(&rules, 9, NULL, 0), ACCESS_LOOK);
	ck_assert_uint_eq(access_of(&rules, 6, in, 2), ACCESS_CALL);
	ck_assert_uint_eq(access_of(&rules, 6, out, 2), 0); /* the number of a user is no group's */
	ck_assert_uint_eq(access_of(&rules, 50, NULL, 0), 0);
	ck_assert(!access_may(ACCESS_CALL | ACCESS_LOOK, 1000));
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("modes");
	TCase *tc = t_case(s, "store", 60);

	tcase_add_test(tc, a_store_others_may_write_to_is_refused);
	tcase_add_test(tc, a_file_others_may_write_to_is_refused);
	tcase_add_test(tc, a_link_in_the_store_is_not_followed);
	tcase_add_test(tc, a_pipe_for_stash_info_is_not_waited_for);
	tcase_add_test(tc, what_belongs_to_others_is_refused);
	tc = t_case(s, "run directory", 60);
	tcase_add_test(tc, a_run_directory_others_may_write_to_is_refused);
	tcase_add_test(tc, a_link_in_the_run_directory_is_not_followed);
	tcase_add_test(tc, what_stands_in_the_sockets_way_is_left_there);
	tcase_add_test(tc, slots_of_others_are_refused);
	tc = t_case(s, "access", 60);
	tcase_add_test(tc, modes_are_what_the_rules_need);
	tcase_add_test(tc, access_is_by_numbers);
	return s;
}

TEST_MAIN(suite)
