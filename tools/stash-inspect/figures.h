/* SPDX-License-Identifier: ISC */
/*
 * Figures that stat prints and health judges.
 */
#ifndef STASH_INSPECT_FIGURES_H
#define STASH_INSPECT_FIGURES_H

#include "client/client.h"
#include "stash-inspect/inspect.h"

#define FIGURES_STATUSES (STASH_HELD + 1)
#define FIGURES_NAMED 3

struct figures {
	bool has_page, has_stat;
	struct stash__status_page page; /* a copy */
	struct store_stat stat;		/* offline */
	int64_t beat_ns;		/* online: since the last heartbeat */
	bool has_about;			/* online, and the supervisor could say it */
	struct stash__about about;
	uint64_t supervisors, workers, restarts;
	uint64_t by_status[FIGURES_STATUSES]; /* workers, by enum stash_status */
	uint64_t failed;		      /* of the stopped ones: their start failed, and nobody repeats it */
	char failed_name[FIGURES_NAMED][STASH_PATH_MAX + 1]; /* the first of them, by name or path */
};

/* 0 or STASH_E_*. */
int figures_gather(const struct look *look, struct figures *f);
/* A stash_process_fn that counts. */
int figures_count(void *arg, const struct stash_process *process);

#endif
