/* SPDX-License-Identifier: ISC */
/*
 * Text from outside: is it UTF-8, how is it shown without harm to a terminal,
 * and what may a mistyped word have meant.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The bytes of the character at data (1 to 4), its number in *cp (may be NULL); 0: not UTF-8. len > 0. */
size_t stash__utf8_next(const void *data, size_t len, uint32_t *cp);

/* Whether all of it is UTF-8: no overlong form, no surrogate, nothing above U+10FFFF. NUL is a character. */
bool stash__utf8_ok(const void *data, size_t len);

/* Whether a character is a control character: U+0000 to U+001F, U+007F to U+009F. */
bool stash__is_control(uint32_t cp);

/*
 * Writes bytes as text that is safe on a terminal and has no line break:
 * control characters and what isn't UTF-8 become \n, \r, \t or \xNN, byte by
 * byte; all else stays. dst gets at most size - 1 bytes and a NUL, and never
 * half of anything; returns the length that all of it needs, like snprintf.
 */
size_t stash__escape(char *dst, size_t size, const void *data, size_t len);

/* The same to a stream; errors are the stream's (ferror). */
void stash__escape_to(FILE *out, const void *data, size_t len);

/*
 * Of a list that ends with NULL the word most like this one, by letters to
 * insert, delete, change or swap; NULL: none is near enough to be meant.
 */
const char *stash__nearest(const char *word, const char *const *list);

#endif
