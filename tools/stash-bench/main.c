/* SPDX-License-Identifier: ISC */
/*
 * stash-bench: load and latency, compared with what the machine can do. Only
 * the entry; the tables are in program.c.
 */
#include "stash-bench/bench.h"

int
main(int argc, char **argv)
{
	return tool_main(&stash_bench, argc, argv);
}
