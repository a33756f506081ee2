/* SPDX-License-Identifier: ISC */
/*
 * send.c: casts and sends: done as soon as they are in the mailbox, which outlives sender and worker.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/name.h"
#include "client/client.h"

struct sending {
	struct route *route;
	uint32_t kind;
	const char *tag;
	const void *data;
	size_t len;
	int result;
};

/* True when it is in the mailbox, or never will be. */
static bool
sent(struct stash_client *c, void *arg)
{
	struct sending *s = arg;

	if (s->route->state == ROUTE_OVER) {
		s->result = stash__fail(s->route->error, "%s", s->route->why);
		return true;
	}
	if (s->route->state == ROUTE_OPENING || !TAILQ_EMPTY(s->route->unsent))
		return false;
	s->result = stash__route_write(c, s->route, s->kind, s->tag, s->data, s->len, INT64_MAX);
	return s->result != STASH_E_BUSY;
}

static int
post(struct stash_client *c, const char *function, const char *name, uint32_t kind, const char *tag, const void *data,
    size_t len)
{
	struct sending s = { .kind = kind, .tag = tag, .data = data, .len = len };
	int result;

	if (c != NULL && c->hooks != NULL)
		return c->hooks->cast(c->hooks_arg, function, name, kind, tag, data, len);
	if (c == NULL)
		return stash__fail(STASH_E_INVAL, "%s() without a client", function);
	result = stash__client_check(c, function);
	if (result < 0)
		return result;
	if (name == NULL || tag == NULL || (data == NULL && len > 0))
		return stash__fail(STASH_E_INVAL, "%s() without a name, a tag, or its data", function);
	result = stash__check_tag(tag);
	if (result < 0)
		return result;
	if (len > STASH_DATA_MAX)
		return stash__fail(
		    STASH_E_TOOBIG, "a payload of %zu bytes is over the limit of %d", len, STASH_DATA_MAX);
	if (stash__link_full(c))
		return stash__fail(STASH_E_FULL, "the store has no room: the message was not sent");
	result = stash__route_get(c, name, &s.route);
	if (result < 0)
		return result;
	if (sent(c, &s))
		return s.result;
	s.route->holders++;
	result = stash__wait(c, stash__deadline_ns(STASH_TIMEOUT), sent, &s);
	s.route->holders--;
	if (result == STASH_OK)
		return s.result;
	return stash__fail(STASH_E_BUSY,
	    "the mailbox of %s had no room for %d ms: it isn't running, or doesn't keep up", name, STASH_TIMEOUT);
}

int
stash_cast(struct stash_client *c, const char *name, const char *tag, const void *data, size_t len)
{
	return post(c, "stash_cast", name, STASH_MSG_CAST, tag, data, len);
}

int
stash_send(struct stash_client *c, const char *name, const char *tag, const void *data, size_t len)
{
	return post(c, "stash_send", name, STASH_MSG_SEND, tag, data, len);
}
