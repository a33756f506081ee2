/* SPDX-License-Identifier: ISC */
/*
 * States that hold pointers (encode, decode), in a worker whose supervisor and stash are played by the test: what is
 * committed, when, and what is left of it when something of it fails.
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
#include "worker/worker.h"

/* ---- a map from anything to anything ---- */

struct pair {
	struct pair *next;
	char *key, *value;
};

struct map {
	struct pair *first;
	int64_t pairs;
};

static char **
find(struct map *m, const char *key)
{
	struct pair *p = m->first;

	while (p != NULL && strcmp(p->key, key) != 0)
		p = p->next;
	if (p == NULL) {
		p = calloc(1, sizeof *p);
		p->key = strdup(key);
		p->next = m->first;
		m->first = p;
		m->pairs++;
	}
	return &p->value;
}

static void
set(struct map *m, const char *key, const char *value)
{
	char **at = find(m, key);

	free(*at);
	*at = strdup(value);
}

/* "key=value", or "key". */
static int
map_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct map *m = state;
	char *text = strdup(stash_msg_text(msg)), *value = strchr(text, '=');
	int result = STASH_E_UNKNOWN;

	if (stash_msg_is(msg, "pairs"))
		result = stash_replyf(w, "%" PRId64, m->pairs);
	else if (stash_msg_is(msg, "get"))
		result = stash_replyf(w, "%s", *find(m, text) != NULL ? *find(m, text) : "");
	else if (stash_msg_is(msg, "large")) {
		char *large = malloc(1000001);
		memset(large, text[0], 1000000);
		large[1000000] = '\0';
		set(m, text, large);
		free(large);
		result = stash_replyf(w, "%s", text);
	} else if (value != NULL) {
		*value = '\0';
		set(m, text, value + 1);
		result = stash_msg_is(msg, "set") ? stash_replyf(w, "%" PRId64, m->pairs) :
						    stash_fail(w, "%s isn't to be set", text);
	} else if (stash_msg_is(msg, "stop"))
		result = STASH_STOP;
	free(text);
	return result;
}

static int
map_cast(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	(void)w;
	set(state, "cast", stash_msg_text(msg));
	return STASH_OK;
}

static void
map_terminate(struct stash_worker *w, void *state, enum stash_reason reason)
{
	struct map *m = state;
	int64_t pairs = m->pairs;
	const char *a_is = *find(m, "a");

	(void)reason;
	stash_log(w, 6, "%" PRId64 " pairs, a is %s", pairs, a_is != NULL ? a_is : "nothing");
	set(m, "ended", "yes");
}

static int
map_encode(const void *state, struct stash_buf *out)
{
	const struct map *m = state;

	for (const struct pair *p = m->first; p != NULL; p = p->next) {
		if (strcmp(p->key, "unsayable") == 0)
			return STASH_E_APP;
		if (strcmp(p->key, "wrong") == 0)
			return 7;
		if (strcmp(p->key, "deadly") == 0)
			abort();
		if (p->value == NULL)
			continue;
		(void)stash_buf_add_text(out, p->key);
		(void)stash_buf_add_text(out, p->value);
	}
	return STASH_OK;
}

static int
map_decode(const void *data, size_t len, uint32_t layout, void *state)
{
	struct stash_view v;
	struct pair **end = &((struct map *)state)->first;

	ck_assert_uint_eq(layout, 1);
	ck_assert_ptr_null(*end);
	ck_assert_uint_eq((uintptr_t)data % 64, 0);
	ck_assert_int_eq(((const char *)data)[len], '\0');
	stash_view_init(&v, data, len);
	while (v.left > 0 && v.error == 0) {
		struct pair *p = calloc(1, sizeof *p);
		p->key = strdup(stash_view_text(&v));
		p->value = strdup(stash_view_text(&v));
		*end = p;
		end = &p->next;
		((struct map *)state)->pairs++;
	}
	return stash_view_end(&v);
}

