/* SPDX-License-Identifier: ISC */
/*
 * record.c: what transitions leave to be done: messages to oneself, a continue, answers to requests, ends of monitored
 * workers.  It begins to exist with the entry of its transition, stands in the base from then on, and ends with the
 * entry of the transition that handled it; so a crash between neither loses nor doubles it.
 *
 *	asked (by the callback in hand) -> fresh (it has succeeded) -> open (in an entry) -> done -> gone (in an entry)
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "worker/worker.h"

static const char late[] = "no answer within the time given: whether it was done isn't known";

/* ---- the lists ---- */

static struct record *
make(const struct stash__record *head, const char *tag, const void *data, size_t len)
{
	struct record *r = aligned_alloc(16, (sizeof *r + len + 1 + 15) & ~(size_t)15);

	if (r == NULL) {
		(void)stash__fail(STASH_E_NOMEM, "no memory for a message of %zu bytes", len);
		return NULL;
	}
	memset(r, 0, sizeof *r);
	r->head = *head;
	r->head.len = (uint32_t)len;
	r->head.bytes = (uint32_t)stash__record_bytes(strlen(tag), len);
	memcpy(r->tag, tag, strlen(tag));
	if (len > 0)
		memcpy(r->data, data, len);
	r->data[len] = '\0';
	return r;
}

static void
count(struct stash_worker *w, const struct record *r)
{
	w->nrecords++;
	w->records_bytes += r->head.bytes;
}

static void
destroy(struct stash_worker *w, struct record_list *list, struct record *r)
{
	TAILQ_REMOVE(list, r, link);
	w->nrecords--;
	w->records_bytes -= r->head.bytes;
	free(r);
}

/* To those of the next entry, which wants their ids in order. */
static void
freshen(struct stash_worker *w, struct record *r)
{
	r->head.id = ++w->last_record;
	TAILQ_INSERT_TAIL(&w->fresh, r, link);
}

int
stash__record_add(
    struct stash_worker *w, const struct stash__record *head, const char *tag, const void *data, size_t len)
{
	struct record *r;

	/* A continue was promised when it was asked for, and comes before anything else could ask for another. */
	if (head->kind != STASH__RECORD_CONTINUE &&
	    (w->nrecords >= STASH__RECORDS_MAX || w->records_bytes + len > STASH__RECORDS_BYTES))
		return stash__fail(STASH_E_BUSY,
		    "%s has %u messages to itself and requests open, of %zu bytes: no more until some are done",
		    w->start.name, w->nrecords, w->records_bytes);
	r = make(head, tag, data, len);
	if (r == NULL)
		return STASH_E_NOMEM;
	count(w, r);
	if (w->in_callback)
		TAILQ_INSERT_TAIL(&w->asked, r, link);
	else
		freshen(w, r);
	return STASH_OK;
}

/* Not of the callback in hand, whatever becomes of it: and never refused, or an end would go unheard. */
int
stash__record_down(struct stash_worker *w, int64_t ref, uint64_t seq, const char *name, uint32_t reason)
{
	struct stash__record head = { .kind = STASH__RECORD_DOWN, .number = seq, .ref = ref, .code = (int32_t)reason };
	struct record *r;

	if (seq <= w->heard)
		return STASH_OK;
	r = make(&head, "DOWN", name, strlen(name));
	if (r == NULL)
		return STASH_E_NOMEM;
	w->heard = seq;
	count(w, r);
	freshen(w, r);
	return STASH_OK;
}

void
stash__records_forget_down(struct stash_worker *w, int64_t ref)
{
	struct record *r, *next;

	TAILQ_FOREACH(r, &w->open, link) {
		if (r->head.kind != STASH__RECORD_DOWN || r->head.ref != ref || r->done || r == w->record)
			continue;
		r->done = true;
		w->ndone++;
	}
	for (r = TAILQ_FIRST(&w->fresh); r != NULL; r = next) {
		next = TAILQ_NEXT(r, link);
		if (r->head.kind == STASH__RECORD_DOWN && r->head.ref == ref)
			destroy(w, &w->fresh, r);
	}
}

