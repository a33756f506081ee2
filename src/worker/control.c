/* SPDX-License-Identifier: ISC */
/*
 * control.c: the worker's end of its control socket.
 * The supervisor may die at any moment; the socket outlives it (the keeper holds its other end), so that what is sent
 * reaches the next one, and nothing here takes silence for an answer.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/sock.h"
#include "shm/bell.h"
#include "shm/fields.h"
#include "shm/map.h"
#include "shm/wire.h"
#include "worker/worker.h"

struct incoming {
	struct stash_view view;
	int64_t type;
	int fds[STASH__WIRE_FDS];
	int nfds;
};

/* ---- in and out ---- */

static void
close_fds(struct incoming *in)
{
	for (int i = 0; i < in->nfds; i++)
		if (in->fds[i] >= 0)
			close(in->fds[i]);
	in->nfds = 0;
}

/* Takes a descriptor out of the message: it is the caller's now. */
static int
take_fd(struct incoming *in, int i)
{
	int fd = in->fds[i];

	in->fds[i] = -1;
	return fd;
}

static int
receive(struct stash_worker *w, struct incoming *in, int flags)
{
	size_t len = 0;
	int result = stash__sock_recv(
	    w->control, w->wire, STASH__WIRE_MAX, &len, in->fds, STASH__WIRE_FDS, &in->nfds, flags);

	if (result < 0) {
		in->nfds = 0;
		return result;
	}
	stash_view_init(&in->view, w->wire, len);
	in->type = stash_view_int(&in->view);
	(void)stash_view_int(&in->view); /* no request numbers on this socket */
	return STASH_OK;
}

static struct stash_buf *
compose(struct stash_worker *w, int type)
{
	stash__buf_reset(&w->message_out);
	(void)stash_buf_add_int(&w->message_out, type);
	(void)stash_buf_add_int(&w->message_out, 0);
	return &w->message_out;
}

/* Supervisor and keeper are both gone, and the channels with them: no one can ever answer for us. */
static void
be_alone(struct stash_worker *w)
{
	w->closing = w->abandoned = true;
}

/* Waits for room in the socket: what is said here must arrive. */
static int
say(struct stash_worker *w)
{
	const void *data;
	size_t len;
	int result = stash_buf_data(&w->message_out, &data, &len);

	while (result == STASH_OK) {
		struct pollfd p = { .fd = w->control, .events = POLLOUT };
		result = stash__sock_send(w->control, data, len, NULL, 0);
		if (result != STASH_E_BUSY)
			break;
		(void)poll(&p, 1, 1000);
		result = STASH_OK;
	}
	if (result == STASH_E_DOWN)
		be_alone(w);
	return result;
}

/* ---- START and GO ---- */

static int
read_args(struct stash_worker *w, struct stash_view *v)
{
	int64_t argc = stash_view_int(v);

	if (v->error != 0 || argc < 1 || argc > 4096)
		return STASH_E_FORMAT;
	w->start.argv = calloc((size_t)argc + 1, sizeof(char *));
	if (w->start.argv == NULL)
		return STASH_E_NOMEM;
	for (w->start.argc = 0; w->start.argc < argc; w->start.argc++) {
		size_t len = 0;
		const char *arg = stash_view_bytes(v, &len);
		if (arg == NULL && v->error != 0)
			return STASH_E_FORMAT;
		w->start.argv[w->start.argc] = strndup(arg != NULL ? arg : "", len);
		if (w->start.argv[w->start.argc] == NULL)
			return STASH_E_NOMEM;
	}
	return v->error;
}

static int
read_start(struct stash_worker *w, struct stash_view *v)
{
	struct start *s = &w->start;
	int64_t version = stash_view_int(v);
	int result;

	if (version != STASH__WIRE_VERSION)
		return stash__fail(STASH_E_FORMAT,
		    "the supervisor speaks version %lld of the control socket, this worker %d", (long long)version,
		    STASH__WIRE_VERSION);
	snprintf(s->name, sizeof s->name, "%s", stash_view_text(v));
	s->incarnation = (uint64_t)stash_view_int(v);
	s->parent = stash_view_int(v);
	w->init.restarts = (uint64_t)stash_view_int(v);
	w->init.last_reason = (uint32_t)stash_view_int(v);
	s->ack_disk = stash_view_int(v) != 0;
	s->no_persist = stash_view_int(v) != 0;
	(void)stash_view_int(v); /* max_attempts: the stash's business */
	s->spin_ns = stash_view_int(v);
	result = read_args(w, v);
	if (result == STASH_OK && (w->dir = strdup(stash_view_text(v))) == NULL)
		result = STASH_E_NOMEM;
	if (result == STASH_E_NOMEM)
		return stash__fail(STASH_E_NOMEM, "no memory for what the supervisor says at the start");
	if (result < 0 || stash_view_end(v) < 0)
		return stash__fail(STASH_E_PROTO, "the supervisor's START can't be understood");
	return STASH_OK;
}