static int
no_decode(const void *data, size_t len, uint32_t layout, void *state)
{
	(void)data;
	(void)len;
	(void)layout;
	(void)state;
	return STASH_E_FORMAT;
}

#define MAP \
	.name = "map", .state_size = sizeof(struct map), .layout_version = 1, .handle_call = map_call, \
	.handle_cast = map_cast, .terminate = map_terminate, .encode = map_encode, .decode = map_decode
static const struct stash_behaviour map = STASH_BEHAVIOUR(MAP);
static const struct stash_behaviour lazy = STASH_BEHAVIOUR(MAP, .commit = STASH_COMMIT_TERMINATE);

/* ---- fixture ---- */

static struct t_world t;
static struct t_caller a;

static void
begin(const struct stash_behaviour *behaviour)
{
	t_world_begin(&t, &a, behaviour, 64, 4 * STASH__RING_MIN);
}

static int
end(int sig)
{
	ck_assert_int_eq(kill(t.pid, sig), 0);
	return t_world_wait(&t);
}

static void
again(const struct stash_behaviour *behaviour)
{
	t_world_start(&t, behaviour, false);
	ck_assert_int_eq(t_world_ready(&t), STASH_OK);
}

static void
finish(int sig)
{
	if (sig != 0)
		(void)end(sig);
	t_caller_close(&a);
	t_world_close(&t);
}

/* It has ended by an error result, and said so. */
static void
crashed(const char *text)
{
	int status = t_world_wait(&t);

	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	ck_assert_int_eq(t.out.box->crash.present, 2);
	ck_assert_str_eq(t.out.box->crash.text, text);
}

static void
logged(const char *text)
{
	struct stash_view v;

	t_world_expect(&t, STASH__W_LOG, &v);
	(void)stash_view_int(&v);
	ck_assert_str_eq(stash_view_text(&v), text);
}

/* ---- tests ---- */

START_TEST(test_encoded_state_survives)
{
	begin(&map);
	t_caller_expect(&a, "set", "a=1", STASH_OK, "1");
	t_caller_expect(&a, "set", "b=2", STASH_OK, "2");
	t_caller_expect(&a, "get", "a", STASH_OK, "1");
	(void)end(SIGKILL);
	ck_assert_uint_eq(t.base.version, 2);
	ck_assert_uint_eq(t.base.image_len, 8);
	again(&map);
	t_caller_expect(&a, "pairs", "", STASH_OK, "2");
	t_caller_expect(&a, "get", "b", STASH_OK, "2");
	t_caller_expect(&a, "set", "b=2", STASH_OK, "2");
	/* What wasn't changed is no version, also of another incarnation. */
	(void)end(SIGKILL);
	ck_assert_uint_eq(t.base.version, 2);
	again(&map);
	t_caller_expect(&a, "set", "b=three", STASH_OK, "2");
	(void)end(SIGTERM);
	logged("2 pairs, a is 1");
	ck_assert_uint_eq(t.base.version, 4);
	ck_assert_uint_eq(t.base.image_len, 12 + 10);
	finish(0);
}
END_TEST

START_TEST(test_encoded_state_grows)
{
	char name[] = "a";

	begin(&map);
	for (; name[0] < 'd'; name[0]++) {
		(void)t_caller_ask(&a, "large", name);
		t_caller_answer_growing(&a);
		ck_assert_str_eq((const char *)a.m.data, name);
	}
	/* Two of them didn't fit, and then there was no room for two more like that. */
	ck_assert_uint_eq(t.grows, 3);
	(void)end(SIGKILL);
	ck_assert_uint_eq(t.base.image_len, 3 * 1000003);
	ck_assert_uint_eq(t.broken, 0);
	again(&map);
	t_caller_expect(&a, "pairs", "", STASH_OK, "3");
	finish(SIGKILL);
}
END_TEST

