/* SPDX-License-Identifier: ISC */
/*
 * For what cannot happen, in every build: a program that finds its own rules
 * broken must not go on writing. What can happen (input, other processes, the
 * system) is an error code, never this.
 */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#define STASH_ASSERT(cond) ((cond) ? (void)0 : stash__assert_failed(#cond, __FILE__, __LINE__, __func__))

/* One line on standard error, then abort(). */
_Noreturn void stash__assert_failed(const char *cond, const char *file, int line, const char *function);

#endif
