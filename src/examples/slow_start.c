/* SPDX-License-Identifier: ISC */
/*
 * slow_start: a server that has much to load before it can serve. init does none
 * of it and returns at once, so that the supervisor goes on with the siblings;
 * handle_continue comes next, before any message. What was loaded is in the
 * stash: a restart has it already.
 *
 *	args			milliseconds that the load takes; 2000 if there are none
 *	call get		replies the data
 */
#include <string.h>
#include <syslog.h>
#include <time.h>

#include <stash/stash.h>

struct slow_start {
	char data[32];
};

static const struct stash_field fields[] = { STASH_FIELD(struct slow_start, data), STASH_FIELD_END };

static int
init(struct stash_worker *worker, void *state, const struct stash_init *start)
{
	const struct slow_start *slow = state;

	(void)start;
	if (slow->data[0] != '\0')
		return STASH_OK;
	stash_log(worker, LOG_INFO, "init is done (fast)");
	return stash_continue(worker, "load_data");
}

/* Stands for a query that takes its time. */
static int
load(struct stash_worker *worker, char *data, size_t size)
{
	const struct stash_init *start = stash_init_info(worker);
	int64_t ms = 2000;

	if (start->argc > 1 && stash_parse_int(start->argv[1], 0, INT32_MAX, &ms) != STASH_OK)
		return stash_fail(worker, "%s is no number of milliseconds", start->argv[1]);
	(void)nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
	strncpy(data, "loaded", size - 1);
	return STASH_OK;
}

static int
handle_continue(struct stash_worker *worker, void *state, const char *tag)
{
	struct slow_start *slow = state;
	int result;

	if (strcmp(tag, "load_data") != 0)
		return STASH_E_UNKNOWN;
	stash_log(worker, LOG_INFO, "loading the data (slow)");
	result = load(worker, slow->data, sizeof slow->data);
	if (result == STASH_OK)
		stash_log(worker, LOG_INFO, "the data are there");
	return result;
}

static int
handle_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	const struct slow_start *slow = state;

	if (stash_msg_is(msg, "get"))
		return stash_reply(worker, slow->data, strlen(slow->data));
	return STASH_E_UNKNOWN;
}

static const struct stash_behaviour slow_start = STASH_BEHAVIOUR(.name = "slow_start",
    .state_size = sizeof(struct slow_start), .layout_version = 1, .fields = fields, .init = init,
    .handle_call = handle_call, .handle_continue = handle_continue);

STASH_MODULE(&slow_start);
