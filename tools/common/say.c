/* SPDX-License-Identifier: ISC */
/*
 * What tools say to people when something fails, and the exit code for it. A
 * message is one line, "program: what: why", however strange the names in it
 * are. Must not hide a failed write: tool_end() looks.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/text.h"
#include "common/tool.h"

/* Not in sysexits.h: what a check found, or the worker's own "no". */
#define EX_SAID_NO 1

int
tool_exit(int code)
{
	switch ((enum stash_error)code) {
	case STASH_OK:
		return EX_OK;
	case STASH_E_APP:
	case STASH_E_START:
		return EX_SAID_NO;
	case STASH_E_INVAL:
	case STASH_E_DEADLOCK:
	case STASH_E_TEMPLATE:
		return EX_USAGE;
	case STASH_E_TOOBIG:
	case STASH_E_FORMAT:
	case STASH_E_CORRUPT:
	case STASH_E_LAYOUT:
	case STASH_E_PROTO:
		return EX_DATAERR;
	case STASH_E_NOENT:
		return EX_NOHOST;
	case STASH_E_DOWN:
	case STASH_E_HELD:
		return EX_UNAVAILABLE;
	case STASH_E_CRASHED:
	case STASH_E_UNKNOWN:
	case STASH_E_ESCALATED:
		return EX_SOFTWARE;
	case STASH_E_NOMEM:
	case STASH_E_SYSTEM:
	case STASH_E_FORKED:
		return EX_OSERR;
	case STASH_E_EXIST:
	case STASH_E_STARTED:
	case STASH_E_PRESENT:
		return EX_CANTCREAT;
	case STASH_E_FULL:
	case STASH_E_BUSY:
	case STASH_E_TIMEDOUT:
	case STASH_E_PENDING:
	case STASH_E_RUNNING:
	case STASH_E_RESTARTING:
		return EX_TEMPFAIL;
	case STASH_E_ACCES:
		return EX_NOPERM;
	case STASH_E_SPEC:
		return EX_CONFIG;
	}
	return EX_SOFTWARE;
}

static void
say(const struct tool *t, const char *fmt, va_list ap, const char *why, const char *term)
{
	char *text = NULL;
	int len = vasprintf(&text, fmt, ap);

	fprintf(t->err, "%s: ", t->program->name);
	stash__escape_to(t->err, len < 0 ? fmt : text, len < 0 ? strlen(fmt) : (size_t)len);
	if (why != NULL && *why != '\0') {
		fputs(": ", t->err);
		stash__escape_to(t->err, why, strlen(why));
	}
	/* Unless it was said already. */
	if (*term != '\0' && (why == NULL || strstr(why, term) == NULL)) {
		fputs(" (", t->err);
		stash__escape_to(t->err, term, strlen(term));
		putc(')', t->err);
	}
	putc('\n', t->err);
	if (len >= 0)
		free(text);
}

int
tool_fail(const struct tool *t, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(t, fmt, ap, NULL, "");
	va_end(ap);
	return status;
}

int
tool_error(const struct tool *t, int code, const char *fmt, ...)
{
	const char *why = *stash_errmsg() != '\0' ? stash_errmsg() : stash_strerror(code);
	va_list ap;

	va_start(ap, fmt);
	say(t, fmt, ap, why, stash_errterm());
	va_end(ap);
	return tool_exit(code);
}

int
tool_usage(const struct tool *t, const char *fmt, ...)
{
	const struct tool_command *c = t->command;
	va_list ap;

	va_start(ap, fmt);
	say(t, fmt, ap, NULL, "");
	va_end(ap);
	if (c != NULL)
		fprintf(t->err, "usage: %s [OPTION...] %s%s%s\n", t->program->name, c->name,
		    *c->usage != '\0' ? " " : "", c->usage);
	else
		fprintf(t->err, "Try: %s --help\n", t->program->name);
	return EX_USAGE;
}

int
tool_end(const struct tool *t, int status)
{
	if (fflush(t->out) == 0 && !ferror(t->out))
		return status;
	return tool_fail(t, EX_OSERR, "cannot write the output: %s", strerror(errno));
}

bool
tool_terminal(FILE *f)
{
	int fd = fileno(f);

	return fd >= 0 && isatty(fd);
}

void
tool_path(FILE *f, const char *path)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:,@%=";
	char safe[4 * PATH_MAX];

	stash__escape(safe, sizeof safe, path, strlen(path));
	if (*safe != '\0' && strspn(safe, plain) == strlen(safe)) {
		fputs(safe, f);
		return;
	}
	putc('\'', f);
	for (const char *c = safe; *c != '\0'; c++) {
		if (*c == '\'')
			fputs("'\\''", f);
		else
			putc(*c, f);
	}
	putc('\'', f);
}

void
tool_put(FILE *f, const void *data, size_t len)
{
	const char *at = data, *end;
	size_t n;

	if (!tool_terminal(f)) {
		fwrite(data, 1, len, f);
		return;
	}
	for (; len > 0; at += n, len -= n) {
		end = memchr(at, '\n', len);
		n = end == NULL ? len : (size_t)(end - at);
		stash__escape_to(f, at, n);
		if (end != NULL) {
			putc('\n', f);
			n++;
		}
	}
}
