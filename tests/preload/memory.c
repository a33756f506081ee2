/* SPDX-License-Identifier: ISC */
/*
 * memory.c: allocation.  The real functions have names of their own in the C library: dlsym() itself allocates.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wrap.h"

/* NOLINTBEGIN(bugprone-reserved-identifier): they are the C library's. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);
int __asprintf_chk(char **, int, const char *, ...);
int __vasprintf_chk(char **, int, const char *, va_list);
/* NOLINTEND(bugprone-reserved-identifier) */
void *reallocarray(void *, size_t, size_t);

#define FAILS(function) failing_call(FAILING_##function, __builtin_return_address(0))

static void *
counted(void *p)
{
	if (p != NULL)
		failing_live(1);
	return p;
}

void *
malloc(size_t n)
{
	int failed = FAILS(malloc);

	return failed != 0 ? errno = failed, NULL : counted(__libc_malloc(n));
}

void *
calloc(size_t n, size_t size)
{
	int failed = FAILS(calloc);

	return failed != 0 ? errno = failed, NULL : counted(__libc_calloc(n, size));
}

void
free(void *p)
{
	if (p != NULL)
		failing_live(-1);
	__libc_free(p);
}

static void *
again(void *p, size_t n)
{
	void *new = __libc_realloc(p, n);

	return p == NULL ? counted(new) : new;
}

void *
realloc(void *p, size_t n)
{
	int failed = FAILS(realloc);

	return failed != 0 ? errno = failed, NULL : again(p, n);
}

void *
reallocarray(void *p, size_t n, size_t size)
{
	int failed = FAILS(reallocarray);

	if (failed == 0 && size != 0 && n > SIZE_MAX / size)
		failed = ENOMEM;
	return failed != 0 ? errno = failed, NULL : again(p, n * size);
}

void *
aligned_alloc(size_t align, size_t n)
{
	int failed = FAILS(aligned_alloc);

	return failed != 0 ? errno = failed, NULL : counted(__libc_memalign(align, n));
}

char *
strndup(const char *text, size_t max)
{
	int failed = FAILS(strndup);
	size_t n = strnlen(text, max);
	char *copy = failed != 0 ? NULL : counted(__libc_malloc(n + 1));

	if (failed != 0)
		errno = failed;
	if (copy != NULL) {
		memcpy(copy, text, n);
		copy[n] = '\0';
	}
	return copy;
}

char *
strdup(const char *text)
{
	int failed = FAILS(strdup);
	size_t n = strlen(text) + 1;
	char *copy = failed != 0 ? NULL : counted(__libc_malloc(n));

	if (failed != 0)
		errno = failed;
	return copy != NULL ? memcpy(copy, text, n) : NULL;
}

int
__vasprintf_chk(char **to, int flag, const char *fmt, va_list ap)
{
	int failed = FAILS(vasprintf);

	(void)flag;
	return failed != 0 ? errno = failed, -1 : vasprintf(to, fmt, ap);
}

int
__asprintf_chk(char **to, int flag, const char *fmt, ...)
{
	int failed = FAILS(asprintf), n = -1;
	va_list ap;

	(void)flag;
	if (failed != 0)
		return errno = failed, -1;
	va_start(ap, fmt);
	n = vasprintf(to, fmt, ap);
	va_end(ap);
	return n;
}

WRAP(open_memstream, FILE *, NULL, (char **to, size_t *n), (to, n))
WRAP(fopen, FILE *, NULL, (const char *path, const char *how), (path, how))
WRAP(fdopen, FILE *, NULL, (int fd, const char *how), (fd, how))
WRAP(setenv, int, -1, (const char *name, const char *value, int over), (name, value, over))
