/* SPDX-License-Identifier: ISC */
/*
 * A world for the tree machine: processes that exist only here, which start, end
 * and hold as a scenario says, and a clock that jumps to where something is due.
 * It carries out a scenario step by step and writes down what happens, in the
 * words of tests/conformance. No process, no time of the system.
 */
#ifndef REPLAY_WORLD_H
#define REPLAY_WORLD_H

#include <stdint.h>

#include "replay/scenario.h"
#include "supervisor/machine.h"

struct path;  /* what is known of a path: declaration, behaviour, process */
struct event; /* what a process does, told to the machine */

/* Who looks on: sees all that passes between the world and the machine, before it has any effect. */
struct world_watch {
	void (*init)(void *arg, const char *path, const struct sup_spec *spec, enum sup_init outcome);
	void (*request)(void *arg, const struct sup_request *request);
	void (*event)(void *arg, const struct event *event);
	void (*action)(void *arg, const struct sup_action *action);
	void *arg;
};

struct world {
	const struct scenario *scenario;
	struct sup *sup;
	int64_t now;
	int64_t step_max; /* ns in which a step has to be over; 0: it may take for ever */
	bool endless;	  /* one wasn't */
	struct path *paths;
	struct event *events, **events_end; /* told next, in this order */
	struct lines seen;		    /* of the step in hand */
	struct lines noproc;		    /* replies that stand at the end of a step */
	struct sup_spec *latest;	    /* given to the machine, which takes its own reference */
	struct unanswered *asked;	    /* requests without an answer yet */
	uint64_t last_request;
	size_t block, item; /* where we are: blocks of declarations, items */
	size_t told;	    /* events told to the machine */
	/* called after each event, when its actions are out and drained; may exchange sup */
	void (*after)(struct world *w, void *arg);
	void *after_arg;
	/* gets each row that is saved (value NULL: forgotten); NULL: rows are not asked for */
	void (*row)(void *arg, const char *key, const void *value, size_t len);
	void *row_arg;
	const struct world_watch *watch; /* NULL: nobody */
};

void world_open(struct world *w, const struct scenario *s);
void world_close(struct world *w);
/* Carries out the next step; its index in the scenario's items, or -1: there is none. w->seen has what happened. */
int world_step(struct world *w);
/* After another machine was put into w->sup: the processes that live are known by its nodes. */
void world_rebind(struct world *w);
/* No answer will come for that request. Its tag, in the scenario's words; NULL: it was a "do". */
const char *world_forget_request(struct world *w, uint64_t id);
struct sup_ops world_ops(struct world *w);

#endif