START_TEST(test_too_large_an_image)
{
	begin(&map);
	for (int i = 0; i < 16; i++) {
		char name[] = { (char)('a' + i), '\0' };
		(void)t_caller_ask(&a, "large", name);
		t_caller_answer_growing(&a);
		ck_assert_str_eq((const char *)a.m.data, name);
	}
	ck_assert_uint_le(t.grows, 10);
	(void)t_caller_ask(&a, "large", "z");
	crashed("encode of behaviour map wrote more than 16777216 bytes");
	ck_assert_uint_eq(t.base.version, 16);
	ck_assert_uint_eq(t.rows[0].req_count, 16);
	finish(0);
}
END_TEST

static bool
has_room(void *arg)
{
	(void)arg;
	return atomic_load(&a.c->page->full) == 0;
}

/* Before it has the answer by which there is room for few more like that, its client knows.  A call that was sent all
 * the same is refused, and isn't run; a cast can't be refused any more, and waits for room, with all behind it. */
START_TEST(test_no_room_ahead)
{
	static const char refused[] = "the worker has no room for a larger state: the call was not run";
	uint64_t number;

	begin(&map);
	(void)t_caller_ask(&a, "large", "a");
	t_caller_answer_growing(&a);
	(void)t_caller_ask(&a, "large", "b");
	t_caller_answer_growing(&a);
	ck_assert_uint_eq(atomic_load(&a.c->page->full), 0);
	t.refuses = true;
	(void)t_caller_ask(&a, "large", "c");
	t_caller_answer_growing(&a);
	ck_assert_uint_eq(atomic_load(&a.c->page->full), STASH__FULL);
	t_caller_expect(&a, "large", "d", STASH_E_FULL, refused);
	t_caller_expect(&a, "large", "d", STASH_E_FULL, refused);
	(void)t_caller_send(&a, STASH_MSG_CAST, "set", "e");
	number = t_caller_ask(&a, "get", "cast");
	t_world_grow(&t); /* asked again, refused again */
	t_world_fold(&t);
	ck_assert_uint_eq(t.rows[0].req_count, 5);
	t.refuses = false;
	t_world_grow(&t);
	t_caller_answer(&a);
	ck_assert_uint_eq(a.m.head.number, number);
	ck_assert_str_eq((const char *)a.m.data, "e");
	t_world_fold(&t);
	ck_assert_uint_eq(t.rows[0].req_count, 7);
	ck_assert(t_wait_for(has_room, NULL, 5000));
	finish(SIGKILL);
}
END_TEST

static bool
waits_or_answered(void *arg)
{
	(void)arg;
	return atomic_load(&t.out.box->phase) == STASH__PHASE_WAITING || stash__reply_waits(a.c, a.head);
}

/* A stash that is slow to answer: as long as one more like that fits, nobody waits for it. */
START_TEST(test_no_room_in_time)
{
	begin(&map);
	(void)t_caller_ask(&a, "large", "a");
	t_caller_answer_growing(&a);
	(void)t_caller_ask(&a, "large", "b");
	t_caller_answer_growing(&a);
	t.refuses = true;
	(void)t_caller_ask(&a, "large", "c");
	t_caller_answer(&a);
	ck_assert_uint_eq(atomic_load(&a.c->page->full), 0);
	(void)t_caller_ask(&a, "large", "d");
	ck_assert(t_wait_for(waits_or_answered, NULL, 20000));
	ck_assert(!stash__reply_waits(a.c, a.head));
	t_caller_answer_growing(&a);
	ck_assert_str_eq((const char *)a.m.data, "d");
	ck_assert_uint_eq(atomic_load(&a.c->page->full), STASH__FULL);
	finish(SIGKILL);
}
END_TEST

START_TEST(test_failed_callback_is_taken_back)
{
	begin(&map);
	t_caller_expect(&a, "set", "a=1", STASH_OK, "1");
	(void)t_caller_ask(&a, "break", "a=2");
	crashed("a isn't to be set");
	logged("1 pairs, a is 1");
	ck_assert_uint_eq(t.rows[0].req_count, 1);
	ck_assert_uint_eq(t.base.version, 1);
	ck_assert_uint_eq(STASH__HAND_NUMBER(t.out.box->in_hand), 2);
	ck_assert_uint_eq(t.out.box->phase, STASH__PHASE_CALLBACK);
	again(&map);
	finish(SIGKILL);
}
END_TEST

