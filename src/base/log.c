/* SPDX-License-Identifier: ISC */
/*
 * Log lines; see log.h. It must never fail, never wait for a lock, and never
 * let a control character of somebody else's text through.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/log.h"
#include "base/text.h"

#define PREFIX_MAX 256

static struct {
	char prefix[PREFIX_MAX];
	bool prefix_set, journald, hasty;
	unsigned long lost;
	int level;
	stash__log_fn *sink;
	void *arg;
} settings = { .level = LOG_INFO };

void
stash__log_prefix(const char *prefix)
{
	strlcpy(settings.prefix, prefix == NULL ? "" : prefix, sizeof(settings.prefix));
	settings.prefix_set = true;
}

void
stash__log_level(int max)
{
	settings.level = max;
}

void
stash__log_journald(bool on)
{
	settings.journald = on;
}

void
stash__log_hasty(bool on)
{
	settings.hasty = on;
}

void
stash__log_sink(stash__log_fn *fn, void *arg)
{
	settings.sink = fn;
	settings.arg = arg;
}

/* The text behind the first at bytes of line, escaped, a newline last; returns the length of all. */
static size_t
put_text(char line[STASH__LOG_LINE_MAX], size_t at, const char *text)
{
	stash__escape(line + at, STASH__LOG_LINE_MAX - at - 1, text, strlen(text));
	at += strlen(line + at);
	line[at++] = '\n';
	return at;
}

/* A pipe or terminal that says it has room takes a line without waiting, which is shorter than PIPE_BUF. */
static bool
has_room(void)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

	return TEMP_FAILURE_RETRY(poll(&p, 1, 0)) == 1 && (p.revents & POLLOUT) != 0;
}

static void
write_line(int priority, const char *text)
{
	const char *prefix = settings.prefix_set ? settings.prefix : program_invocation_short_name;
	char line[STASH__LOG_LINE_MAX], shown[PREFIX_MAX];
	int at = 0;
	size_t len;
	ssize_t n;

	if (settings.journald)
		at = snprintf(line, sizeof(line), "<%d>", LOG_PRI(priority));
	if (prefix[0] != '\0') {
		stash__escape(shown, sizeof(shown), prefix, strlen(prefix));
		at += snprintf(line + at, sizeof(line) - (size_t)at, "%s: ", shown);
	}
	len = put_text(line, (size_t)at, text);
	do
		n = write(STDERR_FILENO, line, len);
	while (n == -1 && errno == EINTR);
}

void
stash__vlog(int priority, const char *fmt, va_list ap)
{
	char text[STASH__LOG_LINE_MAX], line[STASH__LOG_LINE_MAX];
	int saved = errno;

	if (LOG_PRI(priority) > settings.level)
		return;
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	if (settings.sink != NULL) {
		stash__escape(line, sizeof(line), text, strlen(text));
		settings.sink(settings.arg, LOG_PRI(priority), line);
	} else if (settings.hasty && !has_room()) {
		settings.lost++;
	} else {
		if (settings.lost > 0) {
			snprintf(line, sizeof(line), "%lu lines are missing here: nobody took them", settings.lost);
			settings.lost = 0;
			write_line(LOG_WARNING, line);
		}
		write_line(priority, text);
	}
	errno = saved;
}

void
stash__log(int priority, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	stash__vlog(priority, fmt, ap);
	va_end(ap);
}
