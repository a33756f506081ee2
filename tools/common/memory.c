/* SPDX-License-Identifier: ISC */
/*
 * Memory for what tools print. A tool that has none left can do nothing but say
 * so: it ends here, and nothing else has to ask.
 */
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/out.h"

static _Noreturn void
out_of_memory(void)
{
	static const char text[] = "out of memory\n";

	if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
		_exit(EX_OSERR);
	exit(EX_OSERR);
}

void *
tool_alloc(size_t bytes)
{
	return tool_realloc(NULL, bytes);
}

void *
tool_realloc(void *at, size_t bytes)
{
	at = realloc(at, bytes > 0 ? bytes : 1);
	if (at == NULL)
		out_of_memory();
	return at;
}
