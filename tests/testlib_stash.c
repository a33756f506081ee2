/* SPDX-License-Identifier: ISC */
/*
 * A stash process whose supervisor and workers the test plays; testlib_stash.h says what each call promises.
 */
#include "testlib_stash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/boot.h"
#include "base/clock.h"
#include "base/info.h"
#include "base/sock.h"
#include "shm/bell.h"
#include "store/store.h"

#define WAIT_MS 10000

#define good(call) ck_assert_msg((call) >= 0, "%s: %s", #call, stash_errmsg())

/* ---- the process ---- */

void
th_begin(struct th_stash *st)
{
	struct stash__info info;

	st->dir = t_path("store");
	st->control = st->peer = -1;
	st->bell = stash__bell_make();
	good(st->bell);
	ck_assert_int_eq(mkdir(st->dir, 0700), 0);
	stash__info_new(&info);
	snprintf(st->run_dir, sizeof st->run_dir, "%s/run", t_run_dir());
	snprintf(st->slot_dir, sizeof st->slot_dir, "%s/" STASH__SLOT_DIR, st->run_dir);
	ck_assert_int_eq(mkdir(st->run_dir, 0700), 0);
	strlcpy(info.run_dir, st->run_dir, sizeof info.run_dir);
	good(stash__info_create(st->dir, &info));
	memcpy(st->origin.store_id, info.id, STASH__ID);
	good(stash__boot_id(st->origin.boot_id));
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void
th_end(struct th_stash *st)
{
	ck_assert_int_eq(st->proc.pid, 0);
	close_fd(&st->bell);
	close_fd(&st->control);
	close_fd(&st->peer);
	stash__status_page_unmap(st->status);
	st->status = NULL;
}

void
th_launch(struct th_stash *st)
{
	const char *program = st->points ? t_points("tests/helpers/stash_process") :
					   t_build("tests/helpers/stash_process");
	char control[12], bell[12];
	const char *const argv[] = { program, st->dir, st->run_dir, control, bell, NULL };
	int sockets[2];

	close_fd(&st->control);
	close_fd(&st->peer);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	st->control = sockets[0];
	snprintf(control, sizeof control, "%d", sockets[1]);
	snprintf(bell, sizeof bell, "%d", st->bell);
	ck_assert_int_eq(fcntl(sockets[1], F_SETFD, 0), 0);
	ck_assert_int_eq(fcntl(st->bell, F_SETFD, 0), 0);
	t_spawn(&st->proc, argv, st->env);
	ck_assert_int_eq(fcntl(st->bell, F_SETFD, FD_CLOEXEC), 0);
	close(sockets[1]);
}

void
th_hello(struct th_stash *st)
{
	struct th_mail m;
	const void *id;
	size_t len;

	th_receive(st, &m);
	ck_assert_int_eq(m.type, STASH__S_HELLO);
	st->error = (int)m.error;
	strlcpy(st->text, m.text, sizeof st->text);
	if (m.error == 0) {
		st->incarnation = stash_view_int(&m.view);
		id = stash_view_bytes(&m.view, &len);
		ck_assert_uint_eq(len, STASH__ID);
		ck_assert_mem_eq(id, st->origin.store_id, STASH__ID);
		st->slots = stash_view_int(&m.view);
		st->clean = stash_view_int(&m.view);
		st->new_boot = stash_view_int(&m.view);
		ck_assert_int_eq(m.nfds, 2);
		stash__status_page_unmap(st->status);
		st->status = stash__status_page_map(m.fds[0], false);
		ck_assert_ptr_nonnull(st->status);
	}
	ck_assert_int_eq(stash_view_end(&m.view), 0);
	th_mail_done(&m);
}

void
th_start(struct th_stash *st)
{
	th_launch(st);
	th_hello(st);
	ck_assert_msg(st->error == 0, "hello: %s", st->text);
}

int
th_start_refused(struct th_stash *st)
{
	th_launch(st);
	th_hello(st);
	ck_assert_int_lt(st->error, 0);
	ck_assert_int_eq(t_wait(&st->proc, WAIT_MS), 1);
	return st->error;
}

void
th_kill(struct th_stash *st)
{
	t_kill(&st->proc, SIGKILL);
	ck_assert_int_eq(t_wait(&st->proc, WAIT_MS), 256 + SIGKILL);
}

void
th_restart(struct th_stash *st)
{
	th_kill(st);
	th_start(st);
}

void
th_shutdown(struct th_stash *st)
{
	int error = th_simple(st, STASH__S_SHUTDOWN);

	ck_assert_msg(error == 0, "shutdown: %s", st->text);
	ck_assert_int_eq(t_wait(&st->proc, WAIT_MS), 0);
}

int
th_fds(const struct th_stash *st)
{
	char path[64];
	struct dirent *d;
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)st->proc.pid);
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((d = readdir(dir)) != NULL)
		n += d->d_name[0] != '.';
	closedir(dir);
	return n;
}