static int
map_start(struct stash_worker *w, struct incoming *in)
{
	int page, status, result;

	if (in->nfds < 5)
		return stash__fail(STASH_E_PROTO, "the supervisor's START lacks descriptors");
	w->bell = take_fd(in, 3);
	w->stash_bell = take_fd(in, 4);
	page = in->fds[2];
	w->bell_page = stash__bell_page_map(page, true);
	status = w->bell_page == NULL ? STASH_E_SYSTEM : STASH_OK;
	result = stash__out_map_page(&w->out, take_fd(in, 0), true);
	if (result == STASH_OK)
		result = stash__in_map(&w->in, take_fd(in, 1), false, NULL);
	return result < 0 ? result : status;
}

int
stash__control_start(struct stash_worker *w)
{
	struct incoming in;
	int result;

	w->wire = malloc(STASH__WIRE_MAX);
	if (w->wire == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the control socket's messages");
	stash__buf_init(&w->message_out, STASH__WIRE_MAX);
	result = receive(w, &in, 0);
	if (result < 0)
		return result;
	if (in.type != STASH__W_START)
		result = stash__fail(
		    STASH_E_PROTO, "the supervisor's first message is of type %lld", (long long)in.type);
	if (result == STASH_OK)
		result = read_start(w, &in.view);
	if (result == STASH_OK)
		result = map_start(w, &in);
	close_fds(&in);
	return result;
}

int
stash__control_go(struct stash_worker *w)
{
	struct incoming in;
	int result;

	for (;;) {
		result = receive(w, &in, 0);
		if (result < 0)
			return stash__fail(STASH_E_DOWN, "the supervisor died before %s was told to go", w->start.name);
		close_fds(&in);
		if (in.type == STASH__W_GO) {
			/* One of before there was a choice says nothing. */
			w->start.dies_with_supervisor = stash_view_int(&in.view) == 1 && in.view.error == 0;
			return STASH_OK;
		}
		if (in.type == STASH__W_STOP)
			return stash__fail(STASH_E_DOWN, "%s was told to stop before it had begun", w->start.name);
	}
}

/* ---- what comes while it runs ---- */

static int
on_attach(struct stash_worker *w, struct incoming *in)
{
	struct offer o = { .memfd = in->fds[0], .bell = -1 };
	size_t id_len = 0;
	const void *id = stash_view_bytes(&in->view, &id_len);
	int64_t kind;

	o.place = (uint32_t)stash_view_int(&in->view);
	o.gone = stash_view_int(&in->view) != 0;
	o.uid = (uint32_t)stash_view_int(&in->view);
	o.pid = (uint32_t)stash_view_int(&in->view);
	kind = stash__view_range(&in->view, STASH__ATTACH_CLIENT, STASH__ATTACH_LINE);
	o.file = kind == STASH__ATTACH_WAY;
	o.line = kind == STASH__ATTACH_LINE;
	if (stash_view_end(&in->view) < 0 || id_len != STASH__ID || in->nfds < 1 || (!o.gone && in->nfds < 2))
		return STASH_OK;
	if (stash__mailbox_find(w, id) != NULL)
		return STASH_OK; /* attached already: left as it is */
	memcpy(o.id, id, STASH__ID);
	if (in->nfds > 1)
		o.bell = take_fd(in, 1);
	return stash__mailbox_attach(w, &o);
}

static void
on_gone(struct stash_worker *w, struct incoming *in)
{
	size_t id_len = 0;
	const void *id = stash_view_bytes(&in->view, &id_len);

	if (stash_view_end(&in->view) == STASH_OK && id_len == STASH__ID)
		stash__mailbox_gone(w, id);
}

static void
on_grown(struct stash_worker *w, struct incoming *in)
{
	int error = (int)stash__view_range(&in->view, INT32_MIN, 0);
	const char *text = stash_view_text(&in->view);

	if (w->unanswered > 0)
		w->unanswered--;
	/* Answers come in the order of the questions, and don't say to which.  Those that a supervisor has taken with
	 * it never come: so each that isn't for this question has it asked again. */
	if (w->older > 0) {
		w->older--;
		w->asked_room = 0;
		return;
	}
	w->grown = true;
	w->grow_error = error;
	strlcpy(w->grow_why, text, sizeof w->grow_why);
}

/* Taken when somebody waits for it; asked twice, it may come twice. */
static void
on_fields(struct stash_worker *w, struct incoming *in)
{
	struct told *told = w->told;
	uint64_t image_len;
	const void *fields;
	size_t len;

	if (told == NULL || told->done)
		return;
	(void)stash_view_text(&in->view);
	(void)stash_view_int(&in->view);
	image_len = (uint64_t)stash_view_int(&in->view);
	fields = stash_view_bytes(&in->view, &len);
	if (stash_view_end(&in->view) < 0)
		return;
	told->done = true;
	if (len > 0 && image_len == told->image_len)
		told->error = stash__fields_unpack(fields, len, image_len, &told->fields);
}

static int
handle(struct stash_worker *w, struct incoming *in)
{
	int result = STASH_OK;

	switch (in->type) {
	case STASH__W_ATTACH:
		result = on_attach(w, in);
		break;
	case STASH__W_GONE:
		on_gone(w, in);
		break;
	case STASH__W_GROWN:
		on_grown(w, in);
		break;
	case STASH__W_STOP:
		w->closing = true;
		break;
	case STASH__W_FIELDS:
		on_fields(w, in);
		break;
	case STASH__W_WAY_TO:
		stash__way_told(w, &in->view, in->fds, in->nfds);
		break;
	case STASH__W_WAYS:
		stash__ways_told(w);
		break;
	case STASH__W_NAMED:
		stash__names_answer(w, &in->view);
		break;
	case STASH__W_DOWN:
		stash__names_down(w, &in->view);
		break;
	default: /* a later supervisor's message that this library doesn't know */
		break;
	}
	close_fds(in);
	return result;
}

int
stash__control_read(struct stash_worker *w)
{
	struct incoming in;
	int result;

	while ((result = receive(w, &in, MSG_DONTWAIT)) == STASH_OK) {
		result = handle(w, &in);
		if (result < 0)
			return result;
	}
	if (result == STASH_E_DOWN) {
		be_alone(w);
		return STASH_OK;
	}
	return result == STASH_E_PENDING ? STASH_OK : result;
}

/* ---- what is said ---- */

int
stash__control_layout(struct stash_worker *w)
{
	const struct stash_behaviour *b = w->behaviour;
	struct stash_buf fields, *out;
	const void *data = NULL;
	size_t len = 0;
	int result;

	stash__buf_init(&fields, STASH__WIRE_MAX / 2);
	/* What encode writes isn't the struct that the fields tell of. */
	result = b->encode != NULL ? STASH_E_NOENT : stash__fields_pack(&fields, b->fields, b->state_size);
	if (result == STASH_OK)
		result = stash_buf_data(&fields, &data, &len);
	out = compose(w, STASH__W_LAYOUT);
	(void)stash_buf_add_text(out, b->name);
	(void)stash_buf_add_int(out, b->layout_version);
	(void)stash_buf_add_int(out, (int64_t)b->state_size);
	(void)stash_buf_add_bytes(out, result == STASH_OK ? data : NULL, result == STASH_OK ? len : 0);
	stash__buf_fini(&fields);
	return say(w);
}

int
stash__control_ready(struct stash_worker *w, int error, const char *text)
{
	struct stash_buf *out = compose(w, STASH__W_READY);

	(void)stash_buf_add_int(out, error);
	(void)stash_buf_add_text(out, text);
	return say(w);
}

static bool
has_grown(struct stash_worker *w)
{
	return w->grown;
}

static bool
is_folded(struct stash_worker *w)
{
	return atomic_load_explicit(&w->in.page->out_head, memory_order_acquire) ==
	    atomic_load_explicit(&w->out.page->out_tail, memory_order_relaxed);
}

int
stash__control_move(struct stash_worker *w)
{
	int result = stash__in_follow(&w->in);

	w->grown = false;
	w->asked_room = 0;
	if (result == STASH_OK && w->grow_error < 0)
		result = stash__fail(w->grow_error, "%s", w->grow_why);
	while (result == STASH_OK && !is_folded(w)) {
		if (w->abandoned)
			return stash__fail(STASH_E_DOWN, "nobody is left who could fold the slot of %s", w->start.name);
		stash__bell_ring(w->stash_bell);
		result = stash__worker_sleep(w, STASH__PHASE_WAITING, stash__now_ns() + STASH__NS_PER_MS, is_folded);
	}
	if (result == STASH_OK)
		result = stash__out_move(&w->out);
	w->half_rung = atomic_load_explicit(&w->out.page->out_tail, memory_order_relaxed);
	return result;
}

int
stash__control_ask_room(struct stash_worker *w, uint64_t image_bytes, uint64_t ring_bytes)
{
	struct stash_buf *out;
	int result;

	if (w->asked_room != 0 && w->now - w->asked_room < STASH__ASK_AGAIN)
		return STASH_OK;
	w->asked_room = w->now;
	w->unanswered++;
	out = compose(w, STASH__W_GROW);
	(void)stash_buf_add_int(out, (int64_t)image_bytes);
	(void)stash_buf_add_int(out, (int64_t)ring_bytes);
	result = say(w);
	return result == STASH_E_DOWN ? STASH_OK : result; /* who waits finds that nobody is there */
}

int
stash__control_grow(struct stash_worker *w, uint64_t image_bytes, uint64_t ring_bytes)
{
	int result = STASH_OK;

	w->asked_room = 0;
	w->grown = false;
	w->older = w->unanswered;
	while (result >= 0 && !w->grown) {
		w->now = stash__now_ns();
		result = stash__control_ask_room(w, image_bytes, ring_bytes);
		if (result >= 0)
			result = stash__worker_sleep(
			    w, STASH__PHASE_WAITING, w->asked_room + STASH__ASK_AGAIN, has_grown);
		if (w->closing && result >= 0 && !w->grown && (w->abandoned || w->state == NULL))
			result = stash__fail(STASH_E_DOWN, "told to stop while waiting for room in the slot");
	}
	w->older = 0;
	return result < 0 ? result : stash__control_move(w);
}

static bool
is_told(struct stash_worker *w)
{
	return w->told->done;
}

int
stash__control_fields(
    struct stash_worker *w, const char *layout, uint32_t version, uint64_t image_len, struct stash_field **fields)
{
	struct told told = { .image_len = image_len };
	struct stash_buf *out;
	int result = STASH_OK;

	w->told = &told;
	while (result >= 0 && !told.done) {
		out = compose(w, STASH__W_ASK_FIELDS);
		(void)stash_buf_add_text(out, layout);
		(void)stash_buf_add_int(out, version);
		result = say(w);
		if (result >= 0)
			result = stash__worker_sleep(
			    w, STASH__PHASE_WAITING, stash__now_ns() + STASH__ASK_AGAIN, is_told);
		if (w->closing && result >= 0 && !told.done)
			result = stash__fail(STASH_E_DOWN, "told to stop while asking for the layout of the state");
	}
	w->told = NULL;
	*fields = told.fields;
	return result < 0 ? result : told.error;
}

void
stash__control_detached(struct stash_worker *w, const uint8_t id[STASH__ID])
{
	struct stash_buf *out = compose(w, STASH__W_DETACHED);

	(void)stash_buf_add_bytes(out, id, STASH__ID);
	(void)say(w);
}

void
stash__control_refused(struct stash_worker *w, const uint8_t id[STASH__ID], int error, const char *text, bool deleted)
{
	char copy[STASH__ERRMSG_MAX];
	struct stash_buf *out;

	snprintf(copy, sizeof copy, "%s", text);
	out = compose(w, STASH__W_REFUSED);
	(void)stash_buf_add_bytes(out, id, STASH__ID);
	(void)stash_buf_add_int(out, error);
	(void)stash_buf_add_text(out, copy);
	(void)stash_buf_add_int(out, deleted);
	(void)say(w);
}

void
stash__control_way(struct stash_worker *w, const char *name)
{
	(void)stash_buf_add_text(compose(w, STASH__W_WAY), name);
	(void)say(w);
}

void
stash__control_way_over(struct stash_worker *w, const uint8_t id[STASH__ID])
{
	(void)stash_buf_add_bytes(compose(w, STASH__W_WAY_OVER), id, STASH__ID);
	(void)say(w);
}

void
stash__control_log(struct stash_worker *w, int priority, const char *line)
{
	struct stash_buf out;
	const void *data;
	size_t len;

	/* From any thread: a buffer of its own; a full socket drops the line rather than holding up a callback. */
	stash__buf_init(&out, STASH__WIRE_MAX);
	(void)stash_buf_add_int(&out, STASH__W_LOG);
	(void)stash_buf_add_int(&out, 0);
	(void)stash_buf_add_int(&out, priority);
	(void)stash_buf_add_text(&out, line);
	if (stash_buf_data(&out, &data, &len) == STASH_OK)
		(void)stash__sock_send(w->control, data, len, NULL, 0);
	stash__buf_fini(&out);
}
