/* SPDX-License-Identifier: ISC */
/*
 * mailbox.c: the channels of a worker.
 * Positions here are the worker's own copies; the channel's page is only written when something is published,
 * and what it says of the client is believed only as far as it has been checked.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "shm/bell.h"
#include "worker/worker.h"

#define REAP_MAX 64 /* rows deleted with one entry */

struct mailbox *
stash__mailbox_find(const struct stash_worker *w, const uint8_t id[STASH__ID])
{
	for (size_t i = 0; i < w->nmailboxes; i++)
		if (memcmp(w->mailboxes[i]->channel.id, id, STASH__ID) == 0)
			return w->mailboxes[i];
	return NULL;
}

/* ---- rows that are deleted ---- */

/* A supervisor that looks into the base before that entry is folded may offer it again, and another one later. */
static bool
is_deleted(const struct stash_worker *w, const uint8_t id[STASH__ID])
{
	for (size_t i = 0; i < w->ndeleted; i++)
		if (memcmp(w->deleted[i].id, id, STASH__ID) == 0)
			return true;
	return false;
}

/* By the last entry.  Those of folded ones are in no base any more. */
static void
note_deleted(struct stash_worker *w, const struct mailbox *mb)
{
	uint64_t head = atomic_load_explicit(&w->in.page->out_head, memory_order_acquire);
	struct stash__row *row = mb->place < w->base->nrows ?
	    (struct stash__row *)(uintptr_t)&stash__base_rows(w->base)[mb->place] :
	    NULL;
	struct deleted *more;
	size_t kept = 0;

	if (row != NULL && memcmp(row->id, mb->channel.id, STASH__ID) == 0)
		memset(row, 0, sizeof *row);
	for (size_t i = 0; i < w->ndeleted; i++)
		if (w->deleted[i].tail > head)
			w->deleted[kept++] = w->deleted[i];
	w->ndeleted = kept;
	more = reallocarray(w->deleted, kept + 1, sizeof *more);
	if (more == NULL)
		return; /* then it costs this incarnation if it is offered again */
	w->deleted = more;
	memcpy(more[kept].id, mb->channel.id, STASH__ID);
	more[kept].tail = atomic_load_explicit(&w->out.page->out_tail, memory_order_relaxed);
	w->ndeleted++;
}

/* ---- attach ---- */

