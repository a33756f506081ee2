/* SPDX-License-Identifier: ISC */
/*
 * Numbers out of text: all of the text or nothing, and nothing that the writer
 * did not mean: no blanks, no '+', no hex, no octal, no silent overflow.
 */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include <bsd/stdlib.h>

#include <stash/message.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/parse.h"
#include "base/text.h"

/* What of a wrong text is shown. */
#define SHOWN_MAX 64

/* Digits of a number with a unit; more don't fit into 63 bits anyway. */
#define DIGITS_MAX 19

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit times[] = { { "ns", 1 }, { "us", STASH__NS_PER_US }, { "ms", STASH__NS_PER_MS },
	{ "s", STASH__NS_PER_S }, { "m", 60 * STASH__NS_PER_S }, { "h", 3600 * STASH__NS_PER_S },
	{ "d", 86400 * STASH__NS_PER_S }, { NULL, 0 } };

static const struct unit sizes[] = { { "", 1 }, { "K", INT64_C(1) << 10 }, { "M", INT64_C(1) << 20 },
	{ "G", INT64_C(1) << 30 }, { "T", INT64_C(1) << 40 }, { "k", INT64_C(1) << 10 }, { "m", INT64_C(1) << 20 },
	{ "g", INT64_C(1) << 30 }, { "t", INT64_C(1) << 40 }, { NULL, 0 } };

static int
bad(const char *text, const char *why)
{
	char shown[SHOWN_MAX];

	stash__escape(shown, sizeof(shown), text, strlen(text));
	return stash__fail(STASH_E_INVAL, "\"%s\" %s", shown, why);
}

int
stash_parse_int(const char *text, int64_t min, int64_t max, int64_t *value)
{
	const char *error = NULL;
	int64_t number = 0;

	if (text == NULL)
		return stash__fail(STASH_E_INVAL, "a number is wanted, the text is NULL");
	/* strtonum(3) would take blanks and a '+' too. */
	if (!isdigit((unsigned char)text[text[0] == '-']))
		return bad(text, "is not a number");
	number = strtonum(text, min, max, &error);
	if (error != NULL && strcmp(error, "invalid") != 0) {
		bad(text, "is out of range");
		return stash__fail(
		    STASH_E_INVAL, "%s: %" PRId64 " to %" PRId64 " is allowed", stash_errmsg(), min, max);
	}
	if (error != NULL)
		return bad(text, "is not a number");
	if (value != NULL)
		*value = number;
	return 0;
}

/* Digits and a unit of the table; want says what is allowed. */
static int
parse_unit(const char *text, const struct unit *units, const char *want, int64_t *value)
{
	char digits[DIGITS_MAX + 1];
	size_t n;
	int64_t number = 0;

	if (text == NULL)
		return stash__fail(STASH_E_INVAL, "is NULL, %s", want);
	n = strspn(text, "0123456789");
	while (units->name != NULL && strcmp(units->name, text + n) != 0)
		units++;
	if (n == 0 || units->name == NULL)
		return bad(text, want);
	if (n > DIGITS_MAX)
		return bad(text, "is too large");
	memcpy(digits, text, n);
	digits[n] = '\0';
	if (stash_parse_int(digits, 0, INT64_MAX, &number) != 0 ||
	    __builtin_mul_overflow(number, units->factor, &number))
		return bad(text, "is too large");
	*value = number;
	return 0;
}

int
stash__parse_ns(const char *text, int64_t *ns)
{
	return parse_unit(
	    text, times, "is no duration: a number with a unit is wanted (ns us ms s m h d), like \"500ms\"", ns);
}

int
stash__parse_ms(const char *text, int64_t *ms)
{
	int64_t ns;
	int error = stash__parse_ns(text, &ns);

	if (error != 0)
		return error;
	if (ns % STASH__NS_PER_MS != 0)
		return bad(text, "is no whole number of milliseconds");
	*ms = ns / STASH__NS_PER_MS;
	return 0;
}

int
stash__parse_size(const char *text, uint64_t *bytes)
{
	int64_t value = 0;
	int error = parse_unit(
	    text, sizes, "is no size: a number is wanted, with or without K M G T, like \"64M\"", &value);

	if (error != 0)
		return error;
	*bytes = (uint64_t)value;
	return 0;
}
