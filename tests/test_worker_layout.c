/* SPDX-License-Identifier: ISC */
/*
 * A worker that finds a state of another layout: code_change, decode, fields, and no way at all; its supervisor and
 * stash are played by the test.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <stash/worker.h>

#include "shm/wire.h"
#include "testlib.h"
#include "testlib_slot.h"

/* ---- two layouts of one counter ---- */

struct first {
	int64_t n;
	char note[8];
};
static const struct stash_field first_fields[] = { STASH_FIELD(struct first, n), STASH_FIELD(struct first, note),
	STASH_FIELD_END };

struct second {
	char note[40];
	int32_t n;
	int32_t calls;
};
static const struct stash_field second_fields[] = { STASH_FIELD(struct second, note), STASH_FIELD(struct second, n),
	STASH_FIELD(struct second, calls), STASH_FIELD_END };

/* "set" a number, with the payload as note; everything else is answered by both. */
static int
first_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct first *s = state;

	if (stash_msg_is(msg, "set"))
		(void)stash_msg_int(msg, INT64_MIN, INT64_MAX, &s->n);
	if (stash_msg_is(msg, "note"))
		(void)snprintf(s->note, sizeof s->note, "%s", stash_msg_text(msg));
	return stash_replyf(w, "%" PRId64 " %s", s->n, s->note);
}

static int
second_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct second *s = state;

	if (!stash_msg_is(msg, "look"))
		s->calls++;
	return stash_replyf(
	    w, "%" PRId32 " %s %" PRId32 " from %" PRIu32, s->n, s->note, s->calls, stash_init_info(w)->from_layout);
}

static const struct stash_behaviour v1 = STASH_BEHAVIOUR(.name = "counter", .state_size = sizeof(struct first),
    .layout_version = 1, .fields = first_fields, .handle_call = first_call);

static int
change(uint32_t from_layout, const void *old, size_t len, void *state)
{
	const struct first *f = old;
	struct second *s = state;

	ck_assert_uint_eq(from_layout, 1);
	ck_assert_uint_eq(len, sizeof *f);
	ck_assert_uint_eq((uintptr_t)old % 64, 0);
	ck_assert_int_eq(s->calls, 0);
	if (f->n < 0)
		return STASH_E_APP;
	if (f->n == 13)
		abort();
	if (f->n == 7)
		return 7;
	s->n = (int32_t)f->n + 1000;
	(void)snprintf(s->note, sizeof s->note, "changed %s", f->note);
	return STASH_OK;
}

#define V2 \
	.name = "counter", .state_size = sizeof(struct second), .layout_version = 2, .fields = second_fields, \
	.handle_call = second_call
static const struct stash_behaviour v2 = STASH_BEHAVIOUR(V2);
static const struct stash_behaviour changing = STASH_BEHAVIOUR(V2, .code_change = change);

/* ---- fixture ---- */

static struct t_world t;
static struct t_caller a;

/* A state of layout 1, version 2, whose worker is dead. */
static void
begin(const char *n, const char *note)
{
	t_world_open(&t, 64);
	t_caller_open(&a, &t, t_world_channel(&t, STASH__RING_MIN));
	t_world_start(&t, &v1, false);
	(void)t_caller_ask(&a, "set", n);
	t_caller_answer(&a);
	(void)t_caller_ask(&a, "note", note);
	t_caller_answer(&a);
	ck_assert_int_eq(kill(t.pid, SIGKILL), 0);
	(void)t_world_wait(&t);
	ck_assert_uint_eq(t.base.version, 2);
}

static void
start(const struct stash_behaviour *behaviour)
{
	t_world_start(&t, behaviour, false);
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
}

static void
stop(int sig)
{
	ck_assert_int_eq(kill(t.pid, sig), 0);
	(void)t_world_wait(&t);
}

static void
finish(int sig)
{
	stop(sig);
	t_caller_close(&a);
	t_world_close(&t);
}

/* The start fails with that error and text, and the state can still be read by whom it is of. */
static void
refused(int error, const char *text)
{
	struct stash_view v;

	t_world_expect(&t, STASH__W_READY, &v);
	ck_assert_int_eq(stash_view_int(&v), error);
	ck_assert_str_eq(stash_view_text(&v), text);
	ck_assert(WIFEXITED(t_world_wait(&t)));
	ck_assert_uint_eq(t.base.version, 2);
	ck_assert_uint_eq(t.base.layout_version, 1);
	ck_assert_uint_eq(t.base.image_len, sizeof(struct first));
}

static void
still(const char *answer)
{
	start(&v1);
	t_caller_expect(&a, "look", "", STASH_OK, answer);
}

/* ---- tests ---- */

