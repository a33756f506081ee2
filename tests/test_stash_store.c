/* SPDX-License-Identifier: ISC */
/*
 * The stash process and its store: history, a full store, slots that don't belong to it, messages that can't be read.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sock.h"
#include "shm/bell.h"
#include "stash/exchange.h"
#include "store/store.h"
#include "testlib_stash.h"

static struct th_stash st;
static struct th_worker w;

static void
begin(void)
{
	memset(&st, 0, sizeof st);
	memset(&w, 0, sizeof w);
	th_begin(&st);
	th_start(&st);
}

/* ---- history ---- */

static int
count_state(void *arg, const struct store_state *state)
{
	(void)state;
	(*(int *)arg)++;
	return 0;
}

START_TEST(test_history_over_deaths_of_the_stash)
{
	struct store_options options = { .read_only = true };
	struct th_verdict v;
	struct store *store;
	int n = 0;

	begin();
	ck_assert_int_eq(th_open_as(&st, &w, "w", false, 5, 0, 0), 0);
	th_live(&w);
	for (int i = 0; i < 20; i++) {
		th_entry(&w, "state", NULL, 0);
		th_durable(&w, w.entry);
		/* It knows how many to keep before the supervisor opens the slot again. */
		th_restart(&st);
		th_entry(&w, "more", NULL, 0);
		ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), 0);
	}
	ck_assert_int_eq(th_retire(&w, SIGKILL, STASH__CAUSE_EXIT, &v), 0);
	th_worker_close(&w);
	th_shutdown(&st);
	ck_assert_int_eq(store_open(&store, st.dir, &options), 0);
	ck_assert_int_eq(store_get_history(store, "w", true, count_state, &n), 0);
	store_close(store);
	ck_assert_int_eq(n, 5);
	th_end(&st);
}
END_TEST

/* ---- full ---- */

static bool
is_full(void *arg)
{
	(void)arg;
	return atomic_load(&st.status->store_full) != 0;
}

START_TEST(test_full_store)
{
	char *image = malloc(300001);
	struct stash_buf buf;
	uint64_t seq;

	memset(&st, 0, sizeof st);
	memset(&w, 0, sizeof w);
	st.env[0] = "STASH_TEST_QUOTA=1M";
	th_begin(&st);
	th_start(&st);
	ck_assert_int_eq(th_open_as(&st, &w, "w", false, 100, 300000, 1200000), 0);
	ck_assert_int_eq(stash__out_move(&w.out), 0);
	th_live(&w);
	image[300000] = '\0';
	for (int i = 0; i < 20 && !is_full(NULL); i++) {
		memset(image, 'a' + i, 300000);
		th_entry(&w, image, NULL, 0);
		th_folded(&w);
		(void)th_simple(&st, STASH__S_SYNC);
	}
	ck_assert(is_full(NULL));
	ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), STASH_E_FULL);
	/* Nothing stops, nothing is lost, and it says so. */
	for (int i = 0; i < 50; i++) {
		th_entry(&w, image, NULL, 0);
		th_entry(&w, "the last one", NULL, 0);
	}
	th_folded(&w);
	th_is(&w, "the last one");
	ck_assert_uint_lt(atomic_load(&w.in.page->durable), w.entry);
	ck_assert_int_eq(atomic_load(&st.status->store_error), -STASH_E_FULL);
	th_request(&st, &buf, STASH__S_SHUTDOWN);
	th_send(&st, &buf, -1);
	ck_assert_int_eq(th_done(&st), STASH_E_BUSY);
	th_kill(&st);
	st.env[0] = "STASH_TEST_QUOTA=100M";
	th_start(&st);
	ck_assert(!is_full(NULL));
	ck_assert_uint_eq(atomic_load(&w.in.page->durable), w.entry);
	th_kill(&st);
	ck_assert_str_eq(th_stored(&st, "w", &seq, NULL, NULL), "the last one");
	th_worker_close(&w);
	th_end(&st);
	free(image);
}
END_TEST

/* ---- slots that are not its own ---- */

