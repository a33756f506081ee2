/* SPDX-License-Identifier: ISC */
/*
 * fold.c: rounds.  T is the clock; every slot that is awake has its entries stamped before T folded into its base.
 * So all slots are folded as of one moment, and what is committed right behind a round holds no transition without
 * those that it rests on.  Never waits for the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "shm/bell.h"
#include "stash/inside.h"

#define QUIET_NS (50 * STASH__NS_PER_MS)   /* after that long without an entry a slot leaves the rounds */
#define COMPLAIN_NS (10 * STASH__NS_PER_S) /* how often a slot that can't be folded is logged */
#define DEATHS 2			   /* of this process on one entry: then it is broken */

/* ---- blame: an entry on which this process itself crashed twice is never looked at again ---- */

static _Thread_local struct {
	stash__word *word; /* of the slot in hand; NULL: none */
	uint64_t number;
} looking;

void
stash__blame(void)
{
	uint64_t was, times;

	if (looking.word == NULL)
		return;
	was = atomic_load(looking.word);
	times = was >> 8 == looking.number ? (was & 0xff) + 1 : 1;
	atomic_store(looking.word, looking.number << 8 | times);
}

static bool
is_blamed(const struct slot *slot)
{
	uint64_t blame = atomic_load(&slot->in.page->blame);

	return blame >> 8 == slot->base.entry + 1 && (blame & 0xff) >= DEATHS;
}

/* ---- one slot ---- */

void
stash__slot_break(struct stash *s, struct slot *slot, const char *why)
{
	slot->broken = true;
	atomic_fetch_add(&s->status->broken, 1);
	stash__log(LOG_ERR, "%s handed in something broken behind entry %llu, which counts: %s", slot->name,
	    (unsigned long long)slot->base.entry, why);
	if (s->greeted && !slot->retiring)
		stash__answer_broken(s, slot->name, why);
}

static void
complain(struct stash *s, const struct slot *slot)
{
	int64_t now = stash__now_ns();

	if (now < s->complained)
		return;
	s->complained = now + COMPLAIN_NS;
	stash__log(LOG_ERR, "%s can't be folded now, its worker waits: %s", slot->name, stash_errmsg());
}

/* The ring may have moved, to where the file has grown. */
static int
follow(struct stash *s, struct slot *slot)
{
	int result;

	if (atomic_load_explicit(&slot->out.page->ring, memory_order_acquire) == slot->out.ring_word)
		return STASH_OK;
	slot->out.fd = stash__slot_file_open(s, slot->name, "out", O_RDONLY);
	if (slot->out.fd < 0)
		return slot->out.fd;
	result = stash__out_follow(&slot->out);
	close(slot->out.fd);
	slot->out.fd = -1;
	return result;
}

/* All entries up to the tail; how many, and whether one of them had an image. */
static int
take_all(struct stash *s, struct slot *slot, uint64_t tail, int64_t t, int *taken, bool *image)
{
	int result = 1;

	looking.number = slot->base.entry + 1;
	looking.word = &slot->in.page->blame;
	while (result == 1 && slot->base.out_head != tail) {
		uint64_t changed = slot->base.changed;

		if (is_blamed(slot))
			result = stash__fail(STASH_E_CORRUPT, "an entry has crashed the stash process twice");
		else
			result = stash__entry_take(s, slot, tail, t);
		if (result != 1)
			break;
		looking.number = slot->base.entry + 1;
		looking.word = &slot->in.page->blame; /* the half may have been mapped anew */
		*image = *image || slot->base.changed != changed;
		(*taken)++;
	}
	looking.word = NULL;
	return result;
}

int
stash__fold(struct stash *s, struct slot *slot, int64_t t)
{
	uint64_t tail = atomic_load_explicit(&slot->out.page->out_tail, memory_order_acquire);
	int taken = 0, result;
	bool image = false;

	if (slot->broken || tail == slot->base.out_head)
		return 0;
	result = follow(s, slot);
	if (result == STASH_OK)
		result = take_all(s, slot, tail, t, &taken, &image);
	if (taken > 0) {
		stash__slot_publish(s, slot, image ? stash__entry_image(&s->newest) : NULL);
		atomic_fetch_add_explicit(&s->status->entries, (uint64_t)taken, memory_order_relaxed);
	}
	if (result == STASH_E_CORRUPT)
		stash__slot_break(s, slot, stash_errmsg());
	else if (result < 0)
		complain(s, slot);
	return result < 0 ? result : taken;
}

/* ---- who is looked at ---- */

void
stash__slot_activate(struct stash *s, struct slot *slot)
{
	slot->busy = stash__now_ns();
	if (slot->active)
		return;
	slot->active = true;
	atomic_store_explicit(&slot->in.page->stash_asleep, 0, memory_order_relaxed);
	TAILQ_REMOVE(&s->sleeping, slot, turn);
	TAILQ_INSERT_TAIL(&s->active, slot, turn);
}

static bool
has_news(const struct slot *slot)
{
	return !slot->broken &&
	    atomic_load_explicit(&slot->out.page->out_tail, memory_order_acquire) != slot->base.out_head;
}

/* The sleeper's half of bell.h: say it, look once more. */
static void
fall_asleep(struct stash *s, struct slot *slot)
{
	atomic_store_explicit(&slot->in.page->stash_asleep, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	if (has_news(slot)) {
		atomic_store_explicit(&slot->in.page->stash_asleep, 0, memory_order_relaxed);
		slot->busy = stash__now_ns();
		return;
	}
	slot->active = false;
	TAILQ_REMOVE(&s->active, slot, turn);
	TAILQ_INSERT_TAIL(&s->sleeping, slot, turn);
}

static void
wake_sleepers(struct stash *s)
{
	struct slot *slot, *next;

	TAILQ_FOREACH_SAFE(slot, &s->sleeping, turn, next) {
		if (has_news(slot))
			stash__slot_activate(s, slot);
	}
}

/*
 * A whole round looks at the sleepers too, after T: a worker may publish before it rings, and what another one then
 * makes of it must not be on the disk without it.
 */
void
stash__round(struct stash *s, bool whole)
{
	struct slot *slot, *next;
	int64_t t = stash__now_ns();
	bool some = false, bell = stash__bell_clear(s->bell);

	s->round = t;
	s->round_whole = whole || bell;
	if (s->round_whole)
		wake_sleepers(s);
	TAILQ_FOREACH_SAFE(slot, &s->active, turn, next) {
		if (stash__fold(s, slot, t) != 0) {
			slot->busy = t;
			some = true;
		}
		if (slot->broken || t - slot->busy > QUIET_NS)
			fall_asleep(s, slot);
	}
	stash__rows_look(s);
	s->urgent = stash__commit_urgent(s);
	if (some)
		atomic_fetch_add_explicit(&s->status->rounds, 1, memory_order_relaxed);
	s->next_fold = TAILQ_EMPTY(&s->active) && !s->rows.active ? INT64_MAX : t + s->fold_interval;
}
