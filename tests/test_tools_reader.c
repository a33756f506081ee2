/* SPDX-License-Identifier: ISC */
/*
 * store.h without a stashd, on an offline store: states, history, events and lists; handles in a worker and after fork.
 */
#include <bsd/string.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/role.h"
#include "reader/reader.h"
#include "testlib.h"
#include "testlib_reader.h"
#include "testlib_store.h"
#include "testlib_tools.h"

static const struct stash_field fields[] = { { "next", 0, 8, 1, STASH_TYPE_INT, 0, 0, NULL }, STASH_FIELD_END };

/* ---- open ---- */

START_TEST(test_open)
{
	struct stash_store *store;

	ts_bad(stash_store_open(&store, t_path("none"), NULL), STASH_E_NOENT, "stash.info");
	ck_assert_ptr_null(store);
	ts_bad(stash_store_open(NULL, ts_dir(), NULL), STASH_E_INVAL, "NULL");
	ts_bad(
	    stash_store_open(&store, ts_dir(), (const struct stash_store_options *)&store), STASH_E_INVAL, "options");
	ck_assert_int_eq(setenv("STASH_DIR", ts_dir(), 1), 0);
	ts_good(stash_store_open(&store, NULL, NULL));
	stash_store_close(store);
	stash_store_close(NULL);
	stash_state_free(NULL);
	t_write_file(ts_path("stash.info"), "format = 99\nid = 00\nrun = /\n");
	ts_bad(stash_store_open(&store, ts_dir(), NULL), STASH_E_FORMAT, "99");
	ck_assert_ptr_null(store);
}
END_TEST

/* A directory that stashd has named but not filled yet. */
START_TEST(test_no_database)
{
	struct stash_store *store;
	struct store_stat stat;
	int64_t as_of;

	ts_good(stash_store_open(&store, ts_dir(), NULL));
	tr_nothing(store, "sequence");
	ck_assert_int_eq(stash__store_online(store), 0);
	ts_good(stash__store_as_of(store, &as_of));
	ck_assert_int_eq(as_of, 0);
	ck_assert_int_eq(stash__store_stat(store, &stat), STASH_E_NOENT);
	stash_store_close(store);
}
END_TEST

static int
in_child(struct stash_store *store)
{
	struct stash_state state;
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		int code = stash_store_read(store, "sequence", &state);

		stash_store_close(store);
		_exit(-code);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

START_TEST(test_fork)
{
	struct stash_store *store = tr_look();

	tr_put("sequence", 3, 126);
	ck_assert_int_eq(in_child(store), STASH_E_FORKED);
	tr_expect(store, "sequence", 3, 126);
	stash_store_close(store);
}
END_TEST

START_TEST(test_worker)
{
	struct stash_store *store;
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		stash__role_set(STASH__ROLE_WORKER);
		_exit(-stash_store_open(&store, ts_dir(), NULL));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, -STASH_E_ACCES << 8);
}
END_TEST

START_TEST(test_alive)
{
	uint64_t start;
	siginfo_t info;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(0);
	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	ts_good(stash__start_time(pid, &start));
	ck_assert(!stash__reader_alive((uint64_t)pid, start));
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ts_good(stash__start_time(getpid(), &start));
	ck_assert(stash__reader_alive((uint64_t)getpid(), start));
	ck_assert(!stash__reader_alive((uint64_t)getpid(), start + 1));
	ck_assert(!stash__reader_alive(0, 0));
	ck_assert(!stash__reader_alive(UINT64_MAX, 0));
}
END_TEST

/* ---- store ---- */

START_TEST(test_store_read)
{
	struct stash_store *store = tr_look();
	struct stash_state state;

	tr_nothing(store, "sequence");
	tr_put("sequence", 3, 126);
	tr_put("sequence.other", 5, 7);
	tr_expect(store, "sequence", 3, 126);
	tr_expect(store, "sequence.other", 5, 7);
	tr_nothing(store, "sequenc");
	ts_bad(stash_store_read(store, "a/b", &state), STASH_E_INVAL, "a/b");
	ts_bad(stash_store_read(store, "", &state), STASH_E_INVAL, "");
	ts_bad(stash_store_read(store, "sequence", NULL), STASH_E_INVAL, "NULL");
	ts_bad(stash_store_read(NULL, "sequence", &state), STASH_E_INVAL, "NULL");
	stash_store_close(store);
}
END_TEST

