/* SPDX-License-Identifier: ISC */
/*
 * ways.c: channels from worker to worker.  A way belongs to the sender's name and is a file beside the slots; it has a
 * row in the sender's base and one, as every channel, in the receiver's.  The file comes first, then the rows, then the
 * receiver, and only then the sender; so whoever dies between leaves a way that nobody uses.  It ends when the receiver
 * won't come back (the sender finds the mark and lets go) or when the sender's name is gone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/point.h"
#include "base/random.h"
#include "shm/channel.h"
#include "stashd/server.h"

/* ---- the table ---- */

static struct worker_way *
create(struct worker *from, const uint8_t id[STASH__ID])
{
	struct worker_way *way = calloc(1, sizeof(*way));

	if (way == NULL) {
		(void)stash__fail(STASH_E_NOMEM, "no memory for a channel from %s", from->name);
		return NULL;
	}
	memcpy(way->id, id, STASH__ID);
	way->from = from;
	LIST_INSERT_HEAD(&from->ways, way, of_worker);
	return way;
}

static void
destroy(struct worker_way *way)
{
	if (way->channel != NULL)
		way->channel->way = NULL;
	stashlink_forget(&way->from->server->stash, way);
	LIST_REMOVE(way, of_worker);
	free(way);
}

static struct worker_way *
find_to(const struct worker *from, const struct worker *to)
{
	struct worker_way *way;

	LIST_FOREACH(way, &from->ways, of_worker) {
		if (way->channel != NULL && way->channel->worker == to && !way->channel->gone)
			return way;
	}
	return NULL;
}

static void
unlink_file(const struct server *s, const uint8_t id[STASH__ID])
{
	char file[STASH__WAY_FILE_MAX];

	stash__way_file(id, file);
	if (unlinkat(s->way_fd, file, 0) < 0 && errno != ENOENT)
		stash__log(LOG_WARNING, "a channel's file can't be deleted: %s", strerror(errno));
}

void
ways_free(struct worker *w)
{
	while (!LIST_EMPTY(&w->ways))
		destroy(LIST_FIRST(&w->ways));
}

/* ---- to the sender ---- */

static void
refuse(struct life *l, const char *asked, int error, const char *text)
{
	struct stash_buf *buf = mail_begin(STASH__W_WAY_TO, 0);

	stash_buf_add_int(buf, error);
	stash_buf_add_text(buf, text);
	stash_buf_add_text(buf, asked);
	life_say(l, buf, NULL, 0);
}

static void
tell(struct life *l, const struct worker_way *way, const char *asked)
{
	struct worker *to = way->channel->worker;
	int bell = worker_bell(to), page = bell < 0 ? -1 : worker_file(to, "bell", O_RDONLY);
	const int fds[] = { way->channel->memfd, bell, page };
	struct stash_buf *buf;

	if (page < 0) {
		refuse(l, asked, STASH_E_SYSTEM, stash_errmsg());
		if (bell >= 0)
			close(bell);
		return;
	}
	buf = mail_begin(STASH__W_WAY_TO, 0);
	stash_buf_add_int(buf, 0);
	stash_buf_add_text(buf, "");
	stash_buf_add_text(buf, asked);
	stash_buf_add_bytes(buf, way->id, STASH__ID);
	stash_buf_add_text(buf, to->name);
	life_say(l, buf, fds, 3);
	close(bell);
	close(page);
}

void
ways_tell_all(struct life *l)
{
	struct worker_way *way, *next;

	for (way = LIST_FIRST(&l->worker->ways); way != NULL; way = next) {
		next = LIST_NEXT(way, of_worker);
		if (way->ready && way->channel == NULL) {
			/* Its other end went; the worker finds the row, if there still is one. */
			destroy(way);
			continue;
		}
		if (way->ready && way->channel != NULL && way->channel->memfd >= 0)
			tell(l, way, way->channel->worker->name);
	}
	life_say(l, mail_begin(STASH__W_WAYS, 0), NULL, 0);
}

static void
answer(struct worker_way *way, int error, const char *text)
{
	struct life *l = way->from->now;

	if (way->asked[0] != '\0' && l != NULL && (l->phase == LIFE_STARTING || l->phase == LIFE_READY)) {
		if (error < 0)
			refuse(l, way->asked, error, text);
		else
			tell(l, way, way->asked);
	}
	way->asked[0] = '\0';
}

