/* SPDX-License-Identifier: ISC */
/*
 * post.c: messages to oneself that only this incarnation gets: of other threads, of handlers of its events.  They
 * count at once and ring the bell.  Those of a callback are records (record.c).
 */
#include <stdlib.h>
#include <string.h>

#include <stash/worker.h>

#include "base/error.h"
#include "base/name.h"
#include "shm/bell.h"
#include "worker/worker.h"

static struct post *
make(const char *tag, const void *data, size_t len)
{
	struct post *p = aligned_alloc(16, (sizeof *p + len + 1 + 15) & ~(size_t)15);

	if (p == NULL) {
		(void)stash__fail(STASH_E_NOMEM, "no memory for a message to oneself");
		return NULL;
	}
	memset(p, 0, sizeof *p);
	memcpy(p->tag, tag, strlen(tag) + 1);
	p->len = len;
	if (len > 0)
		memcpy(p->data, data, len);
	p->data[len] = '\0';
	return p;
}

static int
add(struct stash_worker *w, const char *tag, const void *data, size_t len)
{
	struct post *p = make(tag, data, len);

	if (p == NULL)
		return STASH_E_NOMEM;
	pthread_mutex_lock(&w->posts_lock);
	STAILQ_INSERT_TAIL(&w->posts, p, link);
	atomic_store(&w->have_posts, true);
	pthread_mutex_unlock(&w->posts_lock);
	stash__bell_wake(&w->bell_page->asleep, w->bell);
	return STASH_OK;
}

int
stash_post(struct stash_worker *w, const char *tag, const void *data, size_t len)
{
	struct stash__record head = { .kind = STASH__RECORD_POST };
	int result = w == NULL ? stash__fail(STASH_E_INVAL, "no worker given") : stash__check_tag(tag);

	if (result < 0)
		return result;
	if (data == NULL && len > 0)
		return stash__fail(STASH_E_INVAL, "a payload of %zu bytes at NULL", len);
	if (len > STASH_DATA_MAX)
		return stash__fail(
		    STASH_E_TOOBIG, "a payload of %zu bytes is over the limit of %d", len, STASH_DATA_MAX);
	if (pthread_equal(pthread_self(), w->thread) && w->in_callback)
		return stash__record_add(w, &head, tag, data, len);
	return add(w, tag, data, len);
}

bool
stash__post_waits(struct stash_worker *w)
{
	return atomic_load(&w->have_posts);
}

bool
stash__post_run(struct stash_worker *w)
{
	struct post *p;
	struct stash_msg msg = { .kind = STASH_MSG_POST, .attempt = 1 };

	if (!stash__post_waits(w))
		return false;
	pthread_mutex_lock(&w->posts_lock);
	p = STAILQ_FIRST(&w->posts);
	if (p != NULL)
		STAILQ_REMOVE_HEAD(&w->posts, link);
	atomic_store(&w->have_posts, !STAILQ_EMPTY(&w->posts));
	pthread_mutex_unlock(&w->posts_lock);
	if (p == NULL)
		return false;
	msg.tag = p->tag;
	msg.data = p->data;
	msg.len = p->len;
	stash__mailbox_hand(w, NULL);
	stash__dispatch(w, &msg, STASH__HAND(w->start.incarnation, STASH__PLACE_NONE, w->messages));
	free(p);
	return true;
}

void
stash__post_free_all(struct stash_worker *w)
{
	struct post *p;

	while ((p = STAILQ_FIRST(&w->posts)) != NULL) {
		STAILQ_REMOVE_HEAD(&w->posts, link);
		free(p);
	}
	pthread_mutex_destroy(&w->posts_lock);
}
