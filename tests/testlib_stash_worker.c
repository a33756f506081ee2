/* SPDX-License-Identifier: ISC */
/*
 * A worker as the test plays it, and the store as it is found when no stash runs; testlib_stash.h says what each call
 * promises.
 */
#include "testlib_stash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "shm/bell.h"
#include "store/store.h"

#define WAIT_MS 10000

#define good(call) ck_assert_msg((call) >= 0, "%s: %s", #call, stash_errmsg())

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
	th_add_id(&buf, id);
	stash_buf_add_int(&buf, 1000);
	stash_buf_add_int(&buf, STASH__USE_IN);
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
	stash__entry_submit(&w->out, head, positions != NULL ? positions : &none, NULL, image);
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

void
th_submit_silently(struct th_worker *worker, const char *image)
{
	static const struct stash__position none;
	struct stash__entry head = th_head(worker, 1, 0);

	head.flags = STASH__ENTRY_IMAGE;
	/* the stash is awake then, with a full ring */
	ck_assert_msg(t_wait_for(has_room, worker, WAIT_MS), "no room in the ring");
	head.stamp = stash__now_ns();
	stash__entry_submit(&worker->out, &head, &none, NULL, image);
	worker->entry++;
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