/* ---- messages ---- */

void
th_request(struct th_stash *st, struct stash_buf *buf, int64_t type)
{
	stash__buf_init(buf, STASH__WIRE_MAX);
	stash_buf_add_int(buf, type);
	stash_buf_add_int(buf, ++st->number);
}

static void
send_request(struct th_stash *st)
{
	int result = stash__sock_send(
	    st->control, st->request, st->request_len, &st->request_fd, st->request_fd >= 0 ? 1 : 0);

	ck_assert_msg(result == 0 || (st->sturdy && result == STASH_E_DOWN), "%s", stash_errmsg());
}

void
th_send(struct th_stash *st, struct stash_buf *buf, int fd)
{
	ck_assert_uint_le(buf->len, sizeof st->request);
	memcpy(st->request, buf->data, buf->len);
	st->request_len = buf->len;
	st->request_fd = fd;
	stash__buf_fini(buf);
	send_request(st);
}

/* It is dead: true if the next one is asked now. */
static bool
ask_again(struct th_stash *st)
{
	if (!st->sturdy || !t_ended(&st->proc, WAIT_MS))
		return false;
	ck_assert_int_lt(st->deaths++, 5);
	th_start(st);
	send_request(st);
	return true;
}

static void
receive_one(struct th_stash *st, struct th_mail *m)
{
	struct pollfd pfd = { st->control, POLLIN, 0 };
	size_t len;

	if (poll(&pfd, 1, WAIT_MS * t_patience()) <= 0) {
		char *log = t_output(&st->proc);

		ck_abort_msg("the stash says nothing; its log: %s", log);
	}
	if (stash__sock_recv(st->control, m->data, sizeof m->data, &len, m->fds, 4, &m->nfds, 0) < 0) {
		char *log;

		if (ask_again(st)) {
			receive_one(st, m);
			return;
		}
		log = t_output(&st->proc);
		ck_abort_msg("%s; the stash's log: %s", stash_errmsg(), log);
	}
	stash_view_init(&m->view, m->data, len);
	m->type = stash_view_int(&m->view);
	m->number = stash_view_int(&m->view);
}

void
th_receive(struct th_stash *st, struct th_mail *m)
{
	for (;;) {
		receive_one(st, m);
		if (m->type != STASH__S_BROKEN)
			break;
		st->skipped++;
		strlcpy(st->broken, stash_view_text(&m->view), sizeof st->broken);
		(void)stash_view_text(&m->view);
		ck_assert_int_eq(stash_view_end(&m->view), 0);
	}
	m->error = stash_view_int(&m->view);
	m->text = stash_view_text(&m->view);
	if (m->type == STASH__S_HELLO)
		return;
	ck_assert_int_eq(m->number, st->number);
	strlcpy(st->text, m->text, sizeof st->text);
}

void
th_mail_done(struct th_mail *m)
{
	for (int i = 0; i < m->nfds; i++)
		close(m->fds[i]);
	m->nfds = 0;
}

int
th_done(struct th_stash *st)
{
	struct th_mail m;

	th_receive(st, &m);
	ck_assert_int_eq(m.type, STASH__S_DONE);
	ck_assert_int_eq(stash_view_end(&m.view), 0);
	th_mail_done(&m);
	return (int)m.error;
}

int
th_simple(struct th_stash *st, int64_t type)
{
	struct stash_buf buf;

	th_request(st, &buf, type);
	th_send(st, &buf, -1);
	return th_done(st);
}

