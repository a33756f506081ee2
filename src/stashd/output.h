/* SPDX-License-Identifier: ISC */
/*
 * output.h: what a worker writes to stdout and stderr, cut into lines for the log.
 */
#ifndef STASHD_OUTPUT_H
#define STASHD_OUTPUT_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>

enum { OUTPUT_LINE_MAX = 1500, OUTPUT_TURN_MAX = 64 * 1024 };

/* Bytes to lines: a line ends at a newline, or where it has OUTPUT_LINE_MAX bytes; what follows up to the newline is
 * next line. */
struct output_lines {
	char *part; /* what has no end yet; NULL: nothing */
	size_t len;
};
typedef void output_line_fn(void *arg, const char *line); /* NUL bytes in it were made '?' */
void output_feed(struct output_lines *, const char *data, size_t len, output_line_fn *, void *arg);
/* Gives what has no newline as a line, and frees everything. */
void output_end(struct output_lines *, output_line_fn *, void *arg);

struct output {
	int fd; /* -1: closed */
	struct event readable;
	struct output_lines lines;
	const char *name; /* goes before each line; borrowed */
};
/* Takes fd.  Its read end is made non-blocking. */
int output_begin(struct output *, struct event_base *, int fd, const char *name);
/* Reads what is left, at most once OUTPUT_TURN_MAX, and closes.  Twice is fine. */
void output_close(struct output *);

#endif
