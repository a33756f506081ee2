/* SPDX-License-Identifier: ISC */
/*
 * slot.c: making, mapping and growing the files of a slot; the bell page and the status page are made the same way.
 * Entries are in entry.c, bases in base.c.
 */
#include "shm/slot.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/name.h"
#include "shm/map.h"

static uint64_t
pages(uint64_t bytes)
{
	return (bytes + STASH__PAGE - 1) & ~(uint64_t)(STASH__PAGE - 1);
}

void
stash__slot_file(char file[STASH__SLOT_FILE_MAX], const char *name, const char *half)
{
	snprintf(file, STASH__SLOT_FILE_MAX, "%s.%s", name, half);
}

bool
stash__slot_name(char name[STASH_NAME_MAX + 1], const char *file, const char *half)
{
	size_t len = strlen(file), n = strlen(half) + 1;

	if (len <= n || len - n > STASH_NAME_MAX || file[len - n] != '.' || strcmp(file + len - n + 1, half) != 0)
		return false;
	memcpy(name, file, len - n);
	name[len - n] = '\0';
	return stash__check_name(name) == STASH_OK;
}

bool
stash__slot_file_is(int fd, const char *name, const char *half)
{
	char link[32], path[PATH_MAX], file[STASH__SLOT_FILE_MAX];
	ssize_t n, len;

	stash__slot_file(file, name, half);
	len = (ssize_t)strlen(file);
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path);
	return n > len && n < (ssize_t)sizeof path && path[n - len - 1] == '/' &&
	    memcmp(path + n - len, file, (size_t)len) == 0;
}

/* ---- make ---- */

/* A file of `bytes', beginning with `header', under its name. */
static int
make(int dirfd, const char *file, uint64_t bytes, const void *header, size_t header_len, int *fd)
{
	int made = stash__file_make(dirfd, file, bytes);
	int result;

	if (made < 0)
		return made;
	if (pwrite(made, header, header_len, 0) != (ssize_t)header_len)
		result = stash__fail_errno("cannot write the header of %s", file);
	else
		result = stash__file_name(dirfd, file);
	if (result < 0) {
		close(made);
		return result;
	}
	*fd = made;
	return STASH_OK;
}

int
stash__out_make(int dirfd, const char *file, const struct stash__origin *origin, uint64_t ring_bytes, int *fd)
{
	struct stash__out_page page = { .magic = STASH__MAGIC_OUT, .format = STASH__SLOT_FORMAT };

	ring_bytes = pages(ring_bytes < STASH__ENTRIES_MIN ? STASH__ENTRIES_MIN : ring_bytes);
	memcpy(page.boot_id, origin->boot_id, STASH__ID);
	memcpy(page.store_id, origin->store_id, STASH__ID);
	page.ring = STASH__RING(STASH__OUT_RING, ring_bytes);
	return make(dirfd, file, STASH__OUT_RING + ring_bytes, &page, sizeof page, fd);
}

int
stash__in_make(
    int dirfd, const char *file, const struct stash__origin *origin, uint32_t rows, uint64_t image_bytes, int *fd)
{
	struct stash__in_page page = { .magic = STASH__MAGIC_IN, .format = STASH__SLOT_FORMAT };
	uint64_t base = pages(stash__base_bytes(rows < STASH__ROWS_MIN ? STASH__ROWS_MIN : rows, image_bytes));

	memcpy(page.boot_id, origin->boot_id, STASH__ID);
	memcpy(page.store_id, origin->store_id, STASH__ID);
	page.bases[0] = STASH__RING(STASH__IN_BASES, base);
	page.bases[1] = STASH__RING(STASH__IN_BASES + base, base);
	page.bytes = STASH__IN_BASES + 2 * base;
	page.stash_asleep = 1;
	return make(dirfd, file, page.bytes, &page, sizeof page, fd);
}

int
stash__bell_page_make(int dirfd, const char *file, int *fd)
{
	struct stash__bell_page page = { .magic = STASH__MAGIC_BELL, .format = STASH__SLOT_FORMAT };

	return make(dirfd, file, STASH__PAGE, &page, sizeof page, fd);
}

int
stash__status_page_make(int dirfd, const char *file, const struct stash__origin *origin, int *fd)
{
	struct stash__status_page page = { .magic = STASH__MAGIC_STATUS, .format = STASH__SLOT_FORMAT };

	memcpy(page.store_id, origin->store_id, STASH__ID);
	return make(dirfd, file, STASH__PAGE, &page, sizeof page, fd);
}

/* ---- map ---- */

/* The first words of every page of these files. */
struct top {
	uint64_t magic;
	uint32_t format;
	uint32_t reserved;
};

