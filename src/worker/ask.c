/* SPDX-License-Identifier: ISC */
/*
 * ask.c: what a worker sends to others: requests whose answer comes as a message, and the client that it may borrow,
 * whose casts and sends go by the worker's own ways and whose calls block.  What a callback sends leaves with the entry
 * of its transition, what a handler of events sends with one of its own, before the handler is told that it was sent.
 */
#include <string.h>

#include <stash/client.h>
#include <stash/worker.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/name.h"
#include "client/client.h"
#include "worker/worker.h"

/* Callbacks, and handlers of events on the worker's thread. */
static int
check_context(const struct stash_worker *w, const char *function)
{
	if (w == NULL)
		return stash__fail(STASH_E_INVAL, "%s() without a worker", function);
	if (!pthread_equal(pthread_self(), w->thread))
		return stash__fail(STASH_E_INVAL, "%s() may only be called on the worker's thread", function);
	if (w->unsent < 0)
		return stash__fail(w->unsent, "%s(): nothing can be put into the slot of %s", function, w->start.name);
	return STASH_OK;
}

/* There is no transition that a handler of events could leave it to: the next one may kill the worker.  If that entry
 * can't be written, nothing can: the loop ends, and the next incarnation goes on from what is in the slot. */
static int
leave(struct stash_worker *w)
{
	uint64_t before = w->entry;

	if (w->in_callback)
		return STASH_OK;
	w->unsent = stash__submit(w, 0);
	return w->entry != before ? STASH_OK : w->unsent;
}

static int
check_message(const char *function, const char *name, const char *tag, const void *data, size_t len)
{
	int result;

	if (name == NULL || tag == NULL || (data == NULL && len > 0))
		return stash__fail(STASH_E_INVAL, "%s() without a name, a tag, or its data", function);
	result = stash__check_name(name);
	if (result == STASH_OK)
		result = stash__check_tag(tag);
	if (result == STASH_OK && len > STASH_DATA_MAX)
		result = stash__fail(
		    STASH_E_TOOBIG, "a payload of %zu bytes is over the limit of %d", len, STASH_DATA_MAX);
	return result;
}

int
stash_request(struct stash_worker *w, const char *name, const char *tag, const void *data, size_t len, int timeout_ms,
    int64_t *ref)
{
	struct stash__record head = { .kind = STASH__RECORD_REQUEST };
	struct way *way = NULL;
	uint64_t tail;
	int result = check_context(w, "stash_request");

	if (result == STASH_OK)
		result = check_message("stash_request", name, tag, data, len);
	if (result == STASH_OK && w->nrecords >= STASH__RECORDS_MAX)
		result = stash__fail(
		    STASH_E_BUSY, "%s has %u requests and messages to itself open", w->start.name, w->nrecords);
	if (result == STASH_OK)
		result = stash__way_get(w, name, stash__deadline_ns(STASH_TIMEOUT), &way);
	if (result != STASH_OK)
		return result;
	head.deadline = stash__deadline_ns(timeout_ms);
	tail = way->req_tail;
	result = stash__way_write(w, way, STASH_MSG_CALL, tag, data, len, head.deadline);
	if (result < 0)
		return result;
	head.ref = w->next_request_ref;
	head.place = way->place;
	head.number = way->req_count;
	result = stash__record_add(w, &head, tag, NULL, 0);
	if (result < 0) {
		stash__way_unwrite(way, tail); /* nobody would know of its answer */
		return result;
	}
	w->next_request_ref++;
	if (ref != NULL)
		*ref = head.ref;
	return leave(w);
}

/* ---- the client of a worker ---- */

static int
cast(void *arg, const char *function, const char *name, uint32_t kind, const char *tag, const void *data, size_t len)
{
	struct stash_worker *w = arg;
	struct way *way = NULL;
	int result = check_context(w, function);

	if (result == STASH_OK)
		result = check_message(function, name, tag, data, len);
	if (result == STASH_OK)
		result = stash__way_get(w, name, stash__deadline_ns(STASH_TIMEOUT), &way);
	if (result == STASH_OK)
		result = stash__way_write(w, way, kind, tag, data, len, INT64_MAX);
	return result != STASH_OK ? result : leave(w);
}

static int
may_call(void *arg, const char *function, const char *name)
{
	const struct stash_worker *w = arg;
	int result = stash__worker_in_callback(w, function);

	if (result == STASH_OK && name != NULL && strcmp(name, w->start.name) == 0)
		result = stash__fail(STASH_E_DEADLOCK, "%s would wait for its own answer", name);
	return result;
}

static const struct stash__client_hooks hooks = { cast, may_call };

struct stash_client *
stash_worker_client(struct stash_worker *w)
{
	if (check_context(w, "stash_worker_client") < 0)
		return NULL;
	if (w->client == NULL)
		w->client = stash__client_of_worker(w->dir, w->start.name, &hooks, w);
	return w->client;
}

void
stash__ask_free(struct stash_worker *w)
{
	stash_client_close(w->client);
	w->client = NULL;
}
