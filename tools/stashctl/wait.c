/* SPDX-License-Identifier: ISC */
/*
 * stashctl wait: until a worker runs. A stashd that isn't there yet is waited
 * for too, so that a script may start one and wait at once.
 */
#include <time.h>

#include "base/clock.h"
#include "shm/wire.h"
#include "stashctl/ctl.h"

#define AGAIN_NS (20 * STASH__NS_PER_MS)

static int
await_once(struct stash_client *client, int argc, char **argv, int64_t deadline)
{
	char name[STASH_NAME_MAX + 1];
	struct stash_buf items;
	int left = stash__left_ms(deadline);
	int code = tool_target_words(client, argc, argv, name, left);

	if (code < 0)
		return code;
	stash__buf_init(&items, STASH__WIRE_MAX);
	stash_buf_add_text(&items, name);
	code = stash_buf_add_int(&items, left);
	if (code == STASH_OK)
		code = ctl_request(client, STASH__B_AWAIT, &items, left, NULL, NULL);
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
await(struct stash_client *client, int argc, char **argv, int64_t deadline)
{
	int code = await_once(client, argc, argv, deadline);

	if (code != STASH_E_NOENT)
		return code;
	code = stash_which_children(client, "root", ignore, NULL, stash__left_ms(deadline));
	if (code < 0 && code != STASH_E_NOENT)
		return code;
	return await_once(client, argc, argv, deadline);
}

static int
run(struct tool *t, int argc, char **argv)
{
	const struct timespec again = { .tv_nsec = AGAIN_NS };
	int64_t deadline = stash__deadline_ns(tool_timeout(t, CTL_LONG_MS));
	struct stash_client *client;
	int code;

	for (;;) {
		code = stash_client_open(&client, t->dir, NULL);
		if (code == STASH_OK) {
			code = await(client, argc - 1, argv + 1, deadline);
			stash_client_close(client);
		}
		if (code != STASH_E_DOWN || stash__left_ms(deadline) == 0)
			break;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &again, NULL);
	}
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
