/* SPDX-License-Identifier: ISC */
/*
 * outbox.c: messages to a side that does not read at the moment.  They wait here, in order, with copies of their
 * descriptors; nobody waits for them.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "stashd/mail.h"

struct outbox_item {
	STAILQ_ENTRY(outbox_item) link;
	size_t len;
	int nfds;
	int fds[STASH__SOCK_FDS];
	unsigned char data[];
};

static void
item_free(struct outbox_item *item)
{
	for (int i = 0; i < item->nfds; i++)
		close(item->fds[i]);
	free(item);
}

static void
forget(struct outbox *o)
{
	struct outbox_item *item;

	while ((item = STAILQ_FIRST(&o->items)) != NULL) {
		STAILQ_REMOVE_HEAD(&o->items, link);
		item_free(item);
	}
	o->bytes = 0;
}

static void
stop_waiting(struct outbox *o)
{
	if (o->waiting)
		event_del(&o->writable);
	o->waiting = false;
}

static void
flush(evutil_socket_t fd, short what, void *arg)
{
	struct outbox *o = arg;
	struct outbox_item *item;
	int result = 0;

	(void)fd;
	(void)what;
	while ((item = STAILQ_FIRST(&o->items)) != NULL) {
		result = stash__sock_send(o->fd, item->data, item->len, item->fds, item->nfds);
		if (result == STASH_E_BUSY)
			return;
		if (result < 0)
			break;
		STAILQ_REMOVE_HEAD(&o->items, link);
		o->bytes -= item->len;
		o->since = stash__now_ns();
		item_free(item);
	}
	stop_waiting(o);
	if (result < 0) {
		forget(o);
		o->broken(o->arg, result);
	}
}

void
outbox_init(struct outbox *o, struct event_base *events, int fd, void (*broken)(void *, int), void *arg)
{
	memset(o, 0, sizeof(*o));
	o->fd = fd;
	o->broken = broken;
	o->arg = arg;
	STAILQ_INIT(&o->items);
	event_assign(&o->writable, events, fd, EV_WRITE | EV_PERSIST, flush, o);
}

static int
enqueue(struct outbox *o, const void *data, size_t len, const int *fds, int nfds)
{
	struct outbox_item *item = malloc(sizeof(*item) + len);

	if (item == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a message that waits");
	item->len = len;
	memcpy(item->data, data, len);
	for (item->nfds = 0; item->nfds < nfds; item->nfds++) {
		item->fds[item->nfds] = fcntl(fds[item->nfds], F_DUPFD_CLOEXEC, 3);
		if (item->fds[item->nfds] < 0) {
			item_free(item);
			return stash__fail_errno("can't keep a descriptor of a message that waits");
		}
	}
	if (!o->waiting && event_add(&o->writable, NULL) != 0) {
		item_free(item);
		return stash__fail(STASH_E_SYSTEM, "can't wait for room in a socket");
	}
	if (!o->waiting)
		o->since = stash__now_ns();
	o->waiting = true;
	o->bytes += len;
	STAILQ_INSERT_TAIL(&o->items, item, link);
	return 0;
}

int
outbox_send(struct outbox *o, const struct stash_buf *buf, const int *fds, int nfds)
{
	const void *data;
	size_t len;
	int result = stash_buf_data(buf, &data, &len);

	if (result < 0)
		return stash__fail(result, "a message can't be made: %s", stash_strerror(result));
	if (o->fd < 0)
		return stash__fail(STASH_E_DOWN, "the other side is gone");
	if (!o->waiting) {
		result = stash__sock_send(o->fd, data, len, fds, nfds);
		if (result != STASH_E_BUSY)
			return result;
	}
	return enqueue(o, data, len, fds, nfds);
}

void
outbox_close(struct outbox *o)
{
	if (o->fd < 0)
		return;
	stop_waiting(o);
	forget(o);
	o->fd = -1;
}
