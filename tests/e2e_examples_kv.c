/* SPDX-License-Identifier: ISC */
/*
 * The kv example as its text tells: a call that it doesn't know crashes it, and what was set is still there; and what
 * a list with pointers has to bear besides: any keys and values, many of them, kills at any moment.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <bsd/stdlib.h>

#include <stash/stash.h>

#include "testlib_examples.h"

static struct t_stashd d;

static void
begin(const char *conf)
{
	memset(&d, 0, sizeof d);
	t_example_start(&d, conf, NULL);
}

static void
finish(void)
{
	t_stashd_stop(&d, 10000);
}

static void
crash_it(const char *then)
{
	pid_t pid = t_reborn(&d, "kv", 0);

	t_session("call kv get foo", "nil");
	t_session("call kv set foo bar", "ok");
	t_session("call kv get foo", "bar");
	t_session_fails("call kv invalid_call", EX_SOFTWARE, "crash");
	(void)t_reborn(&d, "kv", pid);
	t_session("call kv get foo", then);
	/* Last message and state, as the original has them in its error. */
	t_wait_output(&d.proc, "kv knows no message invalid_call", 10000);
	t_wait_output(&d.proc, "call invalid_call", 10000);
	t_wait_output(&d.proc, "foo: bar", 10000);
}

START_TEST(a_crash_without_a_stash_loses_the_value)
{
	begin("kv-naive.conf");
	crash_it("nil");
	finish();
}
END_TEST

START_TEST(a_crash_with_a_stash_keeps_the_value)
{
	begin("kv.conf");
	crash_it("bar");
	t_session("call kv set foo a longer value", "ok");
	t_session("call kv get foo", "a longer value");
	t_session("call kv set empty ", "ok");
	t_session("call kv get empty", "");
	finish();
	t_stashd_start(&d, NULL);
	t_session("call kv get foo", "a longer value");
	t_session("call kv get empty", "");
	t_session("call kv get other", "nil");
	finish();
}
END_TEST

/* ---- any keys and values ---- */

#define PAIRS 300
#define BYTES 3000

/* "KEY VALUE": a key of bytes without a space, a value of any; the same for the same i and round. */
static size_t
make(unsigned char *to, unsigned i, unsigned round, size_t *key_len)
{
	size_t n = 0, value;

	n += (size_t)snprintf((char *)to, 32, "%u", i);
	for (unsigned k = 0; k < i % 40; k++)
		to[n++] = (unsigned char)(k == ' ' ? 0xff : k);
	*key_len = n;
	to[n++] = ' ';
	value = (i * 7919 + round * 104729) % BYTES;
	for (size_t k = 0; k < value; k++)
		to[n++] = (unsigned char)(k * 31 + i + round);
	return n;
}

static void
set_pair(struct stash_client *c, unsigned i, unsigned round)
{
	unsigned char data[64 + 40 + BYTES];
	struct stash_reply reply;
	size_t key_len, len = make(data, i, round, &key_len);
	int result = stash_call(c, "kv", "set", data, len, &reply, 60000);

	ck_assert_msg(result == STASH_OK, "set: %s", stash_errmsg());
	ck_assert_str_eq(reply.data, "ok");
	stash_reply_free(&reply);
}

static void
check_pair(struct stash_client *c, unsigned i, unsigned round)
{
	unsigned char data[64 + 40 + BYTES];
	struct stash_reply reply;
	size_t key_len, len = make(data, i, round, &key_len);
	int result = stash_call(c, "kv", "get", data, key_len, &reply, 60000);

	ck_assert_msg(result == STASH_OK, "get: %s", stash_errmsg());
	ck_assert_uint_eq(reply.len, len - key_len - 1);
	if (reply.len > 0)
		ck_assert_mem_eq(reply.data, data + key_len + 1, reply.len);
	stash_reply_free(&reply);
}

START_TEST(any_keys_and_values_outlive_everybody)
{
	unsigned rounds[PAIRS] = { 0 };
	struct stash_client *c;

	memset(&d, 0, sizeof d);
	t_example_start(&d, "kv.conf", (const char *const[]){ "intensity = 3", "intensity = 100000", NULL });
	c = t_client(&d);
	for (unsigned i = 0; i < PAIRS; i++)
		set_pair(c, i, 0);
	for (unsigned n = 0; n < 1000; n++) {
		unsigned i = arc4random_uniform(PAIRS);
		set_pair(c, i, ++rounds[i]);
		if (n % 20 == 0)
			(void)t_murder(&d, n % 60 == 0 ? T_STASH : n % 60 == 20 ? T_SUPERVISOR : T_WORKER, "kv");
		check_pair(c, i, rounds[i]);
	}
	stash_client_close(c);
	t_murder_all(&d);
	t_stashd_start(&d, NULL);
	c = t_client(&d);
	for (unsigned i = 0; i < PAIRS; i++)
		check_pair(c, i, rounds[i]);
	stash_client_close(c);
	finish();
}
END_TEST

/* The calls beside one that fails are done again, and every value that was confirmed is there. */
START_TEST(only_the_call_that_failed_is_lost)
{
	int64_t refs[40], wrong = 0;
	struct stash_client *c;
	struct stash_reply reply;

	begin("kv.conf");
	c = t_client(&d);
	for (unsigned i = 0; i < 40; i++) {
		char text[32];
		int n = snprintf(text, sizeof text, "key%u value%u", i, i);
		refs[i] = stash_call_start(c, "kv", i == 25 ? "invalid_call" : "set", text, (size_t)n, 60000);
		ck_assert_int_gt(refs[i], 0);
	}
	for (unsigned i = 0; i < 40; i++) {
		int result = stash_call_wait(c, refs[i], &reply, 60000);
		ck_assert_int_eq(result, i == 25 ? STASH_E_CRASHED : STASH_OK);
		wrong += result != STASH_OK;
		stash_reply_free(&reply);
	}
	ck_assert_int_eq(wrong, 1);
	for (unsigned i = 0; i < 40; i++) {
		char key[16], value[16];
		snprintf(key, sizeof key, "key%u", i);
		snprintf(value, sizeof value, "value%u", i);
		t_expect_call(c, "kv", "get", key, i == 25 ? "nil" : value);
	}
	stash_client_close(c);
	finish();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("example kv");
	TCase *tc = t_case(s, "kv", 120);

	tcase_add_test(tc, a_crash_without_a_stash_loses_the_value);
	tcase_add_test(tc, a_crash_with_a_stash_keeps_the_value);
	tcase_add_test(tc, any_keys_and_values_outlive_everybody);
	tcase_add_test(tc, only_the_call_that_failed_is_lost);
	return s;
}

TEST_MAIN(suite)
