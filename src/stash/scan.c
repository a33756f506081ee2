/* SPDX-License-Identifier: ISC */
/*
 * scan.c: rows of the store in a memfd: slices for tools, and all that a new supervisor needs to go on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "shm/rows.h"
#include "stash/inside.h"

static int
write_all(int fd, const unsigned char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0)
			return stash__fail_errno("cannot write %zu bytes of rows to memory", len);
		data += n;
		len -= (size_t)n;
	}
	return STASH_OK;
}

/* The buffer's bytes in a memfd, to be read from its beginning. */
static int
to_memfd(const struct stash_buf *buf, int *memfd)
{
	int fd, result;

	if (buf->error != STASH_OK)
		return buf->error;
	fd = memfd_create("stash-rows", MFD_CLOEXEC);
	if (fd < 0)
		return stash__fail_errno("cannot make a memfd for rows");
	result = write_all(fd, buf->data, buf->len);
	if (result == STASH_OK && lseek(fd, 0, SEEK_SET) < 0)
		result = stash__fail_errno("cannot rewind a memfd");
	if (result < 0) {
		close(fd);
		return result;
	}
	*memfd = fd;
	return STASH_OK;
}

int
stash__scan(struct stash *s, const struct store_scan *scan, int *memfd, struct store_slice *slice)
{
	struct stash_buf buf;
	int result;

	stash__buf_init(&buf, STASH__BUF_MAX);
	memset(slice, 0, sizeof *slice);
	result = store_scan(s->store, scan, &buf, slice);
	if (result == STASH_OK)
		result = to_memfd(&buf, memfd);
	stash__buf_fini(&buf);
	return result;
}

/* Packs a slice's rows anew, and keeps the last key for the next slice. */
static int
pack_slice(const struct stash_buf *slice, enum store_db db, struct stash_buf *to, unsigned char *last, size_t *last_len)
{
	struct stash_view view;
	struct store_row row;
	int more;

	stash_view_init(&view, slice->data, slice->len);
	while ((more = store_row_next(&view, &row)) == 1) {
		struct stash__rows_row out = { (uint32_t)db, false, row.key, row.value, row.klen, row.vlen };
		int result = stash__rows_pack(to, &out);

		if (result < 0)
			return result;
		memcpy(last, row.key, row.klen);
		*last_len = row.klen;
	}
	return more;
}

static int
dump_database(struct stash *s, enum store_db db, struct stash_buf *to)
{
	unsigned char last[STORE_KEY_MAX + 8];
	struct store_scan scan = { .db = db };
	struct store_slice slice = { .more = true };
	size_t last_len = 0;
	int result = STASH_OK;

	while (result == STASH_OK && slice.more) {
		struct stash_buf buf;

		stash__buf_init(&buf, STASH__BUF_MAX);
		memset(&slice, 0, sizeof slice);
		result = store_scan(s->store, &scan, &buf, &slice);
		if (result == STASH_OK)
			result = pack_slice(&buf, db, to, last, &last_len);
		stash__buf_fini(&buf);
		scan.from = last;
		scan.from_len = last_len;
		scan.flags = STORE_SCAN_AFTER;
	}
	return result;
}

static uint32_t
count_rows(const struct stash_buf *buf)
{
	struct stash__rows_row row;
	struct stash_view view;
	uint32_t n = 0;

	stash_view_init(&view, buf->data, buf->len);
	while (stash__rows_next(&view, &row) == 1)
		n++;
	return n;
}

int
stash__dump(struct stash *s, int *memfd, uint32_t *count)
{
	static const enum store_db all[] = { STORE_DB_TREE, STORE_DB_REGISTRY, STORE_DB_SCHEMA };
	struct stash_buf buf;
	int result = STASH_OK;

	stash__buf_init(&buf, STASH__BUF_MAX);
	for (size_t i = 0; i < sizeof all / sizeof *all && result == STASH_OK; i++)
		result = dump_database(s, all[i], &buf);
	if (result == STASH_OK)
		result = stash__rows_pending(s, &buf);
	if (result == STASH_OK)
		result = to_memfd(&buf, memfd);
	*count = result == STASH_OK ? count_rows(&buf) : 0;
	stash__buf_fini(&buf);
	return result;
}
