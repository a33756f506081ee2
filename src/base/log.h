/* SPDX-License-Identifier: ISC */
/*
 * The log of the processes that stashd is made of: one line for each event,
 * written whole by one write(2), so that lines of several processes never mix.
 * A library that runs in somebody else's process never calls this.
 * The settings are a process's own; set them before threads are started.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <syslog.h>

#include <stash/version.h>

/* Bytes of a line, the newline included; a longer one is cut. Below PIPE_BUF, so that a pipe keeps it whole. */
#define STASH__LOG_LINE_MAX 2048

typedef void stash__log_fn(void *arg, int priority, const char *line);

/* One line, "PREFIX: TEXT", control characters escaped. priority: LOG_* of syslog.h. errno stays as it was. */
void stash__log(int priority, const char *fmt, ...) STASH_PRINTF(2, 3);
void stash__vlog(int priority, const char *fmt, va_list ap) STASH_PRINTF(2, 0);

/* What stands before each line, copied; NULL or "": nothing. At first the program's short name. */
void stash__log_prefix(const char *prefix);

/* Lines of a lower urgency than max are dropped; at first LOG_INFO. */
void stash__log_level(int max);

/* Whether "<N>" goes before a line, as the journal wants it. */
void stash__log_journald(bool on);

/* Whether a line is dropped rather than waited with when standard error takes none at the moment; the next one that is
 * taken comes with a count of those lost. */
void stash__log_hasty(bool on);

/* Who gets the lines, without prefix, newline and "<N>"; NULL: standard error. */
void stash__log_sink(stash__log_fn *fn, void *arg);

#endif
