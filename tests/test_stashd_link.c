/* SPDX-License-Identifier: ISC */
/*
 * A stash process that can't start: how often it is tried, and what the supervisor heaps up meanwhile.
 */
#include <string.h>

#include "base/clock.h"
#include "shm/wire.h"
#include "testlib.h"
#include "testlib_server.h"

Suite *stashd_link_suite(void);

static struct server *server;
static struct worker *worker;

/* One that was up once, so that the next one is tried for ever; and a worker whose slot was open before. */
static void
begin(void)
{
	server = t_server_begin();
	worker = worker_get(server, "a");
	ck_assert_ptr_nonnull(worker);
	stashlink_drop_requests(&server->stash);
	worker->slot = SLOT_OPEN;
	server->stash.was_up = true;
}

/* The next one comes, and ends; each has taken its time over it. */
static void
let_fail(void)
{
	struct stashlink *k = &server->stash;
	uint64_t deaths = k->deaths;

	while (k->pid == 0)
		ck_assert_int_eq(event_base_loop(server->events, EVLOOP_ONCE), 0);
	k->started -= STASH__NS_PER_S;
	while (k->deaths == deaths)
		ck_assert_int_eq(event_base_loop(server->events, EVLOOP_ONCE), 0);
}

START_TEST(its_pace_is_slower_from_time_to_time)
{
	struct stashlink *k;
	size_t rows;

	begin();
	k = &server->stash;
	rows = server->records.waiting;
	stashlink_start(k);
	let_fail();
	ck_assert_int_ne(k->pid, 0); /* the first one is followed at once */
	for (int64_t ms = 10; ms <= 160; ms *= 2) {
		ck_assert_int_eq(k->delay, ms * STASH__NS_PER_MS);
		let_fail();
		ck_assert(k->retrying);
	}
	ck_assert_uint_eq(server->records.waiting, rows); /* no event: none of them was there */
	t_server_end(server);
}
END_TEST

/* As the stash answers. */
static void
answer(uint64_t number)
{
	struct stash_buf buf;
	struct mail m = { .type = STASH__S_OPENED, .number = number };
	const void *data;
	size_t len;

	stash__buf_init(&buf, 100);
	stash_buf_add_int(&buf, 0);
	stash_buf_add_text(&buf, "");
	ck_assert_int_eq(stash_buf_data(&buf, &data, &len), 0);
	stash_view_init(&m.view, data, len);
	stashlink_answer(&server->stash, &m);
	stash__buf_fini(&buf);
}

START_TEST(a_worker_is_shown_again_when_it_was_answered)
{
	struct stashlink *k;
	uint64_t number;

	begin();
	k = &server->stash;
	number = k->next_number;
	stashlink_start(k);
	for (int i = 0; i < 4; i++)
		let_fail();
	ck_assert_uint_eq(k->next_number, number + 1);
	answer(number);
	workers_show(server);
	workers_show(server);
	ck_assert_uint_eq(k->next_number, number + 2);
	t_server_end(server);
}
END_TEST

Suite *
stashd_link_suite(void)
{
	Suite *s = suite_create("stashd_link");
	TCase *c = t_case(s, "link", 30);

	tcase_add_test(c, its_pace_is_slower_from_time_to_time);
	tcase_add_test(c, a_worker_is_shown_again_when_it_was_answered);
	return s;
}

TEST_MAIN(stashd_link_suite)
