/* SPDX-License-Identifier: ISC */
/*
 * A worker that sleeps in an event loop of its own; its supervisor and stash are played by the test.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include <stash/worker.h>

#include "shm/bell.h"
#include "testlib.h"
#include "testlib_slot.h"

#define HOUR (3600u * 1000)
#define WAKES 200
#define WATCHED 3 /* bell, control socket, lines; one that is active is counted twice */

struct sleeper {
	struct stash_from open;
};

static int
sleeper_init(struct stash_worker *w, void *state, const struct stash_init *in)
{
	(void)state;
	(void)in;
	return stash_worker_events(w) != NULL ? stash_send_after(w, HOUR, "far", NULL, 0, NULL) : STASH_E_NOMEM;
}

/* "tick" is answered by a timer. */
static int
sleeper_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct sleeper *s = state;

	if (stash_msg_is(msg, "events"))
		return stash_replyf(w, "%d", event_base_get_num_events(stash_worker_events(w), EVENT_BASE_COUNT_ADDED));
	s->open = msg->from;
	return stash_send_after(w, 1, "near", NULL, 0, NULL) < 0 ? STASH_E_APP : STASH_NOREPLY;
}

static int
sleeper_info(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct sleeper *s = state;

	return stash_reply_to(w, &s->open, msg->tag, strlen(msg->tag));
}

static const struct stash_behaviour sleeper = STASH_BEHAVIOUR(.name = "sleeper", .state_size = sizeof(struct sleeper),
    .layout_version = 1, .init = sleeper_init, .handle_call = sleeper_call, .handle_info = sleeper_info);

static struct t_world t;
static struct t_caller a;

static void
begin(void)
{
	t_world_begin(&t, &a, &sleeper, sizeof(struct sleeper), STASH__RING_MIN);
}

static void
finish(void)
{
	t_world_finish(&t, &a);
}

static bool
is_asleep(void *arg)
{
	(void)arg;
	return atomic_load(&t.bell_page->asleep) != 0;
}

/* A deadline that is far away is waited for again and again, and leaves nothing behind. */
START_TEST(test_far_deadline)
{
	begin();
	for (int i = 0; i < WAKES; i++) {
		ck_assert(t_wait_for(is_asleep, NULL, 10000));
		(void)t_caller_ask(&a, "events", "");
		t_caller_answer(&a);
		ck_assert_int_le(strtol((const char *)a.m.data, NULL, 10), 2 * WATCHED);
	}
	finish();
}
END_TEST

/* Nothing else wakes the worker. */
START_TEST(test_near_deadline)
{
	begin();
	for (int i = 0; i < 20; i++)
		t_caller_expect(&a, "tick", "", STASH_OK, "near");
	finish();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("worker with events");
	TCase *c = t_case(s, "sleep", 60);

	tcase_add_test(c, test_far_deadline);
	tcase_add_test(c, test_near_deadline);
	return s;
}

TEST_MAIN(suite)
