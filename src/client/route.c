/* SPDX-License-Identifier: ISC */
/*
 * route.c: channels of a client, one for each name that it has called.
 * A route is asked for without waiting; what is to be sent meanwhile waits in `unsent'.  When its channel is
 * marked down (the worker will not come back by itself), its open calls get the reason, and the next call asks
 * for a new one.
 */
#include <bsd/string.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/name.h"
#include "base/point.h"
#include "client/client.h"
#include "shm/slot.h"
#include "shm/wire.h"

/* ---- life ---- */

static int take_replies(struct stash_client *, struct route *, unsigned *n);

static struct route *
find(struct stash_client *c, const char *name)
{
	struct route *r;

	TAILQ_FOREACH(r, &c->routes, link)
		if (!r->stale && strcmp(r->name, name) == 0)
			return r;
	return NULL;
}

static void
ask(struct stash_client *c, struct route *r)
{
	struct stash_buf message;

	stash__buf_init(&message, STASH__WIRE_MAX);
	r->request = stash__link_compose(c, &message, STASH__B_OPEN);
	(void)stash_buf_add_text(&message, r->name);
	(void)stash_buf_add_int(&message, c->ring_bytes != 0 ? c->ring_bytes : STASH__RING_DEFAULT);
	(void)stash__link_send(c, &message, NULL, 0); /* a broken link asks again when it is mended */
	stash__buf_fini(&message);
}

static struct route *
create(struct stash_client *c, const char *name)
{
	struct route *r = calloc(1, sizeof *r);

	if (r == NULL || (r->unsent = malloc(sizeof *r->unsent)) == NULL) {
		free(r);
		return NULL;
	}
	TAILQ_INIT(r->unsent);
	strlcpy(r->name, name, sizeof r->name);
	r->memfd = r->bell = -1;
	r->state = ROUTE_OPENING;
	TAILQ_INSERT_HEAD(&c->routes, r, link);
	return r;
}

static void
release(struct stash_client *c, struct route *r)
{
	stash__channel_unmap(&r->channel);
	stash__bell_page_unmap((struct stash__bell_page *)(uintptr_t)r->page);
	r->page = NULL;
	if (r->memfd >= 0)
		close(r->memfd);
	r->memfd = -1;
	stash__line_drop(c, r);
}

static void
destroy(struct stash_client *c, struct route *r)
{
	TAILQ_REMOVE(&c->routes, r, link);
	release(c, r);
	free(r->unsent);
	free(r);
}

/* Channels under an alias that is somebody else's now, which have answered all they were asked. */
static void
drop_stale(struct stash_client *c)
{
	struct route *r, *next;

	TAILQ_FOREACH_SAFE(r, &c->routes, link, next) {
		if (!r->stale || r->open > 0 || r->holders > 0)
			continue;
		stash__route_over(c, r, STASH_E_NOENT, "the name is somebody else's");
		destroy(c, r);
	}
}

void
stash__route_freed(struct stash_client *c, const char *alias)
{
	struct route *r = find(c, alias);

	if (r != NULL && r->state == ROUTE_UP)
		r->stale = true;
}