int
th_close(struct th_stash *st, const char *name, bool keep)
{
	struct stash_buf buf;

	th_request(st, &buf, STASH__S_CLOSE);
	stash_buf_add_text(&buf, name);
	stash_buf_add_int(&buf, keep);
	th_send(st, &buf, -1);
	return th_done(st);
}

static void
add_id(struct stash_buf *buf, const char *text)
{
	char id[STASH__ID] = "";

	memcpy(id, text, strnlen(text, sizeof id));
	stash_buf_add_bytes(buf, id, sizeof id);
}

int
th_unchannel(struct th_stash *st, const char *name, const char *id)
{
	struct stash_buf buf;

	th_request(st, &buf, STASH__S_UNCHANNEL);
	stash_buf_add_text(&buf, name);
	add_id(&buf, id);
	th_send(st, &buf, -1);
	return th_done(st);
}

void
th_expect_broken(struct th_stash *st, const char *name)
{
	struct th_mail m;

	if (st->skipped == 0) {
		receive_one(st, &m);
		ck_assert_int_eq(m.type, STASH__S_BROKEN);
		strlcpy(st->broken, stash_view_text(&m.view), sizeof st->broken);
		st->skipped = 1;
	}
	ck_assert_str_eq(st->broken, name);
	ck_assert_int_eq(st->skipped, 1);
	st->skipped = 0;
}

/* ---- a worker ---- */

static void
map_worker(struct th_worker *w, const int fds[3])
{
	stash__out_unmap(&w->out);
	stash__in_unmap(&w->in);
	stash__bell_page_unmap(w->bell_page);
	for (int i = 0; i < 3; i++) {
		if (w->fds[i] > 0)
			close(w->fds[i]);
		w->fds[i] = dup(fds[i]);
		ck_assert_int_gt(w->fds[i], 0);
	}
	good(stash__out_map(&w->out, w->fds[0], true, &w->stash->origin));
	good(stash__in_map(&w->in, w->fds[1], false, &w->stash->origin));
	w->bell_page = stash__bell_page_map(w->fds[2], true);
	ck_assert_ptr_nonnull(w->bell_page);
}

int
th_open_as(struct th_stash *st, struct th_worker *w, const char *name, bool no_persist, int history, uint64_t image,
    uint64_t ring)
{
	struct stash_buf buf;
	struct th_mail m;

	if (w->stash == NULL) {
		memset(w, 0, sizeof *w);
		w->bell = stash__bell_make();
		good(w->bell);
	}
	w->stash = st;
	w->name = name;
	th_request(st, &buf, STASH__S_OPEN);
	stash_buf_add_text(&buf, name);
	stash_buf_add_int(&buf, no_persist);
	stash_buf_add_int(&buf, history);
	stash_buf_add_int(&buf, (int64_t)image);
	stash_buf_add_int(&buf, (int64_t)ring);
	th_send(st, &buf, w->bell);
	th_receive(st, &m);
	ck_assert_int_eq(m.type, STASH__S_OPENED);
	if (m.error == 0) {
		w->fence = (uint64_t)stash_view_int(&m.view);
		w->open_version = (uint64_t)stash_view_int(&m.view);
		w->retired = (uint64_t)stash_view_int(&m.view);
		w->channels = stash_view_int(&m.view);
		for (int64_t i = 0; i < w->channels && i < STASH__S_CHANNELS; i++) {
			size_t len;
			const void *id = stash_view_bytes(&m.view, &len);

			if (i == 0)
				memcpy(w->first_id, id, STASH__ID);
			(void)stash_view_int(&m.view);
			(void)stash_view_int(&m.view);
		}
		ck_assert_int_eq(m.nfds, 3);
		map_worker(w, m.fds);
	}
	ck_assert_int_eq(stash_view_end(&m.view), 0);
	th_mail_done(&m);
	return (int)m.error;
}

void
th_open(struct th_stash *st, struct th_worker *w, const char *name)
{
	int error = th_open_as(st, w, name, false, 4, 0, 0);

	ck_assert_msg(error == 0, "open %s: %s", name, st->text);
}

void
th_worker_close(struct th_worker *w)
{
	stash__out_unmap(&w->out);
	stash__in_unmap(&w->in);
	stash__bell_page_unmap(w->bell_page);
	for (int i = 0; i < 3; i++)
		if (w->fds[i] > 0)
			close(w->fds[i]);
	close(w->bell);
	memset(w, 0, sizeof *w);
}

