/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect, run within the test: what it shows of an offline store and of slots made by hand, for people and as
 * JSON.
 */
#include <bsd/string.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/info.h"
#include "common/out.h"
#include "reader/reader.h"
#include "shm/record.h"
#include "shm/wire.h"
#include "stash-inspect/inspect.h"
#include "stashctl/ctl.h"
#include "testlib.h"
#include "testlib_inspect.h"
#include "testlib_store.h"
#include "testlib_tools.h"

/* ---- what is shown ---- */

START_TEST(test_list)
{
	struct tt_result r;
	json_t *o;

	ti_make_store();
	TT_RUN(&r, &stash_inspect, "list");
	tt_exits(&r, 0);
	ck_assert(strncmp(r.out, "offline, as of 20", 17) == 0);
	tt_says(&r, "NAME          STATUS");
	tt_says(&r, "\nsequence      stopped ");
	tt_says(&r, "  -        3         2            3  root/sequence\n");
	tt_says(&r, "\nforgotten     - ");
	tt_says(&r, "  -        5         -            -  -\n");
	tt_says(&r, "web.endpoint  running");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "list", "seq", "--json");
	ck_assert_uint_eq(tt_lines(&r), 1);
	o = tt_json(&r, 0);
	ck_assert_str_eq(json_string_value(json_object_get(o, "name")), "sequence");
	ck_assert_str_eq(json_string_value(json_object_get(o, "status")), "stopped");
	ck_assert(json_is_null(json_object_get(o, "pid")));
	ck_assert(json_is_false(json_object_get(o, "online")));
	ck_assert(json_is_string(json_object_get(o, "as_of")));
	ck_assert_int_eq(json_integer_value(json_object_get(o, "version")), 3);
	json_decref(o);
	tt_free(&r);
}
END_TEST

START_TEST(test_tree)
{
	struct tt_result r;
	json_t *o;

	ti_make_store();
	TT_RUN(&r, &stash_inspect, "tree");
	tt_exits(&r, 0);
	tt_says(&r, "\nroot    ");
	tt_says(&r, "\n|- sequence                    stopped");
	tt_says(&r, "\n`- web                         -");
	tt_says(&r, "\n   `- endpoint = web.endpoint  running");
	tt_free(&r);
	tt_run(&r, &stash_inspect, NULL, (const char *const[]){ NULL });
	tt_says(&r, "\nroot    ");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "tree", "-j");
	ck_assert_uint_eq(tt_lines(&r), 4);
	o = tt_json(&r, 3);
	ck_assert_str_eq(json_string_value(json_object_get(o, "child")), "root/web/endpoint");
	ck_assert_int_eq(json_integer_value(json_object_get(o, "depth")), 2);
	ck_assert_int_eq(json_integer_value(json_object_get(o, "pid")), getpid());
	json_decref(o);
	tt_free(&r);
}
END_TEST

START_TEST(test_show)
{
	struct tt_result r;

	ti_make_store();
	TT_RUN(&r, &stash_inspect, "show", "sequence");
	tt_exits(&r, 0);
	tt_says(&r, "name        sequence\n");
	tt_says(&r, "child       root/sequence, stopped, incarnation 3, restarts 2\n");
	tt_says(&r, "version     3, committed 1970-01-01 00:00:03.000, on the disk\n");
	tt_says(&r, "layout      sequence 1, 24 bytes\n");
	tt_says(&r, "last crash  1970-01-01 00:00:02.000, crash: SIGABRT in \\x1bcast; cast b: set aside\n");
	tt_says(&r, "\nnext = 126\nnote = \"x\\x1b[31m\"\n");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "show", "sequence", "--field", "next");
	ck_assert_str_eq(r.out, "next = 126\n");
	tt_complains(&r, "offline, as of");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "show", "sequence", "-F", "nex");
	tt_exits(&r, EX_NOHOST);
	tt_complains(&r, "no field \"nex\"");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "show", "sequenec");
	tt_exits(&r, EX_NOHOST);
	tt_complains(&r, "did you mean \"sequence\"?");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "show", "root/web/endpoint");
	tt_exits(&r, 0);
	tt_says(&r, "name        web.endpoint\n");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "show", "root/web/enpoint");
	tt_exits(&r, EX_NOHOST);
	tt_complains(&r, "root/web/endpoint");
	tt_free(&r);
}
END_TEST

