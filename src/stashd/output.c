/* SPDX-License-Identifier: ISC */
/*
 * output.c: lines of workers.  However much one of them writes, the loop takes a bounded part of it at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "stashd/output.h"

#define READ_SIZE 16384

static void
emit(struct output_lines *o, output_line_fn *fn, void *arg)
{
	o->part[o->len] = '\0';
	fn(arg, o->part);
	o->len = 0;
}

void
output_feed(struct output_lines *o, const char *data, size_t len, output_line_fn *fn, void *arg)
{
	if (len > 0 && o->part == NULL) {
		o->part = malloc(OUTPUT_LINE_MAX + 1);
		o->len = 0;
	}
	if (o->part == NULL)
		return;
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n') {
			emit(o, fn, arg);
			continue;
		}
		if (o->len == OUTPUT_LINE_MAX)
			emit(o, fn, arg);
		o->part[o->len++] = data[i] == '\0' ? '?' : data[i];
	}
	if (o->len == 0) {
		free(o->part);
		o->part = NULL;
	}
}

void
output_end(struct output_lines *o, output_line_fn *fn, void *arg)
{
	if (o->part != NULL && o->len > 0)
		emit(o, fn, arg);
	free(o->part);
	o->part = NULL;
	o->len = 0;
}

static void
log_line(void *arg, const char *line)
{
	const struct output *o = arg;

	stash__log(LOG_INFO, "%s: %s", o->name, line);
}

/* Up to a bound; false: the other end is closed. */
static bool
take(struct output *o)
{
	char data[READ_SIZE];
	size_t taken = 0;
	ssize_t n;

	while (taken < OUTPUT_TURN_MAX) {
		n = read(o->fd, data, sizeof(data));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		output_feed(&o->lines, data, (size_t)n, log_line, o);
		taken += (size_t)n;
	}
	return true;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct output *o = arg;

	(void)fd;
	(void)what;
	if (!take(o))
		output_close(o);
}

int
output_begin(struct output *o, struct event_base *events, int fd, const char *name)
{
	o->fd = fd;
	o->name = name;
	o->lines.part = NULL;
	o->lines.len = 0;
	event_assign(&o->readable, events, fd, EV_READ | EV_PERSIST, on_readable, o);
	if (fcntl(fd, F_SETFL, O_RDONLY | O_NONBLOCK) < 0 || event_add(&o->readable, NULL) != 0)
		return stash__fail_errno("can't watch the output of %s", name);
	return 0;
}

void
output_close(struct output *o)
{
	if (o->fd < 0)
		return;
	(void)take(o);
	event_del(&o->readable);
	output_end(&o->lines, log_line, o);
	close(o->fd);
	o->fd = -1;
}
