/* SPDX-License-Identifier: ISC */
/*
 * stashctl reexec: supervisor and stash are replaced by the binary that stands on the disk, under load, without a call
 * that fails; a binary that can't go on, whatever is wrong with it, changes nothing.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/stash.h>

#include "testlib_live.h"
#include "testlib_load.h"

#define VERSION_LEN 16

static struct t_stashd d;
static struct stash_client *c;

/* ---- binaries ---- */

/* Replaces the program by a copy of another one in which one text stands in another's place, of the same length. */
static void
install(const char *from, const char *text, const char *by)
{
	size_t len, want = text != NULL ? strlen(text) + 1 : 0, changed = 0;
	char *bytes = t_read_file(from, &len);
	const char *path = t_path("stashd.next");
	int fd;

	for (size_t i = 0; want > 0 && i + want <= len; i++) {
		if (memcmp(bytes + i, text, want) != 0)
			continue;
		memcpy(bytes + i, by, want);
		changed++;
	}
	ck_assert_msg(want == 0 || changed > 0, "%s holds no \"%s\"", from, text);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	ck_assert_int_ge(fd, 0);
	for (size_t at = 0; at < len;) {
		ssize_t n = write(fd, bytes + at, len - at);

		ck_assert_int_gt(n, 0);
		at += (size_t)n;
	}
	close(fd);
	free(bytes);
	/* As a package manager does it: another file under the same name. */
	ck_assert_int_eq(rename(path, d.binary), 0);
}

/* A stashd that says to be of another version. */
static const char *
other_version(int n)
{
	static char version[VERSION_LEN];

	snprintf(version, sizeof version, "%s", stash_version());
	version[strlen(version) - 1] = (char)('1' + n % 9);
	return version;
}

static void
install_version(const char *version)
{
	install(t_build("stashd"), stash_version(), version);
}

static void
begin(const char *more, const char *store, const char *const *env)
{
	memset(&d, 0, sizeof d);
	d.binary = t_path("stashd");
	d.env = env;
	install(t_build("stashd"), NULL, NULL);
	t_stashd_start(&d, t_config("sequence", "examples/sequence.so", "\"0\"", more, store));
	c = t_client(&d);
}

static void
end(void)
{
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}

/* ---- asking for it ---- */

/* The command's exit status is checked, its words come back, to be freed. */
static char *
reexec(int status)
{
	struct t_result r;
	char *words;

	t_run(&r, NULL, (const char *const[]){ t_build("stashctl"), "-d", t_store(&d), "reexec", NULL });
	ck_assert_msg(
	    r.status == status, "%d instead of %d: %s%s\n%s", r.status, status, r.out, r.err, t_output(&d.proc));
	words = strdup(status == 0 ? r.out : r.err);
	t_result_free(&r);
	return words;
}

static void
expect_words(char *words, const char *want)
{
	ck_assert_msg(strstr(words, want) != NULL, "\"%s\" isn't in: %s", want, words);
	free(words);
}

static void
expect_inspect(const char *command, const char *want)
{
	struct t_result r;

	t_run(&r, NULL, (const char *const[]){ t_build("stash-inspect"), "-d", t_store(&d), command, NULL });
	ck_assert_msg(strstr(r.out, want) != NULL, "%s: \"%s\" isn't in: %s%s", command, want, r.out, r.err);
	t_result_free(&r);
}

struct pids {
	pid_t worker, supervisor, stash;
};

static struct pids
look(void)
{
	return (
	    struct pids){ t_pid(&d, T_WORKER, "sequence"), t_pid(&d, T_SUPERVISOR, NULL), t_pid(&d, T_STASH, NULL) };
}

/* ---- tests ---- */

static void
twenty(const char *store, int rounds)
{
	struct pids before, after;
	char what[64];

	begin("", store, NULL);
	tl_begin(&d);
	tl_await(100);
	before = look();
	for (int i = 0; i < rounds; i++) {
		const char *version = other_version(i);

		tl_await(200);
		tl_window(i);
		install_version(version);
		expect_words(reexec(EX_OK), version);
		after = look();
		ck_assert_int_eq(after.worker, before.worker);
		ck_assert_int_ne(after.supervisor, before.supervisor);
		ck_assert_int_ne(after.stash, before.stash);
		before = after;
	}
	tl_await(200);
	expect_inspect("health", other_version(rounds - 1));
	expect_inspect("stat", other_version(rounds - 1));
	snprintf(what, sizeof what, "%d reexecs, %s", rounds, store);
	tl_end(what);
	ck_assert_int_eq(t_pid(&d, T_WORKER, "sequence"), before.worker);
	end();
}

START_TEST(test_no_call_fails)
{
	twenty("ack = \"crash\";", 20);
}
END_TEST

START_TEST(test_no_call_fails_with_disk)
{
	twenty("ack = \"disk\";", 10);
}
END_TEST

static bool
is_replaced(void *arg)
{
	const pid_t *old = arg;
	pid_t now = t_pid(&d, T_SUPERVISOR, NULL);

	return now != 0 && now != *old;
}

/* What follows a supervisor of the new binary is of the new binary, whatever stands on the disk by then. */
START_TEST(test_its_successors_are_of_the_same_binary)
{
	const char *version = other_version(3);
	struct pids before;

	begin("", "", NULL);
	t_expect_call(c, "sequence", "next_number", NULL, "0");
	before = look();
	install_version(version);
	expect_words(reexec(EX_OK), "stays stashd");
	install("/bin/false", NULL, NULL);
	for (int i = 0; i < 3; i++) {
		pid_t old = t_pid(&d, T_SUPERVISOR, NULL);

		ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
		ck_assert(t_wait_for(is_replaced, &old, 20000));
		t_expect_call(c, "sequence", "next_number", NULL, i == 0 ? "1" : i == 1 ? "2" : "3");
		expect_inspect("stat", version);
	}
	/* A stash that dies is followed by one of the new binary, and a worker by its next incarnation. */
	ck_assert(t_murder(&d, T_STASH, NULL));
	ck_assert(t_murder(&d, T_WORKER, "sequence"));
	t_expect_call(c, "sequence", "next_number", NULL, "4");
	ck_assert_int_ne(look().worker, before.worker);
	end();
}
END_TEST

