/* SPDX-License-Identifier: ISC */
/*
 * What a worker is told by its supervisor, and what clients put into its channels: START with whatever items; channels
 * attached with right and wrong descriptors, rows and positions, lines and bells; requests whole, broken and out of
 * order; the other messages of the control socket. Batches run in between, and a stash takes what they submit. Nothing
 * of it ends the worker or makes it wait, and a reply is only seen behind a request that was whole.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stash/worker.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/role.h"
#include "base/sock.h"
#include "shm/bell.h"
#include "shm/checksum.h"
#include "shm/wire.h"
#include "worker/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 48
#define CHANNELS 3 /* of which the base has a row */

static char dir[] = "/dev/shm/fuzz-worker.XXXXXX";
static int slot_fd = -1, supervisor = -1, own_bell = -1, memfds[CHANNELS];
static struct stash_worker *worker;
static struct stash__in stash_side;
static struct stash__channel channels[CHANNELS];
static uint64_t written[CHANNELS], position[CHANNELS];

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	STASH_ASSERT(strlen(msg->tag) <= STASH_TAG_MAX && ((const char *)msg->data)[msg->len] == '\0');
	++*(uint64_t *)state;
	return stash_reply(w, msg->data, msg->len < 100 ? msg->len : 100);
}

static int
handle_cast(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	(void)w;
	*(uint64_t *)state += msg->len;
	return STASH_OK;
}

static const struct stash_behaviour behaviour = STASH_BEHAVIOUR(.name = "fuzz", .state_size = 16, .layout_version = 1,
    .handle_call = handle_call, .handle_cast = handle_cast, .handle_info = handle_cast);

/* ---- a slot, and a worker that has begun ---- */

static void
remove_dir(void)
{
	(void)rmdir(dir);
}

static void
begin_once(void)
{
	if (slot_fd >= 0)
		return;
	STASH_ASSERT(mkdtemp(dir) != NULL && atexit(remove_dir) == 0);
	slot_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	own_bell = stash__bell_make();
}

static void
make_id(uint8_t id[STASH__ID], unsigned i)
{
	memset(id, 0, STASH__ID);
	id[0] = (uint8_t)(i + 1);
}

static void
make_slot(int fds[3])
{
	static const struct stash__origin origin = { "boot", "store" };
	struct stash__base base = { .nrows = CHANNELS };
	struct stash__row rows[CHANNELS];

	memset(rows, 0, sizeof rows);
	for (unsigned i = 0; i < CHANNELS; i++) {
		make_id(rows[i].id, i);
		rows[i].used = STASH__USE_IN;
	}
	STASH_ASSERT(stash__out_make(slot_fd, "w.out", &origin, 0, &fds[0]) == 0);
	STASH_ASSERT(stash__in_make(slot_fd, "w.in", &origin, CHANNELS, 64, &fds[1]) == 0);
	STASH_ASSERT(stash__bell_page_make(slot_fd, "w.bell", &fds[2]) == 0);
	(void)unlinkat(slot_fd, "w.out", 0);
	(void)unlinkat(slot_fd, "w.in", 0);
	(void)unlinkat(slot_fd, "w.bell", 0);
	STASH_ASSERT(stash__in_map(&stash_side, fds[1], true, NULL) == 0);
	STASH_ASSERT(stash__base_write(&stash_side, &base, rows, NULL, "") == 0);
	stash__base_turn(&stash_side);
}

static struct stash_worker *
make_worker(int control)
{
	struct stash_worker *w = calloc(1, sizeof *w);

	STASH_ASSERT(w != NULL);
	w->behaviour = &behaviour;
	w->control = control;
	w->bell = w->stash_bell = w->lines = w->task_epoll = -1;
	w->batch_max = 4;
	w->thread = pthread_self();
	w->next_ref = 1;
	w->grow_head = UINT64_MAX;
	RB_INIT(&w->timers);
	STAILQ_INIT(&w->posts);
	STAILQ_INIT(&w->names.downs);
	TAILQ_INIT(&w->asked_tasks);
	TAILQ_INIT(&w->tasks);
	TAILQ_INIT(&w->over_tasks);
	TAILQ_INIT(&w->open);
	TAILQ_INIT(&w->fresh);
	TAILQ_INIT(&w->asked);
	TAILQ_INIT(&w->ways);
	stash__buf_init(&w->records, 2 * (size_t)STASH__RECORDS_BYTES);
	pthread_mutex_init(&w->posts_lock, NULL);
	return w;
}

