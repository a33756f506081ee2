/* SPDX-License-Identifier: ISC */
/*
 * UTF-8, escaping and the nearest word; see text.h. vis(3) isn't used, since it
 * would escape all of UTF-8.
 */
#include <string.h>
#include <strings.h>

#include "base/text.h"

/* Letters of a word that stash__nearest() looks at. */
#define WORD_MAX 40

/* The bytes that one escaped byte or one character may need. */
#define ESCAPED_MAX 4

size_t
stash__utf8_next(const void *data, size_t len, uint32_t *cp)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *p = data;
	uint32_t c = p[0];
	size_t n, i;

	if (c < 0x80)
		n = 1;
	else if (c >= 0xc2 && c < 0xe0)
		n = 2;
	else if (c >= 0xe0 && c < 0xf0)
		n = 3;
	else if (c >= 0xf0 && c < 0xf5)
		n = 4;
	else
		return 0;
	if (n > len)
		return 0;
	if (n > 1)
		c &= 0xffu >> (n + 1);
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	if (cp != NULL)
		*cp = c;
	return n;
}

bool
stash__utf8_ok(const void *data, size_t len)
{
	const unsigned char *p = data;
	size_t n;

	for (; len > 0; p += n, len -= n) {
		n = stash__utf8_next(p, len, NULL);
		if (n == 0)
			return false;
	}
	return true;
}

bool
stash__is_control(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
}

/* Writes the escape of one byte; returns its length. */
static size_t
escape_byte(char out[ESCAPED_MAX], unsigned char byte)
{
	static const char hex[] = "0123456789abcdef";
	const char *const named = "\nn\rr\tt";
	size_t i;

	out[0] = '\\';
	for (i = 0; i < 6; i += 2) {
		if ((unsigned char)named[i] == byte) {
			out[1] = named[i + 1];
			return 2;
		}
	}
	out[1] = 'x';
	out[2] = hex[byte >> 4];
	out[3] = hex[byte & 15];
	return 4;
}

/* Takes the next character, or the next byte that is to be escaped, into out; returns its bytes in data. */
static size_t
escape_next(const unsigned char *p, size_t len, char out[ESCAPED_MAX], size_t *outlen)
{
	uint32_t cp = 0;
	size_t n = stash__utf8_next(p, len, &cp);

	if (n > 1 && stash__is_control(cp))
		n = 0;
	if (n == 0 || (n == 1 && stash__is_control(cp))) {
		*outlen = escape_byte(out, *p);
		return 1;
	}
	memcpy(out, p, n);
	*outlen = n;
	return n;
}

size_t
stash__escape(char *dst, size_t size, const void *data, size_t len)
{
	const unsigned char *p = data;
	size_t need = 0, at = 0, n, took;
	char one[ESCAPED_MAX];

	for (; len > 0; p += took, len -= took) {
		took = escape_next(p, len, one, &n);
		/* Once something didn't fit, nothing behind it may slip in. */
		if (at == need && size > 0 && n <= size - 1 - at) {
			memcpy(dst + at, one, n);
			at += n;
		}
		need += n;
	}
	if (size > 0)
		dst[at] = '\0';
	return need;
}

void
stash__escape_to(FILE *out, const void *data, size_t len)
{
	const unsigned char *p = data;
	char one[ESCAPED_MAX];
	size_t n, took;

	for (; len > 0; p += took, len -= took) {
		took = escape_next(p, len, one, &n);
		if (fwrite(one, 1, n, out) != n)
			return;
	}
}

static size_t
least_of(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Steps from a to b: letters inserted, deleted, changed, or two neighbours swapped; case is no difference. */
static size_t
distance(const char *a, size_t alen, const char *b, size_t blen)
{
	size_t row[3][WORD_MAX + 1];
	size_t *before = row[0], *last = row[1], *now = row[2], *spare, i, j;

	for (j = 0; j <= blen; j++)
		last[j] = j;
	for (i = 1; i <= alen; i++) {
		now[0] = i;
		for (j = 1; j <= blen; j++) {
			now[j] = last[j - 1] + (strncasecmp(&a[i - 1], &b[j - 1], 1) != 0);
			now[j] = least_of(now[j], least_of(last[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least_of(now[j], before[j - 2] + 1);
		}
		spare = before;
		before = last;
		last = now;
		now = spare;
	}
	return last[blen];
}

const char *
stash__nearest(const char *word, const char *const *list)
{
	size_t wlen = strlen(word), len, d, best;
	const char *found = NULL;

	if (wlen == 0 || wlen > WORD_MAX)
		return NULL;
	/* A third of the letters may be wrong, and always one. */
	best = wlen < 6 ? 2 : wlen / 3 + 1;
	for (; *list != NULL; list++) {
		len = strlen(*list);
		if (len > WORD_MAX)
			continue;
		d = distance(word, wlen, *list, len);
		if (d < best && d < len) {
			best = d;
			found = *list;
		}
	}
	return found;
}
