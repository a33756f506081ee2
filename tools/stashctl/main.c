/* SPDX-License-Identifier: ISC */
/*
 * stashctl: does something to what runs under a stashd. Only the entry; the
 * tables are in program.c.
 */
#include "stashctl/ctl.h"

int
main(int argc, char **argv)
{
	return tool_main(&stashctl, argc, argv);
}