static void
free_worker(struct stash_worker *w)
{
	int out = w->out.page != NULL ? w->out.fd : -1, in = w->in.page != NULL ? w->in.fd : -1;

	stash__mailbox_free_all(w);
	stash__timer_free_all(w);
	stash__post_free_all(w);
	stash__names_free_all(w);
	stash__task_free_all(w);
	stash__records_free_all(w);
	stash__ways_free_all(w);
	stash__ask_free(w);
	if (w->out.page != NULL)
		stash__out_unmap(&w->out);
	if (w->in.page != NULL)
		stash__in_unmap(&w->in);
	stash__bell_page_unmap(w->bell_page);
	stash__copy_free(&w->copy);
	stash__buf_fini(&w->message_out);
	stash__state_free(w);
	for (int *fd = (int[]){ out, in, w->bell, w->stash_bell, w->lines, -2 }; *fd != -2; fd++)
		if (*fd >= 0)
			close(*fd);
	for (int i = 0; w->start.argv != NULL && i < w->start.argc; i++)
		free(w->start.argv[i]);
	free(w->start.argv);
	free(w->dir);
	free(w->base);
	free(w->wire);
	free(w);
}

/* ---- the supervisor's side ---- */

static void
say(struct stash_buf *buf, const int *fds, int nfds)
{
	const void *data;
	size_t len;

	if (stash_buf_data(buf, &data, &len) == 0)
		(void)stash__sock_send(supervisor, data, len, fds, nfds);
	stash__buf_fini(buf);
}

static void
begin_message(struct stash_buf *buf, int64_t type)
{
	stash__buf_init(buf, STASH__WIRE_MAX);
	(void)stash_buf_add_int(buf, type);
	(void)stash_buf_add_int(buf, 0);
}

static void
hear(void)
{
	static unsigned char wire[STASH__WIRE_MAX];
	int fds[8], nfds;
	size_t len;

	while (stash__sock_recv(supervisor, wire, sizeof wire, &len, fds, 8, &nfds, MSG_DONTWAIT) == 0)
		for (int i = 0; i < nfds; i++)
			close(fds[i]);
}

/* As a good supervisor says it; one item is wrong if the input wants it so. */
static void
say_start(const int slot[3], uint8_t wrong)
{
	const int fds[] = { slot[0], slot[1], slot[2], own_bell, own_bell };
	struct stash_buf buf;

	begin_message(&buf, wrong == 1 ? STASH__W_GO : STASH__W_START);
	(void)stash_buf_add_int(&buf, STASH__WIRE_VERSION + (wrong == 2));
	(void)stash_buf_add_text(&buf, "w");
	for (int i = 0; i < 8; i++)
		(void)stash_buf_add_int(&buf, wrong == 3 + i ? -1 : i == 0);
	(void)stash_buf_add_int(&buf, wrong == 11 ? 5000 : 1);
	(void)stash_buf_add_bytes(&buf, "w", 1);
	if (wrong != 12)
		(void)stash_buf_add_text(&buf, "/nonexistent");
	say(&buf, fds, wrong == 13 ? 4 : 5);
}

static void
attach(const uint8_t *data, size_t len)
{
	unsigned which = data[0] % CHANNELS;
	uint8_t how = len > 1 ? data[1] : 0, id[STASH__ID];
	int fds[2] = { memfds[which], own_bell }, ends[2] = { -1, -1 };
	struct stash_buf buf;

	make_id(id, how > 240 ? which + 1 : which);
	begin_message(&buf, STASH__W_ATTACH);
	(void)stash_buf_add_bytes(&buf, id, STASH__ID);
	(void)stash_buf_add_int(&buf, len > 2 && data[2] > 200 ? data[2] : which);
	(void)stash_buf_add_int(&buf, how & 1);
	(void)stash_buf_add_int(&buf, 7);
	(void)stash_buf_add_int(&buf, 8);
	(void)stash_buf_add_int(&buf, (how & 6) == 2 ? STASH__ATTACH_LINE : how > 250);
	if ((how & 6) == 2 && stash__line_make(ends) == 0)
		fds[1] = ends[0];
	if (how > 230)
		fds[0] = slot_fd;
	say(&buf, fds, how > 225 ? 1 : 2);
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0) {
			/* The client rings, or is gone. */
			stash__line_ring(ends[1 - i]);
			close(ends[i]);
		}
}

static void
message(uint8_t type, const uint8_t *data, size_t len)
{
	/* Not GROWN: it waits then for a stash that folds, which this one does between batches only. */
	static const uint8_t types[] = { 1, 2, 3, 4, 33, 34, 41, 42, 60, 0, 99 };
	int fds[3] = { own_bell, memfds[0], slot_fd };
	struct stash_buf buf;
	uint8_t id[STASH__ID];

	begin_message(&buf, types[type % sizeof types]);
	for (; len >= 2; data += 2, len -= 2) {
		make_id(id, data[1] % 4);
		if (data[0] % 5 == 0)
			(void)stash_buf_add_int(&buf, (int8_t)data[1]);
		else if (data[0] % 5 == 1)
			(void)stash_buf_add_text(&buf, data[1] % 2 ? "w" : "");
		else if (data[0] % 5 == 2)
			(void)stash_buf_add_bytes(&buf, id, STASH__ID);
		else if (data[0] % 5 == 3)
			(void)stash_buf_add(&buf, data + 1, 1);
		else
			(void)stash_buf_add_bytes(&buf, data, len < data[1] ? len : data[1]);
	}
	say(&buf, fds, type % 4);
}

