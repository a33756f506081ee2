/* SPDX-License-Identifier: ISC */
/*
 * rows.c: the stash's side of the supervisor's ring.  Batches are taken at the end of a round like states are,
 * stored in the same transaction, and their room is given back when they are on the disk.  The number of the
 * last one is stored with them, as a cursor under a name of its own: so none is stored twice, which matters for
 * events.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "shm/rows.h"
#include "stash/inside.h"

#define QUIET_NS (50 * STASH__NS_PER_MS)

/* ---- begin ---- */

static int
keep_number(void *arg, const struct store_cursor *c)
{
	static const uint8_t mine[STASH__ID];

	if (memcmp(c->channel, mine, STASH__ID) == 0)
		*(uint64_t *)arg = c->seq;
	return 0;
}

int
stash__rows_stored(struct stash *s, uint64_t *number)
{
	*number = 0;
	return store_get_cursors(s->store, STASH__ROWS_NAME, keep_number, number);
}

/* Opens a file of the run directory that is this boot's and this store's; 1: there is none. */
static int
map_half(struct stash *s, const char *file, bool out)
{
	int fd = openat(s->run_dir, file, (out ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW), result;

	if (fd < 0)
		return 1;
	result = out ? stash__out_map(&s->rows.out, fd, false, &s->origin) :
		       stash__in_map(&s->rows.in, fd, true, &s->origin);
	close(fd);
	s->rows.out.fd = s->rows.in.fd = -1;
	return result == STASH_E_FORMAT ? 1 : result; /* of another boot */
}

static int
make(struct stash *s)
{
	int fd, result = stash__out_make(s->run_dir, STASH__ROWS_NAME, &s->origin, STASH__ROWS_BYTES, &fd);

	if (result < 0)
		return result;
	close(fd);
	result = stash__in_make(s->run_dir, STASH__ROWS_IN, &s->origin, 0, 0, &fd);
	if (result < 0)
		return result;
	close(fd);
	stash__rows_end(s);
	result = map_half(s, STASH__ROWS_NAME, true);
	if (result == STASH_OK)
		result = map_half(s, STASH__ROWS_IN, false);
	return result;
}

int
stash__rows_begin(struct stash *s)
{
	struct rows *r = &s->rows;
	int result = map_half(s, STASH__ROWS_NAME, true);

	if (result == STASH_OK)
		result = map_half(s, STASH__ROWS_IN, false);
	if (result == 1)
		result = make(s);
	if (result == STASH_OK)
		result = stash__rows_stored(s, &r->number);
	if (result < 0)
		return result;
	if (atomic_load(&r->in.page->durable) > r->number)
		return stash__fail(STASH_E_CORRUPT,
		    "%.200s/%s has later rows than the store in %.150s, which was exchanged, or restored from a copy. "
		    "Keep them and the slots: stashctl -d %.150s keep-slots. Or discard them: stashctl -d %.150s "
		    "discard-slots. "
		    "Or put back the store that they belong to",
		    s->options->run_dir, STASH__ROWS_NAME, s->options->dir, s->options->dir, s->options->dir);
	r->head = atomic_load(&r->in.page->out_head);
	atomic_store(&r->in.page->durable, r->number);
	atomic_store(&r->in.page->stash_asleep, 0);
	r->active = true;
	r->busy = stash__now_ns();
	return STASH_OK;
}

void
stash__rows_end(struct stash *s)
{
	stash__out_unmap(&s->rows.out);
	stash__in_unmap(&s->rows.in);
}

/* ---- when ---- */

static uint64_t
waiting(const struct stash *s)
{
	return atomic_load_explicit(&s->rows.out.page->out_tail, memory_order_acquire) - s->rows.head;
}

bool
stash__rows_wait(const struct stash *s)
{
	return waiting(s) != 0;
}

bool
stash__rows_hurry(const struct stash *s)
{
	return waiting(s) > s->rows.out.ring_bytes / 2;
}

/* As fold.c does it for slots. */
void
stash__rows_look(struct stash *s)
{
	struct rows *r = &s->rows;

	if (waiting(s) != 0)
		r->busy = s->round;
	if (!r->active && waiting(s) != 0) {
		r->active = true;
		atomic_store_explicit(&r->in.page->stash_asleep, 0, memory_order_relaxed);
	}
	if (!r->active || s->round - r->busy <= QUIET_NS)
		return;
	atomic_store_explicit(&r->in.page->stash_asleep, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	r->active = waiting(s) != 0;
	if (r->active)
		atomic_store_explicit(&r->in.page->stash_asleep, 0, memory_order_relaxed);
}

/* ---- take, write, done ---- */

/* What can't be read is lost: its writer is not to be trusted any more, and says so to itself by ending. */
static uint64_t
skip(struct stash *s, uint64_t tail)
{
	static const char why[] = "the supervisor's rows are broken";

	stash__log(LOG_CRIT, "%s behind batch %llu", why, (unsigned long long)s->job.rows_number);
	atomic_fetch_add(&s->status->broken, 1);
	if (s->greeted)
		stash__answer_broken(s, "", why);
	return tail;
}

/* Whether all rows of a batch can be read. */
static bool
readable(const void *data, size_t len)
{
	struct stash__rows_row row;
	struct stash_view view;
	int more;

	stash_view_init(&view, data, len);
	do
		more = stash__rows_next(&view, &row);
	while (more == 1);
	return more == 0;
}

int
stash__rows_take(struct stash *s, struct job *job)
{
	struct rows *r = &s->rows;
	uint64_t tail = atomic_load_explicit(&r->out.page->out_tail, memory_order_acquire);
	struct stash__entry_view view;

	stash__buf_reset(&job->rows);
	job->rows_head = r->head;
	job->rows_number = r->number;
	while (job->rows_head != tail) {
		size_t before = job->rows.len;

		if (stash__entry_view(&r->out, job->rows_head, tail, &view) < 0 || view.head.stamp > stash__now_ns()) {
			job->rows_head = skip(s, tail);
			break;
		}
		if (view.head.stamp >= s->round)
			break;
		/* One that the store has already: this process died before it gave the room back. */
		if (view.head.number > r->number) {
			if (stash_buf_add(&job->rows, view.image, view.head.image_len) < 0)
				return job->rows.error;
			if (!readable((unsigned char *)job->rows.data + before, view.head.image_len)) {
				job->rows.len = before;
				job->rows_head = skip(s, tail);
				break;
			}
			job->rows_number = view.head.number;
		}
		job->rows_head += view.head.bytes;
	}
	return STASH_OK;
}

static int
write_row(struct store_batch *batch, const struct stash__rows_row *row)
{
	if (row->db == STASH__SCAN_EVENT)
		return row->gone ? STASH_OK : store_put_event(batch, row->value, row->value_len, NULL);
	if (row->gone)
		return store_del_row(batch, (enum store_db)row->db, row->key, row->key_len);
	return store_put_row(batch, (enum store_db)row->db, row->key, row->key_len, row->value, row->value_len);
}

int
stash__rows_write(struct store_batch *batch, struct job *job)
{
	struct store_cursor c = { .seq = job->rows_number };
	struct stash__rows_row row;
	struct stash_view view;
	int result = STASH_OK;

	if (job->rows.len == 0)
		return STASH_OK;
	stash_view_init(&view, job->rows.data, job->rows.len);
	while (result == STASH_OK && stash__rows_next(&view, &row) == 1)
		result = write_row(batch, &row);
	if (result == STASH_OK)
		result = store_put_cursor(batch, STASH__ROWS_NAME, &c);
	return result < 0 ? result : STASH_OK;
}

void
stash__rows_done(struct stash *s, const struct job *job)
{
	struct rows *r = &s->rows;

	r->number = job->rows_number;
	r->head = job->rows_head;
	atomic_store_explicit(&r->in.page->durable, r->number, memory_order_release);
	atomic_store_explicit(&r->in.page->out_head, r->head, memory_order_release);
}

int
stash__rows_pending(struct stash *s, struct stash_buf *buf)
{
	uint64_t tail = atomic_load_explicit(&s->rows.out.page->out_tail, memory_order_acquire), at = s->rows.head;
	struct stash__entry_view view;

	for (; at != tail && stash__entry_view(&s->rows.out, at, tail, &view) == STASH_OK; at += view.head.bytes) {
		if (!readable(view.image, view.head.image_len))
			break;
		if (stash_buf_add(buf, view.image, view.head.image_len) < 0)
			return buf->error;
	}
	return STASH_OK;
}
