/* SPDX-License-Identifier: ISC */
/*
 * testlib_slot.c: see testlib_slot.h.
 */
#include "testlib_slot.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sock.h"
#include "shm/bell.h"
#include "shm/fields.h"
#include "shm/wire.h"
#include "testlib.h"
#include "worker/worker.h"

static const struct stash__origin origin = { "boot", "store" };
static unsigned char wire[STASH__WIRE_MAX];

/* ---- folding ---- */

/* Check's assertions write a file each time; this one only when it fails. */
#define SURE(cond) ((cond) ? (void)0 : ck_abort_msg("folding: %s", #cond))

/* Frames and bytes go on together, as the stash wants it. */
static bool
moves(uint64_t bytes, uint64_t count, uint64_t was_bytes, uint64_t was_count)
{
	uint64_t more = bytes - was_bytes, frames = count - was_count;

	return bytes >= was_bytes && count >= was_count &&
	    (frames == 0 ? more == 0 : more / sizeof(struct stash__frame) >= frames);
}

/* One entry; called with the lock held. */
static void
apply(struct t_world *t, const struct stash__entry_view *v)
{
	SURE(v->head.number == t->base.entry + 1);
	SURE(v->head.incarnation == t->incarnation);
	SURE(v->head.version >= t->base.version);
	t->base.entry++;
	for (unsigned i = 0; i < v->head.npositions; i++) {
		const struct stash__position *p = &v->positions[i];
		struct stash__row *row = &t->rows[p->place];
		SURE(p->place < t->base.nrows);
		t->broken += row->used == 0 || !moves(p->req_bytes, p->req_count, row->req_bytes, row->req_count) ||
		    !moves(p->rep_bytes, p->rep_count, row->rep_bytes, row->rep_count);
		row->req_bytes = p->req_bytes;
		row->req_count = p->req_count;
		row->rep_bytes = p->rep_bytes;
		row->rep_count = p->rep_count;
		if (p->flags & STASH__POSITION_GONE)
			memset(row, 0, sizeof *row);
	}
	if (v->head.flags & STASH__ENTRY_IMAGE) {
		memcpy(t->image, v->image, v->head.image_len);
		t->base.image_len = v->head.image_len;
		t->base.changed = v->head.number;
		t->base.version = v->head.version;
		t->base.layout_version = (uint32_t)t->out.page->layout_version;
		memcpy(t->base.layout, t->out.page->layout, sizeof t->base.layout);
	}
}

static void
write_base(struct t_world *t)
{
	SURE(stash__in_grow(&t->in, STASH__ROWS_MIN + t->base.nrows, t->base.image_len) == 0);
	SURE(stash__base_write(&t->in, &t->base, t->rows, NULL, t->image) == 0);
	stash__base_turn(&t->in);
}

/* With the lock held. */
static void
fold(struct t_world *t)
{
	uint64_t head, tail;
	bool any = false;

	SURE(stash__out_follow(&t->out) == 0);
	head = atomic_load(&t->in.page->out_head);
	tail = atomic_load_explicit(&t->out.page->out_tail, memory_order_acquire);
	SURE(stash__out_follow(&t->out) == 0);
	while (head != tail) {
		struct stash__entry_view v;
		if (stash__entry_view(&t->out, head, tail, &v) < 0) {
			t->broken++;
			break;
		}
		apply(t, &v);
		head += v.head.bytes;
		any = true;
	}
	if (any) {
		write_base(t);
		atomic_store_explicit(&t->in.page->out_head, head, memory_order_release);
		if (!t->no_disk)
			atomic_store_explicit(&t->in.page->durable, t->base.changed, memory_order_release);
		stash__bell_wake(&t->bell_page->asleep, t->bell);
	}
}

void
t_world_fold(struct t_world *t)
{
	pthread_mutex_lock(&t->lock);
	fold(t);
	pthread_mutex_unlock(&t->lock);
}

void
t_world_hold(struct t_world *t)
{
	pthread_mutex_lock(&t->lock);
	atomic_store(&t->hold, true);
	pthread_mutex_unlock(&t->lock);
}

static void *
fold_thread(void *arg)
{
	struct t_world *t = arg;

	while (!atomic_load(&t->stop)) {
		(void)stash__bell_poll(t->stash_bell, -1, -1, stash__now_ns() + 2 * STASH__NS_PER_MS);
		pthread_mutex_lock(&t->lock);
		if (!atomic_load(&t->hold))
			fold(t);
		pthread_mutex_unlock(&t->lock);
	}
	return NULL;
}