void
stash__records_keep(struct stash_worker *w)
{
	struct record *r;

	while ((r = TAILQ_FIRST(&w->asked)) != NULL) {
		TAILQ_REMOVE(&w->asked, r, link);
		freshen(w, r);
	}
}

void
stash__records_drop(struct stash_worker *w)
{
	while (!TAILQ_EMPTY(&w->asked))
		destroy(w, &w->asked, TAILQ_FIRST(&w->asked));
	w->continue_tag[0] = '\0';
}

int
stash__records_load(struct stash_worker *w)
{
	const unsigned char *at = stash__base_records(w->base), *end = at + w->base->records_bytes, *data;
	struct stash__record head;
	const char *tag;
	int result;

	w->last_record = w->base->last_record;
	w->heard = w->base->heard;
	stash__names_begin(w);
	w->next_request_ref = (int64_t)w->last_record + 1;
	while ((result = stash__record_next(&at, end, &head, &tag, &data)) == 1) {
		struct record *r = make(&head, tag, data, head.len);
		if (r == NULL)
			return STASH_E_NOMEM;
		TAILQ_INSERT_TAIL(&w->open, r, link);
		count(w, r);
	}
	return result;
}

void
stash__records_free_all(struct stash_worker *w)
{
	struct record_list *const lists[] = { &w->open, &w->fresh, &w->asked };

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		while (!TAILQ_EMPTY(lists[i]))
			destroy(w, lists[i], TAILQ_FIRST(lists[i]));
	stash__buf_fini(&w->records);
}

/* ---- into an entry ---- */

bool
stash__records_due(const struct stash_worker *w)
{
	return w->ndone > 0 || !TAILQ_EMPTY(&w->fresh);
}

static int
pack(struct stash_worker *w, struct stash__record *head, const struct record *r, bool whole)
{
	const char *tag = whole ? r->tag : "";
	size_t len = whole ? r->head.len : 0;
	unsigned char *at = stash__buf_extend(&w->records, stash__record_bytes(strlen(tag), len));

	if (at == NULL)
		return w->records.error;
	stash__record_put(at, head, tag, r->data, len);
	return STASH_OK;
}

int
stash__records_pack(struct stash_worker *w, const void **records, size_t *bytes)
{
	struct record *r;
	int result = STASH_OK;

	*records = NULL;
	*bytes = 0;
	if (!stash__records_due(w))
		return STASH_OK;
	stash__buf_reset(&w->records);
	TAILQ_FOREACH(r, &w->open, link) {
		struct stash__record done = { .kind = STASH__RECORD_DONE, .id = r->head.id };
		if (r->done && result == STASH_OK)
			result = pack(w, &done, r, false);
	}
	TAILQ_FOREACH(r, &w->fresh, link) {
		struct stash__record head = r->head;
		if (result == STASH_OK)
			result = pack(w, &head, r, true);
	}
	return result < 0 ? result : stash_buf_data(&w->records, records, bytes);
}

void
stash__records_entered(struct stash_worker *w)
{
	struct record *r, *next;

	if (!stash__records_due(w))
		return;
	for (r = TAILQ_FIRST(&w->open); w->ndone > 0 && r != NULL; r = next) {
		next = TAILQ_NEXT(r, link);
		if (!r->done)
			continue;
		w->ndone--;
		destroy(w, &w->open, r);
	}
	TAILQ_CONCAT(&w->open, &w->fresh, link);
}

/* ---- out of them ---- */

static uint32_t
attempt(const struct stash_worker *w, const struct record *r)
{
	const struct stash__base *b = w->base;

	return b->again_attempts > 0 && b->again_place == STASH__PLACE_RECORD && b->again_number == r->head.id ?
	    b->again_attempts + 1 :
	    1;
}

