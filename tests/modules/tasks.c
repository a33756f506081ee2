/* SPDX-License-Identifier: ISC */
/*
 * A behaviour that has others do the work: "run" starts a task that doubles a number, "crash" one that crashes, "hang"
 * one that never ends; "get" tells how many have ended well and badly, and the sum of their results.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <stash/stash.h>

struct tally {
	int64_t well, badly, sum;
};

static int
twice(const void *data, size_t len, struct stash_buf *result)
{
	char text[24];
	int n = snprintf(text, sizeof text, "%ld", 2 * strtol(data, NULL, 10));

	(void)len;
	return stash_buf_add(result, text, (size_t)n);
}

static int
crash(const void *data, size_t len, struct stash_buf *result)
{
	(void)data;
	(void)len;
	(void)result;
	abort();
}

static int
hang(const void *data, size_t len, struct stash_buf *result)
{
	(void)data;
	(void)len;
	(void)result;
	while (pause() < 0)
		;
	return 0;
}

static int
handle_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	const struct tally *t = state;

	if (stash_msg_is(msg, "run"))
		return stash_task(worker, "run", twice, msg->data, msg->len, -1, NULL);
	if (stash_msg_is(msg, "crash"))
		return stash_task(worker, "crash", crash, NULL, 0, -1, NULL);
	if (stash_msg_is(msg, "hang"))
		return stash_task(worker, "hang", hang, NULL, 0, -1, NULL);
	if (stash_msg_is(msg, "get"))
		return stash_replyf(worker, "%" PRId64 " %" PRId64 " %" PRId64, t->well, t->badly, t->sum);
	return STASH_E_UNKNOWN;
}

static int
handle_info(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	struct tally *t = state;
	int64_t n = 0;

	(void)worker;
	if (msg->kind != STASH_MSG_TASK || msg->code != STASH_OK || stash_msg_int(msg, INT64_MIN, INT64_MAX, &n) < 0)
		t->badly++;
	else
		t->well++;
	t->sum += n;
	return STASH_OK;
}

static const struct stash_behaviour tasks = STASH_BEHAVIOUR(.name = "tasks", .state_size = sizeof(struct tally),
    .layout_version = 1, .handle_call = handle_call, .handle_info = handle_info);

STASH_MODULE(&tasks);
