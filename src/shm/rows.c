/* SPDX-License-Identifier: ISC */
/*
 * rows.c: the supervisor's side of its ring, and how rows are packed:
 * database, gone (1) or not (0), key, value, as int, int, bytes, bytes.
 */
#include "shm/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "shm/bell.h"
#include "shm/wire.h"

#define KEY_MAX 504u	/* what the store takes; src/store/store.h has the same */
#define VALUE_MAX 4064u /* likewise */

/* ---- packing ---- */

/* Whether the store takes such a row: a refused one would hold up all others. */
static bool
storable(const struct stash__rows_row *row)
{
	return row->db >= STASH__SCAN_REGISTRY && row->db <= STASH__SCAN_SCHEMA && row->key_len <= KEY_MAX &&
	    row->value_len <= VALUE_MAX && (row->key_len == 0) == (row->db == STASH__SCAN_EVENT);
}

int
stash__rows_pack(struct stash_buf *buf, const struct stash__rows_row *row)
{
	stash_buf_add_int(buf, row->db);
	stash_buf_add_int(buf, row->gone);
	stash_buf_add_bytes(buf, row->key, row->key_len);
	return stash_buf_add_bytes(buf, row->value, row->value_len);
}

int
stash__rows_next(struct stash_view *view, struct stash__rows_row *row)
{
	if (view->left == 0)
		return 0;
	row->db = (uint32_t)stash__view_range(view, STASH__SCAN_REGISTRY, STASH__SCAN_SCHEMA);
	row->gone = stash__view_range(view, 0, 1) != 0;
	row->key = stash_view_bytes(view, &row->key_len);
	row->value = stash_view_bytes(view, &row->value_len);
	if (row->key == NULL || row->value == NULL || !storable(row))
		return stash__fail(
		    STASH_E_FORMAT, "the supervisor's rows cannot be read: a row is not what it should be");
	return 1;
}

/* ---- open ---- */

static int
open_file(int dirfd, const char *file, int flags)
{
	int fd = openat(dirfd, file, flags | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		return stash__fail(
		    STASH_E_NOENT, "%s is not in the run directory: no stash process has made it yet", file);
	return stash__fail_errno("cannot open %s in the run directory", file);
}

static int
map_halves(struct stash__rows *rows, int dirfd, const struct stash__origin *origin)
{
	int fd = open_file(dirfd, STASH__ROWS_NAME, O_RDWR), result;

	if (fd < 0)
		return fd;
	result = stash__out_map(&rows->out, fd, true, origin);
	close(fd);
	if (result < 0)
		return result;
	fd = open_file(dirfd, STASH__ROWS_IN, O_RDONLY);
	result = fd < 0 ? fd : stash__in_map(&rows->in, fd, false, origin);
	if (fd >= 0)
		close(fd);
	rows->out.fd = rows->in.fd = -1; /* neither file ever grows */
	return result;
}

/* The number of the last batch in the ring; what stands behind a broken one is lost, the stash steps over it. */
static uint64_t
last_number(const struct stash__rows *rows)
{
	uint64_t number = atomic_load_explicit(&rows->in.page->durable, memory_order_acquire);
	uint64_t at = atomic_load_explicit(&rows->in.page->out_head, memory_order_acquire);
	uint64_t tail = atomic_load_explicit(&rows->out.page->out_tail, memory_order_acquire);
	struct stash__entry_view view;

	while (at != tail && stash__entry_view(&rows->out, at, tail, &view) == STASH_OK) {
		if (view.head.number > number)
			number = view.head.number;
		at += view.head.bytes;
	}
	return number;
}

int
stash__rows_open(struct stash__rows *rows, int run_dirfd, const struct stash__origin *origin, int stash_bell)
{
	int result;

	memset(rows, 0, sizeof *rows);
	rows->bell = stash_bell;
	stash__buf_init(&rows->batch, STASH__ROWS_BATCH);
	result = map_halves(rows, run_dirfd, origin);
	if (result < 0) {
		stash__rows_close(rows);
		return result;
	}
	rows->number = last_number(rows);
	return STASH_OK;
}

void
stash__rows_close(struct stash__rows *rows)
{
	stash__out_unmap(&rows->out);
	stash__in_unmap(&rows->in);
	stash__buf_fini(&rows->batch);
	memset(rows, 0, sizeof *rows);
}

/* ---- a batch ---- */

static int
add(struct stash__rows *rows, const struct stash__rows_row *row)
{
	int result;

	if (!storable(row))
		return stash__fail(STASH_E_INVAL,
		    "a row of database %u with a key of %zu bytes and a value of %zu can't be stored", row->db,
		    row->key_len, row->value_len);
	result = stash__rows_pack(&rows->batch, row);
	if (result == STASH_OK) {
		rows->good = rows->batch.len;
		return STASH_OK;
	}
	rows->batch.len = rows->good;
	rows->batch.error = STASH_OK;
	return result;
}

int
stash__rows_put(
    struct stash__rows *rows, uint32_t db, const void *key, size_t key_len, const void *value, size_t value_len)
{
	return add(rows, &(struct stash__rows_row){ db, false, key, value, key_len, value_len });
}

int
stash__rows_del(struct stash__rows *rows, uint32_t db, const void *key, size_t key_len)
{
	return add(rows, &(struct stash__rows_row){ db, true, key, "", key_len, 0 });
}

uint64_t
stash__rows_room(const struct stash__rows *rows)
{
	return stash__entry_room(&rows->out, atomic_load_explicit(&rows->in.page->out_head, memory_order_acquire));
}

bool
stash__rows_settled(const struct stash__rows *rows)
{
	return stash__rows_room(rows) == rows->out.ring_bytes;
}

int
stash__rows_submit(struct stash__rows *rows)
{
	static const struct stash__position none;
	struct stash__entry head = { .flags = STASH__ENTRY_IMAGE };

	if (rows->batch.len == 0)
		return STASH_OK;
	if (stash__entry_bytes(0, rows->batch.len) > stash__rows_room(rows)) {
		stash__bell_ring(rows->bell);
		return stash__fail(STASH_E_BUSY, "the stash is behind with the supervisor's rows");
	}
	head.number = rows->number + 1;
	head.stamp = stash__now_ns();
	head.image_len = (uint32_t)rows->batch.len;
	stash__entry_submit(&rows->out, &head, &none, NULL, rows->batch.data);
	rows->number++;
	stash__bell_wake(&rows->in.page->stash_asleep, rows->bell);
	stash__buf_reset(&rows->batch);
	rows->good = 0;
	return STASH_OK;
}