/* One of more rows than a slice has, and one before and behind it. */
START_TEST(test_store_large)
{
	struct stash_store *store = tr_look();
	struct store *s = ts_open(NULL);
	struct stash_state state;
	struct store_state want = ts_state("large", 9, STASH_STATE_MAX);

	ts_put(s, "l", 1, 100, 2);
	ts_put(s, "large", 9, STASH_STATE_MAX, 0);
	ts_put(s, "larger", 1, 5000, 2);
	store_close(s);
	ts_good(stash_store_read(store, "large", &state));
	ck_assert_uint_eq(state.len, STASH_STATE_MAX);
	ck_assert(memcmp(state.data, want.data, want.len) == 0);
	ts_state_done(&want);
	stash_state_free(&state);
	stash_store_close(store);
}
END_TEST

struct versions {
	uint64_t version[16];
	size_t count, stop;
	struct stash_store *again;
};

static int
add_version(void *arg, const struct stash_state *state)
{
	struct versions *v = arg;
	struct stash_state inner;

	ck_assert_ptr_null(state->data);
	ck_assert_uint_eq(state->len, 8);
	v->version[v->count++] = state->version;
	/* Another handle of this process, in the midst of a call on the first. */
	ts_good(stash_store_read(v->again, "sequence", &inner));
	stash_state_free(&inner);
	return v->count == v->stop ? 42 : 0;
}

START_TEST(test_history)
{
	struct stash_store *store = tr_look(), *other;
	struct versions v = { .count = 0 };

	ts_good(stash_store_open(&other, ts_dir(), NULL));
	v.again = other;
	ts_bad(stash_store_history(store, "sequence", add_version, &v), STASH_E_NOENT, "sequence");
	for (uint64_t i = 1; i <= 6; i++)
		tr_put("sequence", 10 * i, (int64_t)i);
	tr_put("sequence2", 99, 9);
	ts_good(stash_store_history(store, "sequence", add_version, &v));
	ck_assert_uint_ge(v.count, 4);
	for (size_t i = 0; i < v.count; i++)
		ck_assert_uint_eq(v.version[i], 60 - 10 * i);
	v = (struct versions){ .stop = 2, .again = other };
	ck_assert_int_eq(stash_store_history(store, "sequence", add_version, &v), 42);
	ck_assert_uint_eq(v.count, 2);
	ts_bad(stash_store_history(store, "sequence", NULL, NULL), STASH_E_INVAL, "NULL");
	stash_store_close(other);
	stash_store_close(store);
}
END_TEST

static void
put_events(unsigned n)
{
	struct stash_event event = { .type = STASH_EV_STARTED, .child = "root/sequence", .name = "sequence" };
	struct store *store = ts_open(NULL);
	struct store_batch *batch;
	struct stash_buf buf;

	stash__buf_init(&buf, 8192);
	ts_good(store_begin(store, &batch));
	for (unsigned i = 1; i <= n; i++) {
		event.time_ns = i;
		stash__buf_reset(&buf);
		ts_good(stash__pack_event(&buf, &event));
		ts_good(store_put_event(batch, buf.data, buf.len, NULL));
	}
	ts_good(store_commit(batch));
	stash__buf_fini(&buf);
	store_close(store);
}

static int
check_event(void *arg, const struct stash_event *event)
{
	uint64_t *next = arg;

	ck_assert_uint_eq(event->seq, *next);
	ck_assert_int_eq(event->time_ns, (int64_t)event->seq);
	ck_assert_str_eq(event->name, "sequence");
	++*next;
	return event->seq == 2499 ? 7 : 0;
}

/* More than a slice has. */
START_TEST(test_log)
{
	struct stash_store *store = tr_look();
	uint64_t next = 1;

	ts_good(stash_store_log(store, STASH_LOG_EVENTS, 0, check_event, &next));
	ck_assert_uint_eq(next, 1);
	put_events(2500);
	ck_assert_int_eq(stash_store_log(store, STASH_LOG_EVENTS, 0, check_event, &next), 7);
	ck_assert_uint_eq(next, 2500);
	ts_good(stash_store_log(store, STASH_LOG_EVENTS, 2499, check_event, &next));
	ck_assert_uint_eq(next, 2501);
	ts_good(stash_store_log(store, STASH_LOG_EVENTS, 2500, check_event, &next));
	ck_assert_uint_eq(next, 2501);
	next = 256;
	ck_assert_int_eq(stash_store_log(store, STASH_LOG_EVENTS, 255, check_event, &next), 7);
	ts_good(stash_store_log(store, STASH_LOG_LETTERS, 0, check_event, &next));
	ts_bad(stash_store_log(store, 9, 0, check_event, &next), STASH_E_INVAL, "no such log");
	stash_store_close(store);
}
END_TEST