static void
change_file(const char *file, long offset, const void *data, size_t len)
{
	char path[700];
	int fd;

	snprintf(path, sizeof path, "%s/%s", st.slot_dir, file);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, data, len, offset), (int)len);
	close(fd);
}

/* A slot with one entry that is stored, and no stash. */
static void
begin_dead(void)
{
	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	th_entry(&w, "state", NULL, 0);
	th_durable(&w, 1);
	th_kill(&st);
}

START_TEST(test_slot_of_another_boot_is_deleted)
{
	begin_dead();
	change_file("w.in", offsetof(struct stash__in_page, boot_id), "another boot....", STASH__ID);
	th_start(&st);
	ck_assert_int_eq(st.slots, 0);
	th_worker_close(&w);
	th_open(&st, &w, "w");
	ck_assert_uint_eq(w.fence, 0);
	th_is(&w, "state");
	th_worker_close(&w);
	th_shutdown(&st);
	th_end(&st);
}
END_TEST

START_TEST(test_slot_of_another_store_is_refused)
{
	begin_dead();
	change_file("w.in", offsetof(struct stash__in_page, store_id), "another store...", STASH__ID);
	ck_assert_int_eq(th_start_refused(&st), STASH_E_CORRUPT);
	ck_assert_ptr_nonnull(strstr(st.text, "put back the store"));
	ck_assert_ptr_nonnull(strstr(st.text, "discard-slots"));
	ck_assert_ptr_null(strstr(st.text, "keep-slots"));
	ck_assert_ptr_nonnull(strstr(st.text, "slot of w"));
	th_worker_close(&w);
	th_end(&st);
}
END_TEST