START_TEST(test_code_change)
{
	begin("5", "five");
	start(&changing);
	stop(SIGKILL);
	/* It is committed with the start, and counts as one version. */
	ck_assert_uint_eq(t.base.version, 3);
	ck_assert_uint_eq(t.base.layout_version, 2);
	ck_assert_uint_eq(t.base.image_len, sizeof(struct second));
	start(&changing);
	t_caller_expect(&a, "look", "", STASH_OK, "1005 changed five 0 from 2");
	finish(SIGKILL);
	ck_assert_uint_eq(t.base.version, 3);
}
END_TEST

START_TEST(test_code_change_says_no)
{
	begin("-5", "x");
	t_world_start(&t, &changing, false);
	refused(STASH_E_APP, "code_change of behaviour counter failed: the worker's own error");
	still("-5 x");
	t_caller_expect(&a, "set", "7", STASH_OK, "7 x");
	stop(SIGKILL);
	t.base.version = 2; /* for refused() */
	t_world_start(&t, &changing, false);
	refused(STASH_E_INVAL, "code_change of behaviour counter returned 7, which is no result of it");
	still("7 x");
	finish(SIGKILL);
}
END_TEST

START_TEST(test_code_change_crashes)
{
	begin("13", "x");
	t_world_start(&t, &changing, false);
	ck_assert(WIFSIGNALED(t_world_wait(&t)));
	ck_assert_uint_eq(t.base.version, 2);
	ck_assert_uint_eq(t.out.box->phase, STASH__PHASE_INIT);
	still("13 x");
	finish(SIGKILL);
}
END_TEST

/* ---- init behind code_change ---- */

enum { GOOD, BAD, IGNORED, KILLED, CHANGES };
static int init_does;

static int
second_init(struct stash_worker *w, void *state, const struct stash_init *in)
{
	struct second *s = state;

	ck_assert_uint_eq(in->from_layout, 1);
	ck_assert_uint_eq(in->version, 2);
	ck_assert_int_eq(s->n, 1005);
	if (init_does == BAD)
		return stash_fail(w, "init doesn't like it");
	if (init_does == IGNORED)
		return STASH_IGNORE;
	if (init_does == KILLED)
		raise(SIGKILL);
	s->calls = 7;
	return STASH_OK;
}

static const struct stash_behaviour careful = STASH_BEHAVIOUR(V2, .code_change = change, .init = second_init);

START_TEST(test_init_decides)
{
	begin("5", "five");
	for (init_does = BAD; init_does <= KILLED; init_does++) {
		t_world_start(&t, &careful, false);
		if (init_does != KILLED)
			ck_assert_int_eq(t_world_ready(&t), init_does == BAD ? STASH_E_APP : STASH_IGNORE);
		(void)t_world_wait(&t);
		ck_assert_uint_eq(t.base.version, 2);
		ck_assert_uint_eq(t.base.layout_version, 1);
	}
	still("5 five");
	stop(SIGKILL);
	/* What init changes is one transition with it. */
	init_does = CHANGES;
	start(&careful);
	t_caller_expect(&a, "look", "", STASH_OK, "1005 changed five 7 from 1");
	finish(SIGKILL);
	ck_assert_uint_eq(t.base.version, 3);
}
END_TEST

/* ---- by fields ---- */

START_TEST(test_by_fields)
{
	begin("5", "five");
	t_world_start(&t, &v2, false);
	t_world_tell(&t, "counter", 1, first_fields, sizeof(struct first));
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
	t_caller_expect(&a, "look", "", STASH_OK, "5 five 0 from 1");
	stop(SIGKILL);
	ck_assert_uint_eq(t.base.version, 3);
	ck_assert_uint_eq(t.base.layout_version, 2);
	/* And back, with the older module. */
	t_world_start(&t, &v1, false);
	t_world_tell(&t, "counter", 2, second_fields, sizeof(struct second));
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
	t_caller_expect(&a, "look", "", STASH_OK, "5 five");
	finish(SIGKILL);
	ck_assert_uint_eq(t.base.version, 4);
}
END_TEST

START_TEST(test_a_value_that_does_not_fit)
{
	begin("5000000000", "x");
	t_world_start(&t, &v2, false);
	t_world_tell(&t, "counter", 1, first_fields, sizeof(struct first));
	refused(STASH_E_LAYOUT,
	    "the stored state of w has layout counter version 1, its behaviour has version 2, and there is no way from "
	    "one to the other: field n: 5000000000 doesn't fit into what it is now");
	still("5000000000 x");
	finish(SIGKILL);
}
END_TEST

