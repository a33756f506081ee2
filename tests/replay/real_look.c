/* SPDX-License-Identifier: ISC */
/*
 * What the processes of a real stashd do at a moment, from its list of the tree and from what is known of the workers
 * here: by it a step is known to be over.
 */
#include <string.h>

#include "replay/real.h"
#include "shm/record.h"
#include "shm/wire.h"

#define LOOK_MS 10000

struct looking {
	struct real *r;
	struct look *look;
};

static void
mix(struct look *look, const void *data, size_t len)
{
	const unsigned char *at = data;

	for (; len > 0; len--)
		look->hash = (look->hash ^ *at++) * 0x100000001b3u;
}

/* One that was asked to stop and is not to stop by itself. */
static bool
is_deaf(const struct proc *proc)
{
	const char *shutdown = proc->path->declared == NULL ? NULL : item_option(proc->path->declared, "shutdown");

	return proc->life == LIFE_DEAF && shutdown != NULL && strcmp(shutdown, "infinity") == 0;
}

/* A worker with a process: whether that is on its way from one state to another. */
static void
look_at_process(const struct real *r, struct look *look, const struct stash_process *p)
{
	const struct proc *proc = real_proc_pid(r, p->pid);

	if (proc == NULL || proc->path == NULL) {
		look->moving = true;
		if (p->status == STASH_STOPPING)
			look->stopping = true;
		else if (look->first == 0 || p->pid < look->first)
			look->first = p->pid;
		return;
	}
	if (real_proc_dead(proc)) {
		look->moving = look->stopping = true;
		return;
	}
	if (proc->life == LIFE_HELD_START || proc->life == LIFE_HELD_STOP || is_deaf(proc))
		return;
	if (p->status == STASH_STOPPING && proc->life != LIFE_DEAF && proc->life != LIFE_SLOW)
		look->stopping = true;
	if (proc->life != LIFE_RUNNING || p->status != STASH_RUNNING)
		look->moving = true;
}

static void
look_at(struct looking *l, const struct stash_process *p)
{
	mix(l->look, p->child, strlen(p->child));
	mix(l->look, &p->status, sizeof(p->status));
	mix(l->look, &p->pid, sizeof(p->pid));
	if (strcmp(p->child, "root") == 0)
		l->look->root = p->status != STASH_STOPPED;
	/* One without a process waits for its turn, if it waits for anything. */
	if (!p->is_supervisor && p->pid != 0)
		look_at_process(l->r, l->look, p);
}

static int
on_list(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	int error = (int)stash_view_int(v);
	struct stash_process process;
	int64_t more, count;

	(void)fds;
	(void)nfds;
	(void)stash_view_text(v);
	if (error < 0 || type != STASH__B_PROCESSES)
		return error < 0 ? error : STASH_E_PROTO;
	more = stash_view_int(v);
	for (count = stash_view_int(v); count > 0 && stash__view_process(v, &process) == 0; count--)
		look_at(arg, &process);
	return more != 0;
}

void
real_look(struct real *r, struct look *look)
{
	struct looking looking = { r, look };

	memset(look, 0, sizeof(*look));
	if (r->pid == 0)
		return;
	look->moving = true;
	if (!real_connect(r) || r->client->link != LINK_UP)
		return;
	look->moving = false;
	if (stash__client_request(r->client, STASH__B_LIST, NULL, LOOK_MS, on_list, &looking) < 0 || !look->root)
		look->moving = true; /* it has ended, or hasn't begun */
}