/* ---- life ---- */

void
t_world_open(struct t_world *t, uint64_t image_bytes)
{
	int fd;

	memset(t, 0, sizeof *t);
	t->dir = t_run_dir();
	t->dirfd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t->image = calloc(1, STASH_STATE_MAX);
	t->spin_ns = 0;
	ck_assert_int_eq(stash__out_make(t->dirfd, "w.out", &origin, 0, &fd), 0);
	ck_assert_int_eq(stash__out_map(&t->out, fd, true, &origin), 0);
	ck_assert_int_eq(stash__in_make(t->dirfd, "w.in", &origin, 0, image_bytes, &fd), 0);
	ck_assert_int_eq(stash__in_map(&t->in, fd, true, &origin), 0);
	ck_assert_int_eq(stash__bell_page_make(t->dirfd, "w.bell", &t->bell_page_fd), 0);
	t->bell_page = stash__bell_page_map(t->bell_page_fd, true);
	ck_assert_int_eq(stash__status_page_make(t->dirfd, "status", &origin, &t->status_fd), 0);
	t->bell = stash__bell_make();
	t->stash_bell = stash__bell_make();
	t->control = -1;
	pthread_mutex_init(&t->lock, NULL);
	write_base(t);
	ck_assert_int_eq(pthread_create(&t->folder, NULL, fold_thread, t), 0);
}

void
t_world_close(struct t_world *t)
{
	atomic_store(&t->stop, true);
	stash__bell_ring(t->stash_bell);
	pthread_join(t->folder, NULL);
	for (unsigned i = 0; i < t->nchannels; i++) {
		stash__channel_unmap(&t->channels[i]);
		close(t->memfds[i]);
		close(t->bells[i]);
	}
	for (int *fd = (int[]){ t->out.fd, t->in.fd, t->bell, t->stash_bell, t->bell_page_fd, t->status_fd, t->control,
		 t->dirfd, -2 };
	     *fd != -2; fd++)
		if (*fd >= 0)
			close(*fd);
	stash__out_unmap(&t->out);
	stash__in_unmap(&t->in);
	stash__bell_page_unmap(t->bell_page);
	pthread_mutex_destroy(&t->lock);
	free(t->image);
}

static void
say(struct t_world *t, const struct stash_buf *message, const int *fds, int nfds)
{
	const void *data;
	size_t len;
	int result;

	ck_assert_int_eq(stash_buf_data(message, &data, &len), 0);
	result = stash__sock_send(t->control, data, len, fds, nfds);
	ck_assert(result == 0 || result == STASH_E_DOWN); /* one that ends at once doesn't hear all of it */
	stash__bell_wake(&t->bell_page->asleep, t->bell);
}

static void
begin(struct stash_buf *b, int type)
{
	stash__buf_init(b, STASH__WIRE_MAX);
	(void)stash_buf_add_int(b, type);
	(void)stash_buf_add_int(b, 0);
}

static void
say_start(struct t_world *t)
{
	struct stash_buf b;
	const int fds[] = { t->out.fd, t->in.fd, t->bell_page_fd, t->bell, t->stash_bell, t->status_fd };
	const int64_t numbers[] = { (int64_t)t->incarnation, getpid(), (int64_t)t->incarnation - 1, 0, t->ack_disk, 0,
		3, t->spin_ns, 1 };

	begin(&b, STASH__W_START);
	(void)stash_buf_add_int(&b, STASH__WIRE_VERSION);
	(void)stash_buf_add_text(&b, "w");
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		(void)stash_buf_add_int(&b, numbers[i]);
	(void)stash_buf_add_bytes(&b, "w", 1);
	(void)stash_buf_add_text(&b, "/nowhere");
	say(t, &b, fds, 6);
	stash__buf_fini(&b);
}

void
t_world_go(struct t_world *t)
{
	struct stash_buf b;

	begin(&b, STASH__W_GO);
	say(t, &b, NULL, 0);
	stash__buf_fini(&b);
	for (unsigned i = 0; i < t->nchannels; i++)
		if (t->rows[i].used)
			t_world_attach(t, i, false);
}

void
t_world_start(struct t_world *t, const struct stash_behaviour *behaviour, bool wait)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	if (t->control >= 0)
		close(t->control);
	t->control = pair[0];
	t->incarnation++;
	say_start(t);
	t->pid = fork();
	if (t->pid == 0) {
		close(pair[0]);
		_exit(stash__worker_run(behaviour, pair[1]));
	}
	close(pair[1]);
	if (!wait)
		t_world_go(t);
}

