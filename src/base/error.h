/* SPDX-License-Identifier: ISC */
/*
 * Failing: the one place where a thread's message is written. A function that
 * fails returns what one of these returns, and so never forgets the sentence.
 * A message says what, on which thing, why, and what to do. Nothing in here
 * prints.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>

#include <stash/error.h>

/* Bytes of a message, NUL included; a longer one is cut. */
#define STASH__ERRMSG_MAX 1024
/* Bytes of a term, NUL included. */
#define STASH__ERRTERM_MAX 1024

/* Sets stash_errmsg() and returns code. The arguments may hold stash_errmsg() itself. errno stays as it was. */
int stash__fail(int code, const char *fmt, ...) STASH_PRINTF(2, 3);
int stash__vfail(int code, const char *fmt, va_list ap) STASH_PRINTF(2, 0);

/* The same, and OTP's term for it, in words, for stash_errterm(); each other failure leaves "" there. */
int stash__fail_term(int code, const char *term, const char *fmt, ...) STASH_PRINTF(3, 4);

/* The same from errno: appends ": " and its words. EACCES, EPERM: STASH_E_ACCES; ENOMEM: _NOMEM; ENOSPC, EDQUOT: _FULL;
 * else _SYSTEM. */
int stash__fail_errno(const char *fmt, ...) STASH_PRINTF(1, 2);

#endif
