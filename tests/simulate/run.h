/* SPDX-License-Identifier: ISC */
/* One history: a scenario carried out line by line on the machine, under the eyes of the oracle. */
#ifndef SIMULATE_RUN_H
#define SIMULATE_RUN_H

#include <stddef.h>
#include <stdint.h>

#include "simulate/oracle.h"

#define RUN_ITEMS 400

struct run {
	struct item item[RUN_ITEMS];
	struct scenario scenario;
	struct world w;
	struct oracle o;
	struct sup_row *row;
	size_t rows;
	bool takeover; /* the machine is exchanged for one out of its rows, whenever no request waits */
	bool taking;
	bool invalid; /* the scenario can't be: it speaks of what isn't declared, or never comes to rest */
	uint64_t steps;
	/* hears of each line before it is carried out */
	void (*line)(void *arg, const char *text);
	void *line_arg;
};

void run_open(struct run *r, bool takeover);
void run_close(struct run *r);
/* Carries a line out, if it is a step. False: there is no room, or the run is over since something is wrong. */
bool run_line(struct run *r, const char *text);

/* history.c: a random one, all of it. */
void history_run(struct run *r, uint64_t seed);

#endif