void
t_world_expect(struct t_world *t, int type, struct stash_view *v)
{
	int64_t got = -1;

	for (int64_t until = stash__now_ns() + 20 * STASH__NS_PER_S; got != type;) {
		struct pollfd p = { .fd = t->control, .events = POLLIN };
		size_t len = 0;
		int nfds = 0, result;
		ck_assert_msg(stash__now_ns() < until, "the worker didn't say %d", type);
		if (poll(&p, 1, 100) <= 0)
			continue;
		result = stash__sock_recv(t->control, wire, sizeof wire, &len, NULL, 0, &nfds, MSG_DONTWAIT);
		ck_assert_msg(result == 0, "the worker ended before it said %d", type);
		stash_view_init(v, wire, len);
		got = stash_view_int(v);
		(void)stash_view_int(v);
	}
}

int
t_world_ready(struct t_world *t)
{
	struct stash_view v;

	t_world_expect(t, STASH__W_READY, &v);
	return (int)stash_view_int(&v);
}

int
t_world_wait(struct t_world *t)
{
	int status = -1;

	ck_assert_int_eq(waitpid(t->pid, &status, 0), t->pid);
	t_world_fold(t);
	return status;
}

/* ---- channels ---- */

unsigned
t_world_channel(struct t_world *t, uint64_t ring_bytes)
{
	unsigned i = t->nchannels++;
	uint8_t id[STASH__ID] = { (uint8_t)(i + 1), (uint8_t)(i >> 8), 7 };

	ck_assert_uint_lt(i, T_CHANNELS);
	ck_assert_int_eq(stash__channel_make(id, ring_bytes, &t->memfds[i]), 0);
	ck_assert_int_eq(stash__channel_map(&t->channels[i], t->memfds[i]), 0);
	t->bells[i] = stash__bell_make();
	pthread_mutex_lock(&t->lock);
	memcpy(t->rows[i].id, id, STASH__ID);
	t->rows[i].used = 1;
	if (t->base.nrows <= i)
		t->base.nrows = i + 1;
	write_base(t);
	pthread_mutex_unlock(&t->lock);
	return i;
}

void
t_world_attach(struct t_world *t, unsigned i, bool gone)
{
	struct stash_buf b;
	const int fds[] = { t->memfds[i], t->bells[i] };

	begin(&b, STASH__W_ATTACH);
	(void)stash_buf_add_bytes(&b, t->channels[i].id, STASH__ID);
	(void)stash_buf_add_int(&b, i);
	(void)stash_buf_add_int(&b, gone);
	(void)stash_buf_add_int(&b, getuid());
	(void)stash_buf_add_int(&b, getpid());
	(void)stash_buf_add_int(&b, 0);
	say(t, &b, fds, 2);
	stash__buf_fini(&b);
}

void
t_world_say_gone(struct t_world *t, unsigned i)
{
	struct stash_buf b;

	begin(&b, STASH__W_GONE);
	(void)stash_buf_add_bytes(&b, t->channels[i].id, STASH__ID);
	say(t, &b, NULL, 0);
	stash__buf_fini(&b);
}

static void
say_grown(struct t_world *t, int error)
{
	const int fds[] = { t->out.fd, t->in.fd };
	struct stash_buf b;

	begin(&b, STASH__W_GROWN);
	(void)stash_buf_add_int(&b, error);
	(void)stash_buf_add_text(&b, error < 0 ? "the run directory has no room" : "");
	say(t, &b, fds, error < 0 ? 0 : 2);
	stash__buf_fini(&b);
}

void
t_world_give(struct t_world *t, int64_t image, int64_t ring)
{
	t->grows++;
	if (t->refuses) {
		say_grown(t, STASH_E_FULL);
		return;
	}
	if (ring > 0)
		ck_assert_int_eq(stash__out_grow(t->out.fd, (uint64_t)ring, "w.out"), 0);
	pthread_mutex_lock(&t->lock);
	for (int i = 0; i < 2; i++) {
		/* Both bases, one after the other. */
		ck_assert_int_eq(stash__in_grow(&t->in, STASH__ROWS_MIN, (uint64_t)image), 0);
		write_base(t);
	}
	pthread_mutex_unlock(&t->lock);
	say_grown(t, STASH_OK);
}

/* As it is asked for by this message, or not. */
static void
answer_grow(struct t_world *t, struct stash_view *v)
{
	int64_t image = stash_view_int(v), ring = stash_view_int(v);

	ck_assert_int_eq(stash_view_end(v), 0);
	t_world_give(t, image, ring);
}

