/* SPDX-License-Identifier: ISC */
/*
 * Tables of struct stash_field as bytes, and states shown by them. Packed
 * tables come from workers and from the store: they are foreign, and nothing
 * of them is believed before stash__fields_check() has seen that each field
 * lies within the image that it describes. No function here looks outside of
 * an image.
 *
 * Packed: a count, then for each field name (text), offset, size, count, type,
 * flags (int each), and the same again for the fields of a struct.
 */
#ifndef SHM_FIELDS_H
#define SHM_FIELDS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <stash/buf.h>
#include <stash/field.h>

#define STASH__FIELDS_DEPTH 8		/* tables in tables */
#define STASH__FIELDS_MAX 1024		/* fields of one layout, those of its structs included */
#define STASH__FIELDS_BYTES (64 * 1024) /* of a packed layout */

/*
 * Whether a table is right for images of image_len bytes: names, known types
 * with a size that they can have, every element within the image or its struct,
 * no more than STASH__FIELDS_MAX fields, no deeper than STASH__FIELDS_DEPTH.
 * NULL is an empty table. STASH_E_FORMAT, with the field's name.
 */
int stash__fields_check(const struct stash_field *fields, uint64_t image_len);

/* Appends a table that was checked; NULL: an empty one. STASH_E_FORMAT, _TOOBIG, _NOMEM. */
int stash__fields_pack(struct stash_buf *buf, const struct stash_field *fields, uint64_t image_len);

/*
 * Reads a packed table from foreign bytes and checks it. *fields is to be freed by
 * stash__fields_free(); NULL on failure, and for an empty table. STASH_E_FORMAT,
 * _NOMEM.
 */
int stash__fields_unpack(const void *data, size_t len, uint64_t image_len, struct stash_field **fields);
void stash__fields_free(struct stash_field *fields); /* NULL is fine */

/*
 * Writes an image, a line for each field ("limits.low = 1"), a struct in an
 * array with its index ("point[2].x = 5"). Text is quoted and escaped, times are local. A
 * field marked secret isn't shown. STASH_E_FORMAT: the table isn't one for this image;
 * STASH_E_SYSTEM: out can't be written.
 */
int stash__fields_print(FILE *out, const struct stash_field *fields, const void *image, size_t len);

/* The same without a table: offset, bytes in hex, and as text. */
int stash__hex_print(FILE *out, const void *image, size_t len);

/* One element as a number; at need not be aligned. The field was checked and has the type of that name. */
int64_t stash__field_int(const struct stash_field *field, const unsigned char *at);
uint64_t stash__field_uint(const struct stash_field *field, const unsigned char *at);
double stash__field_float(const struct stash_field *field, const unsigned char *at);
/* Length of a text, without its NUL; it need not have one. */
size_t stash__field_text_len(const struct stash_field *field, const unsigned char *at);

#endif
