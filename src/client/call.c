/* SPDX-License-Identifier: ISC */
/*
 * call.c: calls: started, waited for, given up.
 * A reference is a number that only grows.  A reply finds its call by route and request number; one that finds none is
 * dropped, so a late reply does no harm.
 */
#include <bsd/string.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/name.h"
#include "client/client.h"
#include "shm/bell.h"

/* ---- the table of open calls ---- */

static struct call_bucket *
ref_bucket(struct stash_client *c, int64_t ref)
{
	return &c->by_ref[(uint64_t)ref % STASH__CLIENT_BUCKETS];
}

static struct call *
by_ref(struct stash_client *c, int64_t ref)
{
	struct call *call;

	LIST_FOREACH(call, ref_bucket(c, ref), by_ref)
		if (call->ref == ref)
			return call;
	return NULL;
}

struct call *
stash__call_by_number(struct stash_client *c, const struct route *r, uint64_t number)
{
	struct call *call;

	LIST_FOREACH(call, &c->by_number[number % STASH__CLIENT_BUCKETS], by_number)
		if (call->number == number && call->route == r)
			return call;
	return NULL;
}

static struct call *
create(struct stash_client *c)
{
	struct call *call = TAILQ_FIRST(&c->spare);

	if (call != NULL)
		TAILQ_REMOVE(&c->spare, call, queue);
	else
		call = malloc(sizeof *call);
	if (call == NULL)
		return NULL;
	memset(call, 0, offsetof(struct call, tag));
	call->data = NULL;
	call->len = 0;
	call->ref = c->next_ref++;
	call->reply.ref = call->ref;
	LIST_INSERT_HEAD(ref_bucket(c, call->ref), call, by_ref);
	LIST_INSERT_HEAD(&c->open, call, open);
	c->nopen++;
	return call;
}

/* Leaves the tables: no reply finds it any more. */
static void
detach(struct stash_client *c, struct call *call)
{
	if (call->state == CALL_DONE)
		return;
	if (call->state == CALL_SENT)
		LIST_REMOVE(call, by_number);
	else if (call->state == CALL_UNSENT)
		TAILQ_REMOVE(call->route->unsent, call, queue);
	if (call->route != NULL)
		call->route->open--;
	call->route = NULL;
	free(call->data);
	call->data = NULL;
	LIST_REMOVE(call, open);
	c->nopen--;
}

static void
destroy(struct stash_client *c, struct call *call)
{
	if (call->state == CALL_DONE)
		TAILQ_REMOVE(&c->finished, call, queue);
	detach(c, call);
	LIST_REMOVE(call, by_ref);
	stash_reply_free(&call->reply);
	TAILQ_INSERT_HEAD(&c->spare, call, queue);
}

void
stash__call_finish(struct stash_client *c, struct call *call, int error, int32_t code, const void *data, size_t len)
{
	void *copy = malloc(len + 1);

	detach(c, call);
	call->state = CALL_DONE;
	call->reply.error = error;
	call->reply.code = code;
	if (copy != NULL) {
		if (len > 0)
			memcpy(copy, data, len);
		((char *)copy)[len] = '\0';
		call->reply.data = copy;
		call->reply.len = len;
	} else if (error == STASH_OK) {
		/* It was done, so "no memory" would be a lie: that means that nothing was. */
		call->reply.error = STASH_E_PROTO;
	}
	TAILQ_INSERT_TAIL(&c->finished, call, queue);
}

int64_t
stash__call_expire(struct stash_client *c)
{
	static const char late[] = "no answer within the time given: whether it was done isn't known";
	int64_t now, next = INT64_MAX;
	struct call *call, *following;

	if (c->nopen == 0)
		return next;
	now = stash__now_ns();
	LIST_FOREACH_SAFE(call, &c->open, open, following) {
		if (call->deadline <= now)
			stash__call_finish(c, call, STASH_E_TIMEDOUT, 0, late, sizeof late - 1);
		else if (call->deadline < next)
			next = call->deadline;
	}
	return next;
}

