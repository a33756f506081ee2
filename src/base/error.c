/* SPDX-License-Identifier: ISC */
/*
 * This thread's last failure, and the names and words of all codes. It must
 * never fail itself, allocate, or change errno.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

/* Every code once: the compiler names one that is forgotten, since there is no default below. */
#define CODES(X) \
	X(STASH_OK, "no error") \
	X(STASH_E_INVAL, "invalid argument or order of calls") \
	X(STASH_E_NOMEM, "out of memory") \
	X(STASH_E_SYSTEM, "a system call failed") \
	X(STASH_E_ACCES, "not allowed") \
	X(STASH_E_NOENT, "not found") \
	X(STASH_E_EXIST, "name is taken") \
	X(STASH_E_TOOBIG, "too big") \
	X(STASH_E_FULL, "store full") \
	X(STASH_E_BUSY, "mailbox full") \
	X(STASH_E_TIMEDOUT, "timed out") \
	X(STASH_E_PENDING, "not answered yet") \
	X(STASH_E_CRASHED, "the message crashed its worker") \
	X(STASH_E_HELD, "held back") \
	X(STASH_E_DOWN, "not running") \
	X(STASH_E_DEADLOCK, "call to oneself") \
	X(STASH_E_APP, "the worker's own error") \
	X(STASH_E_UNKNOWN, "unknown tag") \
	X(STASH_E_PROTO, "the other side broke the protocol") \
	X(STASH_E_FORMAT, "cannot be parsed") \
	X(STASH_E_CORRUPT, "checksum fails") \
	X(STASH_E_LAYOUT, "another layout of the state") \
	X(STASH_E_FORKED, "handle of another process") \
	X(STASH_E_SPEC, "wrong specification") \
	X(STASH_E_START, "start failed") \
	X(STASH_E_ESCALATED, "too many restarts") \
	X(STASH_E_STARTED, "already started") \
	X(STASH_E_PRESENT, "already present") \
	X(STASH_E_RUNNING, "running") \
	X(STASH_E_RESTARTING, "restarting") \
	X(STASH_E_TEMPLATE, "not with simple_one_for_one")

static _Thread_local char message[STASH__ERRMSG_MAX], last_term[STASH__ERRTERM_MAX];

const char *
stash_strerror(int code)
{
	switch ((enum stash_error)code) {
#define TEXT(name, text) \
	case name: \
		return text;
		CODES(TEXT)
#undef TEXT
	}
	return "unknown error";
}

const char *
stash_errname(int code)
{
	switch ((enum stash_error)code) {
#define NAME(name, text) \
	case name: \
		return #name;
		CODES(NAME)
#undef NAME
	}
	return "unknown";
}

const char *
stash_errmsg(void)
{
	return message;
}

const char *
stash_errterm(void)
{
	return last_term;
}

int
stash__vfail(int code, const char *fmt, va_list ap)
{
	char text[STASH__ERRMSG_MAX];
	int saved = errno;

	/* Not straight into message: the arguments may lie in it. */
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	memcpy(message, text, strlen(text) + 1);
	last_term[0] = '\0';
	errno = saved;
	return code;
}

int
stash__fail(int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	stash__vfail(code, fmt, ap);
	va_end(ap);
	return code;
}

int
stash__fail_term(int code, const char *term, const char *fmt, ...)
{
	char text[STASH__ERRTERM_MAX];
	va_list ap;

	/* It may be the last one itself. */
	if (snprintf(text, sizeof(text), "%s", term) < 0)
		text[0] = '\0';
	va_start(ap, fmt);
	stash__vfail(code, fmt, ap);
	va_end(ap);
	memcpy(last_term, text, strlen(text) + 1);
	return code;
}

static int
code_of_errno(int error)
{
	switch (error) {
	case EACCES:
	case EPERM:
		return STASH_E_ACCES;
	case ENOMEM:
		return STASH_E_NOMEM;
	case ENOSPC:
	case EDQUOT:
		return STASH_E_FULL;
	default:
		return STASH_E_SYSTEM;
	}
}

int
stash__fail_errno(const char *fmt, ...)
{
	char words[128];
	int saved = errno;
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	stash__vfail(STASH_E_SYSTEM, fmt, ap);
	va_end(ap);
	len = strlen(message);
	snprintf(message + len, sizeof(message) - len, ": %s", strerror_r(saved, words, sizeof(words)));
	errno = saved;
	return code_of_errno(saved);
}
