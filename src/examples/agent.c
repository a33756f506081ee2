/* SPDX-License-Identifier: ISC */
/*
 * agent: keeps one value, and does nothing else that could crash it. It is what
 * Elixir's Agent is to the stash of the book: others leave here what they must
 * not lose. The value is text of up to VALUE_MAX bytes.
 *
 *	args			the first value; empty if there is none
 *	call get		replies the value
 *	call or cast update VALUE
 *				keeps VALUE from now on
 */
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include <stash/stash.h>

#define VALUE_MAX 1024

struct agent {
	char value[VALUE_MAX + 1];
};

static const struct stash_field fields[] = { STASH_FIELD(struct agent, value), STASH_FIELD_END };

/* Whether there was room for it. What isn't used is zero: equal values are equal states. */
static bool
keep(struct agent *agent, const char *text, size_t len)
{
	if (text == NULL || len > VALUE_MAX)
		return false;
	memset(agent->value, 0, sizeof(agent->value));
	memcpy(agent->value, text, len);
	return true;
}

static int
init(struct stash_worker *worker, void *state, const struct stash_init *start)
{
	if (start->version > 0 || start->argc < 2)
		return STASH_OK;
	if (!keep(state, start->argv[1], strlen(start->argv[1])))
		return stash_fail(worker, "the first value has more than %d bytes", VALUE_MAX);
	return STASH_OK;
}

static int
handle_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	const struct agent *agent = state;

	if (stash_msg_is(msg, "get"))
		return stash_reply(worker, agent->value, strlen(agent->value));
	if (!stash_msg_is(msg, "update"))
		return stash_reply_error(worker, STASH_E_UNKNOWN, "an agent knows get and update");
	if (!keep(state, stash_msg_text(msg), msg->len))
		return stash_reply_error(worker, STASH_E_TOOBIG, "a value is text of up to %d bytes", VALUE_MAX);
	return STASH_OK; /* replies nothing: done */
}

/* Nobody waits for an answer, so what can't be kept is told to the log, and the old value stays. */
static int
handle_cast(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	if (!stash_msg_is(msg, "update") || !keep(state, stash_msg_text(msg), msg->len))
		stash_log(worker, LOG_WARNING, "cast %s dropped: only update is known, with up to %d bytes of text",
		    msg->tag, VALUE_MAX);
	return STASH_OK;
}

static int
format_status(const void *state, FILE *out)
{
	const struct agent *agent = state;

	fprintf(out, "the value is '%s'", agent->value);
	return STASH_OK;
}

static const struct stash_behaviour agent = STASH_BEHAVIOUR(.name = "agent", .state_size = sizeof(struct agent),
    .layout_version = 1, .fields = fields, .init = init, .handle_call = handle_call, .handle_cast = handle_cast,
    .format_status = format_status);

STASH_MODULE(&agent);