static int
make_room(struct stash_worker *w)
{
	size_t room = w->room_mailboxes == 0 ? 16 : w->room_mailboxes * 2;
	void *mailboxes, *touched;

	if (w->nmailboxes < w->room_mailboxes)
		return STASH_OK;
	mailboxes = reallocarray(w->mailboxes, room, sizeof(struct mailbox *));
	if (mailboxes != NULL)
		w->mailboxes = mailboxes;
	touched = reallocarray(w->touched, room, sizeof(struct mailbox *));
	if (touched != NULL)
		w->touched = touched;
	if (mailboxes == NULL || touched == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for %zu channels", room);
	w->room_mailboxes = room;
	return STASH_OK;
}

/* The channel's row: in the base as it was at GO, else (a channel made since) in the base as it is now. */
static int
find_row(struct stash_worker *w, uint32_t place, const uint8_t id[STASH__ID], struct stash__row *row)
{
	struct stash__base *now = NULL;
	const struct stash__base *base = w->base;
	int result = STASH_OK;

	if (place >= base->nrows || memcmp(stash__base_rows(base)[place].id, id, STASH__ID) != 0) {
		result = stash__base_copy(&w->in, &now);
		if (result < 0)
			return result;
		base = now;
	}
	if (place < base->nrows && stash__base_rows(base)[place].used == STASH__USE_IN &&
	    memcmp(stash__base_rows(base)[place].id, id, STASH__ID) == 0)
		*row = stash__base_rows(base)[place];
	else
		result = stash__fail(
		    STASH_E_PROTO, "the channel isn't known here any more: what became of its calls isn't known");
	free(now);
	return result;
}

/* What was published must not lie beyond what the base knows: the store would have gone back in time. */
static int
check_positions(const struct stash__channel *c, const struct stash__row *row)
{
	uint64_t rep_tail = atomic_load(&c->page->rep_tail), req_head = atomic_load(&c->page->req_head);

	if (rep_tail > row->rep_bytes || req_head > row->req_bytes || atomic_load(&c->page->req_tail) < row->req_bytes)
		return stash__fail(STASH_E_PROTO,
		    "the channel has answers that the store doesn't know of: what became of its calls isn't known");
	return STASH_OK;
}

static int
open_mailbox(struct stash_worker *w, struct mailbox *mb, const struct offer *o, const struct stash__row *row)
{
	int result = o->file ? stash__channel_map_file(&mb->channel, o->memfd) :
			       stash__channel_map(&mb->channel, o->memfd);

	/* The supervisor made it, and is of our version: so a stray write did it. */
	if (result == STASH_E_FORMAT)
		result = stash__fail(STASH_E_PROTO, "what was handed over as a channel is none");
	if (result == STASH_OK && memcmp(mb->channel.id, o->id, STASH__ID) != 0)
		result = stash__fail(STASH_E_PROTO, "a channel was handed over under another one's id");
	if (result == STASH_OK)
		result = check_positions(&mb->channel, row);
	if (result == STASH_OK)
		result = make_room(w);
	if (result < 0)
		return result;
	mb->req_head = row->req_bytes;
	mb->req_count = row->req_count;
	mb->rep_tail = row->rep_bytes;
	mb->rep_count = row->rep_count;
	mb->aside = row->aside;
	return STASH_OK;
}

static void
free_mailbox(struct stash_worker *w, struct mailbox *mb)
{
	stash__mailbox_unwatch(w, mb);
	stash__channel_unmap(&mb->channel);
	if (mb->bell >= 0)
		close(mb->bell);
	free(mb->why);
	free(mb);
}

/*
 * A channel that can't be had: that is the channel's end, not the worker's.  But one for which only memory or a
 * descriptor is lacking is left to the next incarnation: casts that were acknowledged may be in it, and requests that
 * were handled, of which its client must not be told that they weren't.
 */
static int
refuse_offer(struct stash_worker *w, const struct offer *o, int error)
{
	if (error == STASH_E_NOMEM || error == STASH_E_SYSTEM)
		return error;
	stash__control_refused(w, o->id, error, stash_errmsg(), false);
	return STASH_OK;
}

int
stash__mailbox_attach(struct stash_worker *w, const struct offer *o)
{
	struct stash__row row = { .used = 0 };
	struct mailbox *mb = NULL;
	int result;

	if (is_deleted(w, o->id)) {
		if (o->bell >= 0)
			close(o->bell);
		stash__control_detached(w, o->id);
		return STASH_OK;
	}
	result = find_row(w, o->place, o->id, &row);
	if (result == STASH_OK && (mb = calloc(1, sizeof *mb)) == NULL)
		result = stash__fail(STASH_E_NOMEM, "no memory for a channel");
	if (mb == NULL) {
		if (o->bell >= 0)
			close(o->bell);
		return refuse_offer(w, o, result);
	}
	*mb = (struct mailbox){
		.bell = o->bell, .line = o->line, .place = o->place, .gone = o->gone, .uid = o->uid, .pid = o->pid
	};
	result = open_mailbox(w, mb, o, &row);
	if (result == STASH_OK && o->line && o->bell >= 0)
		result = stash__mailbox_watch(w, mb);
	if (result < 0) {
		result = refuse_offer(w, o, result);
		free_mailbox(w, mb);
		return result;
	}
	w->mailboxes[w->nmailboxes++] = mb;
	stash__room_mark(w, mb);
	w->leaving += o->gone;
	/* The predecessor may have died before it published what is safe. */
	result = stash__publish(w, mb, w->base->changed);
	if (w->ask_disk)
		stash__bell_ring(w->stash_bell);
	w->ask_disk = false;
	if (!o->gone)
		stash__mailbox_ring(mb);
	return result;
}

void
stash__mailbox_gone(struct stash_worker *w, const uint8_t id[STASH__ID])
{
	struct mailbox *mb = stash__mailbox_find(w, id);

	if (mb == NULL) {
		stash__control_detached(w, id); /* refused or unknown: nothing here holds it */
		return;
	}
	w->leaving += !mb->gone && !mb->broken;
	mb->gone = true;
}

/* ---- messages ---- */

static void
touch(struct stash_worker *w, struct mailbox *mb)
{
	if (mb->touched)
		return;
	mb->touched = true;
	w->touched[w->ntouched++] = mb;
}

static void
mark(struct stash_worker *w, struct mailbox *mb)
{
	if (mb->mark == w->messages)
		return;
	mb->mark = w->messages;
	mb->mark_tail = mb->rep_tail;
	mb->mark_count = mb->rep_count;
	mb->mark_touched = mb->touched;
}

void
stash__mailbox_hand(struct stash_worker *w, struct mailbox *mb)
{
	w->messages++;
	w->from = NULL;
	w->last_taken = mb;
	if (mb == NULL)
		return;
	w->hand_head = mb->req_head;
	mark(w, mb);
}

void
stash__mailbox_rollback(struct stash_worker *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->ntouched; i++) {
		struct mailbox *mb = w->touched[i];
		if (mb->mark == w->messages) {
			mb->rep_tail = mb->mark_tail;
			mb->rep_count = mb->mark_count;
			mb->touched = mb->mark_touched;
		}
		if (mb->touched)
			w->touched[kept++] = mb;
	}
	w->ntouched = kept;
}

