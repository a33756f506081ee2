/* SPDX-License-Identifier: ISC */
/*
 * channel.c: making, checking and mapping a channel; frames in and out of its two rings.
 */
#include "shm/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "shm/checksum.h"
#include "shm/map.h"

#define RESERVE_STEP (64u * 1024)
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

/* ---- make and map ---- */

static int
fill(int memfd, const uint8_t id[STASH__ID], uint64_t ring_bytes)
{
	struct stash__channel_page page = {
		.magic = STASH__MAGIC_CHANNEL,
		.format = STASH__CHANNEL_FORMAT,
		.ring_bytes = ring_bytes,
	};

	memcpy(page.id, id, STASH__ID);
	if (ftruncate(memfd, (off_t)(STASH__PAGE + 2 * ring_bytes)) < 0)
		return stash__fail_errno(
		    "cannot size a channel of two rings of %llu bytes", (unsigned long long)ring_bytes);
	if (pwrite(memfd, &page, sizeof page, 0) != (ssize_t)sizeof page)
		return stash__fail_errno("cannot write a channel's header");
	if (fcntl(memfd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0)
		return stash__fail_errno("cannot seal a channel");
	return STASH_OK;
}

int
stash__channel_make(const uint8_t id[STASH__ID], uint64_t ring_bytes, int *memfd)
{
	int fd, result;

	if (ring_bytes < STASH__RING_MIN)
		ring_bytes = STASH__RING_MIN;
	if (ring_bytes > STASH__RING_MAX)
		return stash__fail(STASH_E_INVAL, "a ring of %llu bytes is over the limit of %u",
		    (unsigned long long)ring_bytes, STASH__RING_MAX);
	ring_bytes = (ring_bytes + STASH__PAGE - 1) & ~(uint64_t)(STASH__PAGE - 1);
	fd = memfd_create("stash-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return stash__fail_errno("cannot make a channel (memfd)");
	result = fill(fd, id, ring_bytes);
	if (result < 0) {
		close(fd);
		return result;
	}
	*memfd = fd;
	return STASH_OK;
}

/* Reads the header's constants once; nobody is believed about them later. */
static int
check(int fd, struct stash__channel_page *page)
{
	uint64_t bytes;

	if (stash__file_bytes(fd, &bytes, "a channel") < 0)
		return STASH_E_SYSTEM;
	if (stash__read_at(fd, page, sizeof *page, 0) != (ssize_t)sizeof *page || page->magic != STASH__MAGIC_CHANNEL)
		return stash__fail(STASH_E_PROTO, "what was handed over as a channel is none");
	if (page->format != STASH__CHANNEL_FORMAT)
		return stash__fail(STASH_E_FORMAT, "the channel has format %u, this library knows %u", page->format,
		    STASH__CHANNEL_FORMAT);
	if (page->ring_bytes < STASH__RING_MIN || page->ring_bytes > STASH__RING_MAX ||
	    page->ring_bytes % STASH__PAGE != 0 || bytes != STASH__PAGE + 2 * page->ring_bytes)
		return stash__fail(STASH_E_PROTO, "a channel's rings don't fit its size");
	return STASH_OK;
}

static int
map(struct stash__channel *c, int fd)
{
	struct stash__channel_page page;
	int result = check(fd, &page);

	memset(c, 0, sizeof *c);
	if (result < 0)
		return result;
	c->ring_bytes = page.ring_bytes;
	memcpy(c->id, page.id, STASH__ID);
	c->page = stash__map(fd, 0, STASH__PAGE, true, "a channel");
	if (c->page != NULL)
		c->req = stash__map_ring(fd, STASH__PAGE, c->ring_bytes, true, "a channel's requests");
	if (c->req != NULL)
		c->rep = stash__map_ring(fd, STASH__PAGE + c->ring_bytes, c->ring_bytes, true, "a channel's replies");
	if (c->rep == NULL) {
		stash__channel_unmap(c);
		return STASH_E_SYSTEM;
	}
	return STASH_OK;
}

/* Huge pages take the same seals, but a hole that a client has punched there may not be filled again: SIGBUS. */
static bool
is_ordinary_memory(int memfd)
{
	struct statfs fs;

	return fstatfs(memfd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

int
stash__channel_map(struct stash__channel *c, int memfd)
{
	int seals = fcntl(memfd, F_GET_SEALS);

	memset(c, 0, sizeof *c);
	if (seals >= 0 && !is_ordinary_memory(memfd))
		return stash__fail(STASH_E_PROTO, "a channel's memory isn't ordinary memory");
	if (seals < 0 || (seals & SEALS) != SEALS)
		return stash__fail(STASH_E_PROTO, "a channel's memory isn't sealed: its owner could truncate it");
	return map(c, memfd);
}

int
stash__channel_map_file(struct stash__channel *c, int fd)
{
	int result = map(c, fd);

	if (result < 0)
		return result;
	c->file = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (c->file < 0) {
		result = stash__fail_errno("cannot keep the file of a channel");
		stash__channel_unmap(c);
		return result;
	}
	c->sparse = true;
	return STASH_OK;
}

/* Room in the file for what is written at that position, in steps, until the ring was gone through once. */
static int
reserve(const struct stash__channel *c, uint64_t *known, off_t ring, uint64_t position, uint64_t bytes)
{
	uint64_t end = position % c->ring_bytes + bytes, upto = (end + RESERVE_STEP - 1) / RESERVE_STEP * RESERVE_STEP;
	int error;

	if (upto > c->ring_bytes || position >= c->ring_bytes)
		upto = c->ring_bytes;
	if (!c->sparse || *known >= upto)
		return STASH_OK;
	error = posix_fallocate(c->file, ring + (off_t)*known, (off_t)(upto - *known));
	if (error != 0) {
		errno = error;
		return stash__fail_errno(
		    "no room for a message of %llu bytes in the run directory", (unsigned long long)bytes);
	}
	*known = upto;
	return STASH_OK;
}

void
stash__channel_unmap(struct stash__channel *c)
{
	stash__unmap(c->page, STASH__PAGE);
	stash__unmap_ring(c->req, c->ring_bytes);
	stash__unmap_ring(c->rep, c->ring_bytes);
	if (c->sparse)
		close(c->file);
	memset(c, 0, sizeof *c);
}

static int
broken(const char *what)
{
	return stash__fail(STASH_E_PROTO, "the other side broke the channel's rules: %s", what);
}

/* ---- frames ---- */

uint64_t
stash__frame_bytes(size_t tag_len, size_t len)
{
	return sizeof(struct stash__frame) + STASH__PAD8(tag_len + 1) + STASH__PAD8(len);
}

/* A reply has no tag and no room for one. */
static uint64_t
reply_bytes(size_t len)
{
	return sizeof(struct stash__frame) + STASH__PAD8(len);
}

uint64_t
stash__channel_largest(const struct stash__channel *c)
{
	uint64_t half = c->ring_bytes / 2;

	return (half < STASH_DATA_MAX ? half : STASH_DATA_MAX) + STASH__FRAME_HEAD_MAX;
}

static bool
too_long(const struct stash__channel *c, size_t len)
{
	return len > STASH_DATA_MAX || len > c->ring_bytes / 2;
}

/* Bytes free behind `tail', of which the other side has taken up to `head'; a head that cannot be is no room at all. */
static uint64_t
room(const struct stash__channel *c, uint64_t tail, uint64_t head)
{
	uint64_t used = tail - head;

	return used <= c->ring_bytes ? c->ring_bytes - used : 0;
}

static void
put(unsigned char *at, struct stash__frame *head, const char *tag, const void *data, uint64_t bytes, uint64_t position)
{
	unsigned char *p = at + sizeof *head;

	/* The last word of each part first: its padding is under the checksum. */
	memset(at + bytes - 8, 0, 8);
	if (tag != NULL) {
		uint64_t padded = STASH__PAD8((size_t)head->tag_len + 1);

		memset(p + padded - 8, 0, 8);
		memcpy(p, tag, head->tag_len);
		p += padded;
	}
	if (head->len > 0)
		memcpy(p, data, head->len);
	head->checksum = 0;
	memcpy(at, head, sizeof *head);
	head->checksum = stash__checksum(at, bytes, position);
	memcpy(at, &head->checksum, sizeof head->checksum);
}

int
stash__request_write(struct stash__channel *c, uint64_t *tail, uint64_t number, uint32_t kind, const char *tag,
    const void *data, size_t len, int64_t deadline)
{
	struct stash__frame head = { .number = number, .deadline = deadline, .kind = (uint8_t)kind };
	size_t tag_len = strlen(tag);
	uint64_t bytes = stash__frame_bytes(tag_len, len), head_at;
	int result;

	if (tag_len > STASH_TAG_MAX || too_long(c, len))
		return stash__fail(STASH_E_TOOBIG,
		    "a message of %zu bytes is over the limit: %d, or half of the channel's ring (%llu)", len,
		    STASH_DATA_MAX, (unsigned long long)c->ring_bytes / 2);
	head_at = atomic_load_explicit(&c->page->req_head, memory_order_acquire);
	if (*tail - head_at > c->ring_bytes)
		return broken("requests are taken that were not sent");
	if (room(c, *tail, head_at) < bytes)
		return STASH_E_BUSY;
	result = reserve(c, &c->req_room, STASH__PAGE, *tail, bytes);
	if (result < 0)
		return result;
	head.len = (uint32_t)len;
	head.tag_len = (uint8_t)tag_len;
	put(c->req + *tail % c->ring_bytes, &head, tag, data, bytes, *tail);
	*tail += bytes;
	return STASH_OK;
}

bool
stash__reply_sane(const struct stash__channel *c, uint64_t tail)
{
	return tail - atomic_load_explicit(&c->page->rep_head, memory_order_acquire) <= c->ring_bytes;
}

bool
stash__reply_room(const struct stash__channel *c, uint64_t tail)
{
	return room(c, tail, atomic_load_explicit(&c->page->rep_head, memory_order_acquire)) >=
	    stash__channel_largest(c);
}

int
stash__reply_write(struct stash__channel *c, uint64_t *tail, uint64_t number, int32_t code, int32_t app_code,
    const void *data, size_t len)
{
	struct stash__frame head = { .number = number, .code = code, .app_code = app_code };
	uint64_t bytes = reply_bytes(len);
	int result;

	if (too_long(c, len))
		return stash__fail(STASH_E_TOOBIG,
		    "a reply of %zu bytes is over the limit: %d, or half of the channel's ring (%llu)", len,
		    STASH_DATA_MAX, (unsigned long long)c->ring_bytes / 2);
	if (room(c, *tail, atomic_load_explicit(&c->page->rep_head, memory_order_acquire)) < bytes)
		return STASH_E_BUSY;
	result = reserve(c, &c->rep_room, (off_t)(STASH__PAGE + c->ring_bytes), *tail, bytes);
	if (result < 0)
		return result;
	head.len = (uint32_t)len;
	put(c->rep + *tail % c->ring_bytes, &head, NULL, data, bytes, *tail);
	*tail += bytes;
	return STASH_OK;
}

static int
copy_room(struct stash__copy *copy, size_t bytes)
{
	void *at;

	if (bytes <= copy->size)
		return STASH_OK;
	bytes = (bytes + 4095) & ~(size_t)4095;
	at = aligned_alloc(STASH__LINE, bytes);
	if (at == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a message of %zu bytes", bytes);
	free(copy->at);
	copy->at = at;
	copy->size = bytes;
	return STASH_OK;
}

void
stash__copy_free(struct stash__copy *copy)
{
	free(copy->at);
	copy->at = NULL;
	copy->size = 0;
}

/* Where in the copy a frame goes, so that its data come to stand aligned to 16 bytes. */
static size_t
shift(uint64_t before)
{
	return (16 - before % 16) % 16;
}

/* Copies the frame at `head' (which lies before `tail') and checks the copy.  The data's alignment costs up to
 * 8 bytes in front. */
static int
take(const unsigned char *ring, uint64_t ring_bytes, uint64_t largest, uint64_t *head, uint64_t tail, bool tagged,
    struct stash__copy *copy, struct stash__message *m)
{
	const unsigned char *at = ring + *head % ring_bytes;
	uint64_t there = tail - *head, before, bytes;
	unsigned char *to;

	if (there > ring_bytes || there < sizeof m->head || there % 8 != 0)
		return broken("a position that cannot be");
	memcpy(&m->head, at, sizeof m->head);
	before = sizeof m->head + (tagged ? STASH__PAD8((uint64_t)m->head.tag_len + 1) : 0);
	bytes = before + STASH__PAD8((uint64_t)m->head.len);
	if (bytes > there || bytes > largest || m->head.tag_len > STASH_TAG_MAX)
		return broken("a length that cannot be");
	if (copy_room(copy, bytes + 32) < 0)
		return STASH_E_NOMEM;
	to = copy->at + shift(before);
	memcpy(to, at, bytes);
	/* The checksum is over the copy: head included, which is the one that was used for the lengths. */
	if (memcmp(to, &m->head, sizeof m->head) != 0 || m->head.checksum != stash__checksum(to, bytes, *head))
		return broken("a wrong checksum");
	m->tag = tagged ? (const char *)to + sizeof m->head : "";
	m->data = to + before;
	m->data[m->head.len] = '\0';
	if (tagged && strlen(m->tag) != m->head.tag_len)
		return broken("a tag with a NUL inside");
	*head += bytes;
	return 1;
}

int
stash__request_read(
    struct stash__channel *c, uint64_t *head, uint64_t last, struct stash__copy *copy, struct stash__message *m)
{
	uint64_t next = *head, tail = atomic_load_explicit(&c->page->req_tail, memory_order_acquire);
	int result;

	if (tail == next)
		return 0;
	result = take(c->req, c->ring_bytes, stash__channel_largest(c), &next, tail, true, copy, m);
	if (result <= 0)
		return result;
	if (m->head.number != last + 1)
		return broken("a request out of order");
	if (m->head.kind < STASH_MSG_CALL || m->head.kind > STASH_MSG_SEND || m->head.tag_len == 0)
		return broken("a request of an unknown kind");
	*head = next;
	return 1;
}

int
stash__reply_take(struct stash__channel *c, uint64_t *head, struct stash__copy *copy, struct stash__message *m)
{
	uint64_t tail = atomic_load_explicit(&c->page->rep_tail, memory_order_acquire);

	if (tail == *head)
		return 0;
	return take(c->rep, c->ring_bytes, stash__channel_largest(c), head, tail, false, copy, m);
}

int
stash__reply_read(struct stash__channel *c, uint64_t *head, struct stash__copy *copy, struct stash__message *m)
{
	int result = stash__reply_take(c, head, copy, m);

	if (result > 0)
		atomic_store_explicit(&c->page->rep_head, *head, memory_order_release);
	return result;
}
