/* SPDX-License-Identifier: ISC */
/* What the files of the simulated world need of each other. */
#ifndef REPLAY_INSIDE_H
#define REPLAY_INSIDE_H

#include "replay/world.h"

enum life {
	LIFE_NONE = 0,
	LIFE_STARTING,
	LIFE_HELD_START,
	LIFE_RUNNING,
	LIFE_HELD_STOP,
	LIFE_DEAF,    /* was asked to stop and goes on */
	LIFE_SLOW,    /* was asked to stop and will, at due */
	LIFE_STOPPING /* was asked to stop and does */
};

struct path {
	struct path *next;
	char *name;
	/* as declared, by the last declaration; NULL: never (an instance) */
	const struct item *declared;
	struct lines children; /* of a supervisor: paths, in order */
	size_t block;	       /* of the declaration */
	/* how it behaves: NULL: as declared */
	char *init, *term;
	size_t inits; /* outcomes used up */
	/* its process */
	enum life life;
	bool was_up; /* once, as a label */
	uint64_t node, start;
	int64_t due;
};

enum event_kind { EVENT_READY, EVENT_FAILED, EVENT_IGNORED, EVENT_EXITED };

struct event {
	struct event *next;
	enum event_kind kind;
	struct path *path;
	uint64_t node, start;
	enum stash_reason reason;
};

/* A request without an answer. */
struct unanswered {
	struct unanswered *next;
	uint64_t id;
	char *tag; /* NULL: of a "do" */
	const struct item *item;
};

void *world_alloc(size_t size);
void world_drain(struct world *w);
void world_settle(struct world *w);
void world_sleep(struct world *w, int64_t ms);
void process_end(struct world *w, struct path *p, enum stash_reason reason);
void process_outcome(struct world *w, struct path *p, const char *outcome);

/* paths.c */
struct path *world_path(struct world *w, const char *name);
struct path *world_find(const struct world *w, const char *name);
void world_declare(struct world *w, const struct item *it);
const char *path_next_init(struct world *w, struct path *p);
/* The "set" step. */
void path_set(struct path *p, const struct item *it);
const char *path_term(struct world *w, const struct path *p);
/* The specification of a path as it is declared now; NULL: it isn't. */
struct sup_spec *world_spec(struct world *w, const char *name);
void world_free_paths(struct world *w);

/* steps.c */
void answer_request(struct world *w, const struct sup_action *a);
void answer_start(struct world *w, const char *answer);
void answer_done(struct world *w, const struct sup_action *a);

#endif