bool
stash__mailbox_ready(const struct mailbox *mb)
{
	if (!stash__request_waits(&mb->channel, mb->req_head) || mb->broken || mb->deleting || mb->waits)
		return false;
	/* One that breaks the rules is taken up, to be refused. */
	return mb->gone || stash__reply_room(&mb->channel, mb->rep_tail) ||
	    !stash__reply_sane(&mb->channel, mb->rep_tail);
}

/* A channel whose client breaks the rules; the reason is the thread's message.  It is let go of after this batch, since
 * earlier messages of it may be in hand; by an entry, since nobody else knows how far it got. */
static void
refuse(struct stash_worker *w, struct mailbox *mb)
{
	w->leaving += !mb->gone;
	mb->broken = true;
	mb->why = strdup(stash_errmsg());
}

int
stash__mailbox_take(struct stash_worker *w, struct mailbox *mb)
{
	uint64_t head = mb->req_head;
	int result;

	if (!stash__mailbox_ready(mb))
		return 0;
	if (!mb->gone && !stash__reply_sane(&mb->channel, mb->rep_tail))
		result = stash__fail(
		    STASH_E_PROTO, "the other side broke the channel's rules: replies are taken that were not given");
	else
		result = stash__request_read(&mb->channel, &head, mb->req_count, &w->copy, &w->message);
	if (result < 0)
		refuse(w, mb);
	/* 0: a client took back what it had sent, between two looks. */
	if (result <= 0)
		return 0;
	/* Whoever sent it may rely on it by now; a call gets an answer. */
	mb->waits = w->no_room && w->message.head.kind != STASH_MSG_CALL;
	if (mb->waits)
		return 0;
	stash__mailbox_hand(w, mb);
	touch(w, mb);
	mb->req_head = head;
	mb->req_count++;
	return 1;
}

/* Whether that is the answer to the call in hand, which has none yet. */
static bool
is_due(const struct stash_worker *w, const struct mailbox *mb, uint64_t number)
{
	return mb == w->from && number == w->message.head.number && !w->replied;
}

/* Behind *tail, which moves.  The call in hand was taken with room for its answer: one to another call of that channel
 * leaves that room alone. */
