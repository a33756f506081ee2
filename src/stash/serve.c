/* SPDX-License-Identifier: ISC */
/*
 * serve.c: the supervisor's messages, each read, checked and carried out, or put among those that wait for a
 * commit.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/name.h"
#include "base/point.h"
#include "base/sock.h"
#include "shm/bell.h"
#include "stash/inside.h"

#define AT_ONCE 64 /* messages served before slots are looked at again */

struct request {
	int64_t number;
	struct stash_view view;
	int fd; /* -1: none came along */
};

/* ---- items ---- */

static int
check_end(const struct request *r)
{
	return stash_view_end(&r->view) == STASH_OK ?
	    STASH_OK :
	    stash__fail(STASH_E_PROTO, "a message to the stash can't be read");
}

static struct slot *
find(struct stash *s, const char *name)
{
	struct slot *slot = strlen(name) > STASH_NAME_MAX ? NULL : stash__slot_find(s, name);

	if (slot == NULL)
		stash__fail(STASH_E_NOENT, "the stash has no slot of %.*s", STASH_NAME_MAX, name);
	return slot;
}

static const uint8_t *
read_id(struct request *r)
{
	size_t len;
	const void *id = stash_view_bytes(&r->view, &len);

	if (len == STASH__ID)
		return id;
	stash__fail(STASH_E_PROTO, "a channel's id has %zu bytes", len);
	return NULL;
}

static void
answer_done(struct stash *s, const struct request *r, int result)
{
	stash__answer(s, STASH__S_DONE, r->number, result);
	stash__answer_send(s, NULL, 0);
}

/* ---- open ---- */

/* The worker's own, by its name; a test that plays the worker may bring another one. */
static int
take_bell(const struct stash *s, struct slot *slot, struct request *r)
{
	char file[STASH__SLOT_FILE_MAX];
	int bell = r->fd;

	stash__slot_file(file, slot->name, "fifo");
	if (bell < 0)
		bell = slot->bell >= 0 ? slot->bell : stash__bell_open(s->slot_dir, file);
	if (bell < 0)
		return bell;
	if (slot->bell >= 0 && slot->bell != bell)
		close(slot->bell);
	slot->bell = bell;
	r->fd = -1;
	/* Whatever it waits for may have come while nobody could ring. */
	stash__bell_ring(slot->bell);
	return STASH_OK;
}

static void
add_channels(struct stash *s, const struct slot *slot)
{
	uint32_t total = 0, listed = 0;

	for (uint32_t i = 0; i < slot->base.nrows; i++)
		total += slot->rows[i].used == STASH__USE_IN;
	stash_buf_add_int(&s->message, total);
	for (uint32_t i = 0; i < slot->base.nrows && listed < STASH__S_CHANNELS; i++) {
		if (slot->rows[i].used != STASH__USE_IN)
			continue;
		stash_buf_add_bytes(&s->message, slot->rows[i].id, STASH__ID);
		stash_buf_add_int(&s->message, i);
		stash_buf_add_int(&s->message, slot->rows[i].uid);
		listed++;
	}
}

static int
open_files(const struct stash *s, const struct slot *slot, int fds[3])
{
	fds[0] = stash__slot_file_open(s, slot->name, "out", O_RDWR);
	fds[1] = stash__slot_file_open(s, slot->name, "in", O_RDONLY);
	fds[2] = stash__slot_file_open(s, slot->name, "bell", O_RDWR);
	return fds[0] < 0 || fds[1] < 0 || fds[2] < 0 ? STASH_E_SYSTEM : STASH_OK;
}

