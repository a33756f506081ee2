/* SPDX-License-Identifier: ISC */
/*
 * The end of a process that found its own rules broken. It uses nothing that
 * may be broken too: no allocation, no stdio buffer, no log settings.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

_Noreturn void
stash__assert_failed(const char *cond, const char *file, int line, const char *function)
{
	char text[512];

	snprintf(text, sizeof(text), "stash: bug: %s:%d: %s: \"%s\" does not hold; please report it\n", file, line,
	    function, cond);
	/* Nothing is left to do about a write that fails. */
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		abort();
	abort();
}