/* ---- making one ---- */

void
ways_placed(struct channel *c, int error, const char *text)
{
	struct worker_way *way = c->way;

	way->ready = error == 0;
	answer(way, error, text);
}

/* The sender's row is there: now the receiver's. */
static void
on_row(void *arg, int error, const char *text, struct mail *m)
{
	struct worker_way *way = arg;

	(void)m;
	if (way->channel == NULL) {
		answer(way, STASH_E_DOWN, "the worker is gone");
	} else if (error < 0) {
		answer(way, error, text);
		mailroom_drop(way->channel);
	} else {
		STASH_POINT("sup_way_made");
		(void)mailroom_place(way->channel);
	}
}

static int
make_file(struct worker *from, struct worker *to, uint8_t id[STASH__ID], int *bell)
{
	struct server *s = from->server;
	int fd = -1, result;

	result = files_for_channel(s);
	if (result == 0)
		result = stash__random(id, STASH__ID);
	if (result == 0)
		result = stash__way_make(s->way_fd, id, from->name, to->name, &fd);
	if (result < 0)
		return result;
	*bell = result = worker_bell(from);
	if (*bell >= 0)
		return fd;
	close(fd);
	unlink_file(s, id);
	return result;
}

static int
make(struct life *l, struct worker *to, const char *asked)
{
	struct worker *from = l->worker;
	struct stashlink *k = &from->server->stash;
	uint8_t id[STASH__ID], row_id[STASH__ID];
	struct worker_way *way;
	struct stash_buf *buf;
	int bell, fd = make_file(from, to, id, &bell);

	if (fd < 0)
		return fd;
	way = create(from, id);
	if (way == NULL || (way->channel = mailroom_way(to, id, (uint32_t)l->pid, fd, bell, way)) == NULL) {
		close(fd);
		close(bell);
		unlink_file(from->server, id);
		if (way != NULL)
			destroy(way);
		return STASH_E_NOMEM;
	}
	strlcpy(way->asked, asked, sizeof(way->asked));
	stash__way_row_id(id, row_id);
	buf = stashlink_begin(k, STASH__S_CHANNEL);
	stash_buf_add_text(buf, from->name);
	stash_buf_add_bytes(buf, row_id, STASH__ID);
	stash_buf_add_int(buf, getuid());
	stash_buf_add_int(buf, STASH__USE_OUT);
	return stashlink_send(k, buf, -1, on_row, way) != 0 ? 0 : STASH_E_NOMEM;
}

/* The worker of that name, if it can have a channel; NULL and why not. */
static struct worker *
find_worker(struct server *s, const char *name, int *error)
{
	const struct sup_node *node = registry_node(s, name);
	struct worker *to = NULL;
	char slot_name[STASH_NAME_MAX + 1];

	if (node != NULL) {
		worker_slot_name(sup_node_path(node), sup_node_name(node), slot_name);
		to = worker_find(s, slot_name);
	}
	if (to == NULL)
		*error = stash__fail(STASH_E_NOENT, "there is no worker %s", name);
	else if (!to->callable)
		*error = stash__fail(STASH_E_INVAL, "%s is a program that can't be called", name);
	else if (sup_node_status(node) == STASH_STOPPED)
		*error = stash__fail(STASH_E_DOWN, "%s is stopped, and won't come back by itself", name);
	else
		return to;
	return NULL;
}

void
ways_ask(struct life *l, const char *name)
{
	int error = 0;
	struct worker *to = find_worker(l->server, name, &error);
	struct worker_way *way = to != NULL ? find_to(l->worker, to) : NULL;

	if (l != l->worker->now)
		return;
	if (to == NULL) {
		refuse(l, name, error, stash_errmsg());
	} else if (way != NULL && way->ready) {
		tell(l, way, name);
	} else if (way != NULL) {
		strlcpy(way->asked, name, sizeof(way->asked));
	} else if (to->slot == SLOT_OPEN) { /* else it asks again soon */
		error = make(l, to, name);
		if (error < 0)
			refuse(l, name, error, stash_errmsg());
	}
}

/* ---- its end ---- */

