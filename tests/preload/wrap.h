/* SPDX-License-Identifier: ISC */
/*
 * wrap.h: what the wrappers of this folder share.  Each stands for one function, asks failing_call(), and either gives
 * back a failure as that function does it or calls the real one.
 */
#ifndef TESTS_PRELOAD_WRAP_H
#define TESTS_PRELOAD_WRAP_H

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

#include "failing.h"

/* Whatever the compiler was told: they are found by name. */
#pragma GCC visibility push(default)

/* 0, or the error with which this call is to fail.  to: where it returns to. */
int failing_call(enum failing_function, const void *to);
/* This process was just forked; it has said what it is. */
void failing_child(void);
void failing_title(const char *title);

/* So many allocations more, or less. */
void failing_live(int64_t more);

/* The real function; looked for once. */
#define REAL(type, name, params) \
	static type(*real) params; \
	if (real == NULL) \
	*(void **)&real = dlsym(RTLD_NEXT, #name)

/* type name params, which is counted as `function', and fails by `failure' with the error in `failed'. */
#define WRAP_AS(function, type, name, params, args, failure) \
	type name params; \
	type name params \
	{ \
		int failed = failing_call(FAILING_##function, __builtin_return_address(0)); \
		REAL(type, name, params); \
		if (failed != 0) \
			return failure; \
		return real args; \
	}

/* By errno: */
#define WRAP(name, type, failure, params, args) WRAP_AS(name, type, name, params, args, (errno = failed, failure))
/* By its result: */
#define WRAP_CODE(name, params, args) WRAP_AS(name, int, name, params, args, failed)

#endif
