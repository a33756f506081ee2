/* SPDX-License-Identifier: ISC */
/*
 * ticker: a clock that counts its ticks. The timer is the worker's and dies with
 * it, so init sets it again; the count is the stash's and goes on.
 *
 *	args			milliseconds between two ticks; 1000 if there are none
 *	call ticks		replies how many there were
 */
#include <inttypes.h>
#include <syslog.h>

#include <stash/stash.h>

struct ticker {
	int64_t ticks;
};

static const struct stash_field fields[] = { STASH_FIELD(struct ticker, ticks), STASH_FIELD_END };

static int
init(struct stash_worker *worker, void *state, const struct stash_init *start)
{
	int64_t ms = 1000;

	(void)state;
	if (start->argc > 1 && stash_parse_int(start->argv[1], 1, INT32_MAX, &ms) != STASH_OK)
		return stash_fail(worker, "%s is no number of milliseconds", start->argv[1]);
	return stash_send_interval(worker, (uint64_t)ms, "tick", NULL, 0, NULL);
}

static int
handle_info(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	struct ticker *ticker = state;

	if (stash_msg_is(msg, "tick"))
		stash_log(worker, LOG_INFO, "tick %" PRId64, ++ticker->ticks);
	return STASH_OK; /* a stranger's message is no reason to crash */
}

static int
handle_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	const struct ticker *ticker = state;

	if (stash_msg_is(msg, "ticks"))
		return stash_replyf(worker, "%" PRId64, ticker->ticks);
	return STASH_E_UNKNOWN;
}

static const struct stash_behaviour ticker = STASH_BEHAVIOUR(.name = "ticker", .state_size = sizeof(struct ticker),
    .layout_version = 1, .fields = fields, .init = init, .handle_call = handle_call, .handle_info = handle_info);

STASH_MODULE(&ticker);