static int
check_top(const void *page, uint64_t magic, const char *what)
{
	const struct top *top = page;

	if (top->magic != magic)
		return stash__fail(STASH_E_CORRUPT, "what should be %s is something else", what);
	if (top->format != STASH__SLOT_FORMAT)
		return stash__fail(STASH_E_FORMAT,
		    "%s has format %u, this library knows %u: it was made by another version of stashd", what,
		    top->format, STASH__SLOT_FORMAT);
	return STASH_OK;
}

static int
check_origin(const uint8_t *boot_id, const uint8_t *store_id, const struct stash__origin *origin, const char *what)
{
	if (origin == NULL)
		return STASH_OK;
	if (memcmp(boot_id, origin->boot_id, STASH__ID) != 0)
		return stash__fail(STASH_E_FORMAT, "%s is of another boot", what);
	if (memcmp(store_id, origin->store_id, STASH__ID) != 0)
		return stash__fail(STASH_E_FORMAT, "%s belongs to another store", what);
	return STASH_OK;
}

/* A part of a file as STASH__RING() tells it: inside, and not in front of `least'. */
static int
check_part(uint64_t word, uint64_t least, uint64_t file_bytes, const char *what)
{
	uint64_t offset = STASH__RING_OFFSET(word), bytes = STASH__RING_BYTES(word);

	if (bytes == 0 || offset < least || offset > file_bytes || bytes > file_bytes - offset)
		return stash__fail(STASH_E_CORRUPT, "%s points outside of its file", what);
	return STASH_OK;
}

/* Maps the entry ring that the page names. */
static int
map_ring(struct stash__out *out)
{
	uint64_t word = atomic_load_explicit(&out->page->ring, memory_order_acquire), bytes;
	int result = stash__file_bytes(out->fd, &bytes, "a slot");

	if (result == STASH_OK)
		result = check_part(word, STASH__OUT_RING, bytes, "a slot's entry ring");
	if (result < 0)
		return result;
	out->ring = stash__map_ring(
	    out->fd, STASH__RING_OFFSET(word), STASH__RING_BYTES(word), out->writable, "a slot's entry ring");
	if (out->ring == NULL)
		return STASH_E_SYSTEM;
	out->ring_word = word;
	out->ring_bytes = STASH__RING_BYTES(word);
	return STASH_OK;
}

/* Page and black box, without the ring. */
static int
map_page(struct stash__out *out, int fd, bool writable)
{
	uint64_t bytes;
	int result = stash__file_bytes(fd, &bytes, "a slot");

	memset(out, 0, sizeof *out);
	out->fd = fd;
	out->writable = writable;
	if (result < 0)
		return result;
	if (bytes < STASH__OUT_RING + STASH__ENTRIES_MIN)
		return stash__fail(STASH_E_CORRUPT, "a slot's file is too short");
	out->page = stash__map(fd, 0, STASH__OUT_RING, writable, "a slot");
	if (out->page == NULL)
		return STASH_E_SYSTEM;
	out->box = (struct stash__box *)((unsigned char *)out->page + STASH__OUT_BOX);
	return STASH_OK;
}

int
stash__out_map(struct stash__out *out, int fd, bool writable, const struct stash__origin *origin)
{
	int result = map_page(out, fd, writable);

	if (result == STASH_OK)
		result = check_top(out->page, STASH__MAGIC_OUT, "a slot");
	if (result == STASH_OK)
		result = check_origin(out->page->boot_id, out->page->store_id, origin, "a slot");
	if (result == STASH_OK)
		result = map_ring(out);
	if (result < 0 && out->page != NULL)
		stash__out_unmap(out);
	return result;
}

int
stash__out_map_page(struct stash__out *out, int fd, bool writable)
{
	return map_page(out, fd, writable);
}

int
stash__out_map_ring(struct stash__out *out)
{
	return map_ring(out);
}

void
stash__out_unmap(struct stash__out *out)
{
	stash__unmap(out->page, STASH__OUT_RING);
	stash__unmap_ring(out->ring, out->ring_bytes);
	memset(out, 0, sizeof *out);
	out->fd = -1;
}

int
stash__out_follow(struct stash__out *out)
{
	struct stash__out was = *out;
	int result;

	if (atomic_load_explicit(&out->page->ring, memory_order_acquire) == out->ring_word)
		return STASH_OK;
	result = map_ring(out);
	if (result < 0)
		return result;
	stash__unmap_ring(was.ring, was.ring_bytes);
	return STASH_OK;
}

static int
check_in(const struct stash__in *in, const struct stash__origin *origin)
{
	int result = check_top(in->page, STASH__MAGIC_IN, "a slot's base");

	if (result == STASH_OK)
		result = check_origin(in->page->boot_id, in->page->store_id, origin, "a slot's base");
	for (int i = 0; i < 2 && result == STASH_OK; i++)
		result = check_part(in->page->bases[i], STASH__IN_BASES, in->bytes, "a slot's base");
	return result;
}