static void
serve_open(struct stash *s, struct request *r)
{
	const char *name = stash_view_text(&r->view);
	bool persist = stash__view_range(&r->view, 0, 1) == 0;
	uint32_t history = (uint32_t)stash__view_range(&r->view, 0, UINT16_MAX);
	uint64_t image = (uint64_t)stash__view_range(&r->view, 0, INT64_MAX);
	uint64_t ring = (uint64_t)stash__view_range(&r->view, 0, INT64_MAX);
	int fds[3] = { -1, -1, -1 }, result = check_end(r);
	struct slot *slot = NULL;

	if (result == STASH_OK)
		result = stash__check_name(name);
	if (result == STASH_OK)
		result = stash__open(s, name, persist, history, image, ring, &slot);
	if (result == STASH_OK)
		result = open_files(s, slot, fds);
	if (result == STASH_OK)
		result = take_bell(s, slot, r);
	stash__answer(s, STASH__S_OPENED, r->number, result);
	if (result == STASH_OK) {
		stash_buf_add_int(&s->message, (int64_t)slot->base.fence);
		stash_buf_add_int(&s->message, (int64_t)slot->base.version);
		stash_buf_add_int(&s->message, (int64_t)slot->base.retired);
		add_channels(s, slot);
	}
	stash__answer_send(s, fds, result == STASH_OK ? 3 : 0);
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	/* A supervisor that has taken over may have been told before it knew the worker. */
	if (result == STASH_OK && slot->broken)
		stash__answer_broken(s, slot->name, "the slot is broken");
}

/* ---- retire ---- */

static void
add_verdict(struct stash *s, const struct slot *slot, const struct verdict *v)
{
	const struct stash__box *box = slot->out.box;
	char tag[STASH_TAG_MAX + 1];

	memcpy(tag, box->tag, sizeof tag);
	tag[STASH_TAG_MAX] = '\0';
	stash_buf_add_int(&s->message, (int64_t)slot->base.fence);
	stash_buf_add_int(&s->message, v->verdict);
	stash_buf_add_int(&s->message, v->place);
	stash_buf_add_int(&s->message, (int64_t)v->number);
	stash_buf_add_int(&s->message, v->attempts);
	stash_buf_add_int(&s->message, v->fault);
	stash_buf_add_int(&s->message, atomic_load(&box->kind));
	stash_buf_add_text(&s->message, stash__check_tag(tag) == STASH_OK ? tag : "");
	stash_buf_add_int(&s->message, (int64_t)atomic_load(&box->len));
	stash_buf_add_int(&s->message, atomic_load(&box->phase));
	stash_buf_add_int(&s->message, (int64_t)slot->base.version);
	stash_buf_add_int(&s->message, slot->base.crashes);
}

static void
serve_retire(struct stash *s, struct request *r)
{
	const char *name = stash_view_text(&r->view);
	uint64_t incarnation = (uint64_t)stash__view_range(&r->view, 1, INT64_MAX);
	int status = (int)stash__view_range(&r->view, -1, INT_MAX);
	uint32_t cause = (uint32_t)stash__view_range(&r->view, STASH__CAUSE_EXIT, STASH__CAUSE_LOSS);
	uint32_t max_attempts = (uint32_t)stash__view_range(&r->view, 0, UINT16_MAX);
	struct slot *slot = NULL;
	struct verdict v;
	int result = check_end(r);

	if (result == STASH_OK)
		slot = find(s, name);
	if (result == STASH_OK)
		result = slot == NULL ? STASH_E_NOENT :
					stash__retire(s, slot, incarnation, status, cause, max_attempts, &v);
	stash__answer(s, STASH__S_RETIRED, r->number, result);
	if (result == STASH_OK)
		add_verdict(s, slot, &v);
	stash__answer_send(s, NULL, 0);
}

/* ---- channels ---- */

static void
serve_channel(struct stash *s, struct request *r)
{
	struct slot *slot = find(s, stash_view_text(&r->view));
	const uint8_t *id = read_id(r);
	uint32_t uid = (uint32_t)stash__view_range(&r->view, 0, UINT32_MAX), place = 0;
	uint32_t use = (uint32_t)stash__view_range(&r->view, STASH__USE_IN, STASH__USE_OUT);
	int result = id == NULL ? STASH_E_PROTO : check_end(r);

	if (result == STASH_OK)
		result = slot == NULL ? STASH_E_NOENT : stash__channel_add(s, slot, id, uid, use, &place);
	stash__answer(s, STASH__S_ROW, r->number, result);
	if (result == STASH_OK)
		stash_buf_add_int(&s->message, place);
	stash__answer_send(s, NULL, 0);
}

