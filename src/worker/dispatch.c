/* SPDX-License-Identifier: ISC */
/*
 * dispatch.c: one message through its callback.
 * The black box names it before user code runs.  What the callback did counts only when it returns without an error;
 * else state, replies and posts are as they were before, and the worker ends.
 */
#include <string.h>

#include <stash/worker.h>
#include <syslog.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/point.h"
#include "worker/worker.h"

static const char crashed[] = "this message crashed its worker and was set aside; it is not in the state";
static const char full[] = "the worker has no room for a larger state: the call was not run";

static void
note(struct stash_worker *w, const struct stash_msg *msg, uint64_t hand)
{
	struct stash__box *box = w->out.box;
	size_t n = strnlen(msg->tag, STASH_TAG_MAX);

	memcpy(box->tag, msg->tag, n);
	box->tag[n] = '\0';
	atomic_store_explicit(&box->kind, msg->kind, memory_order_relaxed);
	atomic_store_explicit(&box->attempt, msg->attempt, memory_order_relaxed);
	atomic_store_explicit(&box->len, msg->len, memory_order_relaxed);
	atomic_store_explicit(&box->batch, w->batch, memory_order_relaxed);
	atomic_store_explicit(&box->since, (uint64_t)w->now, memory_order_relaxed);
	atomic_store_explicit(&box->in_hand, hand, memory_order_release);
	atomic_store_explicit(&box->phase, STASH__PHASE_CALLBACK, memory_order_release);
}

static int
callback(struct stash_worker *w, const struct stash_msg *msg)
{
	const struct stash_behaviour *b = w->behaviour;

	switch (msg->kind) {
	case STASH__KIND_CONTINUE:
		return b->handle_continue != NULL ?
		    b->handle_continue(w, w->state, msg->tag) :
		    stash_fail(w, "%s is to continue with %s and has no handle_continue", b->name, msg->tag);
	case STASH_MSG_CALL:
		return b->handle_call != NULL ? b->handle_call(w, w->state, msg) : STASH_E_UNKNOWN;
	case STASH_MSG_CAST:
		return b->handle_cast != NULL ? b->handle_cast(w, w->state, msg) : STASH_E_UNKNOWN;
	default:
		if (b->handle_info != NULL)
			return b->handle_info(w, w->state, msg);
		stash_log(w, LOG_WARNING, "message %s dropped: the behaviour %s has no handle_info", msg->tag, b->name);
		return STASH_OK;
	}
}

/* The callback's change, if any, becomes part of the batch. */
static void
keep(struct stash_worker *w)
{
	stash__state_keep(w);
	stash__task_release(w);
	stash__records_keep(w);
}

/* The continue that the callback has asked for comes before the next message.  One of init that is due already, since
 * a predecessor died before it had run, is the same one. */
static int
keep_continue(struct stash_worker *w, bool in_init)
{
	struct stash__record head = { .kind = STASH__RECORD_CONTINUE };
	char tag[STASH_TAG_MAX + 1];

	if (w->continue_tag[0] == '\0')
		return STASH_OK;
	memcpy(tag, w->continue_tag, sizeof tag);
	w->continue_tag[0] = '\0';
	w->cut = true;
	return in_init && stash__continue_is_due(w, tag) ? STASH_OK : stash__record_add(w, &head, tag, NULL, 0);
}

/* The callback failed: as if this message had not been.  Those before it count; if they can't be told from it, they
 * are done again, as after a signal. */
static void
fail(struct stash_worker *w, const struct stash_msg *msg, uint64_t hand, int result)
{
	char text[STASH__BOX_TEXT];
	struct mailbox *mb = w->last_taken;
	const char *why = w->failed_in_words ? stash_errmsg() : stash_strerror(result);
	bool whole = stash__state_whole(w);

	if (result == STASH_E_UNKNOWN && !w->failed_in_words) {
		(void)stash__fail(result, "%s knows no message %s", w->start.name, msg->tag);
		why = stash_errmsg();
	}
	strncpy(text, why, sizeof text - 1);
	text[sizeof text - 1] = '\0';
	stash__state_restore(w);
	stash__mailbox_rollback(w);
	stash__task_drop(w);
	stash__ways_rollback(w);
	stash__records_drop(w);
	if (mb != NULL) {
		mb->req_head = w->hand_head;
		mb->req_count--;
	}
	w->batch--;
	if (w->batch > 0 && !whole)
		(void)stash__submit(w, 0);
	w->lost_batch = whole;
	w->batch = 1;
	note(w, msg, hand);
	/* Of one that is left alone it was hardly this message's fault: the next one tries it again. */
	if (!w->abandoned)
		stash__crash_note(w, result, text);
	w->ending = result;
}

