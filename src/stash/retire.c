/* SPDX-License-Identifier: ISC */
/*
 * retire.c: the end of an incarnation that is dead: its slot folded whole, the verdict on the message it had in
 * hand, the fence; all in one turn of the base, so that whoever asks again gets the same answer.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include <stash/behaviour.h>

#include "base/error.h"
#include "base/point.h"
#include "stash/inside.h"

#define MAX_ATTEMPTS 3

/* What the black box tells of the death; all zero if the box isn't of this incarnation. */
struct death {
	uint64_t hand;
	uint32_t phase, batch, asked;
	uint32_t crash; /* as struct stash__crash's present */
	int32_t sender;
};

static void
read_box(const struct slot *slot, uint64_t incarnation, uint32_t cause, struct death *d)
{
	const struct stash__box *box = slot->out.box;

	memset(d, 0, sizeof *d);
	/* The next one may have put its number there already; it touches nothing else before its go. */
	if (cause == STASH__CAUSE_NEVER || atomic_load(&slot->out.page->owner) < incarnation)
		return;
	d->hand = atomic_load(&box->in_hand);
	if (STASH__HAND_INCARNATION(d->hand) != (incarnation & 0xffff))
		d->hand = 0;
	d->phase = atomic_load(&box->phase);
	d->batch = atomic_load(&box->batch);
	d->asked = (uint32_t)atomic_load(&box->asked);
	d->crash = box->crash.present;
	d->sender = box->crash.sender;
}

static bool
own_fault(const struct death *d, int status, uint32_t cause)
{
	if (cause == STASH__CAUSE_STUCK || d->crash == 2)
		return true;
	if (d->crash == 1)
		return d->sender == 0;
	if (cause != STASH__CAUSE_EXIT || status == -1)
		return false;
	if (WIFSIGNALED(status))
		return WTERMSIG(status) != SIGKILL;
	return d->asked == 0;
}

static uint32_t
reason_of(const struct slot *slot, bool fault, int status, uint32_t cause)
{
	if (cause == STASH__CAUSE_NEVER)
		return slot->base.last_reason;
	if (status == -1 || WIFSIGNALED(status))
		return fault ? STASH_REASON_CRASH : STASH_REASON_KILLED;
	if (WEXITSTATUS(status) == 0)
		return STASH_REASON_NORMAL;
	return WEXITSTATUS(status) == STASH_EXIT_SHUTDOWN ? STASH_REASON_SHUTDOWN : STASH_REASON_CRASH;
}

/* Whether the message in hand is one that the fold doesn't have; *number is then all of its number. */
static bool
is_beyond(const struct slot *slot, uint64_t hand, uint64_t *number)
{
	uint32_t place = STASH__HAND_PLACE(hand);
	int32_t ahead;

	if (place == STASH__PLACE_RECORD)
		return stash__record_find(slot, STASH__HAND_NUMBER(hand), number) >= 0;
	if (hand == 0 || place == STASH__PLACE_NONE || place >= slot->base.nrows || slot->rows[place].used == 0)
		return false;
	ahead = (int32_t)(STASH__HAND_NUMBER(hand) - (uint32_t)slot->rows[place].req_count);
	*number = slot->rows[place].req_count + (uint64_t)(int64_t)ahead;
	return ahead > 0;
}

/* A continue is no message but a part of what asked for it, like init: it runs until it has run. */
static bool
is_continue(const struct slot *slot, const struct verdict *v)
{
	uint64_t id;

	return v->place == STASH__PLACE_RECORD &&
	    stash__record_find(slot, (uint32_t)v->number, &id) == STASH__RECORD_CONTINUE;
}

