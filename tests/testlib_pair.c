/* SPDX-License-Identifier: ISC */
/*
 * testlib_pair.c: two workers that talk to each other, and what they have counted.
 */
#include "testlib_pair.h"

#include <stdio.h>
#include <string.h>

#include <stash/stash.h>

struct t_stashd tp_d;
struct stash_client *tp_client;

const char *
tp_config(const char *extra)
{
	static char text[2048];
	char module[512];

	snprintf(module, sizeof module, "%s", t_build("tests/modules/pair.so"));
	snprintf(text, sizeof text,
	    "store = { };\ntree = { intensity = 1000000; period = 1; children = (\n"
	    "  { id = \"a\"; module = \"%s\"; max_attempts = 1000; %s },\n"
	    "  { id = \"b\"; module = \"%s\"; max_attempts = 1000; %s }\n); };\n",
	    module, extra, module, extra);
	return text;
}

void
tp_until(bool (*done)(void *), void *arg, int ms)
{
	ck_assert(t_wait_for(done, arg, ms));
}

static bool
runs(const char *name)
{
	struct stash_process p;

	return stash_whereis(tp_client, name, &p) == 0 && p.status == STASH_RUNNING;
}

bool
tp_until_both_run(void *arg)
{
	(void)arg;
	return runs("a") && runs("b");
}

void
tp_begin(const char *extra)
{
	memset(&tp_d, 0, sizeof tp_d);
	t_stashd_start(&tp_d, tp_config(extra));
	tp_client = t_client(&tp_d);
	/* A first start that is killed is a tree that can't be started. */
	tp_until(tp_until_both_run, NULL, 20000);
}

void
tp_finish(void)
{
	stash_client_close(tp_client);
	t_stashd_stop(&tp_d, 20000);
}

struct tp_counts
tp_counts(const char *name)
{
	struct stash_reply reply;
	struct tp_counts c = { 0 };

	ck_assert_msg(stash_call(tp_client, name, "count", NULL, 0, &reply, 30000) == 0, "%s: %s; stashd's output:\n%s",
	    name, stash_errmsg(), t_output(&tp_d.proc));
	ck_assert_int_eq(
	    sscanf(reply.data,
		"told %ld heard %ld taken %ld asked %ld got %ld sum %ld refused %ld code %ld posted %ld %ld "
		"continued %ld %ld",
		&c.told, &c.heard, &c.taken, &c.asked, &c.got, &c.sum, &c.refused, &c.code, &c.posted, &c.handled,
		&c.continues, &c.continued),
	    12);
	stash_reply_free(&reply);
	return c;
}

/* Until what was sent has come: they agree, and nobody moves any more. */
bool
tp_until_heard(void *arg)
{
	(void)arg;
	return tp_counts("a").told == tp_counts("b").heard;
}

bool
tp_until_posted(void *arg)
{
	struct tp_counts c = tp_counts("a");

	(void)arg;
	return c.posted == c.handled;
}

bool
tp_until_continued(void *arg)
{
	struct tp_counts c = tp_counts("a");

	(void)arg;
	return c.continues == c.continued;
}

bool
tp_until_answered(void *arg)
{
	struct tp_counts c = tp_counts("a");

	(void)arg;
	return c.asked == c.got + c.refused;
}
