/* SPDX-License-Identifier: ISC */
/*
 * What only running processes know, by request: rows from the stash process, the
 * tree from the supervisor. Their answers are parsed as foreign bytes are.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "client/client.h"
#include "reader/reader.h"
#include "shm/record.h"
#include "shm/wire.h"

/* Rows in one answer; few when one name's are wanted, since those behind it come along. */
#define ROWS_ALL 1000
#define ROWS_ONE 256

static int
unreadable(void)
{
	return stash__fail(STASH_E_PROTO, "stashd's answer can't be read: it is of another version");
}

/* The error with which each answer begins. */
static int
answered(struct stash_view *view)
{
	int64_t code = stash_view_int(view);
	const char *text = stash_view_text(view);

	if (view->error != 0 || code > 0 || code < STASH_E_TEMPLATE)
		return unreadable();
	return code == 0 ? STASH_OK : stash__fail((int)code, "%s", *text != '\0' ? text : stash_strerror((int)code));
}

/* ---- rows ---- */

struct slicing {
	const struct store_scan *scan;
	struct stash_buf *rows;
	struct store_slice *slice;
};

static bool
matches(const struct store_scan *scan, const struct store_row *row)
{
	return row->klen >= scan->prefix_len && memcmp(row->key, scan->prefix, scan->prefix_len) == 0;
}

/* Keeps the rows up to the first without the prefix: behind it there is none with it. */
static int
keep_rows(struct slicing *s, const void *data, size_t len)
{
	struct stash_view view;
	struct store_row row;
	const unsigned char *end = data;
	int result;

	stash_view_init(&view, data, len);
	while ((result = store_row_next(&view, &row)) == 1) {
		if (s->scan->prefix != NULL && !matches(s->scan, &row)) {
			s->slice->more = false;
			break;
		}
		s->slice->rows++;
		end = view.at;
	}
	return result < 0 ? result : stash_buf_add(s->rows, data, (size_t)(end - (const unsigned char *)data));
}

static int
take_file(struct slicing *s, int fd)
{
	struct stat st;
	void *data;
	int result;

	if (fstat(fd, &st) != 0)
		return stash__fail_errno("the rows of the store can't be read");
	if (st.st_size == 0)
		return STASH_OK;
	/* The sender keeps no hand on it: what it is now, it stays. */
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return stash__fail_errno("the rows of the store can't be read");
	result = keep_rows(s, data, (size_t)st.st_size);
	munmap(data, (size_t)st.st_size);
	return result;
}

static int
take_rows(void *arg, int type, struct stash_view *view, int *fds, int nfds)
{
	struct slicing *s = arg;
	int result = answered(view);

	if (result < 0)
		return result;
	stash__view_range(view, 0, UINT32_MAX);
	s->slice->more = stash__view_range(view, 0, 1) == 0;
	if (type != STASH__B_ROWS || stash_view_end(view) < 0 || nfds > 1)
		return unreadable();
	return nfds == 1 ? take_file(s, fds[0]) : STASH_OK;
}

/* Where a slice begins; of a key that was had already, the next one that can be: itself and a NUL. */
static void
add_from(struct stash_buf *items, const struct store_scan *scan)
{
	static const unsigned char none;
	unsigned char key[STORE_KEY_MAX + 1];
	const void *from = scan->from != NULL ? scan->from : scan->prefix;
	size_t len = scan->from != NULL ? scan->from_len : scan->prefix_len;

	if (from == NULL || len > STORE_KEY_MAX) {
		stash_buf_add_bytes(items, &none, 0);
		return;
	}
	memcpy(key, from, len);
	if (scan->from == NULL || (scan->flags & STORE_SCAN_AFTER) == 0) {
		stash_buf_add_bytes(items, key, len);
		return;
	}
	if (scan->db != STORE_DB_EVENT) {
		key[len++] = '\0';
	} else {
		/* Events have keys of one length: the next number. */
		for (size_t i = len; i > 0 && ++key[i - 1] == 0; i--)
			continue;
	}
	stash_buf_add_bytes(items, key, len);
}

int
stash__ask_slice(
    struct stash_store *store, const struct store_scan *scan, struct stash_buf *rows, struct store_slice *slice)
{
	struct slicing s = { scan, rows, slice };
	struct stash_buf items;
	int result;

	memset(slice, 0, sizeof *slice);
	stash__buf_init(&items, STASH__WIRE_MAX);
	stash_buf_add_int(&items, scan->db | ((scan->flags & STORE_SCAN_HEADS) != 0 ? STASH__SCAN_HEADS : 0));
	add_from(&items, scan);
	result = stash_buf_add_int(&items, scan->prefix != NULL ? ROWS_ONE : ROWS_ALL);
	if (result == STASH_OK)
		result = stash__client_request(
		    store->client, STASH__B_SCAN, &items, STASH__READER_WAIT_MS, take_rows, &s);
	stash__buf_fini(&items);
	return result;
}

/* ---- processes ---- */

struct telling {
	stash_process_fn *fn;
	void *arg;
};

static int
take_processes(void *arg, int type, struct stash_view *view, int *fds, int nfds)
{
	struct telling *t = arg;
	struct stash_process process;
	int64_t more, count;
	int result = answered(view);

	(void)fds;
	(void)nfds;
	if (result < 0)
		return result;
	more = stash__view_range(view, 0, 1);
	count = stash__view_range(view, 0, UINT32_MAX);
	if (type != STASH__B_PROCESSES || view->error != 0)
		return unreadable();
	for (; count > 0; count--) {
		result = stash__view_process(view, &process);
		if (result == STASH_OK)
			result = t->fn(t->arg, &process);
		if (result != 0)
			return result;
	}
	return stash_view_end(view) < 0 ? unreadable() : (int)more;
}

int
stash__ask_processes(struct stash_store *store, stash_process_fn *fn, void *arg)
{
	struct telling t = { fn, arg };

	return stash__client_request(store->client, STASH__B_LIST, NULL, STASH__READER_WAIT_MS, take_processes, &t);
}

/* ---- a state in words ---- */

struct words {
	uint64_t *version;
	char **text;
};

static int
take_words(void *arg, int type, struct stash_view *view, int *fds, int nfds)
{
	struct words *w = arg;
	const char *text;
	int result = answered(view);

	(void)fds;
	(void)nfds;
	if (result < 0)
		return result;
	*w->version = (uint64_t)stash__view_range(view, 0, INT64_MAX);
	text = stash_view_text(view);
	if (type != STASH__B_WORDS || stash_view_end(view) < 0)
		return unreadable();
	*w->text = strdup(text);
	return *w->text != NULL ? STASH_OK : stash__fail(STASH_E_NOMEM, "no memory for a state in words");
}

int
stash__ask_words(struct stash_store *store, const char *name, uint64_t *version, char **words)
{
	struct words w = { version, words };
	struct stash_buf items;
	int result;

	stash__buf_init(&items, STASH__WIRE_MAX);
	result = stash_buf_add_text(&items, name);
	if (result == STASH_OK)
		result = stash__client_request(
		    store->client, STASH__B_SHOW, &items, STASH__READER_WAIT_MS, take_words, &w);
	stash__buf_fini(&items);
	return result;
}