static void
judge(const struct slot *slot, const struct death *d, uint32_t cause, uint32_t max_attempts, struct verdict *v)
{
	const struct stash__base *base = &slot->base;
	bool same;

	if (!is_beyond(slot, d->hand, &v->number)) {
		v->number = 0;
		return;
	}
	v->place = STASH__HAND_PLACE(d->hand);
	same = base->again_place == v->place && base->again_number == v->number;
	v->attempts = same ? base->again_attempts : 0;
	if (v->fault && d->phase != STASH__PHASE_CALLBACK && d->batch > 1) {
		v->verdict = STASH__VERDICT_CAREFUL;
		return;
	}
	if (cause == STASH__CAUSE_LOSS && !v->fault) {
		v->verdict = STASH__VERDICT_AGAIN;
		return;
	}
	v->attempts++;
	v->verdict = (v->fault || v->attempts >= max_attempts) && !is_continue(slot, v) ? STASH__VERDICT_ASIDE :
											  STASH__VERDICT_AGAIN;
}

/* The verdict in the base: for the next incarnation, and for who asks again. */
static void
record(struct slot *slot, const struct death *d, const struct verdict *v)
{
	struct stash__base *base = &slot->base;

	base->last_verdict = (uint8_t)v->verdict;
	base->last_fault = v->fault;
	base->last_place = v->place;
	base->last_number = v->number;
	base->last_attempts = (uint16_t)v->attempts;
	if (v->fault)
		base->crashes++;
	if (v->verdict == STASH__VERDICT_NONE) {
		if (d->hand != 0 && base->careful == 0 && STASH__HAND_PLACE(d->hand) == STASH__PLACE_NONE) {
			base->careful = 1;
			base->again_place = STASH__PLACE_NONE;
		}
		return;
	}
	if (v->verdict == STASH__VERDICT_ASIDE && v->place == STASH__PLACE_RECORD)
		stash__record_drop(slot, v->number);
	else if (v->verdict == STASH__VERDICT_ASIDE)
		slot->rows[v->place].aside = v->number;
	base->careful = 1;
	base->again_place = v->place;
	base->again_number = v->number;
	base->again_attempts = v->verdict == STASH__VERDICT_ASIDE ? 0 : v->attempts;
}

/* Nothing is kept of a state that isn't persistent but its positions. */
static void
forget(struct slot *slot)
{
	if (slot->persist)
		return;
	slot->base.version = 0;
	slot->base.image_len = 0;
	slot->base.layout_version = 0;
	memset(slot->base.layout, 0, sizeof slot->base.layout);
}

/* Folds what is left; what stands behind a broken entry is thrown away, now that nobody writes there. */
static int
fold_whole(struct stash *s, struct slot *slot)
{
	int result;

	slot->retiring = true;
	result = stash__fold(s, slot, INT64_MAX);
	slot->retiring = false;
	if (slot->broken || (result >= 0 && stash__slot_is_damaged(s, slot))) {
		result = stash__slot_mend(s, slot);
		if (result == STASH_OK) {
			slot->broken = false;
			atomic_store(&slot->in.page->blame, 0);
		}
	}
	if (result >= 0)
		result = stash__slot_reserve(
		    s, slot, slot->base.nrows, stash__slot_payload(slot, slot->base.image_len));
	return result < 0 ? result : STASH_OK;
}

int
stash__retire(struct stash *s, struct slot *slot, uint64_t incarnation, int status, uint32_t cause,
    uint32_t max_attempts, struct verdict *v)
{
	struct death d;
	int result;

	memset(v, 0, sizeof *v);
	if (slot->base.fence >= incarnation) {
		if (slot->base.fence == incarnation)
			*v = (struct verdict){ slot->base.last_verdict, slot->base.last_place, slot->base.last_attempts,
				slot->base.last_number, slot->base.last_fault != 0 };
		return STASH_OK;
	}
	result = fold_whole(s, slot);
	if (result < 0)
		return result;
	STASH_POINT("stash_in_retire");
	read_box(slot, incarnation, cause, &d);
	v->fault = own_fault(&d, status, cause);
	judge(slot, &d, cause, max_attempts == 0 ? MAX_ATTEMPTS : max_attempts, v);
	record(slot, &d, v);
	slot->base.last_reason = reason_of(slot, v->fault, status, cause);
	slot->base.retired++;
	slot->base.fence = incarnation;
	forget(slot);
	stash__slot_publish(s, slot, NULL);
	STASH_POINT("stash_after_retire");
	return STASH_OK;
}
