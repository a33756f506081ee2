/* SPDX-License-Identifier: ISC */
/*
 * What cast and send have in common: the function that sends is all that
 * differs.
 */
#ifndef STASHCTL_POST_H
#define STASHCTL_POST_H

#include "stashctl/ctl.h"

typedef int ctl_post_fn(struct stash_client *client, const char *name, const char *tag, const void *data, size_t len);

/* A command that sends: NAME TAG [DATA...]. */
int ctl_post(struct tool *t, int argc, char **argv, ctl_post_fn *post);

#endif
