/* SPDX-License-Identifier: ISC */
/*
 * wait.c: requests that are answered when a commit that began after them is over: scan, sync, close, shutdown.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/error.h"
#include "shm/rows.h"
#include "stash/inside.h"

struct waiter *
stash__wait_add(struct stash *s, int64_t type, int64_t number)
{
	struct waiter *w = calloc(1, sizeof *w);

	if (w == NULL) {
		stash__fail(STASH_E_NOMEM, "no memory for a request");
		return NULL;
	}
	w->type = type;
	w->fd = -1;
	w->number = number;
	STAILQ_INSERT_TAIL(&s->waiters, w, link);
	return w;
}

static void
done(struct stash *s, const struct waiter *w, int result)
{
	stash__answer(s, STASH__S_DONE, w->number, result);
	stash__answer_send(s, NULL, 0);
}

/* Reads without the table lock: what is on its way into the slots doesn't wait for it. */
static void
scan(struct stash *s, const struct waiter *w)
{
	struct store_slice slice;
	int memfd = -1, result;

	pthread_mutex_unlock(&s->table);
	result = stash__scan(s, &w->scan, &memfd, &slice);
	pthread_mutex_lock(&s->table);
	stash__answer(s, STASH__S_ROWS, w->number, result);
	if (result == STASH_OK) {
		stash_buf_add_int(&s->message, slice.rows);
		stash_buf_add_int(&s->message, !slice.more);
	}
	stash__answer_send(s, &memfd, result == STASH_OK ? 1 : 0);
	if (memfd >= 0)
		close(memfd);
}

/* Whether all of it is stored; 1: there is something new, to be committed first. */
static int
is_stored(const struct slot *slot)
{
	if (slot->unsaved)
		return 1;
	if (slot->persist && slot->base.changed > slot->durable)
		return stash__fail(STASH_E_CORRUPT, "the state of %s can't be stored, its slot is kept", slot->name);
	return STASH_OK;
}

/* Both give 1 when they have to wait for another commit. */
static int
close_slot(struct stash *s, const struct waiter *w, int result)
{
	struct slot *slot = stash__slot_find(s, w->name);

	if (slot == NULL)
		return result;
	if (result == STASH_OK)
		result = is_stored(slot);
	if (result == 1)
		return 1;
	slot->closing = false;
	if (result == STASH_OK && !w->keep) {
		stash__slot_unlink(s, slot->name);
		stash__slot_remove(s, slot);
	}
	return result;
}

static int
all_stored(struct stash *s)
{
	struct slot *slot;
	int result = STASH_OK;

	if (stash__rows_wait(s))
		return 1;
	RB_FOREACH(slot, slots, &s->slots) {
		if (result == STASH_OK)
			result = is_stored(slot);
	}
	return result;
}

static void
delete_all(struct stash *s)
{
	struct slot *slot, *next;

	RB_FOREACH_SAFE(slot, slots, &s->slots, next) {
		stash__slot_unlink(s, slot->name);
		stash__slot_remove(s, slot);
	}
	(void)unlinkat(s->run_dir, STASH__ROWS_IN, 0);
	(void)unlinkat(s->run_dir, STASH__ROWS_NAME, 0);
	(void)unlinkat(s->run_dir, STASH__STATUS_NAME, 0);
	(void)unlinkat(s->run_dir, STASH__SLOT_DIR, AT_REMOVEDIR);
}

static int
shut_down(struct stash *s, int result)
{
	if (result == STASH_OK)
		result = all_stored(s);
	if (result != STASH_OK)
		return result;
	pthread_mutex_unlock(&s->table);
	result = store_mark_clean(s->store);
	pthread_mutex_lock(&s->table);
	if (result == STASH_OK)
		result = all_stored(s);
	if (result == STASH_OK) {
		delete_all(s);
		s->ending = true;
		s->status_code = STASH__STASH_DONE;
	}
	return result;
}

/* 1: not over yet. */
static int
report(struct stash *s, struct waiter *w, int result)
{
	switch (w->type) {
	case STASH__S_SCAN:
		scan(s, w); /* what is stored can be read, whatever became of the commit */
		return STASH_OK;
	case STASH__S_CLOSE:
		result = close_slot(s, w, result);
		break;
	case STASH__S_SHUTDOWN:
		result = shut_down(s, result);
		break;
	case STASH__S_COPY:
		/* A store that is full is whole: a copy of it is what its operator wants first. */
		if (result == STASH_OK || result == STASH_E_FULL)
			result = stash__copy_begin(s, w->number, w->fd);
		if (result == STASH_OK) {
			w->fd = -1;
			return STASH_OK; /* it answers when it is over */
		}
		break;
	case STASH__WAIT_ALONE:
		s->ending = true;
		s->status_code = STASH__STASH_ALONE;
		return STASH_OK;
	default:
		break;
	}
	if (result != 1)
		done(s, w, result);
	return result;
}

static void
destroy(struct waiter *w)
{
	if (w->fd >= 0)
		close(w->fd);
	free((void *)(uintptr_t)w->scan.from);
	free(w);
}

void
stash__wait_report(struct stash *s, struct waiters *waiters, int result)
{
	char text[STASH__ERRMSG_MAX];
	struct waiter *w;

	strlcpy(text, stash_errmsg(), sizeof text);
	while ((w = STAILQ_FIRST(waiters)) != NULL) {
		STAILQ_REMOVE_HEAD(waiters, link);
		if (result < 0)
			stash__fail(result, "%s", text); /* the one before may have failed in another way */
		if (report(s, w, result) == 1)
			STAILQ_INSERT_TAIL(&s->waiters, w, link);
		else
			destroy(w);
	}
}

void
stash__wait_free(struct waiters *waiters)
{
	struct waiter *w;

	while ((w = STAILQ_FIRST(waiters)) != NULL) {
		STAILQ_REMOVE_HEAD(waiters, link);
		destroy(w);
	}
}