START_TEST(test_print)
{
	struct stash_store *store = tr_look();
	unsigned char key[STASH__SCHEMA_KEY_MAX];
	struct store_batch *batch;
	struct stash_state state;
	struct stash_buf buf;
	struct store *s;
	char *text;
	size_t size;
	FILE *out;
	int klen = stash__schema_key(key, "sequence", 1, 0);

	tr_put("sequence", 1, 126);
	out = open_memstream(&text, &size);
	ts_good(stash_store_read(store, "sequence", &state));
	ts_good(stash_store_print(store, &state, out));
	stash__buf_init(&buf, 4096);
	ts_good(stash__pack_schema(&buf, fields, 8));
	s = ts_open(NULL);
	ts_good(store_begin(s, &batch));
	ts_good(store_put_row(batch, STORE_DB_SCHEMA, key, (size_t)klen, buf.data, buf.len));
	ts_good(store_commit(batch));
	store_close(s);
	ts_good(stash_store_print(store, &state, out));
	fclose(out);
	ck_assert_str_eq(text, "00000000  7e 00 00 00 00 00 00 00                          |~.......|\nnext = 126\n");
	out = fopen("/dev/full", "we");
	setvbuf(out, NULL, _IONBF, 0);
	ts_bad(stash_store_print(store, &state, out), STASH_E_FULL, "No space");
	fclose(out);
	free(text);
	stash__buf_fini(&buf);
	stash_state_free(&state);
	stash_store_close(store);
}
END_TEST

/* ---- lists ---- */

static int
add_name(void *arg, const struct stash_process *p)
{
	char *all = arg;

	strlcat(all, p->name, 1000);
	strlcat(all, *p->child != '\0' ? "! " : " ", 1000);
	return p->version == 99 ? 5 : 0;
}

START_TEST(test_list)
{
	struct stash_store *store = tr_look();
	struct stash__origin origin = tt_origin();
	struct stash__registry_row row = { .process = { .pid = 1, .start_time = 1, .status = STASH_RUNNING } };
	struct store_batch *batch;
	struct stash_buf buf;
	struct tt_slot slot;
	struct store *s;
	char all[1000] = "";

	tr_put("b", 1, 1);
	tr_put("bb", 1, 1);
	tt_slot_make(&slot, "a", &origin);
	tt_slot_base(&slot, 7, 4, &(int64_t){ 127 }, 8);
	tt_slot_close(&slot);
	strlcpy(row.process.name, "b", sizeof row.process.name);
	strlcpy(row.process.child, "root/b", sizeof row.process.child);
	stash__buf_init(&buf, 4096);
	ts_good(stash__pack_registry(&buf, &row));
	s = ts_open(NULL);
	ts_good(store_begin(s, &batch));
	ts_good(store_put_row(batch, STORE_DB_REGISTRY, "b", 1, buf.data, buf.len));
	ts_good(store_commit(batch));
	store_close(s);
	stash__buf_fini(&buf);
	ts_good(stash_store_list(store, NULL, add_name, all));
	ck_assert_str_eq(all, "a b! bb ");
	*all = '\0';
	ts_good(stash_store_list(store, "b", add_name, all));
	ck_assert_str_eq(all, "b! bb ");
	tr_put("b", 99, 1);
	*all = '\0';
	ck_assert_int_eq(stash_store_list(store, "", add_name, all), 5);
	ck_assert_str_eq(all, "a b! ");
	stash_store_close(store);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("reader: store");
	TCase *tc = t_case(s, "handles", 10);

	tcase_add_test(tc, test_open);
	tcase_add_test(tc, test_no_database);
	tcase_add_test(tc, test_fork);
	tcase_add_test(tc, test_worker);
	tcase_add_test(tc, test_alive);
	tc = t_case(s, "store", 20);
	tcase_add_test(tc, test_store_read);
	tcase_add_test(tc, test_store_large);
	tcase_add_test(tc, test_history);
	tcase_add_test(tc, test_log);
	tcase_add_test(tc, test_print);
	tcase_add_test(tc, test_list);
	return s;
}

TEST_MAIN(suite)