START_TEST(test_failed_callback_in_a_batch)
{
	t_world_open(&t, 64);
	t_caller_open(&a, &t, t_world_channel(&t, STASH__RING_MIN));
	for (int i = 0; i < 4; i++)
		(void)t_caller_ask(&a, i == 2 ? "break" : "set", (const char *[]){ "a=1", "b=2", "a=3", "c=4" }[i]);
	t_world_start(&t, &map, false);
	crashed("a isn't to be set");
	/* terminate has seen what was committed, and nothing of the batch has left. */
	logged("0 pairs, a is nothing");
	ck_assert_uint_eq(t.base.version, 0);
	ck_assert_uint_eq(t.rows[0].req_count, 0);
	ck_assert(!stash__reply_waits(a.c, a.head));
	ck_assert_uint_eq(STASH__HAND_NUMBER(t.out.box->in_hand), 3);
	ck_assert_uint_eq(t.out.box->phase, STASH__PHASE_CALLBACK);
	/* As retire does it. */
	t.rows[0].aside = 3;
	t.base.careful = 1;
	t.base.again_number = 3;
	(void)t_world_channel(&t, STASH__RING_MIN);
	again(&map);
	for (int i = 0; i < 4; i++) {
		t_caller_answer(&a);
		ck_assert_uint_eq(a.m.head.number, (unsigned)i + 1);
		ck_assert_int_eq(a.m.head.code, i == 2 ? STASH_E_CRASHED : STASH_OK);
	}
	t_caller_expect(&a, "get", "a", STASH_OK, "1");
	t_caller_expect(&a, "pairs", "", STASH_OK, "3");
	finish(SIGKILL);
}
END_TEST

START_TEST(test_encode_fails)
{
	begin(&map);
	t_caller_expect(&a, "set", "a=1", STASH_OK, "1");
	(void)t_caller_ask(&a, "set", "unsayable=1");
	crashed("encode of behaviour map failed: the worker's own error");
	logged("1 pairs, a is 1");
	ck_assert_uint_eq(t.base.version, 1);
	ck_assert_uint_eq(t.rows[0].req_count, 1);
	ck_assert_uint_eq(STASH__HAND_NUMBER(t.out.box->in_hand), 2);
	ck_assert_uint_eq(t.out.box->batch, 1);
	t.rows[0].aside = 2;
	(void)t_world_channel(&t, STASH__RING_MIN);
	again(&map);
	t_caller_answer(&a);
	ck_assert_int_eq(a.m.head.code, STASH_E_CRASHED);
	(void)t_caller_ask(&a, "set", "wrong=1");
	crashed("encode of behaviour map returned 7, which is no result of it");
	finish(0);
}
END_TEST

START_TEST(test_encode_fails_for_a_batch)
{
	t_world_open(&t, 64);
	t_caller_open(&a, &t, t_world_channel(&t, STASH__RING_MIN));
	(void)t_caller_ask(&a, "set", "a=1");
	(void)t_caller_ask(&a, "set", "deadly=1");
	(void)t_caller_ask(&a, "set", "b=1");
	t_world_start(&t, &map, false);
	ck_assert(WIFSIGNALED(t_world_wait(&t)));
	/* Nobody can be charged: the stash will have it done again one by one. */
	ck_assert_uint_eq(t.out.box->batch, 3);
	ck_assert_uint_ne(t.out.box->phase, STASH__PHASE_CALLBACK);
	ck_assert_uint_eq(t.rows[0].req_count, 0);
	t.base.careful = 1;
	t.base.again_number = 3;
	(void)t_world_channel(&t, STASH__RING_MIN);
	t_world_start(&t, &map, false);
	ck_assert(WIFSIGNALED(t_world_wait(&t)));
	ck_assert_uint_eq(t.out.box->batch, 1);
	ck_assert_uint_eq(STASH__HAND_NUMBER(t.out.box->in_hand), 2);
	ck_assert_uint_eq(t.rows[0].req_count, 1);
	t_caller_answer(&a);
	ck_assert_str_eq((const char *)a.m.data, "1");
	finish(0);
}
END_TEST

