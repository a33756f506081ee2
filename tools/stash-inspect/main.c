/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect: looks at a store and at what runs on it. Only the entry; the
 * tables are in program.c.
 */
#include "stash-inspect/inspect.h"

int
main(int argc, char **argv)
{
	return tool_main(&stash_inspect, argc, argv);
}