static void
serve_unchannel(struct stash *s, struct request *r)
{
	struct slot *slot = find(s, stash_view_text(&r->view));
	const uint8_t *id = read_id(r);
	int result = id == NULL ? STASH_E_PROTO : check_end(r);

	if (result == STASH_OK)
		result = slot == NULL ? STASH_E_NOENT : stash__channel_drop(s, slot, id);
	answer_done(s, r, result);
}

/* ---- those that wait ---- */

static int
still_alive(const struct slot *slot)
{
	return stash__fail(STASH_E_BUSY, "%s: incarnation %llu isn't retired", slot->name,
	    (unsigned long long)atomic_load(&slot->out.page->owner));
}

static void
serve_close(struct stash *s, struct request *r)
{
	struct slot *slot = find(s, stash_view_text(&r->view));
	bool keep = stash__view_range(&r->view, 0, 1) != 0;
	struct waiter *w;
	int result = check_end(r);

	if (result == STASH_OK)
		result = slot == NULL ? STASH_E_NOENT :
		    slot->closing     ? stash__fail(STASH_E_BUSY, "it is being closed") :
					STASH_OK;
	if (result == STASH_OK && !keep && stash__slot_alive(slot))
		result = still_alive(slot);
	w = result < 0 ? NULL : stash__wait_add(s, STASH__S_CLOSE, r->number);
	if (w == NULL) {
		answer_done(s, r, result < 0 ? result : STASH_E_NOMEM);
		return;
	}
	strlcpy(w->name, slot->name, sizeof w->name);
	w->keep = keep;
	slot->closing = !keep;
}

