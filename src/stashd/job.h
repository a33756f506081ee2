/* SPDX-License-Identifier: ISC */
/*
 * job.h: what a supervisor begins with, whoever has made its process.
 */
#ifndef STASHD_JOB_H
#define STASHD_JOB_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct plan_table;
struct stash__supervise_config;
struct sup_spec;

/* The whole life of the process; returns its exit status. */
struct server_job {
	const struct stash__supervise_config *config;
	const struct plan_table *plans;
	struct sup_spec *tree;
	const char *dir, *run_dir;
	const uint8_t *store_id;
	int lock_fd;
	sigset_t child_mask;
	/* of one that came by exec (handover.c); else 0 and NULL */
	uint64_t generation;
	const char *keeper_version;
	bool trial;
};
int server_run(const struct server_job *, int keeper, uint64_t starts);

#endif
