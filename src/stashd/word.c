/* SPDX-License-Identifier: ISC */
/*
 * word.c: what a worker says on its control socket, and what follows from it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/point.h"
#include "stashd/server.h"

static void
on_ready(struct life *l, struct mail *m)
{
	int error = (int)stash__view_range(&m->view, INT32_MIN, STASH_IGNORE);
	const char *text = stash_view_text(&m->view);

	if (stash_view_end(&m->view) < 0 || l->answer != LIFE_NO_ANSWER)
		return;
	spawn_sweep();
	l->answer = error;
	if (error < 0) {
		free(l->why);
		l->why = strdup(text);
	}
	if (error == STASH_IGNORE)
		STASH_POINT("sup_ignore_taken");
	if (error != 0 || l->phase != LIFE_STARTING)
		return; /* what it means is told when it is dead */
	STASH_POINT("sup_ready_taken");
	l->phase = LIFE_READY;
	turn_ready(l->server, l->node, l->start);
}

static void
on_grown(void *arg, int error, const char *text, struct mail *m)
{
	struct life *l = arg;
	struct stash_buf *buf = mail_begin(STASH__W_GROWN, 0);

	stash_buf_add_int(buf, error);
	stash_buf_add_text(buf, text);
	life_say(l, buf, m->fds, error == 0 && m->nfds >= 2 ? 2 : 0);
}

static void
on_grow(struct life *l, struct mail *m)
{
	const struct worker *w = l->worker;
	int64_t image = stash__view_range(&m->view, 0, STASH_STATE_MAX),
		ring = stash__view_range(&m->view, 0, INT64_MAX);
	struct stash_buf *buf;

	if (stash_view_end(&m->view) < 0)
		return;
	buf = stashlink_begin(&l->server->stash, STASH__S_OPEN);
	stash_buf_add_text(buf, w->name);
	stash_buf_add_int(buf, w->plan.no_persist);
	stash_buf_add_int(buf, w->plan.history);
	stash_buf_add_int(buf, image);
	stash_buf_add_int(buf, ring);
	(void)stashlink_send(&l->server->stash, buf, -1, on_grown, l);
}

static void
on_layout(struct life *l, struct mail *m)
{
	const char *layout = stash_view_text(&m->view);
	uint32_t version = (uint32_t)stash__view_range(&m->view, 0, UINT32_MAX);
	uint64_t image_len = (uint64_t)stash__view_range(&m->view, 0, STASH_STATE_MAX);
	size_t len;
	const void *fields = stash_view_bytes(&m->view, &len);

	if (stash_view_end(&m->view) == 0)
		records_layout(l->server, layout, version, image_len, fields, len);
}

static void
on_ask_fields(struct life *l, struct mail *m)
{
	const char *layout = stash_view_text(&m->view);
	uint32_t version = (uint32_t)stash__view_range(&m->view, 0, UINT32_MAX);

	if (stash_view_end(&m->view) == 0)
		records_layout_asked(l, layout, version);
}

/* DETACHED, and the beginning of REFUSED. */
static const uint8_t *
read_id(struct mail *m)
{
	size_t len;
	const uint8_t *id = stash_view_bytes(&m->view, &len);

	return m->view.error == 0 && len == STASH__ID ? id : NULL;
}

static void
on_refused(struct life *l, struct mail *m)
{
	const uint8_t *id = read_id(m);
	int error = (int)stash__view_range(&m->view, INT32_MIN, -1);
	const char *text = stash_view_text(&m->view);
	/* An older library's worker leaves the row to us. */
	bool deleted = stash_view_end(&m->view) < 0 && stash_view_int(&m->view) != 0;

	if (id != NULL && stash_view_end(&m->view) == 0)
		mailroom_refused(l, id, error, text, deleted);
}

static void
on_way(struct life *l, struct mail *m)
{
	const char *name = stash_view_text(&m->view);

	if (stash_view_end(&m->view) == 0)
		ways_ask(l, name);
}

static void
on_log(struct life *l, struct mail *m)
{
	int priority = (int)stash__view_range(&m->view, LOG_EMERG, LOG_DEBUG);
	const char *line = stash_view_text(&m->view);

	if (stash_view_end(&m->view) == 0)
		stash__log(priority, "%s: %s", l->worker->name, line);
}

static void
handle(struct life *l, struct mail *m)
{
	const uint8_t *id;

	switch (m->type) {
	case STASH__W_READY:
		on_ready(l, m);
		break;
	case STASH__W_GROW:
		on_grow(l, m);
		break;
	case STASH__W_LAYOUT:
		on_layout(l, m);
		break;
	case STASH__W_ASK_FIELDS:
		on_ask_fields(l, m);
		break;
	case STASH__W_DETACHED:
		id = read_id(m);
		if (id != NULL && stash_view_end(&m->view) == 0)
			mailroom_detached(l, id);
		break;
	case STASH__W_REFUSED:
		on_refused(l, m);
		break;
	case STASH__W_WAY:
		on_way(l, m);
		break;
	case STASH__W_WAY_OVER:
		id = read_id(m);
		if (id != NULL && stash_view_end(&m->view) == 0)
			ways_over(l, id);
		break;
	case STASH__W_LOG:
		on_log(l, m);
		break;
	case STASH__W_NAMES:
		names_asked(l, m);
		break;
	case STASH__W_TAKEN:
		names_taken(l, m);
		break;
	default:
		break; /* of a later library */
	}
}

/* Of a program without libstash: its exec has succeeded, or it is about to die. */
static void
on_closed(struct life *l)
{
	event_del(&l->readable);
	/* With notify = "sd_notify" it says itself when it is ready. */
	if (l->worker->plan.notify != STASH_NOTIFY_NONE || plan_linked(&l->worker->plan) || l->phase != LIFE_STARTING ||
	    l->answer != LIFE_NO_ANSWER)
		return;
	l->answer = 0;
	l->phase = LIFE_READY;
	turn_ready(l->server, l->node, l->start);
}

void
life_read(struct life *l)
{
	struct mail m;
	int result;

	while (l->control >= 0 && (result = mail_recv(l->control, &m)) != STASH_E_PENDING) {
		if (result == STASH_E_DOWN) {
			on_closed(l);
			return;
		}
		if (result < 0) {
			stash__log(LOG_ERR, "%s: %s", l->worker->name, stash_errmsg());
			if (result != STASH_E_PROTO)
				return;
			continue;
		}
		handle(l, &m);
		mail_done(&m);
	}
}