struct stash__base *
th_base(struct th_worker *w)
{
	struct stash__base *base;

	good(stash__base_copy(&w->in, &base));
	return base;
}

void
th_live(struct th_worker *w)
{
	struct stash__base *base = th_base(w);

	w->incarnation = base->fence + 1;
	w->entry = base->entry;
	w->version = base->version;
	w->changed = base->changed;
	free(base);
	th_clear_box(w);
	strlcpy(w->out.page->layout, "played", sizeof w->out.page->layout);
	atomic_store(&w->out.page->layout_version, 3);
	atomic_store(&w->out.page->owner, w->incarnation);
}

int
th_try_channel(struct th_worker *w, const char *id, uint32_t *place)
{
	struct stash_buf buf;
	struct th_mail m;

	th_request(w->stash, &buf, STASH__S_CHANNEL);
	stash_buf_add_text(&buf, w->name);
	add_id(&buf, id);
	stash_buf_add_int(&buf, 1000);
	th_send(w->stash, &buf, -1);
	th_receive(w->stash, &m);
	ck_assert_int_eq(m.type, STASH__S_ROW);
	if (m.error == 0)
		*place = (uint32_t)stash_view_int(&m.view);
	ck_assert_int_eq(stash_view_end(&m.view), 0);
	th_mail_done(&m);
	return (int)m.error;
}

uint32_t
th_channel(struct th_worker *w, const char *id)
{
	uint32_t place = 0;
	int error = th_try_channel(w, id, &place);

	ck_assert_msg(error == 0, "channel: %s", w->stash->text);
	return place;
}

struct stash__position
th_position(uint32_t place, uint64_t requests, uint64_t replies)
{
	return (struct stash__position){ .place = place,
		.req_bytes = requests * 64,
		.req_count = requests,
		.rep_bytes = replies * 64,
		.rep_count = replies };
}

struct stash__entry
th_head(struct th_worker *w, uint32_t image_len, unsigned npositions)
{
	return (struct stash__entry){ .number = w->entry + 1,
		.incarnation = w->incarnation,
		.stamp = stash__now_ns(),
		.version = w->version,
		.image_len = image_len,
		.npositions = (uint16_t)npositions };
}

static bool
has_room(void *arg)
{
	struct th_worker *w = arg;

	return stash__entry_room(&w->out, atomic_load(&w->in.page->out_head)) >= w->out.ring_bytes / 2;
}

void
th_submit(struct th_worker *w, struct stash__entry *head, const struct stash__position *positions, const void *image)
{
	static const struct stash__position none;

	if (!has_room(w)) {
		atomic_store(&w->out.box->phase, STASH__PHASE_WAITING);
		stash__bell_ring(w->stash->bell);
		ck_assert_msg(t_wait_for(has_room, w, WAIT_MS), "no room in the ring");
		head->stamp = stash__now_ns();
	}
	stash__entry_submit(&w->out, head, positions != NULL ? positions : &none, image);
	stash__bell_wake(&w->in.page->stash_asleep, w->stash->bell);
}

void
th_entry(struct th_worker *w, const char *image, const struct stash__position *positions, unsigned n)
{
	struct stash__entry head;

	if (image != NULL)
		w->version++;
	head = th_head(w, image != NULL ? (uint32_t)strlen(image) : 0, n);
	head.flags = image != NULL ? STASH__ENTRY_IMAGE : 0;
	th_submit(w, &head, positions, image);
	w->entry++;
	if (image != NULL)
		w->changed = w->entry;
}

static bool
is_folded(void *arg)
{
	struct th_worker *w = arg;

	return atomic_load(&w->in.page->out_head) == atomic_load(&w->out.page->out_tail);
}

void
th_folded(struct th_worker *w)
{
	ck_assert_msg(t_wait_for(is_folded, w, WAIT_MS), "%s isn't folded", w->name);
}

struct disk_wait {
	struct th_worker *w;
	uint64_t entry;
};

static bool
is_durable(void *arg)
{
	struct disk_wait *d = arg;

	return atomic_load(&d->w->in.page->durable) >= d->entry;
}

