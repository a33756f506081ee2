/* SPDX-License-Identifier: ISC */
/*
 * records.c: the rows that the supervisor keeps in the store, by way of its own slot.  A row is safe when its entry is
 * submitted; the disk is the stash's business.  When the ring has no room, rows wait here, in order, and the supervisor
 * goes on.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "stashd/server.h"

#define FLUSH_US 5000

struct records_row {
	STAILQ_ENTRY(records_row) link;
	uint32_t db;
	bool gone;
	size_t key_len, value_len;
	unsigned char data[]; /* key, then value */
};

int
records_open(struct server *s)
{
	struct records *r = &s->records;
	int result;

	if (r->open)
		return 0;
	result = stash__rows_open(&r->rows, s->run_fd, &s->origin, s->stash.bell);
	if (result < 0)
		return result;
	r->open = true;
	records_tick(s);
	return 0;
}

static void
backlog_free(struct records *r)
{
	struct records_row *row;

	while ((row = STAILQ_FIRST(&r->backlog)) != NULL) {
		STAILQ_REMOVE_HEAD(&r->backlog, link);
		free(row);
	}
	r->waiting = 0;
}

void
records_close(struct server *s)
{
	struct records *r = &s->records;

	if (event_initialized(&r->flush))
		event_del(&r->flush);
	if (r->open)
		stash__rows_close(&r->rows);
	r->open = false;
	backlog_free(r);
	stash__buf_fini(&r->scratch);
	records_longs_free(s);
	records_layouts_free(s);
}

static void
on_flush(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	records_tick(arg);
}

/* Tries again in a moment: the stash was rung, and commits. */
static void
flush_soon(struct server *s)
{
	struct timeval tv = { .tv_usec = FLUSH_US };

	if (!event_initialized(&s->records.flush))
		evtimer_assign(&s->records.flush, s->events, on_flush, s);
	if (!evtimer_pending(&s->records.flush, NULL))
		server_await(&s->records.flush, &tv);
}

static void
wait_in_line(
    struct server *s, uint32_t db, bool gone, const void *key, size_t key_len, const void *value, size_t value_len)
{
	struct records_row *row = malloc(sizeof(*row) + key_len + value_len);
	struct records *r = &s->records;

	/* Before anybody acts upon it. */
	if (row == NULL)
		server_give_up("no memory for a row of the store");
	row->db = db;
	row->gone = gone;
	row->key_len = key_len;
	row->value_len = value_len;
	if (key_len > 0)
		memcpy(row->data, key, key_len);
	if (value_len > 0)
		memcpy(row->data + key_len, value, value_len);
	STAILQ_INSERT_TAIL(&r->backlog, row, link);
	r->waiting++;
	flush_soon(s);
}

static int
add(struct records *r, uint32_t db, bool gone, const void *key, size_t key_len, const void *value, size_t value_len)
{
	if (gone)
		return stash__rows_del(&r->rows, db, key, key_len);
	return stash__rows_put(&r->rows, db, key, key_len, value, value_len);
}

/* Into the batch; a full one is submitted first.  STASH_E_BUSY: no room now. */
static int
add_or_submit(
    struct records *r, uint32_t db, bool gone, const void *key, size_t key_len, const void *value, size_t value_len)
{
	int result = add(r, db, gone, key, key_len, value, value_len);

	if (result != STASH_E_TOOBIG)
		return result;
	result = stash__rows_submit(&r->rows);
	return result < 0 ? result : add(r, db, gone, key, key_len, value, value_len);
}

static void
record(struct server *s, uint32_t db, bool gone, const void *key, size_t key_len, const void *value, size_t value_len)
{
	struct records *r = &s->records;
	int result = STASH_E_BUSY;

	if (r->open && STAILQ_EMPTY(&r->backlog))
		result = add_or_submit(r, db, gone, key, key_len, value, value_len);
	if (result == STASH_E_BUSY)
		wait_in_line(s, db, gone, key, key_len, value, value_len);
	else if (result == STASH_E_NOMEM)
		server_give_up("no memory for a row of the store");
	else if (result < 0)
		stash__log(LOG_ERR, "a row of the store is lost: %s", stash_errmsg());
}

void
records_put(struct server *s, uint32_t db, const void *key, size_t key_len, const void *value, size_t value_len)
{
	record(s, db, false, key, key_len, value, value_len);
}

void
records_del(struct server *s, uint32_t db, const void *key, size_t key_len)
{
	record(s, db, true, key, key_len, NULL, 0);
}

void
records_submit(struct server *s)
{
	struct records *r = &s->records;
	int result = r->open ? stash__rows_submit(&r->rows) : 0;

	if (result == STASH_E_BUSY)
		flush_soon(s);
	else if (result < 0)
		stash__log(LOG_ERR, "the supervisor's rows can't be handed over: %s", stash_errmsg());
}

void
records_tick(struct server *s)
{
	struct records *r = &s->records;
	struct records_row *row;

	if (!r->open)
		return;
	while ((row = STAILQ_FIRST(&r->backlog)) != NULL) {
		int result = add_or_submit(
		    r, row->db, row->gone, row->data, row->key_len, row->data + row->key_len, row->value_len);

		if (result == STASH_E_BUSY)
			break;
		STAILQ_REMOVE_HEAD(&r->backlog, link);
		r->waiting--;
		free(row);
	}
	records_submit(s);
	if (r->waiting > 0)
		flush_soon(s);
}