/* The bytes of the state, and nothing else. */
START_TEST(test_show_raw)
{
	const struct ti_state *state;
	struct tt_result r;

	ti_make_store();
	TT_RUN(&r, &stash_inspect, "show", "sequence", "--raw");
	tt_exits(&r, 0);
	ck_assert_uint_eq(r.len, sizeof *state);
	state = (const struct ti_state *)(const void *)r.out;
	ck_assert_int_eq(state->next, 126);
	tt_free(&r);
}
END_TEST

static void
fill_box(struct tt_slot *slot)
{
	struct stash__box *box = slot->out.box;
	uint64_t start;

	slot->out.page->owner = 4;
	slot->out.page->owner_pid = (uint64_t)getpid();
	ts_good(stash__start_time(getpid(), &start));
	slot->out.page->owner_start = start;
	box->in_hand = STASH__HAND(4, 0, 9);
	box->phase = STASH__PHASE_CALLBACK;
	box->kind = STASH_MSG_CALL;
	box->attempt = 1;
	box->len = 12;
	box->handled = 1000;
	box->commits = 80;
	strlcpy(box->tag, "next_number", sizeof box->tag);
	box->bins[9] = 990;
	box->bins[20] = 10;
	box->crash.present = 1;
	box->crash.signal = SIGSEGV;
	box->crash.address = 0xdead;
}

START_TEST(test_show_slot)
{
	const struct ti_state image = { .next = 500, .note = "n" };
	struct stash__origin origin = tt_origin();
	struct tt_slot slot;
	struct tt_result r;
	json_t *o, *box;

	ti_make_store();
	tt_slot_make(&slot, "sequence", &origin);
	fill_box(&slot);
	slot.base.retired = 2;
	slot.base.last_reason = STASH_REASON_KILLED;
	tt_slot_base(&slot, 90, 77, &image, sizeof image);
	TT_RUN(&r, &stash_inspect, "show", "sequence");
	tt_exits(&r, 0);
	tt_says(&r, "version     77, committed ");
	tt_says(&r, ", not on the disk yet\n");
	tt_says(&r, "does        callback: call next_number, 12 bytes, attempt 1");
	tt_says(&r, "handled     1000 messages in 80 batches");
	tt_says(&r, "callbacks   half below 1.0 us, 99 % below 1.0 us, all below 2.1 ms\n");
	tt_says(&r, "deaths      2, the last one: killed\n");
	tt_says(&r, "crash       SIGSEGV at 0xdead, not reported yet\n");
	tt_says(&r, "\nnext = 500\nnote = \"n\"\n");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "show", "sequence", "--json");
	tt_exits(&r, 0);
	ck_assert_uint_eq(tt_lines(&r), 1);
	o = tt_json(&r, 0);
	box = json_object_get(o, "box");
	ck_assert_int_eq(
	    json_integer_value(json_object_get(json_object_get(json_object_get(o, "state"), "fields"), "next")), 500);
	ck_assert(json_is_false(json_object_get(json_object_get(o, "state"), "durable")));
	ck_assert_str_eq(json_string_value(json_object_get(box, "phase")), "callback");
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(box, "callbacks"), "p50_below_ns")), 1024);
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(box, "message"), "tag")), "next_number");
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(o, "last_crash"), "reason")), "crash");
	json_decref(o);
	tt_free(&r);
	tt_slot_close(&slot);
}
END_TEST