void
th_durable(struct th_worker *w, uint64_t entry)
{
	struct disk_wait d = { w, entry };

	atomic_store(&w->out.page->ack_disk, 1);
	atomic_store(&w->out.page->wanted, entry);
	atomic_thread_fence(memory_order_seq_cst);
	stash__bell_ring(w->stash->bell);
	ck_assert_msg(t_wait_for(is_durable, &d, WAIT_MS), "%s isn't on the disk", w->name);
	atomic_store(&w->out.page->wanted, 0);
}

void
th_is(struct th_worker *w, const char *image)
{
	struct stash__base *base = th_base(w);

	ck_assert_msg(base->image_len == strlen(image) && memcmp(stash__base_image(base), image, base->image_len) == 0,
	    "%s has '%.*s', not '%s'", w->name, (int)base->image_len, (const char *)stash__base_image(base), image);
	free(base);
}

int
th_retire(struct th_worker *w, int status, int cause, struct th_verdict *v)
{
	struct stash_buf buf;
	struct th_mail m;

	th_request(w->stash, &buf, STASH__S_RETIRE);
	stash_buf_add_text(&buf, w->name);
	stash_buf_add_int(&buf, (int64_t)w->incarnation);
	stash_buf_add_int(&buf, status);
	stash_buf_add_int(&buf, cause);
	stash_buf_add_int(&buf, 3);
	th_send(w->stash, &buf, -1);
	th_receive(w->stash, &m);
	ck_assert_int_eq(m.type, STASH__S_RETIRED);
	memset(v, 0, sizeof *v);
	if (m.error == 0) {
		v->fence = stash_view_int(&m.view);
		v->verdict = stash_view_int(&m.view);
		v->place = stash_view_int(&m.view);
		v->number = stash_view_int(&m.view);
		v->attempts = stash_view_int(&m.view);
		v->fault = stash_view_int(&m.view);
		v->kind = stash_view_int(&m.view);
		strlcpy(v->tag, stash_view_text(&m.view), sizeof v->tag);
		v->len = stash_view_int(&m.view);
		v->phase = stash_view_int(&m.view);
		v->version = stash_view_int(&m.view);
		v->crashes = stash_view_int(&m.view);
	}
	ck_assert_int_eq(stash_view_end(&m.view), 0);
	th_mail_done(&m);
	return (int)m.error;
}

void
th_hand(struct th_worker *w, uint32_t place, uint64_t number, uint32_t phase, uint32_t batch)
{
	atomic_store(&w->out.box->in_hand, STASH__HAND(w->incarnation, place, number));
	atomic_store(&w->out.box->phase, phase);
	atomic_store(&w->out.box->batch, batch);
	atomic_store(&w->out.box->kind, STASH_MSG_CALL);
	strlcpy(w->out.box->tag, "next", sizeof w->out.box->tag);
}

void
th_clear_box(struct th_worker *w)
{
	struct stash__box *box = w->out.box;

	atomic_store(&box->in_hand, 0);
	atomic_store(&box->phase, STASH__PHASE_IDLE);
	atomic_store(&box->batch, 0);
	atomic_store(&box->asked, 0);
	memset(&box->crash, 0, sizeof box->crash);
}

/* ---- the store, offline ---- */

static int
count_cursor(void *arg, const struct store_cursor *c)
{
	(void)c;
	(*(int *)arg)++;
	return 0;
}

const char *
th_stored(const struct th_stash *st, const char *name, uint64_t *seq, uint64_t *version, int *cursors)
{
	static char text[100];
	struct store_options options = { .read_only = true };
	struct store_state state;
	struct store *store;
	int result;

	good(store_open(&store, st->dir, &options));
	result = store_get_state(store, name, &state);
	ck_assert_msg(result == 0 || result == STASH_E_NOENT, "%s", stash_errmsg());
	snprintf(
	    text, sizeof text, "%.*s", result == 0 ? (int)state.len : 0, result == 0 ? (const char *)state.data : "");
	*seq = result == 0 ? state.seq : 0;
	if (version != NULL)
		*version = result == 0 ? state.version : 0;
	store_state_free(&state);
	if (cursors != NULL) {
		*cursors = 0;
		good(store_get_cursors(store, name, count_cursor, cursors));
	}
	store_close(store);
	return text;
}