void
t_world_grow(struct t_world *t)
{
	struct stash_view v;

	t_world_expect(t, STASH__W_GROW, &v);
	answer_grow(t, &v);
}

void
t_world_tell(struct t_world *t, const char *layout, int64_t version, const struct stash_field *fields, uint64_t len)
{
	struct stash_buf b, packed;
	struct stash_view v;

	t_world_expect(t, STASH__W_ASK_FIELDS, &v);
	ck_assert_str_eq(stash_view_text(&v), layout);
	ck_assert_int_eq(stash_view_int(&v), version);
	ck_assert_int_eq(stash_view_end(&v), 0);
	stash__buf_init(&packed, STASH__FIELDS_BYTES);
	ck_assert_int_eq(stash__fields_pack(&packed, fields, len), 0);
	begin(&b, STASH__W_FIELDS);
	(void)stash_buf_add_text(&b, layout);
	(void)stash_buf_add_int(&b, version);
	(void)stash_buf_add_int(&b, (int64_t)len);
	(void)stash_buf_add_bytes(&b, packed.data, fields != NULL ? packed.len : 0);
	say(t, &b, NULL, 0);
	stash__buf_fini(&b);
	stash__buf_fini(&packed);
}

/* ---- a client of few words ---- */

void
t_caller_open(struct t_caller *a, struct t_world *t, unsigned channel)
{
	*a = (struct t_caller){ .t = t, .channel = channel, .c = &t->channels[channel] };
}

void
t_caller_close(struct t_caller *a)
{
	stash__copy_free(&a->copy);
}

uint64_t
t_caller_send(struct t_caller *a, uint32_t kind, const char *tag, const char *text)
{
	ck_assert_int_eq(stash__request_write(a->c, &a->tail, ++a->count, kind, tag, text, strlen(text), INT64_MAX), 0);
	stash__request_publish(a->c, a->tail);
	stash__bell_wake(&a->t->bell_page->asleep, a->t->bell);
	return a->count;
}

uint64_t
t_caller_ask(struct t_caller *a, const char *tag, const char *text)
{
	return t_caller_send(a, STASH_MSG_CALL, tag, text);
}

static bool
answered(struct t_caller *a)
{
	int got = stash__reply_read(a->c, &a->head, &a->copy, &a->m);

	ck_assert_int_ge(got, 0);
	return got > 0;
}

void
t_caller_answer(struct t_caller *a)
{
	bool got = false;

	for (int64_t until = stash__now_ns() + 20 * STASH__NS_PER_S; !got;) {
		stash__bell_doze(&a->c->page->client_asleep);
		got = answered(a);
		ck_assert_msg(got || stash__now_ns() < until, "no answer");
		if (!got)
			(void)stash__bell_poll(a->t->bells[a->channel], -1, -1, stash__now_ns() + STASH__NS_PER_S);
		stash__bell_rise(&a->c->page->client_asleep);
	}
}

void
t_caller_answer_growing(struct t_caller *a)
{
	for (int64_t until = stash__now_ns() + 20 * STASH__NS_PER_S; !answered(a);) {
		struct pollfd p = { .fd = a->t->control, .events = POLLIN };
		struct stash_view v;

		ck_assert_msg(stash__now_ns() < until, "no answer");
		if (poll(&p, 1, 1) <= 0)
			continue;
		t_world_expect(a->t, STASH__W_GROW, &v);
		answer_grow(a->t, &v);
	}
}

void
t_caller_expect(struct t_caller *a, const char *tag, const char *text, int code, const char *answer)
{
	uint64_t number = t_caller_ask(a, tag, text);

	t_caller_answer(a);
	ck_assert_uint_eq(a->m.head.number, number);
	ck_assert_int_eq(a->m.head.code, code);
	ck_assert_str_eq((const char *)a->m.data, answer);
}

void
t_world_begin(struct t_world *t, struct t_caller *a, const struct stash_behaviour *behaviour, uint64_t image_bytes,
    uint64_t ring_bytes)
{
	t_world_open(t, image_bytes);
	t_caller_open(a, t, t_world_channel(t, ring_bytes));
	t_world_start(t, behaviour, false);
	ck_assert_int_eq(t_world_ready(t), STASH_OK);
}

void
t_world_finish(struct t_world *t, struct t_caller *a)
{
	ck_assert_int_eq(kill(t->pid, SIGTERM), 0);
	ck_assert_int_eq(t_world_wait(t), 0);
	t_caller_close(a);
	t_world_close(t);
	ck_assert_uint_eq(t->broken, 0);
}