static void
put_death(uint64_t incarnation, pid_t pid)
{
	char text[100];

	snprintf(text, sizeof text, "incarnation %llu, process %d: SIGSEGV", (unsigned long long)incarnation, (int)pid);
	ti_put_event(STASH_EV_EXITED, text);
}

static void
shows_crash(const char *line)
{
	struct tt_result r;

	TT_RUN(&r, &stash_inspect, "show", "sequence");
	tt_exits(&r, 0);
	tt_says(&r, "last crash  ");
	if (line != NULL)
		tt_says(&r, line);
	ck_assert_msg((strstr(r.out, "\ncrash  ") != NULL) == (line != NULL), "%s", r.out);
	tt_free(&r);
}

/* The black box keeps a crash until the name's next process begins; its report is the event. */
START_TEST(test_show_crash_once)
{
	const struct ti_state image = { .next = 500, .note = "n" };
	struct stash__origin origin = tt_origin();
	struct tt_slot slot;

	ti_make_store();
	tt_slot_make(&slot, "sequence", &origin);
	fill_box(&slot);
	tt_slot_base(&slot, 90, 77, &image, sizeof image);
	/* Other processes', of which one had the same number in its time; a start that failed before it. */
	put_death(3, getpid());
	put_death(4, 1);
	ti_put_event(STASH_EV_START_FAILED, "init_error");
	shows_crash("crash       SIGSEGV at 0xdead, not reported yet\n");
	/* Its own; nothing else says what the signal was. */
	slot.out.box->phase = STASH__PHASE_INIT;
	shows_crash("crash       SIGSEGV at 0xdead, when it was started\n");
	slot.out.box->phase = STASH__PHASE_CALLBACK;
	put_death(4, getpid());
	shows_crash(NULL);
	tt_slot_close(&slot);
}
END_TEST

START_TEST(test_history)
{
	struct tt_result r;
	json_t *o;

	ti_make_store();
	TT_RUN(&r, &stash_inspect, "history", "sequence");
	tt_exits(&r, 0);
	tt_says(&r,
	    "VERSION  COMMITTED                BYTES  LAYOUT\n"
	    "      3  1970-01-01 00:00:03.000     24  sequence 1\n"
	    "      2  1970-01-01 00:00:02.000     24  sequence 1\n"
	    "      1  1970-01-01 00:00:01.000     24  sequence 1\n");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "history", "sequence", "-j");
	ck_assert_uint_eq(tt_lines(&r), 3);
	o = tt_json(&r, 2);
	ck_assert_int_eq(json_integer_value(json_object_get(o, "version")), 1);
	ck_assert_str_eq(json_string_value(json_object_get(o, "committed")), "1970-01-01T00:00:01.000Z");
	json_decref(o);
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "history", "nobody");
	tt_exits(&r, EX_NOHOST);
	tt_free(&r);
}
END_TEST

START_TEST(test_events)
{
	struct tt_result r;
	json_t *o;

	ti_make_store();
	TT_RUN(&r, &stash_inspect, "events");
	tt_exits(&r, 0);
	ck_assert_uint_eq(tt_lines(&r), 5);
	tt_says(&r, "     1  1970-01-01 00:00:01.000  started       root/sequence\n");
	tt_says(&r, "     2  1970-01-01 00:00:02.000  exited        root/sequence  crash  SIGABRT in \\x1bcast\n");
	tt_says(&r, "     3  1970-01-01 00:00:02.000  message       root/sequence  cast b: set aside\n");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "events", "-n", "3", "--json");
	ck_assert_uint_eq(tt_lines(&r), 3);
	o = tt_json(&r, 0);
	ck_assert_int_eq(json_integer_value(json_object_get(o, "seq")), 2);
	ck_assert_str_eq(json_string_value(json_object_get(o, "reason")), "crash");
	ck_assert_str_eq(json_string_value(json_object_get(o, "text")), "SIGABRT in \033cast");
	json_decref(o);
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "events", "--since", "1h", "-j");
	ck_assert_uint_eq(tt_lines(&r), 1);
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "events", "-n0", "-j");
	ck_assert_uint_eq(tt_lines(&r), 4);
	tt_free(&r);
}
END_TEST

