/* SPDX-License-Identifier: ISC */
/*
 * The supervisor's rows: submitted, stored once, dumped; and scans of the store.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/bell.h"
#include "store/store.h"
#include "testlib_stash.h"

static struct th_stash st;
static struct th_worker w;
static struct stash__rows rows;

static void
begin(void)
{
	memset(&st, 0, sizeof st);
	memset(&w, 0, sizeof w);
	th_begin(&st);
	th_start(&st);
}

static void
open_rows(void)
{
	int dirfd = open(st.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert_int_ge(dirfd, 0);
	ck_assert_msg(stash__rows_open(&rows, dirfd, &st.origin, st.bell) == 0, "%s", stash_errmsg());
	close(dirfd);
}

static void
put(uint32_t db, const char *key, const char *value)
{
	ck_assert_int_eq(stash__rows_put(&rows, db, key, strlen(key), value, strlen(value)), 0);
}

static void
submit(void)
{
	ck_assert_msg(stash__rows_submit(&rows) == 0, "%s", stash_errmsg());
}

/* ---- rows, dumped ---- */

/* What a DUMP gives, as one text: "key=value;" for each row that is left, in order of key. */
static const char *
dump(void)
{
	static char text[4000];
	struct stash_buf buf;
	struct stash__rows_row row;
	struct stash_view view;
	struct th_mail m;
	char keys[100][40], values[100][40];
	int n = 0, more, count;
	struct stat info;
	void *at;

	th_request(&st, &buf, STASH__S_DUMP);
	th_send(&st, &buf, -1);
	th_receive(&st, &m);
	ck_assert_int_eq(m.type, STASH__S_ROWS);
	ck_assert_msg(m.error == 0, "%s", st.text);
	count = (int)stash_view_int(&m.view);
	ck_assert_int_eq(stash_view_int(&m.view), 1);
	ck_assert_int_eq(m.nfds, 1);
	ck_assert_int_eq(fstat(m.fds[0], &info), 0);
	at = info.st_size == 0 ? NULL : mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, m.fds[0], 0);
	ck_assert_ptr_ne(at, MAP_FAILED);
	stash_view_init(&view, at, (size_t)info.st_size);
	while ((more = stash__rows_next(&view, &row)) == 1) {
		int i = 0;

		count--;
		snprintf(keys[n], sizeof keys[n], "%u.%.*s", row.db, (int)row.key_len, (const char *)row.key);
		while (strcmp(keys[i], keys[n]) != 0)
			i++;
		snprintf(values[i], sizeof values[i], "%.*s", row.gone ? 1 : (int)row.value_len,
		    row.gone ? "-" : (const char *)row.value);
		n += i == n;
	}
	ck_assert_int_eq(more, 0);
	ck_assert_int_eq(count, 0);
	if (at != NULL)
		munmap(at, (size_t)info.st_size);
	th_mail_done(&m);
	text[0] = '\0';
	for (int i = 0; i < n; i++)
		if (strcmp(values[i], "-") != 0)
			snprintf(text + strlen(text), sizeof text - strlen(text), "%s=%s;", keys[i], values[i]);
	return text;
}

static bool
is_settled(void *arg)
{
	(void)arg;
	return stash__rows_settled(&rows);
}

START_TEST(test_rows_are_stored)
{
	begin();
	open_rows();
	ck_assert_str_eq(dump(), "");
	put(STASH__SCAN_TREE, "root/a", "1");
	put(STASH__SCAN_REGISTRY, "a", "pid 7");
	submit();
	put(STASH__SCAN_TREE, "root/b", "2");
	put(STASH__SCAN_TREE, "root/a", "3");
	submit();
	/* Before and after they are on the disk, it is the same. */
	ck_assert_str_eq(dump(), "5.root/a=3;4.a=pid 7;5.root/b=2;");
	ck_assert(t_wait_for(is_settled, NULL, 5000));
	ck_assert_str_eq(dump(), "5.root/a=3;5.root/b=2;4.a=pid 7;");
	ck_assert_int_eq(stash__rows_del(&rows, STASH__SCAN_TREE, "root/a", 6), 0);
	submit();
	ck_assert_str_eq(dump(), "5.root/b=2;4.a=pid 7;");
	th_restart(&st);
	ck_assert(stash__rows_settled(&rows));
	ck_assert_str_eq(dump(), "5.root/b=2;4.a=pid 7;");
	/* The next supervisor goes on where the last one was. */
	stash__rows_close(&rows);
	open_rows();
	ck_assert_uint_eq(rows.number, 3);
	put(STASH__SCAN_TREE, "root/c", "4");
	submit();
	stash__rows_close(&rows);
	th_shutdown(&st);
	th_start(&st);
	open_rows();
	ck_assert_uint_eq(rows.number, 4);
	ck_assert_str_eq(dump(), "5.root/b=2;5.root/c=4;4.a=pid 7;");
	put(STASH__SCAN_TREE, "root/d", "5");
	submit();
	ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), 0);
	ck_assert(stash__rows_settled(&rows));
	ck_assert_str_eq(dump(), "5.root/b=2;5.root/c=4;5.root/d=5;4.a=pid 7;");
	stash__rows_close(&rows);
	th_shutdown(&st);
	th_end(&st);
}
END_TEST

