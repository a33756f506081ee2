/* SPDX-License-Identifier: ISC */
/*
 * What tools print: tables for people, JSON lines for programs. Each line of
 * JSON is an object with "schema":1; a key never changes its meaning while that
 * number stays. Times are local for people and RFC 3339 in UTC in JSON. Memory
 * that runs out ends the program: these functions have no other failure.
 */
#ifndef COMMON_OUT_H
#define COMMON_OUT_H

#include <jansson.h>

#include <stash/field.h>

#include "common/tool.h"

#define TOOL_SCHEMA 1

/* ---- memory (memory.c) ---- */

void *tool_alloc(size_t bytes);
void *tool_realloc(void *at, size_t bytes);

/* ---- tables (table.c) ---- */

/* Columns are as wide as they must be; control characters in cells are escaped. */
struct tool_table;
/* titles ends with NULL; one that begins with '>' is of a column of numbers. */
struct tool_table *tool_table_create(const char *const *titles);
void tool_table_destroy(struct tool_table *table);
/* The next cell, from the left, row after row. */
void tool_cell(struct tool_table *table, const char *fmt, ...) STASH_PRINTF(2, 3);
void tool_cell_count(struct tool_table *table, uint64_t value); /* 0 as "-" */
size_t tool_table_rows(const struct tool_table *table);
void tool_table_print(const struct tool_table *table, FILE *out);

/* ---- times (times.c) ---- */

enum { TOOL_TIME_MAX = 64 };
/* "2026-03-01 09:15:00.123", local; ns since 1970; 0: "-". Returns text. */
const char *tool_time_local(int64_t ns, char text[TOOL_TIME_MAX]);
/* "2026-03-01T08:15:00.123Z". */
const char *tool_time_utc(int64_t ns, char text[TOOL_TIME_MAX]);
/* "850 ns", "1.2 ms", "3.0 s", "2 h 5 min". */
const char *tool_duration(int64_t ns, char text[TOOL_TIME_MAX]);
/* "64.0 KiB", "12 bytes". */
const char *tool_bytes(uint64_t bytes, char text[TOOL_TIME_MAX]);

/* ---- JSON (json.c, json_fields.c) ---- */

json_t *tool_json(void);					    /* an object with "schema" */
void tool_json_set(json_t *object, const char *key, json_t *value); /* takes value over */
json_t *tool_json_text(const char *text, size_t len);		    /* what isn't UTF-8 is escaped */
json_t *tool_json_string(const char *text);
json_t *tool_json_number(uint64_t value); /* above INT64_MAX a string */
json_t *tool_json_time(int64_t ns);	  /* 0: null */
json_t *tool_json_hex(const void *data, size_t len);
/* An image by its checked fields, structs as objects, arrays as arrays; a secret one is null. */
json_t *tool_json_fields(const struct stash_field *fields, const void *image);
/* Writes a line and frees the object. */
void tool_json_line(const struct tool *tool, json_t *object);

/* ---- things that several commands print (things.c) ---- */

const char *tool_status_name(uint32_t status); /* of enum stash_status: "running" */
/* The same for people, who want to know why it is stopped: "failed". */
const char *tool_status_word(const struct stash_process *process);
const char *tool_reason_name(uint32_t reason); /* of enum stash_reason */
const char *tool_kind_name(uint32_t kind);     /* of enum stash_msg_kind; "" for 0 */
json_t *tool_json_process(const struct stash_process *process);

#endif
