/* SPDX-License-Identifier: ISC */
/*
 * Numbers with a unit, as people write them in the config and on command lines.
 * Each function takes all of the text or none of it: 0, or STASH_E_INVAL with a
 * message that names what is allowed. stash_parse_int() is public.
 */
#ifndef BASE_PARSE_H
#define BASE_PARSE_H

#include <stdint.h>

/* A duration: digits, then one of ns us ms s m h d: "500ms", "5s", "2m". The unit must be there. */
int stash__parse_ns(const char *text, int64_t *ns);

/* The same in whole milliseconds; "250us" is an error. */
int stash__parse_ms(const char *text, int64_t *ms);

/* A size in bytes: digits, then nothing or one of K M G T (or k m g t), powers of 1,024: "64M". */
int stash__parse_size(const char *text, uint64_t *bytes);

#endif