void
stash__call_free_all(struct stash_client *c)
{
	struct call *call;

	for (size_t i = 0; i < STASH__CLIENT_BUCKETS; i++)
		while ((call = LIST_FIRST(&c->by_ref[i])) != NULL)
			destroy(c, call);
	while ((call = TAILQ_FIRST(&c->spare)) != NULL) {
		TAILQ_REMOVE(&c->spare, call, queue);
		free(call);
	}
}

/* ---- starting ---- */

static int
check(struct stash_client *c, const char *function, const char *name, const char *tag, const void *data, size_t len)
{
	int result = stash__client_check(c, function);

	if (result == STASH_OK && c->hooks != NULL)
		result = c->hooks->may_call(c->hooks_arg, function, name);
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
	return STASH_OK;
}

/* Kept until the channel is there, or has room. */
static int
keep(struct call *call, uint8_t kind, const char *tag, const void *data, size_t len)
{
	call->kind = kind;
	strlcpy(call->tag, tag, sizeof call->tag);
	call->data = malloc(len + 1);
	if (call->data == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a message of %zu bytes", len);
	if (len > 0)
		memcpy(call->data, data, len);
	call->len = len;
	call->state = CALL_UNSENT;
	TAILQ_INSERT_TAIL(call->route->unsent, call, queue);
	return STASH_OK;
}

/* Sends it, or puts it behind what waits: 0, STASH_E_BUSY if waiting isn't wanted, ... */
static int
launch(struct stash_client *c, struct call *call, const char *tag, const void *data, size_t len, bool may_wait)
{
	struct route *r = call->route;
	int result;

	if (r->state == ROUTE_OVER)
		return stash__fail(r->error, "%s", r->why);
	if (r->state == ROUTE_OPENING || !TAILQ_EMPTY(r->unsent))
		return keep(call, STASH_MSG_CALL, tag, data, len);
	result = stash__route_write(c, r, STASH_MSG_CALL, tag, data, len, call->deadline);
	if (result == STASH_E_BUSY && may_wait)
		return keep(call, STASH_MSG_CALL, tag, data, len);
	if (result == STASH_E_BUSY)
		return stash__fail(result, "the mailbox of %s is full", r->name);
	if (result < 0)
		return result;
	call->state = CALL_SENT;
	call->number = r->req_count;
	LIST_INSERT_HEAD(&c->by_number[call->number % STASH__CLIENT_BUCKETS], call, by_number);
	return STASH_OK;
}

static int
start(struct stash_client *c, const char *name, const char *tag, const void *data, size_t len, int timeout_ms,
    bool may_wait, struct call **result)
{
	struct route *r = NULL;
	struct call *call;
	int error;

	if (stash__link_full(c))
		return stash__fail(STASH_E_FULL, "the store has no room: the call was not sent");
	if (c->nopen >= STASH__CLIENT_CALLS)
		return stash__fail(STASH_E_BUSY, "%u calls are open already", c->nopen);
	error = stash__route_get(c, name, &r);
	if (error < 0)
		return error;
	call = create(c);
	if (call == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a call");
	call->route = r;
	r->open++;
	call->deadline = stash__deadline_ns(timeout_ms);
	error = launch(c, call, tag, data, len, may_wait);
	if (error < 0) {
		destroy(c, call);
		return error;
	}
	*result = call;
	return STASH_OK;
}

int64_t
stash_call_start(
    struct stash_client *c, const char *name, const char *tag, const void *data, size_t len, int timeout_ms)
{
	struct call *call;
	int result = check(c, "stash_call_start", name, tag, data, len);

	if (result < 0)
		return result;
	stash__wait_look(c);
	result = start(c, name, tag, data, len, timeout_ms, false, &call);
	return result < 0 ? result : call->ref;
}

/* ---- waiting ---- */

static bool
is_done(struct stash_client *c, void *arg)
{
	const struct call *call = arg;

	(void)c;
	return call->state == CALL_DONE;
}

/* Hands over the reply of a finished call, whose reference ends. */
static int
deliver(struct stash_client *c, struct call *call, struct stash_reply *reply)
{
	struct stash_reply mine = call->reply;

	memset(&call->reply, 0, sizeof call->reply);
	destroy(c, call);
	if (mine.error < 0)
		(void)stash__fail(mine.error, "%s",
		    mine.data != NULL && mine.len > 0 ? (const char *)mine.data : stash_strerror(mine.error));
	if (reply != NULL)
		*reply = mine;
	else
		free(mine.data);
	return mine.error;
}

static void
clear(struct stash_reply *reply)
{
	if (reply != NULL)
		memset(reply, 0, sizeof *reply);
}

static int
failed(struct stash_reply *reply, int error)
{
	if (reply != NULL)
		reply->error = error;
	return error;
}

int
stash_call(struct stash_client *c, const char *name, const char *tag, const void *data, size_t len,
    struct stash_reply *reply, int timeout_ms)
{
	struct call *call;
	int result;

	clear(reply);
	result = check(c, "stash_call", name, tag, data, len);
	if (result == STASH_OK)
		result = start(c, name, tag, data, len, timeout_ms, true, &call);
	if (result < 0)
		return failed(reply, result);
	call->awaited = true;
	if (stash__wait(c, call->deadline, is_done, call) < 0 && call->state != CALL_DONE)
		stash__call_finish(c, call, STASH_E_TIMEDOUT, 0, NULL, 0);
	return deliver(c, call, reply);
}

int
stash_call_wait(struct stash_client *c, int64_t ref, struct stash_reply *reply, int timeout_ms)
{
	struct call *call;
	int result;

	clear(reply);
	result = stash__client_check(c, "stash_call_wait");
	if (result < 0)
		return failed(reply, result);
	call = by_ref(c, ref);
	if (call == NULL)
		return failed(
		    reply, stash__fail(STASH_E_NOENT, "there is no open call with reference %lld", (long long)ref));
	call->awaited = true;
	if (stash__wait(c, timeout_ms == 0 ? 0 : stash__deadline_ns(timeout_ms), is_done, call) < 0) {
		call->awaited = false;
		return failed(reply, stash__fail(STASH_E_PENDING, "call %lld isn't answered yet", (long long)ref));
	}
	return deliver(c, call, reply);
}

static bool
any_done(struct stash_client *c, void *arg)
{
	(void)arg;
	return !TAILQ_EMPTY(&c->finished);
}

/* Before the caller polls: what has made the descriptor readable is taken, sleeping is said on all channels, and the
 * timer is armed; true if something has come meanwhile.  The bells first: what is rung for after that is either found
 * by the look, or rings on. */
static bool
settle(struct stash_client *c)
{
	(void)stash__bell_clear(c->bell);
	stash__lines_clear(c);
	stash__wait_asleep(c, 1);
	stash__wait_look(c);
	stash__link_run(c);
	stash__client_arm(c, stash__call_expire(c));
	return !TAILQ_EMPTY(&c->finished);
}

int64_t
stash_call_next(struct stash_client *c, struct stash_reply *reply, int timeout_ms)
{
	struct call *call;
	int64_t ref;
	int result;

	clear(reply);
	result = stash__client_check(c, "stash_call_next");
	if (result < 0)
		return failed(reply, result);
	if (TAILQ_EMPTY(&c->finished) && c->nopen > 0)
		(void)stash__wait(c, timeout_ms == 0 ? 0 : stash__deadline_ns(timeout_ms), any_done, NULL);
	/* Also if no call is open: it may be the supervisor that has made the descriptor readable, or its end. */
	if (TAILQ_EMPTY(&c->finished) && !(c->polled && settle(c)))
		return 0;
	call = TAILQ_FIRST(&c->finished);
	ref = call->ref;
	(void)deliver(c, call, reply);
	return ref;
}

int
stash_call_cancel(struct stash_client *c, int64_t ref)
{
	struct call *call;
	int result = stash__client_check(c, "stash_call_cancel");

	if (result < 0)
		return result;
	call = by_ref(c, ref);
	if (call == NULL)
		return stash__fail(STASH_E_NOENT, "there is no open call with reference %lld", (long long)ref);
	destroy(c, call);
	return STASH_OK;
}

void
stash_reply_free(struct stash_reply *reply)
{
	if (reply == NULL)
		return;
	free(reply->data);
	reply->data = NULL;
	reply->len = 0;
}