/* A copy of the store in another place, while no stash runs. */
static void
copy_store(const char *to)
{
	char from[700];
	size_t len;
	char *copy;
	FILE *f;

	snprintf(from, sizeof from, "%s/data.mdb", st.dir);
	copy = t_read_file(from, &len);
	f = fopen(to, "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(copy, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
	free(copy);
}

static void
put_store(const char *from)
{
	char to[700];

	snprintf(to, sizeof to, "%s/data.mdb", st.dir);
	ck_assert_int_eq(rename(from, to), 0);
}

/* The store goes back in time: a copy of before is put in its place. */
static void
begin_older(void)
{
	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	th_entry(&w, "first", NULL, 0);
	th_durable(&w, 1);
	th_kill(&st);
	copy_store(t_path("older.mdb"));
	th_start(&st);
	th_entry(&w, "state", NULL, 0);
	th_durable(&w, 2);
	th_kill(&st);
	put_store(t_path("older.mdb"));
	ck_assert_int_eq(th_start_refused(&st), STASH_E_CORRUPT);
	ck_assert_ptr_nonnull(strstr(st.text, "keep-slots"));
	ck_assert_ptr_nonnull(strstr(st.text, "discard-slots"));
}

START_TEST(test_store_that_went_back_is_refused)
{
	char aside[PATH_MAX];

	begin_older();
	/* Discarded, it starts, and the state is the older one. */
	ck_assert_int_eq(stash__exchange_discard(st.run_dir, aside), 0);
	ck_assert_int_ge(t_remove_tree(aside), 3);
	th_start(&st);
	th_worker_close(&w);
	th_open(&st, &w, "w");
	ck_assert_uint_eq(w.open_version, 1);
	th_is(&w, "first");
	th_worker_close(&w);
	th_shutdown(&st);
	th_end(&st);
}
END_TEST

START_TEST(test_slots_are_kept_over_an_older_store)
{
	uint64_t seq, version;

	begin_older();
	ck_assert_int_eq(stash__exchange_keep(st.run_dir, &st.origin), 0);
	th_start(&st);
	th_is(&w, "state");
	th_entry(&w, "next", NULL, 0);
	th_durable(&w, 3);
	th_kill(&st);
	ck_assert_str_eq(th_stored(&st, "w", &seq, &version, NULL), "next");
	ck_assert_uint_eq(seq, 3);
	th_worker_close(&w);
	th_end(&st);
}
END_TEST

/* The other way round: the slot is of before, and must not be believed over what was stored since. */
START_TEST(test_store_that_went_ahead_is_refused)
{
	begin();
	th_open(&st, &w, "w");
	th_live(&w);
	for (uint64_t i = 1; i <= 3; i++) {
		th_entry(&w, "later", NULL, 0);
		th_durable(&w, i);
	}
	th_kill(&st);
	copy_store(t_path("later.mdb"));
	th_worker_close(&w);
	ck_assert_int_ge(t_remove_tree(st.slot_dir), 3);
	{
		char path[700];

		snprintf(path, sizeof path, "%s/data.mdb", st.dir);
		ck_assert_int_eq(unlink(path), 0);
	}
	th_start(&st);
	memset(&w, 0, sizeof w);
	th_open(&st, &w, "w");
	th_live(&w);
	th_entry(&w, "other", NULL, 0);
	th_durable(&w, 1);
	th_kill(&st);
	put_store(t_path("later.mdb"));
	ck_assert_int_eq(th_start_refused(&st), STASH_E_CORRUPT);
	ck_assert_ptr_nonnull(strstr(st.text, "earlier state than the store"));
	ck_assert_ptr_nonnull(strstr(st.text, "discard-slots"));
	th_worker_close(&w);
	th_end(&st);
}
END_TEST

START_TEST(test_half_made_slots_are_removed)
{
	struct th_worker other = { 0 };
	uint64_t zero[STASH__PAGE / 8] = { 0 };
	char path[700];

	begin_dead();
	/* Another one's in half never got its name, or never its base. */
	th_start(&st);
	th_open(&st, &other, "no in half");
	th_worker_close(&other);
	th_open(&st, &other, "no base");
	th_worker_close(&other);
	th_kill(&st);
	snprintf(path, sizeof path, "%s/no in half.in", st.slot_dir);
	ck_assert_int_eq(unlink(path), 0);
	change_file("no base.in", STASH__IN_BASES, zero, sizeof zero);
	change_file("no base.in", STASH__IN_BASES + STASH__PAGE, zero, sizeof zero);
	snprintf(path, sizeof path, "%s/.later.out.new", st.slot_dir);
	t_write_file(path, "half");
	th_start(&st);
	ck_assert_int_eq(st.slots, 1);
	ck_assert_int_ne(access(path, F_OK), 0);
	snprintf(path, sizeof path, "%s/no in half.out", st.slot_dir);
	ck_assert_int_ne(access(path, F_OK), 0);
	th_open(&st, &other, "no base");
	th_worker_close(&other);
	th_kill(&st);
	th_worker_close(&w);
	th_end(&st);
}
END_TEST

START_TEST(test_second_stash_on_the_same_store)
{
	struct th_stash first;

	begin();
	first = st;
	st.control = -1;
	st.status = NULL;
	ck_assert_int_eq(th_start_refused(&st), STASH_E_BUSY);
	close(st.control);
	st = first;
	ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), 0);
	th_shutdown(&st);
	th_end(&st);
}
END_TEST

START_TEST(test_no_store)
{
	memset(&st, 0, sizeof st);
	th_begin(&st);
	ck_assert_int_eq(unlink(t_path("store/stash.info")), 0);
	ck_assert_int_eq(th_start_refused(&st), STASH_E_NOENT);
	th_end(&st);
}
END_TEST

/* ---- messages ---- */

static int
answer(void)
{
	struct th_mail m;

	th_receive(&st, &m);
	th_mail_done(&m);
	return (int)m.error;
}