START_TEST(test_rows_that_the_store_would_refuse)
{
	char long_key[600], *large = calloc(1, 5000);

	begin();
	open_rows();
	memset(long_key, 'k', sizeof long_key);
	ck_assert_int_eq(stash__rows_put(&rows, STASH__SCAN_TREE, "", 0, "x", 1), STASH_E_INVAL);
	ck_assert_int_eq(stash__rows_put(&rows, STASH__SCAN_TREE, long_key, STORE_KEY_MAX + 1, "x", 1), STASH_E_INVAL);
	ck_assert_int_eq(stash__rows_put(&rows, STASH__SCAN_TREE, "k", 1, large, STORE_VALUE_MAX + 1), STASH_E_INVAL);
	ck_assert_int_eq(stash__rows_put(&rows, STASH__SCAN_STATE, "k", 1, "x", 1), STASH_E_INVAL);
	ck_assert_int_eq(stash__rows_put(&rows, STASH__SCAN_EVENT, "k", 1, "x", 1), STASH_E_INVAL);
	ck_assert_int_eq(stash__rows_submit(&rows), 0);
	ck_assert_int_eq(stash__rows_put(&rows, STASH__SCAN_TREE, long_key, STORE_KEY_MAX, large, STORE_VALUE_MAX), 0);
	submit();
	/* A batch that is full stays good up to its last whole row. */
	for (int i = 0; i < 1000; i++)
		if (stash__rows_put(&rows, STASH__SCAN_TREE, "k", 1, large, 4000) == STASH_E_TOOBIG)
			break;
	ck_assert_uint_gt(rows.batch.len, STASH__ROWS_BATCH - 4100);
	submit();
	ck_assert(t_wait_for(is_settled, NULL, 5000));
	stash__rows_close(&rows);
	th_shutdown(&st);
	th_end(&st);
	free(large);
}
END_TEST

START_TEST(test_rows_when_the_stash_does_not_look)
{
	char value[3000];
	unsigned n = 0;

	begin();
	open_rows();
	memset(value, 'v', sizeof value);
	t_kill(&st.proc, SIGSTOP);
	for (;;) {
		ck_assert_int_eq(stash__rows_put(&rows, STASH__SCAN_REGISTRY, "k", 1, value, sizeof value), 0);
		if (stash__rows_submit(&rows) == STASH_E_BUSY)
			break;
		n++;
	}
	ck_assert_uint_gt(n, 300);
	ck_assert_uint_lt(stash__rows_room(&rows), 2 * sizeof value);
	/* Dead or alive: what is in the ring is stored, what isn't is still in the batch. */
	t_kill(&st.proc, SIGKILL);
	ck_assert_int_eq(t_wait(&st.proc, 10000), 256 + SIGKILL);
	th_start(&st);
	ck_assert(stash__rows_settled(&rows));
	submit();
	ck_assert(t_wait_for(is_settled, NULL, 5000));
	ck_assert_uint_eq(rows.number, n + 1);
	stash__rows_close(&rows);
	th_shutdown(&st);
	th_end(&st);
}
END_TEST

/* ---- scans ---- */

struct scanned {
	int error, rows, all;
	char first[100], last[100], last_key[100];
	size_t last_key_len;
};

static struct scanned
scan(int64_t db, const void *from, size_t len, int64_t max)
{
	struct scanned s = { 0 };
	struct stash_buf buf;
	struct stash_view view;
	struct store_row row;
	struct th_mail m;
	char *text;
	size_t size;
	char path[64];
	int more;

	th_request(&st, &buf, STASH__S_SCAN);
	stash_buf_add_int(&buf, db);
	stash_buf_add_bytes(&buf, from, len);
	stash_buf_add_int(&buf, max);
	th_send(&st, &buf, -1);
	th_receive(&st, &m);
	ck_assert_int_eq(m.type, STASH__S_ROWS);
	s.error = (int)m.error;
	if (s.error < 0) {
		th_mail_done(&m);
		return s;
	}
	s.rows = (int)stash_view_int(&m.view);
	s.all = (int)stash_view_int(&m.view);
	snprintf(path, sizeof path, "/proc/self/fd/%d", m.fds[0]);
	text = t_read_file(path, &size);
	stash_view_init(&view, text, size);
	for (int i = 0; (more = store_row_next(&view, &row)) == 1; i++) {
		snprintf(s.last, sizeof s.last, "%.*s", (int)row.vlen, (const char *)row.value);
		if (i == 0)
			memcpy(s.first, s.last, sizeof s.first);
		s.last_key_len = row.klen;
		memcpy(s.last_key, row.key, row.klen < sizeof s.last_key ? row.klen : sizeof s.last_key);
	}
	ck_assert_int_eq(more, 0);
	free(text);
	th_mail_done(&m);
	return s;
}