/* As large as the file is at this moment. */
static int
map_in(struct stash__in *in, const struct stash__origin *origin)
{
	int result = stash__file_bytes(in->fd, &in->bytes, "a slot's base");

	if (result < 0)
		return result;
	if (in->bytes < STASH__IN_BASES + 2 * STASH__PAGE || in->bytes % STASH__PAGE != 0)
		return stash__fail(STASH_E_CORRUPT, "the file of a slot's base has a size that cannot be");
	in->page = stash__map(in->fd, 0, in->bytes, in->writable, "a slot's base");
	return in->page != NULL ? check_in(in, origin) : STASH_E_SYSTEM;
}

int
stash__in_map(struct stash__in *in, int fd, bool writable, const struct stash__origin *origin)
{
	uint64_t now = 0;
	int result;

	memset(in, 0, sizeof *in);
	in->fd = fd;
	in->writable = writable;
	do {
		stash__unmap(in->page, in->bytes);
		in->page = NULL;
		result = map_in(in, origin);
		/* The stash may have made it larger since its size was read: what seems to be outside is not. */
		if (result == STASH_E_CORRUPT && stash__file_bytes(fd, &now, "a slot's base") < 0)
			now = 0;
	} while (result == STASH_E_CORRUPT && now > in->bytes);
	if (result < 0)
		stash__in_unmap(in);
	return result;
}

void
stash__in_unmap(struct stash__in *in)
{
	stash__unmap(in->page, in->bytes);
	memset(in, 0, sizeof *in);
	in->fd = -1;
}

int
stash__in_follow(struct stash__in *in)
{
	struct stash__in grown;
	int result;

	if (atomic_load_explicit(&in->page->bytes, memory_order_acquire) <= in->bytes)
		return STASH_OK;
	result = stash__in_map(&grown, in->fd, in->writable, NULL);
	if (result < 0)
		return result;
	stash__unmap(in->page, in->bytes);
	*in = grown;
	return STASH_OK;
}

/* Its header is not believed, for its worker may have written over it: nothing in the page can do harm, and which
 * version this is was told on the socket that it came by. */
struct stash__bell_page *
stash__bell_page_map(int fd, bool writable)
{
	uint64_t bytes;

	if (stash__file_bytes(fd, &bytes, "a bell page") < 0)
		return NULL;
	if (bytes < sizeof(struct stash__bell_page)) {
		(void)stash__fail(STASH_E_CORRUPT, "the file of a bell page is too short");
		return NULL;
	}
	return stash__map(fd, 0, STASH__PAGE, writable, "a bell page");
}

void
stash__bell_page_unmap(struct stash__bell_page *page)
{
	stash__unmap(page, STASH__PAGE);
}

struct stash__status_page *
stash__status_page_map(int fd, bool writable)
{
	struct stash__status_page *page = stash__map(fd, 0, STASH__PAGE, writable, "the status page");

	if (page != NULL && check_top(page, STASH__MAGIC_STATUS, "the status page") < 0) {
		stash__unmap(page, STASH__PAGE);
		page = NULL;
	}
	return page;
}

void
stash__status_page_unmap(struct stash__status_page *page)
{
	stash__unmap(page, STASH__PAGE);
}

/* ---- grow ---- */

int
stash__out_grow(int fd, uint64_t ring_bytes, const char *what)
{
	uint64_t bytes;
	int result = stash__file_bytes(fd, &bytes, what);

	if (result < 0)
		return result;
	/* The new ring stands behind all that there is. */
	return stash__file_grow(fd, pages(bytes) + pages(ring_bytes), what);
}

int
stash__out_move(struct stash__out *out)
{
	uint64_t bytes, word, offset = STASH__RING_OFFSET(out->ring_word) + out->ring_bytes;
	int result = stash__file_bytes(out->fd, &bytes, "a slot");

	if (result < 0)
		return result;
	if (bytes <= offset || bytes - offset <= out->ring_bytes)
		return STASH_OK; /* nothing larger there */
	word = STASH__RING(offset, bytes - offset);
	atomic_store_explicit(&out->page->ring, word, memory_order_release);
	return stash__out_follow(out);
}

int
stash__in_grow(struct stash__in *in, uint32_t rows, uint64_t image_bytes)
{
	uint64_t base = pages(stash__base_bytes(rows, image_bytes)), at = in->bytes;
	uint32_t idle = 1 - (atomic_load_explicit(&in->page->base_now, memory_order_relaxed) & 1);
	int result;

	if (base <= STASH__RING_BYTES(in->page->bases[idle]))
		return STASH_OK;
	result = stash__file_grow(in->fd, at + base, "a slot's base");
	if (result < 0)
		return result;
	atomic_store_explicit(&in->page->bases[idle], STASH__RING(at, base), memory_order_release);
	atomic_store_explicit(&in->page->bytes, at + base, memory_order_release);
	return stash__in_follow(in);
}