static int
read_scan(struct request *r, struct store_scan *scan)
{
	int64_t db = stash__view_range(&r->view, 0, STASH__SCAN_HEADS | STASH__SCAN_META);
	size_t len;
	const void *from = stash_view_bytes(&r->view, &len);
	int64_t rows = stash__view_range(&r->view, 0, INT32_MAX);
	int result = check_end(r);

	memset(scan, 0, sizeof *scan);
	if (result < 0)
		return result;
	scan->flags = (db & STASH__SCAN_HEADS) != 0 ? STORE_SCAN_HEADS : 0;
	db &= ~STASH__SCAN_HEADS;
	if (db < STASH__SCAN_STATE || db > STASH__SCAN_META)
		return stash__fail(STASH_E_INVAL, "a scan of database %lld: there is none", (long long)db);
	scan->db = db == STASH__SCAN_META ? STORE_DB_META : (enum store_db)db;
	scan->max_rows = rows > STORE_SCAN_ROWS ? STORE_SCAN_ROWS : (uint32_t)rows;
	scan->from_len = len;
	if (len > 0) {
		void *copy = malloc(len);

		if (copy == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for a key");
		scan->from = memcpy(copy, from, len);
	}
	return STASH_OK;
}

static void
serve_scan(struct stash *s, struct request *r)
{
	struct store_scan scan;
	struct waiter *w = NULL;
	int result = read_scan(r, &scan);

	if (result == STASH_OK) {
		w = stash__wait_add(s, STASH__S_SCAN, r->number);
		result = w == NULL ? STASH_E_NOMEM : STASH_OK;
	}
	if (result < 0) {
		stash__answer(s, STASH__S_ROWS, r->number, result);
		stash__answer_send(s, NULL, 0);
		free((void *)(uintptr_t)scan.from);
		return;
	}
	w->scan = scan;
}

static void
serve_dump(struct stash *s, struct request *r)
{
	uint32_t count = 0;
	int memfd = -1, result = check_end(r);

	STASH_POINT("stash_in_dump");
	if (result == STASH_OK)
		result = stash__dump(s, &memfd, &count);
	stash__answer(s, STASH__S_ROWS, r->number, result);
	if (result == STASH_OK) {
		stash_buf_add_int(&s->message, count);
		stash_buf_add_int(&s->message, 1);
	}
	stash__answer_send(s, &memfd, result == STASH_OK ? 1 : 0);
	if (memfd >= 0)
		close(memfd);
}

static void
serve_sync(struct stash *s, struct request *r)
{
	int result = check_end(r);

	if (result == STASH_OK && stash__wait_add(s, STASH__S_SYNC, r->number) == NULL)
		result = STASH_E_NOMEM;
	if (result < 0)
		answer_done(s, r, result);
}

/* The file goes with the request: it is copied to when the next commit is over. */
static void
serve_copy(struct stash *s, struct request *r)
{
	struct waiter *w = NULL;
	int result = check_end(r);

	if (result == STASH_OK && r->fd < 0)
		result = stash__fail(STASH_E_PROTO, "a copy of the store without a file for it");
	if (result == STASH_OK && (w = stash__wait_add(s, STASH__S_COPY, r->number)) == NULL)
		result = STASH_E_NOMEM;
	if (result < 0) {
		answer_done(s, r, result);
		return;
	}
	w->fd = r->fd;
	r->fd = -1;
}

static void
serve_shutdown(struct stash *s, struct request *r)
{
	struct slot *slot;
	int result = check_end(r);

	RB_FOREACH(slot, slots, &s->slots) {
		if (result == STASH_OK && stash__slot_alive(slot))
			result = still_alive(slot);
	}
	if (result == STASH_OK && stash__wait_add(s, STASH__S_SHUTDOWN, r->number) == NULL)
		result = STASH_E_NOMEM;
	if (result < 0)
		answer_done(s, r, result);
}

/* ---- one after the other ---- */

static void (*const handlers[])(struct stash *, struct request *) = {
	[STASH__S_OPEN] = serve_open,
	[STASH__S_RETIRE] = serve_retire,
	[STASH__S_CHANNEL] = serve_channel,
	[STASH__S_UNCHANNEL] = serve_unchannel,
	[STASH__S_CLOSE] = serve_close,
	[STASH__S_SCAN] = serve_scan,
	[STASH__S_DUMP] = serve_dump,
	[STASH__S_SYNC] = serve_sync,
	[STASH__S_SHUTDOWN] = serve_shutdown,
	[STASH__S_COPY] = serve_copy,
};

static void
serve_one(struct stash *s, size_t len, int fd)
{
	struct request r = { .fd = fd };
	int64_t type;

	stash_view_init(&r.view, s->packet, len);
	type = stash_view_int(&r.view);
	r.number = stash_view_int(&r.view);
	if (type > 0 && type < (int64_t)(sizeof handlers / sizeof *handlers))
		handlers[type](s, &r);
	else
		answer_done(
		    s, &r, stash__fail(STASH_E_PROTO, "the stash knows no message of type %lld", (long long)type));
	if (r.fd >= 0)
		close(r.fd);
}

/* Supervisor and keeper are both dead, and whoever comes next begins with a socket of his own and needs the lock. */
static void
leave_alone(struct stash *s)
{
	stash__log(LOG_WARNING, "the stash is alone: it commits what is there and ends");
	s->control = -1;
	stash__answer_free(s);
	if (stash__wait_add(s, STASH__WAIT_ALONE, 0) == NULL) {
		s->ending = true;
		s->status_code = STASH__STASH_ALONE;
	}
}

void
stash__serve(struct stash *s)
{
	for (int i = 0; i < AT_ONCE && s->control >= 0; i++) {
		size_t len;
		int fd = -1, nfds, result;

		stash__answer_flush(s);
		if (!STAILQ_EMPTY(&s->answers))
			return;
		result = stash__sock_recv(s->control, s->packet, STASH__WIRE_MAX, &len, &fd, 1, &nfds, MSG_DONTWAIT);
		if (result == STASH_OK)
			serve_one(s, len, nfds == 1 ? fd : -1);
		else if (result == STASH_E_DOWN)
			leave_alone(s);
		else if (result == STASH_E_PROTO)
			stash__log(LOG_ERR, "a message to the stash is lost: %s", stash_errmsg());
		else if (result != STASH_E_PENDING)
			stash__give_up(stash_errmsg());
		if (result == STASH_E_PENDING)
			return;
	}
}