START_TEST(test_registry)
{
	struct tt_result r;
	json_t *o;

	ti_make_store();
	TT_RUN(&r, &stash_inspect, "registry");
	tt_exits(&r, 0);
	tt_says(&r, "sequence      root/sequence      stopped");
	tt_says(&r, "1970-01-01 00:00:01.000\n");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "registry", "--json");
	ck_assert_uint_eq(tt_lines(&r), 2);
	o = tt_json(&r, 1);
	ck_assert_str_eq(json_string_value(json_object_get(o, "name")), "web.endpoint");
	ck_assert_str_eq(json_string_value(json_object_get(o, "since")), "1970-01-01T00:00:01.000Z");
	json_decref(o);
	tt_free(&r);
}
END_TEST

/* Further names, values and groups, which no other command takes for children. */
START_TEST(test_registry_names)
{
	struct tt_result r;
	json_t *o;

	ti_make_store();
	ti_put_names();
	TT_RUN(&r, &stash_inspect, "registry");
	tt_exits(&r, 0);
	tt_says(&r, "front         root/sequence      stopped");
	tt_says(&r, "sequence      5");
	tt_says(&r, "GROUP  MEMBER\nall    sequence\nall    web.endpoint\n");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "registry", "fr", "--json");
	tt_exits(&r, 0);
	ck_assert_uint_eq(tt_lines(&r), 1);
	o = tt_json(&r, 0);
	ck_assert_str_eq(json_string_value(json_object_get(o, "name")), "front");
	ck_assert_str_eq(json_string_value(json_object_get(o, "of")), "sequence");
	ck_assert_int_eq(json_integer_value(json_object_get(o, "value_bytes")), 5);
	json_decref(o);
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "registry", "all", "--json");
	o = tt_json(&r, 0);
	ck_assert_uint_eq(json_array_size(json_object_get(o, "members")), 2);
	json_decref(o);
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "whereis", "front");
	tt_exits(&r, 0);
	tt_says(&r, "root/sequence");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "list", "--json");
	ck_assert_ptr_eq(strstr(r.out, "front"), NULL);
	tt_exits(&r, 0);
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "tree");
	tt_exits(&r, 0);
	tt_free(&r);
}
END_TEST

START_TEST(test_whereis)
{
	struct tt_result r;
	char pid[40];

	ti_make_store();
	snprintf(pid, sizeof pid, "%d  running", (int)getpid());
	TT_RUN(&r, &stash_inspect, "whereis", "web.endpoint");
	tt_exits(&r, 0);
	tt_says(&r, pid);
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "whereis", "root/sequence");
	tt_exits(&r, 0);
	tt_says(&r, "stopped");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "whereis", "forgotten");
	tt_exits(&r, EX_NOHOST);
	tt_complains(&r, "no child");
	tt_free(&r);
}
END_TEST

