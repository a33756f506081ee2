/* SPDX-License-Identifier: ISC */
/*
 * plan.h: what a child's specification says that the tree machine does not understand: what is run, and how.
 * It goes through the machine, its rows and the store as bytes (the spec's payload).
 */
#ifndef STASHD_PLAN_H
#define STASHD_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/behaviour.h>
#include <stash/buf.h>
#include <stash/supervisor.h>

#include "supervisor/spec.h"

/* The behaviours that specs have named or pointed to; filled before the first supervisor is forked, so that an index
 * means the same in all of them. */
struct plan_table {
	const struct stash_behaviour **at;
	size_t n, room;
	const struct stash_behaviour *const *named; /* of the options; ends with NULL; or NULL */
	uint32_t ack, history;			    /* for those that don't say */
};
void plan_table_free(struct plan_table *);

/* Of a payload.  The first had no handler_timeout, the second no on_supervisor_loss; a store may have them still. */
enum { PLAN_FORMAT_FIRST = 1, PLAN_FORMAT_NO_LOSS = 2, PLAN_FORMAT = 3 };

enum plan_kind { PLAN_BEHAVIOUR = 1, PLAN_MODULE = 2, PLAN_EXEC = 3 };

struct plan {
	enum plan_kind kind;
	const struct stash_behaviour *behaviour;
	const char *module;
	char **exec; /* ends with NULL */
	char **args; /* ends with NULL */
	int nargs;
	uint32_t notify, max_attempts, history;
	int32_t handler_timeout_ms; /* 0: none */
	bool ack_disk, no_persist;
	bool dies_with_supervisor; /* on_supervisor_loss = "kill" */
	void *memory, *more;	   /* of all of it; of the arguments of an instance */
};

/* For struct sup_convert; arg: the table. */
int plan_pack(void *arg, const struct stash_child_spec *, struct stash_buf *payload);
/* Reads a payload.  STASH_E_CORRUPT, _NOENT: a behaviour that this program doesn't have; _NOMEM. */
int plan_read(struct plan *, const struct plan_table *, const void *payload, size_t len);
void plan_free(struct plan *);
/* All behaviours that specs may name get their place in the table. */
int plan_table_named(struct plan_table *);
/* What a specification was, as far as its payload tells; what points into the plan is good as long as that is. */
void plan_describe(const struct plan *, struct stash_child_spec *);

enum { PLAN_TOKEN = 16 };
/* What an instance below simple_one_for_one has besides its template: by which request it was made, its arguments. */
int plan_pack_instance(struct stash_buf *, const uint8_t token[PLAN_TOKEN], const char *const *args);
/* Puts the arguments behind those of the plan. STASH_E_CORRUPT, _NOMEM. */
int plan_read_instance(struct plan *, const void *instance, size_t len);
bool plan_is_instance(const void *instance, size_t len, const uint8_t token[PLAN_TOKEN]);
/* Appends to why, separated by ", ", the keys of the config in which the plans of two workers differ. */
void plan_differs(const struct plan_table *, const struct sup_spec *, const struct sup_spec *, char *why, size_t size);
/* Whether it speaks with its supervisor, and clients can call it: everything but a program without libstash. */
bool plan_linked(const struct plan *);

#endif
