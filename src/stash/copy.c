/* SPDX-License-Identifier: ISC */
/*
 * copy.c: a copy of the store into somebody's file, for a backup: in a thread of its own, so that neither folding nor
 * committing waits for it.  One at a time.  It begins behind a commit, so all that was handed in before is in it.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "stash/inside.h"

static void *
run(void *arg)
{
	struct stash *s = arg;
	struct copying *c = &s->copying;
	int result = store_copy(s->store, c->fd);

	pthread_mutex_lock(&s->table);
	stash__answer(s, STASH__S_DONE, c->number, result);
	stash__answer_send(s, NULL, 0);
	close(c->fd);
	c->running = false;
	pthread_mutex_unlock(&s->table);
	return NULL;
}

/* Gathers one that has ended. */
static void
gather(struct copying *c)
{
	if (c->started)
		pthread_join(c->thread, NULL);
	c->started = false;
}

int
stash__copy_begin(struct stash *s, int64_t number, int fd)
{
	struct copying *c = &s->copying;
	int error;

	if (c->running)
		return stash__fail(STASH_E_BUSY, "another backup is being made; try again later");
	gather(c);
	c->fd = fd;
	c->number = number;
	c->running = true;
	error = pthread_create(&c->thread, NULL, run, s);
	if (error != 0) {
		c->running = false;
		errno = error;
		return stash__fail_errno("cannot start a thread that copies the store");
	}
	c->started = true;
	return STASH_OK;
}

void
stash__copy_end(struct stash *s)
{
	if (s->copying.started)
		store_copy_stop(s->store);
	gather(&s->copying);
}
