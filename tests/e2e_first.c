/* SPDX-License-Identifier: ISC */
/*
 * A supervisor, or a stash, that dies in the first start of a stashd: whoever comes next begins as it would have begun,
 * and doesn't take what an earlier stashd has left in the store for a tree that runs.
 */
#include <string.h>
#include <unistd.h>

#include <stash/stash.h>

#include "modules/power_tape.h"
#include "testlib_live.h"

static struct t_stashd d;

/* Where it dies: the keeper has been asked; the store's rows are read; the tree has begun, and its rows are written. */
static const char *const places[] = { "sup_took_keeper:1:supervisor", "sup_read_rows:1:supervisor",
	"sup_took_rows:1:supervisor", "stash_in_dump:1:stash" };
#define PLACES (int)(sizeof places / sizeof places[0])

/* One dies there in the next start. */
static void
start_dying(const char *place, const char *config, bool other_boot)
{
	static char crash[128], dir[PATH_MAX + 32], load[PATH_MAX + 16], boot[PATH_MAX + 32];
	static const char *const env[] = { crash, dir, load, boot, NULL };

	snprintf(crash, sizeof crash, "STASH_CRASH=%s", place);
	snprintf(dir, sizeof dir, "STASH_CRASH_DIR=%s", t_dir());
	snprintf(load, sizeof load, "LD_PRELOAD=%s", other_boot ? t_build("tests/modules/power_tape.so") : "");
	snprintf(boot, sizeof boot, "%s=%s", TAPE_BOOT_ENV, t_path("boot_id"));
	t_write_file(t_path("boot_id"), "01234567-89ab-cdef-0123-456789abcdef\n");
	d.env = env;
	d.points = true;
	t_stashd_start(&d, config);
	ck_assert_msg(access(t_path("fired"), F_OK) == 0, "nobody passed %s", place);
}

/* intensity 0: whatever is counted ends the tree. */
static const char *
counters(int n, int intensity)
{
	static char text[4 * PATH_MAX];
	int len = snprintf(text, sizeof text, "tree = { intensity = %d; period = 3600; children = (", intensity);

	for (int i = 0; i < n; i++)
		len += snprintf(text + len, sizeof text - (size_t)len, "%s\n  { id = \"%c\"; module = \"%s\"; }",
		    i > 0 ? "," : "", 'a' + i, t_build("tests/modules/child.so"));
	snprintf(text + len, sizeof text - (size_t)len, "\n); };");
	return text;
}

static void
begin(int n, int intensity)
{
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, counters(n, intensity));
}

/* All of them count one call more. */
static void
expect_counts(struct stash_client *c, int n, const char *count)
{
	for (int i = 0; i < n; i++) {
		char name[2] = { (char)('a' + i), '\0' };

		t_expect_call(c, name, "count", NULL, count);
	}
}

static uint64_t
restarts_of(struct stash_client *c, const char *name)
{
	struct stash_process p;
	int result = stash_whereis(c, name, &p);

	ck_assert_msg(result == STASH_OK, "%s: %s", name, stash_errmsg());
	return p.restarts;
}

/* What is in the store is a tree that is down. */
START_TEST(test_after_a_clean_stop)
{
	struct stash_client *c;

	begin(2, 0);
	c = t_client(&d);
	expect_counts(c, 2, "1");
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
	start_dying(places[_i], counters(3, 0), false);
	c = t_client(&d);
	expect_counts(c, 2, "2");
	t_expect_call(c, "c", "count", NULL, "1");
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}
END_TEST

/* It is one that runs, by its rows, and nobody of it is alive: that is nobody's fault. */
START_TEST(test_after_everything_died)
{
	struct stash_client *c;

	begin(2, 0);
	c = t_client(&d);
	expect_counts(c, 2, "1");
	stash_client_close(c);
	t_murder_all(&d);
	start_dying(places[_i], counters(3, 0), false);
	c = t_client(&d);
	expect_counts(c, 2, "2");
	t_expect_call(c, "c", "count", NULL, "1");
	for (const char *name = "a\0b\0c\0"; *name != '\0'; name += 2)
		ck_assert_uint_eq(restarts_of(c, name), 0);
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}
END_TEST

static bool
has_restarted(void *arg)
{
	return restarts_of(arg, "a") == 1;
}

/* Restart counts of another boot are none, whoever has been told of the boot. */
START_TEST(test_on_another_boot)
{
	struct stash_client *c;

	begin(1, 1);
	c = t_client(&d);
	expect_counts(c, 1, "1");
	ck_assert(t_murder(&d, T_WORKER, "a"));
	ck_assert(t_wait_for(has_restarted, c, 20000));
	stash_client_close(c);
	t_murder_all(&d);
	start_dying(places[_i], counters(1, 1), true);
	c = t_client(&d);
	t_expect_call(c, "a", "args", NULL, "a");
	ck_assert_uint_eq(restarts_of(c, "a"), 0);
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("first");
	TCase *tc = t_case(s, "first", 60);

	tcase_add_loop_test(tc, test_after_a_clean_stop, 0, PLACES);
	tcase_add_loop_test(tc, test_after_everything_died, 0, PLACES);
	tcase_add_loop_test(tc, test_on_another_boot, 0, PLACES);
	return s;
}

TEST_MAIN(suite)