static int
write_reply(struct stash_worker *w, struct mailbox *mb, uint64_t *tail, uint64_t number, int32_t code, int32_t app_code,
    const void *data, size_t len)
{
	uint64_t end = *tail;
	int result = stash__reply_write(&mb->channel, &end, number, code, app_code, data, len);

	if (result < 0)
		return result;
	if (mb == w->from && !w->replied && number != w->message.head.number && !stash__reply_room(&mb->channel, end))
		return STASH_E_BUSY;
	*tail = end;
	return STASH_OK;
}

int
stash__mailbox_reply(struct stash_worker *w, struct mailbox *mb, uint64_t number, int32_t code, int32_t app_code,
    const void *data, size_t len)
{
	static const char toobig[] = "the reply doesn't fit into this client's channel: open it with larger rings";
	int result;

	if (mb->gone || mb->broken)
		return STASH_OK;
	mark(w, mb);
	result = write_reply(w, mb, &mb->rep_tail, number, code, app_code, data, len);
	if (result == STASH_E_TOOBIG && len <= STASH_DATA_MAX) /* this client's limit, not the worker's fault */
		result = write_reply(w, mb, &mb->rep_tail, number, STASH_E_PROTO, 0, toobig, sizeof toobig - 1);
	/* That room was there, and nothing here has used it: who took it back is no matter of the worker's. */
	if (result == STASH_E_BUSY && (is_due(w, mb, number) || !stash__reply_sane(&mb->channel, mb->rep_tail))) {
		(void)stash__fail(
		    STASH_E_PROTO, "the other side broke the channel's rules: the room for a reply is gone");
		refuse(w, mb);
		return STASH_OK;
	}
	if (result < 0)
		return result;
	mb->rep_count++;
	touch(w, mb);
	return STASH_OK;
}

/* ---- the end of a channel ---- */

bool
stash__mailbox_reap(struct stash_worker *w)
{
	unsigned n = 0;

	for (size_t i = 0; w->leaving > 0 && i < w->nmailboxes && n < REAP_MAX; i++) {
		struct mailbox *mb = w->mailboxes[i];
		if (mb->deleting || (!mb->gone && !mb->broken))
			continue;
		if (!mb->broken && stash__request_waits(&mb->channel, mb->req_head))
			continue;
		mb->deleting = true;
		touch(w, mb);
		n++;
	}
	return n > 0;
}

/* Nothing points to it any more. */
static void
forget(struct stash_worker *w, struct mailbox *mb)
{
	for (size_t i = w->first_pending; i < w->npending; i++)
		if (w->pending[i].mailbox == mb)
			w->pending[i].mailbox = NULL;
	if (w->last == mb)
		w->last = NULL;
	if (w->last_taken == mb)
		w->last_taken = NULL;
	if (w->from == mb)
		w->from = NULL;
}

void
stash__mailbox_sweep(struct stash_worker *w)
{
	size_t kept = 0;

	if (w->leaving == 0)
		return;
	for (size_t i = 0; i < w->nmailboxes; i++) {
		struct mailbox *mb = w->mailboxes[i];
		if (!mb->deleting) {
			w->mailboxes[kept++] = mb;
			continue;
		}
		note_deleted(w, mb);
		if (mb->broken)
			stash__control_refused(w, mb->channel.id, STASH_E_PROTO,
			    mb->why != NULL ? mb->why : "the other side broke the channel's rules", true);
		else
			stash__control_detached(w, mb->channel.id);
		w->leaving--;
		forget(w, mb);
		free_mailbox(w, mb);
	}
	w->nmailboxes = kept;
}

void
stash__mailbox_free_all(struct stash_worker *w)
{
	for (size_t i = 0; i < w->nmailboxes; i++)
		free_mailbox(w, w->mailboxes[i]);
	free(w->mailboxes);
	free(w->deleted);
	free(w->touched);
	free(w->positions);
	free(w->pending);
}