/* Hands it to its callback; then it is done, unless the callback has failed. */
static void
handle(struct stash_worker *w, struct record *r, struct stash_msg *msg)
{
	msg->tag = r->tag;
	msg->ref = r->head.ref;
	msg->attempt = attempt(w, r);
	w->record = r;
	stash__dispatch(w, msg, STASH__HAND(w->start.incarnation, STASH__PLACE_RECORD, r->head.id));
	w->record = NULL;
	if (w->ending < 0)
		return;
	r->done = true;
	w->ndone++;
}

void
stash__record_answer(
    struct stash_worker *w, struct record *r, int32_t code, int32_t app_code, const void *data, size_t len)
{
	struct stash_msg msg = {
		.kind = STASH_MSG_REPLY, .code = code, .app_code = app_code, .data = data, .len = len
	};

	handle(w, r, &msg);
}

static void
run(struct stash_worker *w, struct record *r)
{
	struct stash_msg msg = { .kind = STASH_MSG_POST, .data = r->data, .len = r->head.len };

	stash__mailbox_hand(w, NULL);
	if (r->head.kind == STASH__RECORD_REQUEST) {
		stash__record_answer(w, r, STASH_E_TIMEDOUT, 0, late, sizeof late - 1);
		return;
	}
	if (r->head.kind == STASH__RECORD_DOWN) {
		msg.kind = STASH_MSG_DOWN;
		msg.code = r->head.code;
	}
	handle(w, r, &msg);
}

static bool
is_ripe(const struct stash_worker *w, const struct record *r)
{
	if (r->done || r->head.kind == STASH__RECORD_CONTINUE)
		return false;
	return r->head.kind != STASH__RECORD_REQUEST || r->head.deadline <= w->now;
}

bool
stash__record_run(struct stash_worker *w)
{
	struct record *r;

	TAILQ_FOREACH(r, &w->open, link) {
		if (!is_ripe(w, r))
			continue;
		run(w, r);
		return true;
	}
	return false;
}

static struct record *
due_continue(const struct stash_worker *w)
{
	struct record *r;

	TAILQ_FOREACH(r, &w->open, link)
		if (r->head.kind == STASH__RECORD_CONTINUE && !r->done)
			return r;
	return NULL;
}

bool
stash__continue_is_due(const struct stash_worker *w, const char *tag)
{
	const struct record *r;

	TAILQ_FOREACH(r, &w->open, link)
		if (r->head.kind == STASH__RECORD_CONTINUE && !r->done && strcmp(r->tag, tag) == 0)
			return true;
	return false;
}

bool
stash__continue_run(struct stash_worker *w)
{
	struct record *r = due_continue(w);
	struct stash_msg msg = { .kind = STASH__KIND_CONTINUE };

	if (r == NULL)
		return false;
	stash__mailbox_hand(w, NULL);
	handle(w, r, &msg);
	return true;
}

bool
stash__record_waits(const struct stash_worker *w)
{
	const struct record *r;

	TAILQ_FOREACH(r, &w->open, link)
		if (is_ripe(w, r) || (r->head.kind == STASH__RECORD_CONTINUE && !r->done))
			return true;
	return stash__records_due(w);
}

struct record *
stash__record_request(const struct stash_worker *w, uint32_t place, uint64_t number)
{
	struct record *r;

	TAILQ_FOREACH(r, &w->open, link)
		if (r->head.kind == STASH__RECORD_REQUEST && !r->done && r->head.place == place &&
		    (r->head.number == number || number == 0))
			return r;
	return NULL;
}

bool
stash__record_is_open(const struct stash_worker *w, uint64_t id)
{
	const struct record *r;

	TAILQ_FOREACH(r, &w->open, link)
		if (r->head.id == id)
			return true;
	return false;
}

int64_t
stash__record_deadline(const struct stash_worker *w)
{
	int64_t next = INT64_MAX;
	const struct record *r;

	TAILQ_FOREACH(r, &w->open, link)
		if (r->head.kind == STASH__RECORD_REQUEST && !r->done && r->head.deadline < next)
			next = r->head.deadline;
	return next;
}