static void
make_status(void)
{
	struct stash__origin origin = tt_origin();
	struct stash__status_page *page;
	struct tt_slot slot;
	int fd, dir;

	/* The run directory is made with it. */
	tt_slot_make(&slot, "sequence", &origin);
	tt_slot_close(&slot);
	dir = open(t_path("slots"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(dir, 0);
	ts_good(stash__status_page_make(dir, STASH__STATUS_NAME, &origin, &fd));
	close(dir);
	page = stash__status_page_map(fd, true);
	ck_assert_ptr_nonnull(page);
	page->commits = 4;
	page->commit_ns = 800000;
	page->entries = 33;
	page->store_error = -STASH_E_FULL;
	page->bytes_used = 1 << 20;
	page->bytes_quota = 1 << 30;
	stash__status_page_unmap(page);
	close(fd);
}

START_TEST(test_stat)
{
	struct tt_result r;
	json_t *o;

	ti_make_store();
	TT_RUN(&r, &stash_inspect, "stat");
	tt_exits(&r, 0);
	tt_says(&r, ts_dir());
	tt_says(&r, " state 3 history ");
	tt_says(&r, "workers      2, 1 running, 1 stopped; 4 restarts\n");
	tt_free(&r);
	make_status();
	TT_RUN(&r, &stash_inspect, "stat");
	tt_says(&r, "folded       33 entries");
	tt_says(&r, "commits      4, 200.0 us each; the last one: ");
	tt_says(&r, "store        1.0 MiB of 1.0 GiB used\n");
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "stat", "--json");
	ck_assert_uint_eq(tt_lines(&r), 1);
	o = tt_json(&r, 0);
	ck_assert_str_eq(
	    json_string_value(json_object_get(json_object_get(o, "stash"), "last_commit")), "STASH_E_FULL");
	ck_assert_int_eq(
	    json_integer_value(json_object_get(json_object_get(json_object_get(o, "database"), "rows"), "event")), 4);
	json_decref(o);
	tt_free(&r);
}
END_TEST

START_TEST(test_health)
{
	struct tt_result r;
	json_t *o;

	ti_make_store();
	TT_RUN(&r, &stash_inspect, "health");
	tt_exits(&r, 1);
	tt_says(&r, "ill: no stashd runs on ");
	ck_assert_uint_eq(tt_lines(&r), 1);
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "health", "-j");
	tt_exits(&r, 1);
	o = tt_json(&r, 0);
	ck_assert(json_is_false(json_object_get(o, "healthy")));
	ck_assert_uint_eq(json_array_size(json_object_get(o, "problems")), 1);
	json_decref(o);
	tt_free(&r);
}
END_TEST

/* Every command with --json gives nothing but objects with a schema. */
START_TEST(test_all_json)
{
	static const char *const commands[][2] = { { "list" }, { "tree" }, { "show", "sequence" },
		{ "history", "sequence" }, { "events" }, { "registry" }, { "whereis", "sequence" }, { "stat" },
		{ "health" } };
	struct tt_result r;

	ti_make_store();
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		tt_run(&r, &stash_inspect, NULL, (const char *const[]){ "-j", commands[i][0], commands[i][1], NULL });
		ck_assert_uint_gt(tt_lines(&r), 0);
		for (unsigned n = 0; n < tt_lines(&r); n++)
			json_decref(tt_json(&r, n));
		ck_assert_str_eq(r.err, "");
		tt_free(&r);
	}
}
END_TEST

START_TEST(test_full_disk)
{
	char *argv[] = { "stash-inspect", "list", NULL };
	FILE *full = fopen("/dev/full", "we"), *err = fopen("/dev/null", "we");

	ti_make_store();
	ck_assert_int_eq(tool_run(&stash_inspect, 2, argv, stdin, full, err), EX_OSERR);
	fclose(full);
	fclose(err);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("stash-inspect");
	TCase *tc = t_case(s, "offline", 10);

	tcase_add_test(tc, test_list);
	tcase_add_test(tc, test_tree);
	tcase_add_test(tc, test_show);
	tcase_add_test(tc, test_show_raw);
	tcase_add_test(tc, test_show_slot);
	tcase_add_test(tc, test_show_crash_once);
	tcase_add_test(tc, test_history);
	tcase_add_test(tc, test_events);
	tcase_add_test(tc, test_registry);
	tcase_add_test(tc, test_registry_names);
	tcase_add_test(tc, test_whereis);
	tcase_add_test(tc, test_stat);
	tcase_add_test(tc, test_health);
	tcase_add_test(tc, test_all_json);
	tcase_add_test(tc, test_full_disk);
	return s;
}

TEST_MAIN(suite)
