/* SPDX-License-Identifier: ISC */
/*
 * JSON lines. What comes from outside is made UTF-8 first, since JSON can hold
 * nothing else; numbers that JSON's readers round are strings.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "common/out.h"

json_t *
tool_json(void)
{
	static bool once;
	json_t *object;

	/* From here on jansson fails for wrong arguments only. */
	if (!once)
		json_set_alloc_funcs(tool_alloc, free);
	once = true;
	object = json_object();
	tool_json_set(object, "schema", json_integer(TOOL_SCHEMA));
	return object;
}

void
tool_json_set(json_t *object, const char *key, json_t *value)
{
	int set = json_object_set_new(object, key, value);

	STASH_ASSERT(set == 0);
}

json_t *
tool_json_text(const char *text, size_t len)
{
	size_t need;
	json_t *string;
	char *safe;

	if (stash__utf8_ok(text, len))
		return json_stringn(text, len);
	need = stash__escape(NULL, 0, text, len);
	safe = tool_alloc(need + 1);
	stash__escape(safe, need + 1, text, len);
	string = json_stringn(safe, need);
	free(safe);
	return string;
}

json_t *
tool_json_string(const char *text)
{
	return tool_json_text(text, strlen(text));
}

json_t *
tool_json_number(uint64_t value)
{
	char text[24];

	if (value <= INT64_MAX)
		return json_integer((json_int_t)value);
	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	return json_string(text);
}

json_t *
tool_json_time(int64_t ns)
{
	char text[TOOL_TIME_MAX];

	return ns == 0 ? json_null() : json_string(tool_time_utc(ns, text));
}

json_t *
tool_json_hex(const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *at = data;
	char *text = tool_alloc(2 * len);
	json_t *string;

	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[at[i] >> 4];
		text[2 * i + 1] = digits[at[i] & 15];
	}
	string = json_stringn(text, 2 * len);
	free(text);
	return string;
}

/*
 * What JSON leaves as it is, and a terminal takes for a command: U+007F, and U+0080 to U+009F, among them an escape
 * sequence's beginning in one character. They stand in strings only, where an escape means the same.
 */
static void
put_safely(FILE *out, const char *text)
{
	for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
		bool two = at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f;

		if (at[0] == 0x7f || two)
			fprintf(out, "\\u%04X", at[two]);
		else
			putc(*at, out);
		at += two;
	}
}

void
tool_json_line(const struct tool *tool, json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	/* A stream that can't be written remembers it, and tool_end() says so. */
	if (text != NULL) {
		put_safely(tool->out, text);
		putc('\n', tool->out);
	}
	free(text);
	json_decref(object);
}
