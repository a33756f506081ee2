/* SPDX-License-Identifier: ISC */
/*
 * logging.c: the tree in the log.
 */
#include "base/log.h"
#include "stashd/server.h"

static const char *
status_text(enum stash_status status)
{
	static const char *const texts[] = {
		[STASH_STARTING] = "starting",
		[STASH_RUNNING] = "running",
		[STASH_RESTARTING] = "restarting",
		[STASH_STOPPING] = "stopping",
		[STASH_STOPPED] = "stopped",
		[STASH_HELD] = "held",
	};

	return texts[status];
}

void
logging_tree(struct server *s)
{
	const struct sup_node *node = NULL;
	struct stash_process p;

	while ((node = sup_next(s->machine, node)) != NULL) {
		query_fill(s, node, &p);
		if (p.is_supervisor)
			stash__log(LOG_NOTICE, "tree: %s: supervisor, %s, %llu restarts", p.child,
			    status_text((enum stash_status)p.status), (unsigned long long)p.restarts);
		else
			stash__log(LOG_NOTICE,
			    "tree: %s: %s, process %d, incarnation %llu, version %llu, %llu restarts", p.child,
			    status_text((enum stash_status)p.status), p.pid, (unsigned long long)p.incarnation,
			    (unsigned long long)p.version, (unsigned long long)p.restarts);
	}
}