/* ---- the clients' side ---- */

static void
request(const uint8_t *data, size_t len)
{
	unsigned which = data[0] % CHANNELS;
	struct stash__channel *c = &channels[which];
	uint64_t tail = position[which];
	char tag[8] = "tag";

	if (len < 4)
		return;
	tag[2] = (char)data[2];
	if (stash__request_write(c, &tail, written[which] + 1 + (data[1] > 250), 1 + data[1] % 4, tag, data + 3,
		len - 3, data[1] > 240 ? 1 : INT64_MAX) == 0) {
		written[which]++;
		position[which] = tail;
		stash__request_publish(c, tail);
	}
}

static void
scribble(const uint8_t *data, size_t len)
{
	unsigned which = data[0] % CHANNELS;
	struct stash__channel *c = &channels[which];
	uint64_t at = atomic_load(&c->page->req_tail), sum;
	size_t n = len > 2 ? len - 2 : 0;

	if (len < 3)
		return;
	if (data[1] > 240) {
		atomic_store(&c->page->rep_head, data[2] * 8ull);
		return;
	}
	memcpy(c->req + at % c->ring_bytes, data + 2, n);
	if ((data[1] & 1) != 0 && n >= 8) {
		sum = stash__checksum(c->req + at % c->ring_bytes, n, at);
		memcpy(c->req + at % c->ring_bytes, &sum, sizeof sum);
	}
	atomic_store(&c->page->req_tail, at + ((data[1] & 2) != 0 ? n & ~(size_t)7 : n));
	position[which] = atomic_load(&c->page->req_tail);
}

/* ---- a batch, as loop.c has it ---- */

static void
run_batch(void)
{
	struct stash_worker *w = worker;

	w->now = w->busy_since = stash__now_ns();
	STASH_ASSERT(stash__names_record(w) == 0);
	(void)stash__record_run(w);
	for (size_t i = 0; i < w->nmailboxes && w->batch < w->batch_max && w->ending == 0; i++)
		if (stash__mailbox_take(w, w->mailboxes[i]) > 0)
			stash__dispatch_request(w, w->mailboxes[i]);
	if (w->ending < 0)
		return;
	if (w->batch > 0 || stash__mailbox_reap(w) || stash__records_due(w))
		STASH_ASSERT(stash__submit(w, 0) == 0);
	/* The stash has folded it. */
	atomic_store(&stash_side.page->out_head, atomic_load(&w->out.page->out_tail));
	stash__publish_pending(w);
	stash__mailbox_heard(w);
}

static void
step(uint8_t kind, const uint8_t *data, size_t len)
{
	if (len == 0)
		return;
	if (kind < 60)
		attach(data, len);
	else if (kind < 100)
		message(kind, data, len);
	else if (kind < 190)
		request(data, len);
	else
		scribble(data, len);
	(void)stash__control_read(worker);
	if (worker->ending == 0)
		run_batch();
	hear();
}

static void
make_channels(void)
{
	uint8_t id[STASH__ID];

	for (unsigned i = 0; i < CHANNELS; i++) {
		make_id(id, i);
		STASH_ASSERT(stash__channel_make(id, 0, &memfds[i]) == 0);
		STASH_ASSERT(stash__channel_map(&channels[i], memfds[i]) == 0);
		written[i] = position[i] = 0;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int sockets[2], slot[3];
	bool begun;

	if (size < 1)
		return 0;
	begin_once();
	STASH_ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
	supervisor = sockets[1];
	make_slot(slot);
	make_channels();
	worker = make_worker(sockets[0]);
	stash__role_set(STASH__ROLE_WORKER);
	say_start(slot, data[0] < 200 ? 0 : data[0] - 200);
	begun = stash__control_start(worker) == 0 && stash__out_map_ring(&worker->out) == 0 &&
	    stash__base_copy(&worker->in, &worker->base) == 0 && stash__state_allocate(worker) == 0 &&
	    stash__state_load(worker) == 0 && stash__records_load(worker) == 0;
	STASH_ASSERT(begun || data[0] >= 200);
	for (int i = 0; begun && size > 3 && i < STEPS_MAX && worker->ending == 0; i++) {
		size_t len = data[2] < size - 3 ? data[2] : size - 3;

		step(data[1], data + 3, len);
		data += 2 + len;
		size -= 2 + len;
	}
	hear();
	free_worker(worker);
	stash__role_set(STASH__ROLE_NONE);
	stash__in_unmap(&stash_side);
	for (int i = 0; i < CHANNELS; i++) {
		stash__channel_unmap(&channels[i]);
		close(memfds[i]);
	}
	for (int i = 0; i < 3; i++)
		close(slot[i]);
	close(sockets[0]);
	close(sockets[1]);
	return 0;
}