START_TEST(test_stop_and_encode_fails)
{
	t_world_open(&t, 64);
	t_caller_open(&a, &t, t_world_channel(&t, STASH__RING_MIN));
	(void)t_caller_ask(&a, "set", "unsayable=1");
	(void)t_caller_ask(&a, "stop", "");
	t_world_start(&t, &map, false);
	crashed("encode of behaviour map failed: the worker's own error");
	ck_assert_uint_eq(t.rows[0].req_count, 0);
	finish(0);
}
END_TEST

START_TEST(test_decode_fails)
{
	static const struct stash_behaviour mute = STASH_BEHAVIOUR(.name = "map", .state_size = sizeof(struct map),
	    .layout_version = 1, .encode = map_encode, .decode = no_decode);
	struct stash_view v;

	begin(&map);
	t_caller_expect(&a, "set", "a=1", STASH_OK, "1");
	(void)end(SIGKILL);
	t_world_start(&t, &mute, false);
	t_world_expect(&t, STASH__W_READY, &v);
	ck_assert_int_eq(stash_view_int(&v), STASH_E_FORMAT);
	ck_assert_ptr_nonnull(strstr(stash_view_text(&v), "decode of behaviour map failed"));
	(void)t_world_wait(&t);
	ck_assert_uint_eq(t.base.version, 1);
	again(&map);
	t_caller_expect(&a, "get", "a", STASH_OK, "1");
	finish(SIGKILL);
}
END_TEST

START_TEST(test_committed_by_terminate)
{
	begin(&lazy);
	t_caller_expect(&a, "set", "a=1", STASH_OK, "1");
	t_caller_expect(&a, "set", "b=1", STASH_OK, "2");
	(void)end(SIGKILL);
	ck_assert_uint_eq(t.base.version, 0);
	ck_assert_uint_eq(t.rows[0].req_count, 2);
	again(&lazy);
	t_caller_expect(&a, "set", "a=2", STASH_OK, "1");
	(void)t_caller_ask(&a, "break", "a=3");
	crashed("a isn't to be set");
	logged("1 pairs, a is 2");
	ck_assert_uint_eq(t.rows[0].req_count, 3);
	again(&lazy);
	t.rows[0].aside = 4;
	finish(SIGKILL);
	ck_assert_uint_gt(t.base.version, 0);
	ck_assert_uint_eq(t.base.image_len, 4 + 10);
}
END_TEST

START_TEST(test_both_or_none)
{
	struct stash_behaviour b = map, taken;

	ck_assert_int_eq(stash__behaviour_take(&taken, &b), 0);
	b.decode = NULL;
	ck_assert_int_eq(stash__behaviour_take(&taken, &b), STASH_E_INVAL);
	ck_assert_str_eq(stash_errmsg(), "behaviour map: has encode, but not decode: both or none");
	b = map;
	b.encode = NULL;
	ck_assert_int_eq(stash__behaviour_take(&taken, &b), STASH_E_INVAL);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("worker's state");
	TCase *c = t_case(s, "encode", 30);

	tcase_add_test(c, test_encoded_state_survives);
	tcase_add_test(c, test_encoded_state_grows);
	tcase_add_test(c, test_too_large_an_image);
	tcase_add_test(c, test_no_room_ahead);
	tcase_add_test(c, test_no_room_in_time);
	tcase_add_test(c, test_failed_callback_is_taken_back);
	tcase_add_test(c, test_failed_callback_in_a_batch);
	tcase_add_test(c, test_encode_fails);
	tcase_add_test(c, test_encode_fails_for_a_batch);
	tcase_add_test(c, test_stop_and_encode_fails);
	tcase_add_test(c, test_decode_fails);
	tcase_add_test(c, test_committed_by_terminate);
	tcase_add_test(c, test_both_or_none);
	return s;
}

TEST_MAIN(suite)