START_TEST(test_messages_that_cannot_be_read)
{
	static const int64_t types[] = { STASH__S_OPEN, STASH__S_RETIRE, STASH__S_CHANNEL, STASH__S_UNCHANNEL,
		STASH__S_CLOSE, STASH__S_SCAN, STASH__S_DUMP, STASH__S_SYNC, STASH__S_SHUTDOWN };
	struct stash_buf buf;

	begin();
	th_open(&st, &w, "w");
	ck_assert_int_lt(th_simple(&st, 77), 0);
	ck_assert_int_lt(th_simple(&st, -1), 0);
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		th_request(&st, &buf, types[i]);
		stash_buf_add_bytes(&buf, "nonsense", 8);
		th_send(&st, &buf, -1);
		ck_assert_int_lt(answer(), 0);
	}
	for (int kind = 0; kind < 3; kind++) {
		char name[300];

		memset(name, 'n', sizeof name);
		name[kind == 0 ? 0 : kind == 1 ? 201 : 3] = '\0';
		if (kind == 2)
			name[1] = '/';
		ck_assert_int_lt(th_open_as(&st, &w, name, false, 0, 0, 0), 0);
	}
	w.name = "w";
	ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), 0);
	th_worker_close(&w);
	th_shutdown(&st);
	th_end(&st);
}
END_TEST

/* Names of every kind make files; the longest too. */
START_TEST(test_names)
{
	static const char *const names[] = { ".", "..", ".hidden", "a.in", "a.out.new", "white space",
		"\xc3\xa4\xc3\xb6", "supervisor.rows" };
	struct th_worker other = { 0 };
	char longest[201];

	begin();
	memset(longest, 'n', 200);
	longest[200] = '\0';
	for (size_t i = 0; i <= sizeof names / sizeof *names; i++) {
		th_open(&st, &other, i < sizeof names / sizeof *names ? names[i] : longest);
		th_live(&other);
		th_entry(&other, "state", NULL, 0);
		th_folded(&other);
		th_worker_close(&other);
	}
	th_restart(&st);
	ck_assert_int_eq(st.slots, 9);
	ck_assert_int_eq(th_simple(&st, STASH__S_SYNC), 0);
	th_kill(&st);
	th_end(&st);
}
END_TEST

/* Requests that nobody reads the answers of, in the end all are answered, in order, with their descriptors. */
START_TEST(test_supervisor_that_does_not_read)
{
	struct stash_buf buf;
	struct th_mail m;
	int64_t first, got = 0;

	begin();
	th_open(&st, &w, "w");
	first = st.number + 1;
	for (int i = 0; i < 200; i++) {
		th_request(&st, &buf, STASH__S_OPEN);
		stash_buf_add_text(&buf, "w");
		for (int k = 0; k < 4; k++)
			stash_buf_add_int(&buf, 0);
		if (stash__sock_send(st.control, buf.data, buf.len, NULL, 0) < 0) {
			st.number--;
			stash__buf_fini(&buf);
			break;
		}
		stash__buf_fini(&buf);
	}
	for (int64_t last = st.number; first + got <= last; got++) {
		st.number = first + got;
		th_receive(&st, &m);
		ck_assert_int_eq(m.type, STASH__S_OPENED);
		ck_assert_int_eq(m.nfds, 3);
		th_mail_done(&m);
		st.number = last;
	}
	ck_assert_int_gt(got, 20);
	th_worker_close(&w);
	th_shutdown(&st);
	th_end(&st);
}
END_TEST

static Suite *
store_suite(void)
{
	Suite *suite = suite_create("stash_store");
	TCase *tc = t_case(suite, "states", 60);
	tcase_add_test(tc, test_history_over_deaths_of_the_stash);
	tcase_add_test(tc, test_full_store);
	tc = t_case(suite, "whose", 30);
	tcase_add_test(tc, test_slot_of_another_boot_is_deleted);
	tcase_add_test(tc, test_slot_of_another_store_is_refused);
	tcase_add_test(tc, test_store_that_went_back_is_refused);
	tcase_add_test(tc, test_slots_are_kept_over_an_older_store);
	tcase_add_test(tc, test_store_that_went_ahead_is_refused);
	tcase_add_test(tc, test_half_made_slots_are_removed);
	tcase_add_test(tc, test_second_stash_on_the_same_store);
	tcase_add_test(tc, test_no_store);
	tc = t_case(suite, "messages", 30);
	tcase_add_test(tc, test_messages_that_cannot_be_read);
	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_supervisor_that_does_not_read);
	return suite;
}

TEST_MAIN(store_suite)
