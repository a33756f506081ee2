/* SPDX-License-Identifier: ISC */
/*
 * The process's role: one word, set once, before there are threads. Nothing in
 * here decides what a role may do.
 */
#include "base/role.h"

static enum stash__role current = STASH__ROLE_NONE;

void
stash__role_set(enum stash__role role)
{
	current = role;
}

enum stash__role
stash__role(void)
{
	return current;
}
