/* SPDX-License-Identifier: ISC */
/*
 * stashctl wait: until a worker runs. A stashd that isn't there yet is waited
 * for too, so that a script may start one and wait at once; but once stashd
 * itself has said what becomes of the worker, there is nothing to wait for.
 */
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "client/client.h"
#include "shm/wire.h"
#include "stashctl/ctl.h"

#define AGAIN_NS (20 * STASH__NS_PER_MS)

/* What is asked for, and whether stashd has answered: its "down" is of the worker, any other one of stashd. */
struct question {
	int argc;
	char **argv;
	int64_t deadline;
	bool answered;
};

static int
take(void *arg, int type, struct stash_view *view, int *fds, int nfds)
{
	struct question *q = arg;

	q->answered = true;
	return stash__answer_done(NULL, type, view, fds, nfds);
}

static int
await_once(struct stash_client *client, struct question *q)
{
	char name[STASH_NAME_MAX + 1];
	struct stash_buf items;
	int left = stash__left_ms(q->deadline);
	int code;

	if (left == 0)
		return stash__fail(STASH_E_TIMEDOUT, "the time was over before stashd could be asked");
	code = tool_target_words(client, q->argc, q->argv, name, left);
	if (code < 0)
		return code;
	stash__buf_init(&items, STASH__WIRE_MAX);
	stash_buf_add_text(&items, name);
	code = stash_buf_add_int(&items, left);
	if (code == STASH_OK)
		code = stash__client_request(client, STASH__B_AWAIT, &items, left, take, q);
	stash__buf_fini(&items);
	return code;
}

static int
ignore(void *arg, const struct stash_process *process)
{
	(void)arg;
	(void)process;
	return 0;
}

/* A name that isn't known may be one of a tree that is just starting: the top supervisor answers when it has. */
static int
await(struct stash_client *client, struct question *q)
{
	int code = await_once(client, q), left = stash__left_ms(q->deadline);

	if (code != STASH_E_NOENT || left == 0)
		return code;
	q->answered = false;
	code = stash_which_children(client, "root", ignore, NULL, left);
	if (code < 0 && code != STASH_E_NOENT)
		return code;
	return await_once(client, q);
}

static int
attempt(const struct tool *t, struct question *q)
{
	struct stash_client *client;
	int code = stash_client_open(&client, t->dir, NULL);

	if (code < 0)
		return code;
	code = await(client, q);
	stash_client_close(client);
	return code;
}

/* False: the time is over. What the last attempt has failed of stays what is told. */
static bool
pause_before(int64_t deadline)
{
	const struct timespec again = { .tv_nsec = AGAIN_NS };

	clock_nanosleep(CLOCK_MONOTONIC, 0, &again, NULL);
	return stash__left_ms(deadline) != 0;
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct question q = {
		.argc = argc - 1, .argv = argv + 1, .deadline = stash__deadline_ns(tool_timeout(t, CTL_LONG_MS))
	};
	int code;

	do {
		code = attempt(t, &q);
	} while (code == STASH_E_DOWN && !q.answered && pause_before(q.deadline));
	return code < 0 ? tool_error(t, code, "wait %s", argv[1]) : 0;
}

const struct tool_command ctl_wait = {
	.name = "wait",
	.usage = "NAME | SUPERVISOR ID",
	.help = "wait until a worker runs, also for its stashd",
	.min = 1,
	.max = 2,
	.run = run,
};