START_TEST(test_scan_sees_what_was_submitted)
{
	struct scanned s;
	struct th_verdict v;
	char value[20];

	begin();
	open_rows();
	for (int i = 1; i <= 30; i++) {
		snprintf(value, sizeof value, "event %d", i);
		put(STASH__SCAN_EVENT, "", value);
		submit();
		/* No event is lost or doubled by any death. */
		if (i % 7 == 0)
			th_restart(&st);
	}
	s = scan(STASH__SCAN_EVENT, "", 0, 1000);
	ck_assert_int_eq(s.rows, 30);
	ck_assert_int_eq(s.all, 1);
	ck_assert_str_eq(s.first, "event 1");
	ck_assert_str_eq(s.last, "event 30");
	s = scan(STASH__SCAN_EVENT, "", 0, 10);
	ck_assert_int_eq(s.rows, 10);
	ck_assert_int_eq(s.all, 0);
	s = scan(STASH__SCAN_EVENT, s.last_key, s.last_key_len, 10);
	ck_assert_str_eq(s.first, "event 10");
	th_open(&st, &w, "w");
	th_live(&w);
	for (int i = 0; i < 3; i++) {
		th_entry(&w, "state", NULL, 0);
		th_durable(&w, w.entry);
	}
	th_entry(&w, "newest", NULL, 0);
	ck_assert_int_eq(scan(STASH__SCAN_STATE | STASH__SCAN_HEADS, "", 0, 10).rows, 1);
	ck_assert_uint_eq(atomic_load(&w.in.page->durable), 4);
	ck_assert_int_eq(scan(STASH__SCAN_HISTORY | STASH__SCAN_HEADS, "", 0, 10).rows, 4);
	ck_assert_int_ge(scan(STASH__SCAN_META, "", 0, 10).rows, 1);
	ck_assert_int_eq(scan(0, "", 0, 10).error, STASH_E_INVAL);
	ck_assert_int_eq(scan(99, "", 0, 10).error, STASH_E_INVAL);
	stash__rows_close(&rows);
	ck_assert_int_eq(th_retire(&w, SIGKILL, STASH__CAUSE_EXIT, &v), 0);
	th_worker_close(&w);
	th_shutdown(&st);
	th_end(&st);
}
END_TEST

START_TEST(test_broken_rows)
{
	uint64_t tail;

	begin();
	open_rows();
	put(STASH__SCAN_TREE, "good", "1");
	submit();
	ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), 0);
	t_kill(&st.proc, SIGSTOP);
	tail = atomic_load(&rows.out.page->out_tail);
	put(STASH__SCAN_TREE, "bad", "2");
	submit();
	rows.out.ring[(tail + 60) % rows.out.ring_bytes] ^= 1;
	stash__bell_ring(st.bell);
	t_kill(&st.proc, SIGCONT);
	th_expect_broken(&st, "");
	ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), 0);
	put(STASH__SCAN_TREE, "next", "3");
	submit();
	ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), 0);
	ck_assert_str_eq(dump(), "5.good=1;5.next=3;");
	stash__rows_close(&rows);
	th_shutdown(&st);
	th_end(&st);
}
END_TEST

START_TEST(test_leaves_no_descriptor)
{
	struct th_worker other = { 0 };
	int before;

	begin();
	open_rows();
	ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), 0);
	before = th_fds(&st);
	for (int i = 0; i < 50; i++) {
		th_open(&st, &other, "w");
		ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), 0);
		ck_assert_int_eq(th_fds(&st), before + 1); /* its bell */
		(void)th_channel(&other, "one");
		ck_assert_int_eq(th_open_as(&st, &other, "w", false, 0, 100000, 200000), 0);
		ck_assert_int_eq(scan(STASH__SCAN_STATE, "", 0, 10).error, 0);
		(void)dump();
		ck_assert_int_eq(th_close(&st, "w", false), 0);
		th_worker_close(&other);
	}
	ck_assert_int_eq(th_fds(&st), before);
	stash__rows_close(&rows);
	th_shutdown(&st);
	th_end(&st);
}
END_TEST

static Suite *
rows_suite(void)
{
	Suite *suite = suite_create("stash_rows");
	TCase *tc = t_case(suite, "rows", 30);

	tcase_add_test(tc, test_rows_are_stored);
	tcase_add_test(tc, test_rows_that_the_store_would_refuse);
	tcase_add_test(tc, test_rows_when_the_stash_does_not_look);
	tcase_add_test(tc, test_scan_sees_what_was_submitted);
	tcase_add_test(tc, test_broken_rows);
	tcase_add_test(tc, test_leaves_no_descriptor);

	return suite;
}

TEST_MAIN(rows_suite)
