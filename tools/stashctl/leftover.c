/* SPDX-License-Identifier: ISC */
/*
 * Workers that outlived their stashd. The next one finds them by their slots and
 * kills them before it starts others: whoever takes the slots away has to do it
 * in its place, or there would be two of a name.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "stash/exchange.h"
#include "stashctl/restore.h"
#include "stashd/proc.h"

#define WAIT_MS 10000

/*
 * Its pidfd; -1: it has ended, or was never one of this stashd's. A slot is written by its worker: root must not be
 * made to kill another user's process by what stands there.
 */
static int
open_owner(const struct stash__slot_owner *owner)
{
	int pidfd = proc_open(owner->pid, owner->start_time);
	struct stat process;
	char path[40];

	if (pidfd < 0)
		return -1;
	snprintf(path, sizeof path, "/proc/%d", (int)owner->pid);
	if (stat(path, &process) == 0 && process.st_uid == owner->uid)
		return pidfd;
	close(pidfd);
	return -1;
}

/* Whether it has ended within that time; one that nobody has reaped yet has. */
static bool
is_over(int pidfd, int timeout_ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

static void
tell(const struct restoring *r, const char *name, pid_t pid, const char *what)
{
	FILE *out = r->t->out;

	fputs("Left from before: process ", out);
	fprintf(out, "%d of ", (int)pid);
	stash__escape_to(out, name, strlen(name));
	fprintf(out, ": %s\n", what);
}

static int
show_one(void *arg, const char *name, const struct stash__slot_owner *owner)
{
	int pidfd = open_owner(owner);

	if (pidfd < 0)
		return STASH_OK;
	if (!is_over(pidfd, 0))
		tell(arg, name, owner->pid, "it will be killed");
	close(pidfd);
	return STASH_OK;
}

static int
end_one(void *arg, const char *name, const struct stash__slot_owner *owner)
{
	int pidfd = open_owner(owner), code = STASH_OK;

	if (pidfd < 0)
		return STASH_OK;
	if (!is_over(pidfd, 0)) {
		if (pidfd_send_signal(pidfd, SIGKILL, NULL, 0) != 0 && errno != ESRCH)
			code = stash__fail_errno(
			    "process %d of %s is left from before, and can't be killed", (int)owner->pid, name);
		else if (!is_over(pidfd, WAIT_MS))
			code = stash__fail(STASH_E_BUSY,
			    "process %d of %s is left from before, was killed, and hasn't ended yet: try again",
			    (int)owner->pid, name);
		else
			tell(arg, name, owner->pid, "killed");
	}
	close(pidfd);
	return code;
}

int
ctl_leftovers_show(struct restoring *r)
{
	return r->has_info ? stash__exchange_owners(r->info.run_dir, &r->origin, show_one, r) : STASH_OK;
}

int
ctl_leftovers_end(struct restoring *r)
{
	return r->has_info ? stash__exchange_owners(r->info.run_dir, &r->origin, end_one, r) : STASH_OK;
}
