/* SPDX-License-Identifier: ISC */
/*
 * Writing and reading typed items: for payloads, and for a state's encode and
 * decode. What is written is the same on every machine:
 *
 *	int	8 bytes, two's complement, little-endian
 *	bytes	4 bytes of length, unsigned, little-endian, then the bytes
 *	text	its bytes (UTF-8), then a NUL
 *	add	the bytes alone: the reader has to know how many
 *
 * Nothing says which item comes next: reader and writer have to agree. The
 * first error sticks, so that checking the last result is enough.
 */
#ifndef STASH_BUF_H
#define STASH_BUF_H

#include <stddef.h>
#include <stdint.h>

#include <stash/version.h>

/*
 * A buffer that grows as items are added, up to STASH_STATE_MAX bytes. Opaque;
 * one thread at a time. Since 0.1.0.
 */
struct stash_buf;

/*
 * A position in foreign bytes. The fields are the library's: set by
 * stash_view_init(), not to be written. It borrows the bytes and owns nothing.
 * Since 0.1.0.
 */
struct stash_view {
	const unsigned char *at; /* the next byte */
	size_t left;		 /* how many there are from it on */
	int32_t error;		 /* 0, or the error that sticks */
	int32_t reserved;
};

#ifdef __cplusplus
extern "C" {
#endif

/*
 * An empty buffer, the caller's own; to be freed by stash_buf_destroy(). NULL:
 * no memory. Since 0.1.0.
 */
STASH_API struct stash_buf *stash_buf_create(void);

/*
 * Frees a buffer of one's own, not one that a callback was given. NULL is fine.
 * Since 0.1.0.
 */
STASH_API void stash_buf_destroy(struct stash_buf *buf);

/*
 * Appends len bytes of data, bare; they are copied. data may be NULL if len is
 * 0. Returns 0, or the error that sticks: STASH_E_NOMEM, _TOOBIG, _INVAL. Never
 * blocks. Since 0.1.0.
 */
STASH_API int stash_buf_add(struct stash_buf *buf, const void *data, size_t len);

/*
 * Appends the length, then the bytes; otherwise like stash_buf_add(). Since
 * 0.1.0.
 */
STASH_API int stash_buf_add_bytes(struct stash_buf *buf, const void *data, size_t len);

/*
 * Appends a text with its NUL; what isn't UTF-8 is STASH_E_INVAL. Otherwise
 * like stash_buf_add(). Since 0.1.0.
 */
STASH_API int stash_buf_add_text(struct stash_buf *buf, const char *text);

/* Appends a number, in 8 bytes; otherwise like stash_buf_add(). Since 0.1.0. */
STASH_API int stash_buf_add_int(struct stash_buf *buf, int64_t value);

/*
 * What has been added so far: stores the first byte in *data (never NULL,
 * aligned to 16 bytes, a NUL behind the last one) and the length in *len;
 * either may be NULL. The bytes stay the buffer's and are good until the next
 * add. Returns 0, or the error that sticks; then *data is empty and *len is 0.
 * Since 0.1.0.
 */
STASH_API int stash_buf_data(const struct stash_buf *buf, const void **data, size_t *len);

/*
 * Begins to read len bytes at data, which are borrowed and must outlive the
 * view and what it returns; data may be NULL if len is 0. Since 0.1.0.
 */
STASH_API void stash_view_init(struct stash_view *view, const void *data, size_t len);

/*
 * The next item, as stash_buf_add_bytes() has written it: where it lies in the
 * data (not aligned), its length in *len (which may be NULL). NULL and 0 after
 * an error. Since 0.1.0.
 */
STASH_API const void *stash_view_bytes(struct stash_view *view, size_t *len);

/*
 * The next item, as stash_buf_add_text() has written it: where it lies in the
 * data. "" after an error; text that isn't UTF-8 is one. Since 0.1.0.
 */
STASH_API const char *stash_view_text(struct stash_view *view);

/*
 * The next item, as stash_buf_add_int() has written it. 0 after an error. Since
 * 0.1.0.
 */
STASH_API int64_t stash_view_int(struct stash_view *view);

/*
 * 0 if everything was read without an error and nothing is left over, else
 * STASH_E_FORMAT. Since 0.1.0.
 */
STASH_API int stash_view_end(const struct stash_view *view);

#ifdef __cplusplus
}
#endif

#endif