static void
drop_row(struct worker *from, const uint8_t id[STASH__ID])
{
	struct stashlink *k = &from->server->stash;
	struct stash_buf *buf = stashlink_begin(k, STASH__S_UNCHANNEL);
	uint8_t row_id[STASH__ID];

	stash__way_row_id(id, row_id);
	stash_buf_add_text(buf, from->name);
	stash_buf_add_bytes(buf, row_id, STASH__ID);
	(void)stashlink_send(k, buf, -1, NULL, NULL);
}

void
ways_channel_gone(struct channel *c)
{
	struct worker_way *way = c->way;
	struct server *s = c->worker->server;

	way->channel = NULL;
	if (s->phase != SERVER_OVER)
		unlink_file(s, way->id);
	if (!way->ready)
		destroy(way);
}

void
ways_over(struct life *l, const uint8_t id[STASH__ID])
{
	struct worker_way *way;

	LIST_FOREACH(way, &l->worker->ways, of_worker) {
		if (memcmp(way->id, id, STASH__ID) == 0)
			break;
	}
	if (way == NULL)
		return;
	if (way->channel != NULL && !way->channel->gone)
		mailroom_let_go(way->channel);
	if (way->channel == NULL)
		destroy(way);
	else
		way->ready = false; /* it goes with its channel */
}

void
ways_owner_gone(struct worker *w)
{
	struct worker_way *way, *next;

	for (way = LIST_FIRST(&w->ways); way != NULL; way = next) {
		next = LIST_NEXT(way, of_worker);
		drop_row(w, way->id);
		way->ready = false;
		if (way->channel == NULL)
			destroy(way);
		else if (!way->channel->gone)
			mailroom_let_go(way->channel);
	}
}

/* ---- after a takeover ---- */

/* Whoever is in no tree is let go of with all that it has, whatever else was found of it. */
static struct worker *
find_child(struct server *s, const char *name)
{
	struct worker *w = worker_find(s, name);

	return w != NULL && w->spec != NULL ? w : NULL;
}

static int
restore(struct server *s, const char *file)
{
	char from_name[STASH_NAME_MAX + 1], to_name[STASH_NAME_MAX + 1];
	uint8_t id[STASH__ID];
	struct worker *from = NULL, *to = NULL;
	struct worker_way *way;
	int fd = openat(s->way_fd, file, O_RDWR | O_CLOEXEC | O_NOFOLLOW), bell, result;

	if (fd < 0)
		return errno == ELOOP ? STASH_E_NOENT : stash__fail_errno("%s: a channel between workers", file);
	result = stash__way_read(fd, id, from_name, to_name);
	if (result == 0 && mailroom_find(s, id) != NULL) {
		close(fd);
		return 0; /* found before */
	}
	if (result == STASH_E_PROTO || result == STASH_E_FORMAT ||
	    (result == 0 && ((from = find_child(s, from_name)) == NULL || (to = find_child(s, to_name)) == NULL)))
		result = STASH_E_NOENT;
	if (result != 0) {
		close(fd);
		return result;
	}
	bell = worker_bell(from);
	way = bell >= 0 ? create(from, id) : NULL;
	if (way != NULL) {
		way->channel = mailroom_way(to, id, 0, fd, bell, way);
		way->ready = true; /* a row that is missing is made (mailroom_rows_known) or not asked for (way.c) */
	}
	if (way != NULL && way->channel != NULL)
		return 0;
	if (way != NULL)
		destroy(way);
	if (bell >= 0)
		close(bell);
	close(fd);
	return stash__fail(STASH_E_NOMEM, "no memory or descriptor for the channel from %s to %s", from_name, to_name);
}

int
ways_find(struct server *s)
{
	int fd = fcntl(s->way_fd, F_DUPFD_CLOEXEC, 3);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	int result = 0;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return stash__fail_errno("the channels between workers can't be listed");
	}
	rewinddir(dir);
	while (result == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		result = restore(s, entry->d_name);
		/* It is nobody's. */
		if (result == STASH_E_NOENT)
			result = unlinkat(s->way_fd, entry->d_name, 0) < 0 ? stash__fail_errno("%s", entry->d_name) : 0;
	}
	if (result == 0 && errno != 0)
		result = stash__fail_errno("the channels between workers can't be listed");
	closedir(dir);
	return result;
}
