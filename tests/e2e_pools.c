/* SPDX-License-Identifier: ISC */
/*
 * Many supervisors without children, which are more than the tree machine looks after in one go: they start, are taken
 * over and end without anybody from outside who happens to wake it.
 */
#include <stdlib.h>
#include <string.h>

#include <stash/stash.h>

#include "testlib_live.h"

enum { POOLS = 1200 };

static struct t_stashd d;

/* Pools, and behind them one worker whose init waits for a file. */
static void
begin(void)
{
	size_t len;
	char *text;
	FILE *f = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(f);
	fprintf(f, "tree = { intensity = 0; children = (\n");
	for (unsigned i = 0; i < POOLS; i++)
		fprintf(f,
		    "  { id = \"p%u\"; strategy = \"simple_one_for_one\"; children = (\n"
		    "    { id = \"one\"; module = \"%s\"; } ); },\n",
		    i, t_build("examples/counter.so"));
	fprintf(f, "  { id = \"last\"; module = \"%s\"; args = [\"until=%s\"]; }\n); };\n",
	    t_build("tests/modules/child.so"), t_path("go"));
	fclose(f);
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, text);
	free(text);
}

struct listed {
	unsigned supervisors, workers;
	bool in_order; /* the last one first */
};

static int
list_one(void *arg, const struct stash_process *p)
{
	struct listed *l = arg;
	char id[16];

	if (strcmp(p->id, "last") == 0) {
		l->workers++;
		return 0;
	}
	snprintf(id, sizeof id, "p%u", POOLS - 1 - l->supervisors++);
	l->in_order = l->in_order && strcmp(p->id, id) == 0;
	return 0;
}

static void
list(struct stash_client *c)
{
	struct listed l = { .in_order = true };
	int result = stash_which_children(c, "root", list_one, &l, 60000 * t_patience());

	ck_assert_msg(result == 0, "which_children: %s", stash_errmsg());
	ck_assert_uint_eq(l.supervisors, POOLS);
	ck_assert_uint_eq(l.workers, 1);
	ck_assert(l.in_order);
}

START_TEST(test_start_and_stop)
{
	struct stash_client *c;

	t_write_file(t_path("go"), "");
	begin();
	t_wait_output(&d.proc, "up: ", 20000);
	c = t_client(&d);
	list(c);
	t_expect_call(c, "last", "count", NULL, "1");
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}
END_TEST

static bool
last_is_there(void *arg)
{
	(void)arg;
	return t_pid(&d, T_WORKER, "last") != 0;
}

/* In the midst of the start, and when all is up. */
START_TEST(test_takeover)
{
	struct stash_client *c;

	begin();
	ck_assert(t_wait_for(last_is_there, NULL, 20000));
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	t_write_file(t_path("go"), "");
	c = t_client(&d);
	t_expect_call(c, "last", "count", NULL, "1");
	list(c);
	ck_assert(t_murder(&d, T_SUPERVISOR, NULL));
	list(c);
	t_expect_call(c, "last", "count", NULL, "2");
	stash_client_close(c);
	t_stashd_stop(&d, 20000);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("pools");
	TCase *c = t_case(s, "pools", 120);

	tcase_add_test(c, test_start_and_stop);
	tcase_add_test(c, test_takeover);
	return s;
}

TEST_MAIN(suite)
