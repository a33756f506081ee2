/* SPDX-License-Identifier: ISC */
/*
 * Bad input to stashd: a clear error each time, the right exit code, nothing changed and nothing left running.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/info.h"
#include "testlib_live.h"

/* Runs stashd with this config on that directory; it must end by itself, with that code, and say that. */
static void
refused(const char *config, const char *dir, int code, const char *says)
{
	const char *conf = t_path("refused.conf");
	const char *argv[] = { t_build("stashd"), "-d", dir, "-f", conf, NULL };
	struct t_result r;

	t_write_file(conf, config);
	t_run(&r, NULL, argv);
	ck_assert_msg(r.status == code, "status %d instead of %d: %s", r.status, code, r.err);
	ck_assert_msg(strstr(r.err, says) != NULL, "says: %s\nwithout: %s", r.err, says);
	ck_assert_msg(
	    strncmp(r.err, "stashd: ", 8) == 0 || strstr(r.err, conf) != NULL, "not in the common form: %s", r.err);
	t_result_free(&r);
}

static const char *
good(void)
{
	return t_config("sequence", "examples/sequence.so", "\"123\"", "", "");
}

START_TEST(test_directory_that_cannot_be)
{
	t_write_file(t_path("file"), "no directory\n");
	refused(good(), t_path("file"), 73, "file");
	refused(good(), t_path("missing/below"), 73, "missing");
	refused(good(), "/proc/self/store", 73, "/proc/self/store");
}
END_TEST

START_TEST(test_directory_not_writable)
{
	const char *dir = t_path("locked");

	if (geteuid() == 0)
		return; /* root may write everywhere; /proc stands for it above */
	ck_assert_int_eq(mkdir(dir, 0500), 0);
	refused(good(), dir, 77, "locked");
	ck_assert_int_eq(chmod(dir, 0700), 0);
}
END_TEST

START_TEST(test_second_stashd)
{
	struct t_stashd d = { .points = false };
	struct stash_client *c;

	t_stashd_start(&d, good());
	refused(good(), t_store(&d), 75, "stashd");
	c = t_client(&d);
	t_expect_call(c, "sequence", "next_number", NULL, "123");
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(test_other_store_format)
{
	struct t_stashd d = { .points = false };
	struct stash__info info;
	char *before, *after;
	size_t n, m;
	struct stash_client *c;

	t_stashd_start(&d, good());
	c = t_client(&d);
	t_expect_call(c, "sequence", "next_number", NULL, "123");
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
	ck_assert_int_eq(stash__info_read(t_store(&d), &info), STASH_OK);
	char *text = t_read_file(t_path("store/stash.info"), NULL);
	char *line = strstr(text, "format");
	ck_assert_ptr_nonnull(line);
	line = strpbrk(line, "0123456789");
	ck_assert_ptr_nonnull(line);
	*line = '9';
	t_write_file(t_path("store/stash.info"), text);
	before = t_read_file(t_path("store/data.mdb"), &n);
	refused(good(), t_store(&d), 65, "format");
	after = t_read_file(t_path("store/data.mdb"), &m);
	ck_assert_uint_eq(n, m);
	ck_assert_mem_eq(before, after, n);
	free(before);
	free(after);
	/* As it was, it goes on. */
	*line = '1';
	t_write_file(t_path("store/stash.info"), text);
	free(text);
	t_stashd_start(&d, NULL);
	c = t_client(&d);
	t_expect_call(c, "sequence", "next_number", NULL, "124");
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
}
END_TEST

/* A path that no socket address holds is reached by its directory's descriptor. */
START_TEST(test_long_path)
{
	struct t_stashd d = { .points = false };
	struct stash_client *c;
	char name[121], path[PATH_MAX];

	memset(name, 'p', 120);
	name[120] = '\0';
	snprintf(path, sizeof path, "%s/%s", t_run_dir(), name);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(setenv("RUNTIME_DIRECTORY", path, 1), 0);
	t_stashd_start(&d, good());
	c = t_client(&d);
	t_expect_call(c, "sequence", "next_number", NULL, "123");
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(test_configs)
{
	const char *dir = t_path("never");

	refused("tree = { strategy = 5; };", dir, 78, "strategy");
	refused("tree = {", dir, 78, "syntax");
	refused("tree = { children = ( { id = \"a\"; modul = \"x.so\"; } ); };", dir, 78, "module");
	refused("tree = { children = ( { id = \"a\"; module = \"/no/such.so\"; } ); };", dir, 78, "such.so");
	ck_assert_int_ne(access(dir, F_OK), 0);
}
END_TEST

/* A first child whose init fails: the tree does not start, and says why. */
START_TEST(test_start_fails)
{
	refused(t_config("sequence", "examples/sequence.so", "\"cat\"", "", ""), t_path("store"), 70, "sequence");
}
END_TEST

START_TEST(test_command_lines)
{
	static const char *const wrong[][4] = { { "-x", NULL }, { "--no-such", NULL }, { "-d", NULL },
		{ "operand", NULL }, { "-f", "a", "operand", NULL } };

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		const char *argv[6] = { t_build("stashd"), wrong[i][0], wrong[i][1],
			wrong[i][1] != NULL ? wrong[i][2] : NULL, NULL };
		struct t_result r;
		t_run(&r, NULL, argv);
		ck_assert_msg(r.status == 64, "%s: %d %s", wrong[i][0], r.status, r.err);
		ck_assert(strncmp(r.err, "stashd: ", 8) == 0);
		t_result_free(&r);
	}
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("input");
	TCase *c = t_case(s, "input", 60);

	tcase_add_test(c, test_directory_that_cannot_be);
	tcase_add_test(c, test_directory_not_writable);
	tcase_add_test(c, test_second_stashd);
	tcase_add_test(c, test_other_store_format);
	tcase_add_test(c, test_long_path);
	tcase_add_test(c, test_configs);
	tcase_add_test(c, test_start_fails);
	tcase_add_test(c, test_command_lines);
	return s;
}

TEST_MAIN(suite)