int
stash__route_get(struct stash_client *c, const char *name, struct route **result)
{
	struct route *r = TAILQ_FIRST(&c->routes);
	int error;

	if (r == NULL || r->stale || strcmp(r->name, name) != 0) {
		error = stash__check_name(name);
		if (error < 0)
			return error;
		r = find(c, name);
	}
	/* A further name moves; that is said at the broker's socket, which may not have been read for long. */
	if (r != NULL && !r->own && r->state != ROUTE_OVER) {
		stash__link_run(c);
		r = find(c, name);
	}
	if (r != NULL && r->state == ROUTE_UP &&
	    atomic_load_explicit(&r->channel.page->down, memory_order_acquire) != 0)
		(void)stash__route_drain(
		    c, r); /* stopped, or given up for lost while nobody looked: not to be written to */
	if (r != NULL && r->state == ROUTE_OVER && r->holders == 0) {
		destroy(c, r);
		r = NULL;
	}
	if (r == NULL) {
		drop_stale(c);
		r = create(c, name);
		if (r == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for a way to %s", name);
		ask(c, r);
	}
	*result = r;
	return STASH_OK;
}

static void
say_close(struct stash_client *c, const void *id)
{
	struct stash_buf message;

	stash__buf_init(&message, STASH__WIRE_MAX);
	(void)stash__link_compose(c, &message, STASH__B_CLOSE);
	(void)stash_buf_add_bytes(&message, id, STASH__ID);
	(void)stash__link_send(c, &message, NULL, 0);
	stash__buf_fini(&message);
}

static void
close_channel(struct stash_client *c, struct route *r)
{
	atomic_store(&r->channel.page->client_closed, 1);
	say_close(c, r->channel.id);
}

/* Without looking into the channel once more. */
static void
end(struct stash_client *c, struct route *r, int error, const char *why)
{
	struct call *call, *next;

	if (r->state == ROUTE_UP)
		close_channel(c, r);
	r->state = ROUTE_OVER;
	r->error = error;
	strlcpy(r->why, why, sizeof r->why);
	release(c, r);
	LIST_FOREACH_SAFE(call, &c->open, open, next)
		if (call->route == r)
			stash__call_finish(c, call, error, 0, why, strlen(why));
}

void
stash__route_over(struct stash_client *c, struct route *r, int error, const char *why)
{
	unsigned n = 0;

	if (r->state == ROUTE_OVER)
		return;
	if (r->state == ROUTE_UP)
		(void)take_replies(c, r, &n); /* what was answered before the end is an answer */
	end(c, r, error, why);
}

void
stash__route_free_all(struct stash_client *c)
{
	struct route *r;

	while ((r = TAILQ_FIRST(&c->routes)) != NULL) {
		if (r->state == ROUTE_UP)
			close_channel(c, r);
		destroy(c, r);
	}
}

/* ---- the supervisor's word ---- */

static int
take_fd(int *fds, int i)
{
	int fd = fds[i];

	fds[i] = -1;
	return fd;
}

static int
take_page(struct route *r, int fd)
{
	struct stash__bell_page *page = stash__bell_page_map(fd, false);

	if (page == NULL)
		return STASH_E_PROTO;
	stash__bell_page_unmap((struct stash__bell_page *)(uintptr_t)r->page);
	r->page = page;
	/* Unknown, as without /proc, it counts as a further one: each message costs a system call then. */
	r->own = stash__slot_file_is(fd, r->name, "bell");
	return STASH_OK;
}

/* The worker's bell, or this side's end of a line. */
static int
take_bell(struct stash_client *c, struct route *r, int *fds, int i)
{
	int result = STASH_OK;

	if (c->has_lines)
		result = stash__line_watch(c, r, fds[i]);
	else
		stash__line_drop(c, r);
	if (result == STASH_OK)
		r->bell = take_fd(fds, i);
	return result;
}

/* The channel of a name that was asked for: [memfd, worker's bell, bell page]. */
static int
opened(struct stash_client *c, struct route *r, int *fds, int nfds)
{
	int result;

	if (nfds != 3)
		return stash__fail(STASH_E_PROTO, "the supervisor's channel to %s lacks descriptors", r->name);
	result = stash__channel_map(&r->channel, fds[0]);
	if (result == STASH_OK)
		result = take_page(r, fds[2]);
	if (result == STASH_OK)
		result = take_bell(c, r, fds, 1);
	if (result < 0)
		return result;
	r->memfd = take_fd(fds, 0);
	r->state = ROUTE_UP;
	atomic_store(&r->channel.page->client_core, c->core);
	if (c->polled)
		atomic_store(&r->channel.page->client_asleep, 1);
	stash__route_flush(c, r);
	return STASH_OK;
}

/* A channel that was presented is known: [worker's bell, bell page]; a line may be the one it had. */
static int
confirmed(struct stash_client *c, struct route *r, int *fds, int nfds)
{
	bool kept = r->line && nfds == 1;
	int result;

	if (nfds != 2 && !kept)
		return stash__fail(
		    STASH_E_PROTO, "the supervisor's word on the channel to %s lacks descriptors", r->name);
	result = take_page(r, fds[nfds - 1]);
	if (result == STASH_OK && !kept)
		result = take_bell(c, r, fds, 0);
	if (result < 0)
		return result;
	stash__route_ring(r); /* what was sent meanwhile may not have been rung for */
	return STASH_OK;
}

/* A channel that can't be used here is not kept there either. */
static void
give_back(struct stash_client *c, struct stash_view *v)
{
	char why[STASH__ERRMSG_MAX];
	size_t len = 0;
	const void *id = stash_view_bytes(v, &len);

	strlcpy(why, stash_errmsg(), sizeof why);
	if (len == STASH__ID)
		say_close(c, id);
	(void)stash__fail(STASH_E_PROTO, "%s", why);
}

void
stash__route_answer(struct stash_client *c, uint64_t request, struct stash_view *v, int *fds, int nfds)
{
	struct route *r;
	int error = (int)stash_view_int(v), result;
	const char *text = stash_view_text(v);

	TAILQ_FOREACH(r, &c->routes, link)
		if (r->request == request && r->state != ROUTE_OVER)
			break;
	if (r == NULL)
		return; /* of a route that is over: the channel goes with its descriptors */
	r->request = 0;
	result = error;
	if (error == STASH_OK)
		result = r->state == ROUTE_OPENING ? opened(c, r, fds, nfds) : confirmed(c, r, fds, nfds);
	if (error == STASH_OK && result < 0 && r->state == ROUTE_OPENING)
		give_back(c, v);
	if (result < 0)
		stash__route_over(c, r, result, error < 0 ? text : stash_errmsg());
}

void
stash__route_down(struct stash_client *c, const void *id, int error, const char *why)
{
	struct route *r;

	TAILQ_FOREACH(r, &c->routes, link)
		if (r->state == ROUTE_UP && memcmp(r->channel.id, id, STASH__ID) == 0)
			break;
	if (r != NULL)
		stash__route_over(c, r, error, why);
}

void
stash__route_relink(struct stash_client *c)
{
	struct route *r;

	TAILQ_FOREACH(r, &c->routes, link) {
		struct stash_buf message;
		if (r->state == ROUTE_OPENING)
			ask(c, r);
		if (r->state != ROUTE_UP)
			continue;
		stash__buf_init(&message, STASH__WIRE_MAX);
		r->request = stash__link_compose(c, &message, STASH__B_PRESENT);
		(void)stash_buf_add_bytes(&message, r->channel.id, STASH__ID);
		(void)stash_buf_add_text(&message, r->name);
		(void)stash__link_send(c, &message, &r->memfd, 1);
		stash__buf_fini(&message);
	}
}

/* ---- messages ---- */

/* The other side breaks the rules; the reason is the thread's message.  The next call gets another channel. */
static int
broken(struct stash_client *c, struct route *r)
{
	char why[STASH__ERRMSG_MAX];

	strlcpy(why, stash_errmsg(), sizeof why);
	end(c, r, STASH_E_PROTO, why);
	return stash__fail(STASH_E_PROTO, "%s", why);
}

/* Of a worker that won't come back the mark is of no account. */
static bool
is_full(const struct route *r)
{
	return atomic_load_explicit(&r->channel.page->full, memory_order_relaxed) == STASH__FULL &&
	    atomic_load_explicit(&r->channel.page->down, memory_order_relaxed) == 0;
}

int
stash__route_write(struct stash_client *c, struct route *r, uint32_t kind, const char *tag, const void *data,
    size_t len, int64_t deadline)
{
	int result = is_full(r) ?
	    stash__fail(STASH_E_FULL, "%s has no room for a larger state: the message was not sent", r->name) :
	    stash__request_write(&r->channel, &r->req_tail, r->req_count + 1, kind, tag, data, len, deadline);

	if (result == STASH_E_PROTO)
		return broken(c, r);
	if (result < 0)
		return result;
	STASH_POINT("client_before_tail");
	r->req_count++;
	stash__request_publish(&r->channel, r->req_tail);
	STASH_POINT("client_after_tail");
	r->drained = 0; /* this look serves for the room made as well */
	stash__route_wake(r);
	/* Behind the fence: who marks it down before this look may not have seen the message, who does so after
	 * it has.  A call learns it from its reply, or from the mark that the next drain finds behind all replies. */
	if (kind != STASH_MSG_CALL && atomic_load_explicit(&r->channel.page->down, memory_order_relaxed) != 0)
		return stash__fail(STASH_E_PROTO,
		    "the channel to %s was given up at this moment: whether the message counts isn't known", r->name);
	return STASH_OK;
}

void
stash__route_flush(struct stash_client *c, struct route *r)
{
	struct call *call;

	while ((call = TAILQ_FIRST(r->unsent)) != NULL) {
		int result = stash__route_write(c, r, call->kind, call->tag, call->data, call->len, call->deadline);
		if (result == STASH_E_BUSY || r->state == ROUTE_OVER)
			return; /* the next reply makes room; or it has ended, with all of them */
		if (result < 0) {
			stash__call_finish(c, call, result, 0, stash_errmsg(), strlen(stash_errmsg()));
			continue;
		}
		TAILQ_REMOVE(r->unsent, call, queue);
		free(call->data);
		call->data = NULL;
		call->state = CALL_SENT;
		call->number = r->req_count;
		LIST_INSERT_HEAD(&c->by_number[call->number % STASH__CLIENT_BUCKETS], call, by_number);
	}
}

static void
sort_reply(struct stash_client *c, struct route *r, const struct stash__message *m)
{
	struct call *call = stash__call_by_number(c, r, m->head.number);

	if (call != NULL) /* else given up, or answered: dropped */
		stash__call_finish(c, call, m->head.code, m->head.app_code, m->data, m->head.len);
}

/* Takes what is there: 0, or that its rules are broken. */
static int
take_replies(struct stash_client *c, struct route *r, unsigned *n)
{
	struct stash__message m;
	uint64_t from = r->rep_head;
	int result;

	while ((result = stash__reply_read(&r->channel, &r->rep_head, &c->copy, &m)) > 0) {
		sort_reply(c, r, &m);
		(*n)++;
	}
	r->drained += r->rep_head - from;
	return result;
}

unsigned
stash__route_drain(struct stash_client *c, struct route *r)
{
	int down = stash__channel_down(&r->channel);
	char why[STASH__ERRMSG_MAX];
	unsigned n = 0;
	int result = take_replies(c, r, &n);

	if (r->drained >= r->channel.ring_bytes / 4) {
		r->drained = 0;
		stash__route_wake(r);
	}
	if (result == STASH_E_PROTO) {
		(void)broken(c, r);
	} else if (down != 0) {
		/* Everything that was published before the mark has been taken. */
		if (down == STASH_E_PROTO)
			snprintf(why, sizeof why, "the channel to %s was closed: what became of its calls isn't known",
			    r->name);
		else
			snprintf(why, sizeof why, "%s is stopped and won't come back by itself", r->name);
		end(c, r, down, why);
	}
	return n;
}