/* The config may be wrong by then: what runs is what was read. */
START_TEST(test_the_config_is_not_read_again)
{
	struct t_result r;

	begin("", "history = 3;", NULL);
	t_expect_call(c, "sequence", "next_number", NULL, "0");
	t_write_file(d.conf, "tree = { wrong");
	free(reexec(EX_OK));
	t_expect_call(c, "sequence", "next_number", NULL, "1");
	t_run(&r, NULL, (const char *const[]){ t_build("stashctl"), "-d", t_store(&d), "reload", NULL });
	ck_assert_int_eq(r.status, EX_CONFIG);
	ck_assert_msg(strstr(r.err, "stashd.conf") != NULL, "%s", r.err);
	t_result_free(&r);
	/* The new supervisor reads it when it is asked to. */
	t_write_file(d.conf, t_config("sequence", "examples/sequence.so", "\"0\"", "", "history = 4;"));
	t_run(&r, NULL, (const char *const[]){ t_build("stashctl"), "-d", t_store(&d), "reload", NULL });
	ck_assert_msg(r.status == 0 && strstr(r.out, "later store.history") != NULL, "%s%s", r.out, r.err);
	t_result_free(&r);
	end();
}
END_TEST

/* Refused, each with its reason; the supervisor that runs goes on, and so does everything else. */
static const struct {
	const char *from, *text, *by; /* NULL: there is no file; mode is taken away where text is "" */
	int status;
	const char *words;
} wrong[] = {
	{ NULL, NULL, NULL, EX_OSERR, "can't be opened: No such file" },
	{ "stashd", "", NULL, EX_NOPERM, "can't be executed: Permission denied" },
	{ "stashd.conf", NULL, NULL, EX_OSERR, "can't be executed: Exec format error" },
	{ "/bin/true", NULL, NULL, 1, "has died at its start (exit status 0)" },
	{ "/bin/false", NULL, NULL, 1, "has died at its start (exit status 1)" },
	{ "stashctl", NULL, NULL, 1, "has died at its start (exit status 64)" },
	{ "stashd", "channels", "chandels", EX_DATAERR, "doesn't know a format that is in use, of the channels" },
	{ "stashd", "stash handover", "stish handover", EX_DATAERR, "this is nothing that a keeper hands over" },
};

START_TEST(test_a_wrong_binary_changes_nothing)
{
	const char *from = wrong[_i].from;
	struct pids before, after;

	begin("", "", NULL);
	t_expect_call(c, "sequence", "next_number", NULL, "0");
	before = look();
	if (from == NULL)
		ck_assert_int_eq(unlink(d.binary), 0);
	else if (wrong[_i].text != NULL && wrong[_i].text[0] == '\0')
		ck_assert_int_eq(chmod(d.binary, 0600), 0);
	else
		install(strcmp(from, "stashd.conf") == 0 ? d.conf :
			from[0] == '/'			 ? from :
							   t_build(from),
		    wrong[_i].text, wrong[_i].by);
	expect_words(reexec(wrong[_i].status), wrong[_i].words);
	after = look();
	ck_assert_int_eq(after.supervisor, before.supervisor);
	ck_assert_int_eq(after.stash, before.stash);
	ck_assert_int_eq(after.worker, before.worker);
	t_expect_call(c, "sequence", "next_number", NULL, "1");
	/* Once it is right, it is done. */
	install_version(other_version(1));
	expect_words(reexec(EX_OK), other_version(1));
	t_expect_call(c, "sequence", "next_number", NULL, "2");
	ck_assert_int_eq(look().worker, before.worker);
	end();
}
END_TEST

/* It says that it can, and dies when it does: what worked before goes on, with the same workers. */
static void
dies_at(const char *point)
{
	const char *env[] = { point, NULL };
	struct pids before, after;

	begin("", "", env);
	tl_begin(&d);
	tl_await(100);
	before = look();
	install(t_points("stashd"), stash_version(), other_version(5));
	expect_words(reexec(1), "couldn't take over");
	tl_await(100);
	after = look();
	ck_assert_int_ne(after.supervisor, before.supervisor);
	ck_assert_int_eq(after.worker, before.worker);
	expect_inspect("health", "healthy");
	tl_end(point);
	end();
}

START_TEST(test_one_that_dies_in_its_takeover)
{
	static const char *const points[] = { "STASH_CRASH=sup_before_settled:1:supervisor",
		"STASH_CRASH=sup_took_keeper:1:supervisor", "STASH_CRASH=sup_took_rows:1:supervisor" };

	dies_at(points[_i]);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("reexec");
	TCase *tc = t_case(s, "reexec", 60);

	tcase_add_test(tc, test_no_call_fails);
	tcase_add_test(tc, test_no_call_fails_with_disk);
	tcase_add_test(tc, test_its_successors_are_of_the_same_binary);
	tcase_add_test(tc, test_the_config_is_not_read_again);
	tcase_add_loop_test(tc, test_a_wrong_binary_changes_nothing, 0, sizeof wrong / sizeof wrong[0]);
	tcase_add_loop_test(tc, test_one_that_dies_in_its_takeover, 0, 3);
	return s;
}

TEST_MAIN(suite)