START_TEST(test_fields_that_are_not_known)
{
	static const char text[] =
	    "the stored state of w has layout counter version 1, its behaviour has version 2, and there is no way from "
	    "one to the other: it has no code_change, and no fields are known of what is stored";
	static const struct stash_behaviour bare = STASH_BEHAVIOUR(.name = "counter",
	    .state_size = sizeof(struct second), .layout_version = 2, .handle_call = second_call);

	begin("5", "five");
	t_world_start(&t, &v2, false);
	t_world_tell(&t, "counter", 1, NULL, sizeof(struct first));
	refused(STASH_E_LAYOUT, text);
	/* Fields of another struct under the same version. */
	t_world_start(&t, &v2, false);
	t_world_tell(&t, "counter", 1, first_fields, sizeof(struct first) + 8);
	refused(STASH_E_LAYOUT, text);
	t_world_start(&t, &bare, false);
	refused(STASH_E_LAYOUT,
	    "the stored state of w has layout counter version 1, its behaviour has version 2, and there is no way from "
	    "one to the other: it has no code_change and no fields");
	still("5 five");
	finish(SIGKILL);
}
END_TEST

START_TEST(test_asked_again)
{
	struct stash_view v;

	begin("5", "five");
	t_world_start(&t, &v2, false);
	/* A supervisor that dies forgets what it was asked. */
	t_world_expect(&t, STASH__W_ASK_FIELDS, &v);
	t_world_tell(&t, "counter", 1, first_fields, sizeof(struct first));
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
	t_caller_expect(&a, "look", "", STASH_OK, "5 five 0 from 1");
	finish(SIGKILL);
}
END_TEST

/* ---- decode, and no way ---- */

static int
text_encode(const void *state, struct stash_buf *out)
{
	return stash_buf_add_text(out, *(char *const *)state);
}

static int
text_decode(const void *data, size_t len, uint32_t layout, void *state)
{
	const struct first *f = data;

	if (layout == 2)
		*(char **)state = strndup(data, len);
	else if (asprintf((char **)state, "%" PRId64 "/%s", f->n, f->note) < 0)
		return STASH_E_NOMEM;
	return STASH_OK;
}

static int
text_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	(void)msg;
	return stash_replyf(w, "%s", *(char **)state);
}

START_TEST(test_decode_reads_older_layouts)
{
	static const struct stash_behaviour text = STASH_BEHAVIOUR(.name = "counter", .state_size = sizeof(char *),
	    .layout_version = 2, .fields = second_fields, .handle_call = text_call, .encode = text_encode,
	    .decode = text_decode);

	begin("5", "five");
	start(&text);
	t_caller_expect(&a, "look", "", STASH_OK, "5/five");
	stop(SIGKILL);
	ck_assert_uint_eq(t.base.version, 3);
	ck_assert_uint_eq(t.base.layout_version, 2);
	ck_assert_uint_eq(t.base.image_len, 7);
	start(&text);
	t_caller_expect(&a, "look", "", STASH_OK, "5/five");
	finish(SIGKILL);
	ck_assert_uint_eq(t.base.version, 3);
}
END_TEST

START_TEST(test_another_length_under_the_same_version)
{
	static const struct stash_behaviour grown = STASH_BEHAVIOUR(.name = "counter",
	    .state_size = sizeof(struct second), .layout_version = 1, .handle_call = second_call);

	begin("5", "five");
	t_world_start(&t, &grown, false);
	refused(STASH_E_LAYOUT,
	    "the stored state of w has 16 bytes, its behaviour's has 48 under the same layout_version 1: "
	    "raise layout_version");
	still("5 five");
	finish(SIGKILL);
}
END_TEST

START_TEST(test_another_name)
{
	static const struct stash_behaviour other = STASH_BEHAVIOUR(.name = "other", .state_size = sizeof(struct first),
	    .layout_version = 1, .fields = first_fields, .handle_call = first_call, .code_change = change);

	begin("5", "five");
	t_world_start(&t, &other, false);
	refused(STASH_E_LAYOUT,
	    "the stored state of w has layout counter version 1, its behaviour has other version 1: "
	    "there is no way from one to the other");
	still("5 five");
	finish(SIGKILL);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("worker's layout");
	TCase *c = t_case(s, "another layout", 30);

	tcase_add_test(c, test_code_change);
	tcase_add_test(c, test_code_change_says_no);
	tcase_add_test(c, test_code_change_crashes);
	tcase_add_test(c, test_init_decides);
	tcase_add_test(c, test_by_fields);
	tcase_add_test(c, test_a_value_that_does_not_fit);
	tcase_add_test(c, test_fields_that_are_not_known);
	tcase_add_test(c, test_asked_again);
	tcase_add_test(c, test_decode_reads_older_layouts);
	tcase_add_test(c, test_another_length_under_the_same_version);
	tcase_add_test(c, test_another_name);
	return s;
}

TEST_MAIN(suite)
