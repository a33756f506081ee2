/* SPDX-License-Identifier: ISC */
/*
 * Foreign text in what the tools print: names, messages, data and states in tables, JSON lines and sentences on
 * standard error. Whatever comes in, a terminal gets no control character but line ends where they belong, valid UTF-8,
 * and tables whose columns stand below each other; a line of JSON is one line, and can be read back.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "common/out.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *text; /* what was printed */
static size_t text_len;

static FILE *
begin(void)
{
	FILE *out = open_memstream(&text, &text_len);

	STASH_ASSERT(out != NULL);
	return out;
}

/* Safe for a terminal, and of so many lines. */
static void
end(FILE *out, size_t lines)
{
	uint32_t cp;
	size_t n, found = 0;

	STASH_ASSERT(fclose(out) == 0);
	for (size_t i = 0; i < text_len; i += n) {
		n = stash__utf8_next(text + i, text_len - i, &cp);
		STASH_ASSERT(n > 0 && (!stash__is_control(cp) || cp == '\n'));
		found += cp == '\n';
	}
	STASH_ASSERT(found == lines);
}

/* The input in NUL-terminated words, as names and messages are: cut at every byte 0xff. */
static char *
next_word(const uint8_t **data, size_t *size)
{
	const uint8_t *end = *size > 0 ? memchr(*data, 0xff, *size) : NULL;
	size_t len = end != NULL ? (size_t)(end - *data) : *size;
	char *word = malloc(len + 1);

	STASH_ASSERT(word != NULL);
	if (len > 0)
		memcpy(word, *data, len);
	word[len] = '\0';
	*data += len + (end != NULL);
	*size -= len + (end != NULL);
	return word;
}

static size_t
characters(const char *at, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)at[i] & 0xc0) != 0x80;
	return n;
}

/* The last column begins at the same place in each line. */
static void
print_table(const uint8_t *data, size_t size)
{
	static const char *const titles[] = { "NAME", ">COUNT", "LAST", NULL };
	struct tool_table *table = tool_table_create(titles);
	size_t rows = 0, column = 0;
	FILE *out = begin();

	while (size > 0 && rows < 64) {
		char *word = next_word(&data, &size);

		tool_cell(table, "%s", word);
		tool_cell_count(table, strlen(word));
		tool_cell(table, "|%s", word);
		free(word);
		rows++;
	}
	STASH_ASSERT(tool_table_rows(table) == rows);
	tool_table_print(table, out);
	end(out, rows + 1);
	for (const char *line = text; rows > 0 && *line != '\0'; line = strchr(line, '\n') + 1) {
		const char *mark = strstr(line, line == text ? "LAST" : "  |"), *newline = strchr(line, '\n');

		STASH_ASSERT(mark != NULL && mark < newline);
		if (line == text)
			column = characters(line, (size_t)(mark - line));
		else
			/* A word may have such a mark in itself, before the column. */
			STASH_ASSERT(characters(line, (size_t)(mark + 2 - line)) <= column &&
			    characters(line, (size_t)(newline - line)) >= column);
	}
	tool_table_destroy(table);
	free(text);
}

static void
print_json(const uint8_t *data, size_t size)
{
	struct tool tool = { .out = begin(), .json = true };
	json_t *object = tool_json(), *again;
	json_error_t error;

	tool_json_set(object, "data", tool_json_text((const char *)data, size));
	tool_json_set(object, "hex", tool_json_hex(data, size));
	tool_json_set(object, "number", tool_json_number(size * 0x123456789abcdefull));
	tool_json_line(&tool, object);
	end(tool.out, 1);
	again = json_loads(text, JSON_ALLOW_NUL, &error);
	STASH_ASSERT(json_is_object(again) && json_is_string(json_object_get(again, "data")));
	/* What is UTF-8 without control characters comes back as it was. */
	if (stash__utf8_ok(data, size) && memchr(data, '\0', size) == NULL)
		STASH_ASSERT(json_string_length(json_object_get(again, "data")) >= size);
	json_decref(again);
	free(text);
}

static void
print_process(const uint8_t *data, size_t size)
{
	struct tool tool = { .out = begin(), .json = true };
	struct stash_process process;
	json_t *again;
	json_error_t error;

	memset(&process, 0, sizeof process);
	memcpy(&process, data, size < sizeof process ? size : sizeof process);
	process.id[STASH_NAME_MAX] = process.name[STASH_NAME_MAX] = process.child[STASH_PATH_MAX] = '\0';
	tool_json_line(&tool, tool_json_process(&process));
	end(tool.out, 1);
	again = json_loads(text, JSON_ALLOW_NUL, &error);
	STASH_ASSERT(json_is_object(again));
	json_decref(again);
	free(text);
}

/* Sentences on standard error; the text comes from a worker, or from whom it was called by. */
static void
print_message(const uint8_t *data, size_t size)
{
	static const struct tool_program program = { .name = "fuzz" };
	static const struct tool_command command = { .name = "show", .usage = "NAME" };
	struct tool tool = { .program = &program, .command = &command, .err = begin() };
	char *word = next_word(&data, &size);

	STASH_ASSERT(tool_fail(&tool, 7, "%s", word) == 7);
	end(tool.err, 1);
	STASH_ASSERT(strncmp(text, "fuzz", 4) == 0);
	free(text);
	free(word);
}

/* The buffer's size is foreign, too: never more than it, never half a character or escape. */
static void
escape(const uint8_t *data, size_t size)
{
	size_t room = data[0], need = stash__escape(NULL, 0, data + 1, size - 1), other;
	char *whole = malloc(need + 1), *part = malloc(room + 1);
	FILE *out = begin();

	STASH_ASSERT(whole != NULL && part != NULL);
	STASH_ASSERT(stash__escape(whole, need + 1, data + 1, size - 1) == need && strlen(whole) == need);
	part[room] = '#';
	other = stash__escape(part, room, data + 1, size - 1);
	STASH_ASSERT(other == need && part[room] == '#');
	if (room > 0) {
		STASH_ASSERT(strlen(part) < room && strncmp(whole, part, strlen(part)) == 0);
		STASH_ASSERT(stash__utf8_ok(part, strlen(part)));
	}
	stash__escape_to(out, data + 1, size - 1);
	end(out, 0);
	STASH_ASSERT(text_len == need && memcmp(text, whole, need) == 0);
	free(text);
	free(whole);
	free(part);
}

/* As `call' prints a reply: onto a terminal lines stay lines. */
static void
print_times(const uint8_t *data, size_t size)
{
	char a[TOOL_TIME_MAX], b[TOOL_TIME_MAX], c[TOOL_TIME_MAX], d[TOOL_TIME_MAX];
	int64_t ns = 0;

	memcpy(&ns, data, size < sizeof ns ? size : sizeof ns);
	STASH_ASSERT(strlen(tool_time_local(ns, a)) > 0 && strlen(tool_time_utc(ns, b)) > 0);
	STASH_ASSERT(strlen(tool_duration(ns, c)) > 0 && strlen(tool_bytes((uint64_t)ns, d)) > 0);
	STASH_ASSERT(*tool_status_name((uint32_t)ns) != '\0' && *tool_reason_name((uint32_t)ns) != '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 4096)
		return 0;
	switch (data[0] % 6) {
	case 0:
		print_table(data + 1, size - 1);
		break;
	case 1:
		print_json(data + 1, size - 1);
		break;
	case 2:
		print_process(data + 1, size - 1);
		break;
	case 3:
		print_message(data + 1, size - 1);
		break;
	case 4:
		escape(data + 1, size - 1);
		break;
	default:
		print_times(data + 1, size - 1);
	}
	return 0;
}
