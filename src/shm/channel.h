/* SPDX-License-Identifier: ISC */
/*
 * channel.h: one client's mailbox at one worker: a request ring and a reply ring in a sealed memfd.
 * Both sides use it by these functions only; what comes from the other side is copied out and checked before
 * it is looked at, and a side that breaks the rules gets STASH_E_PROTO.
 */
#ifndef STASH_SHM_CHANNEL_H
#define STASH_SHM_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "shm/format.h"

struct stash__channel {
	struct stash__channel_page *page;
	unsigned char *req, *rep; /* mapped twice in a row each */
	uint64_t ring_bytes;
	uint8_t id[STASH__ID];
	/* of a way: its file, and how much of each ring is known to have room; it has no holes below that */
	bool sparse;
	int file;
	uint64_t req_room, rep_room;
};

/* One message, copied out of a ring. */
struct stash__message {
	struct stash__frame head;
	const char *tag;     /* NUL-terminated; "" in replies */
	unsigned char *data; /* 16-byte aligned, a NUL behind it; inside the buffer given */
};

/* A buffer that a message is copied into; grows as needed. */
struct stash__copy {
	unsigned char *at;
	size_t size;
};

/* A new channel: a memfd, sealed against shrinking and growing.  ring_bytes is rounded up to pages and to
 * STASH__RING_MIN. */
int stash__channel_make(const uint8_t id[STASH__ID], uint64_t ring_bytes, int *memfd);
/* A way: a channel in a new file of that directory, named by its id, from one worker to another. */
int stash__way_make(int dirfd, const uint8_t id[STASH__ID], const char *from, const char *to, int *fd);
/* Whose it is; its id is checked against the header's.  STASH_E_FORMAT, STASH_E_PROTO. */
int stash__way_read(int fd, uint8_t id[STASH__ID], char from[STASH_NAME_MAX + 1], char to[STASH_NAME_MAX + 1]);
enum { STASH__WAY_FILE_MAX = 2 * STASH__ID + 1 };
void stash__way_file(const uint8_t id[STASH__ID], char file[STASH__WAY_FILE_MAX]);
/* The id of its row in the sender's base, which is another one than in the receiver's; applied twice, it is back. */
void stash__way_row_id(const uint8_t id[STASH__ID], uint8_t row[STASH__ID]);
/* Maps a channel after checking seals, size and header; the descriptor stays the caller's and isn't needed
 * afterwards. */
int stash__channel_map(struct stash__channel *, int memfd);
/* The same for a way, which is a file of the run directory and has no seals: only this user may open it. */
int stash__channel_map_file(struct stash__channel *, int fd);
void stash__channel_unmap(struct stash__channel *);

/* The largest request, and the largest reply, that the channel takes (frame and all). */
uint64_t stash__channel_largest(const struct stash__channel *);
uint64_t stash__frame_bytes(size_t tag_len, size_t len);

/* Client: writes a request behind *tail (its own copy of the position) and moves *tail; nothing is published yet.
 * 0; STASH_E_BUSY: no room; STASH_E_TOOBIG; STASH_E_PROTO: the worker's position cannot be. */
int stash__request_write(struct stash__channel *, uint64_t *tail, uint64_t number, uint32_t kind, const char *tag,
    const void *data, size_t len, int64_t deadline);
/* Whether, and why, the supervisor has marked the channel down: 0; STASH_E_DOWN, _HELD: what waits there is not done;
 * else STASH_E_PROTO, whatever it says. */
static inline int
stash__channel_down(const struct stash__channel *c)
{
	uint32_t down = atomic_load_explicit(&c->page->down, memory_order_acquire);

	if (down == 0)
		return STASH_OK;
	return down == -STASH_E_DOWN || down == -STASH_E_HELD ? -(int)down : STASH_E_PROTO;
}

/* Client: publishes all up to tail; then the caller wakes the worker. */
static inline void
stash__request_publish(struct stash__channel *c, uint64_t tail)
{
	atomic_store_explicit(&c->page->req_tail, tail, memory_order_release);
}

/* Worker: copies out the request at *head, if one is published; moves *head.  1: a message; 0: none; STASH_E_PROTO.
 * last: the number of the request before it. */
int stash__request_read(
    struct stash__channel *, uint64_t *head, uint64_t last, struct stash__copy *, struct stash__message *);
/* Whether a request stands behind head (cheap; no check). */
static inline bool
stash__request_waits(const struct stash__channel *c, uint64_t head)
{
	return atomic_load_explicit(&c->page->req_tail, memory_order_acquire) != head;
}

/* Worker: whether the reply ring has room for the largest reply behind tail. */
bool stash__reply_room(const struct stash__channel *, uint64_t tail);
/* Worker: whether the client's position in it can be. */
bool stash__reply_sane(const struct stash__channel *, uint64_t tail);
/* Worker: writes a reply behind *tail, moves *tail (not published).  0; STASH_E_BUSY: no room; STASH_E_TOOBIG;
 * STASH_E_PROTO. */
int stash__reply_write(struct stash__channel *, uint64_t *tail, uint64_t number, int32_t code, int32_t app_code,
    const void *data, size_t len);
/* Worker, or the supervisor for a dead one: publishes. */
static inline void
stash__reply_publish(struct stash__channel *c, uint64_t rep_tail, uint64_t req_head)
{
	atomic_store_explicit(&c->page->rep_tail, rep_tail, memory_order_release);
	atomic_store_explicit(&c->page->req_head, req_head, memory_order_release);
}
/* Client: says how far it has taken replies. */
static inline void
stash__reply_taken(struct stash__channel *c, uint64_t rep_head)
{
	atomic_store_explicit(&c->page->rep_head, rep_head, memory_order_release);
}
/* Client: as stash__request_read, for replies; nothing is published. */
int stash__reply_take(struct stash__channel *, uint64_t *head, struct stash__copy *, struct stash__message *);
/* The same, and moves rep_head in the page as well. */
int stash__reply_read(struct stash__channel *, uint64_t *head, struct stash__copy *, struct stash__message *);
static inline bool
stash__reply_waits(const struct stash__channel *c, uint64_t head)
{
	return atomic_load_explicit(&c->page->rep_tail, memory_order_acquire) != head;
}

void stash__copy_free(struct stash__copy *);

#endif