/* Judges what the callback returned. */
static void
judge(struct stash_worker *w, const struct stash_msg *msg, uint64_t hand, int result)
{
	bool call = msg->kind == STASH_MSG_CALL;

	if (result == STASH_CONTINUE && w->continue_tag[0] != '\0')
		result = STASH_OK;
	if (result == STASH_NOREPLY && (call || msg->kind == STASH__KIND_CONTINUE)) {
		keep(w);
		(void)keep_continue(w, false);
		return;
	}
	if (result != STASH_OK && result != STASH_STOP && result != STASH_STOP_SHUTDOWN) {
		if (result > 0) {
			result = stash__fail(STASH_E_INVAL,
			    "the callback for %s returned %d, which is no result of its kind", msg->tag, result);
			w->failed_in_words = true;
		}
		fail(w, msg, hand, result);
		return;
	}
	if (call && !w->replied)
		(void)stash__mailbox_reply(w, w->from, w->message.head.number, STASH_OK, 0, NULL, 0);
	keep(w);
	if (result == STASH_OK)
		(void)keep_continue(w, false);
	if (result != STASH_OK) {
		atomic_store(&w->out.box->asked, result == STASH_STOP ? 1 : 2);
		w->ending = result;
	}
}

void
stash__dispatch(struct stash_worker *w, const struct stash_msg *msg, uint64_t hand)
{
	int result;

	w->batch++;
	note(w, msg, hand);
	STASH_POINT("worker_taken");
	w->replied = w->failed_in_words = false;
	w->continue_tag[0] = '\0';
	w->in_callback = true;
	result = callback(w, msg);
	w->in_callback = false;
	STASH_POINT("worker_replied");
	atomic_store_explicit(&w->out.box->phase, STASH__PHASE_BETWEEN, memory_order_release);
	judge(w, msg, hand, result);
}

static uint32_t
attempt(const struct stash_worker *w, const struct mailbox *mb, uint64_t number)
{
	const struct stash__base *b = w->base;

	return b->again_attempts > 0 && b->again_place == mb->place && b->again_number == number ?
	    b->again_attempts + 1 :
	    1;
}

void
stash__dispatch_request(struct stash_worker *w, struct mailbox *mb)
{
	const struct stash__message *m = &w->message;
	struct stash_msg msg = {
		.tag = m->tag,
		.data = m->data,
		.len = m->head.len,
		.kind = m->head.kind,
		.attempt = attempt(w, mb, m->head.number),
		.uid = mb->uid,
		.pid = mb->pid,
	};

	if (m->head.number == mb->aside) {
		w->batch++;
		if (m->head.kind == STASH_MSG_CALL)
			(void)stash__mailbox_reply(
			    w, mb, m->head.number, STASH_E_CRASHED, 0, crashed, sizeof crashed - 1);
		return;
	}
	if (m->head.kind == STASH_MSG_CALL) {
		if (m->head.deadline < w->now) {
			w->batch++;
			return;
		}
		/* It was sent before its client saw the mark. */
		if (w->no_room) {
			w->batch++;
			(void)stash__mailbox_reply(w, mb, m->head.number, STASH_E_FULL, 0, full, sizeof full - 1);
			return;
		}
		w->from = mb;
		memcpy(msg.from.word, mb->channel.id, STASH__ID);
		msg.from.word[2] = m->head.number;
		msg.from.word[3] = (uint64_t)m->head.deadline;
	}
	stash__dispatch(w, &msg, STASH__HAND(w->start.incarnation, mb->place, m->head.number));
}

int
stash__dispatch_init(struct stash_worker *w)
{
	int result = STASH_OK;

	w->failed_in_words = false;
	if (w->behaviour->init != NULL) {
		w->in_callback = true;
		result = w->behaviour->init(w, w->state, &w->init);
		w->in_callback = false;
	}
	if (result == STASH_OK || (result == STASH_CONTINUE && w->continue_tag[0] != '\0')) {
		keep(w);
		return keep_continue(w, true);
	}
	if (result == STASH_IGNORE)
		return result;
	if (result > 0)
		return stash__fail(
		    STASH_E_INVAL, "init of %s returned %d, which is no result of it", w->start.name, result);
	if (!w->failed_in_words)
		return stash__fail(result, "init of %s failed: %s", w->start.name, stash_strerror(result));
	return result;
}

void
stash__dispatch_terminate(struct stash_worker *w, enum stash_reason reason)
{
	if (w->ending >= 0) {
		atomic_store(&w->out.box->in_hand, 0);
		stash__worker_phase(w, STASH__PHASE_TERMINATE);
	}
	if (w->behaviour->terminate == NULL)
		return;
	stash__mailbox_hand(w, NULL);
	w->in_callback = true;
	w->behaviour->terminate(w, w->state, reason);
	w->in_callback = false;
	keep(w);
	w->continue_tag[0] = '\0';
}
