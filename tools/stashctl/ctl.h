/* SPDX-License-Identifier: ISC */
/*
 * stashctl's commands, one file each, and what some of them share. They change
 * something, so each of them asks a running stashd: none touches a store, but for
 * those that are for when no stashd runs, and take its locks.
 */
#ifndef STASHCTL_CTL_H
#define STASHCTL_CTL_H

#include "base/buf.h"
#include "common/out.h"
#include "common/tool.h"

extern const struct tool_program stashctl;

extern const struct tool_command ctl_call, ctl_cast, ctl_get, ctl_kill, ctl_ping, ctl_put, ctl_reexec, ctl_reload,
    ctl_restart, ctl_send, ctl_shutdown, ctl_wait;
/* while no stashd runs */
extern const struct tool_command ctl_discard_slots, ctl_keep_slots, ctl_restore;
/* OTP's */
extern const struct tool_command ctl_count_children, ctl_delete_child, ctl_get_childspec, ctl_restart_child,
    ctl_start_child, ctl_terminate_child, ctl_which_children;

/* How long a command that stops or starts workers waits, unless -t says it. */
#define CTL_LONG_MS 60000

/* ---- data.c ---- */

/* A message's payload. */
struct ctl_data {
	char *bytes; /* to be freed */
	size_t len;
};
/*
 * The words joined by a space; a lone "-": all of standard input, up to max bytes. There is room for a NUL behind it.
 * 0, or the exit status of a failure that was told.
 */
int ctl_data(const struct tool *t, int argc, char **argv, size_t max, struct ctl_data *data);

/* ---- child.c ---- */

/* Says what was started. code: 0, STASH_IGNORE. */
void ctl_started(const struct tool *t, int code, const struct stash_process *process);
/* A command about one child, "PATH | NAME | SUPERVISOR ID"; fn gives what the library gives. */
typedef int ctl_child_fn(const struct tool *t, struct stash_client *client, const struct tool_child *child);
int ctl_child(struct tool *t, int argc, char **argv, ctl_child_fn *fn);

/* ---- request.c ---- */

/*
 * A request for which the library has no function, with its items; fn takes what follows the answer's error
 * and text, NULL: nothing. 0 or STASH_E_*.
 */
typedef int ctl_answer_fn(void *arg, struct stash_view *view);
int ctl_request(
    struct stash_client *client, int type, const struct stash_buf *items, int timeout_ms, ctl_answer_fn *fn, void *arg);

#endif
